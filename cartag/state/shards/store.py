"""The embeddings of a folder index as those of a cache: what asks a store for them need not know where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cartag.state.shards.columns import Looks
from cartag.state.shards.sharded import ShardedIndex
from cartag.state.store import Store
from cartag.values import Box


class ShardStore(Store):
    """A cache of texts and facts in the state folder, and the embeddings of photos out of the shards (as float16).

    Embeddings of another model than the shards hold are not there.
    """

    def __init__(self, folder: Path, identity: str, index: ShardedIndex) -> None:
        """Opens the cache, as `Store` does."""
        super().__init__(folder, identity)
        self._index = index if index.embeddings == identity else None
        self._found: dict[str, Looks] = {}

    def get(self, hashes: Sequence[str]) -> dict[str, np.ndarray]:
        """The embeddings of photos as a whole among ``hashes``, each of shape (d,)."""
        looks = self._looks(hashes)
        return {h: vector for h in hashes for box, vector in looks.get(h, ()) if box is None}

    def regions_of(self, hashes: Sequence[str]) -> dict[str, list[tuple[Box, np.ndarray]]]:
        """The regions of the photos among ``hashes`` that have any: boxes, largest first, and embeddings (d,)."""
        looks = self._looks(hashes)
        found = {h: [(box, vector) for box, vector in looks.get(h, ()) if box is not None] for h in hashes}
        return {h: sorted(some, key=lambda one: -one[0][2] * one[0][3]) for h, some in found.items() if some}

    def _looks(self, hashes: Sequence[str]) -> dict[str, Looks]:
        """What is asked for twice in a row, wholes and then regions, is read once."""
        if self._index is not None and not self._found.keys() >= set(hashes):
            found = self._index.of_content(hashes)[1]
            self._found = {h: found.get(h, ()) for h in hashes}
        return self._found
