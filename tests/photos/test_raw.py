"""RAW files: the camera's preview or the sensor's values, upright; pairs with a JPEG; what is said without rawpy.

The files are minimal DNGs made here (`tests/support/rawfiles.py`), read by the real LibRaw. No camera's own files are at hand.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import notes
import numpy as np
import pytest
from conftest import Gallery, counts, image_bytes, later
from PIL import Image
from rawfiles import dng

import cartag
from cartag.encoder.fake import COLOURS, FakeEncoder
from cartag.errors import PhotoError
from cartag.photos import images, raw
from cartag.photos.walking import RAW_EXTENSIONS
from cartag.values import Decoded, ImageSpec

pytest.importorskip("rawpy", reason="the extra cartag[raw] is not installed")
SPEC = FakeEncoder.image_spec
LIMIT = images.DEFAULT_MAX_PIXELS


def scene(left: str = "red", right: str = "blue", size: tuple[int, int] = (400, 300)) -> np.ndarray:
    """Two halves, as the sensor sees them."""
    rgb = np.empty((size[1], size[0], 3), np.uint8)
    rgb[:, : size[0] // 2], rgb[:, size[0] // 2 :] = COLOURS[left], COLOURS[right]
    return rgb


def raw_file(
    rgb: np.ndarray, *, preview: np.ndarray | None = None, orientation: int = 1, exif: int | None = None
) -> bytes:
    """A DNG; with a preview of another picture, so that one can tell which of them was read."""
    if preview is None:
        return dng(rgb, orientation=orientation)
    options = {}
    if exif is not None:
        tags = Image.Exif()
        tags[0x0112] = exif
        options["exif"] = tags.tobytes()
    jpeg = image_bytes(Image.fromarray(preview), "JPEG", **options)
    return dng(rgb, preview=jpeg, preview_size=(preview.shape[1], preview.shape[0]), orientation=orientation)


def spec(side: int) -> ImageSpec:
    return ImageSpec(side, side, "squash", side, 3, (0.5,) * 3, (0.5,) * 3)


def colours(decoded: Decoded) -> tuple[str, str, str, str]:
    """The nearest colour in each corner: top left, top right, bottom left, bottom right."""
    assert decoded.pixels is not None
    h, w, _ = decoded.pixels.shape
    spots = [decoded.pixels[y, x] for y in (h // 8, -h // 8) for x in (w // 8, -w // 8)]
    return tuple(min(COLOURS, key=lambda c: np.abs(np.subtract(COLOURS[c], s, dtype=int)).sum()) for s in spots)  # type: ignore[return-value]


def decode(data: bytes, side: int = 64) -> Decoded:
    return images.decode(data, spec(side), raw=True)


def test_without_a_preview_the_sensor_is_developed() -> None:
    decoded = decode(raw_file(scene()))
    assert (decoded.width, decoded.height) == (400, 300)
    assert colours(decoded) == ("red", "blue", "red", "blue")


@pytest.mark.parametrize(
    ("orientation", "corners"),
    [(1, "red blue red blue"), (3, "blue red blue red"), (6, "red red blue blue"), (8, "blue blue red red")],
)
def test_a_turned_camera_gives_an_upright_photo_both_ways(orientation: int, corners: str) -> None:
    size = (300, 400) if orientation in (6, 8) else (400, 300)
    for data in (
        raw_file(scene(), orientation=orientation),
        raw_file(scene("green", "green"), preview=scene(), orientation=orientation),
        raw_file(scene("green", "green"), preview=scene(), orientation=orientation, exif=orientation),
    ):
        decoded = decode(data)
        assert (decoded.width, decoded.height) == size
        assert " ".join(colours(decoded)) == corners
        assert images.decode(data, None, raw=True).width == size[0]


def test_a_preview_that_is_upright_already_is_not_turned_again() -> None:
    upright = np.ascontiguousarray(np.rot90(scene(), -1))
    data = raw_file(scene("green", "green"), preview=upright, orientation=6, exif=6)
    assert " ".join(colours(decode(data))) == "red red blue blue"


def test_a_preview_counts_when_it_is_large_enough() -> None:
    data = raw_file(scene("green", "green"), preview=scene()[::2, ::2])  # 200 x 150
    assert colours(decode(data, 150))[0] == "red"
    assert colours(decode(data, 151))[0] == "green"


def test_a_preview_cut_otherwise_than_the_photo_does_not_count() -> None:
    data = raw_file(scene("green", "green"), preview=scene(size=(300, 300)))
    assert colours(decode(data))[0] == "green"


def test_a_damaged_preview_leaves_the_sensor() -> None:
    data = bytearray(raw_file(scene("green", "green"), preview=scene()))
    start = data.index(b"\xff\xd8")
    data[start + 200 : start + 700] = bytes(500)
    assert colours(decode(bytes(data)))[0] in ("green", "red")  # a decoder may repair it; nothing is raised
    data[start : start + 700] = bytes(700)
    assert colours(decode(bytes(data)))[0] == "green"


def test_half_the_size_is_developed_where_that_is_enough() -> None:
    data = raw_file(scene())
    whole, half = raw.develop(data, 151, LIMIT).pixels, raw.develop(data, 150, LIMIT).pixels
    assert whole is not None
    assert half is not None
    assert (whole.shape, half.shape) == ((300, 400, 3), (150, 200, 3))


@pytest.mark.parametrize("side", [32, 64])
def test_a_raw_file_looks_to_the_model_like_its_picture(side: int) -> None:
    shown = images.decode(image_bytes(Image.fromarray(scene("yellow", "yellow")), "PNG"), spec(side)).pixels
    developed = decode(raw_file(scene("yellow", "yellow")), side).pixels
    assert shown is not None
    assert developed is not None
    embeddings = FakeEncoder().embed_images([shown, developed])
    assert embeddings[0] @ embeddings[1] > 0.95


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        (b"no raw at all", {"unsupported", "truncated"}),
        (raw_file(scene())[:100], {"unsupported", "truncated", "corrupt"}),
        (image_bytes(Image.fromarray(scene()), "JPEG"), {"unsupported"}),
        (image_bytes(Image.fromarray(scene()), "TIFF"), {"unsupported", "corrupt"}),
    ],
)
def test_what_libraw_cannot_read_is_a_reason(data: bytes, reasons: set[str]) -> None:
    with pytest.raises(PhotoError) as caught:
        decode(data)
    assert caught.value.reason in reasons
    assert "LibRaw" in caught.value.detail


def test_the_pixel_limit_holds() -> None:
    with pytest.raises(PhotoError) as caught:
        images.decode(raw_file(scene()), SPEC, 400 * 300 - 1, raw=True)
    assert caught.value.reason == "too-large"


# As Pillow knows it, by its first bytes, and as of an Olympus, which is read like it.
@pytest.mark.parametrize("magic", [b"II*\0", b"IIRO"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_how_a_camera_was_held_is_known_of_every_raw_file(tmp_path: Path, orientation: int, magic: bytes) -> None:
    (tmp_path / "a.orf").write_bytes(magic + raw_file(scene(), orientation=orientation)[4:])
    assert images.orientation(tmp_path / "a.orf") == orientation


# --- in a gallery -----------------------------------------------------------------------------------------------


@pytest.fixture
def shot(gallery: Gallery) -> Gallery:
    """A RAW file alone, and one beside the JPEG that the camera made of it (here told apart by their colour)."""
    (gallery.path / "alone.dng").write_bytes(raw_file(scene("yellow", "yellow")))
    (gallery.path / "both.DNG").write_bytes(raw_file(scene("red", "red"), preview=scene("red", "red")))
    gallery.paint("both.jpg", "blue")
    return gallery


def cars(gallery: Gallery) -> dict[str, list[str]]:
    return {photo["path"]: [tag["car"] for tag in photo["tags"]] for photo in gallery.raw()["photos"]}


@pytest.mark.parametrize(
    ("pairs", "wanted"),
    [
        (None, {"alone.dng": ["yellow-yeti"], "both.jpg": ["blue-bolt"]}),
        ("raw", {"alone.dng": ["yellow-yeti"], "both.DNG": ["red-racer"]}),
        ("both", {"alone.dng": ["yellow-yeti"], "both.jpg": ["blue-bolt"], "both.DNG": ["red-racer"]}),
    ],
)
def test_a_pair_is_one_photo_or_two(pairs: str | None, wanted: dict[str, list[str]], shot: Gallery) -> None:
    report = cartag.tag(shot.path, catalog=shot.catalog, model="fake", raw_pairs=pairs)
    assert cars(shot) == wanted
    assert (report.raw_files, report.raw_pairs) == (0, 0 if pairs == "both" else 1)


def test_a_second_run_reads_no_raw_file_again(shot: Gallery) -> None:
    assert counts(shot.tag()) == (0, 0, 2, 0)
    assert counts(shot.tag()) == (2, 0, 0, 0)
    later(shot.path / "alone.dng")
    assert counts(shot.tag()) == (1, 0, 1, 0) or counts(shot.tag())[0] == 2


def test_a_page_shows_raw_files_by_their_thumbnails(shot: Gallery, tmp_path: Path) -> None:
    shot.tag()
    report = cartag.export(shot.path, "html", to=tmp_path / "page")
    assert not report.remarks
    (thumb,) = [
        p
        for p in (tmp_path / "page" / "thumbs").iterdir()
        if p.name.startswith(shot.record("alone.dng")["sha256"][:16])
    ]
    with Image.open(io.BytesIO(thumb.read_bytes())) as image:
        assert image.size == (400, 300)


def test_a_raw_file_that_pillow_does_not_know_gets_a_sidecar(gallery: Gallery) -> None:
    """Its boxes lie in the photo as it is stored."""
    data = raw_file(scene("yellow", "yellow"), preview=scene("yellow", "yellow"), orientation=6)
    (gallery.path / "held.orf").write_bytes(b"IIRO" + data[4:])
    gallery.tag()
    assert (gallery.record("held.orf")["width"], gallery.record("held.orf")["height"]) == (300, 400)
    box = [0.1, 0.2, 0.3, 0.4]
    gallery.edit_photo("held.orf", tags=[{"car": "yellow-yeti", "score": 1.0, "source": "human", "box": box}])
    report = cartag.export(gallery.path, "xmp")
    assert not report.remarks
    text = (gallery.path / "held.orf.xmp").read_text()
    assert [float(re.findall(f"<Iptc4xmpExt:rb{side}>([^<]*)<", text)[0]) for side in "XYWH"] == [0.2, 0.6, 0.4, 0.3]


def test_without_rawpy_raw_files_are_left_out_and_counted(shot: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cartag.tagging.tagging.reads_raw", lambda: False)
    report = shot.tag(raw_pairs="raw")
    assert cars(shot) == {"both.jpg": ["blue-bolt"]}
    assert (report.raw_files, report.raw_pairs) == (1, 1)


@pytest.mark.parametrize("pairs", ["jpeg", "raw", "both"])
def test_without_rawpy_it_is_said_that_the_jpeg_was_taken(
    shot: Gallery, monkeypatch: pytest.MonkeyPatch, pairs: str
) -> None:
    def told() -> list[str]:
        return [note for note in notes.tag(shot, raw_pairs=pairs) if "rawpy" in note]

    assert not told()
    monkeypatch.setattr("cartag.tagging.tagging.reads_raw", lambda: False)
    wanted = (
        f"raw_pairs: {pairs} wants rawpy (pip install 'cartag[raw]'); without it the JPEG was taken, beside 1 RAW file"
    )
    assert told() == ([] if pairs == "jpeg" else [wanted])
    (shot.path / "both.jpg").unlink()
    shot.paint("other.jpg", "blue")
    assert not told(), "no pair is there"


def test_without_rawpy_a_raw_file_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(PhotoError, match=r"pip install 'cartag\[raw\]'") as caught:
        decode(raw_file(scene()))
    assert caught.value.reason == "unsupported"


@pytest.mark.parametrize("extension", sorted(RAW_EXTENSIONS))
def test_every_kind_of_raw_file_is_given_to_libraw_and_pairs_with_its_jpeg(gallery: Gallery, extension: str) -> None:
    (gallery.path / f"alone{extension.upper()}").write_bytes(raw_file(scene("yellow", "yellow")))
    (gallery.path / f"both{extension}").write_bytes(raw_file(scene("red", "red")))
    gallery.paint("both.jpg", "blue")
    (gallery.path / f"none{extension}").write_bytes(b"another program's file")
    report = gallery.tag()
    assert (report.raw_pairs, report.unreadable) == (1, 1)
    found = cars(gallery)
    assert found.pop(f"none{extension}") == []
    assert found == {f"alone{extension.upper()}": ["yellow-yeti"], "both.jpg": ["blue-bolt"]}
    assert "LibRaw" in gallery.record(f"none{extension}")["error"]["detail"]
