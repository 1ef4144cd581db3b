"""What lies on the disk beside a gallery, and who may write it.

The index, the journal of a run, cached embeddings, locks. Everything is replaced atomically and durably by
`replace_file`.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
