"""Reading photos ahead of the model: threads, a bounded window, the gallery's order kept; if wanted, in a cage."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from cartag.errors import PhotoError
from cartag.photos import images
from cartag.photos.cage import Cages, Limits
from cartag.photos.walking import is_raw
from cartag.settings import Settings, usable_cores
from cartag.state import Facts
from cartag.values import ImageSpec, PhotoFile, ReadError

log = logging.getLogger(__name__)

_PHOTOS_A_CORE = 16
_SMALLEST_BATCH, _LARGEST_BATCH, _LARGEST_CUT_FROM = 32, 256, 64
_LOOK_AHEAD_BYTES = 64 * 2**20
_NATIVE_SIDE = 1024


@dataclass(frozen=True, eq=False, slots=True)
class ReadPhoto:
    """A photo that was read: its facts, and its pixels where they are wanted."""

    facts: Facts
    pixels: np.ndarray | None
    """As the reader's ``spec`` asks."""
    glances: tuple[np.ndarray, ...] = ()
    """As its ``glance`` asks, of the same pixels: one, of a panorama several."""


def batch_size(settings: Settings, spec: ImageSpec | None = None) -> int:
    """Photos between two writes to the cache; unless it is set, enough to give every core a pass of its own.

    Of photos that cars are cut from (``spec``), which are some forty times as large, no more than the memory holds.
    """
    if settings.batch_size is not None:
        return settings.batch_size
    most = _LARGEST_CUT_FROM if spec is not None and spec.fit == "whole" else _LARGEST_BATCH
    return min(max(_SMALLEST_BATCH, _PHOTOS_A_CORE * usable_cores()), most)


def window(settings: Settings, spec: ImageSpec) -> int:
    """Photos decoded ahead of the model: unless it is set, as many as fit into 64 MiB, and a batch at least.

    Of photos that cars are cut from a batch may not fit: at least two for every core then, so that none waits. That is
    long enough for decoding to go on while the model loads, and short enough for memory not to grow with the gallery.
    """
    batch = batch_size(settings, spec)
    if settings.look_ahead is not None:
        return batch * settings.look_ahead
    side = _NATIVE_SIDE if spec.fit in ("native", "whole") else 0
    ahead = _LOOK_AHEAD_BYTES // (3 * max(spec.height, side) * max(spec.width, side))
    return max(2 * usable_cores(), ahead) if spec.fit == "whole" else max(batch, ahead)


class Reader:
    """Reads photos in threads (Pillow releases the interpreter lock), a bounded `window` ahead of the consumer.

    When there is no memory for a photo, the window is halved for good and the photo is read once more, alone: with
    large photos it is the decoders at work, not what they have decoded, that fill the memory.

    With ``settings.isolate`` every thread has its decoding done by a worker process of its own.

    Photos whose content hash is in ``embedded`` are not decoded; only their header is read. Iterating gives the photos
    in the order they were given, the unreadable ones with their error. ``glance`` asks for a second picture of each
    (`images.glances`), for a detector. ``gallery`` is their folder, or what gives the bytes of a photo, or raises
    `PhotoError`.
    """

    def __init__(
        self,
        gallery: Path | Callable[[PhotoFile], bytes],
        photos: Sequence[PhotoFile],
        spec: ImageSpec,
        *,
        embedded: Collection[str],
        settings: Settings,
        glance: ImageSpec | None = None,
    ) -> None:
        self._spec, self._glance = spec, glance
        self._embedded = embedded
        self._settings = settings
        self._bytes = self._in_folder(gallery) if isinstance(gallery, Path) else gallery
        limits = Limits(settings.isolate_seconds, settings.isolate_megabytes)
        self._cages = Cages(limits) if settings.isolate else None
        self._waiting = iter(photos)
        self._pool = ThreadPoolExecutor(settings.decode_threads or usable_cores(), "cartag-read")
        self._window: deque[tuple[PhotoFile, Future[ReadPhoto]]] = deque()
        self._ahead = window(settings, spec)
        self._fill()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._cages is not None:
            self._cages.close()  # a decoder that hangs must not hold up the end
        self._pool.shutdown(wait=True)

    def __iter__(self) -> Iterator[ReadPhoto]:
        while self._window:
            photo, future = self._window.popleft()
            try:
                read = future.result()
            except MemoryError:
                read = self._read_alone(photo)
            self._fill()
            yield read

    def _in_folder(self, gallery: Path) -> Callable[[PhotoFile], bytes]:
        return lambda photo: images.read_bytes(gallery / photo.disk_path, self._settings.max_megabytes)

    def _fill(self) -> None:
        while len(self._window) < self._ahead and (photo := next(self._waiting, None)) is not None:
            self._window.append((photo, self._pool.submit(self._read, photo)))

    def _read_alone(self, photo: PhotoFile) -> ReadPhoto:
        """Reads a photo again that there was no memory for, while no other one is being read."""
        self._ahead = max(1, self._ahead // 2)
        log.info("%s: out of memory; going on with %d photos read ahead", photo.path, self._ahead)
        wait([future for _, future in self._window])
        return self._read(photo, is_alone=True)

    def _read(self, photo: PhotoFile, *, is_alone: bool = False) -> ReadPhoto:
        """Reads one photo.

        Raises:
            MemoryError: there was no room for it beside the others.
        """
        identity = Facts(path=photo.path, size=photo.size, mtime_ns=photo.mtime_ns)
        sha256: str | UnsetType = UNSET
        try:
            data = self._bytes(photo)
            sha256 = images.content_hash(data)
            spec = None if sha256 in self._embedded else self._spec
            decode = images.decode if self._cages is None else self._cages.decode
            decoded = decode(data, spec, self._settings.max_pixels, raw=is_raw(photo.disk_path))
        except PhotoError as e:
            if isinstance(e.__cause__, MemoryError) and not is_alone:
                raise e.__cause__ from None
            error = ReadError(reason=e.reason, detail=e.detail)
            return ReadPhoto(replace(identity, sha256=sha256, error=error), None)
        facts = replace(identity, sha256=sha256, width=decoded.width, height=decoded.height)
        if decoded.pixels is None or self._glance is None:
            return ReadPhoto(facts, decoded.pixels)
        try:
            glances = images.glances(decoded.pixels, self._glance)
        except MemoryError:
            if not is_alone:
                raise
            error = ReadError(reason="too-large", detail="looking at it needs more memory than there is")
            return ReadPhoto(replace(identity, sha256=sha256, error=error), None)
        return ReadPhoto(facts, decoded.pixels, glances)
