"""Detectors: where the cars stand in a photo.

`load` makes a `Detector` of the files that `cartag.checkpoints.resolve_detector` found; `identity` and `image_spec` are
known before anything heavy is loaded. `FakeDetector` is shipped for tests, also for yours.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
