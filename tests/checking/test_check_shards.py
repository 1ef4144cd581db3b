"""`check` of a folder of shards: every damage that is made here is found and named, and mended where nothing is lost."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fsspec
import msgspec
import pytest
from conftest import Gallery

import cartag
from cartag.errors import IndexFileError
from cartag.merging import merging
from cartag.state import (
    ShardDone,
    done_shards,
    place_of,
    read_said,
    shard_folder,
    shard_records,
    write_said,
    write_shard,
)
from cartag.values import PhotoRecord

OLD = time.time() - 3600
DIGEST = "0123456789abcdef"


@dataclass
class Folder:
    """A gallery and its index, a folder of three shards under a person's words."""

    gallery: Gallery
    path: Path

    def done(self, n: int = 0) -> ShardDone:
        return done_shards(shard_folder(self.path))[n]

    def small(self, n: int = 0) -> Path:
        return self.path / f"shards/0000{n}.json"

    def output(self, kind: str, n: int = 0) -> Path:
        return self.path / getattr(self.done(n), kind).name

    def said(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.path / "said").iterdir()}

    def records(self) -> dict[str, PhotoRecord]:
        return dict(cartag.load(self.gallery.path, self.path).photos)

    def check(self, *, repair: bool = False) -> cartag.CheckReport:
        return cartag.check(self.gallery.path, index=self.path, repair=repair)

    def edit_done(self, n: int = 0, **fields: object) -> None:
        changed = msgspec.structs.replace(self.done(n), **fields)
        self.small(n).write_bytes(msgspec.json.encode(changed))

    def grow_old(self) -> None:
        """As if nobody had written anything for an hour."""
        for path in self.path.rglob("*"):
            os.utime(path, (OLD, OLD))


