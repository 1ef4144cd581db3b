"""Fails when a page of the built site would ask another server for anything: ``python docs/check_site.py build/site``.

Links that a person follows (``<a href>``) may lead anywhere; whatever the browser loads by itself may not.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_REMOTE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
_IN_STYLE = re.compile(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)
_LOADED = {"src", "srcset", "poster", "data", "action"}
_LINKS_LOADED = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.remote: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        loaded = [value for name, value in values.items() if name in _LOADED]
        if tag == "link" and _LINKS_LOADED & set(values.get("rel", "").lower().split()):
            loaded.append(values.get("href", ""))
        self.remote += [value for value in loaded if _REMOTE.match(value)]
        self.remote += _IN_STYLE.findall(values.get("style", ""))


def remote_assets(site: Path) -> Iterator[str]:
    """Page and address of everything that would be loaded from elsewhere."""
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        text = path.read_text(encoding="utf-8")
        page = _Page()
        if path.suffix == ".html":
            page.feed(text)
        for address in [*page.remote, *(_IN_STYLE.findall(text) if path.suffix == ".css" else [])]:
            yield f"{path.relative_to(site)}: {address}"


if __name__ == "__main__":
    site = Path(sys.argv[1])
    found = list(remote_assets(site))
    print("\n".join(found) or f"{site}/index.html: {len(list(site.rglob('*.html')))} pages, nothing from elsewhere")
    sys.exit(bool(found))
