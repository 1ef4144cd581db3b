"""Shards: what goes in comes out, and what no small file names does not exist."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st
from strategies import index_files

from cartag.errors import IndexFileError
from cartag.state import (
    ShardDone,
    ShardFolder,
    done_shards,
    read_header,
    read_identities,
    read_index,
    remove_shard,
    shard_folder,
    shard_records,
    sweep_shards,
    with_foreign_fields,
    write_header,
    write_shard,
)
from cartag.state.shards.columns import foreign_of, looks_of
from cartag.values import OtherCar, PhotoRecord, Region, Tag


def _record(path: str, number: int = 1, **fields: object) -> PhotoRecord:
    known = {"path": path, "size": 3, "mtime_ns": 5, "sha256": f"{number:064x}", "outcome": "unknown"}
    return msgspec.convert(known | fields, PhotoRecord)


_HALF = (0.1, 0.2, 0.5, 0.5)


@pytest.fixture(params=["local", "memory", "file"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of this machine by its path, by its URI, and one that only fsspec knows."""
    return {
        "local": str(tmp_path / "an index"),
        "file": (tmp_path / "an index").as_uri(),
        "memory": f"memory://{tmp_path.name}",
    }[request.param]


@settings(max_examples=60, deadline=None)
@given(index_files())
def test_records_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, raw: dict[str, object]) -> None:
    """Every field, known or not, that a single file keeps."""
    folder = tmp_path_factory.mktemp("round")
    (folder / "cartag.json").write_text(json.dumps(raw), encoding="utf-8")
    index = with_foreign_fields(read_index(folder))
    place = shard_folder(folder / "shards of it")
    done = write_shard(place, "a", index, {}, foreign=index.foreign)
    assert {r.path: r for r in shard_records(place, done)} == index.photos
    found = foreign_of(pq.read_table(folder / "shards of it" / done.photos.name))
    assert (found.photos, found.tags) == (index.foreign.photos, index.foreign.tags)


_numbers = st.floats(0, 1).map(lambda p: round(p, 4))
_boxes = st.tuples(st.floats(0, 0.4), st.floats(0, 0.4), st.floats(0.1, 0.5), st.floats(0.1, 0.5)).map(
    lambda box: tuple(round(x, 4) for x in box)
)
_tags = st.lists(st.builds(Tag, car=st.text("ab", min_size=1), score=_numbers), max_size=2).map(tuple)
_regions = st.lists(
    st.builds(
        Region,
        box=_boxes,
        found=st.just(msgspec.UNSET) | _numbers,
        outcome=st.sampled_from(["tagged", "unknown", "no-car"]),
        tags=_tags,
        other=st.just(msgspec.UNSET) | st.builds(OtherCar, name=st.text("cd"), score=_numbers),
        source=st.sampled_from(["model", "human"]),
    ),
    max_size=3,
).map(tuple)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.just(msgspec.UNSET) | _regions, max_size=4), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_regions_and_their_embeddings_come_back(
    tmp_path_factory: pytest.TempPathFactory, regions: list[tuple[Region, ...]], width: int, seed: int
) -> None:
    """A photo without regions is another than one that was not looked at; embeddings lose what float16 does."""
    records = [msgspec.structs.replace(_record(f"{i}.jpg", i), regions=found) for i, found in enumerate(regions)]
    rng = np.random.default_rng(seed)
    looks = {
        record.sha256: [
            (None, rng.normal(size=width)),
            *((r.box, rng.normal(size=width)) for r in record.regions or ()),
        ]
        for record in records[1:]
    }
    folder = tmp_path_factory.mktemp("regions")
    done = write_shard(shard_folder(folder), "a", records, looks)
    assert shard_records(shard_folder(folder), done) == records
    found = looks_of(pq.read_table(folder / done.photos.name))
    assert found.keys() == looks.keys()
    for key, looked in looks.items():
        assert all(vector.dtype == np.float32 for _, vector in found[key])
        went = [(box, tuple(vector.astype(np.float16).astype(float))) for box, vector in looked]
        assert sorted(((b, tuple(v.astype(float))) for b, v in found[key]), key=repr) == sorted(went, key=repr)


def test_a_shard_is_done_when_its_small_file_is_there(where: str) -> None:
    place = shard_folder(where)
    assert done_shards(place) == []
    done = write_shard(
        place,
        "a",
        [_record("b.jpg", 2, outcome="tagged", tags=[{"car": "x", "score": 0.5}]), _record("a ü\n%2F.jpg")],
        {f"{2:064x}": [(_HALF, np.ones(4) / 2)]},
        embeddings="mini@1",
        facts={"run": "7"},
    )
    assert done_shards(place) == [done]
    assert (done.photos.rows, done.tags.rows, done.dimensions, done.embeddings) == (2, 1, 4, "mini@1")
    assert done.outcomes == {"tagged": 1, "unknown": 1, "no-car": 0, "error": 0}
    assert done.facts == {"run": "7"}
    assert [r.path for r in shard_records(place, done)] == ["a ü\n%2F.jpg", "b.jpg"]
    remove_shard(place, "a")
    assert done_shards(place) == []
    assert sweep_shards(place) == [done.photos.name, done.tags.name, done.counts.name]
    assert sweep_shards(place) == []


