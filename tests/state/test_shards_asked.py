"""A folder of shards asked for cars: what it answers, of files of today and of before, whole and damaged."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

import cartag
from cartag.errors import IndexFileError
from cartag.state import ShardedIndex, ShardFolder, open_index, shard_folder, write_header, write_said, write_shard
from cartag.state.shards import shards as writing
from cartag.state.shards.arrow import mask_of, texts_of
from cartag.state.shards.columns import tags_of
from cartag.state.shards.reading import blocks
from cartag.values import (
    Candidate,
    IndexedCar,
    IndexedCatalog,
    IndexedModel,
    IndexHeader,
    PhotoRecord,
    PhotoTags,
    Tag,
)

CARS = tuple(f"make-{name}" for name in "abcdefgh")


def _header() -> IndexHeader:
    return IndexHeader(
        generator="test",
        updated="2026-01-01T00:00:00Z",
        model=IndexedModel(name="m", source="s", revision="r", dtype="float32"),
        catalog=IndexedCatalog(
            name="c", sha256="0" * 64, cars=tuple(IndexedCar(id=car, name=car, make="Make") for car in CARS)
        ),
    )


def _opened(folder: Path) -> ShardedIndex:
    found = open_index(folder, folder, whole=False)
    assert isinstance(found, ShardedIndex)
    return found


def _record(path: str, tags: Sequence[Tag]) -> PhotoRecord:
    return PhotoRecord(
        path=path,
        sha256="0" * 64,
        size=1,
        mtime_ns=1,
        outcome="tagged" if tags else "unknown",
        tags=tuple(tags),
        candidates=(Candidate(car=CARS[0], score=0.1),),
    )


def _many(rows: int) -> list[PhotoRecord]:
    """Photos with one car each, a score for each; every tenth shows another one too."""
    records = []
    for i in range(rows):
        tags = [Tag(car=CARS[i % 7], score=1 - i / rows / 2, box=(0.1, 0.2, 0.3, 0.4))]
        records.append(_record(f"{i:05d}.jpg", [*tags, Tag(car=CARS[7], score=0.5)] if i % 10 == 0 else tags))
    return records


def _rewrite(
    place: ShardFolder, done: writing.ShardDone, change: Callable[[Any], Any] = lambda t: t, **how: Any
) -> str:
    """Writes a shard's tags anew, otherwise; its small file names them."""
    table = change(pq.ParquetFile(place.local / done.tags.name).read())  # type: ignore[operator]
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **how)
    tags = writing._output(place, "tags", done.name, "parquet", sink.getvalue().to_pybytes(), table.num_rows)
    place.write(f"shards/{done.name}.json", msgspec.json.encode(msgspec.structs.replace(done, tags=tags)))
    return tags.name


_tags = st.lists(
    st.builds(
        Tag,
        car=st.sampled_from(CARS),
        score=st.floats(0, 1),
        source=st.sampled_from(["model", "human"]),
        box=st.just(msgspec.UNSET) | st.just((0.1, 0.2, 0.3, 0.4)),
    ),
    max_size=3,
    unique_by=lambda tag: tag.car,
)
_shards = st.lists(st.lists(_tags, max_size=8), max_size=4)


