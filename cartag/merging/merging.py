"""From one kind of index to the other, with what people said and with the embeddings."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET
from msgspec.structs import replace

from cartag import checkpoints, encoder as encoders, state
from cartag.errors import ModelError, UsageError
from cartag.progress import Progress, Silent
from cartag.settings import Settings, load_settings
from cartag.state import Index, Place, Store, place_of, read_index, with_foreign_fields, write_index
from cartag.values import Box, Outcome, PhotoRecord, as_model_has_it, human_tags, is_settled_by_human

if TYPE_CHECKING:
    import numpy as np

    from cartag.state import Looks

SHARD = 20_000
"""Photos of a shard: with their embeddings some 30 MB."""
_MADE_BY = {"made-by": "merge"}


@dataclass(frozen=True)
class MergeReport:
    """What was made of an index."""

    index: str
    """Where the new one lies."""
    photos: int
    shards: int
    """0: it is a single file."""
    embedded: int
    """Photos whose embeddings went with them."""


def merge(
    gallery: Path | str,
    to: Path | str,
    *,
    index: Path | str | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> MergeReport:
    """Makes of an index that is a folder of shards a single file, or the other way; the one that is there stays.

    Records are the same in both. Embeddings go along, as float16 into a folder.

    Args:
        gallery: the folder of photos, tagged before.
        to: where the new index goes: a file ``NAME.json``, or a folder or URI for shards.
        index: where the index lies, if not in the gallery.
        settings: the rarer settings.
        progress: hears how far it is.

    Raises:
        UsageError: an index lies there already, or it would be of the kind that is there.
        GalleryError, IndexFileError: see `cartag.errors`.
    """
    settings = (settings or load_settings()).overridden({"index": index})
    progress = progress or Silent()
    found = with_foreign_fields(read_index(gallery, settings.index))
    source = place_of(Path(gallery), settings.index)
    as_file = str(to).endswith(".json") and "://" not in str(to)
    if as_file == (found.shards is None):
        kinds = ("a folder, for its shards", "a file NAME.json")
        raise UsageError(f"--to {to}: the index is of that kind already; name {kinds[found.shards is not None]}")
    if as_file:
        return _to_file(found, source, Path(to), settings, progress)
    return _to_folder(found, source, to, settings, progress)


# --- shards to a file ---------------------------------------------------------------------------------------------


def _to_file(found: Index, source: Place, to: Path, settings: Settings, progress: Progress) -> MergeReport:
    if os.path.lexists(to):
        raise UsageError(f"--to {to}: is there already; name another, or move it away")
    place = place_of(to.parent, to)
    assert found.shards is not None
    header = state.read_header(found.shards)
    assert header is not None  # it was read a moment ago
    place.state.mkdir(parents=True, exist_ok=True)
    embedded = 0
    if header.shards.embeddings:
        progress.start("embeddings", len(found))
        with Store(place.state, header.shards.embeddings) as store:
            for looks in state.all_looks(source):
                store.put({key: v for key, some in looks.items() for box, v in some if box is None})
                store.put_regions({(key, box): v for key, some in looks.items() for box, v in some if box is not None})
                embedded += len(looks)
                progress.advance(len(looks))
        progress.finish()
    write_index(Index(found.header, found.photos, to, found.foreign))
    return MergeReport(str(to), len(found), 0, embedded)


# --- a file to shards ---------------------------------------------------------------------------------------------


def _to_folder(found: Index, source: Place, to: Path | str, settings: Settings, progress: Progress) -> MergeReport:
    """The header is written last: what a merge leaves that did not come to its end is no index, and is begun anew."""
    place = state.shard_folder(to)
    if place.is_there(state.FILE_NAME):
        raise UsageError(f"--to {to}: an index lies there already; name another folder, or move it away")
    for shard in state.done_shards(place):
        if shard.facts != _MADE_BY:
            raise UsageError(f"--to {to}: a run writes its shards there; name another folder")
        state.remove_shard(place, shard.name)
    state.write_said(place, {}, sorted(state.read_said(place).records))
    identity = _identity(found, settings, progress)
    shards = embedded = 0
    progress.start("photos", len(found))
    everything = list(found)
    for start in range(0, len(everything), SHARD):
        records = everything[start : start + SHARD]
        looks = _looks(source, identity, records)
        embedded += len(looks)
        plain = [_without_words(record) for record in records]
        foreign = state.Foreign({}, found.foreign.photos, {})
        state.write_shard(place, f"{shards:05d}", plain, looks, embeddings=identity, foreign=foreign, facts=_MADE_BY)
        shards += 1
        progress.advance(len(records))
    progress.finish()
    said = {record.path: record for record in found if _without_words(record) != record}
    state.write_said(place, said, foreign=found.foreign)
    state.write_header(place, found.header, embeddings=identity, foreign=found.foreign.header)
    state.sweep_shards(place)
    return MergeReport(place.uri, len(found), shards, embedded)


def _without_words(record: PhotoRecord) -> PhotoRecord:
    """A record as shards may hold it; where the model's answer is not known, what is left of it without a person's."""
    if record.confirmed is UNSET and record.missing is UNSET and not is_settled_by_human(record):
        return record
    model = as_model_has_it(record)
    if model is None:
        tags = tuple(tag for tag in record.tags if tag not in human_tags(record))
        outcome: Outcome = "error" if record.error is not UNSET else "tagged" if tags else "unknown"
        model = replace(record, outcome=outcome, tags=tags, regions=UNSET, by_model=UNSET)
    return replace(model, confirmed=UNSET, missing=UNSET)


def _identity(found: Index, settings: Settings, progress: Progress) -> str:
    """Of the embeddings; "" where the model is not at hand, by whose files they are known."""
    try:
        files = checkpoints.resolve_auto(found.header.model, progress)
    except ModelError as e:
        progress.note(f"embeddings: left out, for the model is not here ({e})")
        return ""
    return encoders.identity(files, dtype=settings.dtype, fit=settings.fit)


def _looks(source: Place, identity: str, records: Sequence[PhotoRecord]) -> dict[str, Looks]:
    hashes = sorted({record.sha256 for record in records if record.sha256 is not UNSET})
    looks: dict[str, list[tuple[Box | None, np.ndarray]]] = {}
    if not identity:
        return {}
    with suppress(sqlite3.Error):  # nothing was embedded, or it is damaged: the next run computes it again
        for key, some in Store.read_regions(source.state, identity, hashes).items():
            looks[key] = list(some)
        for key, vector in Store.read_photos(source.state, identity, hashes).items():
            looks.setdefault(key, []).append((None, vector))
    return dict(looks)
