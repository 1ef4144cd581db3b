"""What a person says of a photo, or of one box in it, put into its record. Pure: records in, records out.

A word on a box makes its region hers. A box of the model's that she moves or deletes stays as one that she deleted, so
that no run puts it there again and all can be taken back. Where every box is hers, the photo is settled: unless nobody
has looked at it for cars yet, for then there may be more, and what the model says of the whole stands beside her boxes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from cartag.catalogs import UNKNOWN, match_exactly
from cartag.errors import ReviewError
from cartag.measuring import BoxLabel, Label
from cartag.reviewing.decisions import Decision, Truth
from cartag.scoring import Verdict, follow
from cartag.state import matched
from cartag.values import (
    Box,
    IndexedCar,
    ModelAnswer,
    Outcome,
    PhotoRecord,
    Region,
    Tag,
    as_model_has_it,
    human_regions,
    human_tags,
    is_settled_by_human,
    model_regions,
)

_OUTCOMES: Mapping[Truth, Literal["tagged", "unknown", "no-car"]] = {
    "car": "tagged",
    "unknown": "unknown",
    "none": "no-car",
}
_RANKED = 5
"""Cars that tags and candidates of a photo name at least."""


def live_regions(record: PhotoRecord) -> tuple[Region, ...]:
    """The boxes of a photo, less those that a person deleted."""
    return tuple(region for region in _regions(record) if not _is_deleted(region))


def decided(record: PhotoRecord, decision: Decision, *, main: bool = False) -> PhotoRecord:
    """A record with what a person says of it.

    ``main``: of each photo the largest box was looked at, and no other; when she deletes that, the next one is.

    Raises:
        ReviewError: the box that she speaks of is not there, or she puts one exactly where another is.
    """
    if decision.box is None and decision.to is None:
        if decision.truth is None:
            return taken_back(record)
        return _with_answer(record, decision.truth, tuple(dict.fromkeys(decision.cars)))
    return _with_box(record, decision, main)


def taken_back(record: PhotoRecord) -> PhotoRecord:
    """As the model has it, where that is known; else so that the next `tag` asks the model."""
    if not is_settled_by_human(record):
        return record
    if (model := as_model_has_it(record)) is not None:
        return _consistent(model)
    by_hand = human_tags(record)
    tags = () if record.confirmed is True else tuple(tag for tag in record.tags if tag not in by_hand)
    outcome: Outcome = "error" if record.error is not UNSET else "tagged" if tags else "unknown"
    regions = model_regions(record.regions) if record.regions is not UNSET and _was_looked_at(record) else UNSET
    return replace(record, outcome=outcome, tags=tags, regions=regions, confirmed=False)


def restored(before: PhotoRecord, after: PhotoRecord, now: PhotoRecord, *, main: bool = False) -> PhotoRecord:
    """What was said before the decision, over what a run has learnt of the photo since; ``main`` as in `decided`."""
    if now == after:
        return before
    if not is_settled_by_human(before):
        return taken_back(now)
    model = as_model_has_it(now)
    hers = human_regions(before)
    if before.regions is UNSET and now.regions is UNSET:
        return replace(
            now,
            outcome=before.outcome,
            tags=before.tags,
            candidates=before.candidates,
            confirmed=before.confirmed,
            by_model=_answer(model, UNSET),
        )
    regions = _laid_over(model_regions(_regions(now)), hers)
    if before.confirmed is True or not hers:
        said = replace(now, outcome=before.outcome, tags=before.tags, candidates=before.candidates)
        none_known = not regions and model is not None and model.regions is UNSET
        all_known = UNSET if none_known else regions
        return replace(said, regions=all_known, confirmed=before.confirmed, by_model=_answer(model, all_known))
    said = replace(now, outcome=before.outcome, tags=before.tags, regions=before.regions, confirmed=before.confirmed)
    return _followed(replace(said, by_model=_answer(model, regions)), regions, None, main)


def is_done(record: PhotoRecord) -> bool:
    """Whether a person said all there is to say of a photo; where she spoke of some boxes alone, others are left."""
    return record.confirmed is True or (is_settled_by_human(record) and not human_regions(record))


def is_same_answer(a: PhotoRecord, b: PhotoRecord) -> bool:
    """Whether two records say the same of a photo and of every box."""
    return (
        a.outcome == b.outcome
        and {tag.car for tag in a.tags} == {tag.car for tag in b.tags}
        and {_said(region) for region in live_regions(a)} == {_said(region) for region in live_regions(b)}
    )


def label_of(record: PhotoRecord, decision: Decision) -> Label:
    """What the labels say of a photo that a decision settles: of the photo as she did, or of every box of hers."""
    if not decision.is_of_box:
        return Label(record.path, frozenset(decision.cars), _other(decision.truth == "unknown"))
    hers = [region for region in live_regions(record) if region.source == "human"]
    boxes = [BoxLabel(r.box, frozenset(tag.car for tag in r.tags), _other(not r.tags)) for r in hers]
    is_other = record.outcome == "unknown" or any(not region.tags for region in hers)
    return Label(record.path, frozenset(tag.car for tag in record.tags), _other(is_other), tuple(boxes))


def with_former(label: Label, former: Sequence[IndexedCar]) -> Label:
    """A label as its photo's tags have it: what names a former car, or one that the next `tag` will score, is that car.

    In the file it is a name outside of the catalog, as it has to be for `eval` and `learn`.
    """

    def apart(words: Sequence[str]) -> tuple[frozenset[str], tuple[str, ...]]:
        found = {word: match_exactly(word, former) for word in words}
        return frozenset(car.id for car in found.values() if car), tuple(w for w in words if not found[w])

    if not former or not label.other:
        return label
    cars, other = apart(label.other)
    boxes = [(box, *apart(box.other)) for box in label.boxes]
    placed = tuple(BoxLabel(box.box, box.cars | named, rest) for box, named, rest in boxes)
    return Label(label.file, label.cars | cars, other, placed)


def _other(is_there: bool) -> tuple[str, ...]:
    return (UNKNOWN,) if is_there else ()


# --- the photo as a whole -----------------------------------------------------------------------------------------


def _with_answer(record: PhotoRecord, truth: Truth, cars: Sequence[str]) -> PhotoRecord:
    """The word of the photo. It names the photo's only box; of several, each stays what the model says, or she."""
    regions = _regions(record) if live_regions(record) else model_regions(_regions(record))
    alive = [region for region in regions if not _is_deleted(region)]
    changed: list[Region] = []
    for region in regions:
        if _is_deleted(region):
            changed.append(region)
        elif truth == "none":
            changed += _deleted(region)
        elif len(alive) == 1 and len(cars) <= 1 and _was_looked_at(record):
            changed.append(_named(region, truth, cars))
        elif region.source == "human" and not {tag.car for tag in region.tags} <= set(cars):
            changed.append(_named(region, "unknown", ()))  # her later word: it is none of those that she named
        else:
            changed.append(region)
    boxes = {tag.car: tag.box for tag in record.tags}
    boxes |= {tag.car: tag.box for tag in follow([r for r in changed if not _is_deleted(r)], 0).tags}
    return replace(
        record,
        outcome=_OUTCOMES[truth],
        tags=tuple(Tag(car=car, score=1.0, source="human", box=boxes.get(car, UNSET)) for car in cars),
        candidates=(),
        regions=UNSET if record.regions is UNSET else tuple(changed),
        confirmed=True,
        by_model=_answer(as_model_has_it(record), record.regions),
    )


