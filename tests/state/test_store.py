"""The embedding cache: what goes in comes out, models are kept apart, damage is set aside."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest

from cartag.state.sharedtexts import SharedTexts
from cartag.state.store import Store


def key(number: int) -> str:
    return f"{number:064x}"


def vectors(count: int, width: int = 8) -> np.ndarray:
    drawn = np.random.default_rng(count).normal(size=(count, width)).astype(np.float32)
    unit: np.ndarray = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def test_embeddings_come_back_bit_by_bit_over_a_reopening(tmp_path: Path) -> None:
    wanted = {key(i): vector for i, vector in enumerate(vectors(1200))}
    with Store(tmp_path, "m") as store:
        store.put(wanted)
    with Store(tmp_path, "m") as store:
        assert store.hashes() == set(wanted)
        found = store.get([*wanted, key(5000)])
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[k], v) for k, v in wanted.items())


@pytest.mark.parametrize("at_once", [7, 100, 5000])
def test_only_undamaged_embeddings_are_scored_however_many_at_once(tmp_path: Path, at_once: int) -> None:
    wanted = {key(i): vector for i, vector in enumerate(vectors(1200))}
    odd = {key(5): wanted[key(5)][:4], key(6): wanted[key(6)] * 2, key(7): np.full(8, np.nan, np.float32)}
    with Store(tmp_path, "m") as store:
        store.put(wanted | odd | {key(2000): vectors(1)[0]})
        found: dict[str, np.ndarray] = {}
        for hashes, embeddings in store.sound([*wanted, key(5000)], at_once):
            assert len(hashes) == len(embeddings) <= at_once
            found.update(zip(hashes, embeddings, strict=True))
        assert store.hashes() == {*found, key(2000)}
        assert list(store.sound([key(5000)], at_once)) == []
    assert found.keys() == wanted.keys() - odd.keys()
    assert all(np.array_equal(vector, wanted[k]) for k, vector in found.items())


def test_models_do_not_see_each_others_embeddings(tmp_path: Path) -> None:
    one, two = vectors(2)
    with Store(tmp_path, "m@1") as store:
        store.put({key(1): one})
        store.put_texts({"a car": one})
        store.put_facts({"logit_scale": 10.0})
    with Store(tmp_path, "m@2") as store:
        assert (store.hashes(), store.texts(["a car"]), store.facts()) == (set(), {}, {})
        store.put({key(1): two})
    with Store(tmp_path, "m@1") as store:
        assert np.array_equal(store.get([key(1)])[key(1)], one)


def test_storing_again_replaces(tmp_path: Path) -> None:
    one, two = vectors(2)
    with Store(tmp_path, "m") as store:
        store.put({key(1): one})
        store.put({key(1): two})
        assert np.array_equal(store.get([key(1)])[key(1)], two)


def test_texts_are_found_one_by_one_whatever_stood_beside_them(tmp_path: Path) -> None:
    wanted = {f"text {i}": vector for i, vector in enumerate(vectors(1200, 5))} | {"a": vectors(1, 5)[0]}
    with Store(tmp_path, "m") as store:
        store.put_texts(wanted)
    with Store(tmp_path, "m") as store:
        found = store.texts([*reversed(wanted), "b", "A", "a ", ""])
        assert found.keys() == wanted.keys()
        assert all(np.array_equal(found[text], vector) for text, vector in wanted.items())
        assert store.texts([]) == {}


def test_facts_may_be_unknown(tmp_path: Path) -> None:
    with Store(tmp_path, "m") as store:
        store.put_facts({"logit_scale": 14.5, "logit_bias": None})
        assert store.facts() == {"logit_scale": 14.5, "logit_bias": None}


@pytest.mark.parametrize("damage", [b"no database at all", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_file_is_set_aside_not_deleted(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "embeddings.sqlite"
    path.write_bytes(damage)
    with Store(tmp_path, "m") as store:
        assert store.was_set_aside is not None
        assert store.was_set_aside.read_bytes() == damage
        store.put({key(1): vectors(1)[0]})
    with Store(tmp_path, "m") as store:
        assert store.was_set_aside is None
        assert store.hashes() == {key(1)}


def test_a_file_of_another_version_is_set_aside(tmp_path: Path) -> None:
    with Store(tmp_path, "m") as store:
        store.put({key(1): vectors(1)[0]})
    db = sqlite3.connect(tmp_path / "embeddings.sqlite")
    db.execute("PRAGMA user_version = 99")
    db.commit()
    db.close()
    with Store(tmp_path, "m") as store:
        assert store.was_set_aside is not None
        assert store.hashes() == set()


def test_the_file_is_hardly_longer_than_what_is_in_it(tmp_path: Path) -> None:
    with Store(tmp_path, "m") as store:
        store.put({key(i): vector for i, vector in enumerate(vectors(2000, 768))})
    assert (tmp_path / "embeddings.sqlite").stat().st_size < 1.4 * 2000 * 768 * 4


def test_an_empty_file_is_a_new_cache(tmp_path: Path) -> None:
    (tmp_path / "embeddings.sqlite").touch()
    with Store(tmp_path, "m") as store:
        assert store.was_set_aside is None


# --- texts that galleries share ---------------------------------------------------------------------------------


def named(count: int) -> dict[str, np.ndarray]:
    return {f"a photo of car {i}": vector for i, vector in enumerate(vectors(count))}


def test_shared_texts_come_back_and_models_are_kept_apart(tmp_path: Path) -> None:
    wanted = named(700)
    assert SharedTexts(tmp_path / "new", "m").get(wanted) == {}
    assert not (tmp_path / "new").exists(), "asking makes nothing"
    SharedTexts(tmp_path / "new", "m").put(wanted)
    found = SharedTexts(tmp_path / "new", "m").get([*wanted, "another"])
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[text], vector) for text, vector in wanted.items())
    assert SharedTexts(tmp_path / "new", "other").get(wanted) == {}
    SharedTexts(None, "m").put(wanted)
    assert SharedTexts(None, "m").get(wanted) == {}


def test_whatever_is_wrong_with_shared_texts_costs_time_only(tmp_path: Path) -> None:
    wanted = named(3)
    file = tmp_path / "file"
    file.write_text("a file where the folder should be")
    SharedTexts(file, "m").put(wanted)
    assert SharedTexts(file, "m").get(wanted) == {}
    SharedTexts(tmp_path / "damaged", "m").put(wanted)
    damaged, hers = tmp_path / "damaged" / "texts.sqlite", tmp_path / "damaged" / "texts.damaged"
    hers.write_text("hers")
    with damaged.open("r+b") as f:
        f.seek(2**14)
        f.write(b"no database" * 4000)
    assert SharedTexts(damaged.parent, "m").get(wanted) == {}
    SharedTexts(damaged.parent, "m").put(wanted)
    assert SharedTexts(damaged.parent, "m").get(wanted).keys() == wanted.keys()
    assert hers.read_text() == "hers"


@pytest.mark.parametrize("kind", ["text", "database", "database of version 1", "large", "link"])
def test_what_has_the_name_of_shared_texts_and_is_none_stays(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hers = tmp_path / "hers.sqlite" if kind == "link" else tmp_path / "texts.sqlite"
    if kind == "text":
        hers.write_bytes(b"my notes" * 1000)
    else:
        with contextlib.closing(sqlite3.connect(hers)) as db:
            db.executescript("CREATE TABLE text (a); INSERT INTO text VALUES (1);")
            db.execute(f"PRAGMA user_version = {1 if kind == 'database of version 1' else 0}")
    if kind == "large":
        monkeypatch.setattr("cartag.state.sharedtexts._MOST_SHARED", 10)
    if kind == "link":
        (tmp_path / "texts.sqlite").symlink_to(hers)
    before, there = hers.read_bytes(), sorted(tmp_path.iterdir())
    SharedTexts(tmp_path, "m").put(named(3))
    assert SharedTexts(tmp_path, "m").get(named(3)) == {}
    assert hers.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == there


def test_shared_texts_that_another_holds_are_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cartag.state.sharedtexts._PATIENCE", 0.1)
    SharedTexts(tmp_path, "m").put(named(3))
    with contextlib.closing(sqlite3.connect(tmp_path / "texts.sqlite")) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        SharedTexts(tmp_path, "m").put(named(5))
        assert SharedTexts(tmp_path, "m").get(named(5)) == {}
        assert time.monotonic() - began < 5
    assert len(SharedTexts(tmp_path, "m").get(named(5))) == 3


def test_shared_texts_do_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cartag.state.sharedtexts._MOST_SHARED", 200_000)
    for i in range(20):
        SharedTexts(tmp_path, f"m{i}").put(named(500))
        assert (tmp_path / "texts.sqlite").stat().st_size < 300_000
    assert len(SharedTexts(tmp_path, "m19").get(named(500))) == 500


def test_a_cache_whose_schema_is_no_text_is_a_damaged_one(tmp_path: Path) -> None:
    """SQLite quotes it in its message, of which Python then makes no error of SQLite's."""
    with Store(tmp_path, "m"):
        pass
    path = tmp_path / "embeddings.sqlite"
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE photo", b"CREATE TABL\xe0 photo"))
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        Store.read_photos(tmp_path, "m", ["0" * 64])
    with Store(tmp_path, "m") as store:
        assert store.was_set_aside is not None