@pytest.fixture
def folder(gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    for i, colour in enumerate(("red", "red", "yellow", "blue", "orange", "green", "blue", "yellow")):
        gallery.paint(f"day {i % 2}/{colour}-{i}.jpg", colour, mark=i)
    gallery.tag()
    gallery.tag_by_hand("day 0/blue-6.jpg", "red-racer", note="hers")
    gallery.edit_photo("day 1/blue-3.jpg", confirmed=True, by_model={"outcome": "unknown"})
    monkeypatch.setattr(merging, "SHARD", 3)
    cartag.merge(gallery.path, tmp_path / "index")
    made = Folder(gallery, tmp_path / "index")
    made.grow_old()
    return made


# --- the damages ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Damage:
    make: Callable[[Folder], object]
    kind: str
    where: str
    what: str
    mended: str
    """`whole`: nothing is missing afterwards; `emptied`: photos of the shard are new to the index; `` : not mended."""


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose(path: Path) -> None:
    path.unlink()


def left(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"left")
    os.utime(path, (OLD, OLD))


def rows(kind: str, n: int) -> Callable[[Folder], None]:
    def change(folder: Folder) -> None:
        output = getattr(folder.done(), kind)
        folder.edit_done(**{kind: msgspec.structs.replace(output, rows=output.rows + n)})

    return change


def named(folder: Folder, name: str) -> None:
    folder.edit_done(photos=msgspec.structs.replace(folder.done().photos, name=name))


def last_said(folder: Folder) -> Path:
    return max((folder.path / "said").iterdir())


def add_line(data: bytes) -> Callable[[Folder], None]:
    def change(folder: Folder) -> None:
        with last_said(folder).open("ab") as f:
            f.write(data)

    return change


def say_of_nothing(folder: Folder) -> None:
    record = msgspec.structs.replace(folder.records()["day 0/blue-6.jpg"], path="nowhere.jpg")
    write_said(shard_folder(folder.path), {"nowhere.jpg": record})


def replace_the_first(folder: Folder) -> None:
    place = shard_folder(folder.path)
    records = [r for r in folder_records(folder, 0)]
    write_shard(place, "another", records, {}, replaces=["00000"])


def folder_records(folder: Folder, n: int) -> list[PhotoRecord]:
    return shard_records(shard_folder(folder.path), folder.done(n))


DAMAGES = {
    "small file torn": Damage(lambda f: half(f.small()), "damaged", "shards/00000.json", "damaged: ", "emptied"),
    "small file empty": Damage(lambda f: f.small().write_bytes(b""), "damaged", "00000.json", "damaged: ", "emptied"),
    "small file of a newer one": Damage(lambda f: f.edit_done(version=2), "damaged", "00000.json", "newer cartag", ""),
    "small file renamed": Damage(
        lambda f: f.small().rename(f.path / "shards/x.json"), "damaged", "shards/x.json", "is that of the shard", ""
    ),
    "photos lost": Damage(lambda f: lose(f.output("photos")), "missing", "photos/00000-", "00000.json", "emptied"),
    "photos torn": Damage(lambda f: half(f.output("photos")), "damaged", "photos/00000-", "bytes, not", "emptied"),
    "photos rotten": Damage(lambda f: flip(f.output("photos")), "damaged", "photos/00000-", "digest", "emptied"),
    "photos of other rows": Damage(rows("photos", 1), "damaged", "photos/00000-", "3 rows, not 4", "emptied"),
    "photos elsewhere": Damage(
        lambda f: named(f, "photos/../../x.parquet"), "damaged", "shards/00000.json", "no file of this shard", ""
    ),
    "photos of another digest": Damage(
        lambda f: named(f, f"photos/00000-{DIGEST}.parquet"), "missing", DIGEST, "not there", "emptied"
    ),
    "tags lost": Damage(lambda f: lose(f.output("tags")), "missing", "tags/00000-", "not there", "whole"),
    "tags rotten": Damage(lambda f: flip(f.output("tags")), "damaged", "tags/00000-", "digest", "whole"),
    "tags of other rows": Damage(rows("tags", -1), "damaged", "tags/00000-", "rows, not", "whole"),
    "counts lost": Damage(lambda f: lose(f.output("counts")), "missing", "counts/00000-", "not there", "whole"),
    "counts rotten": Damage(lambda f: flip(f.output("counts")), "damaged", "counts/00000-", "digest", "whole"),
    "counts of other rows": Damage(rows("counts", 1), "damaged", "counts/00000-", "3 rows, not 4", "whole"),
    "photos left over": Damage(
        lambda f: left(f.path / f"photos/abc-{DIGEST}.parquet"), "left-over", f"abc-{DIGEST}", "no small file", "whole"
    ),
    "tombstones left over": Damage(
        lambda f: left(f.path / f"replaced/abc-{DIGEST}.parquet"),
        "left-over",
        "replaced/abc-",
        "no small file",
        "whole",
    ),
    "counts left over": Damage(
        lambda f: left(f.path / f"counts/abc-{DIGEST}.json"), "left-over", "counts/abc-", "no small file", "whole"
    ),
    "plan left over": Damage(
        lambda f: left(f.path / "plan/abc.parquet"), "left-over", "plan/abc", "meant to do", "whole"
    ),
    "half a file": Damage(
        lambda f: left(f.path / "photos/.a.parquet.0a1b2c3d.tmp"), "left-over", "0a1b2c3d.tmp", "half of", "whole"
    ),
    "a run's mark": Damage(lambda f: left(f.path / "run.json"), "left-over", "run.json", "goes on", ""),
    "shard replaced": Damage(replace_the_first, "left-over", "shards/00000.json", "'?another'? has replaced", "whole"),
    "word torn": Damage(add_line(b'{"path":"day'), "damaged", "/said/", "line 3: damaged: ", ""),
    "word outside": Damage(
        add_line(b'{"path":"../a.jpg","size":1,"mtime_ns":1,"outcome":"unknown"}\n'), "damaged", "/said/", "outside", ""
    ),
    "words of no order": Damage(
        lambda f: last_said(f).rename(f.path / "said/mine.jsonl"), "damaged", "said/mine.jsonl", "no name that", ""
    ),
    "word of no photo": Damage(say_of_nothing, "missing", "/said/", "nowhere.jpg", ""),
    "shards lost": Damage(
        lambda f: (f.path / "shards").rename(f.path / "old"), "missing", "index/shards", "header of a folder", ""
    ),
    "header lost": Damage(lambda f: lose(f.path / "cartag.json"), "missing", "cartag.json", "the header", ""),
}


def test_nothing_is_found_in_a_folder_that_is_whole_and_nothing_is_written(folder: Folder) -> None:
    def everything() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in folder.path.rglob("*") if p.is_file() and p.suffix != ".lock"}

    before = everything()
    report = folder.check()
    assert (report.findings, report.photos, report.new) == ((), 8, 0)
    assert folder.check(repair=True).findings == ()
    assert everything() == before


