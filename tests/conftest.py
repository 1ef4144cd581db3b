"""Helpers of all tests: painted photos, a gallery to tag them in, encoders that count, and a check of every index."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import jsonschema
import numpy as np
import pytest
from PIL import Image
from reviews import Served, served

import cartag
import cartag.encoder
from cartag.encoder.fake import COLOURS, FakeEncoder
from cartag.photos import images
from cartag.settings import Settings
from cartag.state import index as indexes

# A property holds however busy a machine is: what has to be quick is measured by itself. `make test` says the same of
# the same code each time; `make stress` looks at examples that nobody has seen.
hypothesis.settings.register_profile("cartag", deadline=None, derandomize=True)
hypothesis.settings.register_profile("random", deadline=None)
hypothesis.settings.load_profile("cartag")

# The fake encoder sees colours: three cars, one other car, two things that are no car. A black photo is none of them.
CATALOG = """
name: colours
cars:
  - {name: Red Racer, make: Rossi, aliases: [Scuderia]}
  - {name: Yellow Yeti, make: Rossi}
  - {name: Blue Bolt, make: Volt}
templates: ["a photo of a {name}."]
other_cars: [Orange Other]
no_car: [a photo of green grass., a photo of a white wall.]
"""
OUTCOME_OF = {
    "red": "tagged",
    "yellow": "tagged",
    "blue": "tagged",
    "orange": "unknown",
    "black": "unknown",
    "green": "no-car",
    "white": "no-car",
}
FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".gif": "GIF", ".tif": "TIFF"}

# --- photos -----------------------------------------------------------------------------------------------------


def picture(colour: str = "red", *, mark: int = 0, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A plain colour whose centre decides; ``mark`` makes its bytes differ from those of other pictures."""
    image = Image.new("RGB", size, COLOURS[colour])
    for bit in range(12):
        if mark >> bit & 1:
            image.paste((128, 128, 128), (4 * bit, 0, 4 * bit + 4, 4))
    return image


def image_bytes(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """The picture as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}) | options)
    return buffer.getvalue()


def paint(path: Path | bytes, colour: str = "red", *, mark: int = 0, size: tuple[int, int] = (64, 48)) -> bytes:
    """Writes a photo whose format is that of its extension; returns its bytes."""
    raw = os.fsencode(path)
    extension = os.path.splitext(raw)[1].decode("ascii").lower()
    data = image_bytes(picture(colour, mark=mark, size=size), FORMATS[extension])
    os.makedirs(os.path.dirname(raw), exist_ok=True)
    with open(raw, "wb") as f:
        f.write(data)
    return data


def later(path: Path) -> None:
    """Moves a file's mtime on, as any editor would."""
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 2_000_000_000))


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and mtimes of all files below a folder, but for what cartag writes."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and ".cartag" not in path.parts and path.name != "cartag.json"
    }


# --- a gallery --------------------------------------------------------------------------------------------------

_TAG_ARGUMENTS = {"catalog", "model", "device", "index", "retag", "progress"}


