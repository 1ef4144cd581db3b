"""What a person said: no run alters it, wherever the photo goes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Gallery, Seen, human_tags, later, write_catalog

import cartag
from cartag.errors import IndexFileError
from cartag.measuring.truth import read_truth

BOX = [0.1, 0.35, 0.8, 0.55]


@pytest.fixture
def said(gallery: Gallery) -> dict[str, Any]:
    """a.jpg is red; a person says that a blue car is in it too. b.jpg is green; nobody said anything."""
    gallery.paint("a.jpg", "red", mark=1)
    gallery.paint("b.jpg", "green", mark=2)
    gallery.tag()
    return gallery.tag_by_hand("a.jpg", "blue-bolt", box=BOX)


def confirm(gallery: Gallery, name: str, **fields: Any) -> dict[str, Any]:
    gallery.edit_photo(name, confirmed=True, **fields)
    return gallery.record(name)


# --- tags by hand -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"retag": True}, {"threshold": 0.99}, {"margin": 0.9}])
def test_a_human_tag_survives_every_run(gallery: Gallery, said: dict[str, Any], options: dict[str, Any]) -> None:
    for _ in range(2):
        gallery.tag(**options)
        assert human_tags(gallery.record("a.jpg")) == [said]
        assert gallery.record("a.jpg")["outcome"] == "tagged"


def test_a_human_tag_stands_beside_the_model_s_own(gallery: Gallery, said: dict[str, Any]) -> None:
    gallery.tag(retag=True)
    assert [(tag["car"], tag["source"]) for tag in gallery.record("a.jpg")["tags"]] == [
        ("blue-bolt", "human"),
        ("red-racer", "model"),
    ]
    assert "blue-bolt" not in {c["car"] for c in gallery.record("a.jpg")["candidates"]}


def test_a_car_that_both_see_is_tagged_once_and_by_the_person(gallery: Gallery, said: dict[str, Any]) -> None:
    gallery.tag_by_hand("a.jpg", "red-racer")
    gallery.tag(retag=True)
    assert [tag["car"] for tag in gallery.record("a.jpg")["tags"]].count("red-racer") == 1
    assert {tag["source"] for tag in gallery.record("a.jpg")["tags"]} == {"human"}


def test_a_human_tag_makes_a_photo_without_a_car_a_tagged_one(gallery: Gallery, said: dict[str, Any]) -> None:
    gallery.tag_by_hand("b.jpg", "yellow-yeti")
    gallery.tag(retag=True)
    assert gallery.record("b.jpg")["outcome"] == "tagged"
    assert gallery.find("yeti") == ["b.jpg"]


def test_a_human_tag_survives_a_catalog_that_no_longer_holds_its_car(gallery: Gallery, said: dict[str, Any]) -> None:
    gallery.tag(catalog=write_catalog(gallery.path.parent, "cars: [Red Racer]\nother_cars: []\n", "red.yaml"))
    assert human_tags(gallery.record("a.jpg")) == [said]
    assert {count.car: count.by_hand for count in cartag.show(gallery.path).cars} == {"red-racer": 0, "blue-bolt": 1}
    gallery.tag()
    assert human_tags(gallery.record("a.jpg")) == [said]
    assert gallery.find("blue bolt") == ["a.jpg"]


def test_a_human_tag_survives_a_change_of_the_photo(gallery: Gallery, said: dict[str, Any]) -> None:
    later_photo = gallery.paint("a.jpg", "yellow")
    later(later_photo)
    gallery.tag()
    assert [tag["car"] for tag in gallery.record("a.jpg")["tags"]] == ["blue-bolt", "yellow-yeti"]


# --- gone and back ----------------------------------------------------------------------------------------------


def test_a_human_tag_waits_for_a_photo_that_is_gone(gallery: Gallery, said: dict[str, Any]) -> None:
    before = gallery.record("a.jpg")
    (gallery.path / "a.jpg").rename(gallery.path.parent / "away.jpg")
    for _ in range(2):
        report = gallery.tag()
        assert gallery.record("a.jpg") == {**before, "missing": True}
        assert (report.unchanged, report.gone, sum(report.outcomes.values())) == (1, 1, 1)
    assert gallery.find("blue bolt") == []
    assert (cartag.show(gallery.path).photos, cartag.show(gallery.path).missing) == (1, 1)
    (gallery.path.parent / "away.jpg").rename(gallery.path / "a.jpg")
    gallery.tag()
    assert gallery.record("a.jpg") == before
    assert gallery.find("blue bolt") == ["a.jpg"]


def test_a_renamed_photo_keeps_its_human_tags(gallery: Gallery, said: dict[str, Any], seen: Seen) -> None:
    (gallery.path / "day-2").mkdir()
    (gallery.path / "a.jpg").rename(gallery.path / "day-2/z.jpg")
    report = gallery.tag()
    assert (report.scored, report.embedded, seen.photos) == (1, 0, 0)
    assert human_tags(gallery.record("day-2/z.jpg")) == [said]
    assert list(gallery.outcomes()) == ["b.jpg", "day-2/z.jpg"]


def test_a_copy_of_a_photo_does_not_take_its_human_tags(gallery: Gallery, said: dict[str, Any]) -> None:
    (gallery.path / "copy.jpg").write_bytes((gallery.path / "a.jpg").read_bytes())
    gallery.tag()
    assert human_tags(gallery.record("a.jpg")) == [said]
    assert human_tags(gallery.record("copy.jpg")) == []


def test_a_photo_that_goes_and_is_found_elsewhere_a_run_later_takes_its_tags_along(
    gallery: Gallery, said: dict[str, Any]
) -> None:
    (gallery.path / "a.jpg").rename(gallery.path.parent / "away.jpg")
    gallery.tag()
    (gallery.path.parent / "away.jpg").rename(gallery.path / "z.jpg")
    gallery.tag()
    assert human_tags(gallery.record("z.jpg")) == [said]
    assert list(gallery.outcomes()) == ["b.jpg", "z.jpg"]


def test_an_unreadable_photo_does_not_inherit_what_was_said_of_another_one(
    gallery: Gallery, said: dict[str, Any]
) -> None:
    (gallery.path / "a.jpg").write_bytes(b"")
    gallery.tag()
    assert human_tags(gallery.record("a.jpg")) == [said]
    (gallery.path / "a.jpg").unlink()
    (gallery.path / "unrelated.jpg").touch()
    gallery.tag()
    assert human_tags(gallery.record("unrelated.jpg")) == []
    assert human_tags(gallery.record("a.jpg")) == [said]


# --- damaged ----------------------------------------------------------------------------------------------------


def test_a_human_tag_survives_the_corruption_of_its_file(gallery: Gallery, said: dict[str, Any]) -> None:
    whole = (gallery.path / "a.jpg").read_bytes()
    (gallery.path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    for _ in range(2):
        assert gallery.tag().unreadable == 1
        record = gallery.record("a.jpg")
        assert (record["outcome"], record["error"]["reason"]) == ("error", "truncated")
        assert record["tags"] == [said]
    assert gallery.find("blue bolt") == ["a.jpg"]
    (gallery.path / "a.jpg").write_bytes(whole)
    gallery.tag()
    assert gallery.record("a.jpg")["outcome"] == "tagged"
    assert human_tags(gallery.record("a.jpg")) == [said]


def test_a_truncated_photo_that_is_renamed_keeps_its_human_tags(gallery: Gallery, said: dict[str, Any]) -> None:
    whole = (gallery.path / "a.jpg").read_bytes()
    (gallery.path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    gallery.tag()
    (gallery.path / "a.jpg").rename(gallery.path / "z.jpg")
    gallery.tag()
    assert human_tags(gallery.record("z.jpg")) == [said]


# --- confirmed photos -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"retag": True}, {"threshold": 0.99}])
def test_a_confirmed_photo_is_left_as_it_is(gallery: Gallery, said: dict[str, Any], options: dict[str, Any]) -> None:
    settled = confirm(gallery, "a.jpg")
    empty = confirm(gallery, "b.jpg", outcome="unknown", tags=[], candidates=[])
    gallery.tag(**options)
    assert gallery.record("a.jpg") == settled
    assert gallery.record("b.jpg") == empty


def test_a_photo_confirmed_to_show_no_car_stays_so(gallery: Gallery, said: dict[str, Any]) -> None:
    confirm(gallery, "a.jpg", outcome="no-car", tags=[])
    gallery.tag(retag=True)
    assert gallery.record("a.jpg")["outcome"] == "no-car"
    assert gallery.find("red racer", min_score=0.01) == []


def test_a_confirmed_photo_survives_catalog_loss_corruption_and_return(gallery: Gallery, said: dict[str, Any]) -> None:
    settled = confirm(gallery, "a.jpg")
    gallery.tag(catalog=write_catalog(gallery.path.parent, "cars: [Yellow Yeti]\nother_cars: []\n", "yeti.yaml"))
    assert gallery.record("a.jpg") == settled
    photo, whole, mtime = gallery.path / "a.jpg", (gallery.path / "a.jpg").read_bytes(), settled["mtime_ns"]
    photo.unlink()
    gallery.tag()
    assert gallery.record("a.jpg") == {**settled, "missing": True}
    photo.write_bytes(b"garbage")  # of whatever photo: it was gone for a run
    report = gallery.tag()
    assert (gallery.record("a.jpg")["outcome"], gallery.record("a.jpg")["tags"]) == ("error", [])
    assert gallery.record(f"a.jpg (gone {settled['sha256'][:12]})")["tags"] == settled["tags"]
    assert report.unreadable == 1
    photo.write_bytes(whole)
    gallery.tag()
    photo.write_bytes(b"garbage")
    gallery.tag()
    damaged = gallery.record("a.jpg")
    assert (damaged["outcome"], damaged["tags"], damaged["confirmed"]) == ("tagged", settled["tags"], True)
    assert damaged["error"]["reason"] == "not-an-image"
    photo.write_bytes(whole)
    gallery.tag()
    assert {**gallery.record("a.jpg"), "mtime_ns": mtime} == settled


def test_an_unconfirmed_photo_without_human_tags_leaves_with_its_file(gallery: Gallery, said: dict[str, Any]) -> None:
    gallery.edit_photo("b.jpg", confirmed=False)
    (gallery.path / "b.jpg").unlink()
    gallery.tag()
    assert list(gallery.outcomes()) == ["a.jpg"]


# --- fields of other tools --------------------------------------------------------------------------------------


def test_unknown_fields_survive_every_rewrite(gallery: Gallery, said: dict[str, Any]) -> None:
    said = gallery.tag_by_hand("a.jpg", "blue-bolt", who="Linh", note={"sure": True})

    def add(raw: dict[str, Any]) -> None:
        raw["x-tool"] = {"version": [1, 2]}
        raw["model"]["x-gpu"] = "none"
        raw["catalog"]["x-editor"] = None
        for photo in raw["photos"]:
            photo["x-rating"] = len(photo["path"])

    gallery.edit(add)
    for change in ({"retag": True}, {"threshold": 0.2}, {"catalog": _other(gallery)}, {}):
        gallery.paint(f"new-{len(gallery.outcomes())}.jpg", "blue", mark=50 + len(gallery.outcomes()))
        gallery.tag(**change)
        raw = gallery.raw()
        assert raw["x-tool"] == {"version": [1, 2]}
        assert raw["model"]["x-gpu"] == "none"
        assert "x-editor" in raw["catalog"]
        assert gallery.record("a.jpg")["x-rating"] == gallery.record("b.jpg")["x-rating"] == 5
        assert human_tags(gallery.record("a.jpg")) == [said]


def test_unknown_fields_stay_with_a_photo_that_is_renamed_or_gone(gallery: Gallery, said: dict[str, Any]) -> None:
    gallery.edit_photo("a.jpg", **{"x-rating": 5})
    said = gallery.tag_by_hand("a.jpg", "blue-bolt", who="Linh")
    (gallery.path / "a.jpg").rename(gallery.path / "z.jpg")
    gallery.tag()
    assert gallery.record("z.jpg")["x-rating"] == 5
    assert human_tags(gallery.record("z.jpg")) == [said]
    (gallery.path / "z.jpg").unlink()
    gallery.tag()
    assert gallery.record("z.jpg")["x-rating"] == 5
    assert human_tags(gallery.record("z.jpg")) == [said]


def _other(gallery: Gallery) -> Any:
    return write_catalog(gallery.path.parent, "cars: [Red Racer, Blue Bolt]\nother_cars: []\n", "two.yaml")


def test_an_index_elsewhere_is_not_taken_for_another_gallerys(gallery: Gallery, tmp_path: Path) -> None:
    elsewhere = tmp_path / "index.json"
    gallery.paint("x.jpg", "red")
    gallery.tag(index=elsewhere)
    raw = json.loads(elsewhere.read_bytes())
    raw["photos"][0]["tags"] = [{"car": "blue-bolt", "score": 1.0, "source": "human"}]
    elsewhere.write_text(json.dumps(raw))
    before = elsewhere.read_bytes()
    other = Gallery(tmp_path / "other", gallery.catalog)
    other.paint("x.jpg", "yellow", size=(200, 100))
    with pytest.raises(IndexFileError, match="another gallery"):
        other.tag(index=elsewhere)
    assert elsewhere.read_bytes() == before
    (gallery.path / "x.jpg").rename(gallery.path / "renamed.jpg")  # the same gallery, whatever its photos are called
    gallery.tag(index=elsewhere)
    (record,) = json.loads(elsewhere.read_bytes())["photos"]
    assert (record["path"], human_tags(record)[0]["car"]) == ("renamed.jpg", "blue-bolt")


# --- a gallery that is not there ----------------------------------------------------------------------------------


def test_an_index_elsewhere_is_not_emptied_for_a_disk_that_is_not_mounted(
    gallery: Gallery, said: dict[str, Any], tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere" / "index.json"
    gallery.tag(index=elsewhere)
    before = elsewhere.read_bytes()
    gallery.index_file.unlink()
    for name in ("a.jpg", "b.jpg"):
        (gallery.path / name).rename(tmp_path / name)
    with pytest.raises(IndexFileError, match=r"index\.json: knows 2 photos, and .*gallery holds none: mount.*--gone"):
        gallery.tag(index=elsewhere)
    assert elsewhere.read_bytes() == before
    report = cartag.tag(gallery.path, catalog=gallery.catalog, model="fake", index=elsewhere, gone=True)
    assert (len(report.index), report.gone) == (0, 2)
    gallery.tag(index=elsewhere)  # it knows none any more


def test_an_index_in_the_gallery_is_there_with_its_disk(gallery: Gallery, said: dict[str, Any]) -> None:
    for name in ("a.jpg", "b.jpg"):
        (gallery.path / name).unlink()
    gallery.tag()
    assert gallery.record("a.jpg")["missing"] is True


def test_records_below_a_folder_that_cannot_be_listed_stay_as_they_are(
    gallery: Gallery, said: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.paint("día/a.jpg", "blue", mark=5)
    gallery.paint("día-2/a.jpg", "blue", mark=6)
    gallery.tag()
    gallery.tag_by_hand("día/a.jpg", "red-racer")
    before = gallery.raw()["photos"]
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path).name == "día":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refusing)
        report = gallery.tag()
        assert (report.unreadable_folders, report.gone) == (("día",), 0)
        assert gallery.raw()["photos"] == before
        gallery.paint("copy.jpg", "blue", mark=5)
        gallery.tag(retag=True)
        assert human_tags(gallery.record("copy.jpg")) == [], "it may still lie where it lay"
    gallery.tag()
    assert [photo for photo in gallery.raw()["photos"] if photo["path"] != "copy.jpg"] == before


# --- cars that leave the catalog ------------------------------------------------------------------------------------

ROSSI = "cars: [Red Racer]\nother_cars: []\n"


def test_a_car_that_leaves_the_catalog_keeps_its_name_for_the_tags_people_gave(
    gallery: Gallery, said: dict[str, Any]
) -> None:
    assert "former" not in gallery.raw()["catalog"]
    gallery.catalog.write_text(ROSSI, encoding="utf-8")
    for _ in range(2):
        gallery.tag(retag=True)
        assert gallery.raw()["catalog"]["former"] == [
            {"id": "blue-bolt", "name": "Blue Bolt", "make": "Volt", "aliases": []}
        ]
    assert gallery.find("Blue Bolt") == gallery.find("volt") == gallery.find("bolt") == ["a.jpg"]
    assert gallery.find("Red Racer", exclude="volt") == []
    (count,) = [count for count in cartag.show(gallery.path).cars if count.car == "blue-bolt"]
    assert (count.name, count.by_hand) == ("Blue Bolt", 1)
    assert "Blue Bolt" in {row["name"] for row in cartag.load(gallery.path).rows()}
    assert b"Blue Bolt,Volt" in (cartag.export(gallery.path, "csv").document or b"")
    gallery.edit_photo("a.jpg", tags=[])
    gallery.tag(retag=True)
    assert "former" not in gallery.raw()["catalog"]


def test_a_former_car_that_comes_back_is_former_no_more(gallery: Gallery, said: dict[str, Any]) -> None:
    whole = gallery.catalog.read_text(encoding="utf-8")
    gallery.catalog.write_text(ROSSI, encoding="utf-8")
    gallery.tag()
    (gallery.path / "a.jpg").unlink()
    gallery.tag()
    assert [car["id"] for car in gallery.raw()["catalog"]["former"]] == ["blue-bolt"], "also while its photo is gone"
    gallery.catalog.write_text(whole, encoding="utf-8")
    gallery.tag()
    assert "former" not in gallery.raw()["catalog"]


def test_a_car_that_comes_back_under_another_id_is_found_by_its_name_as_both(
    gallery: Gallery, said: dict[str, Any]
) -> None:
    gallery.paint("c.jpg", "blue", mark=3)
    gallery.catalog.write_text("cars: [{name: Blue Bolt, id: bb}]\nother_cars: []\n", encoding="utf-8")
    gallery.tag()
    assert gallery.find("Blue Bolt") == ["a.jpg", "c.jpg"]
    truth = read_truth(gallery.index_file, cartag.load(gallery.path))
    assert {label.file: label.cars for label, _ in truth.pairs} == {"a.jpg": {"bb"}}, "and counts as the one that it is"


def test_what_another_index_says_is_of_its_photos_not_of_their_names(
    gallery: Gallery, said: dict[str, Any], tmp_path: Path
) -> None:
    backup = shutil.copy(gallery.index_file, tmp_path / "backup.json")
    (gallery.path / "a.jpg").rename(gallery.path / "z.jpg")
    (gallery.path / "b.jpg").rename(gallery.path / "a.jpg")
    gallery.tag()
    for labels in (backup, gallery.index_file):
        truth = read_truth(Path(labels), cartag.load(gallery.path))
        assert {label.file: label.cars for label, _ in truth.pairs} == {"z.jpg": {"blue-bolt"}}
    gallery.paint("z.jpg", "blue", size=(30, 20))  # made smaller, for instance, since
    gallery.tag()
    truth = read_truth(gallery.index_file, cartag.load(gallery.path))
    assert [label.file for label, _ in truth.pairs] == ["z.jpg"]