@pytest.mark.parametrize("name", DAMAGES)
def test_every_damage_is_found_and_named_and_mended_where_nothing_is_lost(folder: Folder, name: str) -> None:
    damage, records = DAMAGES[name], folder.records()
    first = {record.path for record in folder_records(folder, 0)}
    damage.make(folder)
    said = folder.said()
    files = {path for path in folder.path.rglob("*") if path.is_file()}

    def is_it(finding: cartag.Finding) -> bool:
        facts = (finding.part, finding.kind) == ("shards", damage.kind) and damage.where in finding.path
        return facts and re.search(damage.what, finding.what + finding.path + finding.remedy) is not None

    report = folder.check()
    assert any(map(is_it, report.remaining)), report.findings
    assert all(finding.what and finding.remedy and "\n" not in finding.what for finding in report.findings)
    assert {path for path in folder.path.rglob("*") if path.is_file()} == files, "a check writes nothing"
    repaired = folder.check(repair=True)
    assert folder.said() == said, "a person's words, byte for byte"
    if not damage.mended:
        assert any(map(is_it, repaired.remaining)), repaired.findings
        assert files <= {path for path in folder.path.rglob("*") if path.is_file()}
        return
    folder.grow_old()
    folder.check(repair=True)  # what lay there under its old name a moment ago
    assert folder.check().findings == ()
    if damage.mended == "whole":
        assert folder.records() == records
    else:
        spoken = read_said(shard_folder(folder.path)).records
        assert folder.records() == {p: r for p, r in records.items() if p not in first or p in spoken}


@pytest.mark.parametrize("name", ["photos rotten", "small file torn"])
def test_a_shard_whose_photos_are_not_there_is_kept(folder: Folder, name: str) -> None:
    """They could not be looked at again; what a backup has of the file brings all of it back."""
    gone = next(record.path for record in folder_records(folder, 0))
    small, photos = folder.small().read_bytes(), folder.output("photos").read_bytes()
    (folder.gallery.path / gone).unlink()
    path, data = (folder.small(), small) if name == "small file torn" else (folder.output("photos"), photos)
    path.write_bytes(data[:-9] + b"x" * 8 if name == "small file torn" else data)
    if name == "photos rotten":
        folder.edit_done(photos=msgspec.structs.replace(folder.done().photos, sha256="0" * 64))
    before = {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()}
    report = folder.check(repair=True)
    assert any(f.part == "shards" and gone in f.remedy and not f.repaired for f in report.findings), report.findings
    assert all(p.read_bytes() == data for p, data in before.items())


@pytest.mark.parametrize("name", ["photos rotten", "small file torn", "tags lost"])
def test_rows_that_a_mended_shard_had_replaced_do_not_come_back(folder: Folder, name: str) -> None:
    place, paths = shard_folder(folder.path), {record.path for record in folder_records(folder, 0)}
    newer = [msgspec.structs.replace(record, mtime_ns=7) for record in folder_records(folder, 0)]
    write_shard(place, "newer", newer, {}, replaced=[("00000", path) for path in paths])
    words = read_said(place).records.keys()
    done = next(done for done in done_shards(place) if done.name == "newer")
    if name == "small file torn":
        half(folder.path / "shards/newer.json")
    elif name == "photos rotten":
        flip(folder.path / done.photos.name)
    else:
        lose(folder.path / done.tags.name)
    folder.grow_old()
    folder.check(repair=True)
    found = {path: record.mtime_ns for path, record in folder.records().items() if path in paths - words}
    assert found == (dict.fromkeys(paths - words, 7) if name == "tags lost" else {})