@dataclass
class Gallery:
    """A folder of photos, its catalog, and the verbs on it."""

    path: Path
    catalog: Path

    @property
    def index_file(self) -> Path:
        return self.path / "cartag.json"

    def paint(self, name: str, colour: str = "red", **options: Any) -> Path:
        paint(self.path / name, colour, **options)
        return self.path / name

    def tag(self, **options: Any) -> cartag.TagReport:
        """`cartag.tag` with the fake model; options that are none of its arguments are settings."""
        arguments = {key: value for key, value in options.items() if key in _TAG_ARGUMENTS}
        settings = {key: value for key, value in options.items() if key not in _TAG_ARGUMENTS}
        arguments = {"catalog": self.catalog, "model": "fake"} | arguments
        return cartag.tag(self.path, settings=Settings(decode_threads=2).overridden(settings), **arguments)

    def find(self, *cars: str, **options: Any) -> list[str]:
        return [hit.path for hit in cartag.find(self.path, cars, **options)]

    def raw(self) -> dict[str, Any]:
        return json.loads(self.index_file.read_bytes())

    def record(self, name: str) -> dict[str, Any]:
        """One photo of the index, as JSON."""
        (record,) = [photo for photo in self.raw()["photos"] if photo["path"] == name]
        return record

    def outcomes(self) -> dict[str, str]:
        return {photo["path"]: photo["outcome"] for photo in self.raw()["photos"]}

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Changes the index as another tool would: as plain JSON."""
        raw = self.raw()
        change(raw)
        self.index_file.write_text(json.dumps(raw), encoding="utf-8")

    def edit_photo(self, name: str, **fields: Any) -> None:
        def change(raw: dict[str, Any]) -> None:
            next(photo for photo in raw["photos"] if photo["path"] == name).update(fields)

        self.edit(change)

    def tag_by_hand(self, name: str, car: str, **extra: Any) -> dict[str, Any]:
        """A person adds a tag; returns it."""
        tag = {"car": car, "score": 1.0, "source": "human", **extra}
        record = self.record(name)
        tags = [other for other in record["tags"] if other["car"] != car]
        candidates = [other for other in record["candidates"] if other["car"] != car]
        self.edit_photo(name, tags=[tag, *tags], candidates=candidates, outcome="tagged")
        return tag


def counts(report: cartag.TagReport) -> tuple[int, int, int, int]:
    """What was done with the photos: unchanged, scored, embedded, unreadable."""
    return report.unchanged, report.scored, report.embedded, report.unreadable


def human_tags(record: dict[str, Any]) -> list[dict[str, Any]]:
    return [tag for tag in record["tags"] if tag["source"] == "human"]


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    """An empty gallery with the catalog of colours."""
    folder = tmp_path / "gallery"
    folder.mkdir()
    return Gallery(folder, write_catalog(tmp_path))


def write_catalog(folder: Path, text: str = CATALOG, name: str = "colours.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def without_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where pillow-heif is not installed."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    images._register_heif.cache_clear()


# --- programs of others ---------------------------------------------------------------------------------------------

needs_exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="exiftool is not installed (Debian: libimage-exiftool-perl)"
)
needs_exiv2 = pytest.mark.skipif(shutil.which("exiv2") is None, reason="exiv2 is not installed (Debian: exiv2)")


# --- encoders ---------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What encoders were asked to do."""

    loads: int = 0
    batches: list[int] = field(default_factory=list)
    texts: int = 0

    @property
    def photos(self) -> int:
        return sum(self.batches)


class CountingEncoder(FakeEncoder):
    """A fake encoder that keeps count."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        seen.loads += 1

    def embed_images(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        self.seen.batches.append(len(pixels))
        return super().embed_images(pixels)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.seen.texts += len(texts)
        return super().embed_texts(texts)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Counts every load and every embedding from here on."""
    counts = Seen()
    monkeypatch.setattr(cartag.encoder, "load", lambda *args, **kwargs: CountingEncoder(counts))
    return counts


@pytest.fixture
def forbid_encoder(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it: from then on loading an encoder fails the test."""

    def load(*args: object, **kwargs: object) -> None:
        raise AssertionError("an encoder was loaded")

    return lambda: monkeypatch.setattr(cartag.encoder, "load", load)


# --- pages ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A module's browser, not a session's: its event loop would be running in other tests too."""
    from browsers import launched  # it imports playwright, which tests without a browser do not need

    with launched() as found:
        yield found


@pytest.fixture
def review(tagged: Gallery) -> Iterator[Served]:
    """A review of what the module calls `tagged`, with labels."""
    with served(tagged.path, labels=tagged.path / "labels.csv") as found:
        yield found


# --- what holds for every test ----------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="cartag-tests-")  # also for what lasts longer than a test
    config.addinivalue_line("markers", "damaged_index: leaves an index that is damaged on purpose")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


@cache
def _validator() -> jsonschema.Draft202012Validator:
    schema = indexes.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def check_index(path: Path) -> None:
    """Fails unless the index keeps to its JSON Schema and to what the schema cannot say."""
    raw = json.loads(path.read_bytes())
    if "shards" in raw:  # a folder's header: everything of a single file but its photos
        assert "photos" not in raw
        raw["photos"] = []
    _validator().validate(raw)
    paths = [photo["path"] for photo in raw["photos"]]
    assert len(paths) == len(set(paths)), "a path stands twice"
    for photo in raw["photos"]:
        if photo["outcome"] == "error":
            assert "error" in photo, f"{photo['path']}: an error without a reason"


@pytest.fixture(autouse=True)
def _every_index_is_valid(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    yield
    if request.node.get_closest_marker("damaged_index") is None:
        for path in tmp_path.rglob("cartag.json"):
            check_index(path)


@pytest.fixture(autouse=True)
def _own_settings_only(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The settings and caches of whoever runs the tests play no part in them."""
    for key in list(os.environ):
        if key.startswith("CARTAG_"):
            monkeypatch.delenv(key)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-settings"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path(os.environ["XDG_CACHE_HOME"]) / uuid.uuid4().hex))
