"""Reading photos: from bytes to upright RGB pixels of the size a model wants. The only importer of Pillow.

HEIC and HEIF come by pillow-heif, RAW files by `raw`; both are loaded when the first such photo comes along.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import os
import warnings
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from cartag.errors import PhotoError
from cartag.paths import LEADS_OUT, leads_out
from cartag.photos import jpegs, raw as raws, samples, tiffs
from cartag.photos.framing import around, fit, resized_size, tiles
from cartag.photos.walking import is_raw
from cartag.values import Box, Decoded, ImageSpec

# Pillow's own limit is a constant of 179 megapixels, below what phones take today. `decode` reads the size from the
# header and applies cartag's limit before a pixel is decoded, so the one of Pillow is switched off here.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module=r"PIL\.")  # broken EXIF and the like: the pixels are what counts
ImageFile.LOAD_TRUNCATED_IMAGES = False  # a truncated photo is a record, not a grey half

DEFAULT_MAX_PIXELS = 300_000_000
DEFAULT_MAX_MEGABYTES = 2048
# What cartag reads, and no more: Pillow would hand a PostScript file in a JPEG's clothes to Ghostscript.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "AVIF")
_PLUGINS = {"JPEG2000": "Jpeg2K", "WEBP": "WebP"}
_HEIF_FORMATS = ("HEIF",)
_OUT_OF_MEMORY = "decoding it needs more memory than there is"
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_UPRIGHT_SWAPS_SIDES = {5, 6, 7, 8}
_ORIENTATION = 0x0112
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXTREME_ASPECT = 16
_SAME_ASPECT = 0.03
_JPEG_QUALITY = 82
_LARGE = 1000
_DRAFTED = ("JPEG", "MPO")
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_BITS = 258
_JPEG = b"\xff\xd8\xff"
_HEAD = 2**18
"""Bytes of a JPEG in which its EXIF lies, with profile and thumbnail."""


def read_bytes(path: Path, max_megabytes: int = DEFAULT_MAX_MEGABYTES) -> bytes:
    """The bytes of a photo.

    Raises:
        PhotoError: vanished, unreadable, empty, or larger than the limit.
    """
    most = max_megabytes * 2**20
    try:
        if not path.is_file():  # opening a pipe or a device would block
            raise PhotoError("vanished", "the file is no longer there")
        with path.open("rb") as f:
            data = f.read(most + 1) if os.fstat(f.fileno()).st_size <= most else None
    except MemoryError as e:
        raise PhotoError("too-large", _OUT_OF_MEMORY) from e
    except OSError as e:
        raise PhotoError("vanished" if isinstance(e, FileNotFoundError) else "unreadable", e.strerror or str(e)) from e
    if data is None or len(data) > most:
        raise PhotoError("too-large", f"more than {max_megabytes} MiB (settings: max_megabytes)")
    if not data:
        raise PhotoError("empty", "the file has no bytes")
    return data


def read_photo(gallery: Path, disk: str, max_megabytes: int = DEFAULT_MAX_MEGABYTES) -> bytes:
    """The bytes of a photo of an index, by its name on disk relative to the gallery: never of a file elsewhere.

    Raises:
        PhotoError: as `read_bytes`; unreadable too where a link on the way leads out of the gallery.
    """
    if leads_out(gallery, disk):
        raise PhotoError("unreadable", LEADS_OUT)
    return read_bytes(Path(os.path.join(gallery, disk)), max_megabytes)


def content_hash(data: bytes) -> str:
    """SHA-256 of a photo's bytes, in hex: the key of its cached embedding."""
    return hashlib.sha256(data).hexdigest()


