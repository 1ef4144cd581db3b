"""From pixels to vectors: of every car in a photo, or of the photo as a whole; out of the cache where they are there.

Boxes are cached by detector and content, vectors of regions by model, content and box: another catalog scores from the
cache, another detector embeds what it sees otherwise, another model all of it. Boxes that a person drew are embedded
beside those of the detector, and where one box a photo is looked at, one that she deleted is passed over. A photo in
which no car was found, or none for sure, has a vector of its own, all but the same as where photos are looked at as
wholes: they are reduced in two steps then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from cartag import detector as detectors
from cartag.detector import Detector
from cartag.encoder import Encoder
from cartag.photos import cut, shaped, tiles
from cartag.scoring import Chooser, Chosen, Presence, Sight
from cartag.settings import usable_cores
from cartag.state import Facts
from cartag.values import Box, ImageSpec, PhotoRecord

_AT_ONCE = 4096
_CUTS_AT_ONCE = 512


@dataclass(frozen=True, eq=False, slots=True)
class Looked:
    """What was found in a photo, and the vectors that stand for it."""

    boxes: tuple[tuple[Box, float], ...]
    """With how sure the detector is, largest first."""
    vectors: np.ndarray
    """Float32 (n, d): of each box; where there is none, (1, d): of the photo as a whole."""
    drawn: tuple[Box, ...] = ()
    """Boxes that a person drew, where no box of the detector is the very same."""
    drawn_vectors: np.ndarray | None = None
    """Float32 (n, d): of each of these, where there are any."""
    whole: np.ndarray | None = None
    """Float32 (d,): of the photo as a whole, where there are boxes and none is sure enough to be a car by itself."""


@dataclass(frozen=True, eq=False, slots=True)
class Pixels:
    """A photo that was read: the picture that cars are cut from, and the glances of the detector.

    Where photos are looked at as wholes the picture is what the model wants, and there are no glances.
    """

    picture: np.ndarray
    glances: tuple[np.ndarray, ...]


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

    def heed(self, facts: Facts | PhotoRecord, record: PhotoRecord | None) -> None:
        """A whole photo is one whatever its shape, and whatever a person said of boxes in it."""

    def load_ahead(self, pool: ThreadPoolExecutor) -> None:
        """There is no detector to load."""

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
        self,
        sight: Sight,
        spec: ImageSpec,
        store: Cache,
        encoder: Callable[[], Encoder],
        detector: Callable[[], Detector],
        *,
        presence: Presence | None,
        anew: bool,
    ) -> None:
        """With the model's own ``spec`` of its pixels; ``anew``: nothing that is cached is used.

        By ``presence`` photos are asked as wholes too (`scoring.Chooser`).
        """
        self._sight, self._spec, self._store, self._chooser = sight, spec, store, Chooser(sight, presence)
        self._encoder, self._load_detector, self._anew = encoder, detector, anew
        self._pool = ThreadPoolExecutor(usable_cores(), "cartag-cut")
        self._loading: Future[Detector] | None = None

    def close(self) -> None:
        """Ends its threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def heed(self, facts: Facts | PhotoRecord, record: PhotoRecord | None) -> None:
        """Takes note of a photo's shape, and of what a person said of boxes in it, as its ``record`` has that."""
        self._chooser.heed(facts, record)

    def load_ahead(self, pool: ThreadPoolExecutor) -> None:
        """Has the detector loaded in another thread, before it is needed."""
        self._loading = pool.submit(self._load_detector)

    @cached_property
    def _detector(self) -> Detector:
        return self._load_detector() if self._loading is None else self._loading.result()

    def complete(self) -> set[str]:
        """Hashes of the photos of which nothing need be computed."""
        return {h for some in self.cached(self.seen_hashes()) for h in some}

    def cached(self, hashes: Sequence[str]) -> Iterator[dict[str, Looked]]:
        """What the cache knows all of, among photos with these hashes, some thousand a time."""
        for start in range(0, len(hashes), _AT_ONCE):
            some = self._chooser.seen(self._store, hashes[start : start + _AT_ONCE])
            chosen = {h: self._chooser.chosen(h, seen) for h, seen in some.items()}
            vectors = self._store.regions([(h, box) for h, view in chosen.items() for box in view.all])
            wholes = self._store.get([h for h, view in chosen.items() if view.asks_whole])
            yield _complete(chosen, vectors, wholes)

    def seen_hashes(self) -> list[str]:
        """Hashes of all photos that were looked at for cars."""
        keys = [self._sight.identity_for(panorama=panorama) for panorama in (False, True)]
        return sorted({h for key in keys for h in self._store.seen_hashes(key)})

    def look(self, photos: Mapping[str, Pixels]) -> dict[str, Looked]:
        """Finds and embeds the cars of photos, by their hashes, and stores what it finds."""
        chosen = self._boxes(photos)
        keys = [(h, box) for h, view in chosen.items() for box in view.all]
        wholes = [h for h, view in chosen.items() if view.asks_whole]
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

    def _boxes(self, photos: Mapping[str, Pixels]) -> dict[str, Chosen]:
        seen = {} if self._anew else self._chooser.seen(self._store, list(photos))
        if new := [h for h in photos if h not in seen]:
            shapes = [photos[h].picture.shape for h in new]
            found = detectors.boxes_in(
                self._detector, [photos[h].glances for h in new], [tiles(w, h) for h, w, _ in shapes]
            )
            fresh = dict(zip(new, found, strict=True))
            for panorama in (False, True):
                some = {h: boxes for h, boxes in fresh.items() if self._chooser.is_panorama(h) is panorama}
                self._store.put_seen(self._sight.identity_for(panorama=panorama), some)
            seen = seen | fresh
        return {h: self._chooser.chosen(h, seen[h]) for h in photos}

    def _pixels(self, picture: np.ndarray, box: Box | None) -> np.ndarray:
        return shaped(picture, self._spec) if box is None else cut(picture, box, self._spec)


def eyes_of(
    sight: Sight | None,
    spec: ImageSpec,
    cache: Cache,
    encoder: Callable[[], Encoder],
    *,
    device: str,
    runtime: str,
    presence: Presence | None,
    anew: bool,
) -> Eyes | Wholes:
    """What looks at photos, car by car where there is a ``sight``; arguments as of `Eyes`, `detectors.load`."""
    if sight is None:
        return Wholes(cache, encoder)
    return Eyes(
        sight,
        spec,
        cache,
        encoder,
        lambda: detectors.load(sight.files, device=device, runtime=runtime),
        presence=presence,
        anew=anew,
    )


def _complete(
    chosen: Mapping[str, Chosen], vectors: Mapping[tuple[str, Box], np.ndarray], wholes: Mapping[str, np.ndarray]
) -> dict[str, Looked]:
    """The photos of which every vector is there."""
    looked: dict[str, Looked] = {}
    for h, view in chosen.items():
        if any((h, box) not in vectors for box in view.all) or (view.asks_whole and h not in wholes):
            continue
        rows = np.stack([vectors[h, box] for box, _ in view.boxes]) if view.boxes else wholes[h][None]
        drawn = np.stack([vectors[h, box] for box in view.drawn]) if view.drawn else None
        looked[h] = Looked(view.boxes, rows, view.drawn, drawn, wholes[h] if view.boxes and view.asks_whole else None)
    return looked
