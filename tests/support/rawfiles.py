"""RAW files for the tests: minimal DNGs (a DNG is a TIFF) with an uncompressed Bayer mosaic and a JPEG preview."""

from __future__ import annotations

import struct
from fractions import Fraction

import numpy as np

_SHORT, _LONG, _RATIONAL, _SRATIONAL, _BYTE, _ASCII = 3, 4, 5, 10, 1, 2
_FORMAT = {_SHORT: "H", _LONG: "I", _BYTE: "B"}
# From CIE XYZ to the linear RGB of sRGB's primaries: the colours of this "camera".
_MATRIX = (3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570)
_WHITE = 16383

Entry = tuple[int, int, list[int] | list[float] | bytes]


def dng(
    rgb: np.ndarray, *, preview: bytes | None = None, preview_size: tuple[int, int] = (0, 0), orientation: int = 1
) -> bytes:
    """A DNG of a picture given as uint8 (height, width, 3) as the sensor saw it, before it is turned."""
    height, width, _ = rgb.shape
    linear = ((rgb / 255.0) ** 2.2 * _WHITE).astype("<u2")
    mosaic = linear[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = linear[::2, ::2, 0], linear[1::2, 1::2, 2]
    camera: list[Entry] = [
        (50706, _BYTE, [1, 4, 0, 0]),
        (50708, _ASCII, b"cartag test camera\0"),
        (50721, _SRATIONAL, list(_MATRIX)),
        (50728, _RATIONAL, [1.0, 1.0, 1.0]),
        (50778, _SHORT, [21]),
        (274, _SHORT, [orientation]),
        (271, _ASCII, b"cartag\0"),
        (272, _ASCII, b"test camera\0"),
    ]
    sensor: list[Entry] = [
        *((254, _LONG, [0]), (256, _LONG, [width]), (257, _LONG, [height]), (258, _SHORT, [16]), (259, _SHORT, [1])),
        *((262, _SHORT, [32803]), (277, _SHORT, [1]), (278, _LONG, [height]), (284, _SHORT, [1])),
        *((33421, _SHORT, [2, 2]), (33422, _BYTE, [0, 1, 1, 2]), (50717, _LONG, [_WHITE])),
    ]
    if preview is None:
        return _tiff([(sensor + camera, mosaic.tobytes())])
    small: list[Entry] = [
        *(
            (254, _LONG, [1]),
            (256, _LONG, [preview_size[0]]),
            (257, _LONG, [preview_size[1]]),
            (258, _SHORT, [8, 8, 8]),
        ),
        *(
            (259, _SHORT, [7]),
            (262, _SHORT, [6]),
            (277, _SHORT, [3]),
            (278, _LONG, [preview_size[1]]),
            (284, _SHORT, [1]),
        ),
    ]
    return _tiff([(small + camera, preview), (sensor, mosaic.tobytes())])


def _tiff(pictures: list[tuple[list[Entry], bytes]]) -> bytes:
    """One directory a picture; those after the first hang on it as SubIFDs."""
    out = bytearray(b"II*\0\0\0\0\0")
    strips = []
    for _, data in pictures:
        strips.append((len(out), len(data)))
        out += data + b"\0" * (len(data) % 2)
    offsets: list[int] = []
    for number in reversed(range(len(pictures))):
        entries, _ = pictures[number]
        entries = [*entries, (273, _LONG, [strips[number][0]]), (279, _LONG, [strips[number][1]])]
        if number == 0 and offsets:
            entries.append((330, _LONG, list(reversed(offsets))))
        offsets.append(_directory(out, sorted(entries, key=lambda entry: entry[0])))
    out[4:8] = struct.pack("<I", offsets[-1])
    return bytes(out)


def _directory(out: bytearray, entries: list[Entry]) -> int:
    rows = []
    for tag, kind, values in entries:
        data, count = _encoded(kind, values)
        if len(data) > 4:
            place = struct.pack("<I", len(out))
            out += data + b"\0" * (len(data) % 2)
        else:
            place = data.ljust(4, b"\0")
        rows.append(struct.pack("<HHI", tag, kind, count) + place)
    start = len(out)
    out += struct.pack("<H", len(rows)) + b"".join(rows) + b"\0\0\0\0"
    return start


def _encoded(kind: int, values: list[int] | list[float] | bytes) -> tuple[bytes, int]:
    if isinstance(values, bytes):
        return values, len(values)
    if kind in (_RATIONAL, _SRATIONAL):
        parts = [Fraction(value).limit_denominator(10000) for value in values]
        flat = [number for part in parts for number in (part.numerator, part.denominator)]
        return struct.pack(f"<{len(flat)}{'i' if kind == _SRATIONAL else 'I'}", *flat), len(values)
    return struct.pack(f"<{len(values)}{_FORMAT[kind]}", *values), len(values)
