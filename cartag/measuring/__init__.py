"""How right it is: hand labels, what they say of each photo, every figure of it, and the report as a page."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
