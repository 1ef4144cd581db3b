"""Reviewing tags: a page on this machine to confirm and correct them, photo by photo or many at once.

`session` decides and writes, `pictures` decodes, `app` speaks HTTP, `reviewing` serves and ends it.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
