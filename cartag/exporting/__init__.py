"""Handing tags on: XMP sidecars, tables, exiftool's JSON, a training set's metadata, a gallery page.

A format is a file of its own and a line of `FORMATS`, in `exporting`; `writing` alone writes. Photos are only read.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
