"""How quickly a folder of shards answers: made of rows that nobody photographed, asked as anybody would.

Every record has its region, its tags and candidates out of a catalog of cars, and an embedding; shards are written by
the writer that a run uses. Commands are whole processes, so that start-up counts. What a text costs beyond the model's
own part is measured in a process that brings its vector along, and beside it what reading the same columns alone costs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import measuring
from benchmarks.measuring import Report, medians
from cartag.state import shard_folder, write_header, write_shard
from cartag.values import (
    Candidate,
    IndexedCar,
    IndexedCatalog,
    IndexedModel,
    IndexHeader,
    OtherCar,
    PhotoRecord,
    Region,
    Tag,
)

SHARD = 20_000
CARS = 100
IDENTITY = "synthetic"
_RUNS = 3
"""Of questions that take seconds; their medians are shown."""
_GRAPHS = 100_000
"""Rows up to which `--approximate` is measured: making graphs takes a minute for some ten thousand."""
_TEXT = """
import sys, time, numpy as np
from pathlib import Path
from cartag.state import nearest
from cartag.state.opening import open_index
index = open_index(Path("."), sys.argv[1], whole=True)
vector = np.random.default_rng(1).standard_normal(int(sys.argv[2])).astype(np.float32)
began, used = time.perf_counter(), time.process_time()
found = nearest(index, vector / np.linalg.norm(vector), by_words=True, limit=100)
assert len(found) == 100
print(time.perf_counter() - began, time.process_time() - used)
"""
_READ = """
import sys, time
from cartag.state import done_shards, shard_folder
from cartag.state.shards.reading import blocks
place = shard_folder(sys.argv[1])
began, used, size = time.perf_counter(), time.process_time(), 0
for shard in done_shards(place):
    for table in blocks(place, shard.photos, ["path", "looks.list.element.shown", "looks.list.element.vector"]):
        size += table.nbytes
print(time.perf_counter() - began, time.process_time() - used, size)
"""


_NEAR = """
import sys, time, numpy as np
from pathlib import Path
from cartag.progress import Silent
from cartag.state import nearest, nearly_nearest
from cartag.state.opening import open_index
index = open_index(Path("."), sys.argv[1], whole=True)
state, found, wanted = Path(sys.argv[1]) / ".cartag", 0, 0
looks = [look for some, _ in zip(index.all_looks(), range(1)) for look in list(some.values())[:20]]
rng, seconds = np.random.default_rng(2), []
for [(_, vector)] in looks:
    query = vector + rng.standard_normal(len(vector)).astype(np.float32) / len(vector) ** 0.5
    query /= np.linalg.norm(query)
    began = time.perf_counter()
    near = nearly_nearest(index, state, query, by_words=True, limit=10, progress=Silent())
    seconds.append(time.perf_counter() - began)
    best = {record.path for _, record, _ in nearest(index, query, by_words=True, limit=10)}
    found, wanted = found + len(best & {record.path for _, record, _ in near}), wanted + len(best)
print(seconds[0], sorted(seconds[1:])[len(seconds) // 2], time.process_time(), found / wanted)
"""
_LAYOUT = """
import sys, time, numpy as np, pyarrow as pa, pyarrow.parquet as pq
rows, width = 50_000, int(sys.argv[2])
numbers = np.random.default_rng(0).standard_normal((rows, width)).astype(np.float16)
lists = pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), width)
binary = pa.FixedSizeBinaryArray.from_buffers(pa.binary(2 * width), rows, [None, pa.py_buffer(numbers.tobytes())])
for column in (binary, lists):
    pq.write_table(pa.table({"v": column}), sys.argv[1], compression="none", use_dictionary=False)
    used = []
    for _ in range(3):
        began = time.process_time()
        pq.read_table(sys.argv[1], use_threads=False)
        used.append(time.process_time() - began)
    print(numbers.nbytes / min(used) / 1e9, end=" ")
