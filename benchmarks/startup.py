"""How long short commands take as whole processes, beside `import torch, transformers` in the same minutes."""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import measuring
from benchmarks.checkpoint import clip_b32
from benchmarks.galleries import make_gallery
from benchmarks.measuring import ROOT, Report, Run, medians
from benchmarks.photos import WEB, make_gallery as make_photos

IMPORTS = "import torch, transformers"
FIRST, SECOND = "cartag tag, 37 photos, mini, first gallery ever", "cartag tag, 37 photos, mini, second gallery"
HUB_FIRST, HUB_SECOND = "cartag tag, 1 photo, ViT-B/32, first gallery of the model", "cartag tag, 1 photo, ViT-B/32"
NEW = "cartag tag, 1 new photo among 1,000, mini"
SHORT = ("cartag --help", "cartag find, 1,000 photos")
WHOLE = ("cartag tag, {count} web photos, mini", "cartag tag, {count} web photos, mini, --runtime torch")
_GALLERY = ROOT / "data" / "gallery"
_HUB_RUNS = 3
_SAMPLED = 256


def measure(work: Path, runs: int, photos: int) -> Report:
    """Runs the commands in turns; ``photos`` are those of the two long ones, which run once, one after the other."""
    known = make_gallery(work / "1000", 1000, "fake", "mille-miglia-2013", files=False)
    tagged = make_gallery(work / "1000-mini", 1000, "mini", "mille-miglia-2013")
    turns: list[dict[str, Run]] = []
    for _ in range(runs + 1):
        one = {IMPORTS: measuring.run([sys.executable, "-c", IMPORTS])}
        one |= {SHORT[0]: measuring.cartag("--help"), SHORT[1]: measuring.cartag("find", known, "ferrari")}
        one |= _two_galleries("mini", (FIRST, SECOND), sorted(_GALLERY.glob("*.jpg")))
        now = time.time_ns()  # after the end of a JPEG: another content, which nothing is cached of
        (tagged / f"new-{now}.jpg").write_bytes(next(_GALLERY.glob("*.jpg")).read_bytes() + now.to_bytes(8, "big"))
        one[NEW] = measuring.cartag("tag", tagged, "--model", "mini")
        turns.append(one)
    model = clip_b32(work / "clip-b32")
    photo = [_GALLERY / "mille-miglia-2013-01.jpg"]
    hub = [_two_galleries(str(model), (HUB_FIRST, HUB_SECOND), photo) for _ in range(min(runs, _HUB_RUNS))]
    return _report(turns[1:], hub, _whole(work, photos), _texts_in_photos(model))


def _report(turns: list[dict[str, Run]], hub: list[dict[str, Run]], whole: dict[str, Run], texts: float) -> Report:
    """The first turn is left out: it reads the files of Python itself.

    Ratios are medians of those within a turn: between turns the machine may be busy with something else.
    """
    report = Report("startup", ("command", "seconds", "core-seconds", "peak MiB", f"seconds / `{IMPORTS}`", "core-s /"))
    rows = {name: medians([turn[name] for turn in some]) for some in (turns, hub) for name in some[0]} | whole
    imports = rows[IMPORTS]
    for name, run in rows.items():
        pairs = [(turn[name], turn[IMPORTS]) for turn in turns if name in turn] or [(run, imports)]
        ratios = (
            statistics.median(one.seconds / other.seconds for one, other in pairs),
            statistics.median(one.core_seconds / other.core_seconds for one, other in pairs),
        )
        report.add(name, run.seconds, run.core_seconds, run.peak_mb, *ratios)
    one, other = whole.values()
    report.notes += [
        "The first gallery ever embeds the texts of the catalog, the second one finds them in the user's cache.",
        f"The web photos, ONNX Runtime against torch: {other.seconds / one.seconds:.2f} times as many a second "
        f"({other.core_seconds / one.core_seconds:.2f} by core-seconds).",
        f"ViT-B/32 has random weights. The texts of its first gallery take as long as {texts:.0f} of its photos.",
    ]
    return report


def _two_galleries(model: str, names: tuple[str, str], photos: Sequence[Path]) -> dict[str, Run]:
    """The same photos tagged twice, in two folders, by a user who never tagged anything before."""
    with TemporaryDirectory() as folder:
        runs = {}
        for name, where in zip(names, ("one", "two"), strict=True):
            (Path(folder) / where).mkdir()
            for photo in photos:
                shutil.copy(photo, Path(folder) / where)
            command = ("tag", Path(folder) / where, "--model", model)
            runs[name] = measuring.cartag(*command, CARTAG_TEXT_CACHE=f"{folder}/cache")
        return runs


def _whole(work: Path, count: int) -> dict[str, Run]:
    """Many photos by either runtime; the texts are there already, as nearly always."""
    photos = make_photos(work, WEB, count)
    texts = work / "texts"
    measuring.cartag(*_tag(_GALLERY, work / "37.json"), CARTAG_TEXT_CACHE=str(texts))
    return {
        name.format(count=f"{count:,}"): measuring.cartag(
            *_tag(photos, work / f"{which}.json", "--runtime", which, "--retag"), CARTAG_TEXT_CACHE=str(texts)
        )
        for name, which in zip(WHOLE, ("onnx", "torch"), strict=True)
    }


def _tag(gallery: Path, index: Path, *more: str) -> tuple[object, ...]:
    return ("tag", gallery, "--model", "mini", "--index", index, *more)


def _texts_in_photos(model: Path) -> float:
    """How many photos a model embeds while it embeds the texts of the shipped catalog, on this process's cores."""
    import numpy as np

    from cartag import checkpoints, encoder
    from cartag.catalogs import load_catalog, prompt_classes
    from cartag.progress import Silent

    texts = list(dict.fromkeys(t for c in prompt_classes(load_catalog("mille-miglia-2013")) for t in c.texts))
    loaded = encoder.load(checkpoints.resolve(str(model), Silent()), device="cpu", dtype="float32")
    spec = loaded.image_spec
    pixels = [np.full((spec.height, spec.width, 3), 99, np.uint8)] * 32
    some = texts[:: max(1, len(texts) // _SAMPLED)]

    def seconds(what: Callable[[], object]) -> float:
        what()
        began = time.process_time()
        what()
        return time.process_time() - began

    a_text = seconds(lambda: loaded.embed_texts(some)) / len(some)
    a_photo = seconds(lambda: loaded.embed_images(pixels)) / len(pixels)
    return len(texts) * a_text / a_photo


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = measuring.parser("startup", __doc__ or "")
    parser.add_argument("--photos", type=int, help="web photos of the long commands; default: 2,000, quick 200")
    options = parser.parse_args(arguments)
    photos = options.photos or (200 if options.quick else 2000)
    with measuring.workplace(options.work) as work:
        report = measure(work, options.runs or (5 if options.quick else 15), photos)
    measuring.publish(report, options)


if __name__ == "__main__":
    main()