def decode(data: bytes, spec: ImageSpec | None, max_pixels: int = DEFAULT_MAX_PIXELS, *, raw: bool = False) -> Decoded:
    """Decodes a photo to what ``spec`` asks for; with ``spec`` None only the header is read.

    A JPEG is decoded at the smallest DCT scale that still gives ``spec.drafted`` times what is asked for on both sides
    (Pillow's `draft`), which costs a tenth of a full decode for a camera photo. Width and height of the result are
    those of the full upright photo. ``raw`` says that the file is a camera's RAW file; most of them look like a TIFF.

    Raises:
        PhotoError: with the reason why the photo cannot be read.
    """
    if raw:
        return _decode_raw(data, spec, max_pixels)
    try:
        with _opened(data) as image:
            return _decode(image, spec, max_pixels)
    except PhotoError:
        raise
    except MemoryError as e:
        raise PhotoError("too-large", _OUT_OF_MEMORY) from e
    except UnidentifiedImageError as e:
        raise _unidentified(data, e) from e
    except Exception as e:  # a decoder fed with garbage raises whatever it likes; the photo becomes a record
        if (ended := _with_end(data, max_pixels)) is not None:
            return decode(ended, spec, max_pixels)
        raise PhotoError("truncated" if _is_cut_off(data, e) else "corrupt", _one_line(e)) from e


def _unidentified(data: bytes, error: UnidentifiedImageError) -> PhotoError:
    """Not in Pillow's words, which name an object of Python."""
    if not _is_heif(data):
        return PhotoError("not-an-image", "no decoder recognises the file")
    return PhotoError("truncated" if _is_cut_off(data, error) else "corrupt", "HEIC/HEIF that cannot be decoded")


def _opened(data: bytes) -> Image.Image:
    if _is_heif(data):
        _register_heif()
        return Image.open(io.BytesIO(data), formats=_HEIF_FORMATS)
    image = Image.open(io.BytesIO(data), formats=_formats())
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _turn_to_picture(image)
    return image


def _turn_to_picture(image: TiffImagePlugin.TiffImageFile) -> None:
    pages: list[tiffs.Page] = []
    with suppress(Exception):  # the pages end, or are damaged from here on
        for number in range(tiffs.MOST_PAGES):
            image.seek(number)
            pages.append(
                tiffs.Page(image.size, image.tag_v2.get(tiffs.NEW_KIND, 0), image.tag_v2.get(tiffs.OLD_KIND, 0))
            )
    image.seek(tiffs.picture(pages))


def _with_end(data: bytes, max_pixels: int) -> bytes | None:
    """A JPEG that lacks its end marker and no pixel, with the marker; None for everything else.

    No row is missing where a decoder makes the same picture whatever is put between the last byte and the marker.
    """
    if not data.startswith(_JPEG) or not jpegs.lacks_its_end(data):
        return None
    stem, digests = data.rstrip(b"\xff"), set()
    try:
        for filling in jpegs.FILLINGS:
            with _opened(stem + filling + jpegs.END) as image:
                if image.width * image.height > max_pixels:
                    return None
                digests.add(hashlib.sha256(image.tobytes()).digest())
    except Exception:  # what is wrong with it is something else
        return None
    return stem + jpegs.END if len(digests) == 1 else None


@cache
def _formats() -> tuple[str, ...]:
    """Those of `_FORMATS` that this build of Pillow knows. Only they are imported, of the forty that Pillow has."""
    for name in _FORMATS:
        with suppress(ImportError):
            importlib.import_module(f"PIL.{_PLUGINS.get(name, name.title())}ImagePlugin")
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS


@cache
def _register_heif() -> None:
    """Teaches Pillow HEIC and HEIF.

    Raises:
        PhotoError: pillow-heif is not there.
    """
    try:
        from pillow_heif import register_heif_opener
    except ImportError as e:
        raise PhotoError("unsupported", "HEIC/HEIF needs pillow-heif: pip install pillow-heif") from e
    register_heif_opener()


