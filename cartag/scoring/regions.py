"""From verdicts on the cars in a photo to its regions, and the rule by which the photo follows from them."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET
from msgspec.structs import replace

from cartag.scoring.scoring import Verdict
from cartag.values import Box, Candidate, OtherCar, Outcome, Region, Tag


def region_of(box: Box, found: float | None, verdict: Verdict, other: OtherCar | None) -> Region:
    """What is said of one box: the verdict on what it shows, and if that is none of the catalog's cars, which other.

    ``found`` is how sure the detector is of it; None: a person drew it.
    """
    assert verdict.outcome != "error"  # what was scored could be read
    return Region(
        box=box,
        found=UNSET if found is None else round(min(max(found, 0.0), 1.0), 4),
        outcome=verdict.outcome,
        tags=verdict.tags,
        candidates=verdict.candidates,
        other=UNSET if other is None or verdict.outcome != "unknown" else other,
    )


def follow(regions: Sequence[Region], keep: int) -> Verdict:
    """What the regions of a photo say of it.

    Its tags are those of its regions, of each car the one with the best score (a person's before the model's) with
    that region's box. It is `tagged` if there is one, else `unknown` if a region is a car, else `no-car`. Candidates
    are those of its regions, each car once, so many that there are at least ``keep`` cars with the tags. Boxes that a
    person deleted say nothing.
    """
    regions = [region for region in regions if (region.source, region.outcome) != ("human", "no-car")]
    tags: dict[str, Tag] = {}
    for region in regions:
        for tag in region.tags:
            there = tags.get(tag.car)
            if there is None or _strength(tag) > _strength(there):
                tags[tag.car] = replace(tag, box=region.box)
    rest: dict[str, Candidate] = {}
    for candidate in (c for region in regions for c in region.candidates):
        there_too = rest.get(candidate.car)
        if candidate.car not in tags and (there_too is None or candidate.score > there_too.score):
            rest[candidate.car] = candidate
    ranked = sorted(rest.values(), key=lambda c: -c.score)[: max(0, keep - len(tags))]
    by_score = tuple(sorted(tags.values(), key=_strength, reverse=True))
    is_car = any(region.outcome != "no-car" for region in regions)
    outcome: Outcome = "tagged" if by_score else "unknown" if is_car else "no-car"
    return Verdict(outcome, by_score, tuple(ranked))


def _strength(tag: Tag) -> tuple[bool, float]:
    return tag.source == "human", tag.score
