"""No room, and long runs: batches and the look-ahead shrink, the run goes on, and neither memory nor files pile up."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoints  # noqa: F401 - a fixture
from conftest import Gallery, counts, human_tags
from trials import COLOURS, ROOT, paint_many, start

from cartag.encoder.fake import FakeEncoder
from cartag.errors import PhotoError
from cartag.photos import images, reading
from cartag.photos.reading import Reader
from cartag.photos.walking import walk
from cartag.settings import Settings

# --- the host -----------------------------------------------------------------------------------------------------


class SmallMemory:
    """`images.decode` with room for so many photos at once; photos of ``too_large`` pixels never fit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int = 1, too_large: int = 10**9) -> None:
        self.failed = 0
        self._room, self._too_large = room, too_large
        self._lock, self._inside = threading.Lock(), 0
        self._fit = images.fit
        monkeypatch.setattr(images, "fit", self._fitted)  # within `decode`, where a large photo needs its memory

    def _fitted(self, pixels: np.ndarray, *arguments: Any) -> np.ndarray:
        with self._lock:
            self._inside += 1
            fits = self._inside <= self._room and pixels[0, 0].sum() < self._too_large
            self.failed += not fits
        try:
            time.sleep(0.005)
            if not fits:
                raise MemoryError
            return self._fit(pixels, *arguments)
        finally:
            with self._lock:
                self._inside -= 1


def test_where_decoders_do_not_fit_beside_each_other_the_look_ahead_shrinks_and_the_run_goes_on(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint_many(gallery, range(40))
    gallery.tag()
    said = gallery.tag_by_hand("0/00000.jpg", "blue-bolt")
    gallery.tag()
    wanted = gallery.raw()["photos"]
    with monkeypatch.context() as patch:
        memory = SmallMemory(patch)
        report = gallery.tag(retag=True, decode_threads=4, batch_size=8)
    assert memory.failed >= 1
    assert counts(report) == (0, 0, 40, 0)
    assert gallery.raw()["photos"] == wanted
    assert human_tags(gallery.record("0/00000.jpg")) == [said]


def test_the_window_is_halved_for_good_and_keeps_the_order(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    paint_many(gallery, range(60))
    photos = walk(gallery.path).photos
    memory = SmallMemory(monkeypatch)
    settings = Settings(decode_threads=3, batch_size=16, look_ahead=1)
    with Reader(gallery.path, photos, FakeEncoder.image_spec, embedded=(), settings=settings) as reader:
        read = list(reader)
        assert [photo.facts.path for photo in read] == [photo.path for photo in photos]
        assert all(photo.pixels is not None for photo in read)
        assert 1 <= reader._ahead < reading.window(settings, FakeEncoder.image_spec)
    assert memory.failed >= 1


def test_a_photo_that_does_not_even_fit_alone_is_a_record_and_is_tried_again(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i, colour in enumerate(["red", "white", "blue"]):
        gallery.paint(f"{i}.jpg", colour, mark=0)
    with monkeypatch.context() as patch:
        memory = SmallMemory(patch, room=9, too_large=700)  # white is 3 x 245
        assert counts(gallery.tag()) == (0, 0, 2, 1)
    assert memory.failed == 2, "tried beside others, and alone"
    assert gallery.record("1.jpg")["error"]["reason"] == "too-large"
    assert "memory" in gallery.record("1.jpg")["error"]["detail"]
    assert counts(gallery.tag()) == (2, 0, 1, 0)
    assert gallery.outcomes() == {"0.jpg": "tagged", "1.jpg": "no-car", "2.jpg": "tagged"}


def test_a_file_too_large_to_be_read_is_a_record(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery.paint("a.jpg")

    def opened(*arguments: Any, **options: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(PhotoError, match="memory") as caught:
        images.read_bytes(gallery.path / "a.jpg")
    assert caught.value.reason == "too-large"


NO_MEMORY = """
import cartag

def tag(*arguments, **options):
    raise MemoryError

cartag.tag = tag
from cartag.cli import main
main(["tag", "."])
"""


def test_no_memory_at_all_is_one_line_on_the_command_line(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", NO_MEMORY]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cartag: out of memory; ")
    assert done.stderr.count("\n") == 1


# --- the GPU ------------------------------------------------------------------------------------------------------


def test_a_gpu_without_room_for_a_batch_ends_no_run_and_changes_no_tag(
    gallery: Gallery,
    checkpoints: Callable[[str], Path],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    from cartag.checkpoints import Passes
    from cartag.encoder import dual

    for i in range(12):
        gallery.paint(f"{i:02d}.jpg", COLOURS[i % 7], mark=i)
    options = {"model": str(checkpoints("clip")), "device": "cpu", "dtype": "float32", "batch_size": 8}
    gallery.tag(**options)
    wanted = gallery.raw()["photos"]

    class SmallGpu(dual.DualEncoder):
        """Computes on the CPU, as a GPU would be driven, and has room for three photos at once."""

        tried: list[int] = []  # noqa: RUF012 - of the only instance

        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            self._passes = Passes(torch.device("cuda"))

        def _image_pass(self, pixels: Any) -> torch.Tensor:
            self.tried.append(len(pixels))
            if len(pixels) > 3:
                raise torch.OutOfMemoryError("injected")
            return super()._image_pass(pixels)

    monkeypatch.setattr(dual, "DualEncoder", SmallGpu)
    report = gallery.tag(**options, retag=True)
    assert SmallGpu.tried == [8, 4, 2, 2, 2, 2, 2, 2]
    assert counts(report) == (0, 0, 12, 0)
    for photo, expected in zip(gallery.raw()["photos"], wanted, strict=True):
        assert (photo["path"], photo["outcome"]) == (expected["path"], expected["outcome"])


# --- long runs ----------------------------------------------------------------------------------------------------


@pytest.mark.stress
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("photos", [2_000, 50_000])
def test_a_long_run_needs_no_more_memory_and_files_at_its_end_than_at_its_beginning(
    gallery: Gallery, photos: int, capsys: pytest.CaptureFixture[str]
) -> None:
    paint_many(gallery, range(photos))
    log = gallery.path.parent / "embedded.log"
    began = time.monotonic()
    run = start(gallery, "", log=log, batch=32)
    samples: list[tuple[int, float, int]] = []
    while run.poll() is None:
        done = 32 * log.read_text().count("\n") if log.exists() else 0
        status = Path(f"/proc/{run.pid}/status").read_text()
        if "VmRSS" in status and done:
            mib = int(status.split("VmRSS:")[1].split()[0]) / 1024
            samples.append((done, mib, len(os.listdir(f"/proc/{run.pid}/fd"))))
        time.sleep(0.05)
    out, err = run.communicate()
    assert run.returncode == 0, err
    assert f"{photos} embedded" in out
    early = [sample for sample in samples if 0.1 * photos <= sample[0] <= 0.3 * photos]
    late = [sample for sample in samples if sample[0] >= 0.8 * photos and sample[0] < photos]
    assert early
    assert late
    grown = max(mib for _, mib, _ in late) - max(mib for _, mib, _ in early)
    handles = max(files for _, _, files in early), max(files for _, _, files in late)
    with capsys.disabled():
        print(
            f"\n{photos} photos in {time.monotonic() - began:.0f} s: {max(m for _, m, _ in late):.0f} MiB at the end, "
            f"{grown:.1f} MiB more than at the beginning, {handles[1]} files open ({handles[0]} at the beginning)"
        )
    assert handles[1] <= handles[0] + 2
    assert grown < 8 + photos * 2000 / 2**20, "the record of a photo, and nothing of its pixels"
