"""From old records and what a run has learnt to the new ones: the model's verdicts, and over them people's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from cartag.paths import disk_path, name_on_disk, printable
from cartag.scoring import Verdict, follow
from cartag.state import Contents, Facts, Whereabouts, contents_of, in_digits, matched, place_words, word_of
from cartag.values import (
    Box,
    Candidate,
    ModelAnswer,
    Outcome,
    PhotoFile,
    PhotoRecord,
    Region,
    Tag,
    human_regions,
    human_tags,
    is_settled_by_human,
)

Records = Mapping[str, PhotoRecord]
"""By path."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a run knows of one photo: its facts and the model's verdict; without that, it cannot be read."""

    facts: Facts | PhotoRecord
    verdict: Verdict | None


@dataclass(frozen=True)
class Merged:
    """The new records, and how the photos got from the old ones to them."""

    records: dict[str, PhotoRecord]
    where: Whereabouts
    now: Contents


def merged(
    old: Records, photos: Sequence[PhotoFile], kept: Records, learnt: Mapping[str, Learnt], unseen: Iterable[str]
) -> Merged:
    """The records of a run that came to its end.

    Args:
        old: the records of the old index.
        photos: all photos of the gallery.
        kept: of photos that are as they were, their records.
        learnt: of all others, what the run knows.
        unseen: paths of old records that stand, for the folders that they lie in could not be listed.
    """
    now = dict.fromkeys(unseen) | {path: _own_content(record) for path, record in kept.items()}
    now |= {path: _own_content(photo.facts) for path, photo in learnt.items()}
    where = place_words(
        {path: word_of(record) for path, record in old.items() if is_settled_by_human(record)},
        contents_of(old),
        now,
        {path for path, photo in learnt.items() if photo.verdict is None},
    )
    records = {path: old[path] for path in unseen}
    for photo in photos:
        origin = where.at.get(photo.path)
        said = None if origin is None else old[origin]
        if photo.path in learnt:
            of = learnt[photo.path]
            records[photo.path] = record_of(photo, of.facts, answer_of(of.verdict), said)
        elif said is None or origin == photo.path:
            records[photo.path] = _as_named(kept[photo.path], photo)
        else:
            as_it_was = kept[photo.path]
            records[photo.path] = record_of(photo, as_it_was, model_answer(as_it_was), said)
    for path, origin in where.missing.items():
        on_disk = old[origin].path_on_disk if path == origin else UNSET
        records[path] = replace(old[origin], path=path, path_on_disk=on_disk, missing=True)
    return Merged(records, where, now)


def interrupted(old: Records, photos: Sequence[PhotoFile], learnt: Mapping[str, Learnt]) -> dict[str, PhotoRecord]:
    """The records of a run that was stopped: new photos come in, and photos that are as they were are up to date.

    Of all others the old records stand, also of those that seem to be gone. Which photo a word belongs to can be told
    only when all of them have been looked at.
    """
    records = dict(old)
    for photo in photos:
        of, before = learnt.get(photo.path), old.get(photo.path)
        if of is None:
            continue
        said = before if before is not None and is_settled_by_human(before) else None
        is_same = before is not None and before.sha256 is not UNSET and before.sha256 == of.facts.sha256
        if before is None or (is_same and before.missing is UNSET):
            records[photo.path] = record_of(photo, of.facts, answer_of(of.verdict), said)
    return records


def homes_of(paths: Iterable[str], old: Records, new: Merged) -> dict[str, str | None]:
    """Old path -> new path of the photos at these paths, and of all that a person spoke of; None: it is nowhere."""
    others = {path: word_of(old[path]) for path in paths if path in old and not is_settled_by_human(old[path])}
    where = place_words(others, contents_of(old), new.now)
    return {**where.homes, **dict.fromkeys(where.missing.values()), **new.where.homes}


def in_folders(records: Records, folders: Sequence[str]) -> list[str]:
    """Paths of the records whose photos lie below one of these folders (as `Walk.unreadable_folders` names them)."""
    below = tuple(f"{folder}/" for folder in folders)
    return [path for path, record in records.items() if below and _name(record).startswith(below)]


# --- one photo ----------------------------------------------------------------------------------------------------


def _own_content(of: Facts | PhotoRecord) -> str | None:
    """What lies at a path, as `whereabouts.Contents` has it."""
    if of.error is not UNSET and of.error.reason == "empty":  # whatever hash its record keeps
        return ""
    return None if of.sha256 is UNSET else of.sha256


def _as_named(record: PhotoRecord, photo: PhotoFile) -> PhotoRecord:
    """The same record; a name can be written with other bytes (NFC, NFD) and be the same identity."""
    on_disk = name_on_disk(photo) or UNSET
    return record if record.path_on_disk == on_disk else replace(record, path_on_disk=on_disk)


