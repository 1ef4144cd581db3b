"""The web pages: their HTML, style and scripts, and what makes one file of them that loads nothing from elsewhere.

`base.css` and `grid.js` are of every page with a grid of photos: `gallery.html` (an export, one file) and `review.html`
(served, with files of its own). Scripts are plain ones, without modules: a page must also run from a disk.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
