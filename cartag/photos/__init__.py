"""From a folder to pixels: the walk, a photo's bytes, the pixels in them, and the threads that read ahead of a model.

A photo that cannot be read is a value with a reason, never the end of a run. Pillow and rawpy are imported here alone.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
