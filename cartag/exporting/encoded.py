"""A packet's bytes as text, and back: in which encoding it is, what is not edited has the bytes that it had."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from cartag.errors import ExportError

_BLANK = "\0\N{ZERO WIDTH NO-BREAK SPACE} \t\r\n"  # what programs pad with; none of it says anything
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# XML begins with "<", or with blanks: which of its first four bytes are zero tells the width (XML 1.0, appendix F).
_ZEROS = {
    (True, True, True, False): "utf-32-be",
    (False, True, True, True): "utf-32-le",
    (True, False): "utf-16-be",
    (False, True): "utf-16-le",
}
_DECLARED = re.compile(rb"""\A\s*<\?xml\s[^>]*?encoding\s*=\s*["']([\w.:-]+)""")
_DECLARATION = re.compile(r"\A<\?xml\s.*?\?>", re.DOTALL)


class PacketError(ExportError):
    """A packet that cannot be merged into: no XMP, or laid out in a way that is not safe to edit."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A packet as text, without its byte order mark."""

    text: str
    codec: str
    mark: bytes

    @property
    def document(self) -> str:
        """The XML without what may stand around it and without the declaration of its encoding."""
        return _DECLARATION.sub("", self.text.strip(_BLANK))

    @property
    def is_blank(self) -> bool:
        """Whether nothing is in it but padding."""
        return not self.text.strip(_BLANK)

    def to_bytes(self, text: str) -> bytes:
        """Another text in the same encoding; characters that it does not have become references."""
        return self.mark + text.encode(self.codec, "xmlcharrefreplace")


def decoded(packet: bytes) -> Encoded:
    """The text of a packet.

    What the bytes themselves tell counts more than what the declaration says, which programs write by heart: a mark,
    zero bytes, UTF-8 that is none by chance. ASCII that is declared to be something else is kept to ASCII.

    Raises:
        PacketError: the bytes are no text in the encoding they are in, or that encoding is not known.
    """
    for mark, codec in _MARKS:
        if packet.startswith(mark):
            return _in(codec, packet[len(mark) :], mark)
    zeros = tuple(byte == 0 for byte in packet[:4])
    for pattern, codec in _ZEROS.items():
        if zeros[: len(pattern)] == pattern:
            return _in(codec, packet, b"")
    declared = _DECLARED.match(packet)
    named = declared[1].decode("ascii", "replace") if declared else "utf-8"
    if packet.isascii():
        return Encoded(packet.decode("ascii"), "utf-8" if _is_utf8(named) else "ascii", b"")
    try:
        return Encoded(packet.decode("utf-8"), "utf-8", b"")
    except UnicodeDecodeError:
        return _in(named, packet, b"")


def _in(codec: str, data: bytes, mark: bytes) -> Encoded:
    try:
        text = data.decode(codec)
        is_kept = text.encode(codec) == data
    except LookupError as e:
        raise PacketError(f"it says that it is in the encoding {codec!r}, which nobody knows") from e
    except (UnicodeError, ValueError) as e:
        where = f" (byte {e.start + len(mark)})" if isinstance(e, UnicodeDecodeError) else ""
        raise PacketError(f"it is no {codec.upper()} text, which it says or begins as{where}") from e
    if not is_kept:
        raise PacketError(f"its encoding {codec!r} writes the same text in several ways")
    return Encoded(text, codec, mark)


def _is_utf8(name: str) -> bool:
    return name.lower() in ("utf-8", "utf8")
