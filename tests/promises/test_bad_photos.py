"""Bad photos go through `tag`: no crash, no hang, no memory beyond a limit, each one a record.

The runs are processes of their own, so that a crash of a decoder fails a test rather than ending it, and so that what
they take can be measured. The limits are generous for what they hold off: minutes, and gigabytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from badphotos import NAMES, BadPhoto, harmful, mutated, valid_files
from conftest import Gallery, paint

import cartag
from cartag.encoder.fake import FakeEncoder
from cartag.errors import PhotoError
from cartag.paths import disk_path
from cartag.photos import images
from cartag.state import index as indexes
from cartag.values import ERROR_REASONS

MAX_PIXELS = 4_000_000
SECONDS_A_PHOTO = 5.0  # of a processor; the wall clock belongs to whatever else runs on the machine
MEGABYTES = 400  # that a run may take beyond what it takes to start
SECONDS_A_RUN = 280

RUN = """
import json, resource, sys, time, traceback
import cartag, cartag.photos.reading
from cartag.photos import images
from cartag.settings import Settings

gallery, catalog, max_pixels, isolate = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "isolate"
decode, slowest = images.decode, [0.0]

def peak():
    try:  # what getrusage says includes the process that started this one
        with open("/proc/self/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def timed(*args, **kwargs):
    began = time.thread_time()
    try:
        return decode(*args, **kwargs)
    finally:
        slowest[0] = max(slowest[0], time.thread_time() - began)

if __name__ == "__main__":
    if not isolate:
        images.decode = timed
    images._formats()
    before = peak()
    began = time.monotonic()
    settings = Settings(max_pixels=max_pixels, isolate=isolate)
    report = cartag.tag(gallery, catalog=catalog, model="fake", raw_pairs="both", settings=settings)
    print(json.dumps({
        "seconds": time.monotonic() - began,
        "slowest": slowest[0],
        "megabytes": (peak() - before) / 1024,
        "photos": len(report.index),
        "unreadable": report.unreadable,
    }))
"""


def write(gallery: Gallery, photos: Iterable[BadPhoto]) -> dict[str, BadPhoto]:
    """Puts photos into a gallery, under names of which every third is an attack; returns them by their name on disk."""
    written = {}
    for number, photo in enumerate(photos):
        stem = NAMES[number // 3 % len(NAMES)] if number % 3 == 0 else b"photo"
        name = stem + f"~{number}{photo.extension}".encode()
        with open(os.path.join(os.fsencode(gallery.path), name), "wb") as f:
            f.write(photo.data)
        written[os.fsdecode(name)] = photo
    return written


def run(gallery: Gallery, tmp_path: Path, *, isolate: bool = False) -> dict[str, Any]:
    """Tags the gallery in a process; returns what it took."""
    script = tmp_path / "run.py"
    script.write_text(RUN)
    environment = {**os.environ, "PYTHONPATH": str(Path(cartag.__file__).parent.parent)}
    words = [
        sys.executable,
        script,
        gallery.path,
        gallery.catalog,
        str(MAX_PIXELS),
        "isolate" if isolate else "threads",
    ]
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS_A_RUN, errors="replace"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    if isolate:  # in a thread libtiff says on stderr what it thinks of a file
        assert not done.stderr, "a decoder spoke to the terminal"
    took: dict[str, Any] = json.loads(done.stdout)
    assert took["slowest"] < SECONDS_A_PHOTO
    assert took["megabytes"] < MEGABYTES
    return took


def check(gallery: Gallery, written: dict[str, BadPhoto]) -> Counter[str]:
    """Every photo is a record, with its reason or its size, and lies there as it was; returns the reasons."""
    reasons: Counter[str] = Counter()
    by_name = {
        disk_path(record.path, record.path_on_disk if isinstance(record.path_on_disk, str) else None): record
        for record in indexes.read_index(gallery.path)
    }
    assert by_name.keys() == written.keys()
    for name, photo in written.items():
        record = by_name[name]
        got = "error" if record.outcome == "error" else "read"
        assert photo.fate in (got, "either"), f"{photo.kind}: {record.error}"
        if isinstance(record.error, cartag.values.ReadError):
            reasons[record.error.reason] += 1
            assert record.error.reason in ERROR_REASONS
            assert record.error.detail
            assert "\n" not in record.error.detail
        else:
            reasons["read"] += 1
            assert isinstance(record.width, int)
            assert isinstance(record.height, int)
            assert record.width * record.height <= MAX_PIXELS
        with open(os.path.join(os.fsencode(gallery.path), os.fsencode(name)), "rb") as f:
            assert hashlib.sha256(f.read()).digest() == hashlib.sha256(photo.data).digest()
    return reasons


def test_mutations_are_the_same_for_the_same_seed() -> None:
    first, again, other = (list(islice(mutated(40, seed), 40)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len({photo.data for photo in first}) > 35


def test_every_format_is_among_them() -> None:
    assert {name.split("-")[0] for name in valid_files()} >= {
        "jpeg",
        "png",
        "webp",
        "tiff",
        "gif",
        "bmp",
        "jp2",
        "avif",
    }
    for name, data in valid_files().items():
        decoded = images.decode(data, FakeEncoder.image_spec, raw=name.startswith("raw"))
        assert decoded.pixels is not None


def test_five_hundred_bad_photos_are_five_hundred_records(gallery: Gallery, tmp_path: Path) -> None:
    written = write(gallery, [*harmful(), *mutated(380, seed=20)])
    assert len(written) >= 500
    took = run(gallery, tmp_path)
    reasons = check(gallery, written)
    assert took["photos"] == len(written)
    assert took["unreadable"] == len(written) - reasons["read"]
    assert {"truncated", "corrupt", "not-an-image", "too-large", "empty", "read"} <= reasons.keys()


@pytest.mark.stress
@pytest.mark.timeout(3600)
def test_ten_thousand_bad_photos_are_ten_thousand_records(
    gallery: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    total: Counter[str] = Counter()
    most = {"slowest": 0.0, "megabytes": 0.0}
    seconds = 0.0
    for seed in range(11):
        folder = Gallery(tmp_path / str(seed), gallery.catalog)
        folder.path.mkdir()
        written = write(folder, mutated(950, seed=100 + seed))
        took = run(folder, tmp_path)
        total += check(folder, written)
        most = {key: max(value, took[key]) for key, value in most.items()}
        seconds += took["seconds"]
    with capsys.disabled():
        print(
            f"\n{sum(total.values())} bad photos in {seconds:.0f} s, slowest {most['slowest']:.2f} s of a processor, ",
            end="",
        )
        print(f"{most['megabytes']:.0f} MB at most beyond the start; {dict(total.most_common())}")
    assert sum(total.values()) >= 10_000


@pytest.mark.stress
@pytest.mark.timeout(1800)
def test_a_thousand_bad_photos_in_cages(gallery: Gallery, tmp_path: Path) -> None:
    written = write(gallery, mutated(1000, seed=300))
    run(gallery, tmp_path)
    reasons, free = check(gallery, written), gallery.raw()["photos"]
    gallery.index_file.unlink()
    run(gallery, tmp_path, isolate=True)
    assert check(gallery, written) == reasons
    assert gallery.raw()["photos"] == free


# --- one at a time ----------------------------------------------------------------------------------------------


def test_names_that_are_attacks_reach_no_terminal(gallery: Gallery) -> None:
    for number, stem in enumerate(NAMES):
        paint(os.fsencode(gallery.path) + b"/" + stem + b".jpg", "red", mark=number)
    for words in ("tag . --catalog ../colours.yaml --model fake", "find . red", "show .", "find . red --format table"):
        code, text = on_a_terminal([sys.executable, "-m", "cartag", *words.split()], gallery.path)
        assert code == 0, text
        assert all(c.isprintable() or c == "\n" for c in text)
        if words.startswith("find"):
            assert len(text.splitlines()) == len(NAMES) + ("table" in words)
    assert sorted(os.listdir(gallery.path.parent)) == ["colours.yaml", "gallery"]


def on_a_terminal(command: list[str], folder: Path) -> tuple[int, str]:
    """Exit code, and what a terminal gets to see."""
    import pty

    environment = {**os.environ, "PYTHONPATH": str(Path(cartag.__file__).parent.parent)}
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=theirs, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        seen = b""
        while chunk := _read(ours):
            seen += chunk
        assert process.stderr is not None
        said = process.stderr.read()
    os.close(ours)
    return process.returncode, (said + seen).decode("utf-8").replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other side has closed it
        return b""


def test_postscript_is_never_opened_whatever_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would start Ghostscript, and Ghostscript would run the program that PostScript is."""
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **kwargs: pytest.fail("Ghostscript was called"))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(PhotoError) as caught:
        images.decode(eps, FakeEncoder.image_spec)
    assert caught.value.reason == "not-an-image"


