"""What the markers of a JPEG tell (ITU-T T.81, annex B): how many scans it has, and whether it lacks its end."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict

# Progressive JPEGs have some ten scans. Each goes over the whole picture again, however few bytes it has: a file of
# 300 kB can keep a decoder busy for minutes.
MOST_SCANS = 100
END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA
_FRAMES = frozenset((0xC0, 0xC1, 0xC2, 0xC9, 0xCA))
_PROGRESSIVE = frozenset((0xC2, 0xCA))
_COEFFICIENTS = frozenset(range(64))
_NOISE = hashlib.sha256(b"what might have stood there").digest().replace(b"\xff", b"\x5a")
# Plain values, and values behind each of the eight restart markers: one of these is the one that a decoder waits for.
FILLINGS = (b"", _NOISE, b"".join(bytes((0xFF, 0xD0 + number)) + _NOISE for number in range(8)))
"""Bytes in place of those that are missing: where a decoder makes the same picture of all of them, nothing of the
picture is."""


def has_endless_scans(data: bytes) -> bool:
    """Whether a JPEG, or what follows its start, has more than `MOST_SCANS` scans."""
    scans, start = 0, 0
    while scans <= MOST_SCANS and (found := _MARKER.search(data, start)):
        marker, start = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            return False
        scans += marker == _START_OF_SCAN
        if marker != _START_OF_IMAGE:
            start += int.from_bytes(data[start : start + 2], "big")
    return scans > MOST_SCANS


def lacks_its_end(data: bytes) -> bool:
    """Whether a JPEG has no end marker, and yet for every component the scan that says its last digits.

    Whether that scan is there as a whole, its markers do not tell; `FILLINGS` do.
    """
    components: set[int] = set()
    said: defaultdict[int, set[int]] = defaultdict(set)
    is_progressive, start = False, 0
    while found := _MARKER.search(data, start):
        marker, start = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            return False
        if marker == _START_OF_IMAGE:
            continue
        length = int.from_bytes(data[start : start + 2], "big")
        segment = data[start + 2 : start + length]
        if len(segment) != length - 2:
            return False
        if marker in _FRAMES and len(segment) >= 6:
            is_progressive, components = marker in _PROGRESSIVE, set(segment[6::3][: segment[5]])
        elif marker == _START_OF_SCAN and segment and len(segment) == 4 + 2 * segment[0]:
            first, last, precision = segment[-3:]
            whole = not is_progressive
            for component in segment[1:-3:2]:
                if whole or not precision & 15:
                    said[component] |= _COEFFICIENTS if whole else set(range(first, last + 1))
        start += length
    return bool(components) and all(said[component] >= _COEFFICIENTS for component in components)
