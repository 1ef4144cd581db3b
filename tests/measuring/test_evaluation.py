"""Evaluation: every figure against one worked by hand."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from conftest import Gallery

import cartag
from cartag.errors import IndexFileError, LabelsError
from cartag.measuring.figures import Evaluation
from cartag.state import index as indexes
from cartag.values import (
    Candidate,
    IndexedCar,
    IndexedCatalog,
    IndexedModel,
    IndexHeader,
    PhotoRecord,
    ReadError,
    Tag,
)

CARS = tuple(IndexedCar(id=i, name=i.title(), make=i.title()) for i in ("red", "yellow", "blue"))


def photo(
    path: str, outcome: str, tags: dict[str, float] | None = None, candidates: Any = None, **more: Any
) -> PhotoRecord:
    source = more.pop("source", "model")
    return PhotoRecord(
        path=path,
        size=1,
        mtime_ns=1,
        outcome=outcome,  # type: ignore[arg-type]
        tags=tuple(Tag(car=car, score=score, source=source) for car, score in (tags or {}).items()),
        candidates=tuple(Candidate(car=car, score=score) for car, score in (candidates or {}).items()),
        **more,
    )


PHOTOS = [
    photo("a.jpg", "tagged", {"red": 0.9}, {"yellow": 0.05}),
    photo("b.jpg", "tagged", {"yellow": 0.6}, {"red": 0.3}),
    photo("c.jpg", "unknown", {}, {"yellow": 0.4, "red": 0.3}),
    photo("d.jpg", "tagged", {"red": 0.5, "blue": 0.45}),
    photo("e.jpg", "no-car"),
    photo("f.jpg", "tagged", {"blue": 0.7}),
    photo("g.jpg", "unknown", {}, {"red": 0.2}),
    photo("h.jpg", "tagged", {"red": 0.8}),
    photo("i.jpg", "error", error=ReadError(reason="empty", detail="the file has no bytes")),
    photo("k.jpg", "unknown"),
    photo("l.jpg", "tagged", {"blue": 1.0}, source="human"),
    photo("m.jpg", "tagged", {"red": 1.0}, source="human", missing=True),
]
LABELS = """file,label
a.jpg,Red
b.jpg,red
c.jpg,Yellow
d.jpg,Red|Blue
e.jpg,none
f.jpg,none
g.jpg,unknown
h.jpg,Trabant 601
i.jpg,Blue
j.jpg,Yellow
l.jpg,Red
m.jpg,Red
"""


def evaluated(folder: Path, photos: list[PhotoRecord], labels: str, cars: tuple[IndexedCar, ...] = CARS) -> Evaluation:
    header = IndexHeader(
        generator="test",
        updated="2026-01-01T00:00:00Z",
        model=IndexedModel(name="fake", source="fake", revision="1", dtype="float32"),
        catalog=IndexedCatalog(name="colours", sha256="0" * 64, cars=cars),
    )
    indexes.write_index(indexes.Index(header, {record.path: record for record in photos}, folder / "cartag.json"))
    (folder / "labels.csv").write_text(labels, encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing of scikit-learn's talk reaches the user
        return cartag.evaluate(folder, folder / "labels.csv")


@pytest.fixture
def result(tmp_path: Path) -> Evaluation:
    return evaluated(tmp_path, PHOTOS, LABELS)


def test_what_was_compared_is_told(result: Evaluation) -> None:
    assert result.photos == 9
    assert result.not_in_index == ("j.jpg", "m.jpg")
    assert result.without_label == 1, "k.jpg"
    assert result.settled_by_hand == 1, "l.jpg says nothing about the model"
    assert result.names_outside_catalog == {"Trabant 601": 1}
    assert result.labels_outside_catalog == 1
    assert result.near_misses == {}


def test_answers_as_a_whole(result: Evaluation) -> None:
    assert result.accuracy == round(4 / 9, 4), "a, d, e, g"
    assert result.top1 == 3 / 5, "a, c, d of a, b, c, d, i"
    assert result.top5 == 4 / 5, "all but the unreadable i"


def test_tags_of_photos_with_a_car_with_another_one_and_with_none(result: Evaluation) -> None:
    assert result.right_car_tagged == 2 / 5, "a, d"
    assert result.wrong_car_tagged == 1 / 5, "b"
    assert result.other_car_tagged == 1 / 2, "h of g, h"
    assert (result.no_car_found, result.no_car_tagged) == (1 / 2, 1 / 2), "e; f"


def test_precision_and_recall_over_all_tags(result: Evaluation) -> None:
    assert (result.precision, result.recall, result.f1) == (0.5, 0.5, 0.5), "3 right of 6 tags, of 6 labels"
    assert result.macro_f1 == round((2 / 3 + 0 + 1 / 2) / 3, 4)


def test_figures_per_car(result: Evaluation) -> None:
    found = {c.car: (c.photos, c.tagged, c.right, c.precision, c.recall, c.f1, c.top1) for c in result.cars}
    assert found == {
        "red": (3, 3, 2, 0.6667, 0.6667, 0.6667, 2),
        "yellow": (1, 1, 0, 0.0, 0.0, 0.0, 1),
        "blue": (2, 2, 1, 0.5, 0.5, 0.5, 1),
    }


def test_outcomes_by_truth_add_up(result: Evaluation) -> None:
    assert result.outcomes == {
        "car": {"tagged": 3, "unknown": 1, "no-car": 0, "error": 1},
        "unknown": {"tagged": 1, "unknown": 1, "no-car": 0, "error": 0},
        "none": {"tagged": 1, "unknown": 0, "no-car": 1, "error": 0},
    }
    assert sum(sum(row.values()) for row in result.outcomes.values()) == result.photos


def test_confusion_of_photos_with_one_label(result: Evaluation) -> None:
    assert result.confusion == {
        "red": {"red": 1, "yellow": 1},
        "yellow": {"unknown": 1},
        "blue": {"error": 1},
        "unknown": {"red": 1, "unknown": 1},
        "none": {"blue": 1, "no-car": 1},
    }


def test_a_catalog_of_one_car_has_figures_of_that_car(tmp_path: Path) -> None:
    photos = [photo("a.jpg", "tagged", {"red": 0.9}), photo("b.jpg", "unknown"), photo("c.jpg", "no-car")]
    labels = "file,label\na.jpg,red\nb.jpg,red\nc.jpg,none\n"
    found = evaluated(tmp_path, photos, labels, CARS[:1])
    (red,) = found.cars
    assert (red.photos, red.tagged, red.right, red.precision, red.recall, red.f1) == (2, 1, 1, 1.0, 0.5, 0.6667)
    assert (found.precision, found.recall, found.f1, found.macro_f1) == (1.0, 0.5, 0.6667, 0.6667)


def test_a_perfect_index_is_perfect(tmp_path: Path) -> None:
    found = evaluated(tmp_path, [photo("a.jpg", "tagged", {"red": 0.9})], "file,label\na.jpg,Red\n")
    assert (found.accuracy, found.top1, found.f1, found.macro_f1) == (1.0, 1.0, 1.0, 1.0)
    assert found.confusion == {"red": {"red": 1}}


def test_where_there_is_nothing_to_count_there_is_no_figure(tmp_path: Path) -> None:
    found = evaluated(tmp_path, [photo("a.jpg", "no-car")], "file,label\na.jpg,none\n")
    assert (found.accuracy, found.no_car_found) == (1.0, 1.0)
    assert found.top1 is found.precision is found.recall is found.f1 is found.macro_f1 is found.other_car_tagged is None
    assert {(c.precision, c.recall, c.f1) for c in found.cars} == {(None, None, None)}


def test_labels_of_photos_that_a_person_settled_alone_leave_nothing_to_measure(tmp_path: Path) -> None:
    found = evaluated(tmp_path, [photo("a.jpg", "tagged", {"red": 1.0}, source="human")], "file,label\na.jpg,Red\n")
    assert (found.photos, found.settled_by_hand, found.accuracy) == (0, 1, None)


def test_a_car_named_only_outside_the_catalog_counts_as_another_car(tmp_path: Path) -> None:
    photos = [photo("a.jpg", "unknown"), photo("b.jpg", "tagged", {"red": 0.9})]
    found = evaluated(tmp_path, photos, "file,label\na.jpg,Trabant|Wartburg\nb.jpg,Red|Trabant\n")
    assert (found.accuracy, found.top1, found.other_car_tagged) == (1.0, 1.0, 0.0)
    assert found.names_outside_catalog == {"Trabant": 2, "Wartburg": 1}
    assert found.labels_outside_catalog == 2, "two rows hold these three names"
    assert found.confusion == {"unknown": {"unknown": 1}}


def test_the_same_row_twice_counts_once(tmp_path: Path) -> None:
    photos = [photo("a.jpg", "no-car"), photo("b.jpg", "unknown")]
    assert evaluated(tmp_path, photos, "file,label\na.jpg,none\n./a.jpg,none\nb.jpg,none\n").photos == 2


def test_labels_of_another_gallery_are_an_error_that_shows_how_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"none of its 1 files is in .*cartag\.json; .*'day-1/a\.jpg'"):
        evaluated(tmp_path, [photo("day-1/a.jpg", "unknown")], "file,label\nother.jpg,none\n")


def test_an_index_that_tag_wrote_is_evaluated(gallery: Gallery, tmp_path: Path) -> None:
    for colour in ("red", "blue", "green", "orange"):
        gallery.paint(f"{colour}.jpg", colour)
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\nred.jpg,Red Racer\nblue.jpg,volt\nblue.jpg,volt\n", encoding="utf-8")
    with pytest.raises(IndexFileError, match="no index there"):
        cartag.evaluate(gallery.path, labels)
    gallery.tag()
    labels.write_text("file,label\nred.jpg,Red Racer\ngreen.jpg,none\norange.jpg,unknown\n", encoding="utf-8")
    found = cartag.evaluate(gallery.path, labels)
    assert (found.photos, found.accuracy, found.without_label) == (3, 1.0, 1)


# --- trust ------------------------------------------------------------------------------------------------------


def test_rejection_brier_and_intervals_are_of_the_likeliest_car(tmp_path: Path) -> None:
    photos = [
        photo("a.jpg", "tagged", {"red": 0.9}),
        photo("b.jpg", "unknown", {}, {"blue": 0.4}),
        photo("c.jpg", "unknown", {}, {"red": 0.6}),
        photo("d.jpg", "no-car", {}, {"red": 0.1}),
    ]
    found = evaluated(tmp_path, photos, "file,label\na.jpg,red\nb.jpg,blue\nc.jpg,unknown\nd.jpg,none\n")
    assert (found.auroc_other_cars, found.fpr95_other_cars) == (0.5, 1.0), "0.9 and 0.4 against 0.6"
    assert (found.auroc_no_car, found.fpr95_no_car) == (1.0, 0.0)
    assert found.brier == round((0.1**2 + 0.6**2 + 0.6**2 + 0.1**2) / 4, 4)
    assert found.recall_at_95_precision == 0.5, "0.9; below it comes a wrong one"
    assert found.aurc == round((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4, 4), "c and d are wrong, b is right after c"
    accuracy = found.intervals["accuracy"]
    assert accuracy is not None
    assert accuracy.low <= accuracy.value == found.accuracy <= accuracy.high


def test_every_headline_figure_is_the_field_of_its_name(result: Evaluation) -> None:
    for name, interval in result.intervals.items():
        assert getattr(result, name) == (interval.value if interval else None), name


def test_the_worst_mistakes_come_first(result: Evaluation) -> None:
    found = [(m.path, m.kind, m.answer, m.score) for m in result.mistakes]
    assert found[:3] == [
        ("h.jpg", "wrong tag", "red", 0.8),
        ("f.jpg", "wrong tag", "blue", 0.7),
        ("b.jpg", "wrong tag", "yellow", 0.6),
    ]
    assert found[3:] == [
        ("i.jpg", "missed", "error", 0.0),
        ("b.jpg", "missed", "yellow", 0.3),
        ("c.jpg", "missed", "unknown", 0.4),
    ]


def test_a_label_that_is_probably_wrong_is_named(tmp_path: Path) -> None:
    photos = [photo(f"r{i}.jpg", "tagged", {"red": 0.8}, {"blue": 0.1}) for i in range(5)]
    photos += [photo(f"b{i}.jpg", "tagged", {"blue": 0.8}, {"red": 0.1}) for i in range(5)]
    labels = "file,label\n" + "".join(f"r{i}.jpg,red\nb{i}.jpg,{'blue' if i else 'red'}\n" for i in range(5))
    (found,) = evaluated(tmp_path, photos, labels).suspicious
    assert (found.path, found.label, found.likely, found.score) == ("b0.jpg", ("red",), "blue", 0.8)


def test_two_indexes_are_compared_on_the_photos_both_answered(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    labels = "file,label\n" + "".join(f"{i}.jpg,red\n" for i in range(8))
    new = [photo(f"{i}.jpg", "tagged", {"red": 0.9}) for i in range(7)] + [photo("7.jpg", "unknown")]
    old = [photo("0.jpg", "tagged", {"red": 0.9}), *(photo(f"{i}.jpg", "unknown") for i in range(1, 7))]
    evaluated(tmp_path / "old", old, labels)
    evaluated(tmp_path, new, labels)
    found = cartag.evaluate(tmp_path, tmp_path / "labels.csv", against=tmp_path / "old" / "cartag.json").against
    assert found is not None
    assert (found.photos, found.gained, found.lost) == (7, 6, 0)
    assert found.p_value == round(2 / 2**6, 4)
    accuracy = found.differences["accuracy"]
    assert accuracy is not None
    assert accuracy.value == round(6 / 7, 4)
    assert accuracy.low > 0
    evaluated(tmp_path / "old", [photo("z.jpg", "unknown")], "file,label\nz.jpg,none\n")
    with pytest.raises(LabelsError, match="holds none of the labelled photos"):
        cartag.evaluate(tmp_path, tmp_path / "labels.csv", against=tmp_path / "old" / "cartag.json")


# --- where labels come from -------------------------------------------------------------------------------------


def test_folders_named_after_cars_are_labels(gallery: Gallery) -> None:
    for name, colour in {
        "day-1/red racer/a.jpg": "red",
        "Blue Bolt/b.jpg": "blue",
        "none/c.jpg": "green",
        "unknown/d.jpg": "orange",
        "Trabant/e.jpg": "orange",
        "f.jpg": "red",
    }.items():
        gallery.paint(name, colour)
    gallery.tag()
    found = cartag.evaluate(gallery.path, gallery.path)
    assert (found.photos, found.accuracy, found.without_label) == (4, 1.0, 2)
    assert found.silent_folders == ("Trabant",)
    assert found.near_folders == {}


def test_folders_are_named_by_the_words_of_labels_and_a_part_of_a_name_is_only_asked_about(gallery: Gallery) -> None:
    for name, colour in {
        "no-car/a.jpg": "green",
        "UNKNOWN/b.jpg": "orange",
        "Trabant 601/c.jpg": "orange",
        "unknown: A Car of Nobody/i.jpg": "orange",
        "Red Racer/bolt/d.jpg": "red",
        "bolt/e.jpg": "blue",
        "Blue Blot/f.jpg": "blue",
        "day-1/g.jpg": "blue",
        "rossi/h.jpg": "red",
    }.items():
        gallery.paint(name, colour)
    gallery.tag()
    found = cartag.evaluate(gallery.path, gallery.path)
    assert (found.photos, found.accuracy, found.without_label) == (5, 1.0, 4)
    assert found.outcomes["none"]["no-car"] == 1
    assert found.names_outside_catalog == {"Trabant 601": 1, "A Car of Nobody": 1}
    assert set(found.silent_folders) == {"bolt", "Blue Blot", "day-1", "rossi"}
    assert found.near_folders == {"bolt": "Blue Bolt", "Blue Blot": "Blue Bolt"}


def test_a_person_s_tag_in_another_index_is_of_the_car_that_is_called_so_here(gallery: Gallery, tmp_path: Path) -> None:
    gallery.paint("a.jpg", "red")
    gallery.tag()
    gallery.tag_by_hand("a.jpg", "red-racer")
    other = tmp_path / "said.json"
    renamed = gallery.raw()
    renamed["catalog"]["cars"][0] |= {"id": "theirs", "name": "Scuderia!", "aliases": []}
    renamed["photos"][0]["tags"][0]["car"] = "theirs"
    other.write_text(json.dumps(renamed))
    gallery.index_file.unlink()
    gallery.tag()
    found = cartag.evaluate(gallery.path, other)
    assert (found.accuracy, found.names_outside_catalog) == (1.0, {})


def test_folders_of_copies_label_a_gallery_by_the_names_of_its_photos(gallery: Gallery, tmp_path: Path) -> None:
    for name in ("day-1/a.jpg", "day-2/b.jpg", "day-1/c.jpg", "day-2/c.jpg"):
        gallery.paint(name, "red")
    gallery.tag()
    sorted_ = tmp_path / "sorted"
    for name in ("scuderia/a.jpg", "Red Racer/day-2/b.jpg", "none/c.jpg", "none/zz.jpg"):
        (sorted_ / name).parent.mkdir(parents=True, exist_ok=True)
        (sorted_ / name).write_bytes(b"any")
    found = cartag.evaluate(gallery.path, sorted_)
    assert (found.photos, found.accuracy) == (2, 1.0)
    assert found.not_in_index == ("none/c.jpg", "none/zz.jpg"), "c.jpg could be either of two"
    (sorted_ / "Blue Bolt").mkdir()
    (sorted_ / "Blue Bolt" / "a.jpg").write_bytes(b"any")
    with pytest.raises(LabelsError, match=r"day-1/a\.jpg lies in folders that say different things"):
        cartag.evaluate(gallery.path, sorted_)


def test_folders_without_a_car_s_name_are_no_labels(gallery: Gallery) -> None:
    gallery.paint("day-1/a.jpg", "red")
    gallery.tag()
    with pytest.raises(LabelsError, match="none of its folders is named after a car"):
        cartag.evaluate(gallery.path, gallery.path)


def test_what_people_said_in_another_index_are_labels(gallery: Gallery, tmp_path: Path) -> None:
    for name, colour in {"a.jpg": "red", "b.jpg": "blue", "c.jpg": "green", "d.jpg": "orange", "e.jpg": "red"}.items():
        gallery.paint(name, colour)
    gallery.tag()
    gallery.tag_by_hand("a.jpg", "red-racer")
    gallery.edit_photo("b.jpg", confirmed=True)
    gallery.edit_photo("c.jpg", confirmed=True)
    gallery.edit_photo("d.jpg", confirmed=True)
    other = tmp_path / "said.json"
    gallery.index_file.rename(other)
    gallery.tag()
    found = cartag.evaluate(gallery.path, other)
    assert (found.photos, found.accuracy, found.without_label) == (4, 1.0, 1)
    assert found.outcomes["none"]["no-car"] == found.outcomes["unknown"]["unknown"] == 1


def test_a_misspelt_label_is_asked_about_unless_it_is_said_to_be_another_car(tmp_path: Path) -> None:
    cars = (IndexedCar(id="pagani-huayra", name="Pagani Huayra", make="Pagani"),)
    rows = "file,label\na.jpg,Pagni Huayra\nb.jpg,Pagni Huayra\nc.jpg,Trabant\n"
    with pytest.raises(LabelsError, match=r"labels\.csv: line 2: 'Pagni Huayra' .* did you mean 'Pagani Huayra'\?"):
        evaluated(tmp_path, PHOTOS, rows, cars)
    found = evaluated(tmp_path, PHOTOS, rows.replace(",Pagni", ",unknown: Pagni"), cars)
    assert found.names_outside_catalog == {"Pagni Huayra": 2, "Trabant": 1}
    assert found.near_misses == {"Pagni Huayra": "Pagani Huayra"}


def test_each_car_s_figures_have_their_intervals(result: Evaluation) -> None:
    red, yellow, _ = result.cars
    assert red.recall_interval is not None
    assert red.recall_interval.low < 0.6667 == red.recall_interval.value < red.recall_interval.high
    assert yellow.recall_interval is not None
    assert yellow.recall_interval.high > 0.5, "none of one photo says little"


@pytest.mark.parametrize("spelled", ["absolute", "as named", "from elsewhere", "dots", "behind a link"])
def test_files_named_by_the_way_to_them_are_found(
    gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelled: str
) -> None:
    gallery.paint("day-1/a.jpg", "red")
    gallery.paint("b.jpg", "blue")
    gallery.tag()
    folder, root = gallery.path, str(gallery.path.resolve())
    monkeypatch.chdir(folder.parent)
    if spelled in ("as named", "dots"):
        root = folder.name if spelled == "as named" else f"./{folder.name}/../{folder.name}"
        folder = Path(folder.name)
    elif spelled == "from elsewhere":
        root = folder.name
    elif spelled == "behind a link":
        (tmp_path / "link").symlink_to(gallery.path.resolve())
        folder = tmp_path / "link"
    labels = tmp_path / "labels.csv"
    labels.write_text(f"file,label\n{root}/day-1/a.jpg,red racer\n{root}/b.jpg,blue bolt\n{root}/zz.jpg,none\n")
    found = cartag.evaluate(folder, labels)
    assert (found.photos, found.accuracy, len(found.not_in_index)) == (2, 1.0, 1)


def test_a_path_in_the_gallery_goes_before_the_way_to_it(
    gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.paint(f"{gallery.path.name}/a.jpg", "red")
    gallery.paint("a.jpg", "blue")
    gallery.tag()
    monkeypatch.chdir(gallery.path.parent)
    labels = tmp_path / "labels.csv"
    labels.write_text(f"file,label\n{gallery.path.name}/a.jpg,red racer\n")
    assert cartag.evaluate(gallery.path, labels).accuracy == 1.0
