"""Records as columns, and back: what a shard's Parquet files hold, and that nothing is lost on the way.

An embedding is a fixed number of bytes, d float16 numbers, little-endian: as a Parquet list of numbers it takes ten
times as long to read (`python -m benchmarks.cluster_query`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
from msgspec import UNSET

from cartag import paths
from cartag.errors import IndexFileError
from cartag.state.index import Foreign
from cartag.state.shards.arrow import pa
from cartag.values import Box, PhotoRecord, PhotoTags, shown_regions

Looks = Sequence[tuple[Box | None, np.ndarray]]
"""What was embedded of a photo: boxes and unit-length vectors (d,); None is the photo as a whole."""

_BOX = pa.list_(pa.float64(), 4)
_CANDIDATE = pa.struct([("car", pa.string()), ("score", pa.float64())])
_OTHER = pa.struct([("name", pa.string()), ("score", pa.float64())])
_TAG = pa.struct([("car", pa.string()), ("score", pa.float64()), ("source", pa.string()), ("box", _BOX)])
_ANSWER = pa.struct([("outcome", pa.string()), ("tags", pa.list_(_TAG)), ("candidates", pa.list_(_CANDIDATE))])
_REGION = pa.struct(
    [
        ("box", _BOX),
        ("found", pa.float64()),
        ("outcome", pa.string()),
        ("tags", pa.list_(_TAG)),
        ("candidates", pa.list_(_CANDIDATE)),
        ("other", _OTHER),
        ("source", pa.string()),
        ("by_model", _ANSWER),
    ]
)
RECORD = pa.schema(
    [
        ("path", pa.string()),
        ("sha256", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("outcome", pa.string()),
        ("tags", pa.list_(_TAG)),
        ("candidates", pa.list_(_CANDIDATE)),
        ("regions", pa.list_(_REGION)),
        ("error", pa.struct([("reason", pa.string()), ("detail", pa.string())])),
        ("path_on_disk", pa.string()),
        ("confirmed", pa.bool_()),
        ("missing", pa.bool_()),
        ("by_model", _ANSWER),
    ]
)
"""A `PhotoRecord`, field by field; null is what is not there."""

TAGS = pa.schema(
    [
        ("car", pa.string()),
        ("score", pa.float64()),
        ("path", pa.string()),
        ("source", pa.string()),
        ("box", _BOX),
        ("path_on_disk", pa.string()),
        ("cars", pa.list_(pa.string())),
    ]
)
"""A row a tag; ``cars`` are all that the photo is tagged with."""
IDENTITY = ("path", "size", "mtime_ns", "etag", "sha256", "outcome", "reason", "shard")
"""Columns of `read_identities`: what tells whether a photo has to be looked at again."""
REPLACED = pa.schema([("shard", pa.string()), ("path", pa.string())])


def record_schema(dimensions: int) -> Any:
    """Columns of a shard's photos: `RECORD`, its fields that this version does not know, the etag, the embeddings.

    ``dimensions`` is d of the embeddings; 0: there are none.
    """
    look = pa.struct(
        [("box", _BOX), ("shown", pa.bool_()), ("vector", pa.binary(2 * dimensions) if dimensions else pa.binary())]
    )
    more = [pa.field("more", pa.string()), pa.field("etag", pa.string())]
    looks = pa.field("looks", pa.list_(look), metadata={"dtype": "<f2", "dimensions": str(dimensions)})
    return pa.schema([*RECORD, *more, looks])


def photo_table(
    records: Sequence[PhotoRecord], looks: Mapping[str, Looks], etags: Mapping[str, str], foreign: Foreign
) -> Any:
    """The photos of a shard as a table, in the order of ``records``.

    Args:
        records: what the index says of them.
        looks: what was embedded, by content (`PhotoRecord.sha256`).
        etags: by path, what object storage calls the content.
        foreign: fields that this version does not know.

    Raises:
        IndexFileError: a number or a text is none that Parquet can hold, or the embeddings differ in length.
    """
    lengths = {vector.shape for found in looks.values() for _, vector in found}
    if len(lengths) > 1:
        raise IndexFileError(f"embeddings of several lengths in one shard: {sorted(lengths)}; each model has its own")
    dimensions = lengths.pop()[0] if lengths else 0
    try:
        rows = [
            {
                **cast(dict[str, Any], msgspec.to_builtins(record)),
                "more": _more(record, foreign),
                "etag": etags.get(record.path),
                "looks": [] if record.sha256 is UNSET else _looks(record, looks.get(record.sha256, ())),
            }
            for record in records
        ]
        return pa.Table.from_pylist(rows, record_schema(dimensions))
    except (pa.ArrowException, OverflowError, UnicodeError) as e:
        raise IndexFileError(f"a record that a shard cannot hold: {str(e).splitlines()[0]}") from e


def _looks(record: PhotoRecord, looks: Looks) -> list[dict[str, Any]]:
    """Shown regions first, in their order, then the whole, then boxes that hold no more: as a search goes through.

    ``shown`` is true of the first, null of the whole, false of the last.
    """
    order = {digits(region.box): i for i, region in reversed(list(enumerate(shown_regions(record))))}
    whole, rows = len(order), []
    for box, vector in looks:
        place = whole if box is None else order.get(digits(box), whole + 1)
        rows.append((place, 0.0 if box is None else -box[2] * box[3], box, vector))
    return [
        {
            "box": box,
            "shown": None if place == whole else place < whole,
            "vector": np.asarray(vector, "<f2").tobytes(),
        }
        for place, _, box, vector in sorted(rows, key=lambda row: row[:2])
    ]


def digits(box: Box) -> Box:
    """A box in the four digits that the embeddings are known by."""
    x, y, width, height = (round(number, 4) for number in box)
    return x, y, width, height


def _more(record: PhotoRecord, foreign: Foreign) -> str | None:
    """Unknown fields of a photo and of its tags, as JSON; None where there are none."""
    of_tags = {tag.car: extra for tag in record.tags if (extra := foreign.tags.get((record.path, tag.car)))}
    of_photo = foreign.photos.get(record.path)
    if not of_photo and not of_tags:
        return None
    return msgspec.json.encode({"photo": of_photo or {}, "tags": of_tags}).decode()


def records_of(table: Any, where: str) -> list[PhotoRecord]:
    """The records of a table of photos.

    Raises:
        IndexFileError: it is damaged.
    """
    rows = [_there(row) for row in table.select(RECORD.names).to_pylist()]
    records = _converted(rows, list[PhotoRecord], where)
    check_below(records, where)
    return records


def tags_of(table: Any, where: str) -> list[PhotoTags]:
    """The photos of rows of `TAGS`, as `find` asks for them: of each row the one tag; other cars by name alone.

    Raises:
        IndexFileError: it is damaged.
    """
    photos: dict[str, dict[str, Any]] = {}
    try:
        columns = [table[name].to_pylist() for name in TAGS.names]
    except (KeyError, UnicodeDecodeError) as e:
        raise IndexFileError(f"{where}: damaged shard: {e}; move the index away and run tag again") from e
    for car, score, path, source, box, on_disk, cars in zip(*columns, strict=True):
        photo = photos.get(path)
        if photo is None:
            photo = photos[path] = {"path": path, "outcome": "tagged", "tags": {}}
            if on_disk is not None:
                photo["path_on_disk"] = on_disk
        tags = photo["tags"]
        for one in cars or ():
            if one not in tags:
                tags[one] = {"car": one, "score": 0.0}
        tag = tags[car] = {"car": car, "score": score, "source": source or "model"}
        if box is not None:
            tag["box"] = box
    for photo in photos.values():
        photo["tags"] = list(photo["tags"].values())
    found = _converted(list(photos.values()), list[PhotoTags], where)
    check_below(found, where)
    return found


P = TypeVar("P")


def _converted(rows: Any, kind: type[P], where: str) -> P:
    try:
        return msgspec.convert(rows, kind)
    except msgspec.ValidationError as e:
        raise IndexFileError(f"{where}: damaged shard: {e}; move the index away and run tag again") from e


def check_below(photos: Sequence[PhotoRecord | PhotoTags], where: str) -> None:
    """Makes sure that photos lie in the gallery.

    Raises:
        IndexFileError: one leads elsewhere.
    """
    on_disk = [photo.path_on_disk for photo in photos if photo.path_on_disk is not UNSET]
    if not paths.are_below([photo.path for photo in photos], on_disk):
        raise IndexFileError(f"{where}: damaged shard: a photo would lie outside of the gallery; move the index away")


def _there(value: Any) -> Any:
    """The same without what is null, at any depth."""
    if isinstance(value, dict):
        return {key: _there(item) for key, item in value.items() if item is not None}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_there(item) for item in value]
    return value


def foreign_of(table: Any) -> Foreign:
    """The fields of a table of photos that this version does not know."""
    photos, tags = {}, {}
    for path, more in zip(table["path"].to_pylist(), table["more"].to_pylist(), strict=True):
        if more is not None:
            said = msgspec.json.decode(more)
            if said["photo"]:
                photos[path] = said["photo"]
            tags.update({(path, car): extra for car, extra in said["tags"].items()})
    return Foreign({}, photos, tags)


def looks_of(table: Any) -> dict[str, Looks]:
    """What was embedded, by content, vectors as float32; of a table of photos."""
    found: dict[str, Looks] = {}
    for key, looks in zip(table["sha256"].to_pylist(), table["looks"].to_pylist(), strict=True):
        if key is not None and looks:
            found[key] = [
                (_box(look["box"]), np.frombuffer(look["vector"], "<f2").astype(np.float32)) for look in looks
            ]
    return found


def _box(numbers: list[float] | None) -> Box | None:
    return None if numbers is None else cast(Box, tuple(numbers))


def tag_table(records: Iterable[PhotoRecord]) -> Any:
    """The tags of photos that are there, sorted by car, surest first: what `find` reads of a shard."""
    rows = sorted(
        (
            (tag.car, -tag.score, record.path, tag.source, tag.box, record.path_on_disk, [t.car for t in record.tags])
            for record in records
            if record.missing is UNSET
            for tag in record.tags
        ),
        key=lambda row: row[:3],
    )
    columns: Iterator[tuple[Any, ...]] = zip(*rows, strict=True) if rows else iter([()] * len(TAGS))
    car, score, path, source, box, on_disk, cars = columns
    return pa.table(
        [
            pa.array(car, pa.string()),
            pa.array([-number for number in score], pa.float64()),
            pa.array(path, pa.string()),
            pa.array(source, pa.string()),
            pa.array([None if numbers is UNSET else numbers for numbers in box], _BOX),
            pa.array([None if name is UNSET else name for name in on_disk], pa.string()),
            pa.array(cars, pa.list_(pa.string())),
        ],
        schema=TAGS,
    )
