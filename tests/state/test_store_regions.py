"""The cache of regions: embeddings by photo and box, boxes by detector; old files and old versions go on with them."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from cartag.state.sharedtexts import SharedTexts
from cartag.state.store import TABLES, Store
from cartag.values import Box

LEFT: Box = (0.1, 0.35, 0.3, 0.25)
RIGHT: Box = (0.5, 0.2, 0.4999, 0.6)


def key(number: int) -> str:
    return f"{number:064x}"


def vectors(count: int, width: int = 8) -> np.ndarray:
    drawn = np.random.default_rng(count).normal(size=(count, width)).astype(np.float32)
    unit: np.ndarray = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """As an index has them: four digits, within the photo."""
    x, y = (draw(st.integers(0, 9_999)) for _ in "xy")
    width, height = draw(st.integers(1, 10_000 - x)), draw(st.integers(1, 10_000 - y))
    return (round(x / 10_000, 4), round(y / 10_000, 4), round(width / 10_000, 4), round(height / 10_000, 4))


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("regions"), "m")


@given(st.sets(st.tuples(st.integers(0, 5), boxes()), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_whatever_the_box_its_embedding_comes_back_bit_by_bit(shared_store: Store, drawn: set[tuple[int, Box]]) -> None:
    wanted = dict(zip([(key(number), box) for number, box in drawn], vectors(len(drawn)), strict=True))
    shared_store.put_regions(wanted)
    found = shared_store.regions(list(wanted))
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[k], vector) for k, vector in wanted.items())
    of_photos = shared_store.regions_of([key(number) for number, _ in drawn])
    assert {(h, box) for h, regions in of_photos.items() for box, _ in regions} >= wanted.keys()


def test_regions_come_back_over_a_reopening_and_no_other_box_has_them(tmp_path: Path) -> None:
    drawn = vectors(1200)
    wanted = {(key(i // 2), (LEFT, RIGHT)[i % 2]): vector for i, vector in enumerate(drawn)}
    with Store(tmp_path, "m") as store:
        store.put_regions(wanted)
    with Store(tmp_path, "m") as store:
        found = store.regions([*wanted, (key(1), (0.1, 0.35, 0.3, 0.2501)), (key(5000), LEFT)])
        assert store.hashes() == set(), "a photo as a whole is another thing"
        assert store.regions([]) == {}
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[k], vector) for k, vector in wanted.items())


def test_boxes_that_are_equal_in_four_digits_are_one(tmp_path: Path) -> None:
    finer = (0.100_03, 0.349_96, 0.3, 0.25)
    with Store(tmp_path, "m") as store:
        store.put_regions({(key(1), LEFT): vectors(1)[0]})
        assert store.regions([(key(1), finer)]).keys() == {(key(1), finer)}
        assert [box for box, _ in store.regions_of([key(1)])[key(1)]] == [LEFT]


def test_regions_of_a_photo_are_largest_first(tmp_path: Path) -> None:
    one, two, three = vectors(3)
    with Store(tmp_path, "m") as store:
        store.put_regions({(key(1), LEFT): one, (key(1), RIGHT): two, (key(2), LEFT): three})
        found = store.regions_of([key(1), key(2), key(3)])
    assert {h: [box for box, _ in regions] for h, regions in found.items()} == {key(1): [RIGHT, LEFT], key(2): [LEFT]}
    assert np.array_equal(found[key(1)][0][1], two)


def test_models_and_detectors_are_kept_apart(tmp_path: Path) -> None:
    one, two = vectors(2)
    seen = np.array([[*LEFT, 0.9]], np.float32)
    with Store(tmp_path, "m@1") as store:
        store.put_regions({(key(1), LEFT): one})
        store.put_seen("look@1", {key(1): seen})
    with Store(tmp_path, "m@2") as store:
        assert store.regions([(key(1), LEFT)]) == {}
        store.put_regions({(key(1), LEFT): two})
        assert store.seen("look@2", [key(1)]) == {}
        assert np.array_equal(store.seen("look@1", [key(1)])[key(1)], seen), "whatever model looks at the regions"
    with Store(tmp_path, "m@1") as store:
        assert np.array_equal(store.regions([(key(1), LEFT)])[key(1), LEFT], one)


def test_a_damaged_region_counts_as_not_cached(tmp_path: Path) -> None:
    wanted = {(key(i), LEFT): vector for i, vector in enumerate(vectors(9))}
    odd = {
        (key(5), LEFT): wanted[key(5), LEFT][:4],
        (key(6), LEFT): wanted[key(6), LEFT] * 2,
        (key(7), LEFT): np.full(8, np.nan, np.float32),
    }
    with Store(tmp_path, "m") as store:
        store.put_regions(wanted | odd)
        (model,) = store._db.execute("SELECT id FROM model").fetchone()
        vector = wanted[key(1), LEFT].tobytes()
        for box in (b"", b"box", bytes(8), b"\xff" * 8, "words", 7):
            with store._db:
                store._db.execute("INSERT INTO region VALUES (?, ?, ?, ?)", (model, bytes.fromhex(key(1)), box, vector))
        with store._db:
            store._db.execute("UPDATE region SET vector = 7 WHERE sha256 = ?", (bytes.fromhex(key(8)),))
        found = store.regions(list(wanted))
        assert found.keys() == wanted.keys() - odd.keys() - {(key(8), LEFT)}
        assert [box for box, _ in store.regions_of([key(1)])[key(1)]] == [LEFT]


# --- what detectors saw -----------------------------------------------------------------------------------------


def test_what_was_seen_comes_back_also_that_nothing_was(tmp_path: Path) -> None:
    wanted = {key(i): np.array([[*LEFT, 0.5], [*RIGHT, 1.0]], np.float32)[: i % 3] for i in range(1200)}
    with Store(tmp_path, "m") as store:
        store.put_seen("look", wanted)
    with Store(tmp_path, "m") as store:
        found = store.seen("look", [*wanted, key(5000)])
    assert found.keys() == wanted.keys()
    assert all(
        np.array_equal(found[h], boxes) and found[h].shape == (i % 3, 5) for i, (h, boxes) in enumerate(wanted.items())
    )


@pytest.mark.parametrize(
    "damaged",
    [
        [np.nan, 0.1, 0.2, 0.2, 0.9],
        [0.1, 0.1, np.inf, 0.2, 0.9],
        [0.1, 0.1, 0.2, 0.0, 0.9],
        [0.1, 0.1, -0.2, 0.2, 0.9],
        [-0.1, 0.1, 0.2, 0.2, 0.9],
        [0.9, 0.1, 0.2, 0.2, 0.9],
        [0.1, 0.1, 0.2, 0.2, np.nan],
        [0.1, 0.1, 0.2, 0.2, 1.5],
        b"\0" * 19,
        "words",
    ],
)
def test_damaged_boxes_count_as_not_looked_at(tmp_path: Path, damaged: list[float] | bytes | str) -> None:
    sound = np.array([[*LEFT, 0.9]], np.float32)
    with Store(tmp_path, "m") as store:
        store.put_seen("look", {key(1): sound, key(2): sound})
        data = np.array([[*LEFT, 0.9], damaged], np.float32).tobytes() if isinstance(damaged, list) else damaged
        with store._db:
            store._db.execute("UPDATE seen SET boxes = ? WHERE sha256 = ?", (data, bytes.fromhex(key(1))))
        assert store.seen("look", [key(1), key(2)]).keys() == {key(2)}
        store.put_seen("look", {key(1): sound})
        assert store.seen("look", [key(1), key(2)]).keys() == {key(1), key(2)}


# --- old files, old versions ------------------------------------------------------------------------------------


def as_older(folder: Path) -> Path:
    """A cache as an older cartag wrote it, with one photo."""
    file = folder / "embeddings.sqlite"
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.executescript(f"{TABLES} PRAGMA user_version = 1;")
        db.execute("INSERT INTO model (identity) VALUES ('m')")
        db.execute("INSERT INTO photo VALUES (1, ?, ?)", (bytes.fromhex(key(1)), vectors(1)[0].tobytes()))
        db.commit()
    return file


def test_an_older_cache_is_kept_and_used(tmp_path: Path) -> None:
    as_older(tmp_path)
    with Store(tmp_path, "m") as store:
        assert store.was_set_aside is None
        assert store.hashes() == {key(1)}
        store.put_regions({(key(1), LEFT): vectors(1)[0]})
        assert store.regions_of([key(1)]).keys() == {key(1)}


def test_an_older_cartag_finds_in_a_new_cache_what_it_asks_for(tmp_path: Path) -> None:
    with Store(tmp_path, "m") as store:
        store.put_regions({(key(1), LEFT): vectors(1)[0]})
    with contextlib.closing(sqlite3.connect(tmp_path / "embeddings.sqlite")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        made = dict(db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
    as_it_knows_them = {
        re.findall(r"CREATE TABLE (\w+)", sql)[0]: sql.strip() for sql in TABLES.split(";") if sql.strip()
    }
    assert as_it_knows_them.items() <= made.items()
    assert made.keys() - as_it_knows_them.keys() == {"region", "seen"}


def test_the_file_of_shared_texts_stays_as_an_older_cartag_knows_it(tmp_path: Path) -> None:
    SharedTexts(tmp_path, "m").put({"a car": vectors(1)[0]})
    with contextlib.closing(sqlite3.connect(tmp_path / "texts.sqlite")) as db:
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names == set(re.findall(r"CREATE TABLE (\w+)", TABLES))
    assert SharedTexts(tmp_path, "m").get(["a car"]).keys() == {"a car"}


def test_regions_are_read_without_writing_from_an_older_cache_too(tmp_path: Path) -> None:
    file = as_older(tmp_path)
    before = file.read_bytes()
    assert Store.read_regions(tmp_path, "m", [key(1)]) == {}
    assert file.read_bytes() == before
    with Store(tmp_path, "m") as store:
        store.put_regions({(key(1), LEFT): vectors(1)[0]})
    before = file.read_bytes()
    found = Store.read_regions(tmp_path, "m", [key(1), key(2)])
    assert [box for box, _ in found[key(1)]] == [LEFT]
    assert Store.read_regions(tmp_path, "another", [key(1)]) == {}
    assert file.read_bytes() == before
    with pytest.raises(sqlite3.Error):
        Store.read_regions(tmp_path / "nowhere", "m", [key(1)])
