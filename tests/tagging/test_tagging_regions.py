"""Every car of a photo by itself: what is looked at, cached, scored, and what a person said of a box stays."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import OUTCOME_OF, Gallery, check_index, counts, later
from hypothesis import given, settings, strategies as st
from msgspec import UNSET
from PIL import Image

import cartag
from cartag.detector.fake import FakeDetector
from cartag.encoder.fake import COLOURS, FakeEncoder
from cartag.errors import ModelError, UsageError
from cartag.learning import load_learned
from cartag.photos import PICTURE, reading
from cartag.reviewing import Decision, Session
from cartag.scoring import Verdict
from cartag.settings import Settings
from cartag.state import matched, overlap
from cartag.state.place import place_of
from cartag.state.store import Store
from cartag.tagging.merging import record_of
from cartag.values import Candidate, PhotoFile, PhotoRecord, Region, Tag, human_regions, shown_regions

ROAD = (128, 128, 128)
Spot = tuple[str, tuple[int, int, int, int]]
TWO: tuple[Spot, ...] = (("red", (40, 60, 300, 240)), ("blue", (420, 160, 560, 230)))


def street(gallery: Gallery, name: str, *spots: Spot, size: tuple[int, int] = (640, 400)) -> Path:
    """A photo of a grey road with cars of one colour each: (left, top, right, bottom) in pixels."""
    image = Image.new("RGB", size, ROAD)
    for colour, box in spots:
        image.paste(COLOURS[colour], box)
    path = gallery.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=95)
    return path


def tag(gallery: Gallery, **options: Any) -> cartag.TagReport:
    return gallery.tag(**{"detector": "fake"} | options)


def near(box: list[float], pixels: tuple[int, int, int, int], size: tuple[int, int] = (640, 400)) -> bool:
    left, top, right, bottom = pixels
    w, h = size
    return overlap(box, (left / w, top / h, (right - left) / w, (bottom - top) / h)) > 0.85


# --- what a photo shows -------------------------------------------------------------------------------------------


def test_two_cars_side_by_side_are_both_tagged_each_in_its_box(gallery: Gallery) -> None:
    street(gallery, "both.jpg", *TWO)
    tag(gallery)
    record = gallery.record("both.jpg")
    assert record["outcome"] == "tagged"
    assert {t["car"] for t in record["tags"]} == {"red-racer", "blue-bolt"}
    boxes = {t["car"]: t["box"] for t in record["tags"]}
    assert near(boxes["red-racer"], TWO[0][1])
    assert near(boxes["blue-bolt"], TWO[1][1])
    assert [r["outcome"] for r in record["regions"]] == ["tagged", "tagged"]
    assert [r["tags"][0]["car"] for r in record["regions"]] == ["red-racer", "blue-bolt"]  # the larger first
    assert all(0 < r["found"] <= 1 for r in record["regions"])
    check_index(gallery.index_file)


def test_a_photo_in_which_no_car_is_found_is_looked_at_as_a_whole(gallery: Gallery) -> None:
    for colour in ("black", "white"):  # what the fake detector takes for road
        gallery.paint(f"{colour}.jpg", colour, size=(320, 200))
    tag(gallery)
    for colour in ("black", "white"):
        record = gallery.record(f"{colour}.jpg")
        assert (record["outcome"], record["regions"]) == (OUTCOME_OF[colour], [])
        assert all("box" not in t for t in record["tags"])


@pytest.mark.parametrize(
    ("colours", "outcome"),
    [
        (("red", "orange"), "tagged"),
        (("orange", "green"), "unknown"),
        (("green",), "no-car"),
        (("orange",), "unknown"),
    ],
)
def test_the_photo_follows_from_its_regions(gallery: Gallery, colours: tuple[str, ...], outcome: str) -> None:
    spots = [(colour, (20 + 300 * i, 80, 260 + 300 * i, 300)) for i, colour in enumerate(colours)]
    street(gallery, "a.jpg", *spots)
    tag(gallery)
    record = gallery.record("a.jpg")
    assert record["outcome"] == outcome
    cars = [c for c in colours if OUTCOME_OF[c] != "no-car"]
    assert len(record["regions"]) == len(cars)  # what is no car, as the model says, is no region
    assert len(record["tags"]) + len(record["candidates"]) >= 3  # all three of the catalog


@pytest.mark.parametrize(("mode", "count"), [("all", 2), ("main", 1), ("off", None)])
def test_what_is_looked_at_can_be_chosen(gallery: Gallery, mode: str, count: int | None) -> None:
    street(gallery, "both.jpg", *TWO)
    index = tag(gallery, regions=mode).index
    regions = gallery.record("both.jpg").get("regions")
    assert (None if regions is None else len(regions)) == count
    if mode == "off":
        assert index.header.detector is UNSET
    else:
        assert index.header.detector is not UNSET
        assert (index.header.detector.name, index.header.detector.regions) == ("fake", mode)


def test_small_cars_and_too_many_are_left_out_the_largest_come_first(gallery: Gallery) -> None:
    spots = [("red", (10 + 62 * i, 100, 30 + 62 * i + 2 * i, 140)) for i in range(10)]
    street(gallery, "many.jpg", *spots)
    tag(gallery, most_regions=4, least_region=0.0)
    regions = gallery.record("many.jpg")["regions"]
    assert len(regions) == 4
    areas = [r["box"][2] * r["box"][3] for r in regions]
    assert areas == sorted(areas, reverse=True)
    tag(gallery, least_region=0.055)
    assert all(r["box"][2] >= 0.055 for r in gallery.record("many.jpg")["regions"])


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (4000, 100), (20000, 500)])
def test_photos_of_any_shape_are_looked_at(gallery: Gallery, size: tuple[int, int]) -> None:
    street(gallery, "a.png", ("red", (0, 0, max(1, size[0] // 4), size[1])), size=size)
    tag(gallery, least_region=0.0)
    check_index(gallery.index_file)
    assert gallery.record("a.png")["outcome"] != "error"


# --- the cache ------------------------------------------------------------------------------------------------------


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Pictures that went through detector and encoder since the dictionary was cleared."""
    seen: dict[str, int] = {"looked": 0, "embedded": 0}
    look, embed = FakeDetector.boxes, FakeEncoder.embed_images

    def boxes(self: FakeDetector, photos: Any) -> Any:
        seen["looked"] += len(photos)
        return look(self, photos)

    def embed_images(self: FakeEncoder, pixels: Any) -> Any:
        seen["embedded"] += len(pixels)
        return embed(self, pixels)

    monkeypatch.setattr(FakeDetector, "boxes", boxes)
    monkeypatch.setattr(FakeEncoder, "embed_images", embed_images)
    return seen