def test_a_file_beyond_the_limit_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "endless.jpg"
    with path.open("wb") as f:
        f.truncate(1_000_000_000_000)  # a terabyte of nothing, which takes no room on the disk
    with pytest.raises(PhotoError) as caught:
        images.read_bytes(path, max_megabytes=1)
    assert (caught.value.reason, caught.value.detail) == ("too-large", "more than 1 MiB (settings: max_megabytes)")
    path.write_bytes(bytes(2**20))
    assert len(images.read_bytes(path, max_megabytes=1)) == 2**20


@pytest.mark.parametrize("name", ["heic", "avif", "jp2"])
def test_the_pixel_limit_holds_where_pillow_does_not_decode_itself(name: str) -> None:
    data = valid_files()[name]
    with pytest.raises(PhotoError) as caught:
        images.decode(data, FakeEncoder.image_spec, 48 * 32 - 1)
    assert caught.value.reason == "too-large"


def test_memory_that_does_not_suffice_is_a_reason_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(*args: object, **kwargs: object) -> None:
        raise MemoryError

    monkeypatch.setattr(images, "_decode", hungry)
    with pytest.raises(PhotoError) as caught:
        images.decode(valid_files()["jpeg"], FakeEncoder.image_spec)
    assert caught.value.reason == "too-large"
