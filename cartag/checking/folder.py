"""The state folder: cache, journal, notes, small pictures, locks, rights, and what killed writers left there.

All of it can be made again, so all of it can be mended, but for what only a person can decide.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import UNSET

from cartag.checking.findings import TEMPORARY, Case, Found, found, half_written
from cartag.errors import ForeignFileError
from cartag.learning import claim_learned, damaged_rows_note
from cartag.reviewing import THUMBS, is_whole_thumb
from cartag.state import CacheState, Facts, Journal, drop_rotten, holder_of, inspect_cache, latest, replace_file

_THUMB = re.compile(r"([0-9a-f]{64})\.jpg")


def findings_of_state(case: Case) -> Iterator[Found]:
    """What is wrong in the state folder."""
    state = case.place.state
    if not os.path.lexists(state):
        return
    if not state.is_dir():
        yield found("state", "damaged", state, "is no folder", "move it away; the next run makes a new one")
        return
    yield from _rights(case)
    yield from _locks(case)
    yield from _cache(case)
    if not case.is_busy:
        yield from _journal(case)
    yield from _notes(case)
    yield from _thumbs(case)
    yield from _leftovers(case)


def _rights(case: Case) -> Iterator[Found]:
    """What this person may not use. Who else may is for the folder to say: cartag gives and takes nothing."""
    state, what = case.place.state, "may not be read and written by you"
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        yield found("state", "damaged", state, what, f"its owner can let you: chmod u+rwx {state}")
        return
    for name in case.listed(state):
        path = state / name
        if path.is_symlink():
            yield found("state", "damaged", path, "is a link, which cartag does not write through", "remove it")
        elif not os.access(path, os.R_OK | os.W_OK):
            yield found("state", "damaged", path, what, f"its owner can let you: chmod u+rw {path}")


def _locks(case: Case) -> Iterator[Found]:
    for lock in (case.place.lock, case.place.write_lock):
        if os.path.lexists(lock) and not lock.is_file():
            yield found("state", "damaged", lock, "is no file, so that nothing can be locked", "remove it")
            continue
        holder = holder_of(lock)
        if holder is not None and not holder.is_alive:
            heirs = " ".join(map(str, holder.heirs))
            yield found(
                "state",
                "left-over",
                lock,
                f"is held by {holder}",
                f"stop what it left behind{f': kill {heirs}' if heirs else ''}",
            )


# --- the cache ----------------------------------------------------------------------------------------------------


def _cache(case: Case) -> Iterator[Found]:
    state = case.place.state
    aside = state / "embeddings.damaged"
    if aside.is_file() and not aside.is_symlink():
        yield found(
            "state", "left-over", aside, "a damaged cache that was set aside", "--repair removes it", aside.unlink
        )
    cache = inspect_cache(state)
    if cache is None or cache.is_busy or (case.is_busy and cache.unfinished):
        return

    def mend() -> None:
        drop_rotten(state)

    again = f"--repair takes it out; {case.tag} computes it again"
    if cache.unfinished:
        what = "a killed run left a transaction in the middle"
        yield found("state", "left-over", f"{cache.path}-journal", what, "--repair takes it back", mend)
    if cache.problem and not cache.unfinished:
        what = f"the cache of embeddings cannot be used ({cache.problem})"
        yield found("state", "damaged", cache.path, what, f"--repair begins it anew; {case.tag} fills it", mend)
    for table, n in sorted(cache.rotten.items()):
        rows = f"{n} rotten row{'s' if n > 1 else ''} of the table {table}"
        yield found("state", "damaged", cache.path, rows, again, mend)
    if _is_anothers(case, cache):
        yield found(
            "state",
            "damaged",
            cache.path,
            "the cache of another gallery: it holds none of the photos of this one",
            f"--repair begins it anew; {case.tag} fills it",
            lambda: _begin_anew(cache.path),
        )


def _is_anothers(case: Case, cache: CacheState) -> bool:
    """Two indexes in one folder share a cache: then nothing can be said of whose it is."""
    if case.index is None or not cache.contents:
        return False
    locks = {case.place.lock.name, case.place.write_lock.name}
    if any(name.endswith(".lock") and name not in locks for name in case.listed(case.place.state)):
        return False
    here = {record.sha256 for record in case.index if record.sha256 is not UNSET and record.outcome != "error"}
    return bool(here) and not here & cache.contents


def _begin_anew(path: Path) -> None:
    path.unlink()
    drop_rotten(path.parent)


# --- the journal --------------------------------------------------------------------------------------------------


def _journal(case: Case) -> Iterator[Found]:
    path = case.place.journal
    if not os.path.lexists(path) or path.is_symlink():  # a link is said among the rights
        return
    journal = Journal(path)
    try:
        facts = list(latest(journal.read()).values())
    except OSError as e:
        yield found("state", "damaged", path, f"the journal cannot be read ({e.strerror})", "remove it")
        return
    useless = [fact for fact in facts if not _is_useful(case, fact)]

    def mend() -> None:
        kept = journal.without(useless)
        if kept:
            replace_file(path, kept)
        else:
            path.unlink()

    if journal.damaged_lines:
        n = journal.damaged_lines
        what = f"{n} damaged line{'s' if n > 1 else ''} in the journal of a run that was killed"
        yield found("state", "damaged", path, what, "--repair takes them out; their photos are read again", mend)
    if len(useless) < len(facts):
        n = len(facts) - len(useless)
        what = f"the journal of a run that was killed, with {n} photo{'s' if n > 1 else ''} that it had read"
        yield found("state", "left-over", path, what, f"{case.tag} goes on from it")
    elif not journal.damaged_lines:
        what = "the journal of a run that was killed; nothing in it is of use any more"
        yield found("state", "left-over", path, what, "--repair removes it", mend)


def _is_useful(case: Case, fact: Facts) -> bool:
    """Whether a run would spare something by it: the photo is as the journal says, and the index does not know yet."""
    there = case.on_disk.get(fact.path)
    if there is None or (there.size, there.mtime_ns) != (fact.size, fact.mtime_ns):
        return False
    record = case.index.photos.get(fact.path) if case.index is not None else None
    return record is None or (record.size, record.mtime_ns, record.sha256) != (fact.size, fact.mtime_ns, fact.sha256)


# --- notes, pictures, temporary files ---------------------------------------------------------------------------------


def _notes(case: Case) -> Iterator[Found]:
    note = case.place.state / f"{case.place.name}.made.json"
    if note.is_file():
        try:
            claim_learned(case.place)
        except ForeignFileError as e:
            if str(note) in str(e):
                what = "the note of what cartag made cannot be read"
                yield found("state", "damaged", note, what, "--repair removes it", note.unlink)
    if (rows := damaged_rows_note(case.place)) is not None:
        yield found(
            "labels",
            "damaged",
            rows,
            "the note of which rows of the labels still name photos by their former names cannot be read",
            "look whether the labels name the right photos, then remove it",
        )


def _thumbs(case: Case) -> Iterator[Found]:
    folder = case.place.state / THUMBS
    if folder.is_symlink() or not folder.is_dir():
        return
    known = None if case.index is None else {f"{record.sha256}" for record in case.index}
    for name in case.listed(folder):
        path, is_thumb = folder / name, _THUMB.fullmatch(name)
        if TEMPORARY.fullmatch(name):
            yield half_written("state", path, "half of a small picture", is_ours=True)
        elif is_thumb and not is_whole_thumb(path):
            yield found(
                "state", "damaged", path, "a small picture that is not whole", "--repair removes it", path.unlink
            )
        elif is_thumb and known is not None and is_thumb[1] not in known:
            what = "a small picture of a photo that the index does not hold"
            yield found("state", "left-over", path, what, "--repair removes it", path.unlink)


def _leftovers(case: Case) -> Iterator[Found]:
    for name in case.listed(case.place.state):
        path = case.place.state / name
        if (matched := TEMPORARY.fullmatch(name)) and path.is_file() and not path.is_symlink():
            if matched[1] == case.place.index.name and not case.is_busy:  # who repairs holds its lock
                what = "half of an index, which a killed run left"
                yield found("state", "left-over", path, what, "--repair removes it", path.unlink)
            else:
                yield half_written("state", path, f"half of {matched[1]}, which a killed writer left", is_ours=True)