def test_every_region_is_one_pass_and_nothing_is_computed_twice(gallery: Gallery, spied: dict[str, int]) -> None:
    street(gallery, "both.jpg", *TWO)
    street(gallery, "one.jpg", TWO[0])
    gallery.paint("none.jpg", "black")
    tag(gallery)
    assert spied == {"looked": 3, "embedded": 4}
    assert counts(tag(gallery)) == (3, 0, 0, 0)
    gallery.catalog.write_text(gallery.catalog.read_text().replace("Red Racer", "Red Roadster"), encoding="utf-8")
    assert counts(tag(gallery)) == (0, 3, 0, 0)
    assert spied == {"looked": 3, "embedded": 4}
    street(gallery, "new.jpg", TWO[1])
    tag(gallery)
    assert spied == {"looked": 4, "embedded": 5}
    tag(gallery, retag=True)
    assert spied == {"looked": 8, "embedded": 10}


def test_other_choices_of_regions_use_what_is_cached(gallery: Gallery, spied: dict[str, int]) -> None:
    street(gallery, "both.jpg", *TWO)
    tag(gallery)
    assert counts(tag(gallery, regions="main")) == (0, 1, 0, 0)
    assert counts(tag(gallery)) == (0, 1, 0, 0)
    assert spied == {"looked": 1, "embedded": 2}
    tag(gallery, regions="off")
    assert spied == {"looked": 1, "embedded": 3}
    assert counts(tag(gallery)) == (0, 1, 0, 0)


