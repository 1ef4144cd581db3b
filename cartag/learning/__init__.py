"""From hand labels to a better next run: calibration, thresholds and a few-shot adapter, fitted and kept."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
