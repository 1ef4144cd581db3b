"""Models: the two-method seam to everything that embeds photos and texts, and how a name becomes an encoder.

`resolve` finds a model's files without loading anything heavy; `load` makes an `Encoder` of them. The transformers
encoder (`cartag.encoder.dual`) is the only importer of torch; `FakeEncoder` is shipped for tests, also for yours.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