def test_a_car_in_a_panorama_is_narrow_by_the_tile_and_not_by_the_whole(gallery: Gallery) -> None:
    spots: list[Spot] = [("red", (400, 60, 540, 200)), ("blue", (3000, 100, 3010, 140))]
    street(gallery, "long.png", *spots, size=(4000, 250))
    tag(gallery)
    record = gallery.record("long.png")
    assert [t["car"] for t in record["tags"]] == ["red-racer"], "0.035 of the whole, and 0.16 of a tile"
    outside = street(gallery, "outside.png", *spots, size=(4000, 251)).rename(gallery.path.parent / "outside.png")
    assert cartag.find(gallery.path, [], like=f"{outside}#1")[0].score > 0.99, "of a photo elsewhere just so"
    with pytest.raises(UsageError, match="has 1 region,"):
        cartag.find(gallery.path, [], like=f"{outside}#2")


@pytest.mark.parametrize("index_is_there", [True, False])
def test_a_panorama_that_an_older_version_looked_at_is_looked_at_again_in_tiles(
    gallery: Gallery, spied: dict[str, int], index_is_there: bool
) -> None:
    spots: list[Spot] = [
        ("red", (40, 100, 200, 220)),
        ("blue", (850, 120, 1100, 260)),
        ("yellow", (1700, 90, 1900, 250)),
    ]
    street(gallery, "long.jpg", *spots, size=(2000, 400))
    street(gallery, "both.jpg", *TWO)
    tag(gallery)
    assert spied["looked"] == 1 + 1 + 4, "the whole and four tiles, and a photo of the usual shape once"
    before = gallery.record("long.jpg")
    assert {t["car"] for t in before["tags"]} == {"red-racer", "blue-bolt", "yellow-yeti"}
    assert len(before["regions"]) == 3
    for spot, car in zip(spots, ("red-racer", "blue-bolt", "yellow-yeti"), strict=True):
        at = next(t["box"] for t in before["tags"] if t["car"] == car)
        assert near(at, spot[1], (2000, 400))
    assert counts(tag(gallery)) == (2, 0, 0, 0)
    with Store(gallery.path / ".cartag", FakeEncoder.identity) as store, store._db:
        sha256 = bytes.fromhex(before["sha256"])
        squashed = np.array([[0.4, 0.2, 0.2, 0.6, 0.9]], np.float32).tobytes()
        store._db.execute(
            "UPDATE seen SET detector = ?, boxes = ? WHERE sha256 = ?", (FakeDetector.identity, squashed, sha256)
        )
        vector = store.regions_of([before["sha256"]])[before["sha256"]][0][1]
        store.put_regions({(before["sha256"], (0.4, 0.2, 0.2, 0.6)): vector})
    if index_is_there:
        gallery.edit(lambda raw: raw.update(scoring=raw["scoring"].replace("-tiles", "")))
    else:
        gallery.index_file.unlink()
    spied.update(looked=0, embedded=0)
    report = tag(gallery)
    assert spied == {"looked": 5, "embedded": 0}
    assert gallery.record("long.jpg") == before
    assert sorted(report.outcomes.values()) == [0, 0, 0, 2]


def test_a_damaged_row_is_computed_again(gallery: Gallery, spied: dict[str, int]) -> None:
    street(gallery, "both.jpg", *TWO)
    before = tag(gallery).index.photos
    with Store(gallery.path / ".cartag", FakeEncoder.identity) as store, store._db:
        store._db.execute("UPDATE region SET vector = x'00'")
        store._db.execute("UPDATE seen SET boxes = x'0001'")
    gallery.catalog.write_text(gallery.catalog.read_text() + "\n", encoding="utf-8")
    gallery.edit(lambda raw: raw.update(scoring="another"))
    tag(gallery)
    assert spied == {"looked": 2, "embedded": 4}
    assert cartag.load(gallery.path).photos == before


