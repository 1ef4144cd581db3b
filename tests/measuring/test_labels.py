"""Hand labels: what a row says, and the line of every mistake."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from conftest import Gallery, paint
from hypothesis import given, settings, strategies as st

import cartag
from cartag.catalogs.vocabulary import Vocabulary
from cartag.errors import LabelsError
from cartag.measuring.labelfile import LabelFile
from cartag.measuring.labels import read_labels
from cartag.measuring.rows import Label, as_identity
from cartag.values import IndexedCar

CARS = (
    IndexedCar(id="red-racer", name="Red Racer", make="Rossi", aliases=("Scuderia",)),
    IndexedCar(id="blue-bolt", name="Blue Bolt", make="Volt"),
)


def read(folder: Path, text: str | bytes) -> list[Label]:
    path = folder / "labels.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_labels(path, CARS)


def label(folder: Path, text: str) -> Label:
    (found,) = read(folder, f"file,label\na.jpg,{text}\n")
    return found


@pytest.mark.parametrize(
    ("text", "cars", "other", "truth"),
    [
        ("Red Racer", {"red-racer"}, (), "car"),
        ("red-racer", {"red-racer"}, (), "car"),
        ("SCUDERIA", {"red-racer"}, (), "car"),
        ("Red Racer|Blue Bolt", {"red-racer", "blue-bolt"}, (), "car"),
        (" Red Racer | ", {"red-racer"}, (), "car"),
        ("Red Racer|Trabant", {"red-racer"}, ("Trabant",), "car"),
        ("Trabant", set(), ("Trabant",), "unknown"),
        ("unknown", set(), ("unknown",), "unknown"),
        ("none", set(), (), "none"),
        ("None", set(), (), "none"),
        ("UNKNOWN", set(), ("unknown",), "unknown"),
    ],
)
def test_a_label_names_cars_another_car_or_none(
    tmp_path: Path, text: str, cars: set[str], other: tuple[str, ...], truth: str
) -> None:
    found = label(tmp_path, text)
    assert (found.cars, found.other, found.truth) == (cars, other, truth)


def test_further_columns_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    found = read(tmp_path, b"\xef\xbb\xbfwho,label,file\r\nme,none,a.jpg\r\n")
    assert found == [Label("a.jpg", frozenset(), ())]


@pytest.mark.parametrize("mark", [";", "\t"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_columns_may_be_parted_by_semicolons_or_tabs(tmp_path: Path, mark: str, quote: str) -> None:
    header, row = (
        f"{quote}{mark}{quote}".join(cells) for cells in (("file", "label", "note"), ("a,1.jpg", "none", "é, "))
    )
    found = read(tmp_path, f"\ufeff{quote}{header}{quote}\r\n{quote}{row}{quote}\r\n")
    assert found == [Label("a,1.jpg", frozenset(), ())]


def test_commas_come_first_where_they_part_the_columns(tmp_path: Path) -> None:
    assert read(tmp_path, "file,label,a;file;label\na;b.jpg,none,\n") == [Label("a;b.jpg", frozenset(), ())]


def test_the_same_row_twice_is_one_label(tmp_path: Path) -> None:
    assert len(read(tmp_path, "file,label\na.jpg,none\n./a.jpg,none\n")) == 1


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b"", "line 1: expected the columns file,label"),
        (b"a.jpg,none\n", "line 1: expected the columns file,label"),
        (b"file;label,x\na.jpg;none,1\n", r"line 1: expected the columns file,label, .*; save it as CSV with commas"),
        (b"file,label\n", "no labels in it"),
        (b"file,label\na.jpg,none\nb.jpg,\n", "line 3: a row needs a file and a label"),
        (b"file,label\na.jpg\n", "line 2: a row needs a file and a label"),
        (b"file,label\n,none\n", "line 2: a row needs a file and a label"),
        (b"file,label\na.jpg,none|Red Racer\n", "line 2: 'none' means no car at all"),
        (b"file,label\na.jpg,none\na.jpg,Red Racer\n", "line 3: a.jpg is labelled otherwise at line 2"),
        (b"file,label\n\xe9.jpg,none\n", "line 2: not UTF-8 text"),
        (b'file,label\n"a.jpg,none\n', "line 2: not valid CSV"),
        (b'file,label\na.jpg,none\nb.jpg,"none"x\n', "line 3: not valid CSV"),
        (b"file,label\na.jpg,Red Racer,Blue Bolt\n", "line 2: 3 cells under 2 columns; several cars"),
        (b"file,label\na.jpg,unknown: a,b\n", "line 2: 3 cells under 2 columns"),
        (b"file,label,label\na.jpg,none,Red Racer\n", "line 1: two columns are called 'label'"),
        (b"file,label,file\na.jpg,none,b.jpg\n", "line 1: two columns are called 'file'"),
        (b"file;label;\tfile\tlabel\na;none;b\tb\tnone\n", r"line 1: expected .*; save it as CSV with commas"),
        (b"file;label\na.jpg;Red Racer;Blue Bolt\n", "line 2: 3 cells under 2 columns; .* text with semicolons stands"),
        (b"file\tlabel\na.jpg,none\n", "line 2: a row needs a file and a label"),
        (b"sep=;\nfile;label\n", r"line 1: expected .*; save it as CSV with commas"),
        ("file,label\n".encode("utf-16-le"), r"line 1: expected .*; save it as UTF-8"),
    ],
)
def test_a_mistake_is_named_with_file_and_line(tmp_path: Path, text: bytes, place: str) -> None:
    with pytest.raises(LabelsError, match=rf"labels\.csv: {place}"):
        read(tmp_path, text)


def test_the_same_said_in_another_order_or_twice_is_no_contradiction(tmp_path: Path) -> None:
    rows = b"a.jpg,Ferrari F40|unknown\na.jpg,unknown|ferrari f40\nb.jpg,none|no-car\nc.jpg,none,\n"
    labels = read(tmp_path, b"file,label\n" + rows)
    assert [(label.file, label.truth) for label in labels] == [
        ("a.jpg", "unknown"),
        ("b.jpg", "none"),
        ("c.jpg", "none"),
    ]


def test_labels_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"none\.csv: cannot be read"):
        read_labels(tmp_path / "none.csv", CARS)


@pytest.mark.parametrize("written", ["day 1/Cuộc.jpg", "./day 1/Cuộc.jpg", "day 1\\Cuộc.jpg", "day 1//Cuộc.jpg "])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_file_is_the_same_photo_however_it_is_written(written: str, form: str) -> None:
    assert as_identity(unicodedata.normalize(form, written)) == "day 1/Cuộc.jpg"


@given(st.text(max_size=20))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_an_identity_stays_as_it_is(file: str) -> None:
    assert as_identity(as_identity(file)) == as_identity(file)


@given(st.sampled_from(["", "./", "././", ".\\"]), st.text(" a./\\", max_size=8))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_an_identity_of_dots_and_blanks_stays_as_it_is(start: str, file: str) -> None:
    assert as_identity(as_identity(start + file)) == as_identity(start + file)


@pytest.mark.parametrize("name", [b"plain.jpg", b" blank.jpg", b"back\\slash.jpg", b"line\nbreak.jpg", b"\xe9.jpg"])
def test_labels_made_of_the_index_s_own_paths_find_their_photos(gallery: Gallery, tmp_path: Path, name: bytes) -> None:
    paint(str(gallery.path).encode() + b"/" + name, "red")
    index = gallery.tag().index
    labels = tmp_path / "labels.csv"
    with labels.open("w", encoding="utf-8", newline="") as f:
        csv.writer(f).writerows([("file", "label"), *((path, "Red Racer") for path in index.photos)])
    assert cartag.evaluate(gallery.path, labels).photos == 1


# --- writing ----------------------------------------------------------------------------------------------------

RACER, BOTH = frozenset({"red-racer"}), frozenset({"red-racer", "blue-bolt"})


def with_labels(path: Path, said: dict[str, Label | None], known: Collection[str] = ()) -> bytes:
    """The file after that; what was said can be taken back."""
    file = LabelFile(path, CARS, known)
    before = file.encode()
    change = file.say(said)
    after = file.encode()
    file.take_back(change)
    assert file.encode() == before
    file.take_back([(place, now, was) for place, was, now in change])
    assert file.encode() == after
    assert {photo: file.get(photo) for photo in said} == said or any("Trabant" in str(v) for v in map(file.get, said))
    return after


def written(folder: Path, text: str | None, **said: Label | None) -> str:
    """The file after that, its photos named with their extensions left out."""
    path = folder / "labels.csv"
    path.unlink(missing_ok=True)
    if text is not None:
        path.write_bytes(text.encode())
    return with_labels(path, {f"{name}.jpg": label for name, label in said.items()}).decode()


def test_a_new_file_and_new_rows(tmp_path: Path) -> None:
    said = {"a": Label("a.jpg", BOTH, ()), "b": Label("b.jpg", frozenset(), ("unknown",))}
    assert written(tmp_path, None, **said) == "file,label\na.jpg,Red Racer|Blue Bolt\nb.jpg,unknown\n"
    assert written(tmp_path, "file,label", **said).startswith("file,label\na.jpg,")
    assert written(tmp_path, "file,label\nz.jpg,none", **said).startswith("file,label\nz.jpg,none\na.jpg,")
    assert (
        written(tmp_path, 'label,"file",who\n', a=Label("a.jpg", frozenset(), ())) == 'label,"file",who\nnone,a.jpg,\n'
    )


@pytest.mark.parametrize(
    ("row", "label", "after"),
    [
        ("a.jpg,SCUDERIA", Label("a.jpg", RACER, ()), "a.jpg,SCUDERIA"),
        ("a.jpg,Trabant", Label("a.jpg", frozenset(), ("unknown",)), "a.jpg,Trabant"),
        ("a.jpg,Trabant", Label("a.jpg", RACER, ()), "a.jpg,Red Racer"),
        ("a.jpg,Red Racer|Trabant", Label("a.jpg", BOTH, ()), "a.jpg,Red Racer|Blue Bolt|Trabant"),
        ("a.jpg,Red Racer|Trabant", Label("a.jpg", frozenset(), ()), "a.jpg,none"),
        ("a.jpg,Red Racer|Trabant", Label("a.jpg", frozenset(), ("unknown",)), "a.jpg,Trabant"),
        ("a.jpg,none", Label("a.jpg", frozenset(), ("Trabant",)), "a.jpg,Trabant"),
        ('" a.jpg ",none', Label("a.jpg", RACER, ()), '" a.jpg ",Red Racer'),
        ("./a.jpg,none", None, None),
    ],
)
def test_a_row_that_is_there(tmp_path: Path, row: str, label: Label | None, after: str | None) -> None:
    found = written(tmp_path, f"file,label\n{row}\n", a=label)
    assert list(csv.reader(found.splitlines())) == list(
        csv.reader(["file,label", *([after] if after is not None else [])])
    )


_cells = st.text(st.sampled_from('ab,;\t"\n\r |é'), max_size=6)
_others = st.lists(st.tuples(_cells, st.sampled_from(["none", "Red Racer", "Trabant"]), _cells), max_size=6)


@given(
    rows=_others,
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
    delimiter=st.sampled_from([",", ";", "\t"]),
    said=st.dictionaries(
        st.sampled_from(["p.jpg", "q,1.jpg", 'r"|;.jpg']),
        st.sampled_from([None, ("Red Racer",), (), ("unknown",)]),
        max_size=3,
    ),
)
@settings(max_examples=200, deadline=None)
def test_whatever_else_is_in_the_file_stays(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    end: str,
    mark: bool,
    delimiter: str,
    said: dict[str, Any],
) -> None:
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    out = io.StringIO(newline="")
    # Photos that nobody speaks of, in a row each; quoted where they need it.
    csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(
        [
            ("note", "label", "file"),
            *((note, label, f"{i}{file.strip()}x") for i, (note, label, file) in enumerate(rows)),
        ]
    )
    before = ("\ufeff" if mark else "").encode() + out.getvalue().encode()
    path.write_bytes(before)
    labels = {
        file: None
        if cars is None
        else Label(file, RACER if cars == ("Red Racer",) else frozenset(), cars if cars == ("unknown",) else ())
        for file, cars in said.items()
    }
    after = with_labels(path, labels, said.keys())
    assert after.startswith(before)
    assert {
        len(row) for row in csv.reader(io.StringIO(after.decode("utf-8-sig"), newline=""), delimiter=delimiter)
    } == {3}
    path.write_bytes(after)
    found = (
        {label.file: label for label in read_labels(path, CARS, said.keys())} if rows or any(labels.values()) else {}
    )
    assert {file: found.get(file) for file in labels} == labels
    assert with_labels(path, dict.fromkeys(labels), said.keys()) == before


def test_the_same_photo_twice_and_odd_rows(tmp_path: Path) -> None:
    text = "file,label,who\na.jpg,none\n\n./a.jpg,NONE,me,\nb.jpg,Red Racer,\n"
    assert written(tmp_path, text, b=None) == text.removesuffix("b.jpg,Red Racer,\n")
    found = written(tmp_path, text, a=Label("a.jpg", RACER, ()))
    assert found == "file,label,who\na.jpg,Red Racer,\n\n./a.jpg,Red Racer,me,\nb.jpg,Red Racer,\n"
    assert written(tmp_path, text, a=None) == "file,label,who\n\nb.jpg,Red Racer,\n"


def test_every_text_is_matched_against_the_cars_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    exactly = Vocabulary.exactly
    monkeypatch.setattr(Vocabulary, "exactly", lambda self, word: asked.append(word) or exactly(self, word))
    rows = "".join(f"{i}.jpg,{'Red Racer' if i % 2 else 'Blue Bolt'}\n" for i in range(500))
    read(tmp_path, "file,label\n" + rows)
    assert sorted(asked) == ["Blue Bolt", "Red Racer"]
