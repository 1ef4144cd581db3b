"""The words of an HTML page as a person sees them: without what a browser does not show, parted where it parts them.

Follows the HTML standard's rules for tags that may be left out (13.1.2.4), as far as they decide what is seen.
"""

from __future__ import annotations

import re
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


class _Stripper(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._open: list[tuple[str, bool]] = []
        """The elements around the place at hand, and which of them are not shown."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body" and all(name != "body" for name, _ in self._open):
            self._open.clear()  # whatever of the head nobody closed
        elif tag not in _IN_HEAD and self._innermost() == "head":
            self._open.pop()
        self._end_what_ends_before(tag)
        self._break(tag)
        if tag not in _VOID:
            self._open.append((tag, tag in _UNSEEN or _is_hidden(tag, dict(attrs))))

    def handle_endtag(self, tag: str) -> None:
        names = [name for name, _ in self._open]
        if tag in names:
            del self._open[len(names) - 1 - names[::-1].index(tag) :]
        self._break(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """`<br/>`; XHTML ends any element so."""
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_data(self, data: str) -> None:
        if data.strip() and self._innermost() == "head":
            self._open.pop()
        unseen = [name for name, is_unseen in self._open if is_unseen]
        if not unseen or (unseen == ["head"] and self._innermost() == _READ_IN_HEAD):
            self.parts.append(data)

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """`<![if IE]>` and the like; of those it does not know the standard library says so by an assertion."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.parse_bogus_comment(i)

    def _innermost(self) -> str:
        return self._open[-1][0] if self._open else ""

    def _end_what_ends_before(self, tag: str) -> None:
        for ended, by, between in _ENDED_BY:
            if tag not in by:
                continue
            outermost = None
            for i in range(len(self._open) - 1, -1, -1):
                if self._open[i][0] in between:
                    break
                if self._open[i][0] in ended:
                    outermost = i
            if outermost is not None:
                del self._open[outermost:]

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
