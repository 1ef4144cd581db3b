"""What is fuzzed: every parser of a file that a person, another program or a killed run may have written.

A harness takes the bytes of such a file and returns nothing. Whatever it raises is a defect: each of them lets pass what
its parser promises to raise (`cartag.errors`), and nothing else. The fuzzer (`tests/fuzz/run.py`) and the quick half
in `tests/promises/test_parsers.py` call the same ones.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from cartag.catalogs import article, catalog
from cartag.errors import ArticleError, CatalogError, ForeignFileError, IndexFileError, LabelsError
from cartag.exporting.keywords import Keywords, Region
from cartag.exporting.packet import NOTHING, ScoredCar, Statement, merged
from cartag.exporting.rdf import PacketError
from cartag.learning import learned_files, load_learned
from cartag.measuring import labels
from cartag.resources import shipped
from cartag.state import Footprint, drop_rotten, index, inspect_cache
from cartag.state.journal import Journal, latest
from cartag.values import Car

CARS = (
    Car(id="red-racer", name="Red Racer", make="Rossi", aliases=("Scuderia",)),
    Car(id="blue-bolt", name="Blue Bolt", make="Volt"),
)
SAID = Statement(
    (ScoredCar("red-racer", "Red Racer", "0.9412", "model"),),
    "tagged",
    "mini",
    Keywords(
        ("Red Racer", "Rossi"),
        ("Cars|Rossi|Red Racer",),
        ("Cars/Rossi/Red Racer",),
        (Region("red-racer", "Red Racer", 0.5, 0.5, 0.2, 0.2),),
        (400, 300),
    ),
)
TENSORS = save({"embeddings": np.eye(2, dtype=np.float32), "biases": np.zeros(2, np.float32)})


@cache
def _scratch() -> Path:
    """A folder of this process, in memory where there is such a place."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="cartag-fuzz-", dir=memory if memory.is_dir() else None))


def _file(data: bytes, name: str) -> Path:
    path = _scratch() / name
    path.write_bytes(data)
    return path


def remembering_shipped_files(parse: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """`catalog._parse` for fuzzing: a catalog pulls in shipped ones, which take far longer than the file under test."""
    remembered, folder = cache(parse), shipped("configs")
    return lambda path: remembered(path) if path.parent == folder else parse(path)


def fuzz_catalog(data: bytes) -> None:
    """A catalog is read, or refused with a `CatalogError`."""
    try:
        catalog.load_catalog(_file(data, "fuzz.yaml"))
    except CatalogError as e:
        _is_one_line(e)


def fuzz_labels(data: bytes) -> None:
    """Hand labels are read, or refused with a `LabelsError`."""
    try:
        labels.read_labels(_file(data, "fuzz.csv"), CARS, {"a.jpg", "day-1/b.jpg"}, _scratch())
    except LabelsError as e:
        _is_one_line(e)


def fuzz_index(data: bytes) -> None:
    """An index is read, or refused with an `IndexFileError`; one that was read is the same after being rewritten."""
    place = index.place_of(_scratch(), _file(data, "fuzz.json"))
    try:
        read = index.read_index_if_there(place)
        assert read is not None
        whole = index.with_foreign_fields(read)
    except IndexFileError as e:
        _is_one_line(e)
        return
    index.read_outcomes(_scratch(), place.index)
    index.read_tags(_scratch(), place.index)  # looks at less of it, and may not find more fault
    _file(index.encode(whole), "fuzz.json")
    again = index.read_index_if_there(place)
    assert again is not None
    assert again.photos == read.photos
    assert again.header == read.header


def fuzz_journal(data: bytes) -> None:
    """Of a journal every whole line is read; nothing is ever raised."""
    path = _file(data, "fuzz.jsonl")
    facts = Journal(path).read()
    latest(facts)
    path.unlink()
    journal = Journal(path)
    journal.append(facts)
    journal.close()
    assert Journal(path).read() == facts


def fuzz_xmp(data: bytes) -> None:
    """A packet is merged into, or refused; merging again changes nothing, and what was put in comes out again."""
    try:
        once = merged(data, SAID)
    except PacketError as e:
        _is_one_line(e)
        return
    assert once is not None
    assert merged(once, SAID) == once
    merged(once, NOTHING)


def fuzz_note(data: bytes) -> None:
    """The note of what cartag made in a folder is read, or refused with a `ForeignFileError`."""
    try:
        note = Footprint(_scratch(), "move it away", note=_file(data, "fuzz.made.json"))
    except ForeignFileError as e:
        _is_one_line(e)
        return
    for name in note.names():
        assert not note.is_ours(name) or (_scratch() / name).is_file()


def fuzz_learned(data: bytes) -> None:
    """What was learned is read, or refused with an `IndexFileError`."""
    place = index.place_of(_scratch(), _scratch() / "fuzz-learned.json")
    readable, tensors = learned_files(place)
    readable.write_bytes(data)
    if not tensors.exists():
        tensors.write_bytes(TENSORS)
    try:
        load_learned(place)
    except IndexFileError as e:
        _is_one_line(e)


def fuzz_cache(data: bytes) -> None:
    """A cache is looked through; after the repair nothing in it is rotten."""
    folder = _scratch() / "state"
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    (folder / "embeddings.sqlite").write_bytes(data)
    found = inspect_cache(folder)
    assert found is not None
    assert "\n" not in found.problem
    drop_rotten(folder)
    mended = inspect_cache(folder)
    assert mended is not None
    assert (mended.problem, mended.rotten) == ("", {})


def fuzz_article(data: bytes) -> None:
    """An article is read, or refused with an `ArticleError`; every mention stands where it says."""
    try:
        text = article.read_article(_file(data, "fuzz.txt"))
    except ArticleError as e:
        _is_one_line(e)
        return
    for mention in article.find_mentions(text):
        assert text.startswith(mention.words, mention.offset)
        assert 0 <= mention.certainty <= 1


def _is_one_line(error: Exception) -> None:
    assert str(error)
    assert "\n" not in str(error)


HARNESSES: dict[str, Callable[[bytes], None]] = {
    "catalog": fuzz_catalog,
    "labels": fuzz_labels,
    "index": fuzz_index,
    "journal": fuzz_journal,
    "xmp": fuzz_xmp,
    "article": fuzz_article,
    "note": fuzz_note,
    "learned": fuzz_learned,
    "cache": fuzz_cache,
}
