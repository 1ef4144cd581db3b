"""An index that is a folder of shards: its small files, what they name, what nothing names, and people's words.

A shard holds what the model says and can be made again as long as its photos are there. Words are named, never mended.
Imported for such an index only: what reads shards is an extra.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from cartag.checking.findings import TEMPORARY, Case, Found, Kind, found, half_written, is_settled
from cartag.errors import IndexFileError
from cartag.state import (
    DoneFiles,
    ShardDone,
    ShardFolder,
    empty_damaged,
    empty_shard,
    files_of_shard,
    inspect_said,
    left_over_files,
    needed_tombstones,
    output_fault,
    outputs_of,
    read_done_files,
    readable_records,
    remake_shard,
    remove_shard,
    tagged_paths,
)
from cartag.values import is_settled_by_human

_FOLDERS = ("shards", "photos", "tags", "counts", "replaced", "said", "plan")
_FOLLOW_FROM_PHOTOS = frozenset({"tags", "counts"})
_SHOWN = 3
_MARK = "run.json"
_REMOTE = "look whether a run goes on, then run the same tag again"


def findings_of_shards(case: Case) -> Iterator[Found]:
    """What is wrong in the folder of an index of shards.

    Raises:
        IndexFileError: one of the folders cannot be listed.
    """
    if case.shards is None:
        return
    done = read_done_files(case.shards)
    yield from _damaged(case, case.shards, done)
    faulty: set[str] = set()
    for shard in done.whole:
        for one in _outputs(case, case.shards, shard):
            if one.mend is None or case.shards.local is None:
                faulty.add(shard.name)
            yield one
    if not done.damaged and not faulty:
        yield from _replaced(case.shards, done)
    if not case.is_busy:
        yield from _left_over(case, case.shards, faulty)
    yield from _words(case, case.shards)


# --- what is damaged ------------------------------------------------------------------------------------------------


def _damaged(case: Case, place: ShardFolder, done: DoneFiles) -> Iterator[Found]:
    """Small files that cannot be read."""
    for name, why in done.damaged.items():
        shard = name.removeprefix("shards/").removesuffix(".json")
        if not why.startswith("damaged"):
            yield _found(place, "damaged", name, why, "look at it: nothing of it is mended")
        elif (kept := _why_kept(case, place, shard)) is not None:
            yield _found(place, "damaged", name, why, kept)
        else:
            again = f"--repair removes it, and {case.tag} makes its shard again"
            yield _found(place, "damaged", name, why, again, partial(empty_damaged, place, shard))


def _outputs(case: Case, place: ShardFolder, done: ShardDone) -> Iterator[Found]:
    """Files of a shard that are not what its small file says."""
    faults = {
        kind: why for kind, output in outputs_of(done).items() if (why := output_fault(place, done, kind, output))
    }
    if not faults:
        return

    def mend() -> None:
        if faults.keys() <= _FOLLOW_FROM_PHOTOS:
            remake_shard(place, done)
        else:
            empty_shard(place, done, keeps_replaced="replaced" not in faults)

    remedy, can = _remedy(case, place, done, set(faults), all(fault.is_lost for fault in faults.values()))
    for kind, fault in faults.items():
        name = outputs_of(done)[kind].name
        where = f"shards/{done.name}.json" if fault.what.startswith("names ") else name
        what = f"{fault.what} (shards/{done.name}.json names it)" if where == name else fault.what
        yield _found(place, fault.kind, where, what, remedy, mend if can else None)


def _remedy(case: Case, place: ShardFolder, done: ShardDone, kinds: set[str], is_lost: bool) -> tuple[str, bool]:
    """What to do about files of a shard, and whether ``--repair`` does it."""
    if not is_lost:
        return "look at it: nothing of it is mended", False
    if kinds <= _FOLLOW_FROM_PHOTOS:
        return "--repair makes it again of the shard's photos", True
    if (kept := _why_kept(case, place, done.name)) is not None:
        return kept, False
    return f"--repair empties the shard, and {case.tag} makes it again", True


def _why_kept(case: Case, place: ShardFolder, shard: str) -> str | None:
    """Why a shard may not be given up, as a remedy: its photos are not there to be looked at again, or words are in it.

    What can be read of it is read; None: nothing would be lost.
    """
    photos = files_of_shard(place, "photos", shard)  # all, for what names them is damaged
    records = [record for name in photos for record in readable_records(place, name) or ()]
    if any(is_settled_by_human(record) for record in records):
        return "bring the file back from a backup: a person's word is in this shard"
    paths = {record.path for record in records}
    for name in files_of_shard(place, "tags", shard):
        paths |= tagged_paths(place, name)
    if gone := sorted(paths - case.on_disk.keys()):
        some = ", ".join(gone[:_SHOWN]) + (", ..." if len(gone) > _SHOWN else "")
        return f"bring the file back from a backup, or its photos, then --repair can mend it; not there: {some}"
    return None


# --- what is left over ----------------------------------------------------------------------------------------------


def _replaced(place: ShardFolder, done: DoneFiles) -> Iterator[Found]:
    """Shards that others have replaced as a whole; those that say which rows of others hold no longer have to stay."""
    there = {shard.name for shard in done.whole}
    by = {name: shard.name for shard in done.whole for name in shard.replaces if name != shard.name}
    for shard in done.whole:
        if shard.name not in by or shard.name in by.values():
            continue
        try:
            if needed_tombstones(place, shard, there - by.keys()):
                continue
        except IndexFileError:  # said already
            continue
        what = f"a shard that the shard {by[shard.name]} has replaced: nobody reads it"
        name = f"shards/{shard.name}.json"
        yield _found(place, "left-over", name, what, "--repair removes it", partial(remove_shard, place, shard.name))


def _left_over(case: Case, place: ShardFolder, faulty: set[str]) -> Iterator[Found]:
    """What killed runs left: files of shards that were not done, plans, half files.

    Where a run has left its mark it may go on, on a machine whose locks are not seen here: then nothing is removed.
    Files of ``faulty`` shards, which are not mended, are not left over.
    """
    is_marked = place.is_there(_MARK)
    if is_marked:
        what = "the mark of a run that was killed, or that goes on on another machine"
        yield _found(place, "left-over", _MARK, what, f"{case.tag} goes on with it and takes the mark away")
    done = read_done_files(place)  # again: what was mended before names other files now
    waits = is_marked or not done.whole
    plans = [name for name in place.names("plan") if name.endswith(".parquet")]
    for name in left_over_files(place, done, faulty) + plans:
        what = "which photos a killed run meant to do" if name in plans else "no small file names it: nobody reads it"
        if waits and name not in plans:
            yield _found(place, "left-over", name, what, f"run {case.tag}, then check again")
        elif not is_marked:
            yield _swept(place, name, what)
    for folder in _FOLDERS:
        for path in _half_files(case, place, folder):
            yield half_written("shards", path, "half of a file, which a killed run left", is_ours=not is_marked)


def _half_files(case: Case, place: ShardFolder, folder: str) -> list[Path]:
    if place.local is None:
        return []
    paths = [place.local / folder / name for name in case.listed(place.local / folder) if TEMPORARY.fullmatch(name)]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def _swept(place: ShardFolder, name: str, what: str) -> Found:
    """Something that may go, if nobody is writing it."""
    if place.local is not None and not is_settled(place.local / name):
        unless = f"{what}, unless it is being written now"
        return _found(place, "left-over", name, unless, "check again in a minute")
    return _found(place, "left-over", name, what, "--repair removes it", lambda: place.remove(name))


# --- what people said -----------------------------------------------------------------------------------------------


def _words(case: Case, place: ShardFolder) -> Iterator[Found]:
    words = inspect_said(place)
    for name, number, why in words.torn:
        what = f"line {number}: {why}" if number else why
        yield _found(place, "damaged", name, what, "mend it by hand: what is in it is a person's word")
    gone: dict[str, list[str]] = {}
    for path, name in words.missing.items():
        if path not in case.on_disk:
            gone.setdefault(name, []).append(path)
    for name, paths in gone.items():
        some = ", ".join(paths[:_SHOWN]) + (", ..." if len(paths) > _SHOWN else "")
        n = f"{len(paths)} photos" if len(paths) > 1 else "a photo"
        what = f"a person's word of {n} in no shard and not on the disk: {some}"
        yield _found(place, "missing", name, what, f"bring back what is gone, or run {case.tag}")


def _found(
    place: ShardFolder, kind: Kind, name: str, what: str, remedy: str, mend: Callable[[], object] | None = None
) -> Found:
    """A finding in the folder. On object storage nothing is mended: nobody here knows whether a run goes on."""
    if place.local is None:
        return found("shards", kind, place.where(name), what, remedy if mend is None else _REMOTE)
    return found("shards", kind, place.local / name, what, remedy, mend)