def small_jpeg(data: bytes, longest: int, max_pixels: int = DEFAULT_MAX_PIXELS, *, raw: bool = False) -> bytes:
    """A photo as a JPEG whose longer side is at most ``longest`` pixels: upright, RGB, without metadata.

    Raises:
        PhotoError: with the reason why the photo cannot be read.
    """
    whole = decode(data, None, max_pixels, raw=raw)
    scale = min(1.0, longest / max(whole.width, whole.height))
    height, width = (max(1, round(side * scale)) for side in (whole.height, whole.width))
    spec = reduced_to(height, width)
    if longest > _LARGE:  # nobody sees the difference, and a camera photo takes half the time
        spec = replace(spec, drafted=1)
    pixels = decode(data, spec, max_pixels, raw=raw).pixels
    assert pixels is not None  # a spec was given
    return jpeg_of(pixels, progressive=longest > _LARGE)


def reduced_to(height: int, width: int) -> ImageSpec:
    """A photo as a whole, at a size."""
    return ImageSpec(height, width, "squash", max(height, width), Image.Resampling.LANCZOS, (0.5,) * 3, (0.5,) * 3)


def jpeg_of(pixels: np.ndarray, *, progressive: bool = False) -> bytes:
    """Pixels, uint8 RGB of shape (height, width, 3), as a JPEG without metadata."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=_JPEG_QUALITY, optimize=True, progressive=progressive)
    return out.getvalue()


def orientation(path: Path) -> int:
    """How a photo has to be turned to be upright: an EXIF orientation, 1 to 8; 1 where nothing is said of it.

    Of a JPEG only the beginning is read, where that is said. Of a RAW file, by its extension, LibRaw says it: Pillow
    opens those alone that look like a TIFF.

    Raises:
        PhotoError: it cannot be read, or no decoder recognises it.
    """
    if is_raw(str(path)) and raws.reads_raw():
        return raws.orientation(read_bytes(path))
    with suppress(OSError, PhotoError):
        if path.is_file():
            with path.open("rb") as f:
                head = f.read(_HEAD)
            if head.startswith(_JPEG):
                return _orientation_in(head)
    return _orientation_in(read_bytes(path))


def _orientation_in(data: bytes) -> int:
    try:
        with _opened(data) as image:
            return _recorded_orientation(image)
    except PhotoError:
        raise
    except UnidentifiedImageError as e:
        raise _unidentified(data, e) from e
    except Exception as e:
        raise PhotoError("not-an-image", _one_line(e)) from e


def _decode_raw(data: bytes, spec: ImageSpec | None, max_pixels: int) -> Decoded:
    """The preview where it is a picture of the whole photo and large enough, else the sensor's values developed."""
    opened = raws.read(data, max_pixels)
    if spec is None:
        return Decoded(None, opened.width, opened.height)
    pixels = None if opened.preview is None else _of_preview(opened, spec, max_pixels)
    if pixels is None:
        least = min(resized_size((opened.width, opened.height), spec))
        developed = raws.develop(data, least, max_pixels).pixels
        assert developed is not None  # it was just developed
        pixels = _decode(Image.fromarray(developed), spec, max_pixels).pixels
    return Decoded(pixels, opened.width, opened.height)


def _of_preview(raw: raws.RawPicture, spec: ImageSpec, max_pixels: int) -> np.ndarray | None:
    """The preview as ``spec`` asks; None where it is too small, cut otherwise than the photo, or damaged."""
    try:
        with Image.open(io.BytesIO(raw.preview or b""), formats=("JPEG",)) as image:
            orientation = _recorded_orientation(image, default=raw.orientation)
            if orientation in _UPRIGHT_SWAPS_SIDES and _is_wide(image.size) == _is_wide((raw.width, raw.height)):
                orientation = 1  # stored upright: it is already as tall as the photo
            size = image.size[::-1] if orientation in _UPRIGHT_SWAPS_SIDES else image.size
            needed = resized_size((raw.width, raw.height), spec)
            if any(have < need for have, need in zip(size, needed, strict=True)):
                return None
            if abs(size[0] * raw.height / (size[1] * raw.width) - 1) > _SAME_ASPECT:
                return None
            return _decode(image, spec, max_pixels, orientation).pixels
    except Exception:  # the sensor's values are still there
        return None


