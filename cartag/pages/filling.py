"""Pages out of their parts: templates with slots, and a policy that lets no name become code."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

_FOLDER = Path(__file__).parent
_SLOT = re.compile(r"\{\{([\w.]+)\}\}")


def text(name: str) -> str:
    """A file of this folder."""
    return (_FOLDER / name).read_text(encoding="utf-8")


def one_page(name: str, values: Mapping[str, str]) -> str:
    """A template with its ``{{slots}}`` filled: by the files they name (``{{base.css}}``), then by ``values``.

    ``{{policy}}`` becomes a Content-Security-Policy that lets the page run its own style and script, by their hashes,
    and show its own pictures: no name that a photo or a car may have can become code.
    """
    whole = _SLOT.sub(lambda slot: text(slot[1]) if "." in slot[1] else slot[0], text(name))
    style, script = (_digest(whole, kind) for kind in ("style", "script"))
    policy = f"default-src 'none'; img-src 'self' file:; style-src {style}; script-src {script}; base-uri 'none'"
    return _SLOT.sub(lambda slot: {**values, "policy": policy}[slot[1]], whole)


def _digest(page: str, kind: str) -> str:
    found = re.search(f"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
    assert found is not None  # the template is ours
    return f"'sha256-{base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()}'"
