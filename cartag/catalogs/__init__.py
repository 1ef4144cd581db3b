"""What is looked for: the cars of a catalog, with what people call them, and the texts that a model reads of them.

Also the cars that exist (the gazetteer), and those that an article names. Names are folded and matched here alone.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
