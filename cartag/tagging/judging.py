"""From vectors to what is said of a photo: every region by itself, and the photo follows. The same on every engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from cartag.photos import ReadPhoto
from cartag.scoring import (
    Calibration,
    ClassSet,
    Presence,
    Scores,
    Verdict,
    decide,
    follow,
    named_others,
    others_of,
    region_of,
    score,
    weighed,
)
from cartag.tagging.looking import Looked, Pixels
from cartag.values import Car, OtherCar


@dataclass(frozen=True, eq=False)
class Judge:
    """All that vectors are scored by; plain values, so that it can be handed to another process."""

    classes: ClassSet
    facts: Mapping[str, float | None]
    """``logit_scale`` and ``logit_bias`` of the model."""
    calibration: Calibration
    other_cars: Sequence[Car]
    keep: int
    """Cars kept a photo besides its tags."""
    by_regions: bool
    """Whether photos are looked at car by car, or as wholes."""
    presence: Presence | None = None
    """How it is weighed whether a box holds a car; None: by the model's word alone."""

    def verdicts(self, photos: Mapping[str, Looked]) -> dict[str, Verdict]:
        """Scores photos by their vectors, by hash."""
        if not photos:
            return {}
        drawn = [looked.drawn_vectors for looked in photos.values() if looked.drawn_vectors is not None]
        vectors = np.concatenate([*(looked.vectors for looked in photos.values()), *drawn])
        scores = self._scores(vectors)
        if self.presence is not None:
            scores = self._weighed(scores, photos, self.presence)
        verdicts = iter(decide(scores, self.classes.cars, self.calibration, self.keep))
        if not self.by_regions:
            return dict(zip(photos, verdicts, strict=True))
        others = iter(self._others(vectors, scores))
        judged: dict[str, Verdict] = {}
        for h, looked in photos.items():
            own = [(next(verdicts), next(others)) for _ in looked.vectors]
            if looked.boxes:
                regions = [region_of(*box, *said) for box, said in zip(looked.boxes, own, strict=True)]
                cars = tuple(region for region in regions if region.outcome != "no-car")
                none = tuple(region for region in regions if region.outcome == "no-car")
                # What the model says of these is asked for where a person says that one of them is a car.
                judged[h] = replace(follow(regions, self.keep), regions=cars, drawn=none)
            else:
                judged[h] = replace(own[0][0], regions=())
        for h, looked in photos.items():
            if looked.drawn:
                hers = tuple(region_of(box, None, next(verdicts), next(others)) for box in looked.drawn)
                judged[h] = replace(judged[h], drawn=judged[h].drawn + hers)
        return judged

    def _scores(self, vectors: np.ndarray) -> Scores:
        return score(
            vectors,
            self.classes,
            logit_scale=self._logit_scale,
            logit_bias=self.facts["logit_bias"],
            calibration=self.calibration,
        )

    def _weighed(self, scores: Scores, photos: Mapping[str, Looked], presence: Presence) -> Scores:
        """The scores with those of the detector's boxes weighed anew; these come first, photo by photo."""
        asked = [looked.whole for looked in photos.values() if looked.whole is not None]
        answers = iter(self._scores(np.stack(asked)).no_car.tolist() if asked else ())
        found: list[float] = []
        wholes: list[float] = []
        for looked in photos.values():
            found += [sure for _, sure in looked.boxes] or [np.nan]
            wholes += [next(answers) if looked.whole is not None else np.nan] * len(looked.vectors)
        drawn = [np.nan] * (len(scores.no_car) - len(found))
        return weighed(scores, np.array(found + drawn), np.array(wholes + drawn), presence)

    @property
    def _logit_scale(self) -> float:
        return self.facts["logit_scale"] or 1.0

    def _others(self, vectors: np.ndarray, scores: Scores) -> list[OtherCar | None]:
        if not self.classes.others:
            return [None] * len(vectors)
        names, makes = [car.name for car in self.other_cars], [car.make for car in self.other_cars]
        found = others_of(
            vectors, self.classes, scores, makes, logit_scale=self._logit_scale, calibration=self.calibration
        )
        return named_others(found, names, makes, self.calibration)


def pixels_of(batch: Sequence[ReadPhoto]) -> dict[str, Pixels]:
    """The pictures of photos that were read, by content: of equal files only the first goes through the model."""
    found: dict[str, Pixels] = {}
    for photo in batch:
        if photo.pixels is not None and photo.facts.sha256:
            found.setdefault(photo.facts.sha256, Pixels(photo.pixels, photo.glances))
    return found
