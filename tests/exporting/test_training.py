"""Boxes in tables, COCO's JSON, and pictures of single cars to train a classifier with."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Gallery, snapshot
from hypothesis import given, settings, strategies as st
from PIL import Image
from test_export_regions import LEFT, RIGHT, SMALL, regions_of

import cartag
from cartag.errors import ForeignFileError, UsageError
from cartag.exporting.coco import _id

OTHER = {"box": [0, 0, 0.1, 0.1], "found": 0.7, "outcome": "unknown", "other": {"name": "Trabant 601", "score": 0.6}}
DELETED = {"box": [0.4, 0, 0.1, 0.1], "outcome": "no-car", "source": "human"}


@pytest.fixture
def placed(gallery: Gallery) -> Gallery:
    """A photo of two Racers, a Bolt that a person named, another car and a box that she deleted; one of before regions;
    one in which none was found; one that cannot be read."""
    gallery.paint("sub/many.jpg", "red", size=(400, 200))
    gallery.paint("older.jpg", "yellow", mark=1)
    gallery.paint("none.jpg", "green", mark=2)
    (gallery.path / "bad.jpg").write_bytes(b"no picture")
    gallery.tag()
    regions = [*regions_of((LEFT, "red-racer", "model"), (RIGHT, "red-racer", "model"), (SMALL, "blue-bolt", "human")), OTHER, DELETED]  # fmt: skip
    tags = [{"car": "blue-bolt", "score": 1.0, "source": "human", "box": SMALL}, {"car": "red-racer", "score": 0.9, "source": "model", "box": LEFT}]  # fmt: skip
    gallery.edit_photo("sub/many.jpg", regions=regions, tags=tags, outcome="tagged")
    gallery.edit_photo("older.jpg", tags=[{"car": "yellow-yeti", "score": 1.0, "source": "human", "box": RIGHT}])
    gallery.edit_photo("none.jpg", regions=[])
    return gallery


def document(gallery: Gallery, as_: str) -> bytes:
    found = cartag.export(gallery.path, as_).document
    assert found is not None
    return found


# --- tables -----------------------------------------------------------------------------------------------------


def test_csv_has_all_boxes_of_a_photo_in_a_cell(placed: Gallery) -> None:
    rows = list(csv.DictReader(io.StringIO(document(placed, "csv").decode(), newline="")))
    many = [row for row in rows if row["path"] == "sub/many.jpg"]
    assert len(many) == 2, "a row a tag, as ever"
    cell = "0.1 0.2 0.3 0.4 red-racer; 0.5 0.25 0.25 0.5 red-racer; 0.8 0.8 0.1 0.1 blue-bolt; 0.0 0.0 0.1 0.1 unknown"
    assert {row["regions"] for row in many} == {cell}
    assert {row["regions"] for row in rows if row["path"] in ("none.jpg", "bad.jpg")} == {""}


def test_json_lines_have_the_regions_as_the_index_has_them(placed: Gallery) -> None:
    rows = {row["path"]: row for row in map(json.loads, document(placed, "jsonl").splitlines())}
    found = rows["sub/many.jpg"]["regions"]
    assert [(r["box"], r["outcome"]) for r in found] == [(r["box"], r["outcome"]) for r in placed.record("sub/many.jpg")["regions"]]  # fmt: skip
    assert found[3]["other"]["name"] == "Trabant 601"
    assert rows["none.jpg"]["regions"] == []
    assert "regions" not in rows["older.jpg"]


def test_training_metadata_has_every_box(placed: Gallery) -> None:
    rows = {row["file_name"]: row for row in map(json.loads, document(placed, "imagefolder").splitlines())}
    assert rows["sub/many.jpg"]["objects"] == {
        "bbox": [[40, 40, 120, 80], [200, 50, 100, 100], [320, 160, 40, 20]],
        "categories": ["red-racer", "red-racer", "blue-bolt"],
    }


# --- COCO -------------------------------------------------------------------------------------------------------


def coco(gallery: Gallery) -> dict[str, Any]:
    return json.loads(document(gallery, "coco"))


def test_coco_is_as_its_readers_expect_it(placed: Gallery) -> None:
    """What `pycocotools.coco.COCO` and `COCOeval` ask of a file: keys, types, unique ids, boxes that lie in the image."""
    found = coco(placed)
    assert set(found) >= {"info", "licenses", "images", "annotations", "categories"}
    for kind in ("images", "annotations", "categories"):
        ids = [entry["id"] for entry in found[kind]]
        assert len(set(ids)) == len(ids)
        assert all(isinstance(i, int) and 0 < i < 2**53 for i in ids), "a float has to hold them"
    images, categories = ({entry["id"]: entry for entry in found[kind]} for kind in ("images", "categories"))
    for annotation in found["annotations"]:
        image = images[annotation["image_id"]]
        x, y, w, h = annotation["bbox"]
        assert 0 <= x < x + w <= image["width"]
        assert 0 <= y < y + h <= image["height"]
        assert annotation["area"] == pytest.approx(w * h, abs=0.1)
        assert annotation["iscrowd"] == 0
        assert annotation["category_id"] in categories
    assert {image["file_name"] for image in found["images"]} == {"sub/many.jpg", "older.jpg", "none.jpg"}


def test_coco_says_what_stands_where_and_by_whom(placed: Gallery) -> None:
    found = coco(placed)
    names = {entry["id"]: entry["name"] for entry in found["categories"]}
    assert names[1] == "car"
    files = {image["id"]: image["file_name"] for image in found["images"]}
    said = [
        (files[a["image_id"]], names[a["category_id"]], a["bbox"], a["source"], a.get("score"), a.get("other"))
        for a in found["annotations"]
    ]
    assert sorted(said) == [
        ("older.jpg", "Yellow Yeti", [32, 12, 16, 24], "human", None, None),
        ("sub/many.jpg", "Blue Bolt", [320, 160, 40, 20], "human", None, None),
        ("sub/many.jpg", "Red Racer", [40, 40, 120, 80], "model", 0.9, None),
        ("sub/many.jpg", "Red Racer", [200, 50, 100, 100], "model", 0.9, None),
        ("sub/many.jpg", "car", [0, 0, 40, 20], "model", 0.7, "Trabant 601"),
    ]


def test_ids_stay_when_other_photos_and_boxes_come_and_go(placed: Gallery) -> None:
    before = coco(placed)
    placed.paint("a new one.jpg", "red", mark=7)
    placed.tag()
    placed.edit_photo("older.jpg", tags=[], outcome="unknown")
    after = coco(placed)
    now = {image["file_name"]: image["id"] for image in after["images"]}
    assert all(now[image["file_name"]] == image["id"] for image in before["images"])
    gone = {a["id"] for a in before["annotations"]} - {a["id"] for a in after["annotations"]}
    assert len(gone) == 1


@given(st.lists(st.text(max_size=5), max_size=20))
@settings(deadline=None)
def test_equal_texts_too_get_ids_of_their_own(texts: list[str]) -> None:
    taken: set[int] = set()
    ids = [_id(taken, text) for text in texts]
    assert len(set(ids)) == len(ids)
    assert 0 not in ids


# --- pictures of single cars ------------------------------------------------------------------------------------


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["file_name"]: row for row in map(json.loads, (folder / "metadata.jsonl").read_text().splitlines())}


def test_a_picture_a_box_in_a_folder_of_its_label(placed: Gallery, tmp_path: Path) -> None:
    before = snapshot(placed.path)
    out = tmp_path / "set"
    dry = cartag.export(placed.path, "imagefolder", to=out, crops=True, dry_run=True)
    assert not out.exists()
    report = cartag.export(placed.path, "imagefolder", to=out, crops=True)
    assert report.counts["created"] == dry.counts["created"] == 6
    assert snapshot(placed.path) == before
    found = rows(out)
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.jpg")} == set(found)
    labels = [(row["label"], row["source"], row["photo"], name.split("/")[0]) for name, row in found.items()]
    assert sorted(labels) == [
        ("blue-bolt", "human", "sub/many.jpg", "blue-bolt"),
        ("red-racer", "model", "sub/many.jpg", "red-racer"),
        ("red-racer", "model", "sub/many.jpg", "red-racer"),
        ("unknown", "model", "sub/many.jpg", "unknown"),
        ("yellow-yeti", "human", "older.jpg", "yellow-yeti"),
    ]
    assert len({tuple(row) for row in found.values()}) == 1, "every line has the same fields"
    (name,) = [name for name, row in found.items() if row["box"] == RIGHT and row["label"] == "red-racer"]
    with Image.open(out / name) as image:
        assert image.size == (110, 110), "100 x 100, and a twentieth around"
    written = snapshot(out)
    again = cartag.export(placed.path, "imagefolder", to=out, crops=True)
    assert again.counts["unchanged"] == len(again.files) == 6
    assert snapshot(out) == written


def test_what_is_wanted_no_more_goes_and_what_a_person_changed_stays(placed: Gallery, tmp_path: Path) -> None:
    out = tmp_path / "set"
    cartag.export(placed.path, "imagefolder", to=out, crops=True)
    (bolt,) = (out / "blue-bolt").iterdir()
    (other,) = (out / "unknown").iterdir()
    (out / "red-racer" / "mine.jpg").write_bytes(b"hers")
    other.write_bytes(b"hers")
    tags = [{"car": "red-racer", "score": 0.9, "source": "model", "box": LEFT}]
    placed.edit_photo("sub/many.jpg", regions=regions_of((LEFT, "red-racer", "model")), tags=tags)
    report = cartag.export(placed.path, "imagefolder", to=out, crops=True)
    assert report.counts["removed"] == 2
    assert not bolt.exists()
    assert other.read_bytes() == (out / "red-racer" / "mine.jpg").read_bytes() == b"hers"
    assert sorted(row["label"] for row in rows(out).values()) == ["red-racer", "yellow-yeti"]


def test_a_photo_that_is_gone_costs_its_own_pictures(placed: Gallery, tmp_path: Path) -> None:
    (placed.path / "older.jpg").unlink()
    report = cartag.export(placed.path, "imagefolder", to=tmp_path / "set", crops=True)
    (remark,) = report.remarks
    assert remark.is_failure
    assert "older.jpg" in remark.message
    assert "yellow-yeti" not in {row["label"] for row in rows(tmp_path / "set").values()}


def test_no_label_gets_the_car_of_another_photo(placed: Gallery, tmp_path: Path) -> None:
    placed.paint("older.jpg", "blue", mark=5)  # and no `tag` yet
    report = cartag.export(placed.path, "imagefolder", to=tmp_path / "set", crops=True)
    (remark,) = report.remarks
    assert remark.is_failure
    assert f"older.jpg (changed since it was tagged; run 'cartag tag {placed.path}'" in remark.message
    assert not list((tmp_path / "set").glob("yellow-yeti/*"))
    assert "yellow-yeti" not in {row["label"] for row in rows(tmp_path / "set").values()}


def test_folders_that_are_no_place_for_pictures(placed: Gallery, tmp_path: Path) -> None:
    for to, words in ((None, "--to DIR"), (placed.path, "is a gallery"), (placed.path / "set", "lies in a gallery")):
        with pytest.raises(UsageError, match=words):
            cartag.export(placed.path, "imagefolder", to=to, crops=True)
    with pytest.raises(UsageError, match="--crops: is for --as imagefolder"):
        cartag.export(placed.path, "csv", crops=True)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "metadata.jsonl").write_text("hers")
    with pytest.raises(ForeignFileError, match=r"metadata\.jsonl"):
        cartag.export(placed.path, "imagefolder", to=mine, crops=True)
    assert [path.name for path in mine.iterdir()] == ["metadata.jsonl"], "nothing was written"


@pytest.mark.parametrize("car", ["../../out", ".hidden", "a/b", "..", "\u00e9 \n"])
def test_whatever_a_car_is_called_its_pictures_lie_in_the_folder(placed: Gallery, tmp_path: Path, car: str) -> None:
    placed.edit_photo("older.jpg", tags=[{"car": car, "score": 1.0, "source": "human", "box": RIGHT}])
    out = tmp_path / "set"
    cartag.export(placed.path, "imagefolder", to=out, crops=True)
    (name,) = [name for name, row in rows(out).items() if row["label"] == car]
    assert (out / name).resolve().is_relative_to(out)
    assert name.count("/") == 1
    assert not name.startswith(".")
