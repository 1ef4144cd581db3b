"""Draws the sample gallery, checks that the shipped one is what is drawn, or draws random pictures for training.

    python data/draw_gallery.py                                     redraw data/gallery
    python data/draw_gallery.py --check                             exit 1 if data/gallery differs from what is drawn
    python data/draw_gallery.py --random 500 --to DIR --seed 7      random drawings and their labels.csv
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))

from drawing.gallery import gallery_scenes
from drawing.scenes import Scene, draw, random_scene

__all__ = ["Scene", "draw", "gallery_scenes", "random_scene"]

GALLERY = Path(__file__).resolve().parent / "gallery"
WIDTH = 1600
TOLERANCE = 2.0
"""Mean absolute difference per channel, in steps of 255, that `--check` still calls the same picture: JPEG encoders
and floating-point libraries differ that little between versions; another scene differs by 20 or more."""

_README = """\
# The sample gallery

37 drawings for trying cartag out. None is a photograph: the project draws them itself, with Pillow and numpy. They
follow the route of the Mille Miglia from Brescia to Rome and back, and show the eleven cars of
`configs/mille-miglia-2013.yaml`, three other cars, and three scenes without a car.

- `labels.csv`: which cars are in which drawing (`a|b` two cars, `none` no car, `unknown` a car outside the catalog)
- `captions.csv`: a line about each

Figures measured here are figures on drawings. They say that everything works, not how well cartag does on photographs.

Redraw them with `python data/draw_gallery.py`; `python data/draw_gallery.py --check` tells whether the files here are
what the program draws (mean difference of at most 2 of 255 per channel).
"""

_T = TypeVar("_T")
_R = TypeVar("_R")


def _keep_memory() -> None:
    """Let glibc keep freed memory: asking the system anew for each large array costs as much time as drawing."""
    try:
        libc = ctypes.CDLL(None)
        for option, value in ((-1, 1 << 30), (-3, 1 << 30), (-2, 1 << 26)):  # M_TRIM_THRESHOLD, M_MMAP_..., M_TOP_PAD
            libc.mallopt(option, value)
    except (OSError, AttributeError, TypeError):
        pass


@contextmanager
def _mapper(jobs: int, chunk: int) -> Iterator[Callable[[Callable[[_T], _R], Iterable[_T]], Iterable[_R]]]:
    """`map`, in order, over `jobs` processes."""
    if jobs == 1:
        _keep_memory()
        yield map
    else:
        with ProcessPoolExecutor(jobs, initializer=_keep_memory) as pool:
            yield partial(pool.map, chunksize=chunk)


def _name(number: int) -> str:
    return f"mille-miglia-2013-{number:02d}.jpg"


def _gallery_jpeg(number: int) -> bytes:
    """The encoded drawing number `number`, from 1."""
    out = io.BytesIO()
    draw(gallery_scenes()[number - 1], WIDTH).save(out, "JPEG", quality=84, optimize=True)
    return out.getvalue()


def _csv(column: str, rows: Iterable[tuple[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["file", column])
    writer.writerows(rows)
    return out.getvalue()


def _texts() -> dict[str, str]:
    """The gallery's text files by name."""
    scenes = [(_name(k), scene) for k, scene in enumerate(gallery_scenes(), start=1)]
    return {
        "labels.csv": _csv("label", ((name, "|".join(scene.labels)) for name, scene in scenes)),
        "captions.csv": _csv("caption", ((name, scene.caption) for name, scene in scenes)),
        "README.md": _README,
    }


def write_gallery(to: Path, jobs: int) -> None:
    """Write the 37 drawings and their text files into `to`."""
    to.mkdir(parents=True, exist_ok=True)
    numbers = range(1, len(gallery_scenes()) + 1)
    with _mapper(jobs, 1) as each:
        for number, data in zip(numbers, each(_gallery_jpeg, numbers), strict=True):
            (to / _name(number)).write_bytes(data)
    for name, text in _texts().items():
        (to / name).write_text(text, encoding="utf-8")


def _difference(shipped: Path, data: bytes) -> float:
    """Mean absolute difference of two JPEGs; infinite where sizes differ or a file is missing."""
    if not shipped.is_file():
        return float("inf")
    with Image.open(shipped) as one, Image.open(io.BytesIO(data)) as other:
        if one.size != other.size:
            return float("inf")
        return float(np.abs(np.asarray(one, dtype=np.int16) - np.asarray(other, dtype=np.int16)).mean())


def check_gallery(at: Path, jobs: int) -> list[str]:
    """Redraw in memory and name every file in `at` that is not what is drawn."""
    wrong = []
    numbers = range(1, len(gallery_scenes()) + 1)
    with _mapper(jobs, 1) as each:
        for number, data in zip(numbers, each(_gallery_jpeg, numbers), strict=True):
            difference = _difference(at / _name(number), data)
            if difference > TOLERANCE:
                wrong.append(f"{_name(number)}: differs by {difference:.2f}, allowed is {TOLERANCE}")
    for name, text in _texts().items():
        if not (at / name).is_file() or (at / name).read_text(encoding="utf-8") != text:
            wrong.append(f"{name}: differs")
    return wrong


def _write_random(i: int, seed: int, to: Path, width: int) -> tuple[str, str]:
    scene = random_scene(seed, i)
    name = f"draw-{i:06d}.jpg"
    draw(scene, width).save(to / name, quality=88)
    return name, "|".join(scene.labels)


def write_random(count: int, to: Path, seed: int, width: int, jobs: int) -> None:
    """Write `count` random drawings of series `seed` and their labels.csv into `to`."""
    to.mkdir(parents=True, exist_ok=True)
    with _mapper(jobs, 8) as each:
        rows = list(each(partial(_write_random, seed=seed, to=to, width=width), range(count)))
    (to / "labels.csv").write_text(_csv("label", rows), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 done, 1 the check failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare the shipped gallery with what is drawn")
    parser.add_argument("--random", type=int, metavar="N", help="write N random drawings instead")
    parser.add_argument("--to", type=Path, metavar="DIR", help="folder to write to (default: data/gallery)")
    parser.add_argument("--seed", type=int, default=0, help="series of random drawings (default: 0)")
    parser.add_argument("--width", type=int, default=640, help="width of random drawings in pixels (default: 640)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    options = parser.parse_args(arguments)
    if options.random is not None:
        if options.to is None:
            parser.error("--random needs --to DIR")
        write_random(options.random, options.to, options.seed, options.width, options.jobs)
    elif options.check:
        wrong = check_gallery(options.to or GALLERY, options.jobs)
        print("\n".join(wrong) or "the gallery is what is drawn")
        return 1 if wrong else 0
    else:
        write_gallery(options.to or GALLERY, options.jobs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
