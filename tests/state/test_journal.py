"""The journal: facts come back in order, and half a line costs nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from cartag.state.journal import Facts, Journal, latest
from cartag.values import ReadError

ONE = Facts(path="một.jpg", size=1, mtime_ns=2, sha256="0" * 64, width=4, height=3)
TWO = Facts(path="b.jpg", size=5, mtime_ns=6, error=ReadError(reason="empty", detail="the file has no bytes"))
THREE = Facts(path="một.jpg", size=9, mtime_ns=9)


def written(path: Path, *batches: list[Facts]) -> Journal:
    journal = Journal(path)
    for batch in batches:
        journal.append(batch)
    journal.close()
    return Journal(path)


def test_facts_come_back_oldest_first(tmp_path: Path) -> None:
    assert written(tmp_path / "state/journal", [ONE, TWO], [THREE]).read() == [ONE, TWO, THREE]


def test_the_last_word_on_a_path_counts() -> None:
    assert latest([ONE, TWO, THREE]) == {"b.jpg": TWO, "một.jpg": THREE}


def test_no_journal_is_an_empty_one(tmp_path: Path) -> None:
    assert Journal(tmp_path / "none").read() == []
    Journal(tmp_path / "none").remove()


def test_nothing_is_added_to_what_a_link_in_its_place_leads_to(tmp_path: Path) -> None:
    (tmp_path / "hers").write_text("hers")
    (tmp_path / "journal").symlink_to(tmp_path / "hers")
    with pytest.raises(OSError, match="symbolic link"):
        Journal(tmp_path / "journal").append([ONE])
    assert (tmp_path / "hers").read_text() == "hers"


@pytest.mark.parametrize("cut", [1, 2, 20, 60])
def test_a_line_cut_off_by_a_kill_is_skipped_and_what_follows_is_not_glued_to_it(tmp_path: Path, cut: int) -> None:
    journal = written(tmp_path / "journal", [ONE], [TWO])
    journal.path.write_bytes(journal.path.read_bytes()[:-cut])
    again = written(journal.path, [THREE])
    assert again.read() == ([ONE, TWO, THREE] if cut == 1 else [ONE, THREE])
    assert again.damaged_lines == (0 if cut == 1 else 1)


@pytest.mark.parametrize("line", [b"\0" * 100, b"{}", b"[1]", b'[{"path":"\xff","size":1,"mtime_ns":1}]', b"nonsense"])
def test_any_damaged_line_is_skipped_and_counted(tmp_path: Path, line: bytes) -> None:
    journal = written(tmp_path / "journal", [ONE])
    journal.path.write_bytes(line + b"\n" + journal.path.read_bytes())
    assert journal.read() == [ONE]
    assert journal.damaged_lines == 1


def test_a_removed_journal_is_gone(tmp_path: Path) -> None:
    journal = written(tmp_path / "journal", [ONE])
    journal.remove()
    assert not journal.path.exists()
