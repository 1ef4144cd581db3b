"""An article's file as plain text: its encoding found out, the markup of HTML left out."""

from __future__ import annotations

import codecs
import re
from html.parser import HTMLParser
from pathlib import Path

from cartag.errors import ArticleError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_META = re.compile(rb"<meta[^>]*?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_XML = re.compile(rb"^\s*<\?xml[^>]*?encoding\s*=\s*[\"']([\w.:-]+)", re.IGNORECASE)
_HEAD = 4096  # where HTML wants its charset to stand (it says 1024; pages are less tidy)
_MARKUP = re.compile(r"<!doctype\s+html|<(?:html|head|body|article|div|p|br|ul|ol|table|h[1-6]|span|a)[\s/>]", re.I)

_SILENT = frozenset({"script", "style", "noscript", "template", "svg", "head"})
_WITHIN_HEAD = frozenset({"title"})  # the one part of the head that somebody reads
_INLINE = frozenset(
    {"a", "abbr", "b", "bdi", "cite", "code", "em", "font", "i", "img", "ins", "mark", "q", "s", "small", "span"}
    | {"strong", "sub", "sup", "time", "u", "var", "wbr"}
)
_CELLS = frozenset({"td", "th"})


def read(file: Path) -> str:
    """The text of an article, plain or HTML.

    Raises:
        ArticleError: the file cannot be read, or its bytes are no text in the encoding it names (UTF-8 if none).
    """
    try:
        data = file.read_bytes()
    except OSError as e:
        raise ArticleError(f"{file}: cannot be read ({e.strerror})") from e
    text = _decoded(data, file)
    return plain(text) if _MARKUP.search(text) else text


def plain(html: str) -> str:
    """The words of an HTML page: scripts and styles left out, entities decoded, a blank line between blocks."""
    stripper = _Stripper()
    stripper.feed(html)
    stripper.close()
    return "".join(stripper.parts)


def _decoded(data: bytes, file: Path) -> str:
    encoding, named_by = _encoding(data)
    try:
        return data.decode(encoding)
    except LookupError as e:
        raise ArticleError(
            f"{file}: {named_by} names the encoding {encoding!r}, which nobody knows; save it as UTF-8"
        ) from e
    except UnicodeDecodeError as e:
        raise ArticleError(f"{file}: byte {e.start} is no {encoding} text ({named_by}); save it as UTF-8") from e
    except (UnicodeError, ValueError) as e:  # codecs of other kinds: "idna", "punycode"
        raise ArticleError(f"{file}: not readable as {encoding} ({named_by}); save it as UTF-8") from e


def _encoding(data: bytes) -> tuple[str, str]:
    """The encoding and who says so."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return ("utf-8-sig" if encoding == "utf-8" else encoding), "its byte order mark"
    for pattern, who in ((_META, "its meta tag"), (_XML, "its XML declaration")):
        named = pattern.search(data[:_HEAD])
        if named:
            name = named[1].decode("ascii", "replace")
            # What says so in ASCII is not UTF-16, and browsers read Latin-1 as Windows-1252.
            same = {"utf-16": "utf-8", "iso-8859-1": "cp1252", "latin-1": "cp1252", "latin1": "cp1252"}
            return same.get(name.lower(), name), who
    return "utf-8", "the default"


class _Stripper(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "body":
            self._silent.clear()  # a head that nobody closed
        if tag in _SILENT or (tag in _WITHIN_HEAD and self._silent == ["head"]):
            self._silent.append(tag)
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._silent:
            del self._silent[self._silent.index(tag) :]
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._silent or self._silent[-1] in _WITHIN_HEAD:
            self.parts.append(data)

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """`<![if IE]>` and the like; of those it does not know the standard library says so by an assertion."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.parse_bogus_comment(i)

    def _break(self, tag: str) -> None:
        if tag in _CELLS:
            self.parts.append("\t")
        elif tag == "br":
            self.parts.append("\n")
        elif tag not in _INLINE:
            self.parts.append("\n\n")
