"""What the page asks for besides photos and decisions: what looks alike, another car, and what could be learned."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import msgspec

from cartag.errors import ReviewError
from cartag.learning import LearnReport, Proposal, propose
from cartag.reviewing.keys import Key
from cartag.reviewing.likeness import Likeness
from cartag.reviewing.session import Session
from cartag.settings import Settings
from cartag.values import Box

Question = Callable[[bytes], Mapping[str, Any]]


class _Like(msgspec.Struct, frozen=True):
    path: str
    box: Box | None = None
    most: int | None = None


class _Car(msgspec.Struct, frozen=True):
    name: str
    aliases: tuple[str, ...] = ()


class _Taken(msgspec.Struct, frozen=True):
    take: bool


class Asks:
    """Answers these questions; each gets the body of a request, and gives what is to be told as JSON.

    Raises, all of them: CartagError, with what is to be said; msgspec.DecodeError, where the body is no such question.
    """

    def __init__(self, session: Session, settings: Settings, keys: tuple[Key, ...]) -> None:
        self._session, self._settings, self._keys = session, settings, keys
        self._likeness = Likeness(lambda: session.index, session.gallery, session.place, settings)
        self._proposal: Proposal | None = None
        self._learning = threading.Lock()

    def questions(self) -> dict[str, Question]:
        """By the part of the address that they are asked at."""
        return {
            "groups": self._groups,
            "like": self._like,
            "odd": self._odd,
            "car": self._car,
            "learn": self._learn,
            "take": self._take,
        }

    def keys(self) -> list[dict[str, Any]]:
        """The page's table of keys."""
        return [asdict(key) for key in self._keys]

    def _groups(self, body: bytes) -> dict[str, Any]:
        found = self._likeness.groups()
        kinds = {"groups": False, "pooled": True}
        return {kind: [one.members for one in found if one.is_pooled is is_it] for kind, is_it in kinds.items()}

    def _like(self, body: bytes) -> dict[str, Any]:
        asked = msgspec.json.decode(body, type=_Like)
        found = self._likeness.like(asked.path, asked.box, asked.most)
        return {"like": [[one.path, one.likeness] for one in found]}

    def _odd(self, body: bytes) -> dict[str, Any]:
        return {"odd": self._likeness.odd()}

    def _car(self, body: bytes) -> dict[str, Any]:
        asked = msgspec.json.decode(body, type=_Car)
        car, file = self._session.add_car(asked.name, asked.aliases)
        return {"car": car.id, "file": str(file)}

    def _learn(self, body: bytes) -> dict[str, Any]:
        """What would be learned of all that is settled, or of the labels that are kept beside; nothing is kept yet."""
        with self._learning:
            session = self._session
            labels = session.labels or session.place.index
            if session.labels is None and session.place.uri is not None:
                raise ReviewError(
                    f"{session.place.uri}: learning from an index on object storage needs hand labels beside it; begin "
                    "the review with --labels FILE"
                )
            self._proposal = propose(session.gallery, labels, settings=self._settings)
            return _told(self._proposal.report)

    def _take(self, body: bytes) -> dict[str, Any]:
        asked = msgspec.json.decode(body, type=_Taken)
        with self._learning:
            proposal, self._proposal = self._proposal, None
            if not asked.take:
                return {"kept": False}
            if proposal is None:
                raise ReviewError("nothing was learned that could be taken; ask for it again")
            return {"kept": proposal.keep().kept}


def _told(report: LearnReport) -> dict[str, Any]:
    return {
        "photos": report.photos,
        "helps": report.kept,
        "folds": report.folds,
        "before": report.before,
        "after": report.after,
        "gain": {name: None if one is None else [one.low, one.high] for name, one in report.gain.items()},
        "cars": [{"car": car.car, "labels": car.labels, "changed": car.adapted, "why": car.why} for car in report.cars],
    }