@settings(max_examples=60, deadline=None)
@given(shards=_shards, asked=st.sets(st.sampled_from(CARS), max_size=4), chosen=st.randoms(), rows=st.integers(1, 5))
def test_the_photos_with_a_tag_are_found_and_no_other(
    tmp_path_factory: pytest.TempPathFactory, shards: list[list[list[Tag]]], asked: set[str], chosen: Any, rows: int
) -> None:
    """Whatever was replaced or spoken of since, and wherever tables end."""
    folder = tmp_path_factory.mktemp("asked")
    place = shard_folder(folder)
    write_header(place, _header())
    held: dict[str, PhotoRecord] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "_TAGS_AT_ONCE", rows)
        for number, photos in enumerate(shards):
            records = [_record(f"{number}/{i}.jpg", tags) for i, tags in enumerate(photos)]
            gone = [path for path in held if chosen.random() < 0.2]
            write_shard(place, str(number), records, {}, replaced=[(path.split("/")[0], path) for path in gone])
            held = {path: record for path, record in held.items() if path not in gone}
            held |= {record.path: record for record in records}
    said = {path: _record(path, [Tag(car=CARS[0], score=1.0)]) for path in held if chosen.random() < 0.2}
    write_said(place, said)
    found = list(_opened(folder).tagged(asked))
    of_shards, of_people = found[: len(found) - len(said)], found[len(found) - len(said) :]
    assert [(p.path, p.tags) for p in of_people] == [(path, record.tags) for path, record in said.items()]
    wanted = {p: r for p, r in held.items() if p not in said and not asked.isdisjoint(tag.car for tag in r.tags)}
    assert sorted(photo.path for photo in of_shards) == sorted(wanted)
    assert [photo.path[0] for photo in of_shards] == sorted(photo.path[0] for photo in of_shards), "shard by shard"
    for photo in of_shards:
        there = wanted[photo.path].tags
        assert [tag.car for tag in photo.tags] == [tag.car for tag in there], "the others by name"
        assert [tag for tag in photo.tags if tag.car in asked] == [tag for tag in there if tag.car in asked]


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"compression": "zstd", "row_group_size": 2048, "write_page_index": True},
        {"compression": "zstd", "row_group_size": 100_000},
        {"compression": "none", "write_statistics": False, "row_group_size": 500},
    ],
    ids=["ours", "of before", "one table", "without statistics"],
)
def test_files_that_were_written_otherwise_answer_alike(tmp_path: Path, layout: dict[str, Any]) -> None:
    place = shard_folder(tmp_path)
    write_header(place, _header())
    for name in "ab":
        records = [msgspec.structs.replace(r, path=f"{name}/{r.path}") for r in _many(5000)]
        done = write_shard(place, name, records, {})
        if layout:
            _rewrite(place, done, **layout)
    for asked in ([CARS[3]], [CARS[0], CARS[7]], list(CARS)):
        found = {photo.path: photo for photo in _opened(tmp_path).tagged(asked)}
        expected = [r for n in "ab" for r in _many(5000) if not {t.car for t in r.tags}.isdisjoint(asked)]
        assert len(found) == len(expected)
        for name in "ab":
            for record in _many(5000)[:50]:
                photo = found.get(f"{name}/{record.path}")
                tags = [tag for tag in record.tags if tag.car in asked]
                assert [tag for tag in photo.tags if tag.car in asked] == tags if photo else not tags


