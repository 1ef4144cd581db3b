"""The words of an HTML page as a person sees them: without what a browser does not show, parted where it parts them.

Follows the HTML standard's rules for tags that may be left out (13.1.2.4), as far as they decide what is seen.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection
from html.parser import HTMLParser

_VOID = frozenset(
    {"area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img", "input", "keygen", "link"}
    | {"meta", "param", "source", "track", "wbr"}
)
_UNSEEN = frozenset(
    {"script", "style", "noscript", "template", "svg", "head", "iframe", "noembed", "noframes", "object", "audio"}
    | {"video", "canvas", "datalist", "rp"}
)
_IN_HEAD = frozenset(
    {"base", "basefont", "bgsound", "link", "meta", "title", "noscript", "noframes", "style", "script", "template"}
    | {"head", "html"}
)
"""All other tags, and text, end a head that nobody closed."""
_READ_IN_HEAD = "title"
_BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "dir", "div"}
    | {"dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head"}
    | {"header", "hgroup", "hr", "html", "legend", "li", "listing", "main", "menu", "nav", "ol", "optgroup", "option"}
    | {"p", "plaintext", "pre", "search", "section", "summary", "table", "tbody", "tfoot", "thead", "title", "tr"}
    | {"ul", "xmp"}
)
"""All other elements are inline, as CSS has it, unknown ones too."""
_CELLS = frozenset({"td", "th"})
_APART = frozenset(
    {"img", "input", "button", "select", "textarea", "sub", "sup", "rt", "iframe", "object", "video", "audio", "canvas"}
)
"""Stand within a line, and part what is on both sides: "458<sup>1</sup>" is no 4581."""
_ENDS_P = _BLOCKS - {"body", "head", "html", "title", "caption", "tbody", "thead", "tfoot", "tr", "option", "optgroup"}
_ROWS, _GROUPS = frozenset({"tr"}) | _CELLS, frozenset({"tbody", "thead", "tfoot", "tr", "caption"}) | _CELLS
_ENDED_BY: tuple[tuple[frozenset[str], frozenset[str], frozenset[str]], ...] = (
    (frozenset({"li"}), frozenset({"li"}), frozenset({"ul", "ol", "menu"})),
    (frozenset({"dt", "dd"}), frozenset({"dt", "dd"}), frozenset({"dl"})),
    (frozenset({"option"}), frozenset({"option", "optgroup"}), frozenset({"select", "datalist"})),
    (_CELLS, _CELLS, frozenset({"table", "tr"})),
    (_ROWS, frozenset({"tr"}), frozenset({"table"})),
    (_GROUPS, frozenset({"tbody", "thead", "tfoot"}), frozenset({"table"})),
    (frozenset({"p"}), _ENDS_P, frozenset({"button", "object", "table", "td", "th", "caption", "template"})),
    (frozenset({"svg"}), _ENDS_P, frozenset()),
)
"""Elements that end where one of others begins, unless one of a third kind lies between."""
_HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)\b", re.IGNORECASE)


def plain(html: str) -> str:
    """The words of an HTML page: what nobody sees left out, entities decoded, a blank line between blocks."""
    stripper = _Stripper()
    stripper.feed(html)
    stripper.close()
    return "".join(stripper.parts)


class _OpenElements:
    """The elements around a place, outermost first, found by name: pages exist that leave thousands open."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._places: dict[str, list[int]] = {}
        self._unseen: list[int] = []

    @property
    def innermost(self) -> str:
        return self._names[-1] if self._names else ""

    @property
    def unseen(self) -> list[str]:
        """Names of those that are not shown; two are as good as all."""
        return [self._names[place] for place in self._unseen[:2]]

    def add(self, name: str, *, is_unseen: bool) -> None:
        self._places.setdefault(name, []).append(len(self._names))
        if is_unseen:
            self._unseen.append(len(self._names))
        self._names.append(name)

    def cut(self, place: int) -> None:
        """Ends the element of a place and all within."""
        for name in self._names[place:]:
            self._places[name].pop()
        del self._names[place:]
        while self._unseen and self._unseen[-1] >= len(self._names):
            self._unseen.pop()

    def last(self, name: str) -> int:
        """The place of the innermost of a name; -1: there is none."""
        places = self._places.get(name)
        return places[-1] if places else -1

    def first_after(self, place: int, names: Collection[str]) -> int | None:
        """The place of the outermost element of one of these names within another one's."""
        found = [
            places[at]
            for name in names
            if (places := self._places.get(name, [])) and (at := bisect_right(places, place)) < len(places)
        ]
        return min(found, default=None)


class _Stripper(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._open = _OpenElements()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body" and self._open.last(tag) < 0:
            self._open.cut(0)  # whatever of the head nobody closed
        elif tag not in _IN_HEAD and self._open.innermost == "head":
            self._open.cut(-1)
        self._end_what_ends_before(tag)
        self._break(tag)
        if tag not in _VOID:
            self._open.add(tag, is_unseen=tag in _UNSEEN or _is_hidden(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        place = self._open.last(tag)
        if place >= 0:
            self._open.cut(place)
        self._break(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """`<br/>`; XHTML ends any element so."""
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_data(self, data: str) -> None:
        if data.strip() and self._open.innermost == "head":
            self._open.cut(-1)
        unseen = self._open.unseen
        if not unseen or (unseen == ["head"] and self._open.innermost == _READ_IN_HEAD):
            self.parts.append(data)

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """`<![if IE]>` and the like; of those it does not know the standard library says so by an assertion."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.parse_bogus_comment(i)

    def _end_what_ends_before(self, tag: str) -> None:
        for ended, by, between in _ENDED_BY:
            if tag in by:
                outermost = self._open.first_after(max(map(self._open.last, between), default=-1), ended)
                if outermost is not None:
                    self._open.cut(outermost)

    def _break(self, tag: str) -> None:
        if tag in _CELLS:
            self.parts.append("\t")
        elif tag == "br":
            self.parts.append("\n")
        elif tag in _BLOCKS:
            self.parts.append("\n\n")
        elif tag in _APART:
            self.parts.append(" ")


def _is_hidden(tag: str, attributes: dict[str, str | None]) -> bool:
    """By its attributes, not by style sheets and scripts. A whole page that is hidden is shown by a script."""
    if tag in ("html", "body"):
        return False
    if tag == "dialog" and "open" not in attributes:
        return True
    is_hidden = "hidden" in attributes and (attributes["hidden"] or "").lower() != "until-found"
    return is_hidden or _HIDDEN.search(attributes.get("style") or "") is not None