def _is_wide(size: tuple[int, int]) -> bool:
    return size[0] > size[1]


def _decode(image: Image.Image, spec: ImageSpec | None, max_pixels: int, turned: int | None = None) -> Decoded:
    """Decodes an opened picture; ``turned`` is its EXIF orientation where that is known from elsewhere."""
    width, height = image.size
    if width * height > max_pixels:
        raise PhotoError("too-large", f"{width} x {height} pixels, the limit is {max_pixels} (settings: max_pixels)")
    _check_hidden_work(image, max_pixels)
    bits = _bits(image)  # loading forgets them
    if image.format not in _DRAFTED:
        # Looking for EXIF decodes a PNG, and swallows what is wrong with it: decode first, in the open.
        image.load()  # first frame of an animation
        width, height = image.size
    orientation = _orientation(image) if turned is None else turned
    swapped = orientation in _UPRIGHT_SWAPS_SIDES
    upright_size = (height, width) if swapped else (width, height)
    if spec is None:
        return Decoded(None, *upright_size)
    upright = resized_size(upright_size, spec)
    resized = upright[::-1] if swapped else upright
    drafted = image.draft(None, (spec.drafted * resized[0], spec.drafted * resized[1]))
    image.load()
    # A side that is no multiple of the DCT scale ends in a column or row that is only partly photo: the box leaves the
    # rest of it out, or the photo would be stretched.
    rgb, box = _to_rgb(image, bits), drafted[1] if drafted else None
    if spec.fit == "crop" and max(rgb.size) > _EXTREME_ASPECT * min(rgb.size):
        rgb, box = _less_extreme(rgb), None
        resized = resized_size(rgb.size, spec)
    rgb = _reduced(rgb, resized) if spec.fit == "whole" else _resize(rgb, resized, spec, box)
    if orientation in _TO_UPRIGHT:
        rgb = rgb.transpose(_TO_UPRIGHT[orientation])
    return Decoded(fit(np.asarray(rgb), spec), *upright_size)


def _check_hidden_work(image: Image.Image, max_pixels: int) -> None:
    """What a decoder would do beyond the pixels of the header.

    Raises:
        PhotoError: tiles larger than the limit around a small picture, or scans without end.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        width, height = (image.tag_v2.get(tag, 0) for tag in (_TILE_WIDTH, _TILE_LENGTH))
        if width * height > max_pixels:
            raise PhotoError("too-large", f"tiles of {width} x {height} pixels, the limit is {max_pixels}")
    elif isinstance(image, ImageFile.ImageFile) and image.info.get("progressive"):
        assert image.fp is not None  # it was just opened
        at, data = image.fp.tell(), image.fp.read()
        image.fp.seek(at)
        if jpegs.has_endless_scans(data):
            raise PhotoError("corrupt", f"a JPEG of more than {jpegs.MOST_SCANS} scans")


def _bits(image: Image.Image) -> int:
    """Bits of a sample, as the file has them."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits: Any = image.tag_v2.get(_BITS, 1)
        return int(max(bits, default=1) if isinstance(bits, tuple) else bits)
    is_16 = any(";16" in str(tile.args) for tile in getattr(image, "tile", ()))
    return 16 if is_16 or image.mode.startswith("I") else 8


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":  # Pillow turns TIFFs itself, while it loads them
        return 1
    return _recorded_orientation(image)


def _recorded_orientation(image: Image.Image, default: int = 1) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, default)
    except Exception:  # damaged EXIF: show the photo as it lies
        return default
    return value if value in range(1, 9) else default


