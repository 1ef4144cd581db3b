"""`check`: every damage that is made here is found and named, and mended where it can be; a person's word stays."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from bound import run_bound
from conftest import Gallery
from processes import run

import cartag
from cartag.errors import GalleryError, IndexFileError
from cartag.reviewing import Decision, Session
from cartag.state.place import Place, place_of

COLOURS = {"a": "red", "b": "red", "c": "yellow", "d": "yellow", "e": "blue", "f": "blue", "g": "green", "h": "orange"}
SHA = "ab" * 32
OLD = time.time() - 3600


@pytest.fixture
def whole(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> Gallery:
    """A gallery with something of everything: regions, a person's words, labels, learned files, sidecars, thumbs."""
    for mark, (name, colour) in enumerate(COLOURS.items()):
        gallery.paint(f"{name}.jpg", colour, mark=mark)
    gallery.paint("day-1/i.jpg", "red", mark=50)
    gallery.tag(detector="fake", regions="all")
    labels = gallery.path / "labels.csv"
    labels.write_text("file,label\na.jpg,red racer\nc.jpg,yellow yeti\ne.jpg,blue bolt\ng.jpg,none\nh.jpg,unknown\n")
    Session(gallery.path, place_of(gallery.path), labels).decide(
        [Decision(path="b.jpg", truth="car", cars=("red-racer",))]
    )
    with monkeypatch.context() as patch:
        patch.setattr("cartag.learning.learning._helps", lambda *arguments: True)
        cartag.learn(gallery.path, labels)
    gallery.tag()
    cartag.export(gallery.path, "xmp")
    thumbs = gallery.path / ".cartag" / "thumbs"
    thumbs.mkdir()
    (thumbs / f"{gallery.record('a.jpg')['sha256']}.jpg").write_bytes((gallery.path / "a.jpg").read_bytes())
    return gallery


def words(gallery: Gallery) -> dict[str, object]:
    """What a person said: of photos and boxes in the index, and in the labels."""
    said: dict[str, object] = {"labels": (gallery.path / "labels.csv").read_bytes()}
    for photo in json.loads(gallery.index_file.read_bytes())["photos"]:
        said[photo["path"]] = [
            photo.get("confirmed"),
            [tag for tag in photo["tags"] if tag["source"] == "human"],
            [region for region in photo.get("regions", ()) if region.get("source") == "human"],
        ]
    return said


# --- the damages ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Damage:
    make: Callable[[Gallery], object]
    part: str
    kind: str
    where: str
    """In the path that is named."""
    mended: bool = True


