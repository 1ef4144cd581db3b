"""Web archives: the page inside a message (`.mhtml`, `.eml`) or inside Safari's `.webarchive`."""

from __future__ import annotations

import base64
import plistlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.errors import InvalidBase64LengthDefect
from email.message import Message

# Lines of a header up to the one that every message of several parts, or of an encoding, has (RFC 2045).
_MESSAGE = re.compile(
    rb"\A\s*(?:From [^\n]*\n)?(?:[!-9;-~]+:[^\n]*\n(?:[ \t][^\n]*\n)*)*?mime-version[ \t]*:", re.IGNORECASE
)
_PLIST = b"bplist00"
_HEADER = 65536
_READABLE = ("text/html", "application/xhtml+xml", "text/plain")


class ArchiveError(Exception):
    """An archive in which no page is found; the message says why."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it lies in an archive."""

    data: bytes
    charset: str
    """What the archive says of its encoding; empty: nothing."""
    is_html: bool


def is_message(data: bytes) -> bool:
    """Whether a file is a message as browsers save pages (`.mhtml`), or as mail programs save mails."""
    return _MESSAGE.match(data[:_HEADER]) is not None


def is_webarchive(data: bytes) -> bool:
    """Whether a file is what Safari saves."""
    return data.startswith(_PLIST)


def of_message(data: bytes) -> list[Page]:
    """The pages that a person reads when she opens the message; of a saved page the one that holds all others.

    Raises:
        ArchiveError: there is none.
    """
    try:
        message = message_from_bytes(data.lstrip())
        found = [_page(part) for part in _read(message)]
        found = found or [_page(part) for part in message.walk() if part.get_content_type() == _READABLE[0]][:1]
    except Exception as e:  # the standard library raises many things on what is no message
        raise ArchiveError(f"a message that cannot be read ({' '.join(str(e).split()) or type(e).__name__})") from e
    if not found:
        raise ArchiveError("a message without a text or a page in it")
    return found


def _read(part: Message) -> Iterator[Message]:
    """The parts that are shown: of one page its root, of alternatives the best, of an enumeration all."""
    if not part.is_multipart():
        if part.get_content_type() in _READABLE and part.get_content_disposition() != "attachment":
            yield part
        return
    parts = [inner for inner in part.get_payload() if isinstance(inner, Message)]
    kind = part.get_content_subtype()
    if kind == "related":
        start = part.get_param("start")
        root = [inner for inner in parts if start and str(inner.get("Content-ID", "")).strip() == str(start).strip()]
        parts = (root or parts)[:1]
    elif kind == "alternative":
        ranked = {inner.get_content_type(): inner for inner in parts}
        html = [ranked[name] for name in ranked if name in _READABLE[:2] or name.startswith("multipart/")]
        parts = (html or parts)[-1:]
    for inner in parts:
        yield from _read(inner)


def _page(part: Message) -> Page:
    return Page(_decoded(part), part.get_content_charset() or "", part.get_content_type() != "text/plain")


def _decoded(part: Message) -> bytes:
    """The bytes of a part. Of base64 that ends too early the standard library gives none; here what there is of it."""
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)  # it is no multipart
    if any(isinstance(defect, InvalidBase64LengthDefect) for defect in part.defects):
        letters = re.sub(r"[^A-Za-z0-9+/]", "", str(part.get_payload()))
        data = base64.b64decode(letters[: len(letters) // 4 * 4])
    return data


def of_webarchive(data: bytes) -> list[Page]:
    """The page of Safari's archive.

    Raises:
        ArchiveError: there is none.
    """
    try:
        main = plistlib.loads(data)["WebMainResource"]
        page = Page(
            bytes(main["WebResourceData"]),
            str(main.get("WebResourceTextEncodingName", "")),
            main.get("WebResourceMIMEType", _READABLE[0]) != "text/plain",
        )
    except Exception as e:  # a damaged list raises whatever its bytes lead to
        raise ArchiveError("a binary property list, but no web archive that can be read") from e
    return [page]
