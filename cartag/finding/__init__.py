"""Finding photos in an index: by car (`finding`, from the index alone), by free text or an example (`likeness`)."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
