"""What is left to do: for every photo the least, by the old index and by what a killed run has learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import UNSET

from cartag.state import Facts
from cartag.tagging.run import Run
from cartag.values import RETRIED_REASONS, PhotoFile, PhotoRecord, Region


@dataclass
class Plan:
    """What has to be done with each photo; every photo is in exactly one of them."""

    kept: dict[str, PhotoRecord] = field(default_factory=dict)
    known: list[Facts | PhotoRecord] = field(default_factory=list)
    """By the journal or the old index; of these, what the cache has no embedding of is read after all."""
    to_read: list[PhotoFile] = field(default_factory=list)


def plan_of(run: Run, photos: Sequence[PhotoFile], journaled: Mapping[str, Facts], retag: bool) -> Plan:
    """Decides for every photo what has to be done. ``journaled``: what is known of photos that the old index is not."""
    plan = Plan()
    records: Mapping[str, PhotoRecord] = run.old.photos if run.old else {}
    stands, looks = run.old_is_current and not retag, run.sight is not None
    for photo in photos:
        old = records.get(photo.path)
        known: Facts | PhotoRecord | None = journaled.get(photo.path)
        if known is None and old is not None and stands and _stands(old, photo, looks):
            plan.kept[photo.path] = old  # in most runs nearly all of them: a comparison, and nothing more
            continue
        known = known or old
        if retag or known is None or (known.size, known.mtime_ns) != (photo.size, photo.mtime_ns):
            plan.to_read.append(photo)
        elif known.error is not UNSET:
            if known.error.reason in RETRIED_REASONS:
                plan.to_read.append(photo)
            else:
                plan.known.append(known)
        elif old is not None and stands and _stands(old, photo, looks):
            plan.kept[photo.path] = old
        else:
            plan.known.append(known)
    return plan


def _stands(record: PhotoRecord, photo: PhotoFile, looks: bool) -> bool:
    """Whether a record is of the file as it is now (a killed run may have journaled a newer one).

    Where a run ``looks`` for cars, it looks into the boxes that a person has drawn since the last one.
    """
    return (
        (record.size, record.mtime_ns) == (photo.size, photo.mtime_ns)
        and record.confirmed is not False
        and record.missing is UNSET
        and record.error is UNSET
        and record.outcome != "error"
        and not (looks and record.regions and any(map(_is_new, record.regions)))
    )


def _is_new(region: Region) -> bool:
    return region.source == "human" and region.outcome != "no-car" and region.by_model is UNSET
