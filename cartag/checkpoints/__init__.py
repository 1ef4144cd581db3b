"""What a model's files are, where they come from, whether they may be loaded, and what they run on.

`resolve` and `resolve_detector` find the files of a model or a detector by its name without loading anything heavy,
`vet` refuses a checkpoint that would have something read, fetched or run from elsewhere. Encoders and detectors share
the rest: devices and passes over many photos, folded batch norms, and their processor's config.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