def state(gallery: Gallery) -> Path:
    return gallery.path / ".cartag"


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def left(path: Path, data: bytes = b"half of") -> None:
    """A file that nobody has touched for an hour."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (OLD, OLD))


def sql(query: str, *values: object) -> Callable[[Gallery], None]:
    def change(gallery: Gallery) -> None:
        with closing(sqlite3.connect(state(gallery) / "embeddings.sqlite")) as db:
            assert db.execute(query, values).rowcount != 0
            db.commit()

    return change


def vector(change: Callable[[np.ndarray], np.ndarray], table: str, column: str) -> Callable[[Gallery], None]:
    def damage(gallery: Gallery) -> None:
        with closing(sqlite3.connect(state(gallery) / "embeddings.sqlite")) as db:
            (blob,) = db.execute(f"SELECT {column} FROM {table}").fetchone()
            wrong = change(np.frombuffer(blob, np.float32).copy()).astype(np.float32).tobytes()
            assert db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (wrong, blob)).rowcount
            db.commit()

    return damage


def nan(values: np.ndarray) -> np.ndarray:
    values[3] = np.nan
    return values


def of_another_gallery(gallery: Gallery) -> None:
    with closing(sqlite3.connect(state(gallery) / "embeddings.sqlite")) as db:
        for table in ("photo", "region"):
            for (key,) in db.execute(f"SELECT DISTINCT sha256 FROM {table}").fetchall():
                db.execute(f"UPDATE {table} SET sha256 = ? WHERE sha256 = ?", (bytes(reversed(key)), key))
        db.commit()


def hot_journal(gallery: Gallery) -> None:
    """A writer that is killed within a transaction whose pages are on the disk already."""
    code = "import os, sqlite3, sys\ndb = sqlite3.connect(sys.argv[1]); db.execute('PRAGMA cache_size = 1')\n"
    code += "db.execute('UPDATE photo SET vector = zeroblob(4000)'); db.execute('UPDATE region SET vector = zeroblob(9000)')\n"
    code += "db.execute('UPDATE text SET vectors = zeroblob(90000)'); os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(state(gallery) / "embeddings.sqlite")], check=False)
    assert (state(gallery) / "embeddings.sqlite-journal").stat().st_size


def journal(gallery: Gallery, *lines: bytes) -> None:
    (state(gallery) / "cartag.journal.jsonl").write_bytes(b"\n".join(lines) + b"\n")


def fact_of(gallery: Gallery, name: str) -> bytes:
    stat = (gallery.path / name).stat()
    return json.dumps([{"path": name, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": SHA}]).encode()


def learned(**changed: object) -> Callable[[Gallery], None]:
    def change(gallery: Gallery) -> None:
        path = gallery.path / "cartag.learned.json"
        path.write_text(json.dumps({**json.loads(path.read_bytes()), **changed}))

    return change


def killed_between_the_two_learned_files(gallery: Gallery) -> None:
    tensors = gallery.path / "cartag.learned.safetensors"
    (state(gallery) / "cartag.learned.before.safetensors").write_bytes(tensors.read_bytes())
    tensors.write_bytes(tensors.read_bytes()[:-4] + b"\0\0\0\0")


def paint_over(gallery: Gallery) -> None:
    gallery.paint("a.jpg", "blue", mark=77)


TEMPORARY = "0a1b2c3d.tmp"
BLOB = "zeroblob(32)"
DAMAGES = {
    "index torn": Damage(lambda g: half(g.index_file), "index", "damaged", "cartag.json", False),
    "index of no JSON": Damage(lambda g: g.index_file.write_bytes(b"\0" * 99), "index", "damaged", "cartag.json", False),
    "index lost": Damage(lambda g: g.index_file.unlink(), "index", "missing", "cartag.json", False),
    "photo gone": Damage(lambda g: (g.path / "h.jpg").unlink(), "photos", "missing", "h.jpg", False),
    "photo changed": Damage(paint_over, "photos", "changed", "a.jpg", False),
    "cache torn": Damage(lambda g: half(state(g) / "embeddings.sqlite"), "state", "damaged", "embeddings.sqlite"),
    "cache of noise": Damage(
        lambda g: (state(g) / "embeddings.sqlite").write_bytes(b"noise" * 999), "state", "damaged", "embeddings.sqlite"
    ),
    "cache of a newer version": Damage(sql("PRAGMA user_version = 99"), "state", "damaged", "embeddings.sqlite"),
    "cache without a table": Damage(sql("DROP TABLE photo"), "state", "damaged", "embeddings.sqlite"),
    "cache of another gallery": Damage(of_another_gallery, "state", "damaged", "embeddings.sqlite"),
    "cache set aside": Damage(lambda g: left(state(g) / "embeddings.damaged"), "state", "left-over", "embeddings.damaged"),
    "transaction cut off": Damage(hot_journal, "state", "left-over", "embeddings.sqlite-journal"),
    "embedding short": Damage(vector(lambda v: v[:-1], "region", "vector"), "state", "damaged", "embeddings.sqlite"),
    "embedding empty": Damage(vector(lambda v: v[:0], "region", "vector"), "state", "damaged", "embeddings.sqlite"),
    "embedding not a number": Damage(vector(nan, "region", "vector"), "state", "damaged", "embeddings.sqlite"),
    "embedding too long": Damage(vector(lambda v: v * 3, "region", "vector"), "state", "damaged", "embeddings.sqlite"),
    "text not a number": Damage(vector(nan, "text", "vectors"), "state", "damaged", "embeddings.sqlite"),
    "text of another length": Damage(sql("UPDATE text SET dim = dim + 1"), "state", "damaged", "embeddings.sqlite"),
    "hash too short": Damage(
        sql("INSERT INTO region SELECT model, x'abcd', box, vector FROM region LIMIT 1"), "state", "damaged", "embeddings"
    ),
    "hash a text": Damage(
        sql("INSERT INTO photo SELECT model, hex(sha256), vector FROM region LIMIT 1"), "state", "damaged", "embeddings"
    ),
    "row without its model": Damage(
        sql(f"INSERT INTO photo SELECT 99, {BLOB}, vector FROM region LIMIT 1"), "state", "damaged", "embeddings.sqlite"
    ),
    "box that is none": Damage(
        sql(f"INSERT INTO region SELECT model, {BLOB}, zeroblob(8), vector FROM region LIMIT 1"),
        "state", "damaged", "embeddings.sqlite",
    ),
    "boxes of a detector torn": Damage(sql("UPDATE seen SET boxes = x'0102'"), "state", "damaged", "embeddings.sqlite"),
    "fact that is none": Damage(
        sql("INSERT OR REPLACE INTO fact SELECT id, 'logit_scale', 9e999 FROM model"), "state", "damaged", "embeddings"
    ),
    "journal left over": Damage(lambda g: journal(g, fact_of(g, "a.jpg")), "state", "left-over", "journal.jsonl", False),
    "journal of what is gone": Damage(
        lambda g: journal(g, fact_of(g, "a.jpg").replace(b"a.jpg", b"z.jpg")), "state", "left-over", "journal.jsonl"
    ),
    "journal torn": Damage(lambda g: journal(g, b'[{"path":"a.j'), "state", "damaged", "journal.jsonl"),
    "note of what was made": Damage(
        lambda g: half(state(g) / "cartag.made.json"), "state", "damaged", "cartag.made.json"
    ),
    "note of rows": Damage(
        lambda g: (state(g) / "cartag.rows.json").write_bytes(b"{"), "labels", "damaged", "cartag.rows.json", False
    ),
    "thumb torn": Damage(
        lambda g: [half(path) for path in (state(g) / "thumbs").iterdir()], "state", "damaged", ".cartag/thumbs/"
    ),
    "thumb of nothing": Damage(
        lambda g: left(state(g) / "thumbs" / f"{SHA}.jpg", (g.path / "a.jpg").read_bytes()), "state", "left-over", SHA
    ),
    "half a thumb": Damage(lambda g: left(state(g) / f"thumbs/.{SHA}.jpg.{TEMPORARY}"), "state", "left-over", TEMPORARY),
    "half an index": Damage(lambda g: left(state(g) / f".cartag.json.{TEMPORARY}"), "state", "left-over", TEMPORARY),
    "half a sidecar": Damage(lambda g: left(state(g) / f".a.jpg.xmp.{TEMPORARY}"), "state", "left-over", TEMPORARY),
    "half an index beside it": Damage(lambda g: left(g.path / f".cartag.json.{TEMPORARY}"), "index", "left-over", TEMPORARY),
    "half a sidecar in a folder": Damage(
        lambda g: left(g.path / f"day-1/.i.jpg.xmp.{TEMPORARY}"), "sidecars", "left-over", TEMPORARY
    ),
    "link in the state": Damage(
        lambda g: (state(g) / "cartag.journal.jsonl").symlink_to(g.catalog), "state", "damaged", "journal.jsonl", False
    ),
    "learned torn": Damage(
        lambda g: half(g.path / "cartag.learned.json"), "learned", "damaged", "cartag.learned.json", False
    ),
    "tensors torn": Damage(
        lambda g: half(g.path / "cartag.learned.safetensors"), "learned", "damaged", "cartag.learned.safetensors", False
    ),
    "tensors lost": Damage(
        lambda g: (g.path / "cartag.learned.safetensors").unlink(), "learned", "damaged", "learned.safetensors", False
    ),
    "learned lost": Damage(
        lambda g: [path.unlink() for path in g.path.glob("cartag.learned.*")], "learned", "missing", "learned.json"
    ),
    "tensors alone": Damage(
        lambda g: (g.path / "cartag.learned.json").unlink(), "learned", "left-over", "cartag.learned.safetensors"
    ),
    "killed between the two": Damage(
        killed_between_the_two_learned_files, "learned", "left-over", "learned.before.safetensors"
    ),
    "learned with another model": Damage(learned(model="mini@9/x"), "learned", "damaged", "cartag.learned.json", False),
    "learned for another catalog": Damage(learned(catalog=SHA), "learned", "damaged", "cartag.learned.json", False),
    "labels lost": Damage(lambda g: learned(source="gone.csv")(g), "labels", "missing", "gone.csv", False),
    "labels of photos that are gone": Damage(
        lambda g: (g.path / "labels.csv").write_text("file,label\nnowhere.jpg,red racer\n"),
        "labels", "missing", "labels.csv", False,
    ),
    "labels torn": Damage(
        lambda g: (g.path / "labels.csv").write_bytes(b'file,label\na.jpg,"red ra'), "labels", "damaged", "labels.csv", False
    ),
    "sidecar torn": Damage(lambda g: half(g.path / "a.jpg.xmp"), "sidecars", "damaged", "a.jpg.xmp", False),
    "sidecar without its photo": Damage(
        lambda g: (g.path / "a.jpg.xmp").rename(g.path / "zz.jpg.xmp"), "sidecars", "left-over", "zz.jpg.xmp", False
    ),
}  # fmt: skip


def test_nothing_is_found_in_a_gallery_that_is_whole_and_nothing_is_written(whole: Gallery) -> None:
    def everything() -> dict[str, tuple[bytes, int]]:
        return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in whole.path.rglob("*") if p.is_file()}

    before = everything()
    report = cartag.check(whole.path)
    assert (report.findings, report.photos, report.new, report.run) == ((), 9, 0, "")
    assert everything() == before
    assert cartag.check(whole.path, repair=True).findings == ()
    assert everything() == before


@pytest.mark.damaged_index
@pytest.mark.parametrize("name", DAMAGES)
def test_every_damage_is_found_and_named_and_mended_where_it_can_be(whole: Gallery, name: str) -> None:
    damage = DAMAGES[name]
    before = words(whole)
    damage.make(whole)
    after = words(whole) if damage.part not in ("index", "labels") else None
    files = {path for path in whole.path.rglob("*") if path.is_file() and ".cartag" not in path.parts}

    def is_it(finding: cartag.Finding) -> bool:
        return (finding.part, finding.kind) == (damage.part, damage.kind) and damage.where in finding.path

    report = cartag.check(whole.path)
    assert any(map(is_it, report.remaining)), report.findings
    assert all(finding.what and finding.remedy and "\n" not in finding.what for finding in report.findings)
    repaired = cartag.check(whole.path, repair=True)
    if damage.mended:
        assert repaired.remaining == (), repaired.remaining
        assert cartag.check(whole.path).findings == ()
    else:
        assert any(map(is_it, repaired.remaining)), repaired.findings
        assert any(map(is_it, cartag.check(whole.path).findings))
        assert files <= {path for path in whole.path.rglob("*") if path.is_file()}
    if after is not None:
        assert words(whole) == before == after


@pytest.mark.parametrize("name", [name for name, damage in DAMAGES.items() if damage.mended])
def test_a_run_after_a_repair_makes_the_same_index_as_one_without_damage(whole: Gallery, name: str) -> None:
    wanted = whole.raw()["photos"]
    DAMAGES[name].make(whole)
    cartag.check(whole.path, repair=True)
    whole.tag()
    assert whole.raw()["photos"] == wanted or name == "tensors alone"  # which it did without, before too
    assert cartag.check(whole.path).findings == ()


# --- what is no damage ---------------------------------------------------------------------------------------------


def test_new_photos_and_a_state_that_was_thrown_away_are_no_damage(whole: Gallery) -> None:
    whole.paint("new.jpg", "red", mark=99)
    assert cartag.check(whole.path).new == 1
    import shutil

    shutil.rmtree(state(whole))
    report = cartag.check(whole.path)
    assert report.findings == ()
    assert not state(whole).exists()


def test_what_others_put_there_is_left_alone(whole: Gallery) -> None:
    others = {
        ".cartag.json.backup.tmp": b"",
        ".notes.txt.0a1b2c3d.tmp": b"",
        "table.csv": b"when,where\n",
        "z.xmp": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
        ".cartag/thumbs/README": b"",
        ".cartag/mine.txt": b"",
    }
    for name, data in others.items():
        left(whole.path / name, data)
    report = cartag.check(whole.path, repair=True)
    assert report.findings == ()
    assert all((whole.path / name).read_bytes() == data for name, data in others.items())


@pytest.mark.parametrize("columns", ["file_name,label", "filename;label", "file,labels", "profile,label"])
def test_a_table_of_another_program_is_none_of_labels(whole: Gallery, columns: str) -> None:
    (whole.path / "metadata.csv").write_text(f"{columns}\nnowhere.jpg,7\n")
    assert cartag.check(whole.path).findings == ()


def test_a_file_that_may_be_written_just_now_is_not_removed(whole: Gallery) -> None:
    fresh = whole.path / f"day-1/.i.jpg.xmp.{TEMPORARY}"
    fresh.write_bytes(b"half")
    (finding,) = cartag.check(whole.path, repair=True).remaining
    assert "unless it is being written now" in finding.what
    assert fresh.exists()


def test_no_gallery_and_no_index_are_errors(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="no such folder"):
        cartag.check(tmp_path / "nowhere")
    with pytest.raises(IndexFileError, match="no index there"):
        cartag.check(tmp_path)
    assert not list(tmp_path.iterdir())


# --- beside others --------------------------------------------------------------------------------------------------


def hold(lock: Path) -> int:
    handle = os.open(lock, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def test_while_another_writes_its_work_is_no_left_over_and_a_repair_says_who(whole: Gallery) -> None:
    place: Place = place_of(whole.path)
    journal(whole, fact_of(whole, "a.jpg"))
    (state(whole) / f".cartag.json.{TEMPORARY}").write_bytes(b"half")
    handle = hold(place.lock)
    try:
        report = cartag.check(whole.path)
        assert [finding.kind for finding in report.findings] == ["left-over"]  # and it says that it may be written now
        if sys.platform == "linux":
            assert report.run.startswith(f"process {os.getpid()}: ")
            with pytest.raises(IndexFileError, match=rf"another cartag is writing it.*\(process {os.getpid()}: "):
                cartag.check(whole.path, repair=True)
        assert (state(whole) / f".cartag.json.{TEMPORARY}").exists()
    finally:
        os.close(handle)


@pytest.mark.skipif(sys.platform != "linux", reason="who holds a lock is read from /proc")
def test_a_lock_that_a_dead_run_left_to_another_process_is_named(whole: Gallery) -> None:
    code = "import fcntl, os, subprocess, sys\nh = os.open(sys.argv[1], os.O_RDWR); fcntl.flock(h, fcntl.LOCK_EX)\n"
    code += "os.set_inheritable(h, True)\nprint(subprocess.Popen(['sleep', '60'], close_fds=False).pid, flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(place_of(whole.path).lock)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        heir = int(process.stdout.readline())
        process.wait()
    try:
        (finding,) = [f for f in cartag.check(whole.path).findings if f.path.endswith(".lock")]
        assert f"process {process.pid}, which has ended, and has left it to process {heir}" in finding.what
        assert f"kill {heir}" in finding.remedy
    finally:
        os.kill(heir, 9)
    deadline = time.monotonic() + 10
    while cartag.check(whole.path).findings and time.monotonic() < deadline:
        time.sleep(0.05)
    assert cartag.check(whole.path).findings == ()


def test_what_may_not_be_written_is_named(whole: Gallery) -> None:
    lock = state(whole) / "embeddings.sqlite"
    lock.chmod(0o400)
    done = run_bound(whole, "check", "gallery")
    lock.chmod(0o644)
    assert done.returncode == 1, done.stderr
    assert "embeddings.sqlite: may not be read and written by you; its owner can let you: chmod u+rw" in done.stdout


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_ends_with_one_where_something_is_wrong(whole: Gallery) -> None:
    done = run(whole.path.parent, "-m", "cartag", "check", "gallery")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "gallery/cartag.json: 9 photos; nothing is damaged, missing or left over\n"
    sql("UPDATE seen SET boxes = x'0102'")(whole)
    (whole.path / "h.jpg").unlink()
    done = run(whole.path.parent, "-m", "cartag", "check", "gallery")
    assert (done.returncode, done.stderr) == (1, "")
    assert (
        "missing: gallery/h.jpg: in the index, and not there; bring it back, or run 'cartag tag gallery'" in done.stdout
    )
    assert "8 rotten rows" in done.stdout or "9 rotten rows" in done.stdout
    assert "things to see to" in done.stdout
    done = run(whole.path.parent, "-m", "cartag", "check", "gallery", "--repair", "--format", "json")
    assert (done.returncode, done.stderr) == (1, "")
    said = json.loads(done.stdout)
    missing = {name: said[name] for name in ("photos", "new", "remaining")}
    assert missing == {"photos": 8, "new": 0, "remaining": len([f for f in said["findings"] if not f["repaired"]])}
    assert {f["path"] for f in said["findings"] if f["repaired"]} == {"gallery/.cartag/embeddings.sqlite"}
    assert run(whole.path.parent, "-m", "cartag", "check", "nowhere").returncode == 1
    assert run(whole.path.parent, "-m", "cartag", "check", "gallery", "--format", "yaml").returncode == 2


def test_an_index_elsewhere_is_checked_with_its_state(whole: Gallery, tmp_path: Path) -> None:
    index = tmp_path / "far" / "mine.json"
    whole.tag(index=index)
    assert cartag.check(whole.path, index=index).findings == ()
    left(index.parent / f".mine.json.{TEMPORARY}")
    (finding,) = cartag.check(whole.path, index=index, repair=True).findings
    assert finding.repaired
    assert os.listdir(index.parent) != []
    assert not list(index.parent.glob("*.tmp"))
    (whole.path / "a.jpg").unlink()
    (finding,) = (f for f in cartag.check(whole.path, index=index).findings if f.part == "photos")
    assert finding.remedy == f"bring it back, or run 'cartag tag {whole.path} --index {index}'"


def test_photos_below_a_folder_that_cannot_be_listed_are_not_gone_whatever_its_letters(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An identity is NFC; a folder that a Mac has named need not be."""
    folder = "e\N{COMBINING ACUTE ACCENT}te\N{COMBINING ACUTE ACCENT}"
    gallery.paint(f"{folder}/a.jpg", "red")
    gallery.paint("b.jpg", "red", mark=1)
    gallery.tag()
    real = os.scandir

    def scandir(path: object = ".") -> object:
        if str(path).endswith(folder):
            raise PermissionError(13, "Permission denied")
        return real(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", scandir)
    found = cartag.check(gallery.path).findings
    assert {finding.what.partition(" (")[0] for finding in found} == {"this folder cannot be listed"}
