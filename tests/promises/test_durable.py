"""What cartag says that it wrote outlives a power cut; before that, each file is the old one or the new one, whole."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Gallery
from disks import TORN, Disk

import cartag
from cartag.errors import IndexFileError
from cartag.learning import load_learned
from cartag.reviewing import Decision, Session
from cartag.state.index import replace_file
from cartag.state.place import place_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="which file a handle is of is read from /proc")
ROOT = Path(cartag.__file__).parent.parent
COLOURS = {"a": "red", "b": "red", "c": "yellow", "d": "yellow", "e": "blue", "f": "blue", "g": "green", "h": "orange"}


@pytest.fixture
def tagged(gallery: Gallery) -> Gallery:
    for mark, (name, colour) in enumerate(COLOURS.items()):
        gallery.paint(f"{name}.jpg", colour, mark=mark)
    gallery.tag()
    return gallery


def whole_at_every_moment(disk: Disk, path: Path) -> None:
    """From now on, whatever may be on the disk under this name was synced."""
    disk.after_each = lambda: _check_whole(disk, path)


def _check_whole(disk: Disk, path: Path) -> None:
    assert TORN not in disk.may_hold(path)


@linux
def test_a_file_is_written_synced_renamed_and_its_folder_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes(b"old")
    disk = Disk(tmp_path)
    whole_at_every_moment(disk, file)
    with disk.watching(monkeypatch):
        replace_file(file, b"new")
    assert [what for what, _ in disk.calls] == ["sync", "rename", "sync of the folder"]
    assert disk.calls[-1] == ("sync of the folder", str(tmp_path))
    assert disk.holds(file) == b"new"


@linux
@pytest.mark.damaged_index
@pytest.mark.parametrize("linked", [False, True], ids=["", "a link"])
def test_the_folder_that_is_synced_is_that_of_the_file_and_not_of_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    real = tmp_path / "far"
    (real / "gallery").mkdir(parents=True)
    near = tmp_path / "near.json"
    near.symlink_to(real / "gallery" / "cartag.json")
    (tmp_path / ".cartag").mkdir()  # a file is made aside here
    disk = Disk(tmp_path)
    with disk.watching(monkeypatch):
        replace_file(near if linked else real / "gallery" / "cartag.json", b"new")
    assert disk.holds(real / "gallery" / "cartag.json") == b"new"
    assert near.is_symlink()


@linux
def test_the_disk_of_these_tests_finds_each_missing_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cartag.state import rights

    file = tmp_path / "a"
    file.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(rights, "sync_folder", lambda folder: None)
        disk = Disk(tmp_path)
        with disk.watching(monkeypatch):
            replace_file(file, b"new")
    assert disk.may_hold(file) == [b"old", b"new"]
    with monkeypatch.context() as patch:
        patch.setattr(rights, "make_durable", lambda handle: None)
        disk = Disk(tmp_path)
        whole_at_every_moment(disk, file)
        with disk.watching(monkeypatch), pytest.raises(AssertionError):
            replace_file(file, b"newer")


@linux
def test_the_index_that_a_run_wrote_is_on_the_disk(tagged: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    tagged.paint("z.jpg", "red", mark=99)
    disk = Disk(tagged.path)
    whole_at_every_moment(disk, tagged.index_file)
    with disk.watching(monkeypatch):
        tagged.tag()
    assert disk.holds(tagged.index_file) == tagged.index_file.read_bytes()
    assert tagged.find("red racer") == ["a.jpg", "b.jpg", "z.jpg"]


@linux
def test_an_index_in_a_new_folder_is_on_the_disk_with_its_folders(
    tagged: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path)
    with disk.watching(monkeypatch):
        tagged.tag(index=tmp_path / "one" / "two" / "cartag.json")
    synced = {path for what, path in disk.calls if what == "sync of the folder"}
    assert {str(tmp_path), str(tmp_path / "one"), str(tmp_path / "one" / "two")} <= synced


@linux
def test_a_decision_that_is_answered_is_on_the_disk_in_index_and_labels(
    tagged: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = tmp_path / "labels.csv"
    session = Session(tagged.path, place_of(tagged.path), labels)
    disk = Disk(tmp_path)
    with disk.watching(monkeypatch):
        for file in (labels, tagged.index_file):
            whole_at_every_moment(disk, file)
            session.decide([Decision(path="h.jpg", truth="car", cars=("blue-bolt",))])
            session.decide([Decision(path="c.jpg", truth="none")])
            assert disk.holds(labels) == labels.read_bytes()
            assert disk.holds(tagged.index_file) == tagged.index_file.read_bytes()
            session.undo()
            assert disk.holds(labels) == labels.read_bytes()
            assert disk.holds(tagged.index_file) == tagged.index_file.read_bytes()


@linux
def test_sidecars_are_on_the_disk_before_the_export_says_so_each_folder_synced_once(
    tagged: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(20):
        tagged.paint(f"day-1/{i}.jpg", "red", mark=100 + i)
    tagged.tag()
    disk = Disk(tagged.path)
    with disk.watching(monkeypatch):
        report = cartag.export(tagged.path, "xmp")
    sidecars = [Path(file.path) for file in report.files]
    assert len(sidecars) > 20
    assert all(disk.holds(path) == path.read_bytes() for path in sidecars)
    folders = [path for what, path in disk.calls if what == "sync of the folder"]
    assert sorted(folders) == sorted({str(tagged.path), str(tagged.path / "day-1")})


@linux
def test_what_is_made_in_a_folder_is_on_the_disk_with_its_note(
    tagged: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path)
    with disk.watching(monkeypatch):
        report = cartag.export(tagged.path, "xmp", to=tmp_path / "sidecars")
    files = [*(Path(file.path) for file in report.files)]
    assert all(disk.holds(path) == path.read_bytes() for path in files)


@linux
def test_a_catalog_that_got_a_car_is_on_the_disk(
    tagged: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path)
    whole_at_every_moment(disk, tagged.catalog)
    with disk.watching(monkeypatch):
        cartag.cars(tagged.catalog, add="Green Gecko")
    held = disk.holds(tagged.catalog)
    assert held is not None
    assert b"Green Gecko" in held


@linux
def test_what_was_learned_is_the_old_pair_or_the_new_one_whenever_the_power_fails(
    tagged: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, other = tmp_path / "labels.csv", tmp_path / "other.csv"
    labels.write_text("file,label\na.jpg,red racer\nc.jpg,yellow yeti\ne.jpg,blue bolt\ng.jpg,none\nh.jpg,unknown\n")
    other.write_text("file,label\na.jpg,red racer\nb.jpg,blue bolt\nd.jpg,yellow yeti\n")
    place = place_of(tagged.path)
    monkeypatch.setattr("cartag.learning.learning._helps", lambda *arguments: True)
    cartag.learn(tagged.path, labels)
    pairs = {_digest(tagged.path)}
    files = [*tagged.path.glob("cartag.learned.*"), place.state / "cartag.learned.before.safetensors"]
    disk = Disk(tagged.path)
    seen: set[tuple[bytes | None, ...]] = set()

    def note() -> None:
        seen.update(itertools.product(*map(disk.may_hold, files)))

    disk.after_each = note
    with disk.watching(monkeypatch):
        cartag.learn(tagged.path, other)
    pairs.add(_digest(tagged.path))
    assert len(pairs) == 2
    assert len(seen) > 2
    for number, state in enumerate(seen):
        copy = tmp_path / str(number)
        for file, data in zip(files, state, strict=True):
            path = copy / file.relative_to(tagged.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            if data is not None:
                path.write_bytes(data)
        assert _digest(copy) in pairs, state
        shutil.rmtree(copy)


def _digest(folder: Path) -> str:
    found = load_learned(place_of(folder))
    assert found is not None
    return found.digest()


def test_a_folder_that_cannot_be_synced_is_told_and_the_new_file_stands(
    tagged: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def failing(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(5, "Input/output error")
        fsync(handle)

    tagged.paint("z.jpg", "red", mark=99)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        if sys.platform == "linux":
            with pytest.raises(IndexFileError, match="Input/output error"):
                tagged.tag()
    tagged.tag()
    assert "z.jpg" in tagged.outcomes()


@pytest.mark.damaged_index
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_system_is_called_in_that_order(tmp_path: Path) -> None:
    """As the kernel sees it: nothing of Python's own buffers is between."""
    (tmp_path / "cartag.json").write_bytes(b"old")
    code = "import sys; from pathlib import Path; from cartag.state.index import replace_file; "
    code += "replace_file(Path(sys.argv[1]), b'new' * 1000)"
    trace = tmp_path / "trace"
    calls = "trace=openat,write,fsync,fdatasync,rename,renameat,renameat2,close"
    command = ["strace", "-f", "-y", "-o", str(trace), "-e", calls, sys.executable, "-c", code]
    done = subprocess.run(
        [*command, str(tmp_path / "cartag.json")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    if done.returncode or not trace.exists():
        pytest.skip("strace may not trace here")
    ours = [line for line in trace.read_text().splitlines() if str(tmp_path) in line]
    folder, temporary = re.escape(str(tmp_path)), r"\.cartag\.json\.[0-9a-f]{8}\.tmp"
    order = [
        rf'openat\(.*"{folder}/{temporary}"',
        rf"write\(\d+<{folder}/{temporary}>",
        rf"fsync\(\d+<{folder}/{temporary}>\)\s*= 0",
        rf"close\(\d+<{folder}/{temporary}>",
        rf'rename\w*\(.*"{folder}/{temporary}".*"{folder}/cartag\.json"',
        rf'openat\(.*"{folder}".*O_DIRECTORY',
        rf"fsync\(\d+<{folder}>\)\s*= 0",
        rf"close\(\d+<{folder}>",
    ]
    assert len(ours) == len(order), ours
    assert all(re.search(pattern, line) for pattern, line in zip(order, ours, strict=True)), ours