def test_a_detector_that_cannot_be_had_is_one_line_and_changes_nothing(gallery: Gallery, tmp_path: Path) -> None:
    street(gallery, "both.jpg", *TWO)
    tag(gallery)
    before = gallery.index_file.read_bytes()
    with pytest.raises(ModelError, match="no detector 'nothing'"):
        tag(gallery, detector="nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="not a complete checkpoint"):
        tag(gallery, detector=str(tmp_path / "empty"))
    assert gallery.index_file.read_bytes() == before


def test_an_index_of_wholes_is_read_and_looked_at_again(gallery: Gallery) -> None:
    street(gallery, "both.jpg", *TWO)
    gallery.tag()  # as an older version did
    assert "regions" not in gallery.record("both.jpg")
    gallery.tag_by_hand("both.jpg", "yellow-yeti")
    tag(gallery)
    record = gallery.record("both.jpg")
    assert {t["car"] for t in record["tags"]} == {"yellow-yeti", "red-racer", "blue-bolt"}
    assert len(record["regions"]) == 2


# --- a person's boxes -----------------------------------------------------------------------------------------------


def hers(box: list[float], outcome: str = "tagged", car: str | None = None) -> dict[str, Any]:
    tags = [{"car": car, "score": 1.0, "source": "human"}] if car else []
    return {"box": box, "outcome": outcome, "source": "human", "tags": tags}


def test_what_a_person_said_of_a_box_stays_whatever_a_run_finds(gallery: Gallery) -> None:
    street(gallery, "both.jpg", *TWO)
    tag(gallery)
    red, blue = gallery.record("both.jpg")["regions"]
    named = hers(red["box"], car="yellow-yeti")
    gone = hers(blue["box"], "no-car")
    drawn = hers([0.9, 0.9, 0.05, 0.05], "unknown")
    tags = [{**named["tags"][0], "box": red["box"]}]
    gallery.edit_photo("both.jpg", regions=[named, gone, drawn], tags=tags, outcome="tagged")
    for options in ({"retag": True}, {"regions": "main"}, {"regions": "off"}, {"detector": "fake"}):
        tag(gallery, **options)
        record = gallery.record("both.jpg")
        said = {(tuple(r["box"]), r["outcome"]) for r in record["regions"] if r.get("source") == "human"}
        assert said == {(tuple(r["box"]), r["outcome"]) for r in (named, gone, drawn)}
        assert [t for t in record["tags"] if t["source"] == "human"] == tags
    regions = gallery.record("both.jpg")["regions"]
    assert not [r for r in regions if r.get("source") != "human"]  # both cars are hers
    by_model = {tuple(r["box"]): (r["by_model"]["outcome"], "found" in r) for r in regions}
    assert by_model == {
        tuple(red["box"]): ("tagged", True),
        tuple(blue["box"]): ("tagged", True),
        tuple(drawn["box"]): ("no-car", False),  # there is nothing but road
    }


def test_a_box_that_she_drew_is_embedded_and_scored_by_the_next_run(gallery: Gallery, spied: dict[str, int]) -> None:
    street(gallery, "both.jpg", *TWO)
    street(gallery, "other.jpg", TWO[1])
    tag(gallery)
    door, wheel = [0.1, 0.2, 0.2, 0.2], [0.7, 0.45, 0.1, 0.1]
    regions = gallery.record("both.jpg")["regions"]
    said = [{"car": "yellow-yeti", "score": 1.0, "source": "human", "box": door}]
    drawn = [hers(door, car="yellow-yeti"), hers(wheel, "unknown")]
    gallery.edit_photo("both.jpg", regions=[*regions, *drawn], tags=[*said, *gallery.record("both.jpg")["tags"]])
    spied.update(looked=0, embedded=0)
    report = tag(gallery)
    assert counts(report) == (1, 0, 1, 0)
    assert spied == {"looked": 0, "embedded": 2}, "the two boxes, and nothing else"
    record = gallery.record("both.jpg")
    at = {tuple(r["box"]): r for r in record["regions"]}
    assert at[tuple(door)]["by_model"]["tags"][0]["car"] == "red-racer"
    assert at[tuple(wheel)]["by_model"]["tags"][0]["car"] == "blue-bolt"
    assert (at[tuple(door)]["tags"], at[tuple(wheel)]["outcome"]) == (drawn[0]["tags"], "unknown"), "as she said"
    assert {t["car"]: t["source"] for t in record["tags"]} == {
        "yellow-yeti": "human", "red-racer": "model", "blue-bolt": "model",
    }  # fmt: skip
    number = 1 + [tuple(r.box) for r in shown_regions(report.index.photos["both.jpg"])].index(tuple(wheel))
    hits = cartag.find(gallery.path, [], like=f"{gallery.path / 'both.jpg'}#{number}")
    assert spied["embedded"] == 2, "its vector is there"
    assert hits[0].score > 0.99
    assert counts(tag(gallery)) == (2, 0, 0, 0)
    gallery.catalog.write_text(gallery.catalog.read_text().replace("Red Racer", "Red Roadster"), encoding="utf-8")
    assert counts(tag(gallery)) == (0, 2, 0, 0), "another catalog scores them from the cache"
    after = {tuple(r["box"]): r for r in gallery.record("both.jpg")["regions"]}
    assert after[tuple(door)]["by_model"]["outcome"] in ("tagged", "unknown")
    check_index(gallery.index_file)


def test_of_one_box_a_photo_it_is_the_largest_that_she_did_not_delete(gallery: Gallery) -> None:
    photo = street(gallery, "both.jpg", *TWO)
    tag(gallery, regions="main")
    (red,) = gallery.record("both.jpg")["regions"]
    session = Session(gallery.path, place_of(gallery.path))
    session.decide([Decision(path="both.jpg", truth="none", box=tuple(red["box"]))])
    assert gallery.record("both.jpg")["confirmed"] is False, "it is the next one's turn"
    for change in ({}, {"retag": True}, {}):
        tag(gallery, regions="main", **change)
        record = gallery.record("both.jpg")
        assert (record["outcome"], [t["car"] for t in record["tags"]]) == ("tagged", ["blue-bolt"])
        assert [(r["outcome"], r.get("source", "model")) for r in record["regions"]] == [
            ("no-car", "human"),
            ("tagged", "model"),
        ]
    with Image.open(photo) as image:
        image.save(photo, quality=80)  # edited in place
    later(photo)
    tag(gallery, regions="main")
    assert [t["car"] for t in gallery.record("both.jpg")["tags"]] == ["blue-bolt"]
    session = Session(gallery.path, place_of(gallery.path))
    blue = gallery.record("both.jpg")["regions"][1]
    session.decide([Decision(path="both.jpg", truth="none", box=tuple(blue["box"]))])
    tag(gallery, regions="main")
    record = gallery.record("both.jpg")
    assert (record["outcome"], record["tags"], len(record["regions"])) == ("no-car", [], 2)
    session = Session(gallery.path, place_of(gallery.path))
    session.decide([Decision(path="both.jpg", truth=None)])
    tag(gallery, regions="main")
    assert [t["car"] for t in gallery.record("both.jpg")["tags"]] == ["red-racer"]


def test_a_deleted_box_no_longer_tags_its_photo(gallery: Gallery) -> None:
    street(gallery, "both.jpg", *TWO)
    tag(gallery)
    red, blue = gallery.record("both.jpg")["regions"]
    gallery.edit_photo("both.jpg", regions=[red, hers(blue["box"], "no-car")])
    tag(gallery, retag=True)
    assert {t["car"] for t in gallery.record("both.jpg")["tags"]} == {"red-racer"}


def test_her_boxes_go_with_the_photo(gallery: Gallery) -> None:
    photo = street(gallery, "both.jpg", *TWO)
    tag(gallery)
    drawn = hers([0.9, 0.9, 0.05, 0.05], "unknown")
    gallery.edit_photo("both.jpg", regions=[*gallery.record("both.jpg")["regions"], drawn])
    photo.rename(gallery.path / "renamed.jpg")
    tag(gallery)
    assert [r["box"] for r in gallery.record("renamed.jpg")["regions"] if r.get("source") == "human"] == [drawn["box"]]
    later(street(gallery, "renamed.jpg", *TWO[::-1], size=(640, 410)))
    tag(gallery)
    assert drawn["box"] in [r["box"] for r in gallery.record("renamed.jpg")["regions"]]


BOXES = st.tuples(*[st.integers(0, 80)] * 2, *[st.integers(1, 20)] * 2).map(lambda b: tuple(v / 100 for v in b))
CARS = st.sampled_from(["a", "b", "c"])


@st.composite
def regions_of(draw: st.DrawFn, source: str) -> tuple[Region, ...]:
    """Regions as a run or a person leaves them."""
    found = []
    for box in draw(st.lists(BOXES, max_size=4, unique=True)):
        outcomes = ["tagged", "unknown"] + (["no-car"] if source == "human" else [])
        outcome = draw(st.sampled_from(outcomes))
        tags = (Tag(car=draw(CARS), score=0.9, source=source),) if outcome == "tagged" else ()
        found.append(Region(box=box, outcome=outcome, tags=tags, source=source))
    return tuple(found)


@settings(max_examples=150)
@given(model=regions_of("model"), person=regions_of("human"), before=regions_of("model"))
def test_no_run_alters_a_persons_boxes_or_puts_one_where_she_has_one(
    model: tuple[Region, ...], person: tuple[Region, ...], before: tuple[Region, ...]
) -> None:
    said = tuple(Tag(car=t.car, score=1.0, source="human", box=r.box) for r in person for t in r.tags)
    outcome = "tagged" if said else "unknown"
    old = PhotoRecord(path="a", size=1, mtime_ns=1, outcome=outcome, tags=said, regions=(*person, *before))
    looked_into = tuple(Region(box=r.box, outcome="no-car") for r in person if r.outcome != "no-car")
    answer = Verdict("unknown", (), (Candidate(car="a", score=0.1),), model, looked_into)
    new = record_of(PhotoFile("a", "a", 1, 1), old, answer, old)
    words = [(r.box, r.outcome, r.tags) for r in human_regions(new)]
    assert sorted(words) == sorted((r.box, r.outcome, r.tags) for r in person)
    assert [t for t in new.tags if t.source == "human"] == list(said)
    assert new.regions is not UNSET
    models = [r for r in new.regions if r.source == "model"]
    assert all(r in model for r in models)
    same = matched([r.box for r in person], [r.box for r in model])
    assert len(models) == len(model) - len(same)
    for one, other in itertools.product(models, person):
        assert model.index(one) not in same.values() or overlap(one.box, other.box) < 1


# --- memory, and what was learned -----------------------------------------------------------------------------------


def test_no_memory_for_a_glance_is_a_record_and_not_the_end(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    def shaped(*_: Any) -> Any:
        raise MemoryError

    street(gallery, "both.jpg", *TWO)
    monkeypatch.setattr("cartag.photos.images.shaped", shaped)
    tag(gallery)
    assert gallery.record("both.jpg")["error"]["reason"] == "too-large"


def test_pictures_to_cut_from_are_held_in_bounds_however_many_cores_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cartag.photos.reading.usable_cores", lambda: 64)
    assert reading.batch_size(Settings()) == 256
    assert reading.batch_size(Settings(), PICTURE) == 64
    assert reading.window(Settings(), PICTURE) <= 128


def test_what_was_learned_from_wholes_is_learned_again_from_regions(gallery: Gallery, tmp_path: Path) -> None:
    rows = ["file,label"]
    for i in range(3):  # too few to hold any out
        colour = ("red", "blue", "orange")[i % 3]
        street(gallery, f"{i}.jpg", (colour, (40 + 30 * i, 60, 300 + 50 * i, 240)))
        rows.append(f"{i}.jpg,{('red-racer', 'blue-bolt', 'yellow-yeti')[i % 3]}")  # an orange one is hers
    (gallery.path / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    gallery.tag()
    if not cartag.learn(gallery.path, gallery.path / "labels.csv").kept:
        pytest.fail("nothing was learned from wholes")
    place = place_of(gallery.path)
    before = load_learned(place)
    assert before is not None
    assert before.facts.seen == ""
    tag(gallery)
    after = load_learned(place)
    assert after is None or after.facts.seen == "fake@1-all"
