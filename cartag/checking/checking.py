"""Checking a gallery: every part in its turn, and with ``repair`` what can be made again is mended."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from cartag.checking.beside import findings_among_photos, findings_of_labels, findings_of_learned, findings_of_photos
from cartag.checking.findings import Case, Finding, Found, Part, found
from cartag.checking.folder import findings_of_state
from cartag.errors import CartagError, IndexFileError
from cartag.photos import RawPairs, reads_raw, walk
from cartag.progress import Progress, Silent
from cartag.settings import Settings, load_settings
from cartag.state import (
    Index,
    Place,
    holder_of,
    lacks_header,
    lacks_shards,
    place_of,
    read_index,
    replacing,
    running,
    shards_at,
)

_PARTS: tuple[Callable[[Case], Iterator[Found]], ...] = (
    findings_of_photos,
    findings_of_learned,
    findings_of_state,
    findings_of_labels,
    findings_among_photos,
)


@dataclass(frozen=True)
class CheckReport:
    """What a check found."""

    index: str
    photos: int
    """Photos that are there."""
    new: int
    """Of them, those that the index does not know: nothing is wrong with that."""
    findings: tuple[Finding, ...]
    """In the order of the parts: shards, index, photos, learned, state, labels, sidecars."""
    run: str = ""
    """Who writes the index now, so that what is unfinished was left out; empty: nobody."""

    @property
    def remaining(self) -> tuple[Finding, ...]:
        """What is still wrong."""
        return tuple(finding for finding in self.findings if not finding.repaired)


def check(
    gallery: Path | str,
    *,
    repair: bool = False,
    index: Path | str | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> CheckReport:
    """Reads index, shards, photos, state, learned files, labels and sidecars against each other; says what is wrong.

    Without ``repair`` nothing is written and nothing is locked. With it, what can be made again is mended: rotten rows
    of the cache are taken out, a cache that cannot be used is begun anew, what killed writers left is removed, shards
    are made anew or emptied. What a person said (tags, boxes, labels, sidecars) is never touched; nor are photos, which
    are told by size and time, and not read.

    Args:
        gallery: the folder of photos, tagged before.
        repair: mend what can be made again.
        index: where the index lies, if not in the gallery.
        settings: the rarer settings.
        progress: hears which part is being looked at.

    Raises:
        GalleryError: the gallery is not there.
        IndexFileError: there is neither index nor state; or, with ``repair``, another cartag is writing now; or the
            index is a folder of shards, and what reads these is not installed.
    """
    settings = (settings or load_settings()).overridden({"index": index})
    gallery, progress = Path(gallery), progress or Silent()
    place = place_of(gallery, settings.index)
    photos = walk(gallery, cast(RawPairs, settings.raw_pairs) if reads_raw() else None, settings.not_hers)
    known = read_index(gallery, settings.index) if _is_bare(place) else None  # raises: there is nothing to check
    with ExitStack() as locks:
        if repair:
            locks.enter_context(running(place))
            locks.enter_context(replacing(place))
        holder = None if repair else holder_of(place.lock)
        case = Case(gallery, place, None, photos, holder is not None, shards_at(place))
        progress.start("parts", len(_PARTS) + 1)
        # Shards first: what is mended of them is an index that can be read.
        findings = [_settled(one, repair) for one in _of_shards(case)]
        progress.advance()
        known, wrong = _read(gallery, place)
        if all(finding.repaired or finding.kind == "left-over" for finding in findings):  # else they say why
            findings += [_settled(one, repair) for one in wrong]
        case = replace(case, index=known)
        for part in _PARTS:
            findings += [_settled(one, repair) for one in part(case)]
            progress.advance()
        progress.finish()
        for folder, why in case.closed.items():
            which: Part = "state" if folder.is_relative_to(place.state) else "photos"
            what = f"cannot be listed ({why})"
            findings.append(found(which, "damaged", folder, what, "mend that, and check again").finding)
    return CheckReport(
        index=str(place.index),
        photos=len(photos.photos),
        new=len(case.on_disk.keys() - known.photos.keys()) if known is not None else 0,
        findings=tuple(findings),
        run="" if holder is None else str(holder),
    )


def _is_bare(place: Place) -> bool:
    return not os.path.lexists(place.index) and not os.path.lexists(place.state) and not lacks_header(place)


def _of_shards(case: Case) -> Iterator[Found]:
    """What is wrong with an index that is a folder of shards, or was one."""
    if lacks_shards(case.place):
        what = "not there, though the index beside it is the header of a folder of shards"
        remedy = "bring it back, or make another index"
        yield found("shards", "missing", case.place.index.parent / "shards", what, remedy)
    elif lacks_header(case.place):
        what = "the header of the shards beside it is not there"
        remedy = "bring it back, or run the same 'cartag tag --engine ray' again, which writes it anew"
        yield found("shards", "missing", case.place.index, what, remedy)
    elif case.shards is not None:
        from cartag.checking.shards import findings_of_shards  # noqa: PLC0415 - pyarrow is an extra

        yield from findings_of_shards(case)


def _read(gallery: Path, place: Place) -> tuple[Index | None, list[Found]]:
    """The index, or what is wrong with it. It holds a person's words: nobody mends it but a person."""
    try:
        return read_index(gallery, place.uri or place.index), []
    except IndexFileError as e:
        kind, what = ("damaged" if os.path.lexists(place.index) else "missing"), str(e).removeprefix(f"{place.index}: ")
        what, _, remedy = what.rpartition("; ") if "; " in what else (what, "", "run the same 'cartag tag' again")
        return None, [found("index", "damaged" if kind == "damaged" else "missing", place.index, what, remedy)]


def _settled(one: Found, repair: bool) -> Finding:
    """A finding, mended where that is wanted and can be."""
    if not repair or one.mend is None:
        return one.finding
    try:
        one.mend()
    except FileNotFoundError:  # an earlier one of the same file mended it too
        pass
    except (OSError, CartagError) as e:
        why = e.strerror or str(e) if isinstance(e, OSError) else str(e)
        return replace(one.finding, remedy=f"could not be mended ({why}); mend that, and check again")
    return replace(one.finding, remedy=one.finding.remedy.removeprefix("--repair "), repaired=True)
