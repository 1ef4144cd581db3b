"""Boxes against labelled boxes: every figure against one worked by hand, in the table, in JSON and on the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Gallery, paint
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace
from test_boxes import boxes
from test_evaluation import evaluated, photo
from typer.testing import CliRunner

import cartag
from cartag.cli import app
from cartag.measuring.detection import box_figures, found_in, group_of, misplaced
from cartag.measuring.figures import Evaluation
from cartag.measuring.rows import BoxLabel, Label
from cartag.values import Box, PhotoRecord, Region, Tag

LEFT, RIGHT, FAR = (0.0, 0.0, 0.4, 0.4), (0.5, 0.0, 0.4, 0.4), (0.0, 0.6, 0.2, 0.2)
NEAR_LEFT = (0.05, 0.0, 0.4, 0.4)
"""IoU with the left one: 0.35 of 0.45."""


def region(box: Box, *cars: str, **more: Any) -> Region:
    tags = tuple(Tag(car=car, score=0.9) for car in cars)
    return Region(box=box, found=0.9, outcome="tagged" if cars else "unknown", tags=tags, **more)


def with_regions(path: str, *regions: Region) -> PhotoRecord:
    tags = {tag.car: replace(tag, box=r.box) for r in reversed(regions) for tag in r.tags}
    outcome = "tagged" if tags else "unknown" if regions else "no-car"
    return replace(photo(path, outcome, width=300, height=200), tags=tuple(tags.values()), regions=regions)


PHOTOS = [
    with_regions("a.jpg", region(NEAR_LEFT, "red"), region(RIGHT, "blue"), region(FAR)),
    with_regions("b.jpg", region(LEFT, "blue"), region(RIGHT, "red")),
    with_regions("c.jpg", region(LEFT, "red")),
    with_regions("d.jpg"),
    with_regions("e.jpg", region(LEFT, "blue")),
    photo("f.jpg", "tagged", {"yellow": 0.9}),
]
LABELS = f"""file,label,x,y,w,h
a.jpg,Red,{",".join(map(str, LEFT))}
a.jpg,unknown,{",".join(map(str, RIGHT))}
b.jpg,Red,{",".join(map(str, LEFT))}
b.jpg,Blue,{",".join(map(str, RIGHT))}
c.jpg,Red,,,,
d.jpg,Yellow,{",".join(map(str, FAR))}
e.jpg,none,,,,
f.jpg,Yellow|Blue,,,,
"""


@pytest.fixture
def result(tmp_path: Path) -> Evaluation:
    return evaluated(tmp_path, PHOTOS, LABELS)


def test_boxes_as_a_whole(result: Evaluation) -> None:
    found = result.boxes
    assert found is not None
    assert (found.photos, found.labelled, found.found, found.matched) == (3, 5, 5, 4), "a, b, d"
    assert (found.precision.value, found.recall.value) == (0.8, 0.8)  # type: ignore[union-attr]
    assert (found.tags, found.tags_right.value) == (4, 0.25), "red in a of red, blue; blue, red"  # type: ignore[union-attr]
    assert (found.cars, found.cars_right.value) == (4, 0.25), "red in a of four catalog cars"  # type: ignore[union-attr]
    assert found.recall.low < 0.8 < found.recall.high  # type: ignore[union-attr]


def test_photos_with_one_car_and_with_several(result: Evaluation) -> None:
    one, several = result.groups["one"], result.groups["several"]
    assert (one.photos, several.photos) == (2, 3), "c, d; a, b, f; e has none"
    assert (one.accuracy, one.precision, one.recall) == (0.5, 1.0, 0.5)
    assert (several.accuracy, several.precision, several.recall) == (round(1 / 3, 4), 0.8, 0.8)
    assert (one.boxes.labelled, one.boxes.found, one.boxes.precision) == (1, 0, None)  # type: ignore[union-attr]
    assert (several.boxes.labelled, several.boxes.matched) == (4, 4)  # type: ignore[union-attr]


def test_mistakes_say_where(result: Evaluation) -> None:
    found = {(m.path, m.kind, m.answer if m.kind != "missed" else m.truth[0]): m.box for m in result.mistakes}
    assert found == {
        ("a.jpg", "wrong tag", "blue"): RIGHT,
        ("b.jpg", "wrong box", "blue"): LEFT,
        ("b.jpg", "wrong box", "red"): RIGHT,
        ("d.jpg", "missed", "yellow"): FAR,
        ("e.jpg", "wrong tag", "blue"): LEFT,
        ("f.jpg", "missed", "blue"): None,
    }


def test_without_boxes_in_the_labels_there_are_no_figures_of_them(tmp_path: Path) -> None:
    found = evaluated(tmp_path, PHOTOS, "file,label\na.jpg,Red|unknown\nc.jpg,Red\n")
    assert found.boxes is None
    assert {name: (g.photos, g.boxes) for name, g in found.groups.items()} == {"one": (1, None), "several": (1, None)}


def test_what_counts_as_found() -> None:
    no_car = Region(box=FAR, outcome="no-car")
    assert [f.box for f in found_in(with_regions("a.jpg", region(LEFT, "red"), no_car))] == [LEFT]
    older = replace(photo("a.jpg", "tagged", {"red": 0.9, "blue": 0.8}), regions=cartag.values.UNSET)
    boxed = replace(older, tags=tuple(replace(tag, box=LEFT) for tag in older.tags))
    assert found_in(older) == []
    assert [f.cars for f in found_in(boxed)] == [{"red", "blue"}]


@pytest.mark.parametrize(
    ("cars", "other", "labelled", "group"),
    [
        ((), (), (), None),
        (("red",), (), (), "one"),
        ((), ("unknown",), (), "one"),
        (("red",), ("unknown",), (), "several"),
        (("red",), (), ("red",), "one"),
        (("red",), (), ("red", "red"), "several"),
        (("red", "blue"), (), ("red",), "several"),
        ((), ("unknown",), ("", ""), "several"),
    ],
)
def test_how_many_cars_a_label_says(
    cars: tuple[str, ...], other: tuple[str, ...], labelled: tuple[str, ...], group: str | None
) -> None:
    placed = tuple(
        BoxLabel((0.1 * i, 0, 0.1, 0.1), frozenset({car} if car else ()), () if car else ("unknown",))
        for i, car in enumerate(labelled)
    )
    assert group_of(Label("a.jpg", frozenset(cars), other, placed)) == group


_cars = st.sampled_from(["red", "blue", ""])


@given(st.lists(st.tuples(boxes(), _cars), max_size=5), st.lists(st.tuples(boxes(), _cars), max_size=5))
@settings(deadline=None)
def test_counts_of_boxes_go_together(labelled: list[tuple[Box, str]], found: list[tuple[Box, str]]) -> None:
    placed = tuple(BoxLabel(box, frozenset({car} if car else ()), () if car else ("unknown",)) for box, car in labelled)
    label = Label("a.jpg", frozenset().union(*(b.cars for b in placed)), (), placed)
    record = with_regions("a.jpg", *(region(box, *([car] if car else ())) for box, car in found))
    figures = box_figures([(label, record)])
    if not placed:
        assert figures is None
        return
    assert figures is not None
    assert figures.matched <= min(figures.labelled, figures.found)
    assert not set(misplaced(label, record)) - label.cars
    perfect = with_regions("a.jpg", *(region(b.box, *b.cars) for b in placed))
    best = box_figures([(label, perfect)])
    assert best is not None
    if len(set(b.box for b in placed)) == len(placed):
        assert best.matched == best.labelled == best.found
        assert best.cars == 0 or best.cars_right.value == 1  # type: ignore[union-attr]


# --- where it is shown ------------------------------------------------------------------------------------------


def test_the_table_and_the_json_say_it(result: Evaluation, tmp_path: Path) -> None:
    arguments = ["eval", str(tmp_path), str(tmp_path / "labels.csv")]
    table = CliRunner().invoke(app, arguments).stdout
    assert re.search(r"several +3 +33\.3 % +80\.0 % +80\.0 %", table)
    assert re.search(r"all +3 +5 +5 +80\.0 % +80\.0 % +25\.0 % +25\.0 %", table)
    found = json.loads(CliRunner().invoke(app, [*arguments, "--format", "json"]).stdout)
    assert found["boxes"]["matched"] == 4
    assert found["groups"]["several"]["photos"] == 3


def test_the_page_draws_the_boxes_of_mistakes(result: Evaluation, tmp_path: Path) -> None:
    for record in PHOTOS:
        paint(tmp_path / record.path, "red", size=(300, 200))
    cartag.evaluate(tmp_path, tmp_path / "labels.csv", report=tmp_path.parent / f"{tmp_path.name}-report")
    page = (tmp_path.parent / f"{tmp_path.name}-report" / "index.html").read_text()
    assert "Tags right on the right box" in page
    page = page[page.index("Worst mistakes") : page.index("Labels worth")]
    cards = dict(re.findall(r"<figure>(.*?)<figcaption><b>(.*?)</b>", page))
    assert sorted(cards.values()) == ["missed: Blue", "missed: Yellow", "on another car: Blue", "on another car: Red", "tagged: Blue", "tagged: Blue"]  # fmt: skip
    (far,) = [drawn for drawn, text in cards.items() if text == "missed: Yellow"]
    assert '<rect class="mistake" x="0.0" y="120.0" width="60.0" height="40.0"/>' in far
    (blue,) = [drawn for drawn, text in cards.items() if text == "on another car: Blue"]
    assert blue.count("<rect") == 2
    assert blue.index('class="found"') < blue.index('class="mistake"')


# --- labels that are not a CSV, and learning --------------------------------------------------------------------


def test_boxes_that_a_person_settled_in_an_index_are_labels(gallery: Gallery, tmp_path: Path) -> None:
    gallery.paint("a.jpg", "red")
    gallery.tag()
    tags = [{"car": "red-racer", "score": 1.0, "source": "human", "box": LEFT}]
    by_model = {"outcome": "tagged", "tags": [{"car": "red-racer", "score": 0.8, "source": "model", "box": LEFT}]}
    hers = {"box": LEFT, "outcome": "tagged", "tags": [{"car": "red-racer", "score": 1.0, "source": "human"}], "source": "human"}  # fmt: skip
    models = hers | {"by_model": {"outcome": "tagged", "tags": [{"car": "red-racer", "score": 0.8}]}, "found": 0.7}
    added = {"box": RIGHT, "outcome": "unknown", "source": "human"}
    for regions, counts in (([models, added], (2, 1, 1)), ([models, {"box": FAR, "outcome": "unknown"}], None)):
        gallery.edit_photo("a.jpg", tags=tags, regions=regions, confirmed=True, by_model=by_model, outcome="tagged")
        found = cartag.evaluate(gallery.path, gallery.index_file).boxes
        assert (None if found is None else (found.labelled, found.found, found.matched)) == counts


def test_learn_goes_on_with_such_labels(gallery: Gallery, tmp_path: Path) -> None:
    rows = []
    for i in range(12):
        colour, car = (("red", "Red Racer"), ("blue", "Blue Bolt"))[i % 2]
        gallery.paint(f"{i}.jpg", colour, mark=i)
        rows.append(f"{i}.jpg,{car}")
    gallery.tag()
    plain, placed = tmp_path / "plain.csv", tmp_path / "placed.csv"
    plain.write_text("\n".join(["file,label", *rows, ""]))
    placed.write_text("\n".join(["file,label,x,y,w,h", *(f"{row},0.1,0.1,0.5,0.5" for row in rows), ""]))
    one = cartag.learn(gallery.path, plain)
    two = cartag.learn(gallery.path, placed)
    assert (one.photos, one.kept, one.before, one.after) == (two.photos, two.kept, two.before, two.after)
