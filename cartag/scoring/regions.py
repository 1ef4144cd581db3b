"""The rule by which a photo follows from its regions."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from cartag.scoring.scoring import Verdict
from cartag.values import Candidate, Region, Tag


def follow(regions: Sequence[Region], keep: int) -> Verdict:
    """What the regions of a photo say of it.

    Its tags are those of its regions, of each car the one with the best score (a person's before the model's) with
    that region's box. It is `tagged` if there is one, else `unknown` if a region is a car, else `no-car`. Candidates
    are those of its regions, each car once, so many that there are at least ``keep`` cars with the tags.
    """
    tags: dict[str, Tag] = {}
    for region in regions:
        for tag in region.tags:
            there = tags.get(tag.car)
            if there is None or _strength(tag) > _strength(there):
                tags[tag.car] = replace(tag, box=region.box)
    rest: dict[str, Candidate] = {}
    for candidate in (c for region in regions if region.outcome != "no-car" for c in region.candidates):
        there_too = rest.get(candidate.car)
        if candidate.car not in tags and (there_too is None or candidate.score > there_too.score):
            rest[candidate.car] = candidate
    ranked = sorted(rest.values(), key=lambda c: -c.score)[: max(0, keep - len(tags))]
    by_score = tuple(sorted(tags.values(), key=_strength, reverse=True))
    if by_score:
        return Verdict("tagged", by_score, tuple(ranked))
    is_car = any(region.outcome != "no-car" for region in regions)
    return Verdict("unknown" if is_car else "no-car", (), tuple(ranked))


def _strength(tag: Tag) -> tuple[bool, float]:
    return tag.source == "human", tag.score
