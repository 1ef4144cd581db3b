"""Decoding in worker processes: what dies or hangs there takes its photo with it, and nothing else.

The decoders that go wrong here really do: they read address zero, sleep, or fill the memory. A worker imports them from
this file by their names.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Gallery, counts, image_bytes, picture, snapshot

import cartag.photos.cage
import cartag.photos.reading
from cartag.encoder.fake import FakeEncoder
from cartag.errors import PhotoError, SettingsError
from cartag.photos import images
from cartag.photos.cage import Cages, Limits
from cartag.settings import Settings, load_settings
from cartag.values import Decoded, ImageSpec

SPEC = FakeEncoder.image_spec
LIMITS = Limits(seconds=20, megabytes=512)
decode_well = images.decode


def photo(wish: str = "") -> bytes:
    """A red photo, with a wish behind its end that `decode_badly` heeds."""
    return image_bytes(picture("red")) + wish.encode()


def decode_badly(data: bytes, spec: ImageSpec | None, max_pixels: int, *, raw: bool = False) -> Decoded:
    """Does what the photo wishes."""
    if data.endswith(b"segfault"):
        ctypes.string_at(0)
    if data.endswith(b"abort"):
        os.abort()
    if data.endswith(b"leave"):
        os._exit(0)
    if data.endswith(b"killed"):
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory is short
    if data.endswith(b"sleep"):
        time.sleep(600)
    if data.endswith(b"busy"):
        while True:
            pass
    if data.endswith(b"poison"):
        global _is_poisoned
        _is_poisoned = True
    elif _is_poisoned:
        os.abort()
    if data.endswith(b"shout"):
        os.write(1, b"stdout of a decoder")
        os.write(2, b"stderr of a decoder")
    if data.endswith(b"write"):
        Path("written").write_bytes(b"x" * 10)
    if data.endswith(b"hoard"):
        return Decoded(np.ones((40_000, 40_000, 1), np.uint8), 1, 1)  # 1.6 GB
    if data.endswith(b"pid"):
        return Decoded(None, os.getpid(), 1)
    return decode_well(data, spec, max_pixels, raw=raw)


_is_poisoned = False


@pytest.fixture
def bad_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "decode", decode_badly)


@pytest.fixture
def cages(bad_decoder: None) -> Iterator[Cages]:
    with_limits = Cages(LIMITS)
    yield with_limits
    with_limits.close()


def decode(cages: Cages, data: bytes, spec: ImageSpec | None = SPEC) -> Decoded:
    return cages.decode(data, spec, images.DEFAULT_MAX_PIXELS)


def reason(cages: Cages, data: bytes) -> tuple[str, str]:
    with pytest.raises(PhotoError) as caught:
        decode(cages, data)
    return caught.value.reason, caught.value.detail


def test_a_photo_comes_out_of_the_cage_as_it_does_without(cages: Cages) -> None:
    sizes = [(64, 48), (500, 300)]
    specs = [SPEC, replace(SPEC, fit="native"), None]
    for data in [image_bytes(picture("blue", size=size), kind) for size in sizes for kind in ("JPEG", "PNG", "WEBP")]:
        for spec in specs:
            caged, free = decode(cages, data, spec), decode_well(data, spec)
            assert (caged.width, caged.height) == (free.width, free.height)
            assert (caged.pixels is None) == (spec is None)
            if caged.pixels is not None and free.pixels is not None:
                assert np.array_equal(caged.pixels, free.pixels)
                assert caged.pixels.flags.writeable


def test_what_cannot_be_read_has_the_same_reason_in_the_cage(cages: Cages) -> None:
    for data in (b"text", photo()[:200]):
        with pytest.raises(PhotoError) as free:
            decode_well(data, SPEC)
        assert reason(cages, data) == (free.value.reason, free.value.detail)


@pytest.mark.parametrize(
    ("wish", "how"), [("segfault", "SIGSEGV"), ("abort", "SIGABRT"), ("killed", "SIGKILL"), ("leave", "exit code 0")]
)
def test_a_decoder_that_dies_costs_its_photo_only(cages: Cages, wish: str, how: str) -> None:
    assert reason(cages, photo(wish)) == ("crashed", f"its decoder died ({how})")
    assert decode(cages, photo()).width == 64


@pytest.mark.parametrize("wish", ["sleep", "busy"])
def test_a_decoder_that_hangs_costs_its_photo_only(bad_decoder: None, wish: str) -> None:
    cages = Cages(Limits(seconds=0.5, megabytes=512))
    try:
        assert decode(cages, photo()).width == 64
        began = time.monotonic()
        assert reason(cages, photo(wish)) == ("too-slow", "decoding took longer than 0.5 s (settings: isolate_seconds)")
        assert time.monotonic() - began < 10
        assert decode(cages, photo()).width == 64
    finally:
        cages.close()


only_linux_bounds_data = pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the data of a process")


@only_linux_bounds_data
def test_a_decoder_that_takes_too_much_memory_costs_its_photo_only(cages: Cages) -> None:
    assert reason(cages, photo("hoard"))[0] == "crashed"  # this one does not catch its MemoryError: it dies of it
    assert decode(cages, photo()).width == 64


@only_linux_bounds_data
def test_a_picture_larger_than_the_memory_is_too_large() -> None:
    cages = Cages(Limits(seconds=60, megabytes=64))
    try:
        data = image_bytes(picture("red", size=(6000, 5000)), "PNG")  # 120 MB decoded
        kind, detail = reason(cages, data)
        assert (kind, detail) == ("too-large", "decoding it needs more memory than there is")
        assert decode(cages, photo()).width == 64
    finally:
        cages.close()


def test_a_photo_is_not_blamed_for_what_the_one_before_it_broke(cages: Cages) -> None:
    """A decoder may damage its process and go on; the next photo dies of it, and is tried again in a new one."""
    assert decode(cages, photo("poison")).width == 64
    assert decode(cages, photo()).width == 64


def test_a_worker_is_replaced_before_its_leaks_add_up(cages: Cages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cartag.photos.cage, "_PHOTOS_A_WORKER", 2)
    seen = [decode(cages, photo("pid")).width for _ in range(5)]
    assert seen[0] == seen[1] != seen[2] == seen[3] != seen[4]


def test_a_decoder_writes_no_file_and_says_nothing(
    cages: Cages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reason(cages, photo("write"))[0] == "crashed"
    assert not (tmp_path / "written").exists() or not (tmp_path / "written").read_bytes()
    assert decode(cages, photo("shout")).width == 64
    assert capfd.readouterr() == ("", "")


def test_a_closed_cage_leaves_no_process_behind(cages: Cages) -> None:
    pid = decode(cages, photo("pid")).width
    os.kill(pid, 0)
    cages.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert reason(cages, photo()) == ("crashed", "the run has ended")


def test_a_worker_that_does_not_start_ends_the_run_with_one_line(gallery: Gallery, tmp_path: Path) -> None:
    """A script without the guard: its worker runs the script again, and Python stops that."""
    gallery.paint("a.jpg")
    script = tmp_path / "script.py"
    arguments = f"{str(gallery.path)!r}, catalog={str(gallery.catalog)!r}, model='fake', isolate=True"
    script.write_text(f"import cartag\ncartag.tag({arguments})\n")
    environment = {**os.environ, "PYTHONPATH": str(Path(cartag.__file__).parent.parent)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert "isolate: a worker process that decodes photos does not start (exit code 1); in a script" in last
    assert done.returncode == 1


# --- in a gallery -----------------------------------------------------------------------------------------------


def hurt(gallery: Gallery, *wishes: str) -> None:
    for wish in wishes:
        (gallery.path / f"{wish}.jpg").write_bytes(photo(wish))


@pytest.mark.usefixtures("bad_decoder")
def test_a_run_survives_all_of_them(
    gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    hurt(gallery, "segfault", "abort", "killed", "leave", "sleep", "shout", "write")
    for i in range(20):
        gallery.paint(f"good-{i}.jpg", "blue", mark=i)
    before = snapshot(gallery.path)
    report = gallery.tag(isolate=True, isolate_seconds=1)
    wanted = {name: "crashed" for name in ("segfault", "abort", "killed", "leave", "write")} | {"sleep": "too-slow"}
    errors = {p["path"].removesuffix(".jpg"): p["error"]["reason"] for p in gallery.raw()["photos"] if "error" in p}
    assert errors == wanted
    assert counts(report) == (0, 0, 21, 6)
    assert snapshot(gallery.path) == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("bad_decoder")
def test_what_crashed_is_not_decoded_again_by_a_run_without_a_cage(gallery: Gallery) -> None:
    """This test's own process would not survive that."""
    hurt(gallery, "segfault", "sleep")
    gallery.tag(isolate=True, isolate_seconds=1)
    assert counts(gallery.tag()) == (0, 0, 0, 2)
    (gallery.path / "segfault.jpg").write_bytes(photo())  # somebody mends it
    assert counts(gallery.tag()) == (0, 0, 1, 1)