def test_of_a_shard_only_tables_that_may_hold_the_car_are_read(tmp_path: Path) -> None:
    place = shard_folder(tmp_path)
    done = write_shard(place, "a", _many(20_000), {})

    def tables(*cars: str) -> list[Any]:
        return list(blocks(place, done.tags, among=("car", cars)))

    assert len(tables(*CARS)) == -(-done.tags.rows // writing._TAGS_AT_ONCE)
    few = tables(CARS[2], "zzz")
    assert sum(table.num_rows for table in few) < done.tags.rows / 7 + 2 * writing._TAGS_AT_ONCE
    assert CARS[2] in few[0]["car"].to_pylist()
    assert not tables("aaa", "zzz")


def test_a_damaged_file_is_named_in_one_line(tmp_path: Path) -> None:
    place = shard_folder(tmp_path)
    write_header(place, _header())
    write_shard(place, "whole", _many(100), {})
    done = write_shard(place, "torn", [msgspec.structs.replace(r, path=f"t/{r.path}") for r in _many(100)], {})
    file = tmp_path / done.tags.name
    data = file.read_bytes()

    def said(of: str = done.tags.name) -> str:
        with pytest.raises(IndexFileError) as error:
            list(_opened(tmp_path).tagged([CARS[0]]))
        assert of in str(error.value)
        assert "\n" not in str(error.value)
        return str(error.value)

    for torn in (data[:-20], data[: len(data) // 2], b"", b"PAR1", data[:4] + b"\xff" * 200 + data[204:]):
        file.write_bytes(torn)
        assert "damaged" in said()
    file.unlink()
    assert "not there" in said()

    def scored(table: Any) -> Any:
        return table.set_column(1, "score", pa.array([2.0] * table.num_rows))

    file.write_bytes(data)
    assert "Expected `float` <= 1.0" in said(_rewrite(place, done, scored))
    assert "score" in said(_rewrite(place, done, lambda table: table.drop_columns(["score"])))
    assert "car" in said(_rewrite(place, done, lambda table: table.drop_columns(["car"])))
    assert "outside" in said(
        _rewrite(place, done, lambda t: t.set_column(2, "path", pa.array(["../x.jpg"] * t.num_rows)))
    )
    short = _rewrite(place, done)
    fewer = msgspec.json.decode(place.read("shards/torn.json"))
    fewer["tags"]["rows"] -= 1
    place.write("shards/torn.json", msgspec.json.encode(fewer))
    assert f"{done.tags.rows} rows, not {done.tags.rows - 1}" in said(short)


@settings(max_examples=60, deadline=None)
@given(at=st.floats(0, 1, exclude_max=True), byte=st.integers(1, 255))
def test_a_byte_that_a_disk_turned_is_no_traceback(
    tmp_path_factory: pytest.TempPathFactory, at: float, byte: int
) -> None:
    """It is found, or what is read makes sense. Not in the footer: there pyarrow itself may end the process."""
    folder = tmp_path_factory.mktemp("turned")
    place = shard_folder(folder)
    write_header(place, _header())
    done = write_shard(place, "a", _many(30), {})
    data = bytearray((folder / done.tags.name).read_bytes())
    footer = int.from_bytes(data[-8:-4], "little")
    data[int(at * (len(data) - 8 - footer))] ^= byte
    (folder / done.tags.name).write_bytes(data)
    why, found = done.tags.name, []
    try:
        found = list(_opened(folder).tagged([CARS[0], CARS[7]]))
    except IndexFileError as e:
        why = str(e)
    assert done.tags.name in why
    assert all(isinstance(photo, PhotoTags) for photo in found)


def test_a_photo_with_two_of_the_cars_is_one(tmp_path: Path) -> None:
    place = shard_folder(tmp_path)
    tags = [Tag(car=CARS[2], score=0.9, source="human"), Tag(car=CARS[0], score=0.5), Tag(car=CARS[1], score=0.4)]
    done = write_shard(place, "a", [_record("x.jpg", tags)], {})
    table = pq.ParquetFile(tmp_path / done.tags.name).read()
    (photo,) = tags_of(table.take([0, 2]), done.tags.name)
    assert photo.tags == (tags[0], tags[1], Tag(car=CARS[1], score=0.0))


_TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=20)


@given(_TEXTS, st.lists(st.booleans(), max_size=70))
def test_arrays_made_of_bytes_are_those_of_pyarrow(texts: list[str], truths: list[bool]) -> None:
    for made, expected in (
        (texts_of(texts), pa.array(texts, pa.string())),
        (mask_of(truths), pa.array(truths, pa.bool_())),
    ):
        made.validate(full=True)
        assert made.equals(expected)


def test_a_query_by_car_imports_no_pandas(tmp_path: Path) -> None:
    """It is there with the extra, takes a quarter of a second, and pyarrow asks for it at every turn."""
    pytest.importorskip("pandas", reason="pandas is not there, so nothing could load it")
    place = shard_folder(tmp_path)
    write_header(place, _header())
    write_shard(place, "a", _many(50), {})
    write_shard(place, "b", [], {}, replaced=[("a", "00000.jpg")])
    write_said(place, {"00007.jpg": _record("00007.jpg", [])})
    code = (
        "import sys, cartag\n"
        "print(*(hit.path for hit in cartag.find(sys.argv[1], 'make-a', index=sys.argv[1])))\n"
        "sys.exit('pandas' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{i:05d}.jpg" for i in range(14, 50, 7)]
    assert [hit.path for hit in cartag.find(tmp_path, "make-a", index=tmp_path)] == done.stdout.split()