"""


def make(folder: Path, rows: int, width: int) -> None:
    """Writes an index of that many photos with embeddings of ``width`` numbers; shards that are there stay."""
    place = shard_folder(folder)
    there = {name.removesuffix(".json") for name in place.names("shards")}
    for number, start in enumerate(range(0, rows, SHARD)):
        if f"shards/{number:05d}" not in there:
            records = [_record(i) for i in range(start, min(start + SHARD, rows))]
            vectors = np.random.default_rng(number).standard_normal((len(records), width)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            looks = {str(r.sha256): [(_box(r), vector)] for r, vector in zip(records, vectors, strict=True)}
            write_shard(place, f"{number:05d}", records, looks, embeddings=IDENTITY)
            print(f"{start + len(records):,} rows", file=sys.stderr)
    cars = tuple(IndexedCar(id=f"make-car-{i:03d}", name=f"Make Car {i:03d}", make="Make") for i in range(CARS))
    header = IndexHeader(
        generator="benchmarks",
        updated="2026-01-01T00:00:00Z",
        model=IndexedModel(name=IDENTITY, source="none", revision="0", dtype="float32"),
        catalog=IndexedCatalog(name="synthetic", sha256="0" * 64, cars=cars),
    )
    write_header(place, header, embeddings=IDENTITY)


def _box(record: PhotoRecord) -> tuple[float, float, float, float]:
    assert isinstance(record.regions, tuple)
    return record.regions[0].box


def _record(i: int) -> PhotoRecord:
    """Three photos in ten are tagged, three show another car, four an unknown one."""
    kind, car = i % 10, (i // 10 * 7919) % CARS
    box = (0.1 + i % 7 / 100, 0.2, 0.5, 0.4)
    score = round(0.5 + (i * 31 % 5000) / 10_000, 4)
    tags = (Tag(car=f"make-car-{car:03d}", score=score),) if kind < 3 else ()
    others = tuple(
        Candidate(car=f"make-car-{(car + j) % CARS:03d}", score=round((1 - score) / (j + 1), 4)) for j in range(1, 6)
    )
    outcome = "tagged" if tags else "unknown"
    region = Region(
        box=box,
        found=0.9,
        outcome="tagged" if tags else "unknown",
        tags=tags,
        candidates=others,
        **({"other": OtherCar(name=f"Other Car {i % 300}", score=score)} if 3 <= kind < 6 else {}),  # type: ignore[arg-type]
    )
    on_photo = tuple(Tag(car=tag.car, score=tag.score, box=box) for tag in tags)
    return PhotoRecord(
        path=f"photos/{i // 500:06d}/IMG_{i:08d}.JPG",
        sha256=f"{(i * 2654435761) % 2**256:064x}",
        size=4_000_000 + i % 1000,
        mtime_ns=1_700_000_000_000_000_000 + i,
        width=6000,
        height=4000,
        outcome="tagged" if outcome == "tagged" else "unknown",
        tags=on_photo,
        candidates=others,
        regions=(region,),
    )


def measure(folder: Path, rows: int, width: int) -> Report:
    """Asks the index in ``folder``, each question in a process of its own."""
    report = Report("cluster_query", ("question", "rows", "seconds", "core-seconds", "peak MB"))
    car = "Make Car 042"
    asked: tuple[tuple[str, tuple[object, ...]], ...] = (
        ("find CAR --limit 100", ("find", folder, car, "--index", folder, "--limit", 100)),
        ("find CAR", ("find", folder, car, "--index", folder)),
        (
            "find CAR --min-score 0.3 --limit 100",
            ("find", folder, car, "--index", folder, "--min-score", 0.3, "--limit", 100),
        ),
        ("show", ("show", folder, "--index", folder)),
    )
    for name, command in asked:
        done = medians([measuring.cartag(*command) for _ in range(1 if "--min-score" in command else _RUNS)])
        report.add(name, rows, done.seconds, done.core_seconds, done.peak_mb)
    done = measuring.run([sys.executable, "-c", _READ, str(folder)])
    seconds, used, size = map(float, done.output.split())
    report.add(f"reading the embeddings ({size / used / 1e9:.2f} GB a core-second)", rows, seconds, used, done.peak_mb)
    done = measuring.run([sys.executable, "-c", _TEXT, str(folder), str(width)])
    seconds, used = map(float, done.output.split())
    report.add(f"--text, exact, 100 best ({size / used / 1e9:.2f} GB a core-second)", rows, seconds, used, done.peak_mb)
    binary, lists = measuring.run(
        [sys.executable, "-c", _LAYOUT, str(folder.with_suffix(".layout")), str(width)]
    ).output.split()
    folder.with_suffix(".layout").unlink()
    report.notes.append(
        f"A column of embeddings of fixed size, as bytes, reads {float(binary):.1f} GB a core-second, as lists of "
        f"numbers {float(lists):.1f}."
    )
    if rows <= _GRAPHS:
        done = measuring.run([sys.executable, "-c", _NEAR, str(folder)])
        first, then, used, recall = map(float, done.output.split())
        report.add("--approximate, 10 best, graphs made", rows, first, used, done.peak_mb)
        report.add(f"--approximate, 10 best ({100 * recall:.0f} % of them found)", rows, then, "", done.peak_mb)
    return report


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = measuring.parser("cluster_query", __doc__ or "")
    parser.add_argument("--rows", type=int, default=1_000_000, help="photos; ten millions take some 15 GB of disk")
    parser.add_argument("--width", type=int, default=512, help="numbers of an embedding")
    options = parser.parse_args(arguments)
    rows = 20_000 if options.quick else options.rows
    with measuring.workplace(options.work) as work:
        folder = work / f"index-{rows}-{options.width}"
        make(folder, rows, options.width)
        report = measure(folder, rows, options.width)
    measuring.publish(report, options)


if __name__ == "__main__":
    main()
