"""Tagging on more than one machine: the steps of `cartag.tagging`, placed by Ray; an extra, `cartag[ray]`.

`running` is the way from top to bottom: listing, what is left to do, the workers, the shards. Ray places the work and
knows nothing of what is done; that is what lies in the index's folder.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