def _name(record: PhotoRecord) -> str:
    return printable(disk_path(record.path, None if record.path_on_disk is UNSET else record.path_on_disk))


def answer_of(verdict: Verdict | None) -> Verdict:
    """What the model says; of a photo that cannot be read, that."""
    return Verdict("error", (), ()) if verdict is None else verdict


def model_answer(record: PhotoRecord) -> Verdict:
    """What the model says, of a photo that nobody said anything of."""
    return Verdict(record.outcome, record.tags, record.candidates, record.regions)


def record_of(
    photo: PhotoFile, facts: Facts | PhotoRecord, model: Verdict, old: PhotoRecord | None = None
) -> PhotoRecord:
    """The new record of a photo: what the model says, and over it everything that a person said, as ``old`` has it."""
    said = human_tags(old) if old is not None and old.tags else ()
    hers = human_regions(old) if old is not None else ()
    confirmed = old is not None and old.confirmed is True
    regions = _with_hers(model.regions, hers, {region.box: region for region in model.drawn})
    answer = _without_deleted(model, hers) if hers else model
    outcome: Outcome = answer.outcome
    tags: tuple[Tag, ...] = (*said, *answer.tags)
    candidates: tuple[Candidate, ...] = answer.candidates
    if old is not None and confirmed:  # a person's word stands, even over a file that became unreadable
        outcome, tags, candidates = old.outcome, old.tags, old.candidates
    elif said and facts.error is UNSET:
        by_hand = {tag.car for tag in said}
        outcome = "tagged"
        tags = (*said, *(tag for tag in answer.tags if tag.car not in by_hand))
        candidates = tuple(c for c in answer.candidates if c.car not in by_hand)
    elif outcome == "no-car" and any(region.outcome != "no-car" for region in hers):
        outcome = "unknown"  # she has drawn a car of which nobody knows the name
    by_model: ModelAnswer | UnsetType = UNSET
    if old is not None and is_settled_by_human(old) and (old.by_model is not UNSET or old.confirmed is False):
        whole: Literal[True] | UnsetType = True if model.regions is UNSET and hers else UNSET
        by_model = ModelAnswer(outcome=model.outcome, tags=model.tags, candidates=model.candidates, whole=whole)
    sha256 = facts.sha256
    if old is not None and sha256 is UNSET:  # not to be read: she spoke of what lay there before
        sha256 = old.sha256
    return PhotoRecord(
        path=photo.path,
        sha256=sha256,
        size=facts.size,
        mtime_ns=facts.mtime_ns,
        width=facts.width,
        height=facts.height,
        outcome=outcome,
        tags=tags,
        candidates=candidates,
        regions=regions,
        error=facts.error,
        path_on_disk=name_on_disk(photo) or UNSET,
        confirmed=True if confirmed else UNSET,
        by_model=by_model,
    )


# --- boxes of a person --------------------------------------------------------------------------------------------


def _with_hers(
    models: tuple[Region, ...] | UnsetType, hers: Sequence[Region], drawn: Mapping[Box, Region]
) -> tuple[Region, ...] | UnsetType:
    """The regions of a photo: a person's as they are, and the model's where she has none; largest first.

    A box of hers that the detector finds too holds what the model says of that; one that it does not find, what it says
    of her box, as ``drawn`` has it.
    """
    if not hers:
        return models
    found = () if models is UNSET else models
    same = matched([region.box for region in hers], [region.box for region in found])
    kept = [region for i, region in enumerate(found) if i not in same.values()]
    said = [_beside(of, found[same[i]]) if i in same else _scored(of, drawn) for i, of in enumerate(hers)]
    both = [*said, *kept]
    return tuple(sorted(both, key=lambda region: -region.box[2] * region.box[3]))


def _beside(hers: Region, model: Region) -> Region:
    said = ModelAnswer(outcome=model.outcome, tags=model.tags, candidates=model.candidates)
    return replace(hers, found=model.found, other=model.other, by_model=said)


def _scored(hers: Region, drawn: Mapping[Box, Region]) -> Region:
    if (model := drawn.get(in_digits(hers.box))) is None or hers.outcome == "no-car":
        return hers
    return replace(_beside(hers, model), found=hers.found)


def _without_deleted(model: Verdict, hers: Sequence[Region]) -> Verdict:
    """What the model says of the boxes that a person left to it; of a photo without any, what it says of the whole."""
    if model.regions is UNSET or not model.regions:
        return model
    same = matched([region.box for region in hers], [region.box for region in model.regions])
    left = [region for i, region in enumerate(model.regions) if i not in same.values()]
    return follow(left, len(model.tags) + len(model.candidates))