# --- one box ------------------------------------------------------------------------------------------------------


def _with_box(record: PhotoRecord, decision: Decision, main: bool) -> PhotoRecord:
    regions, truth, cars = list(_regions(record)), decision.truth, decision.cars
    spoken = None if decision.box is None else _at(record, decision.box)
    if decision.to is not None and decision.to != decision.box:
        if any(region.box == decision.to for region in live_regions(record)):
            raise ReviewError(f"{record.path}: a box stands at {list(decision.to)} already; name or move that one")
        assert truth is not None  # as a decision is checked
        if spoken is not None:
            place = regions.index(spoken)
            regions[place : place + 1] = _deleted(spoken)
        regions = _with_drawn(regions, decision.to, truth, cars)
    elif spoken is not None:
        place = regions.index(spoken)
        if truth is None:
            regions = _given_back(regions, place)
        else:
            regions[place : place + 1] = _deleted(spoken) if truth == "none" else [_named(spoken, truth, cars)]
    return _followed(record, tuple(regions), decision.box, main)


def _at(record: PhotoRecord, box: Box) -> Region:
    for region in live_regions(record):
        if region.box == box:
            return region
    raise ReviewError(f"{record.path}: no box stands at {list(box)} any more; load the page again")


def _with_drawn(regions: Sequence[Region], box: Box, truth: Truth, cars: Sequence[str]) -> list[Region]:
    """With a box that she drew or moved there, in its place: largest first."""
    there = next((region for region in regions if region.box == box), None)  # one that she deleted, and puts back
    rest = [region for region in regions if region is not there]
    new = _named(there or Region(box=box, outcome="unknown", source="human"), truth, cars)
    place = next((i for i, region in enumerate(rest) if _area(region.box) < _area(box)), len(rest))
    return [*rest[:place], new, *rest[place:]]