def test_the_same_shard_twice_is_one(where: str) -> None:
    place = shard_folder(where)
    first = write_shard(place, "a", [_record("a.jpg")], {})
    assert write_shard(place, "a", [_record("a.jpg")], {}) == first
    other = write_shard(place, "a", [_record("a.jpg"), _record("b.jpg")], {})
    assert done_shards(place) == [other]
    assert shard_records(place, first)  # who read the small file a moment ago reads on
    assert set(sweep_shards(place)) == {first.photos.name, first.counts.name}
    assert shard_records(place, other)


def test_rows_that_another_shard_replaces_do_not_hold(where: str) -> None:
    place = shard_folder(where)
    write_shard(place, "a", [_record("a.jpg", 1), _record("b.jpg", 2), _record("c.jpg", 3)], {}, etags={"b.jpg": "e1"})
    write_shard(place, "b", [_record("b.jpg", 4)], {}, etags={"b.jpg": "e2"}, replaced=[("a", "b.jpg"), ("a", "c.jpg")])
    rows = pa.concat_tables(read_identities(place)).to_pylist()
    assert [(row["path"], row["sha256"][-1], row["etag"], row["shard"]) for row in rows] == [
        ("a.jpg", "1", None, "a"),
        ("b.jpg", "4", "e2", "b"),
    ]


def test_identities_say_why_a_photo_was_not_read(tmp_path: Path) -> None:
    place = shard_folder(tmp_path)
    record = _record("a.jpg", outcome="error", error={"reason": "truncated", "detail": "ends early"})
    write_shard(place, "a", [record], {})
    (table,) = read_identities(place)
    assert table.to_pylist()[0] == {
        "path": "a.jpg",
        "size": 3,
        "mtime_ns": 5,
        "etag": None,
        "sha256": f"{1:064x}",
        "outcome": "error",
        "reason": "truncated",
        "shard": "a",
    }


def test_what_is_damaged_is_said_in_one_line(tmp_path: Path) -> None:
    place = shard_folder(tmp_path)
    done = write_shard(place, "a", [_record("a.jpg")], {})
    (tmp_path / done.photos.name).write_bytes(b"PAR1 and no more")
    with pytest.raises(IndexFileError, match=r"photos/a-.*damaged"):
        shard_records(place, done)
    (tmp_path / done.photos.name).unlink()
    with pytest.raises(IndexFileError, match="not there"):
        shard_records(place, done)
    (tmp_path / "shards" / "a.json").write_text("{")
    with pytest.raises(IndexFileError, match=r"shards/a\.json: damaged"):
        done_shards(place)
    (tmp_path / "shards" / "a.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(done, version=2)))
    with pytest.raises(IndexFileError, match="newer cartag"):
        done_shards(place)


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".a", "a b"])
def test_names_of_shards_lead_nowhere_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(IndexFileError, match="no name of a shard"):
        write_shard(shard_folder(tmp_path), name, [], {})


def test_what_a_shard_cannot_hold_is_refused(tmp_path: Path) -> None:
    place = shard_folder(tmp_path)
    with pytest.raises(IndexFileError, match="twice"):
        write_shard(place, "a", [_record("a.jpg"), _record("a.jpg")], {})
    with pytest.raises(IndexFileError, match="cannot hold"):
        write_shard(place, "a", [_record("a.jpg", mtime_ns=2**63)], {})
    with pytest.raises(IndexFileError, match="several lengths"):
        write_shard(place, "a", [_record("a.jpg")], {f"{1:064x}": [(None, np.ones(2)), (_HALF, np.ones(3))]})
    assert done_shards(place) == []


def test_a_header_comes_back_with_all_that_is_in_it(where: str, tmp_path: Path) -> None:
    place = shard_folder(where)
    assert read_header(place) is None
    raw = {
        "schema_version": 1,
        "generator": "cartag 1",
        "updated": "now",
        "model": {"name": "m", "source": "s", "revision": "r", "dtype": "float32", "x": 1},
        "catalog": {"name": "c", "sha256": "0" * 64, "cars": []},
        "y": [2],
        "photos": [],
    }
    (tmp_path / "cartag.json").write_text(json.dumps(raw))
    index = with_foreign_fields(read_index(tmp_path, tmp_path / "cartag.json"))
    write_header(place, index.header, embeddings="mini@1", foreign=index.foreign.header)
    header = read_header(place)
    assert header is not None
    assert header.shards.embeddings == "mini@1"
    assert header.model == index.header.model
    written = json.loads(place.read("cartag.json"))
    assert written["model"]["x"] == 1
    assert written["y"] == [2]
    assert "photos" not in written


def test_a_folder_travels_to_a_worker(where: str) -> None:
    place = shard_folder(where)
    assert isinstance(place, ShardFolder)
    assert pickle.loads(pickle.dumps(place)) == place


def test_a_place_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(IndexFileError, match="another machine"):
        shard_folder("file://elsewhere/index")
    with pytest.raises(IndexFileError, match="no-such-protocol"):
        done_shards(shard_folder("no-such-protocol://x"))
    (tmp_path / "file").write_text("")
    with pytest.raises(IndexFileError, match="cannot be written"):
        write_shard(shard_folder(tmp_path / "file"), "a", [], {})


def test_shards_are_a_value_that_json_keeps() -> None:
    assert (
        msgspec.json.decode(
            b'{"name":"a","photos":{"name":"p","rows":1,"bytes":2,"sha256":"s"},'
            b'"tags":{"name":"t","rows":1,"bytes":2,"sha256":"s"},"counts":{"name":"c","rows":1,"bytes":2,"sha256":"s"},"later":1}',
            type=ShardDone,
        ).version
        == 1
    )
