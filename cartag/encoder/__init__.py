"""Encoders: the two-method seam to everything that embeds photos and texts.

`load` makes an `Encoder` of the files that `cartag.checkpoints.resolve` found; `identity` and `image_spec` are known
before anything heavy is loaded. `FakeEncoder` is shipped for tests, also for yours.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
