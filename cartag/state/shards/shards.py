"""A shard: the files it is written as, and the small one that says it is done."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from cartag.errors import IndexFileError
from cartag.state.footprint import digest_of
from cartag.state.index import SCHEMA_VERSION, Foreign, header_with_foreign, unknown_header_fields
from cartag.state.place import FILE_NAME
from cartag.state.shards.arrow import pa, pq
from cartag.state.shards.columns import REPLACED, Looks, photo_table, tag_table
from cartag.state.shards.folder import ShardFolder
from cartag.state.tally import Tally, tally_of
from cartag.values import OUTCOMES, IndexHeader, PhotoRecord

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_ROWS_AT_ONCE = 4096
"""Of photos: what a reader holds of a shard at a time, with its embeddings some 5 MB."""
_TAGS_AT_ONCE = 1024
_DIGITS = 16
_AT_ONCE = 64
_VECTOR = "looks.list.element.vector"


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a shard."""

    name: str
    """In the index's folder."""
    rows: int
    bytes: int
    sha256: str


class ShardDone(msgspec.Struct, frozen=True, kw_only=True):
    """What ``shards/NAME.json`` holds: that a shard is done, and which files it is."""

    version: int = 1
    name: str
    photos: Output
    tags: Output
    counts: Output
    """Its photos in figures (`Tally`), as JSON."""
    replaced: Output | UnsetType = UNSET
    """Rows of other shards that hold no longer, now that this one is done."""
    replaces: tuple[str, ...] = ()
    """Shards that hold no longer as a whole, now that this one is done."""
    embeddings: str = ""
    """Identity of the model that the embeddings are of (`encoder.identity`)."""
    dimensions: int = 0
    """d of the embeddings; 0: none."""
    outcomes: dict[str, int] = {}
    """Photos per outcome."""
    facts: dict[str, str] = {}
    """What whoever made it wants to know again: versions, digests, the run."""


class ShardsFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the header of a folder index says of its shards."""

    version: int = 1
    embeddings: str = ""
    """As `ShardDone.embeddings`."""


class FolderHeader(IndexHeader, frozen=True, kw_only=True):
    """The header ``cartag.json`` of a folder index: as that of a file, with ``shards`` instead of ``photos``."""

    shards: ShardsFacts


def write_shard(
    place: ShardFolder,
    name: str,
    records: Iterable[PhotoRecord],
    looks: Mapping[str, Looks],
    *,
    embeddings: str = "",
    etags: Mapping[str, str] | None = None,
    replaced: Iterable[tuple[str, str]] = (),
    replaces: Iterable[str] = (),
    foreign: Foreign | None = None,
    facts: Mapping[str, str] | None = None,
) -> ShardDone:
    """Writes a shard: its photos, its tags, and last, in one go, the small file without which neither exists.

    Files have the digest of their content in their names: one that writes the shard again, at the same time too, never
    alters what another's small file names.

    Args:
        place: the index's folder.
        name: the shard's; a shard of this name is replaced by this one.
        records: what is said of its photos, a path once.
        looks: what was embedded, by content (`PhotoRecord.sha256`): boxes and unit-length vectors (d,), the photo as a
            whole under None; kept as float16.
        embeddings: identity of the model that they are of.
        etags: by path, what object storage calls the content.
        replaced: (shard, path) of rows of other shards that hold no longer from then on: photos that changed, or went.
        replaces: names of shards that hold no longer as a whole from then on.
        foreign: fields of the records that this version does not know.
        facts: kept in `ShardDone.facts`.

    Raises:
        IndexFileError: the name is none, a path stands twice, a record cannot be held, or a file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise IndexFileError(f"{name!r}: no name of a shard (letters, digits, '-', '_', '.')")
    ordered = sorted(records, key=lambda record: record.path)
    if len({record.path for record in ordered}) < len(ordered):
        raise IndexFileError(f"{place.where(name)}: a path stands twice in this shard")
    photos = photo_table(ordered, looks, etags or {}, foreign or Foreign())
    length = photos.schema.field("looks").metadata[b"dimensions"]
    rows = sorted(set(replaced))
    done = ShardDone(
        name=name,
        photos=_put(place, "photos", name, photos),
        tags=_put(place, "tags", name, tag_table(ordered)),
        counts=_output(place, "counts", name, "json", msgspec.json.encode(tally_of(ordered)), len(ordered)),
        replaced=_put(place, "replaced", name, _replaced_table(rows)) if rows else UNSET,
        replaces=tuple(sorted(set(replaces))),
        embeddings=embeddings,
        dimensions=int(length),
        outcomes={o: sum(r.outcome == o and r.missing is UNSET for r in ordered) for o in OUTCOMES},
        facts=dict(facts or {}),
    )
    place.write(f"shards/{name}.json", msgspec.json.encode(done))
    return done


