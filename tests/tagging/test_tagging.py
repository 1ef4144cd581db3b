"""Tagging a gallery: outcomes, batches, and what is never touched."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import filelock
import pytest
from conftest import OUTCOME_OF, Gallery, Seen, check_index, counts, paint, snapshot, write_catalog
from hypothesis import given, settings, strategies as st

import cartag
import cartag.encoder
from cartag.encoder.fake import FakeEncoder
from cartag.errors import CartagError, GalleryError, IndexFileError, ModelError
from cartag.photos.walking import walk
from cartag.state import index as indexes
from cartag.state.place import place_of
from cartag.state.store import Store
from cartag.values import ERROR_REASONS, OUTCOMES

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100


# --- outcomes ---------------------------------------------------------------------------------------------------


def test_every_photo_gets_the_outcome_of_what_it_shows(gallery: Gallery) -> None:
    for colour in OUTCOME_OF:
        gallery.paint(f"{colour}.jpg", colour)
    (gallery.path / "broken.jpg").write_bytes(b"no photo")
    report = gallery.tag()
    wanted = {f"{colour}.jpg": outcome for colour, outcome in OUTCOME_OF.items()} | {"broken.jpg": "error"}
    assert gallery.outcomes() == wanted
    assert set(gallery.outcomes().values()) == set(OUTCOMES)
    assert report.outcomes == {"tagged": 3, "unknown": 2, "no-car": 2, "error": 1}
    assert counts(report) == (0, 0, 7, 1)


def test_a_record_holds_what_the_photo_is(gallery: Gallery) -> None:
    photo = gallery.paint("day-1/IMG_0042.JPG", "red", size=(120, 80))
    gallery.tag()
    record = gallery.record("day-1/IMG_0042.JPG")
    assert (record["width"], record["height"]) == (120, 80)
    assert (record["size"], record["mtime_ns"]) == (photo.stat().st_size, photo.stat().st_mtime_ns)
    assert [tag["car"] for tag in record["tags"]] == ["red-racer"]
    assert record["tags"][0]["source"] == "model"
    assert {c["car"] for c in record["candidates"]} == {"yellow-yeti", "blue-bolt"}


def test_the_index_names_its_model_and_catalog(gallery: Gallery) -> None:
    gallery.paint("a.jpg")
    header = gallery.tag().index.header
    assert (header.schema_version, header.model.name, header.model.dtype) == (1, "fake", "float32")
    assert (header.catalog.name, header.catalog.source) == ("colours", str(gallery.catalog))
    assert [car.id for car in header.catalog.cars] == ["red-racer", "yellow-yeti", "blue-bolt"]


@pytest.mark.usefixtures("without_heif")
def test_every_reason_of_an_error_is_met(gallery: Gallery) -> None:
    photos, whole = gallery.path, gallery.paint("whole.png", "red", size=(200, 150)).read_bytes()
    damaged = whole.index(b"IDAT") + 4
    (photos / "empty.jpg").touch()
    (photos / "not-an-image.jpg").write_text("this is a text")
    (photos / "unsupported.heic").write_bytes(HEIC)
    (photos / "truncated.png").write_bytes(whole[: damaged + 20])
    (photos / "corrupt.png").write_bytes(whole[:damaged] + b"\xff" * 8 + whole[damaged + 8 :])
    (photos / "vanished.jpg").symlink_to("nowhere.jpg")
    (photos / "unreadable.jpg").symlink_to("/proc/self/mem")  # a file that nobody can read from its start
    gallery.paint("too-large.jpg", size=(400, 300))
    report = gallery.tag(max_pixels=400 * 300 - 1)
    reasons = {p["path"].split(".")[0]: p["error"]["reason"] for p in gallery.raw()["photos"] if "error" in p}
    if not Path("/proc/self/mem").exists():
        reasons["unreadable"] = "unreadable"
    of_the_cage = {"crashed", "too-slow"}  # met in test_cage.py
    assert reasons == {reason: reason for reason in ERROR_REASONS.keys() - of_the_cage}
    assert counts(report) == (0, 0, 1, len(ERROR_REASONS) - len(of_the_cage))


def test_a_photo_that_goes_while_the_run_is_under_way_is_named(gallery: Gallery) -> None:
    gallery.paint("a.jpg", "red")
    gone = gallery.paint("b.jpg", "blue")

    class Deleting(_Quiet):
        def start(self, what: str, total: int | None) -> None:
            gone.unlink()

    gallery.tag(progress=Deleting())
    assert gallery.record("b.jpg")["error"]["reason"] == "vanished"
    assert gallery.tag().gone == 1


class _Quiet:
    def start(self, what: str, total: int | None) -> None: ...
    def advance(self, steps: int = 1) -> None: ...
    def finish(self) -> None: ...
    def note(self, message: str) -> None: ...


# --- batches ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
def test_an_unreadable_photo_in_a_batch_leaves_its_neighbours_their_own_embeddings(
    gallery: Gallery, batch_size: int
) -> None:
    colours = ["red", "blue", "yellow", "green", "red", "blue"]
    for i, colour in enumerate(colours):
        gallery.paint(f"{i}.jpg", colour, mark=i)
    (gallery.path / "2.jpg").write_bytes((gallery.path / "2.jpg").read_bytes()[:300])
    (gallery.path / "0b.jpg").write_bytes(b"no photo")
    gallery.tag(batch_size=batch_size)
    together = {photo["path"]: photo for photo in gallery.raw()["photos"]}
    for name, record in together.items():
        alone = gallery.path.parent / f"alone-{batch_size}-{name}"
        alone.mkdir()
        os.link(gallery.path / name, alone / name)
        report = cartag.tag(alone, catalog=gallery.catalog, model="fake")
        (photo,) = Gallery(alone, gallery.catalog).raw()["photos"]
        assert photo == record
        assert len(report.index) == 1
    assert together["2.jpg"]["outcome"] == together["0b.jpg"]["outcome"] == "error"


@pytest.mark.parametrize("batch_size", [1, 32])
def test_two_paths_with_equal_bytes_are_two_photos_and_one_embedding(
    gallery: Gallery, seen: Seen, batch_size: int
) -> None:
    for name in ("a.jpg", "copies/a.jpg", "copies/b.jpg"):
        gallery.paint(name, "red")
    gallery.paint("c.jpg", "blue")
    report = gallery.tag(batch_size=batch_size)
    assert gallery.find("red racer") == ["a.jpg", "copies/a.jpg", "copies/b.jpg"]
    assert sum(counts(report)) == 4
    with Store(place_of(gallery.path).state, FakeEncoder.identity) as store:
        assert len(store.hashes()) == 2
    assert seen.photos == 2


# --- always -------------------------------------------------------------------------------------------------------


_OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["paint", "remove", "break", "empty", "touch", "rename", "tag"]),
        st.sampled_from(["a.jpg", "b.PNG", "sub/a.jpg", "sub/c.webp"]),
        st.sampled_from(["red", "blue", "green", "orange"]),
    ),
    max_size=12,
)


@given(_OPERATIONS)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_whatever_happens_every_photo_is_in_the_index_once_and_the_counts_add_up(
    operations: list[tuple[str, str, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        gallery = Gallery(Path(folder) / "gallery", write_catalog(Path(folder)))
        gallery.path.mkdir()
        for step, (verb, name, colour) in enumerate([*operations, ("tag", "", "")]):
            photo = gallery.path / name
            if verb == "paint":
                paint(photo, colour)
            elif verb == "tag":
                report = gallery.tag(batch_size=2)
                check_index(gallery.index_file)
                assert list(report.index.photos) == [p.path for p in walk(gallery.path).photos]
                assert sum(counts(report)) == len(report.index) == sum(report.outcomes.values())
                assert min(counts(report)) >= 0
            elif photo.is_file():
                if verb == "rename":
                    photo.rename(photo.with_name("renamed-" + photo.name))
                    continue
                if verb == "remove":
                    photo.unlink()
                    continue
                photo.write_bytes({"break": b"?", "empty": b""}.get(verb, photo.read_bytes()))
                os.utime(photo, ns=(step * 10**9, step * 10**9))
        assert sum(counts(gallery.tag())) == len(walk(gallery.path).photos)


# --- the gallery itself -----------------------------------------------------------------------------------------


def test_an_empty_gallery_gives_an_empty_index_and_loads_no_model(
    gallery: Gallery, forbid_encoder: Callable[[], None]
) -> None:
    forbid_encoder()
    report = gallery.tag()
    assert (len(report.index), *counts(report)) == (0, 0, 0, 0, 0)
    assert gallery.raw()["photos"] == []
    assert cartag.find(gallery.path, ["red racer"]) == []


@pytest.mark.parametrize("name", ["nowhere", "file.jpg"])
def test_a_gallery_that_is_no_folder_leaves_no_trace(gallery: Gallery, name: str) -> None:
    gallery.paint("file.jpg")
    with pytest.raises(GalleryError, match=name):
        cartag.tag(gallery.path / name, catalog=gallery.catalog, model="fake")
    assert os.listdir(gallery.path) == ["file.jpg"]


@pytest.mark.parametrize("mistake", [{"model": "nomodel/anywhere"}, {"catalog": "no-catalog"}, {"model": "./folder"}])
def test_a_mistyped_model_or_catalog_leaves_no_trace(gallery: Gallery, mistake: dict[str, str]) -> None:
    gallery.paint("file.jpg")
    (mistyped,) = mistake.values()
    with pytest.raises(CartagError, match=mistyped.split("/")[-1]):
        gallery.tag(**mistake)
    assert os.listdir(gallery.path) == ["file.jpg"]
    gallery.tag()
    before = snapshot(gallery.path / ".cartag")
    with pytest.raises(CartagError, match=mistyped.split("/")[-1]):
        gallery.tag(**mistake)
    assert snapshot(gallery.path / ".cartag") == before


def test_photos_are_never_modified(gallery: Gallery) -> None:
    for i, colour in enumerate(OUTCOME_OF):
        os.utime(gallery.paint(f"{colour}/{i}.JPG", colour), ns=(i, 1369000000_000000000 + i))
    (gallery.path / "broken.png").write_bytes(b"no photo")
    before = snapshot(gallery.path)
    gallery.tag()
    gallery.tag(retag=True, threshold=0.9)
    gallery.tag_by_hand("red/0.JPG", "blue-bolt")
    gallery.tag()
    cartag.find(gallery.path, like=gallery.path / "red/0.JPG")
    assert snapshot(gallery.path) == before


def test_an_index_elsewhere_leaves_the_gallery_alone(gallery: Gallery, tmp_path: Path) -> None:
    gallery.paint("a.jpg")
    elsewhere = tmp_path / "state/of/cartag.json"
    report = gallery.tag(index=elsewhere)
    assert report.index.path == elsewhere
    assert os.listdir(gallery.path) == ["a.jpg"]
    assert [hit.path for hit in cartag.find(gallery.path, ["red racer"], index=elsewhere)] == ["a.jpg"]
    assert gallery.tag(index=elsewhere).unchanged == 1


def test_a_run_beside_another_one_is_refused_with_one_line(gallery: Gallery) -> None:
    gallery.paint("a.jpg")
    place = place_of(gallery.path)
    place.state.mkdir()
    with filelock.FileLock(place.lock), pytest.raises(IndexFileError, match="another cartag is writing it") as caught:
        gallery.tag()
    assert "\n" not in str(caught.value)
    assert not gallery.index_file.exists()
    assert counts(gallery.tag()) == (0, 0, 1, 0)


def test_a_state_folder_that_cannot_be_made_is_an_error_with_a_remedy(gallery: Gallery) -> None:
    gallery.paint("a.jpg")
    (gallery.path / indexes.STATE_FOLDER).write_text("a file in its place")
    with pytest.raises(CartagError, match=r"\.cartag: cannot be written.*--index FILE"):
        gallery.tag()


def test_an_unknown_model_is_an_error_before_any_photo_is_read(gallery: Gallery) -> None:
    gallery.paint("a.jpg")
    with pytest.raises(ModelError, match="no model 'nonesuch'"):
        gallery.tag(model="nonesuch")
    assert not gallery.index_file.exists()
