"""Summing an index up."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import OUTCOME_OF, Gallery
from typer.testing import CliRunner

import cartag
from cartag.cli import app
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


def test_photos_that_could_not_be_read_are_named(gallery: Gallery) -> None:
    (gallery.path / "empty.jpg").touch()
    for i in reversed(range(25)):
        (gallery.path / f"{i:02}.jpg").write_text("no photo")
    gallery.tag()
    found = cartag.show(gallery.path)
    named = [(photo.reason, photo.path) for photo in found.unread]
    assert named == [("empty", "empty.jpg"), *(("not-an-image", f"{i:02}.jpg") for i in range(20))]
    printed = CliRunner().invoke(app, ["show", str(gallery.path)]).stdout.splitlines()
    assert "not-an-image  07.jpg     no decoder recognises the file" in printed
    assert printed[-1] == f"5 more are not named here; 'cartag export {gallery.path} --as csv' names all"
    as_json = json.loads(CliRunner().invoke(app, ["show", str(gallery.path), "--format", "json"]).stdout)
    assert as_json["unread"][0] == {"path": "empty.jpg", "reason": "empty", "detail": "the file has no bytes"}


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


# --- regions, and what else they show ---------------------------------------------------------------------------


def region(other: str | None = None, score: float = 0.6, **fields: Any) -> dict[str, Any]:
    said = {"other": {"name": other, "score": score}} if other else {}
    return {"box": [0.1, 0.2, 0.3, 0.4], "found": 0.9, "outcome": "unknown", **said, **fields}


RED = {"outcome": "tagged", "tags": [{"car": "red-racer", "score": 0.9}]}
BY_HAND = {"source": "human"}


@pytest.fixture
def parade(gallery: Gallery) -> Gallery:
    """Six photos without tags, and regions none were looked for in."""
    for mark in range(6):
        gallery.paint(f"{mark}.jpg", "orange", mark=mark)
    gallery.tag()
    return gallery


def others(gallery: Gallery) -> list[tuple[str, int, int, float, tuple[str, ...]]]:
    return [(o.name, o.photos, o.regions, o.score, o.examples) for o in cartag.show(gallery.path).others]


def out(gallery: Gallery, *words: str) -> str:
    done = CliRunner().invoke(app, ["show", str(gallery.path), *words], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_regions_are_counted_by_outcome_but_for_those_a_person_deleted(parade: Gallery) -> None:
    assert cartag.show(parade.path).regions is None
    assert "outcome  regions" not in out(parade)
    parade.edit_photo("0.jpg", regions=[region(**RED), region(), region(outcome="no-car")])
    parade.edit_photo("1.jpg", regions=[region(**RED, **BY_HAND), region(outcome="no-car", **BY_HAND)])
    parade.edit_photo("2.jpg", regions=[])
    assert cartag.show(parade.path).regions == {"tagged": 2, "unknown": 1, "no-car": 1}
    assert "outcome  regions\ntagged         2\nunknown        1\nno-car         1\n" in out(parade)
    assert json.loads(out(parade, "--format", "json"))["regions"] == {"tagged": 2, "unknown": 1, "no-car": 1}


def test_other_cars_are_grouped_by_name_and_the_likeliest_photos_are_the_examples(parade: Gallery) -> None:
    parade.edit_photo("0.jpg", regions=[region("Ferrari F430", 0.5), region("Lotus"), region()])
    parade.edit_photo("1.jpg", regions=[region("Ferrari F430", 0.8), region("ferrari f-430", 0.7)])
    parade.edit_photo("2.jpg", regions=[region("Ferrari F430", 0.9), region(**RED), region("Lotus", outcome="no-car")])
    parade.edit_photo("3.jpg", regions=[region("Lotus", 0.4)])
    assert others(parade) == [
        ("Ferrari F430", 3, 4, 0.9, ("2.jpg", "1.jpg")),
        ("Lotus", 2, 2, 0.6, ("0.jpg", "3.jpg")),
    ]
    assert [o.is_make for o in cartag.show(parade.path).others] == [False, True]


def test_what_a_person_says_otherwise_does_not_count(parade: Gallery) -> None:
    tag = {"car": "red-racer", "score": 1.0, "source": "human"}
    parade.edit_photo("0.jpg", regions=[region("Ferrari F430", **RED, **BY_HAND)])
    parade.edit_photo("1.jpg", regions=[region("Ferrari F430", outcome="no-car", **BY_HAND)])
    parade.edit_photo("2.jpg", regions=[region("Ferrari F430")], outcome="no-car", confirmed=True)
    parade.edit_photo("3.jpg", regions=[region("Ferrari F430")], outcome="tagged", tags=[tag])
    parade.edit_photo("4.jpg", regions=[region("Ferrari F430")], missing=True)
    assert others(parade) == []
    parade.edit_photo("3.jpg", regions=[region("Ferrari F430", 0.5), region(**RED)], outcome="tagged", tags=[tag])
    parade.edit_photo("5.jpg", regions=[region("Ferrari F430", 0.7, **BY_HAND)])
    assert others(parade) == [("Ferrari F430", 2, 2, 0.7, ("5.jpg", "3.jpg"))], (
        "another car beside hers; hers is unknown"
    )


def test_a_car_that_the_catalog_has_is_no_other_car(parade: Gallery) -> None:
    parade.edit_photo("0.jpg", regions=[region("SCUDERIA"), region("Red-Racer"), region("Red Racer Evo")])
    assert [name for name, *_ in others(parade)] == ["Red Racer Evo"]


def test_other_cars_are_listed_with_a_command_that_adds_one(parade: Gallery) -> None:
    parade.edit_photo("0.jpg", regions=[region("Lotus", 0.9), region("Orange Other", 0.6)])
    parade.edit_photo("1.jpg", regions=[region("Lotus", 0.5)])
    *table, empty, how = out(parade, "--others").splitlines()
    assert [line.split() for line in table] == [
        ["car", "photos", "regions", "score", "for", "example", "and"],
        ["Lotus", "2", "2", "0.90", "0.jpg", "1.jpg"],
        ["Orange", "Other", "1", "1", "0.60", "0.jpg"],
    ]
    assert not empty
    words = shlex.split(how.split(": ", 1)[1])
    assert words == ["cartag", "cars", "--catalog", str(parade.catalog.resolve()), "--add", "Orange Other"]
    assert CliRunner().invoke(app, words[1:]).exit_code == 0
    parade.tag()
    assert parade.outcomes()["0.jpg"] == "tagged", "what was another car is looked for now"
    found = json.loads(out(parade, "--others", "--format", "json"))
    assert "others" not in json.loads(out(parade, "--format", "json"))
    assert found["catalog_source"] == str(parade.catalog.resolve())


def test_a_shipped_catalog_is_added_to_in_a_file_of_ones_own(parade: Gallery) -> None:
    parade.tag(catalog="mille-miglia-2013")
    parade.edit_photo("0.jpg", regions=[region("Ferrari F430")])
    how = out(parade, "--others").splitlines()[-1]
    assert how.endswith("cartag cars --catalog mille-miglia-2013 --add 'Ferrari F430' --to my-cars.yaml")


def test_where_nothing_else_is_seen_that_is_said(parade: Gallery) -> None:
    done = CliRunner().invoke(app, ["show", str(parade.path), "--others"])
    assert (done.exit_code, done.stdout) == (0, "")
    assert "has no regions" in done.stderr
    parade.edit_photo("0.jpg", regions=[region()])
    done = CliRunner().invoke(app, ["show", str(parade.path), "--others"])
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no car outside of colours is likely enough" in done.stderr
