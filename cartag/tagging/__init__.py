"""Tagging a gallery: what a run is decided by, what is left to do, the work, the records, the index.

`tagging` is the way from top to bottom; the other modules are its steps.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