def _replaced_table(rows: Sequence[tuple[str, str]]) -> Any:
    return pa.Table.from_pylist([{"shard": shard, "path": path} for shard, path in rows], REPLACED)


def _put(place: ShardFolder, kind: str, shard: str, table: Any) -> Output:
    """Writes a table as it is read best.

    Vectors are not compressed: they would not get shorter, and read at a third of the speed. Of tags a query reads some
    hundred rows out of every shard, and waits more for codecs and dictionaries to begin than for bytes.
    """
    names = [name for name in _leaves(table.schema) if name != _VECTOR]
    layout: dict[str, Any] = {"compression": "zstd", "use_dictionary": names, "row_group_size": _ROWS_AT_ONCE}
    if kind == "photos":
        layout["compression"] = {**dict.fromkeys(names, "zstd"), _VECTOR: "none"}
    elif kind == "tags":
        often = ["car", "source", "path_on_disk", "cars.list.element"]
        layout = {"compression": "lz4", "use_dictionary": often, "row_group_size": _TAGS_AT_ONCE}
        layout |= {"write_statistics": ["car"]}
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **layout, write_page_index=kind != "tags")
    return _output(place, kind, shard, "parquet", buffer.getvalue(), table.num_rows)


def _output(place: ShardFolder, kind: str, shard: str, ending: str, data: bytes, rows: int) -> Output:
    digest = digest_of(data)
    name = f"{kind}/{shard}-{digest[:_DIGITS]}.{ending}"
    place.write(name, data)
    return Output(name=name, rows=rows, bytes=len(data), sha256=digest)


def read_tallies(place: ShardFolder, shards: Sequence[ShardDone]) -> Iterator[Tally]:
    """What was counted of shards when they were written.

    Raises:
        IndexFileError: one is damaged.
    """
    for start in range(0, len(shards), _AT_ONCE):
        names = [shard.counts.name for shard in shards[start : start + _AT_ONCE]]
        for name, data in zip(names, place.read_all(names), strict=True):
            try:
                yield msgspec.json.decode(data, type=Tally)
            except (msgspec.DecodeError, UnicodeDecodeError) as e:
                raise IndexFileError(f"{place.where(name)}: damaged: {e}; move the index away and run tag again") from e


def _leaves(schema: Any) -> list[str]:
    """Names of a schema's columns as Parquet has them, those in lists and structs by their way."""

    def below(name: str, kind: Any) -> list[str]:
        if pa.types.is_struct(kind):
            return [leaf for field in kind for leaf in below(f"{name}.{field.name}", field.type)]
        if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
            return below(f"{name}.list.element", kind.value_type)
        return [name]

    return [leaf for field in schema for leaf in below(field.name, field.type)]


def done_shards(place: ShardFolder) -> list[ShardDone]:
    """The shards that hold, by name: those that are done, and that none that is done has replaced.

    Raises:
        IndexFileError: one of the small files is damaged, or of a newer cartag.
    """
    return living(every_shard(place))


def living(shards: Iterable[ShardDone]) -> list[ShardDone]:
    """Of all that are done, those that none has replaced as a whole."""
    shards = list(shards)
    replaced = {name for shard in shards for name in shard.replaces if name != shard.name}
    return [shard for shard in shards if shard.name not in replaced]