def _given_back(regions: Sequence[Region], place: int) -> list[Region]:
    """With a box as the model has it: one that she drew goes, and the model's whose place it took comes back."""
    region = regions[place]
    as_it_was = model_regions([region])
    rest = [*regions[:place], *as_it_was, *regions[place + 1 :]]
    if as_it_was:
        return rest
    gone = [i for i, other in enumerate(rest) if _is_deleted(other)]
    same = matched([region.box], [rest[i].box for i in gone])
    if same:
        rest[gone[same[0]] : gone[same[0]] + 1] = model_regions([rest[gone[same[0]]]])
    return rest


def _named(region: Region, truth: Truth, cars: Iterable[str]) -> Region:
    return replace(
        region,
        outcome=_OUTCOMES[truth],
        tags=tuple(Tag(car=car, score=1.0, source="human") for car in cars),
        candidates=(),
        source="human",
        by_model=region.by_model if region.source == "human" else _model_said(region),
    )


def _deleted(region: Region) -> list[Region]:
    """What is left of a box: a mark that there is none, unless the model knows nothing of it."""
    if _model_said(region) is UNSET:
        return []
    return [_named(region, "none", ())]


def _followed(record: PhotoRecord, regions: Sequence[Region], spoken: Box | None, main: bool) -> PhotoRecord:
    """The record with these regions, and what follows from them for the photo.

    Tags that a person gave to the photo as a whole stay beside those of its boxes, but for one of the box that she
    speaks of now; and so do the model's of a photo that was not looked at for cars. Of a photo that she settled as a
    whole, boxes that are still the model's say nothing.
    """
    model, was_looked_at = as_model_has_it(record), _was_looked_at(record)
    if not was_looked_at:  # a box that an earlier run saw is not given back by one that saw none
        regions = [region for region in regions if region.source == "human"]
    by_boxes = was_looked_at and _all_hers(_regions(record))
    is_next = main and bool(regions) and all(map(_is_deleted, regions))
    settles = was_looked_at and _all_hers(regions) and not is_next
    is_settled = settles or (record.confirmed is True and not by_boxes)
    of_boxes = {tag.car for region in human_regions(record) for tag in region.tags}
    whole = [tag for tag in human_tags(record) if tag.car not in of_boxes and (spoken is None or tag.box != spoken)]
    hers = [region for region in regions if region.source == "human"]
    if model is not None and not (whole or hers or is_settled):
        return _consistent(replace(model, regions=tuple(regions) if was_looked_at else UNSET))
    verdict = follow(hers if is_settled else [r for r in regions if not _is_deleted(r)], _RANKED)
    if not (was_looked_at or is_settled):
        verdict = _beside_the_whole(verdict, model or record)
    named = {tag.car for tag in verdict.tags if tag.source == "human"}
    whole = [tag for tag in whole if tag.car not in named]
    by_hand = {tag.car for tag in whole}
    tags = (*whole, *(tag for tag in verdict.tags if tag.car not in by_hand))
    outcome: Outcome = "tagged" if tags else verdict.outcome
    if is_settled and not tags and not _all_hers(regions) and outcome == "no-car":  # boxes of the model's are left
        outcome = "unknown" if record.outcome == "tagged" else record.outcome
    given_back = any(region.source == "model" and region not in _regions(record) for region in regions)
    asks = is_next or record.confirmed is False or (given_back and model is not None and not _is_consistent(model))
    return replace(
        record,
        outcome=outcome,
        tags=tags,
        candidates=() if is_settled else tuple(c for c in verdict.candidates if c.car not in by_hand),
        regions=tuple(regions),
        confirmed=True if is_settled else False if asks else UNSET,
        by_model=_answer(model, regions),
    )


