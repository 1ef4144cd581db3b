"""An article's file as plain text: what kind of file it is, and in which encoding; markup is left out."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from cartag.catalogs.article import archive
from cartag.catalogs.article.archive import ArchiveError, Page
from cartag.catalogs.article.markup import plain
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
_MARKUP = re.compile(
    r"<!doctype\s+html|<(?:html|head|body|article|div|p|br|ul|ol|table|h[1-6]|span|a|title|meta)[\s/>]"
    r"|</[a-z][a-z0-9-]*\s*>",
    re.IGNORECASE,
)
_HTML_NAMES = frozenset({".html", ".htm", ".xhtml", ".xht"})
_TEXT_OF_IT = "save it as plain text or as HTML"
_OTHER_KINDS = (
    (b"%PDF-", "a PDF", "copy its words into a text file (pdftotext does)"),
    (b"PK\x03\x04", "a packed document (DOCX, ODT, EPUB, Pages) or a ZIP", _TEXT_OF_IT),
    (b"\xd0\xcf\x11\xe0", "a document of an old Office (DOC)", _TEXT_OF_IT),
    (b"{\\rtf", "a document in RTF", _TEXT_OF_IT),
    (b"\x1f\x8b", "compressed (gzip)", "unpack it with gunzip"),
    (b"BZh", "compressed (bzip2)", "unpack it with bunzip2"),
    (b"\xfd7zXZ\0", "compressed (xz)", "unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd)", "unpack it with unzstd"),
    (b"\xff\xd8\xff", "a picture (JPEG)", "give the text that it shows"),
    (b"\x89PNG", "a picture (PNG)", "give the text that it shows"),
)


def read_article(file: Path) -> str:
    """The text of an article: plain text, HTML, or a web archive of a page (`.mhtml`, `.webarchive`) or a mail.

    Raises:
        ArticleError: the file cannot be read, is of another kind, or its bytes are no text in the encoding it names
            (UTF-8 if none).
    """
    try:
        data = file.read_bytes()
    except (OSError, ValueError) as e:
        raise ArticleError(f"{file}: cannot be read ({getattr(e, 'strerror', None) or e})") from e
    for beginning, kind, remedy in _OTHER_KINDS:
        if data.startswith(beginning):
            raise ArticleError(f"{file}: is {kind}, no text; {remedy}")
    try:
        if archive.is_message(data):
            return _together(archive.of_message(data), file)
        if archive.is_webarchive(data):
            return _together(archive.of_webarchive(data), file)
    except ArchiveError as e:
        raise ArticleError(f"{file}: is {e}; save the page as HTML, or its words as plain text") from e
    text = _decoded(data, file)
    is_html = file.suffix.lower() in _HTML_NAMES or _MARKUP.search(text)
    return plain(text) if is_html else text


def _together(pages: list[Page], file: Path) -> str:
    texts = [(_decoded(page.data, file, page.charset), page.is_html) for page in pages]
    return "\n\n".join(plain(text) if is_html else text for text, is_html in texts)


def _decoded(data: bytes, file: Path, charset: str = "") -> str:
    encoding, named_by = _encoding(data, charset)
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


def _encoding(data: bytes, charset: str) -> tuple[str, str]:
    """The encoding and who says so; ``charset`` is what an archive says of a page in it."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return ("utf-8-sig" if encoding == "utf-8" else encoding), "its byte order mark"
    if charset:
        return _as_browsers_read(charset), "its header"
    if wide := _wide(data):
        return wide, "every other byte of it is zero"
    for pattern, who in ((_META, "its meta tag"), (_XML, "its XML declaration")):
        named = pattern.search(data[:_HEAD])
        if named:
            name = named[1].decode("ascii", "replace")
            # What says so in ASCII is not UTF-16.
            return "utf-8" if name.lower().startswith(("utf-16", "utf-32")) else _as_browsers_read(name), who
    return "utf-8", "the default"


def _as_browsers_read(name: str) -> str:
    """Latin-1 is Windows-1252 to them, and the old Chinese and Japanese sets are their supersets (WHATWG Encoding)."""
    same = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "iso8859-1": "cp1252"}
    try:
        return same.get(codecs.lookup(name).name, name)
    except (LookupError, ValueError):
        return name


def _wide(data: bytes) -> str:
    """UTF-16 without a mark: of a text that is mostly Latin, nearly half of the bytes are zero."""
    some = data[:_HEAD]
    odd, even, half = some[1::2].count(0), some[::2].count(0), len(some) // 2
    if max(odd, even) <= half // 2 or min(odd, even) > half // 8:
        return ""
    return "utf-16-le" if odd > even else "utf-16-be"
