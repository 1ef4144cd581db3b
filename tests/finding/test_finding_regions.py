"""Finding photos by the cars that stand in them: boxes of hits, and likeness of regions."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Gallery, picture
from PIL import Image
from typer.testing import CliRunner

import cartag
from cartag.cli import app
from cartag.encoder.fake import COLOURS, FakeEncoder
from cartag.errors import IndexFileError, UsageError
from cartag.finding import Match
from cartag.state import Store, place_of

LARGE, SMALL, THIRD = [0.1, 0.35, 0.6, 0.55], [0.75, 0.41, 0.2, 0.18], [0.0, 0.0, 0.1, 0.1]
CAR_OF = {"red": "red-racer", "blue": "blue-bolt", "yellow": "yellow-yeti"}


def region(box: Sequence[float], colour: str, score: float = 0.9, **fields: Any) -> dict[str, Any]:
    """A region as a run writes it."""
    if colour not in CAR_OF:
        return {
            "box": box,
            "found": 0.8,
            "outcome": "unknown",
            "other": {"name": "Orange Other", "score": 0.7},
        } | fields
    tags = [{"car": CAR_OF[colour], "score": score, "source": "model"}]
    return {"box": box, "found": 0.8, "outcome": "tagged", "tags": tags} | fields


def colours(names: Sequence[str]) -> np.ndarray:
    return FakeEncoder().embed_images([np.asarray(picture(name)) for name in names])


def stand(
    gallery: Gallery, name: str, *regions: tuple[Sequence[float], str], cached: bool = True, **fields: Any
) -> None:
    """Writes regions of a photo as a run does: into the index, and their embeddings into the cache."""
    tags = {
        CAR_OF[colour]: {"car": CAR_OF[colour], "score": 0.9 - 0.1 * i, "source": "model", "box": box}
        for i, (box, colour) in enumerate(regions)
        if colour in CAR_OF
    }
    gallery.edit_photo(
        name,
        outcome="tagged" if tags else "unknown",
        tags=list(tags.values()),
        candidates=[],
        regions=[region(box, colour, 0.9 - 0.1 * i) for i, (box, colour) in enumerate(regions)],
        **fields,
    )
    if cached and regions:
        sha256 = gallery.record(name)["sha256"]
        with Store(place_of(gallery.path).state, FakeEncoder.identity) as store:
            keys = [(sha256, (box[0], box[1], box[2], box[3])) for box, _ in regions]
            store.put_regions(dict(zip(keys, colours([colour for _, colour in regions]), strict=True)))


@pytest.fixture
def parade(gallery: Gallery) -> Gallery:
    """Each photo as a whole is green, a street; the cars in it are its regions."""
    for mark, name in enumerate(["both", "red", "blue", "street", "old"]):
        gallery.paint(f"{name}.jpg", "green", mark=mark)
    gallery.paint("plain.jpg", "blue", mark=9)
    gallery.tag()
    stand(gallery, "both.jpg", (LARGE, "red"), (SMALL, "blue"))
    stand(gallery, "red.jpg", (LARGE, "red"))
    stand(gallery, "blue.jpg", (LARGE, "orange"), (SMALL, "blue"))
    stand(gallery, "street.jpg")
    return gallery


def scored(gallery: Gallery, *cars: str, **options: Any) -> list[tuple[str, float, list[float] | None]]:
    return [(h.path, h.score, h.box and list(h.box)) for h in cartag.find(gallery.path, cars, **options)]


# --- by car -----------------------------------------------------------------------------------------------------


def test_a_hit_says_where_the_car_stands(parade: Gallery) -> None:
    assert scored(parade, "red racer") == [("both.jpg", 0.9, LARGE), ("red.jpg", 0.9, LARGE)]
    assert ("blue.jpg", 0.8, SMALL) in scored(parade, "blue bolt")
    (plain,) = [hit for hit in scored(parade, "blue bolt") if hit[0] == "plain.jpg"]
    assert plain[2] is None, "told of the photo as a whole"


def test_all_wanted_cars_in_one_photo_count_as_much_as_the_weakest(parade: Gallery) -> None:
    assert scored(parade, "red racer", "blue bolt", every=True) == [("both.jpg", 0.8, SMALL)]
    assert scored(parade, "rossi", "volt", every=True) == [("both.jpg", 0.8, SMALL)], "of a make any car"
    assert scored(parade, "red racer", "blue bolt", every=True, exclude=["yeti"]) == [("both.jpg", 0.8, SMALL)]
    stand(parade, "red.jpg", (LARGE, "red"), (SMALL, "blue"), (THIRD, "yellow"))
    assert [path for path, _, _ in scored(parade, "rossi", "volt", every=True, exclude=["yeti"])] == ["both.jpg"]
    (hit,) = cartag.find(parade.path, ["rossi", "volt", "yeti"], every=True)
    assert (hit.path, hit.box) == ("red.jpg", tuple(THIRD))
    assert hit.matches == (
        Match("red-racer", 0.9, (0.1, 0.35, 0.6, 0.55)),
        Match("blue-bolt", 0.8, (0.75, 0.41, 0.2, 0.18)),
        Match("yellow-yeti", 0.7, (0.0, 0.0, 0.1, 0.1)),
    )


def test_a_candidate_stands_where_its_region_does(parade: Gallery) -> None:
    candidate = {"car": "yellow-yeti", "score": 0.4}
    unsure = region(SMALL, "orange", candidates=[candidate])
    parade.edit_photo("red.jpg", regions=[region(LARGE, "red"), unsure], candidates=[candidate])
    assert scored(parade, "yeti") == []
    assert scored(parade, "yeti", min_score=0.3) == [("red.jpg", 0.4, SMALL)]


def test_regions_are_said_where_they_are_asked_for_without_those_a_person_deleted(parade: Gallery) -> None:
    assert all(hit.regions is None for hit in cartag.find(parade.path, ["red racer"]))
    deleted = {"box": THIRD, "outcome": "no-car", "source": "human"}
    parade.edit_photo("both.jpg", regions=[region(SMALL, "blue"), deleted, region(LARGE, "red")])
    (hit,) = cartag.find(parade.path, ["red racer", "blue bolt"], every=True, regions=True)
    assert [list(r.box) for r in hit.regions or ()] == [LARGE, SMALL], "largest first, as --like numbers them"
    (plain,) = [hit for hit in cartag.find(parade.path, ["blue bolt"], regions=True) if hit.path == "plain.jpg"]
    assert plain.regions is None


# --- by example -------------------------------------------------------------------------------------------------


def test_an_example_finds_the_same_car_as_a_small_one_behind_another(
    parade: Gallery, forbid_encoder: Callable[[], None]
) -> None:
    forbid_encoder()
    found = scored(parade, like=parade.path / "plain.jpg", min_score=0.99)
    assert found == [("blue.jpg", 1.0, SMALL), ("both.jpg", 1.0, SMALL), ("plain.jpg", 1.0, None)]


def test_an_example_is_its_largest_region_and_a_number_names_another(
    parade: Gallery, forbid_encoder: Callable[[], None]
) -> None:
    forbid_encoder()
    both = parade.path / "both.jpg"
    assert scored(parade, like=both, min_score=0.99) == [("both.jpg", 1.0, LARGE), ("red.jpg", 1.0, LARGE)]
    assert scored(parade, like=f"{both}#1", min_score=0.99) == scored(parade, like=both, min_score=0.99)
    second = scored(parade, like=f"{both}#2", min_score=0.99)
    assert second == [("blue.jpg", 1.0, SMALL), ("both.jpg", 1.0, SMALL), ("plain.jpg", 1.0, None)]
    assert scored(parade, "red racer", like=f"{both}#2", limit=1) == [("both.jpg", 1.0, SMALL)]


def test_a_photo_without_regions_is_like_as_a_whole(parade: Gallery) -> None:
    found = scored(parade, like=parade.path / "street.jpg", min_score=0.99)
    assert found == [("old.jpg", 1.0, None), ("street.jpg", 1.0, None)], "the others are their cars"


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ("both.jpg#3", "has 2 regions, numbered from 1"),
        ("both.jpg#0", "has 2 regions, numbered from 1"),
        ("red.jpg#2", "has 1 region, numbered from 1"),
        ("street.jpg#1", "has 0 regions"),
        ("plain.jpg#1", "has 0 regions"),
        ("../elsewhere.jpg#1", "have no regions"),
        ("nowhere.jpg#1", "cannot be read"),
    ],
)
def test_a_number_that_the_photo_has_not_is_named_in_one_line(parade: Gallery, like: str, message: str) -> None:
    picture("orange", size=(30, 30)).save(parade.path.parent / "elsewhere.jpg")
    with pytest.raises(UsageError, match=message) as e:
        cartag.find(parade.path, like=parade.path / like)
    assert "\n" not in str(e.value)


def test_a_file_whose_name_really_ends_in_a_number_goes_first(parade: Gallery) -> None:
    shutil.copy(parade.path / "plain.jpg", parade.path / "both.jpg#2")
    shutil.copy(parade.path / "red.jpg", parade.path / "both.jpg#1")
    found = scored(parade, like=parade.path / "both.jpg#1", min_score=0.99)
    assert found == [("both.jpg", 1.0, LARGE), ("red.jpg", 1.0, LARGE)]
    stand(parade, "red.jpg", (LARGE, "red"), (SMALL, "orange"))
    assert scored(parade, like=parade.path / "both.jpg#1#2", limit=1)[0][0] == "blue.jpg", "of that file the second"


def test_a_photo_from_elsewhere_is_compared_with_regions(parade: Gallery, tmp_path: Path) -> None:
    picture("orange", size=(30, 30)).save(tmp_path / "other.png")
    path, _, box = scored(parade, like=tmp_path / "other.png", limit=1)[0]
    assert (path, box) == ("blue.jpg", LARGE)


def test_where_regions_are_not_embedded_the_photo_as_a_whole_stands_for_them(parade: Gallery) -> None:
    stand(parade, "old.jpg", (THIRD, "blue"), cached=False)
    (found,) = [hit for hit in scored(parade, like=parade.path / "street.jpg") if hit[0] == "old.jpg"]
    assert found == ("old.jpg", 1.0, None)
    assert scored(parade, like=parade.path / "old.jpg", min_score=0.99), "cut out of the photo, which is at hand"
    shutil.rmtree(place_of(parade.path).state)
    with pytest.raises(IndexFileError, match="holds no embeddings of these photos"):
        cartag.find(parade.path, like=parade.path / "both.jpg#2")


def test_boxes_that_the_index_no_longer_has_play_no_part(parade: Gallery) -> None:
    parade.edit_photo("both.jpg", regions=[region(LARGE, "red")])
    assert "both.jpg" not in [path for path, *_ in scored(parade, like=parade.path / "plain.jpg", min_score=0.99)]
    deleted = {"box": SMALL, "outcome": "no-car", "source": "human"}
    parade.edit_photo("blue.jpg", regions=[region(LARGE, "orange"), deleted])
    assert "blue.jpg" not in [path for path, *_ in scored(parade, like=parade.path / "plain.jpg", min_score=0.99)]


def test_many_photos_are_read_part_by_part_and_ranked_alike(parade: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = scored(parade, like=parade.path / "both.jpg#2")
    for size in (1, 2, 5):
        monkeypatch.setattr("cartag.finding.likeness._READ_AT_ONCE", size)
        assert scored(parade, like=parade.path / "both.jpg#2") == at_once


# --- by words ---------------------------------------------------------------------------------------------------


def test_words_ask_the_best_region_and_the_photo_as_a_whole(parade: Gallery) -> None:
    boxes = {path: box for path, _, box in scored(parade, text="something blue")}
    assert (boxes["blue.jpg"], boxes["both.jpg"], boxes["plain.jpg"]) == (SMALL, SMALL, None)
    best = {path: box for path, score, box in scored(parade, text="green street") if score > 0.9}
    assert best == dict.fromkeys(["both.jpg", "red.jpg", "blue.jpg", "street.jpg", "old.jpg"])


# --- as it is printed -------------------------------------------------------------------------------------------


def out(parade: Gallery, *words: str) -> str:
    done = CliRunner().invoke(app, ["find", str(parade.path), *words], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_json_says_the_box_of_every_match_and_the_regions(parade: Gallery) -> None:
    (hit,) = json.loads(out(parade, "red racer", "blue bolt", "--all", "--format", "json"))
    assert hit["box"] == SMALL
    assert hit["matches"] == [
        {"car": "red-racer", "score": 0.9, "box": LARGE},
        {"car": "blue-bolt", "score": 0.8, "box": SMALL},
    ]
    assert hit["regions"] == [region(LARGE, "red"), region(SMALL, "blue", 0.8)]
    lines = [json.loads(line) for line in out(parade, "blue bolt", "--format", "jsonl").splitlines()]
    (plain,) = [line for line in lines if line["path"] == "plain.jpg"]
    assert plain.keys() == {"path", "file", "score", "cars", "matches"}
    assert plain["matches"][0].keys() == {"car", "score"}
    likest = json.loads(out(parade, "--like", f"{parade.path}/both.jpg#2", "--limit", "1", "--format", "json"))[0]
    assert (likest["path"], likest["box"]) == ("blue.jpg", SMALL)


def test_csv_and_table_say_the_box_where_there_is_one(parade: Gallery) -> None:
    rows = {row["path"]: row for row in csv.DictReader(out(parade, "blue bolt", "--format", "csv").splitlines())}
    assert [float(rows["both.jpg"][name]) for name in "xywh"] == SMALL
    assert [rows["plain.jpg"][name] for name in "xywh"] == [""] * 4
    table = out(parade, "blue bolt", "--format", "table").splitlines()
    assert table[0].split() == ["score", "photo", "cars", "box"]
    assert any(line.endswith("0.75 0.41 0.20 0.18") for line in table)
    stand(parade, "both.jpg")
    stand(parade, "blue.jpg")
    assert out(parade, "blue bolt", "--format", "table").splitlines()[0].split() == ["score", "photo", "cars"]


def test_a_photo_from_elsewhere_is_looked_at_as_the_gallery_was(gallery: Gallery, tmp_path: Path) -> None:
    def street(path: Path, *spots: tuple[str, tuple[int, int, int, int]]) -> Path:
        image = Image.new("RGB", (640, 400), (128, 128, 128))
        for colour, box in spots:
            image.paste(COLOURS[colour], box)
        image.save(path, quality=95)
        return path

    large, small = (40, 60, 300, 240), (420, 160, 560, 230)
    street(gallery.path / "red.jpg", ("red", large))
    street(gallery.path / "blue-behind.jpg", ("yellow", large), ("blue", small))
    gallery.tag(detector="fake")
    other = street(tmp_path / "elsewhere.jpg", ("blue", large), ("red", small))
    hits = cartag.find(gallery.path, like=other)
    (blue,) = [t for t in gallery.record("blue-behind.jpg")["tags"] if t["car"] == "blue-bolt"]
    assert (hits[0].path, hits[0].box) == ("blue-behind.jpg", tuple(blue["box"]))
    assert cartag.find(gallery.path, like=f"{other}#2")[0].path == "red.jpg"
    with pytest.raises(UsageError, match="has 2 regions"):
        cartag.find(gallery.path, like=f"{other}#3")
