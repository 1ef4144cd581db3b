"""Tagging again: what is done anew and what is not, after a change of photos, model, catalog or settings."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from conftest import OUTCOME_OF, Gallery, Seen, counts, later, write_catalog

import cartag
import cartag.encoder
from cartag.encoder.fake import FakeEncoder
from cartag.errors import CatalogError
from cartag.state.place import place_of
from cartag.values import ModelFiles, ModelSpec

# --- photos ------------------------------------------------------------------------------------------------------


def test_a_second_run_touches_nothing(gallery: Gallery, forbid_encoder: Callable[[], None]) -> None:
    for colour in OUTCOME_OF:
        gallery.paint(f"{colour}.jpg", colour)
    (gallery.path / "broken.jpg").write_bytes(b"no photo")
    gallery.tag()
    index, stat = gallery.index_file.read_bytes(), gallery.index_file.stat()
    forbid_encoder()
    assert counts(gallery.tag()) == (7, 0, 0, 1)
    assert gallery.index_file.read_bytes() == index
    assert gallery.index_file.stat().st_mtime_ns == stat.st_mtime_ns
    assert gallery.index_file.stat().st_ino == stat.st_ino


def test_only_new_and_changed_photos_are_embedded(gallery: Gallery, seen: Seen) -> None:
    for i in range(5):
        gallery.paint(f"{i}.jpg", "red", mark=i)
    gallery.tag()
    gallery.paint("1.jpg", "blue", mark=9)
    later(gallery.path / "1.jpg")
    gallery.paint("5.jpg", "yellow")
    assert counts(gallery.tag()) == (4, 0, 2, 0)
    assert seen.photos == 7
    assert gallery.find("blue bolt") == ["1.jpg"]


def test_a_touched_photo_is_read_but_not_embedded_again(gallery: Gallery, forbid_encoder: Callable[[], None]) -> None:
    photo = gallery.paint("a.jpg")
    gallery.tag()
    later(photo)
    forbid_encoder()
    assert counts(gallery.tag()) == (0, 1, 0, 0)
    assert gallery.record("a.jpg")["mtime_ns"] == photo.stat().st_mtime_ns


def test_a_photo_that_vanishes_for_one_run_and_comes_back_is_found_and_not_embedded_again(
    gallery: Gallery, forbid_encoder: Callable[[], None]
) -> None:
    gallery.paint("a.jpg", "red")
    gallery.paint("b.jpg", "blue")
    gallery.tag()
    first = gallery.raw()["photos"]
    (gallery.path / "a.jpg").rename(gallery.path.parent / "away.jpg")
    assert gallery.tag().gone == 1
    assert gallery.find("red racer") == []
    (gallery.path.parent / "away.jpg").rename(gallery.path / "a.jpg")
    forbid_encoder()
    assert counts(gallery.tag()) == (1, 1, 0, 0)
    assert gallery.find("red racer") == ["a.jpg"]
    assert gallery.raw()["photos"] == first


def test_a_renamed_photo_is_not_embedded_again(gallery: Gallery, forbid_encoder: Callable[[], None]) -> None:
    gallery.paint("a.jpg").rename(gallery.path / "b.jpg")
    gallery.paint("a.jpg", "red")
    gallery.tag()
    (gallery.path / "a.jpg").rename(gallery.path / "z.jpg")
    forbid_encoder()
    report = gallery.tag()
    assert (report.gone, *counts(report)) == (1, 1, 1, 0, 0)
    assert gallery.find("red racer") == ["b.jpg", "z.jpg"]


def test_a_mended_file_is_an_error_no_more(gallery: Gallery) -> None:
    photo = gallery.path / "a.jpg"
    photo.write_bytes(b"half a copy")
    gallery.tag()
    gallery.paint("a.jpg", "red")
    later(photo)
    gallery.tag()
    assert gallery.find("red racer") == ["a.jpg"]
    assert "error" not in gallery.record("a.jpg")


def test_a_photo_that_was_too_large_is_read_once_the_limit_is_raised(gallery: Gallery) -> None:
    gallery.paint("a.jpg", size=(64, 48))
    gallery.tag(max_pixels=100)
    assert gallery.record("a.jpg")["error"]["reason"] == "too-large"
    assert gallery.tag(max_pixels=100).unreadable == 1
    gallery.tag()
    assert gallery.outcomes() == {"a.jpg": "tagged"}


def test_retag_reads_everything_anew_and_says_the_same(gallery: Gallery, seen: Seen) -> None:
    gallery.paint("a.jpg", "red")
    gallery.paint("b.jpg", "blue")
    gallery.tag()
    before = gallery.raw()["photos"]
    assert counts(gallery.tag(retag=True)) == (0, 0, 2, 0)
    assert seen.photos == 4
    assert gallery.raw()["photos"] == before


# --- another model, catalog, threshold --------------------------------------------------------------------------


def test_another_catalog_scores_again_without_embedding_photos(gallery: Gallery, seen: Seen) -> None:
    gallery.paint("a.jpg", "red")
    gallery.paint("b.jpg", "orange")
    gallery.tag()
    assert gallery.outcomes() == {"a.jpg": "tagged", "b.jpg": "unknown"}
    citrus = write_catalog(gallery.path.parent, "cars: [Orange Otter]\nother_cars: [Red Racer]\n", "citrus.yaml")
    assert counts(gallery.tag(catalog=citrus)) == (0, 2, 0, 0)
    assert seen.photos == 2
    assert gallery.outcomes() == {"a.jpg": "unknown", "b.jpg": "tagged"}
    assert gallery.raw()["catalog"]["name"] == "citrus"


def test_photos_that_the_cache_lacks_are_read_and_the_rest_is_scored_from_it(gallery: Gallery, seen: Seen) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        gallery.paint(name, "orange", mark=ord(name[0]))
    (gallery.path / "same.jpg").write_bytes((gallery.path / "a.jpg").read_bytes())
    gallery.tag()
    with closing(sqlite3.connect(place_of(gallery.path).state / "embeddings.sqlite")) as db:
        db.execute("DELETE FROM photo WHERE sha256 = ?", (bytes.fromhex(gallery.record("b.jpg")["sha256"]),))
        db.commit()
    citrus = write_catalog(gallery.path.parent, "cars: [Orange Otter]\nother_cars: [Red Racer]\n", "citrus.yaml")
    before = seen.photos
    assert counts(gallery.tag(catalog=citrus)) == (0, 3, 1, 0)
    assert seen.photos == before + 1
    assert set(gallery.outcomes().values()) == {"tagged"}
    assert gallery.record("a.jpg")["tags"] == gallery.record("same.jpg")["tags"]


def test_a_plain_run_goes_on_with_the_catalog_of_the_index(gallery: Gallery) -> None:
    gallery.paint("a.jpg", "red")
    gallery.tag()
    assert gallery.tag(catalog=None).index.header.catalog.name == "colours"
    gallery.catalog.unlink()
    with pytest.raises(CatalogError, match=r"colours\.yaml.*no longer there.*--catalog"):
        gallery.tag(catalog=None)


def test_an_edited_catalog_is_noticed(gallery: Gallery, seen: Seen) -> None:
    gallery.paint("a.jpg", "orange")
    gallery.tag()
    text = gallery.catalog.read_text(encoding="utf-8")
    gallery.catalog.write_text(text.replace("cars:\n", "cars:\n  - Orange Otter\n", 1), encoding="utf-8")
    assert counts(gallery.tag()) == (0, 1, 0, 0)
    assert gallery.find("otter") == ["a.jpg"]


def test_another_model_embeds_again_and_the_first_one_s_cache_stays(
    gallery: Gallery, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.paint("a.jpg", "red")
    gallery.tag()
    with monkeypatch.context() as patch:
        patch.setattr(FakeEncoder, "identity", "fake@2/squash32x32")
        patch.setattr(cartag.checkpoints, "resolve", lambda *a, **k: ModelFiles(ModelSpec("fake", "fake"), "", "2"))
        assert counts(gallery.tag()) == (0, 0, 1, 0)
        assert gallery.raw()["model"]["revision"] == "2"
    assert counts(gallery.tag()) == (0, 1, 0, 0)
    assert seen.photos == 2


def test_a_threshold_of_the_settings_decides_without_the_model(
    gallery: Gallery, forbid_encoder: Callable[[], None]
) -> None:
    cars = "cars: [Red Racer, Red Rocket, Blue Bolt]\nother_cars: []\nno_car: []\n"
    gallery.catalog = write_catalog(gallery.path.parent, cars)
    gallery.paint("a.jpg", "red")
    gallery.tag(threshold=0.9)
    assert gallery.outcomes() == {"a.jpg": "unknown"}
    assert {c["car"]: round(c["score"], 2) for c in gallery.record("a.jpg")["candidates"]} == {
        "red-racer": 0.5,
        "red-rocket": 0.5,
        "blue-bolt": 0.0,
    }
    forbid_encoder()
    assert counts(gallery.tag(threshold=0.3)) == (0, 1, 0, 0)
    assert {tag["car"] for tag in gallery.record("a.jpg")["tags"]} == {"red-racer", "red-rocket"}
    assert counts(gallery.tag(threshold=0.3)) == (1, 0, 0, 0)


def test_the_index_keeps_the_dtype_its_embeddings_were_made_in(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEncoder, "dtype", "bfloat16")
    gallery.paint("a.jpg")
    assert gallery.tag().index.header.model.dtype == "bfloat16"
    assert gallery.tag(threshold=0.4).index.header.model.dtype == "bfloat16"


# --- another gallery ----------------------------------------------------------------------------------------------


def test_a_second_gallery_needs_no_pass_of_the_text_tower(gallery: Gallery, tmp_path: Path, seen: Seen) -> None:
    gallery.paint("a.jpg", "red")
    gallery.tag()
    assert seen.texts > 0
    texts, first = seen.texts, gallery.record("a.jpg")
    other = Gallery(tmp_path / "other", gallery.catalog)
    other.paint("a.jpg", "red")
    other.tag()
    assert seen.texts == texts
    assert other.record("a.jpg")["tags"] == first["tags"]
    third = Gallery(tmp_path / "third", gallery.catalog)
    third.paint("a.jpg", "red")
    third.tag(text_cache="off")
    assert seen.texts == 2 * texts
    assert third.record("a.jpg")["tags"] == first["tags"]


def test_a_shared_text_is_kept_in_the_gallery_too(gallery: Gallery, tmp_path: Path, seen: Seen) -> None:
    gallery.paint("a.jpg", "red")
    gallery.tag()
    other = Gallery(tmp_path / "other", gallery.catalog)
    other.paint("a.jpg", "red")
    other.tag()
    loads, texts = seen.loads, seen.texts
    shutil.rmtree(os.environ["XDG_CACHE_HOME"])
    other.tag(threshold=0.9)
    assert (seen.loads, seen.texts) == (loads, texts)
