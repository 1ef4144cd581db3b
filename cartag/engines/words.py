"""What people said of photos of an index of shards goes where its photos went: by content, as `tagging.merging` has it.

Their records lie beside the shards and lie over them. They are few: only they, and photos with a content that was
spoken of, are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cartag.engines.libraries import pa, pc
from cartag.engines.manifest import Ledger
from cartag.paths import disk_path
from cartag.progress import Progress
from cartag.state import Said, ShardFolder, done_shards, read_identities, read_said, shard_records, write_said
from cartag.tagging import Learnt, in_folders, merged, model_answer, say_where
from cartag.values import PhotoFile, PhotoRecord, is_settled_by_human


def follow_photos(place: ShardFolder, ledger: Ledger, unreadable_folders: Sequence[str], progress: Progress) -> None:
    """Puts every word where its photo is now, and over what the model says now; what is as it was is not written.

    ``ledger`` knows what was there before the run.

    Raises:
        IndexFileError: what people said is damaged, or cannot be written; then it stands as it was.
    """
    said = read_said(place)
    if not said.records:
        return
    hashes = {record.sha256 for record in said.records.values() if isinstance(record.sha256, str)}
    old: dict[str, PhotoRecord] = ledger.known_near(sorted(said.records), sorted(hashes)) | said.records
    now = _now(place, set(said.records), hashes)
    photos = [_file(record) for record in now.values()]
    learnt = {path: Learnt(of, None if of.outcome == "error" else model_answer(of)) for path, of in now.items()}
    unseen = [path for path in in_folders(said.records, unreadable_folders) if path not in now]
    new = merged(old, photos, {}, learnt, unseen)
    hers = {path: record for path, record in new.records.items() if is_settled_by_human(record)}
    changed = {path: record for path, record in hers.items() if record != said.records.get(path)}
    forgotten = sorted(said.records.keys() - hers.keys())
    write_said(place, changed, forgotten, said.foreign.moved(_homes(said, new.where.homes)))
    say_where(new.where, progress)


def _homes(said: Said, homes: Mapping[str, str]) -> dict[str, str | None]:
    return {path: homes.get(path, path) for path in said.records}


def _now(place: ShardFolder, paths: set[str], hashes: set[str]) -> dict[str, PhotoRecord]:
    """What the model says now of photos at these paths, and of those with these contents, by path."""
    named, spoken_of = pa.array(sorted(paths), pa.string()), pa.array(sorted(hashes), pa.string())
    near: dict[str, set[str]] = {}
    for table in read_identities(place):
        is_near = pc.or_(pc.is_in(table["path"], named), pc.is_in(table["sha256"], spoken_of))
        some = table.filter(is_near)
        for path, shard in zip(some["path"].to_pylist(), some["shard"].to_pylist(), strict=True):
            near.setdefault(shard, set()).add(path)
    shards = [shard for shard in done_shards(place) if shard.name in near]
    return {
        record.path: record
        for shard in shards
        for record in shard_records(place, shard)
        if record.path in near[shard.name]
    }


def _file(record: PhotoRecord) -> PhotoFile:
    on_disk = record.path_on_disk if isinstance(record.path_on_disk, str) else None
    return PhotoFile(record.path, disk_path(record.path, on_disk), record.size, record.mtime_ns)
