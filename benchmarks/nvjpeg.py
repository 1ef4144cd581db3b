"""Decoding JPEGs on the GPU (nvJPEG, through torchvision) against drafted decoding on CPU cores, in photos per second.

Both start from a file's bytes in memory and end with pixels of the model's size: nvJPEG decodes all of the photo, and
the GPU resizes it; Pillow decodes it at a fraction of its size. ``cores`` is how many cores do as much as the GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from benchmarks import measuring
from benchmarks.measuring import Report
from benchmarks.photos import KINDS, PhotoKind, make_gallery
from cartag.photos import images
from cartag.settings import usable_cores
from cartag.values import ImageSpec

_SIDE = 224
_SPEC = ImageSpec(_SIDE, _SIDE, "squash", _SIDE, 3, (0.5,) * 3, (0.5,) * 3)
_PHOTOS = {"web": 256, "camera": 32}
_BATCHES = {"web": (32, 128), "camera": (8, 32)}
_THREADS = (1, 4)
_SECONDS = 1.0
_END_OF_IMAGE = b"\xff\xd9"


def measure(work: Path, kinds: Sequence[PhotoKind], device: str) -> Report:
    """Lets both decode all kinds."""
    report = Report("nvjpeg", ("photos", "way", "photos/s", "cores", "mean difference"))
    for kind in kinds:
        gallery = make_gallery(work / "photos", kind, _PHOTOS[kind.name])
        data = [_cut(images.read_bytes(path)) for path in sorted(gallery.glob("*.jpg"))]
        one, every = (_drafted(data, cores) for cores in (1, usable_cores()))
        report.add(kind.name, "CPU, 1 thread", one, 1, "")
        report.add(kind.name, f"CPU, {usable_cores()} threads", every, usable_cores(), "")
        difference = _difference(data[0], device)
        for batch in _BATCHES[kind.name]:
            for threads in _THREADS:
                rate = _on_gpu(data, batch, threads, device)
                way = f"nvJPEG, {batch} at once, {threads} thread(s)"
                report.add(kind.name, way, rate, rate / (every / usable_cores()), difference)
    report.device = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return report


def _cut(photo: bytes) -> bytes:
    """Without the bytes after its end that make every photo of a set another one."""
    return photo[: photo.rindex(_END_OF_IMAGE) + 2]


def _drafted(data: Sequence[bytes], cores: int) -> float:
    with ThreadPoolExecutor(cores) as pool:
        return _rate(lambda: list(pool.map(lambda photo: images.decode(photo, _SPEC), data)), len(data))


def _on_gpu(data: Sequence[bytes], batch: int, threads: int, device: str) -> float:
    """Several threads let the GPU resize one batch while it decodes another; torchvision may decode one at a time."""
    batches = [data[i : i + batch] for i in range(0, len(data), batch)]

    def decode(some: Sequence[bytes]) -> None:
        with torch.cuda.stream(torch.cuda.Stream(device)) if device.startswith("cuda") else torch.inference_mode():
            gpu_decode(some, device).cpu()

    with ThreadPoolExecutor(threads) as pool:
        return _rate(lambda: list(pool.map(decode, batches)), len(data))


@torch.inference_mode()
def gpu_decode(photos: Sequence[bytes], device: str) -> torch.Tensor:
    """Pixels (n, 3, side, side) in 0..255, float32, on the device."""
    from torchvision.io import ImageReadMode, decode_jpeg

    encoded = [torch.frombuffer(bytearray(photo), dtype=torch.uint8) for photo in photos]
    decoded = decode_jpeg(encoded, mode=ImageReadMode.RGB, device=device)
    return torch.cat([_resized(pixels[None].float()) for pixels in decoded])


def _resized(photo: torch.Tensor) -> torch.Tensor:
    """In two steps, as Pillow does it: averaged to at least twice the side, for the kernel of one step is huge."""
    factor = max(1, min(photo.shape[2:]) // (2 * _SIDE))
    photo = torch.nn.functional.avg_pool2d(photo, factor)
    return torch.nn.functional.interpolate(photo, (_SIDE, _SIDE), mode="bicubic", antialias=True)


def _difference(photo: bytes, device: str) -> float:
    """Mean difference of the two ways' pixels, in levels of 0..255."""
    pixels = images.decode(photo, _SPEC).pixels
    assert pixels is not None  # a spec was given
    other = gpu_decode([photo], device)[0].clamp(0, 255).permute(1, 2, 0).cpu().numpy()
    return float(np.abs(other - pixels).mean())


def _rate(work: Callable[[], object], photos: int) -> float:
    work()
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < _SECONDS:
        work()
        done += photos
    return done / (time.perf_counter() - began)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = measuring.parser("nvjpeg", __doc__ or "")
    parser.add_argument("--device", default="cuda", help="cuda or cuda:N")
    parser.add_argument("--photos", choices=[*KINDS, "both"], default="both", help="which set")
    options = parser.parse_args(arguments)
    kinds = [kind for name, kind in KINDS.items() if options.photos in (name, "both")]
    with measuring.workplace(options.work) as work:
        measuring.publish(measure(work, kinds, options.device), options)


if __name__ == "__main__":
    main()