def test_a_shard_that_is_replaced_stays_while_rows_depend_on_it(folder: Folder) -> None:
    place, first = shard_folder(folder.path), folder_records(folder, 0)
    write_shard(place, "b", first, {}, replaced=[("00000", record.path) for record in first])
    write_shard(place, "c", first, {}, replaces=["b"])
    before = folder.records()
    assert folder.check(repair=True).findings == ()
    assert folder.records() == before


def test_files_of_a_shard_with_a_damaged_small_file_are_not_left_over(folder: Folder) -> None:
    folder.edit_done(version=2)
    assert [finding.kind for finding in folder.check(repair=True).findings] == ["damaged"]


def test_without_any_small_file_nothing_is_swept(folder: Folder) -> None:
    """Somebody may bring them back."""
    for path in (folder.path / "shards").iterdir():
        path.rename(folder.gallery.path / f"{path.name}.aside")
    before = {path for path in folder.path.rglob("*.parquet")}
    report = folder.check(repair=True)
    assert {f.kind for f in report.remaining} >= {"left-over"}
    assert {path for path in folder.path.rglob("*.parquet")} == before


def test_what_may_be_written_just_now_and_what_a_run_has_not_finished_stays(folder: Folder) -> None:
    fresh = folder.path / f"photos/abc-{DIGEST}.parquet"
    fresh.write_bytes(b"half")
    (finding,) = folder.check(repair=True).remaining
    assert "unless it is being written now" in finding.what
    left(fresh)
    lock = place_of(folder.gallery.path, folder.path).lock
    handle = os.open(lock, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        report = folder.check()
        assert report.findings == ()
        assert report.run
        with pytest.raises(IndexFileError, match="another cartag is writing it"):
            folder.check(repair=True)
    finally:
        os.close(handle)
    assert fresh.exists()


def test_files_of_others_in_the_folder_are_left_alone(folder: Folder) -> None:
    others = ["photos/README.txt", "notes.txt", "shards/readme", "photos/mine.parquet", "said/notes.txt"]
    for name in others:
        left(folder.path / name)
    assert folder.check(repair=True).findings == ()
    assert all((folder.path / name).read_bytes() == b"left" for name in others)


def test_on_object_storage_it_is_named_and_nothing_is_mended(folder: Folder, tmp_path: Path) -> None:
    uri, fs = f"memory://{tmp_path.name}/index", fsspec.filesystem("memory")
    flip(folder.output("tags"))
    for path in folder.path.rglob("*"):
        if path.is_file() and path.suffix != ".lock":
            fs.pipe_file(f"/{tmp_path.name}/index/{path.relative_to(folder.path)}", path.read_bytes())
    for repair in (False, True):
        (finding,) = cartag.check(folder.gallery.path, index=uri, repair=repair).remaining
        assert finding.path.startswith(f"{uri}/tags/00000-")


def test_the_command_says_it_in_json(folder: Folder) -> None:
    flip(folder.output("counts"))
    words = [sys.executable, "-m", "cartag", "check", str(folder.gallery.path), "--index", str(folder.path)]
    done = subprocess.run([*words, "--format", "json"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["part"], finding["kind"], finding["repaired"]) == ("shards", "damaged", False)
    done = subprocess.run([*words, "--repair"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_the_extra_it_says_in_one_line_what_to_install(folder: Folder) -> None:
    code = "import sys; sys.modules['pyarrow'] = None; from cartag.cli import main; main(sys.argv[1:])"
    words = [sys.executable, "-c", code, "check", str(folder.gallery.path)]
    done = subprocess.run([*words, "--index", str(folder.path)], capture_output=True, text=True)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'cartag[ray]'" in line
    assert subprocess.run(words, capture_output=True, text=True).returncode == 0, "a file needs none of it"
