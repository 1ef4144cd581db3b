"""Checking a gallery: what lies on the disk, read against each other, and what of it can be mended.

A row above the other verbs, for it reads what all of them write. `folder` looks at the state folder, `beside` at what
lies among the photos, `checking` asks all of them in their order and mends.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
