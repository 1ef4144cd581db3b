"""From pixels to vectors: of every car in a photo, or of the photo as a whole; out of the cache where they are there.

Boxes are cached by detector and content, vectors of regions by model, content and box: another catalog scores from the
cache, another detector embeds what it sees otherwise, another model all of it. A photo in which no car was found has a
vector of its own, all but the same as where photos are looked at as wholes: they are reduced in two steps then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from cartag import detector as detectors
from cartag.detector import Detector
from cartag.encoder import Encoder
from cartag.photos import cut, shaped
from cartag.scoring import Sight
from cartag.settings import usable_cores
from cartag.values import Box, ImageSpec

_AT_ONCE = 4096
_CUTS_AT_ONCE = 512


@dataclass(frozen=True, eq=False, slots=True)
class Looked:
    """What was found in a photo, and the vectors that stand for it."""

    boxes: tuple[tuple[Box, float], ...]
    """With how sure the detector is, largest first."""
    vectors: np.ndarray
    """Float32 (n, d): of each box; where there is none, (1, d): of the photo as a whole."""


@dataclass(frozen=True, eq=False, slots=True)
class Pixels:
    """A photo that was read: the picture that cars are cut from, and the glance of the detector.

    Where photos are looked at as wholes the picture is what the model wants, and there is no glance.
    """

    picture: np.ndarray
    glance: np.ndarray | None


class Cache(Protocol):
    """Where boxes and vectors are kept: `cartag.state.Store`, or something that forgets."""

    def hashes(self) -> set[str]: ...

    def get(self, hashes: Sequence[str]) -> dict[str, np.ndarray]: ...

    def sound(self, hashes: Sequence[str], at_once: int) -> Iterator[tuple[list[str], np.ndarray]]: ...

    def put(self, embeddings: Mapping[str, np.ndarray]) -> None: ...

    def regions(self, keys: Sequence[tuple[str, Box]]) -> dict[tuple[str, Box], np.ndarray]: ...

    def put_regions(self, embeddings: Mapping[tuple[str, Box], np.ndarray]) -> None: ...

    def seen(self, detector: str, hashes: Sequence[str]) -> dict[str, np.ndarray]: ...

    def seen_hashes(self, detector: str) -> list[str]: ...

    def put_seen(self, detector: str, boxes: Mapping[str, np.ndarray]) -> None: ...


class Forgetful:
    """A cache of nothing: for photos of which each is looked at once, on a machine that keeps nothing of them."""

    def hashes(self) -> set[str]:
        return set()

    def get(self, hashes: Sequence[str]) -> dict[str, np.ndarray]:
        return {}

    def sound(self, hashes: Sequence[str], at_once: int) -> Iterator[tuple[list[str], np.ndarray]]:
        return iter(())

    def put(self, embeddings: Mapping[str, np.ndarray]) -> None: ...

    def regions(self, keys: Sequence[tuple[str, Box]]) -> dict[tuple[str, Box], np.ndarray]:
        return {}

    def put_regions(self, embeddings: Mapping[tuple[str, Box], np.ndarray]) -> None: ...

    def seen(self, detector: str, hashes: Sequence[str]) -> dict[str, np.ndarray]:
        return {}

    def seen_hashes(self, detector: str) -> list[str]:
        return []

    def put_seen(self, detector: str, boxes: Mapping[str, np.ndarray]) -> None: ...


class Wholes:
    """Looks at photos as wholes: one vector each, and no boxes."""

    def __init__(self, store: Cache, encoder: Callable[[], Encoder]) -> None:
        self._store, self._encoder = store, encoder

    def close(self) -> None:
        """Has nothing to end."""

    def complete(self) -> set[str]:
        """Hashes of the photos of which nothing need be computed."""
        return self._store.hashes()

    def cached(self, hashes: Sequence[str]) -> Iterator[dict[str, Looked]]:
        """What the cache knows, among photos with these hashes, some thousand a time."""
        for some, embeddings in self._store.sound(hashes, _AT_ONCE):
            yield {h: Looked((), vector[None]) for h, vector in zip(some, embeddings, strict=True)}

    def look(self, photos: Mapping[str, Pixels]) -> dict[str, Looked]:
        """Embeds photos, by their hashes, and stores their vectors."""
        pixels = [photo.picture for photo in photos.values()]
        vectors = dict(zip(photos, self._encoder().embed_images(pixels), strict=True))
        self._store.put(vectors)
        return {h: Looked((), vector[None]) for h, vector in vectors.items()}


class Eyes:
    """Looks at photos for cars. The detector is loaded only when something must be looked at."""

    def __init__(
        self, sight: Sight, spec: ImageSpec, store: Cache, encoder: Callable[[], Encoder], *, device: str, anew: bool
    ) -> None:
        """With the model's own ``spec`` of its pixels; ``anew``: nothing that is cached is used."""
        self._sight, self._spec, self._store = sight, spec, store
        self._encoder, self._device, self._anew = encoder, device, anew
        self._pool = ThreadPoolExecutor(usable_cores(), "cartag-cut")

    def close(self) -> None:
        """Ends its threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    @cached_property
    def _detector(self) -> Detector:
        return detectors.load(self._sight.files, device=self._device)

    def complete(self) -> set[str]:
        """Hashes of the photos of which nothing need be computed."""
        return {h for some in self.cached(self._store.seen_hashes(self._sight.identity)) for h in some}

    def cached(self, hashes: Sequence[str]) -> Iterator[dict[str, Looked]]:
        """What the cache knows all of, among photos with these hashes, some thousand a time."""
        for start in range(0, len(hashes), _AT_ONCE):
            yield self._known(hashes[start : start + _AT_ONCE])

    def _known(self, hashes: Sequence[str]) -> dict[str, Looked]:
        chosen = {h: self._sight.chosen(s) for h, s in self._store.seen(self._sight.identity, hashes).items()}
        vectors = self._store.regions(_keys(chosen))
        wholes = self._store.get([h for h, boxes in chosen.items() if not boxes])
        return _complete(chosen, vectors, wholes)

    def look(self, photos: Mapping[str, Pixels]) -> dict[str, Looked]:
        """Finds and embeds the cars of photos, by their hashes, and stores what it finds."""
        chosen = self._boxes(photos)
        keys = _keys(chosen)
        wholes = [h for h, boxes in chosen.items() if not boxes]
        known = {} if self._anew else self._store.regions(keys)
        known_wholes = {} if self._anew else self._store.get(wholes)
        new: list[tuple[str, Box | None]] = [key for key in keys if key not in known]
        new += [(h, None) for h in wholes if h not in known_wholes]
        for start in range(0, len(new), _CUTS_AT_ONCE):
            some = new[start : start + _CUTS_AT_ONCE]
            pixels = list(self._pool.map(lambda what: self._pixels(photos[what[0]].picture, what[1]), some))
            vectors = dict(zip(some, self._encoder().embed_images(pixels), strict=True))
            fresh = {(h, box): vector for (h, box), vector in vectors.items() if box is not None}
            fresh_wholes = {h: vector for (h, box), vector in vectors.items() if box is None}
            self._store.put_regions(fresh)
            self._store.put(fresh_wholes)
            known, known_wholes = known | fresh, known_wholes | fresh_wholes
        return _complete(chosen, known, known_wholes)

    def _boxes(self, photos: Mapping[str, Pixels]) -> dict[str, list[tuple[Box, float]]]:
        seen = {} if self._anew else self._store.seen(self._sight.identity, list(photos))
        if new := [h for h in photos if h not in seen]:
            glances = [glance for h in new if (glance := photos[h].glance) is not None]
            found = self._detector.boxes(glances)
            fresh = dict(zip(new, found, strict=True))
            self._store.put_seen(self._sight.identity, fresh)
            seen = seen | fresh
        return {h: self._sight.chosen(seen[h]) for h in photos}

    def _pixels(self, picture: np.ndarray, box: Box | None) -> np.ndarray:
        return shaped(picture, self._spec) if box is None else cut(picture, box, self._spec)


def eyes_of(
    sight: Sight | None, spec: ImageSpec, cache: Cache, encoder: Callable[[], Encoder], *, device: str, anew: bool
) -> Eyes | Wholes:
    """What looks at photos, car by car where there is a ``sight``; arguments as of `Eyes`."""
    if sight is None:
        return Wholes(cache, encoder)
    return Eyes(sight, spec, cache, encoder, device=device, anew=anew)


def _keys(chosen: Mapping[str, Sequence[tuple[Box, float]]]) -> list[tuple[str, Box]]:
    return [(h, box) for h, boxes in chosen.items() for box, _ in boxes]


def _complete(
    chosen: Mapping[str, Sequence[tuple[Box, float]]],
    vectors: Mapping[tuple[str, Box], np.ndarray],
    wholes: Mapping[str, np.ndarray],
) -> dict[str, Looked]:
    """The photos of which every vector is there."""
    looked: dict[str, Looked] = {}
    for h, boxes in chosen.items():
        if boxes:
            rows = [vectors[h, box] for box, _ in boxes if (h, box) in vectors]
            if len(rows) == len(boxes):
                looked[h] = Looked(tuple(boxes), np.stack(rows))
        elif h in wholes:
            looked[h] = Looked((), wholes[h][None])
    return looked
