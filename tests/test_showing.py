"""Summing an index up."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from conftest import OUTCOME_OF, Gallery

import cartag
from cartag.cli.show import _age
from cartag.errors import IndexFileError


def test_a_summary_counts_outcomes_cars_and_errors(gallery: Gallery) -> None:
    for i, colour in enumerate([*OUTCOME_OF, "red"]):
        gallery.paint(f"{i}.jpg", colour, mark=i)
    (gallery.path / "empty.jpg").touch()
    (gallery.path / "text.jpg").write_text("no photo")
    (gallery.path / "text.png").write_text("no photo")
    gallery.tag()
    gallery.tag_by_hand("0.jpg", "blue-bolt")
    found = cartag.show(gallery.path)
    assert found.photos == sum(found.outcomes.values()) == 11
    assert found.outcomes == {"tagged": 4, "unknown": 2, "no-car": 2, "error": 3}
    assert [(c.name, c.photos, c.by_hand) for c in found.cars] == [
        ("Blue Bolt", 2, 1),
        ("Red Racer", 2, 0),
        ("Yellow Yeti", 1, 0),
    ]
    assert found.errors == {"empty": 1, "not-an-image": 2}
    assert (found.model, found.catalog, found.missing) == ("fake", "colours", 0)
    assert found.updated == gallery.raw()["updated"]
    assert found.index == str(gallery.index_file)


def test_photos_that_are_gone_are_counted_apart(gallery: Gallery) -> None:
    gallery.paint("a.jpg", "red")
    gallery.tag()
    gallery.tag_by_hand("a.jpg", "blue-bolt")
    (gallery.path / "a.jpg").unlink()
    gallery.tag()
    found = cartag.show(gallery.path)
    assert (found.photos, found.missing, found.outcomes["tagged"]) == (0, 1, 0)
    assert {c.photos for c in found.cars} == {0}


def test_an_empty_gallery_is_summed_up_too(gallery: Gallery) -> None:
    gallery.tag()
    found = cartag.show(gallery.path)
    assert (found.photos, found.errors, len(found.cars)) == (0, {}, 3)


@pytest.mark.parametrize(
    ("updated", "age"),
    [
        ("2026-11-26T11:00:00Z", " (less than a day ago)"),
        ("2026-11-25T11:00:00Z", " (a day ago)"),
        ("2026-10-27T11:00:00+00:00", " (30 days ago)"),
        ("2026-11-27T11:00:00Z", ""),  # a clock that goes wrong
        ("2026-11-25T11:00:00", ""),
        ("last summer", ""),
    ],
)
def test_the_age_is_said_in_words(updated: str, age: str) -> None:
    assert _age(updated, datetime(2026, 11, 26, 12, tzinfo=UTC)) == age


def test_no_index_is_an_error(gallery: Gallery) -> None:
    with pytest.raises(IndexFileError, match="no index there"):
        cartag.show(gallery.path)
