"""Merging: a folder of shards into one index file, and one file into a folder of shards; records stay what they are."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