def test_the_index_is_the_same_with_and_without(gallery: Gallery) -> None:
    for i, colour in enumerate(("red", "blue", "green", "black")):
        gallery.paint(f"{colour}.jpg", colour, mark=i)
        gallery.paint(f"{colour}.png", colour, mark=i)
    (gallery.path / "text.jpg").write_text("text")
    gallery.tag()
    free = gallery.raw()
    report = gallery.tag(isolate=True, retag=True)
    assert report.embedded == 8
    assert gallery.raw()["photos"] == free["photos"]


@pytest.mark.usefixtures("bad_decoder")
def test_ctrl_c_does_not_wait_for_a_decoder_that_hangs(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    hurt(gallery, "sleep")

    def interrupted(reader: object) -> Iterator[object]:
        time.sleep(3)  # the worker has started by now, and sleeps
        raise KeyboardInterrupt

    monkeypatch.setattr(cartag.photos.reading.Reader, "__iter__", interrupted)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        gallery.tag(isolate=True, isolate_seconds=300)
    assert time.monotonic() - began < 15


# --- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "meant"), [("1", True), ("yes", True), ("TRUE", True), ("0", False), ("no", False)])
def test_isolate_can_be_set_for_good(said: str, meant: bool) -> None:
    assert load_settings(environment={"CARTAG_ISOLATE": said}).isolate is meant


@pytest.mark.parametrize(
    ("key", "value"),
    [("isolate", "perhaps"), ("isolate_seconds", "0"), ("isolate_seconds", "inf"), ("isolate_megabytes", "1")],
)
def test_limits_that_make_no_sense_are_refused(key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"CARTAG_{key.upper()}"):
        load_settings(environment={f"CARTAG_{key.upper()}": value})
    assert Settings().isolate is False