def every_shard(place: ShardFolder) -> list[ShardDone]:
    """All shards that are done, by name, replaced ones too: the rows that these replaced do not come back.

    Raises:
        IndexFileError: one of the small files is damaged, or of a newer cartag.
    """
    names = [name for name in place.names("shards") if name.endswith(".json")]
    return [one_done(place, name, data) for name, data in zip(names, place.read_all(names), strict=True)]


def one_done(place: ShardFolder, name: str, data: bytes) -> ShardDone:
    """The small file of this name, of its bytes.

    Raises:
        IndexFileError: it is damaged, or of a newer cartag.
    """
    try:
        done = msgspec.json.decode(data, type=ShardDone)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise IndexFileError(
            f"{place.where(name)}: damaged: {e}; remove this one file, and 'cartag tag' makes its shard again"
        ) from e
    if done.version > 1:
        raise IndexFileError(f"{place.where(name)}: written by a newer cartag; update cartag")
    return done


def remove_shard(place: ShardFolder, name: str) -> None:
    """Makes a shard not done; its other files are left for `sweep_shards`."""
    place.remove(f"shards/{name}.json")


def sweep_shards(place: ShardFolder) -> list[str]:
    """Removes files of shards that no small file names (what killed workers left), and says which.

    Only who knows that nobody writes into the folder may.
    """
    named = set[str]()
    for done in every_shard(place):
        outputs = [done.photos, done.tags, done.counts, *([] if done.replaced is UNSET else [done.replaced])]
        named |= {output.name for output in outputs}
    ours = re.compile(r".+-[0-9a-f]{16}\.(parquet|json)")
    left = [
        name
        for kind in ("photos", "tags", "counts", "replaced")
        for name in place.names(kind)
        if ours.fullmatch(name) and name not in named
    ]
    for name in left:
        place.remove(name)
    return left


# --- the header -------------------------------------------------------------------------------------------------


def write_header(
    place: ShardFolder, header: IndexHeader, *, embeddings: str = "", foreign: Mapping[str, Any] | None = None
) -> None:
    """Writes ``cartag.json`` of a folder index.

    Args:
        place: the index's folder.
        header: everything of an index but its photos.
        embeddings: identity of the model that its embeddings are of.
        foreign: fields of the header that this version does not know (`Foreign.header`).

    Raises:
        IndexFileError: it cannot be written.
    """
    raw = header_with_foreign(header, foreign or {})
    raw["shards"] = msgspec.to_builtins(ShardsFacts(embeddings=embeddings))
    place.make("shards")
    place.write(FILE_NAME, msgspec.json.format(msgspec.json.encode(raw), indent=2) + b"\n")


def read_header(place: ShardFolder) -> FolderHeader | None:
    """The header of a folder index; None where there is none yet.

    Raises:
        IndexFileError: it is damaged, of a newer cartag, or the index that lies there is a single file.
    """
    data = place.read_if_there(FILE_NAME)
    if data is None:
        return None
    try:
        header = msgspec.json.decode(data, type=FolderHeader)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise IndexFileError(f"{place.where(FILE_NAME)}: no header of a folder index, or damaged: {e}") from e
    if header.schema_version > SCHEMA_VERSION or header.shards.version > 1:
        raise IndexFileError(f"{place.where(FILE_NAME)}: written by a newer cartag; update cartag")
    return header


def plain_header(header: FolderHeader) -> IndexHeader:
    """The same as a single file has it."""
    return IndexHeader(**{name: getattr(header, name) for name in IndexHeader.__struct_fields__})


def read_foreign_header(place: ShardFolder, header: IndexHeader) -> dict[str, Any]:
    """The header's fields that this version does not know, of one that was read."""
    raw = msgspec.json.decode(place.read(FILE_NAME))
    return {key: value for key, value in unknown_header_fields(raw, header).items() if key != "shards"}
