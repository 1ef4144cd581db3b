"""Trying a model out: does what was loaded see and read as its authors meant it to, on pictures of known cars."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
