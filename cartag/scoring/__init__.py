"""From vectors to verdicts: cosines, calibrated probabilities, and the rule that makes a car a tag."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