def _was_looked_at(record: PhotoRecord) -> bool:
    """Whether a photo was looked at for cars, as far as its record tells: then its boxes are all that were found."""
    if record.regions is UNSET:
        return False
    if record.by_model is not UNSET:
        return record.by_model.whole is UNSET
    drawn = human_regions(record)
    return record.confirmed is True or not drawn or any(_model_said(region) is not UNSET for region in record.regions)


def _beside_the_whole(boxes: Verdict, photo: PhotoRecord) -> Verdict:
    """What her boxes say, and beside them what the model says of a photo that it saw as a whole."""
    named = {tag.car for tag in boxes.tags}
    tags = (*boxes.tags, *(tag for tag in photo.tags if tag.source == "model" and tag.car not in named))
    there = {tag.car for tag in tags}
    outcome: Outcome = "tagged" if tags else "unknown" if "unknown" in (boxes.outcome, photo.outcome) else "no-car"
    return Verdict(outcome, tags, tuple(c for c in photo.candidates if c.car not in there))


def _consistent(model: PhotoRecord) -> PhotoRecord:
    """What the model says. Where a box is back that its last run did not look at, or saw elsewhere, the photo follows
    from the boxes that are there now, and the next `tag` asks the model anew."""
    if _is_consistent(model):
        return model
    verdict = follow(_regions(model), _RANKED)
    return replace(model, outcome=verdict.outcome, tags=verdict.tags, candidates=verdict.candidates, confirmed=False)


def _is_consistent(model: PhotoRecord) -> bool:
    """Whether what the model says of a photo is what follows from its boxes; without a box it is said of the whole."""
    regions, verdict = _regions(model), follow(_regions(model), 0)
    return not regions or (model.outcome, set(model.tags)) == (verdict.outcome, set(verdict.tags))


def _laid_over(regions: Sequence[Region], hers: Sequence[Region]) -> tuple[Region, ...]:
    """What a person said of boxes, over the model's regions: those that are the same are hers."""
    same = matched([region.box for region in hers], [region.box for region in regions])
    said = [
        replace(region, found=regions[same[i]].found, by_model=_model_said(regions[same[i]])) if i in same else region
        for i, region in enumerate(hers)
    ]
    rest = [region for i, region in enumerate(regions) if i not in same.values()]
    return tuple(sorted([*said, *rest], key=lambda region: -_area(region.box)))


def _all_hers(regions: Collection[Region]) -> bool:
    return bool(regions) and all(region.source == "human" for region in regions)


def _regions(record: PhotoRecord) -> tuple[Region, ...]:
    return () if record.regions is UNSET else record.regions


def _is_deleted(region: Region) -> bool:
    return region.source == "human" and region.outcome == "no-car"


def _model_said(region: Region) -> ModelAnswer | UnsetType:
    """What the model says of a box that it has of itself."""
    if region.source == "human":
        return UNSET if region.found is UNSET else region.by_model
    return ModelAnswer(outcome=region.outcome, tags=region.tags, candidates=region.candidates)


def _answer(model: PhotoRecord | None, regions: Sequence[Region] | UnsetType) -> ModelAnswer | UnsetType:
    """What the model says of a photo, beside these regions."""
    if model is None:
        return UNSET
    whole: Literal[True] | UnsetType = True if model.regions is UNSET and regions is not UNSET else UNSET
    return ModelAnswer(outcome=model.outcome, tags=model.tags, candidates=model.candidates, whole=whole)


def _said(region: Region) -> tuple[object, ...]:
    return region.box, region.outcome, frozenset(tag.car for tag in region.tags)


def _area(box: Sequence[float]) -> float:
    return box[2] * box[3]
