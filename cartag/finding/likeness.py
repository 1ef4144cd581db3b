"""Ranking photos by likeness to words or to an example, from the embeddings that `tag` left in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from sqlite3 import Error

import numpy as np
from msgspec import UNSET

from cartag import checkpoints, encoder as encoders
from cartag.catalogs import query_texts
from cartag.encoder import Encoder
from cartag.errors import IndexFileError, PhotoError, UsageError
from cartag.finding.hits import Hit
from cartag.photos import content_hash, decode, is_raw, read_bytes
from cartag.progress import Progress
from cartag.settings import Settings
from cartag.state import Index, Place, Store


class Similar:
    """Ranking by cosine similarity, from the embeddings that `tag` left in the cache."""

    def __init__(self, index: Index, place: Place, settings: Settings, progress: Progress) -> None:
        self._index = index
        self._place = place
        self._settings = settings
        # The index's own model, whatever the settings say: only its embeddings are comparable.
        self._files = checkpoints.resolve_auto(index.header.model, progress)
        self._identity = encoders.identity(self._files, dtype=settings.dtype, fit=settings.fit)

    def rank(self, hits: Sequence[Hit], text: str | None, like: Path | str | None) -> list[Hit]:
        """The same hits with their similarity as score; photos without an embedding (errors) are left out.

        Raises:
            IndexFileError: the cache holds no embeddings for this index.
            UsageError: the photo ``like`` cannot be read.
        """
        hashes = {hit.path: self._index.photos[hit.path].sha256 for hit in hits}
        try:
            embeddings = Store.read_photos(
                self._place.state, self._identity, sorted({h for h in hashes.values() if h is not UNSET})
            )
        except Error:
            embeddings = {}
        if hits and not embeddings:
            raise IndexFileError(
                f"{self._place.state}: holds no embeddings of these photos; 'cartag tag --retag' computes them again"
            )
        query = self._embed_text(text) if text is not None else self._embed_photo(Path(like or ""), embeddings)
        return [
            Hit(hit.path, hit.file, round(float(embeddings[h] @ query), 4), hit.cars)
            for hit in hits
            if (h := hashes[hit.path]) is not UNSET and h in embeddings
        ]

    def _embed_text(self, text: str) -> np.ndarray:
        mean = self._load().embed_texts(query_texts(text)).mean(axis=0)
        unit: np.ndarray = mean / (mean @ mean) ** 0.5
        return unit

    def _embed_photo(self, photo: Path, embeddings: dict[str, np.ndarray]) -> np.ndarray:
        try:
            data = read_bytes(photo)
            known = embeddings.get(content_hash(data))
            if known is not None:
                return known
            spec = encoders.image_spec(self._files, fit=self._settings.fit)
            pixels = decode(data, spec, self._settings.max_pixels, raw=is_raw(str(photo))).pixels
        except PhotoError as e:
            raise UsageError(f"--like {photo}: cannot be read ({e.reason}: {e.detail}); name another photo") from e
        assert pixels is not None  # a spec was given
        embedding: np.ndarray = self._load().embed_images([pixels])[0]
        return embedding

    def _load(self) -> Encoder:
        s = self._settings
        return encoders.load(self._files, device=s.device, dtype=s.dtype, fit=s.fit)
