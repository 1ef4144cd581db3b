"""What is learned from photos of several cars: each region teaches what is said of that region, or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Gallery
from msgspec import UNSET
from PIL import Image

import cartag
from cartag.encoder.fake import COLOURS
from cartag.errors import LabelsError
from cartag.learning.vectors import examples_of
from cartag.measuring import BoxLabel, Label
from cartag.measuring.truth import Truth
from cartag.state.store import Store
from cartag.values import Box, PhotoRecord, Region, Tag

LEFT, RIGHT, SMALL = (0.05, 0.3, 0.4, 0.4), (0.55, 0.3, 0.35, 0.35), (0.4, 0.05, 0.1, 0.1)
HASH = "ab" * 32


def vector(number: int) -> np.ndarray:
    return np.eye(4, dtype=np.float32)[number]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    with Store(tmp_path, "fake@1") as opened:
        opened.put_regions({(HASH, LEFT): vector(0), (HASH, RIGHT): vector(1), (HASH, SMALL): vector(2)})
        yield opened


def shows(*regions: Region) -> PhotoRecord:
    return PhotoRecord(path="a.jpg", sha256=HASH, size=1, mtime_ns=1, outcome="unknown", regions=regions)


def region(box: Box, car: str | None = None, source: str = "model") -> Region:
    tags = (Tag(car=car, score=1.0, source=source),) if car else ()  # type: ignore[arg-type]
    return Region(box=box, outcome="tagged" if car else "unknown", tags=tags, source=source)  # type: ignore[arg-type]


def label(*cars: str, other: bool = False, boxes: dict[Box, str | None] | None = None) -> Label:
    at = [BoxLabel(b, frozenset([c] if c else ()), () if c else ("unknown",)) for b, c in (boxes or {}).items()]
    return Label("a.jpg", frozenset(cars), ("unknown",) if other else (), tuple(at))


def taught(said: Label, record: PhotoRecord, store: Store) -> dict[int, str] | None:
    """Region number -> what is learned of it; None: nothing, for nobody can tell."""
    placed = examples_of([(said, record)], store)
    if placed.unplaced or placed.astray:
        assert not placed.found
        return None
    return {int(e.vector.argmax()): "+".join(sorted(e.label.cars)) or e.label.truth for e in placed.found}


BOTH = (region(LEFT), region(RIGHT))


def test_a_label_of_one_car_is_of_the_largest(store: Store) -> None:
    assert taught(label("a"), shows(*BOTH), store) == {0: "a"}
    assert taught(label(), shows(*BOTH), store) == {0: "none"}


def test_several_names_and_several_regions_teach_nothing_without_boxes(store: Store) -> None:
    assert taught(label("a", "b"), shows(*BOTH), store) is None
    assert taught(label("a", other=True), shows(*BOTH), store) is None
    assert taught(label("a", "b"), shows(region(LEFT)), store) == {0: "a+b"}, "both are in the only region"


def test_a_label_with_boxes_teaches_each_its_own(store: Store) -> None:
    near = (0.06, 0.31, 0.4, 0.38)
    assert taught(label("a", "b", boxes={near: "a", RIGHT: "b"}), shows(*BOTH), store) == {0: "a", 1: "b"}
    assert taught(label("a", other=True, boxes={RIGHT: "a", LEFT: None}), shows(*BOTH), store) == {
        1: "a",
        0: "unknown",
    }
    three = shows(*BOTH, region(SMALL))
    assert taught(label("a", boxes={RIGHT: "a"}), three, store) == {1: "a"}, "of the others nobody said anything"
    assert taught(label("a", boxes={(0.8, 0.8, 0.1, 0.1): "a"}), three, store) is None


def test_a_name_without_a_box_is_of_the_only_region_that_is_left(store: Store) -> None:
    said = label("a", "b", boxes={RIGHT: "b"})
    assert taught(said, shows(*BOTH), store) == {1: "b", 0: "a"}
    assert taught(said, shows(*BOTH, region(SMALL)), store) == {1: "b"}


def test_boxes_that_a_person_named_in_a_review_count_where_the_labels_agree(store: Store) -> None:
    hers = shows(region(LEFT, "a", "human"), region(RIGHT))
    assert taught(label("a", "b"), hers, store) == {0: "a", 1: "b"}
    assert taught(label("b"), hers, store) == {0: "b"}, "she says otherwise in the labels"
    assert taught(label("a"), shows(region(LEFT), region(RIGHT, "a", "human")), store) == {1: "a"}


def test_without_regions_the_whole_photo_is_learned_from_as_it_was(store: Store) -> None:
    store.put({HASH: vector(3)})
    whole = PhotoRecord(path="a.jpg", sha256=HASH, size=1, mtime_ns=1, outcome="unknown", regions=UNSET)
    assert taught(label("a", "b", boxes={LEFT: "a"}), whole, store) == {3: "a+b"}


def test_boxes_in_labels_are_another_truth() -> None:
    record = shows(*BOTH)

    def digest(said: Label) -> str:
        return Truth(((said, record),), (), 0, {}, 0, {}).digest()

    one, other = label("a", "b", boxes={LEFT: "a"}), label("a", "b", boxes={RIGHT: "a"})
    assert len({digest(one), digest(other), digest(label("a", "b"))}) == 3


def street(gallery: Gallery, name: str, left: str, right: str) -> None:
    image = Image.new("RGB", (640, 400), (128, 128, 128))
    image.paste(COLOURS[left], (40, 60, 300, 240))
    image.paste(COLOURS[right], (420, 160, 560, 230))
    image.save(gallery.path / name, quality=95)


def test_two_cars_in_one_photo_are_two_examples_of_one_photo(gallery: Gallery) -> None:
    for i in range(2):
        street(gallery, f"{i}.jpg", "red", "blue")
    gallery.tag(detector="fake")
    labels = gallery.path / "labels.csv"
    rows = [
        f"{i}.jpg,{car},{','.join(map(str, tag.box))}"
        for i, record in enumerate(cartag.load(gallery.path).photos.values())
        for tag in record.tags
        for car in [tag.car]
    ]
    labels.write_text("\n".join(["file,label,x,y,w,h", *rows]) + "\n", encoding="utf-8")
    report = cartag.learn(gallery.path, labels)
    assert report.photos == 2
    assert {car.car: car.labels for car in report.cars} == {"red-racer": 2, "blue-bolt": 2, "yellow-yeti": 0}
    assert (report.left_out, report.unplaced, report.not_embedded) == ((), (), 0)


def test_photos_of_which_nobody_can_tell_are_told(gallery: Gallery) -> None:
    street(gallery, "0.jpg", "red", "blue")
    street(gallery, "1.jpg", "red", "red")
    gallery.tag(detector="fake")
    labels = gallery.path / "labels.csv"
    labels.write_text("file,label\n0.jpg,Red Racer|Blue Bolt\n", encoding="utf-8")
    with pytest.raises(LabelsError, match="nobody can tell which is which"):
        cartag.learn(gallery.path, labels)
    labels.write_text("file,label\n0.jpg,Red Racer|Blue Bolt\n1.jpg,Red Racer\n", encoding="utf-8")
    report = cartag.learn(gallery.path, labels)
    assert (report.photos, report.unplaced, report.left_out, report.not_embedded) == (1, ("0.jpg",), (), 0)


def test_labelled_boxes_where_no_car_was_found_are_told(gallery: Gallery) -> None:
    street(gallery, "0.jpg", "red", "blue")
    street(gallery, "1.jpg", "red", "red")
    gallery.tag(detector="fake")
    labels = gallery.path / "labels.csv"
    labels.write_text("file,label,x,y,w,h\n0.jpg,Red Racer,0.9,0.9,0.05,0.05\n", encoding="utf-8")
    with pytest.raises(LabelsError, match=r"labels\.csv: no box of it is one that was found"):
        cartag.learn(gallery.path, labels)
    labels.write_text(labels.read_text(encoding="utf-8") + "1.jpg,Red Racer,,,,\n", encoding="utf-8")
    report = cartag.learn(gallery.path, labels)
    assert (report.photos, report.astray, report.unplaced, report.left_out) == (1, ("0.jpg",), (), ())