def _to_rgb(image: Image.Image, bits: int) -> Image.Image:
    """Any mode to RGB: more than eight bits are scaled, not clipped; transparency lies on white."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float32)
        grey = samples.eight_bits(values, bits if image.mode.startswith("I") else None)
        return Image.fromarray(grey).convert("RGB")
    if bits > 8 and image.mode == "RGB":  # which Pillow has cut to the upper eight
        extremes: Any = image.getextrema()
        brightest = max(high for _, high in extremes)
        return image.point(lambda v: min(255, 17 * v)) if samples.is_12_of_16(257 * brightest) else image
    if image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")  # the fourth byte of a pixel is unused: who draws nothing writes no file
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _less_extreme(rgb: Image.Image) -> Image.Image:
    """Cuts the far ends off a picture that is a mere strip: scaled whole, it would fill the memory, to be cropped."""
    width, height = rgb.size
    longest = _EXTREME_ASPECT * min(rgb.size)
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return rgb.crop((left, top, width - left, height - top))


def shaped(picture: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """A decoded photo (h, w, 3) uint8, of any size, as ``spec`` wants it."""
    image = Image.fromarray(picture)
    if spec.fit == "crop" and max(image.size) > _EXTREME_ASPECT * min(image.size):
        image = _less_extreme(image)
    return fit(np.asarray(_resize(image, resized_size(image.size, spec), spec, None)), spec)


def glances(picture: np.ndarray, spec: ImageSpec) -> tuple[np.ndarray, ...]:
    """What a detector is shown of a decoded photo (h, w, 3) uint8: one picture as ``spec`` wants it for each of its
    `framing.tiles`."""
    height, width = picture.shape[:2]
    shown = []
    for x, y, w, h in tiles(width, height):
        left, top, right, bottom = round(x * width), round(y * height), round((x + w) * width), round((y + h) * height)
        shown.append(shaped(picture[top : max(bottom, top + 1), left : max(right, left + 1)], spec))
    return tuple(shown)


def cut(picture: np.ndarray, box: Box, spec: ImageSpec) -> np.ndarray:
    """One car of a decoded photo (h, w, 3) uint8, with what is around it (`framing.around`), as ``spec`` wants it."""
    image = Image.fromarray(picture)
    window = around(box, image.size, spec)
    shape = (max(1, round(window[2] - window[0])), max(1, round(window[3] - window[1])))
    size = (spec.width, spec.height) if spec.fit in ("squash", "crop") else resized_size(shape, spec)
    return fit(np.asarray(_resize(image, size, spec, window)), spec)


def _reduced(rgb: Image.Image, least: tuple[int, int]) -> Image.Image:
    """A picture to cut from: no smaller than that, and less than twice as large."""
    factor = max(rgb.size) // max(least)
    return rgb.reduce(factor) if factor > 1 else rgb


def _resize(
    rgb: Image.Image, size: tuple[int, int], spec: ImageSpec, box: tuple[float, float, float, float] | None
) -> Image.Image:
    if box is None and rgb.size == size:
        return rgb
    # A hub's model has no gap, so that it gets exactly the pixels of its own processor.
    return rgb.resize(size, Image.Resampling(spec.resample), box=box, reducing_gap=spec.gap)


def _is_cut_off(data: bytes, error: Exception) -> bool:
    """Whether the file ends before the picture does, by the decoder's words or by the lengths that the file records."""
    if data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 > len(data):
        return True
    if _is_heif(data) and _end_of_boxes(data) > len(data):
        return True
    text = str(error).lower()
    return any(words in text for words in ("truncated", "unexpected end", "end of file")) or isinstance(error, EOFError)


def _end_of_boxes(data: bytes) -> int:
    """Where the last box of an ISO media file (ISO/IEC 14496-12) should end; beyond the data if it is cut off."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:  # 0: up to the end of the file, whatever that is
            return len(data)
        at += size
    return at


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200].encode("utf-8", "backslashreplace").decode()  # an index holds no half characters
