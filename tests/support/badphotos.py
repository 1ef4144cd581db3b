"""Bad photos for the tests: mutations of small valid files of every format, and files made to do harm. All seeded."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageCms
from rawfiles import dng

from cartag.photos import images, raw

Fate = Literal["read", "error", "either"]

_EXTENSIONS = {
    "jpeg": ".jpg",
    "progressive": ".jpeg",
    "mpo": ".jpg",
    "png": ".png",
    "apng": ".png",
    "webp": ".webp",
    "webp-lossless": ".webp",
    "webp-animation": ".webp",
    "tiff": ".tif",
    "tiff-deflate": ".tiff",
    "tiff-lzw": ".tif",
    "gif": ".gif",
    "bmp": ".bmp",
    "jp2": ".jp2",
    "j2k": ".j2k",
    "avif": ".avif",
    "heic": ".heic",
    "raw": ".dng",
    "raw-preview": ".dng",
}


@dataclass(frozen=True, slots=True)
class BadPhoto:
    """A file with the extension it gets, what was done to it, and what must become of it."""

    kind: str
    extension: str
    data: bytes
    fate: Fate = "either"


# --- valid files ------------------------------------------------------------------------------------------------


def _scene(size: tuple[int, int] = (48, 32)) -> Image.Image:
    """A gradient with noise on it: something that does not compress to nothing."""
    rng = np.random.default_rng(5)
    ramp = np.linspace(0, 200, size[0] * size[1] * 3).reshape(size[1], size[0], 3)
    return Image.fromarray((ramp + rng.integers(0, 55, ramp.shape)).astype(np.uint8))


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@cache
def valid_files() -> dict[str, bytes]:
    """One small file of every format that is read here, by a name of `_EXTENSIONS`."""
    scene, exif = _scene(), Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    extras: dict[str, Any] = {"exif": exif.tobytes(), "icc_profile": icc}
    frames: dict[str, Any] = {"save_all": True, "append_images": [_scene().rotate(90), _scene().rotate(180)]}
    files = {
        "jpeg": _saved(scene, "JPEG", quality=90, **extras),
        "progressive": _saved(scene, "JPEG", progressive=True, **extras),
        "mpo": _saved(scene, "MPO", **frames),
        "png": _saved(scene, "PNG", **extras),
        "apng": _saved(scene, "PNG", **frames),
        "webp": _saved(scene, "WEBP", **extras),
        "webp-lossless": _saved(scene, "WEBP", lossless=True),
        "webp-animation": _saved(scene, "WEBP", **frames),
        "tiff": _saved(scene, "TIFF", **extras),
        "tiff-deflate": _saved(scene, "TIFF", compression="tiff_adobe_deflate"),
        "tiff-lzw": _saved(scene, "TIFF", compression="tiff_lzw"),
        "gif": _saved(scene, "GIF", **frames),
        "bmp": _saved(scene, "BMP"),
        "jp2": _saved(scene, "JPEG2000"),
        "j2k": _saved(scene, "JPEG2000", no_jp2=True),
        "avif": _saved(scene, "AVIF", **extras),
    }
    images._register_heif()
    files["heic"] = _saved(scene, "HEIF", **extras)
    if raw.reads_raw():
        sensor = np.asarray(_scene((96, 64)))
        files["raw"] = dng(sensor)
        files["raw-preview"] = dng(sensor, preview=files["jpeg"], preview_size=(48, 32))
    return files


# --- mutations --------------------------------------------------------------------------------------------------


def _bits(rng: random.Random, data: bytes) -> bytes:
    """A few flipped bits, anywhere or near the start, where the headers are."""
    out = bytearray(data)
    reach = len(out) if rng.random() < 0.5 else min(len(out), 200)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        out[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    return bytes(out)


def _cut(rng: random.Random, data: bytes) -> bytes:
    """The file ends early: in its first bytes, anywhere, or just before its end."""
    return data[: rng.choice((rng.randrange(1, 40), rng.randrange(1, len(data)), len(data) - rng.randrange(1, 20)))]


def _zeros(rng: random.Random, data: bytes) -> bytes:
    """A stretch that was never written, as after a full disk; or nothing but zeros."""
    if rng.random() < 0.1:
        return bytes(len(data))
    start = rng.randrange(len(data))
    length = rng.choice((4, 32, 512, len(data)))
    return (data[:start] + bytes(length) + data[start + length :])[: len(data)]


def _lengths(rng: random.Random, data: bytes) -> bytes:
    """Some number of the headers becomes an extreme one."""
    out, at = bytearray(data), rng.randrange(min(len(data) - 4, 400))
    value = rng.choice((0, 1, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF))
    size = rng.choice(("<I", ">I", "<H", ">H"))
    struct.pack_into(size, out, at, value & (0xFFFF if size[1] == "H" else 0xFFFFFFFF))
    return bytes(out)


def _spliced(rng: random.Random, data: bytes) -> bytes:
    """A part that is there twice, or is missing, or comes from a file of another format."""
    other = data if rng.random() < 0.5 else rng.choice(list(valid_files().values()))
    a, b = rng.randrange(len(data)), rng.randrange(len(other))
    return data[:a] + other[b : b + rng.randrange(1, 300)] + data[a + rng.choice((0, 50)) :]


def _noise(rng: random.Random, data: bytes) -> bytes:
    """The header of the format, and random bytes."""
    return data[: rng.choice((4, 12, 64))] + rng.randbytes(rng.randrange(1, 600))


def _garbled_metadata(rng: random.Random, data: bytes) -> bytes:
    """EXIF or ICC, where the file has some, overwritten with random bytes."""
    marks = [
        mark for mark in (b"Exif\0\0", b"ICC_PROFILE", b"eXIf", b"iCCP", b"EXIF", b"ICCP", b"acsp") if mark in data
    ]
    if not marks:
        return _bits(rng, data)
    at = data.index(rng.choice(marks)) + 12
    return data[:at] + rng.randbytes(rng.choice((8, 60))) + data[at + 60 :]


_MUTATIONS: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "bits": _bits,
    "cut": _cut,
    "zeros": _zeros,
    "lengths": _lengths,
    "spliced": _spliced,
    "noise": _noise,
    "metadata": _garbled_metadata,
}


def mutated(count: int, seed: int) -> Iterator[BadPhoto]:
    """``count`` mutations of all valid files in turn; one in eight has the extension of another format."""
    rng = random.Random(seed)
    files, extensions = list(valid_files().items()), sorted(set(_EXTENSIONS.values()))
    for number in range(count):
        name, data = files[number % len(files)]
        how = rng.choice(list(_MUTATIONS))
        extension = rng.choice(extensions) if rng.random() < 0.125 else _EXTENSIONS[name]
        yield BadPhoto(f"{name} {how}", extension, _MUTATIONS[how](rng, data))


# --- files made to do harm --------------------------------------------------------------------------------------


def harmful() -> Iterator[BadPhoto]:
    """Bombs, endless things and disguises, each with the fate it must have where 4 megapixels are the limit."""
    yield BadPhoto("no bytes", ".jpg", b"", "error")
    for name, data in valid_files().items():
        yield BadPhoto(f"{name}, whole", _EXTENSIONS[name], data, "read")
        if not name.startswith("raw"):
            wrong = ".png" if _EXTENSIONS[name] != ".png" else ".jpg"
            yield BadPhoto(f"{name} with the extension of another", wrong, data, "read")
        yield BadPhoto(f"{name} with something behind its end", _EXTENSIONS[name], data + b"PK\3\4" * 500, "read")
        yield BadPhoto(f"{name} of one byte", _EXTENSIONS[name], data[:1], "error")
    yield from _bombs()
    yield from _endless()
    yield from _metadata()
    yield from _disguised()


def _bombs() -> Iterator[BadPhoto]:
    """More pixels than the limit, in a few bytes."""
    for kind, extension in (("PNG", ".png"), ("GIF", ".gif"), ("TIFF", ".tif"), ("WEBP", ".webp"), ("BMP", ".bmp")):
        options = {"TIFF": {"compression": "tiff_adobe_deflate"}, "WEBP": {"lossless": True}}.get(kind, {})
        mode = {"WEBP": "RGB", "GIF": "L"}.get(kind, "1")
        yield BadPhoto(f"{kind} bomb", extension, _saved(Image.new(mode, (2100, 2000)), kind, **options), "error")
    yield BadPhoto("JPEG bomb", ".jpg", _saved(Image.new("L", (2100, 2000)), "JPEG"), "error")
    for name, mark, at, extension in (
        ("avif", b"ispe", 8, ".avif"),
        ("jp2", b"ihdr", 4, ".jp2"),
        ("j2k", b"\xff\x51", 6, ".j2k"),
    ):
        data = bytearray(valid_files()[name])
        struct.pack_into(">II", data, data.index(mark) + at, 16000, 16000)
        yield BadPhoto(f"{name} that says 16000 x 16000", extension, bytes(data), "error")
    for width, height in ((60000, 60000), (2**31 - 1, 1), (1, 2**31 - 1), (0, 5)):
        yield BadPhoto(f"PNG that says {width} x {height}", ".png", _png(width, height), "error")
    yield BadPhoto("TIFF with tiles beyond its picture", ".tif", _tiled_tiff(16, 2100, bytes(2100 * 2100)), "error")
    yield BadPhoto("TIFF with tiles of all there is", ".tif", _tiled_tiff(16, 65536, b""), "error")
    yield BadPhoto("JPEG 2000 whose stream is larger than its box", ".jp2", _swollen_jp2(), "error")
    yield BadPhoto("GIF whose frame is larger than its screen", ".gif", _swollen_gif(), "error")


def _endless() -> Iterator[BadPhoto]:
    """Much work in a few bytes. Of many frames only the first is decoded."""
    base = _saved(Image.new("L", (1800, 1800)), "JPEG", progressive=True)
    scan = base.rindex(b"\xff\xda")
    yield BadPhoto("JPEG of endless scans", ".jpg", base[:scan] + base[scan:-2] * 20000 + base[-2:], "error")
    gif = _saved(Image.new("P", (16, 16)), "GIF")
    frame = gif.index(b",", 13 + 3 * 256 if len(gif) > 800 else 13)
    yield BadPhoto("GIF of 5,000 frames", ".gif", gif[:frame] + gif[frame:-1] * 5000 + gif[-1:], "read")
    small = [Image.new("L", (4, 4), value % 256) for value in range(1000)]
    for kind, extension, count in (("TIFF", ".tif", 1000), ("PNG", ".png", 100)):
        many = _saved(small[0], kind, save_all=True, append_images=small[1:count])
        yield BadPhoto(f"{kind} of {count} frames", extension, many, "read")
    tiff = bytearray(valid_files()["tiff"])
    start = int.from_bytes(tiff[4:8], "little")
    entries = int.from_bytes(tiff[start : start + 2], "little")
    tiff[start + 2 + 12 * entries : start + 6 + 12 * entries] = struct.pack("<I", start)
    yield BadPhoto("TIFF whose next frame is its first", ".tif", bytes(tiff), "read")


def _metadata() -> Iterator[BadPhoto]:
    """EXIF and ICC that are garbage, or large: the picture is what counts."""
    scene, rng = _scene(), random.Random(11)
    for kind, extension in (("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp")):
        for name, block in (("garbage", rng.randbytes(500)), ("large", bytes(60_000)), ("empty", b"\0")):
            yield BadPhoto(f"{kind}, ICC {name}", extension, _saved(scene, kind, icc_profile=block), "read")
            exif = b"Exif\0\0MM\0*\0\0\0\x08" + block
            yield BadPhoto(f"{kind}, EXIF {name}", extension, _saved(scene, kind, exif=exif), "read")
    loop = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"
    yield BadPhoto("JPEG, EXIF that leads to itself", ".jpg", _saved(scene, "JPEG", exif=loop), "read")
    png = _saved(scene, "PNG")
    bomb = _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(70_000_000), 1))
    yield BadPhoto("PNG, text that inflates to 70 MB", ".png", png[:33] + bomb + png[33:], "either")
    bomb = _chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(70_000_000), 1))
    yield BadPhoto("PNG, ICC that inflates to 70 MB", ".png", png[:33] + bomb + png[33:], "either")


def _disguised() -> Iterator[BadPhoto]:
    """What is no photo. PostScript would be a program, for Ghostscript to run."""
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(/tmp/written) (w) file closefile showpage\n"
    for extension in (".jpg", ".png", ".tif", ".jp2"):
        yield BadPhoto("PostScript", extension, eps, "error")
        yield BadPhoto("HTML", extension, b"<!doctype html><script>alert(1)</script>", "error")
        yield BadPhoto("a program", extension, b"\x7fELF" + bytes(200), "error")
        yield BadPhoto("an archive", extension, b"PK\3\4" + bytes(200), "error")
    for kind in ("PPM", "TGA", "PCX", "ICO", "DDS", "SGI", "PDF"):
        yield BadPhoto(kind, ".jpg", _saved(_scene(), kind), "error")
    yield BadPhoto(
        "SVG", ".png", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>", "error"
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = _chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + body + _chunk(b"IEND", b"")


def _tiled_tiff(side: int, tile: int, pixels: bytes) -> bytes:
    """A grey TIFF of ``side`` pixels that lies in one deflated tile of ``tile`` pixels."""
    data = zlib.compress(pixels, 1)
    short, long = 3, 4
    entries = ((256, long, side), (257, long, side), (258, short, 8), (259, short, 8), (262, short, 1), (277, short, 1))
    entries += ((322, long, tile), (323, long, tile), (324, long, 8), (325, long, len(data)))
    rows = [struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries]
    directory = struct.pack("<H", len(rows)) + b"".join(rows) + b"\0\0\0\0"
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def _swollen_jp2() -> bytes:
    data = bytearray(valid_files()["jp2"])
    size = data.index(b"\xff\x51") + 6
    for at in (size, size + 16):  # the picture, and its tiles
        struct.pack_into(">II", data, at, 30000, 30000)
    return bytes(data)


def _swollen_gif() -> bytes:
    data = bytearray(_saved(Image.new("P", (64, 48)), "GIF"))
    at = data.index(b",")
    data[at + 1 : at + 9] = struct.pack("<HHHH", 0, 0, 65535, 65535)
    return bytes(data)


# --- names ------------------------------------------------------------------------------------------------------

NAMES = (
    b"line\nbreak",
    b"\x1b[2J\x1b]0;owned\x07",
    b"\xc2\x9b31m",
    b"\\..\\..\\etc\\passwd",
    b"-rf",
    b"--index=x",
    b"$(touch x)`touch y`",
    b"%2e%2e%2f",
    b"<img src=x onerror=alert(1)>",
    b"'; DROP TABLE embeddings; --",
    b"\xff\xfe\x80",
    b"\xed\xa0\x80",
    "\u202egpj.exe".encode(),
    "\u2028".encode(),
    b" ",
    b"{name!r}%s%n",
    b"\r",
    b"a" * 240,
)
"""Stems of file names that are attacks on terminals, shells, paths, queries and pages."""
