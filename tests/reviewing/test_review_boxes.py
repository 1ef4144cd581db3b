"""Boxes in a review: each is said, moved, drawn and deleted by itself; nothing that was said is lost, the model's say neither."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest import Gallery, check_index, write_catalog
from hypothesis import given, settings, strategies as st
from regions import BOXES, four_regions, paint_four, put_regions, region
from reviews import Served, served

import cartag
from cartag.errors import ReviewError
from cartag.measuring.labels import read_labels
from cartag.reviewing import Decision, Session
from cartag.scoring import follow
from cartag.state import locks
from cartag.state.place import place_of
from cartag.values import PhotoRecord, Region, as_model_has_it

RED, BLUE, YELLOW, ORANGE = BOXES
NEW = [0.3, 0.1, 0.2, 0.2]


@pytest.fixture
def tagged(gallery: Gallery) -> Gallery:
    """A photo of four cars, one of one car, and one of which no regions are known."""
    paint_four(gallery)
    gallery.paint("one.jpg", "red", mark=1)
    gallery.paint("old.jpg", "blue", mark=2)
    gallery.tag()
    put_regions(gallery, "four.jpg", four_regions())
    put_regions(gallery, "one.jpg", [region([0.1, 0.1, 0.8, 0.8], "red-racer")])
    return gallery


def say(review: Served, path: str, truth: str | None, *cars: str, **box: list[float]) -> Any:
    said = {"path": path, "truth": truth, "cars": cars} | box
    return review.ask("decide", json.dumps([said]).encode())


def boxes(gallery: Gallery, name: str = "four.jpg") -> dict[tuple[float, ...], tuple[str, str]]:
    """What stands at every box that is not deleted, and by whom."""
    found = {}
    for one in gallery.record(name)["regions"]:
        source = one.get("source", "model")
        if (source, one["outcome"]) != ("human", "no-car"):
            cars = [tag["car"] for tag in one.get("tags", [])]
            found[tuple(one["box"])] = (cars[0] if cars else one["outcome"], source)
    return found


def tags(gallery: Gallery, name: str = "four.jpg") -> dict[str, str]:
    return {tag["car"]: tag["source"] for tag in gallery.record(name)["tags"]}


# --- what is said of a box ----------------------------------------------------------------------------------------


def test_each_box_is_said_by_itself_and_all_of_them_settle_the_photo(tagged: Gallery, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    with served(tagged.path, labels=labels) as review:
        assert say(review, "four.jpg", "car", "red-racer", box=RED).status == 200
        assert boxes(tagged)[tuple(RED)] == ("red-racer", "human")
        assert boxes(tagged)[tuple(BLUE)] == ("blue-bolt", "model")
        assert tags(tagged) == {"red-racer": "human", "blue-bolt": "model"}
        assert tagged.record("four.jpg").get("confirmed") is None
        assert not labels.exists(), "half of a photo is no label of it: its rows would say that these are all"
        assert review.photo("four.jpg")["settled"] is False
        say(review, "four.jpg", "car", "yellow-yeti", box=BLUE)
        say(review, "four.jpg", "unknown", box=YELLOW)
        say(review, "four.jpg", "none", box=ORANGE)
        record = tagged.record("four.jpg")
        assert (record["outcome"], record["confirmed"]) == ("tagged", True)
        assert tags(tagged) == {"red-racer": "human", "yellow-yeti": "human"}
        assert {tag["car"]: tag["box"] for tag in record["tags"]} == {"red-racer": RED, "yellow-yeti": BLUE}
        deleted = record["regions"][3]
        assert (deleted["box"], deleted["outcome"], deleted["source"]) == (ORANGE, "no-car", "human")
        assert deleted["by_model"]["outcome"] == "unknown"
        assert [one["box"] for one in review.photo("four.jpg")["regions"]] == [RED, BLUE, YELLOW]
        assert labels.read_text().splitlines() == [
            "file,label,x,y,w,h",
            "four.jpg,Red Racer,0.05,0.45,0.4,0.4",
            "four.jpg,Yellow Yeti,0.5,0.4,0.3,0.25",
            "four.jpg,unknown,0.7,0.68,0.25,0.2",
        ]
    report = review.end()
    assert (report.confirmed, report.corrected, report.to_do) == (0, 1, 2)


def test_a_photo_of_which_one_box_is_said_is_still_to_do(tagged: Gallery) -> None:
    with served(tagged.path) as review:
        say(review, "four.jpg", "car", "red-racer", box=RED)
    assert review.end().to_do == 3


def test_a_box_is_drawn_where_a_car_was_missed(tagged: Gallery) -> None:
    with served(tagged.path) as review:
        say(review, "four.jpg", "unknown", to=NEW)
        assert boxes(tagged)[tuple(NEW)] == ("unknown", "human")
        say(review, "four.jpg", "car", "yellow-yeti", box=NEW)
        drawn = next(one for one in tagged.record("four.jpg")["regions"] if one["box"] == NEW)
        assert "found" not in drawn
        assert "by_model" not in drawn
        assert tags(tagged)["yellow-yeti"] == "human"
        say(review, "four.jpg", "none", box=NEW)
        assert [one["box"] for one in tagged.record("four.jpg")["regions"]] == BOXES, "the model knew nothing of it"
        assert tags(tagged) == {"red-racer": "model", "blue-bolt": "model"}


def test_a_box_is_drawn_where_no_regions_are_known(tagged: Gallery, tmp_path: Path) -> None:
    before = tagged.record("old.jpg")
    with served(tagged.path, labels=tmp_path / "labels.csv") as review:
        say(review, "old.jpg", "car", "red-racer", to=NEW)
        record = tagged.record("old.jpg")
        assert tags(tagged, "old.jpg") == {"red-racer": "human", "blue-bolt": "model"}, "one car more, and none less"
        assert "confirmed" not in record, "nobody has looked for the other cars yet"
        assert record["by_model"]["tags"] == before["tags"]
        assert not (tmp_path / "labels.csv").exists()
        say(review, "old.jpg", "unknown", to=RED)
        say(review, "old.jpg", "car", "yellow-yeti", box=RED)
        assert tags(tagged, "old.jpg") == {"red-racer": "human", "yellow-yeti": "human", "blue-bolt": "model"}
        say(review, "old.jpg", "none", box=NEW)
        say(review, "old.jpg", None, box=RED)
        assert tagged.record("old.jpg") == before, "it has no regions again, not even none"


def test_a_word_of_the_photo_settles_it_where_no_regions_are_known(tagged: Gallery, tmp_path: Path) -> None:
    with served(tagged.path, labels=tmp_path / "labels.csv") as review:
        say(review, "old.jpg", "unknown", to=NEW)
        say(review, "old.jpg", "car", "blue-bolt")
        assert boxes(tagged, "old.jpg") == {tuple(NEW): ("unknown", "human")}, "the photo's car may stand elsewhere"
        assert tags(tagged, "old.jpg") == {"blue-bolt": "human"}
        assert (tmp_path / "labels.csv").read_text() == "file,label\nold.jpg,Blue Bolt\n"
        say(review, "old.jpg", "car", "red-racer", box=NEW)
        assert tags(tagged, "old.jpg") == {"blue-bolt": "human", "red-racer": "human"}
        assert tagged.record("old.jpg")["confirmed"] is True


@pytest.mark.parametrize("between", [{}, {"regions": "off", "retag": True}])
def test_the_next_run_looks_for_the_cars_beside_a_box_that_was_drawn(gallery: Gallery, between: dict[str, Any]) -> None:
    paint_four(gallery)
    gallery.tag()
    with served(gallery.path) as review:
        say(review, "four.jpg", "car", "yellow-yeti", to=RED)
    if between:  # as a whole once more
        gallery.tag(**between)
        with served(gallery.path) as review:
            say(review, "four.jpg", "unknown", to=NEW)
            assert gallery.record("four.jpg").get("confirmed") is None
            say(review, "four.jpg", "none", box=NEW)
    gallery.tag(detector="fake")
    there = boxes(gallery, "four.jpg")
    assert there[tuple(RED)] == ("yellow-yeti", "human")
    assert sorted(source for _, source in there.values()) == ["human", "model", "model", "model"]
    assert tags(gallery) == {"yellow-yeti": "human", "blue-bolt": "model"}
    assert "whole" not in gallery.record("four.jpg")["by_model"]


def test_a_box_that_is_moved_keeps_its_name_and_the_model_its_own(tagged: Gallery) -> None:
    model = tagged.record("four.jpg")
    with served(tagged.path) as review:
        say(review, "four.jpg", "car", "red-racer", box=RED, to=NEW)
        assert tuple(RED) not in boxes(tagged)
        assert boxes(tagged)[tuple(NEW)] == ("red-racer", "human")
        assert tagged.record("four.jpg")["tags"][0] == {
            "car": "red-racer", "score": 1.0, "source": "human", "box": NEW,
        }  # fmt: skip
        say(review, "four.jpg", "car", "red-racer", box=NEW, to=RED)  # and back, exactly
        assert [one["box"] for one in tagged.record("four.jpg")["regions"]] == BOXES
        say(review, "four.jpg", "car", "red-racer", box=RED, to=[0.06, 0.46, 0.4, 0.4])
        say(review, "four.jpg", None, box=[0.06, 0.46, 0.4, 0.4])
        assert tagged.record("four.jpg") == model, "taken back, the model's box stands where it stood"


def test_a_word_on_a_box_is_taken_back_alone(tagged: Gallery) -> None:
    model = tagged.record("four.jpg")
    with served(tagged.path) as review:
        for box in BOXES:
            say(review, "four.jpg", "car", "yellow-yeti", box=box)
        say(review, "four.jpg", None, box=BLUE)
        assert boxes(tagged)[tuple(BLUE)] == ("blue-bolt", "model")
        assert tagged.record("four.jpg").get("confirmed") is None
        for box in (RED, YELLOW, ORANGE):
            say(review, "four.jpg", None, box=box)
        assert tagged.record("four.jpg") == model
        for box in BOXES:
            say(review, "four.jpg", "none", box=box)
        assert (tagged.record("four.jpg")["outcome"], tagged.record("four.jpg")["confirmed"]) == ("no-car", True)
        say(review, "four.jpg", None)
        assert tagged.record("four.jpg") == model


# --- what is said of the photo as a whole ---------------------------------------------------------------------------


def test_naming_a_photo_names_its_only_box(tagged: Gallery) -> None:
    box = (0.1, 0.1, 0.8, 0.8)
    with served(tagged.path) as review:
        say(review, "one.jpg", "car", "blue-bolt")
        assert boxes(tagged, "one.jpg") == {box: ("blue-bolt", "human")}
        assert tagged.record("one.jpg")["tags"][0]["box"] == list(box)
        say(review, "one.jpg", "none")
        assert boxes(tagged, "one.jpg") == {}
        say(review, "one.jpg", "unknown")
        assert boxes(tagged, "one.jpg") == {box: ("unknown", "human")}
        say(review, "one.jpg", "car", "blue-bolt", "red-racer")
        assert set(tags(tagged, "one.jpg")) == {"blue-bolt", "red-racer"}


def test_naming_a_photo_of_several_boxes_leaves_them_to_the_model(tagged: Gallery, tmp_path: Path) -> None:
    before = tagged.record("four.jpg")["regions"]
    labels = tmp_path / "labels.csv"
    with served(tagged.path, labels=labels) as review:
        say(review, "four.jpg", "car", "red-racer", "yellow-yeti")
        record = tagged.record("four.jpg")
        assert (record["regions"], record["confirmed"]) == (before, True)
        assert labels.read_text() == "file,label\nfour.jpg,Red Racer|Yellow Yeti\n", "as before there were boxes"
        say(review, "four.jpg", "car", "blue-bolt", box=RED)
        assert tags(tagged) == {"yellow-yeti": "human", "blue-bolt": "human"}
        assert sorted(labels.read_text().splitlines()) == [
            "file,label,x,y,w,h",
            "four.jpg,Blue Bolt,0.05,0.45,0.4,0.4",
            "four.jpg,Yellow Yeti",
        ]
        say(review, "four.jpg", "none")
        assert boxes(tagged) == {}
        assert labels.read_text().splitlines()[1:] == ["four.jpg,none"]


def test_a_later_word_of_the_photo_overrules_a_name_of_a_box(tagged: Gallery) -> None:
    with served(tagged.path) as review:
        say(review, "four.jpg", "car", "red-racer", box=RED)
        say(review, "four.jpg", "car", "blue-bolt")
        assert boxes(tagged)[tuple(RED)] == ("unknown", "human"), "still a car"
        assert tags(tagged) == {"blue-bolt": "human"}


# --- nonsense -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"to": [0.5, 0.5, 0.6, 0.1], "truth": "unknown"}, "outside of the photo"),
        ({"to": [0.5, 0.5, 0.00001, 0.1], "truth": "unknown"}, "has no size"),
        ({"to": [-0.1, 0.5, 0.1, 0.1], "truth": "unknown"}, "$[0].to[0]"),
        ({"to": [0.1, 0.1, 0.1], "truth": "unknown"}, "$[0].to"),
        ({"to": [0.1, 0.1, 0.1, "1"], "truth": "unknown"}, "$[0].to[3]"),
        ({"to": NEW, "truth": "none"}, "shows a car"),
        ({"to": NEW, "truth": None}, "shows a car"),
        ({"box": RED, "to": [0.9, 0.9, 0.2, 0.2], "truth": "unknown"}, "outside of the photo"),
        ({"box": RED, "truth": "car", "cars": ["red-racer", "blue-bolt"]}, "draw another box"),
    ],
)
def test_a_box_that_is_none_is_refused_with_place_and_reason(tagged: Gallery, fields: Any, reason: str) -> None:
    before = tagged.index_file.read_bytes()
    with served(tagged.path) as review:
        answer = review.ask("decide", json.dumps([{"path": "four.jpg"} | fields]).encode())
        error = answer.json()["error"]
        assert (answer.status, reason in error, "\n" in error) == (400, True, False), error
        assert review.data()["step"] == 0
    assert tagged.index_file.read_bytes() == before


@pytest.mark.parametrize(
    ("truth", "cars", "where"),
    [
        ("unknown", (), {"box": NEW}),
        ("unknown", (), {"to": BLUE}),
        ("unknown", (), {"box": RED, "to": BLUE}),
        ("car", ("no-such-car",), {"box": RED}),
        ("car", (), {"box": RED}),
    ],
)
def test_what_does_not_go_with_the_photo_changes_nothing(tagged: Gallery, truth: Any, cars: Any, where: Any) -> None:
    before = tagged.index_file.read_bytes()
    with served(tagged.path) as review:
        answer = say(review, "four.jpg", truth, *cars, **where)
        assert (answer.status, "four.jpg" in answer.json()["error"]) == (409, True)
    assert tagged.index_file.read_bytes() == before


# --- others write too -----------------------------------------------------------------------------------------------


def test_of_two_windows_the_later_does_not_undo_the_earlier_unseen(tagged: Gallery) -> None:
    with served(tagged.path) as one, served(tagged.path) as two:
        seen = two.photo("four.jpg")["state"]
        say(one, "four.jpg", "car", "yellow-yeti", box=RED)
        said = {"path": "four.jpg", "truth": "none", "box": BLUE, "seen": seen}
        assert two.ask("decide", json.dumps([said]).encode()).json()["refused"] == ["four.jpg"]
        assert boxes(tagged)[tuple(BLUE)] == ("blue-bolt", "model")
        said["seen"] = two.photo("four.jpg")["state"]
        assert two.ask("decide", json.dumps([said]).encode()).json()["refused"] == []
        assert boxes(tagged)[tuple(RED)] == ("yellow-yeti", "human")
        assert one.undo().json()["refused"] == ["four.jpg"]


def test_boxes_said_in_two_windows_at_once_are_all_there(tagged: Gallery) -> None:
    place = place_of(tagged.path)
    with served(tagged.path) as one, served(tagged.path) as two:
        with locks.replacing(place):
            said = [
                threading.Thread(target=say, args=(review, "four.jpg", "car", "yellow-yeti"), kwargs={"box": box})
                for review, box in zip((one, two, one, two), BOXES, strict=True)
            ]
            for thread in said:
                thread.start()
        for thread in said:
            thread.join(30)
    assert boxes(tagged) == {tuple(box): ("yellow-yeti", "human") for box in BOXES}
    assert tagged.record("four.jpg")["confirmed"] is True


def test_a_run_beside_it_keeps_what_was_said(tagged: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    from cartag.tagging.work import Work

    take = Work._take

    def decide_first(self: Any, batch: Any) -> None:
        say(review, "four.jpg", "car", "yellow-yeti", box=RED)
        say(review, "four.jpg", "unknown", to=NEW)
        take(self, batch)

    monkeypatch.setattr(Work, "_take", decide_first)
    tagged.paint("new.jpg", "yellow", mark=9)
    with served(tagged.path) as review:
        tagged.tag()
    said = boxes(tagged)
    assert (said[tuple(RED)], said[tuple(NEW)]) == (("yellow-yeti", "human"), ("unknown", "human"))


def test_undo_after_a_run_keeps_what_the_run_has_learnt(tagged: Gallery) -> None:
    with served(tagged.path) as review:
        say(review, "four.jpg", "car", "yellow-yeti", box=RED)
        say(review, "four.jpg", "none", box=BLUE)
        record = tagged.record("four.jpg")
        again = [region(BOXES[2], "yellow-yeti", 0.8) if one["box"] == YELLOW else one for one in record["regions"]]
        kept = [tag for tag in record["tags"] if tag["source"] == "human"]
        tagged.edit_photo("four.jpg", regions=again, tags=[*kept])
        review.undo()
        assert boxes(tagged)[tuple(RED)] == ("yellow-yeti", "human")
        assert boxes(tagged)[tuple(BLUE)] == ("blue-bolt", "model")
        assert boxes(tagged)[tuple(YELLOW)] == ("yellow-yeti", "model")
        assert tags(tagged) == {"yellow-yeti": "human", "blue-bolt": "model"}


def test_a_box_that_she_drew_is_hers_alone_after_a_run_has_looked_into_it(gallery: Gallery) -> None:
    paint_four(gallery)
    gallery.tag(detector="fake")
    before = gallery.record("four.jpg")
    for truth in ("none", None):
        with served(gallery.path) as review:
            say(review, "four.jpg", "car", "yellow-yeti", to=NEW)
            gallery.tag(detector="fake")
            drawn = next(one for one in gallery.record("four.jpg")["regions"] if one["box"] == NEW)
            assert "found" not in drawn
            say(review, "four.jpg", "unknown", box=NEW)
            again = next(one for one in gallery.record("four.jpg")["regions"] if one["box"] == NEW)
            assert again["by_model"] == drawn["by_model"], "what the model says of it stays beside another word"
            say(review, "four.jpg", truth, box=NEW)
        assert gallery.record("four.jpg") == before, "the detector sees none there: nothing is left of it"


# --- boxes that the last run did not look at ------------------------------------------------------------------------


def follows(record: dict[str, Any]) -> bool:
    """Whether the model's part of a photo is what its boxes say."""
    regions = msgspec.convert(record["regions"], list[Region])
    verdict = follow(regions, 0)
    return (verdict.outcome, {tag.car for tag in verdict.tags}) == (
        record["outcome"],
        {tag["car"] for tag in record["tags"]},
    )


@pytest.mark.parametrize("how", ["box", "photo", "undo"])
@pytest.mark.parametrize("mode", ["main", "off"])
def test_a_word_on_a_box_that_no_run_looks_at_any_more_is_taken_back(gallery: Gallery, how: str, mode: str) -> None:
    paint_four(gallery)
    gallery.tag(detector="fake")
    blue = next(one["box"] for one in gallery.record("four.jpg")["regions"] if one["tags"][0]["car"] == "blue-bolt")
    with served(gallery.path) as review:
        say(review, "four.jpg", "car", "yellow-yeti", box=blue)
        gallery.tag(detector="fake", regions=mode)
        if how == "undo":
            assert review.undo().json()["refused"] == []
        else:
            say(review, "four.jpg", None, **({"box": blue} if how == "box" else {}))
    record = gallery.record("four.jpg")
    if mode == "off":
        assert "regions" not in record
    else:
        assert follows(record), "what it says of the photo and of its boxes is one"
    assert "yellow-yeti" not in {tag["car"] for tag in record["tags"]}
    gallery.tag(detector="fake", regions=mode)
    after = gallery.record("four.jpg")
    assert "confirmed" not in after
    expected = {"main": ["red-racer"], "off": None}[mode]
    assert (None if expected is None else [tag["car"] for tag in after["tags"]]) == expected
    assert len(after.get("regions", ())) == (1 if mode == "main" else 0)


# --- whatever is said, in whatever order ----------------------------------------------------------------------------

_PATHS = ("four.jpg", "one.jpg", "old.jpg")
_place = st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(1, 2), st.integers(1, 2)).map(
    lambda at: tuple(round(value / 10, 4) for value in at)
)
_answers = st.sampled_from([("unknown", ()), ("car", ("red-racer",)), ("car", ("yellow-yeti",))])
_ways = st.tuples(
    st.sampled_from(["whole", "name", "name", "draw", "move", "delete", "back", "undo", "again"]),
    st.sampled_from(_PATHS),
    st.integers(0, 7),
    _place,
    _answers,
    st.sampled_from([None, "none", "said", "two"]),
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    folder = tmp_path_factory.mktemp("boxes")
    gallery = Gallery(folder / "gallery", write_catalog(folder))
    gallery.path.mkdir()
    paint_four(gallery)
    gallery.paint("one.jpg", "red", mark=1)
    gallery.paint("old.jpg", "blue", mark=2)
    gallery.tag()
    put_regions(gallery, "four.jpg", four_regions())
    put_regions(gallery, "one.jpg", [region([0.1, 0.1, 0.8, 0.8], "red-racer")])
    return gallery


def live(record: PhotoRecord) -> dict[tuple[float, ...], tuple[tuple[str, ...], str]]:
    regions = () if not isinstance(record.regions, tuple) else record.regions
    return {
        r.box: (tuple(tag.car for tag in r.tags), r.source)
        for r in regions
        if (r.source, r.outcome) != ("human", "no-car")
    }


@given(steps=st.lists(_ways, max_size=12))
@settings(max_examples=50, deadline=None)
def test_whatever_is_done_to_boxes_what_was_said_last_stands(base: Gallery, steps: list[Any]) -> None:
    start, labels = base.index_file.read_bytes(), base.path / "labels.csv"
    first = dict(cartag.load(base.path).photos)
    try:
        session = Session(base.path, place_of(base.path), labels)
        stack: list[tuple[dict[str, PhotoRecord], bytes | None]] = []
        for way, path, which, to, (truth, cars), whole in steps:
            before = dict(session.index.photos)
            there = live(before[path])
            box = list(there)[which % len(there)] if there else None
            if way == "again":
                session, stack = Session(base.path, place_of(base.path), labels), []
            elif way == "undo":
                if stack:
                    session.undo()
                    records, rows = stack.pop()
                    assert dict(session.index.photos) == records
                    assert labels.read_bytes() == rows if rows is not None else True
                else:
                    with pytest.raises(ReviewError):
                        session.undo()
            else:
                decision = _decision(way, path, box, to, (truth, cars), whole)
                if decision is None:
                    continue
                if decision.to in there and decision.to != decision.box:
                    with pytest.raises(ReviewError, match="already"):
                        session.decide([decision])
                    continue
                rows = labels.read_bytes() if labels.exists() else None
                step = session.snapshot().state.step
                session.decide([decision])
                if session.snapshot().state.step != step:
                    stack.append((before, rows))
                _check(before[path], session.index.photos[path], decision)
            for name, record in session.index.photos.items():
                assert _unordered(as_model_has_it(record)) == _unordered(first[name]), "the model's own say is there"
        check_index(base.index_file)
        assert dict(cartag.load(base.path).photos) == dict(session.index.photos), "what the page is told is in the file"
        _check_labels(base, session, labels)
    finally:
        base.index_file.write_bytes(start)
        labels.unlink(missing_ok=True)


def _decision(way: str, path: str, box: Any, to: Any, said: Any, whole: str | None) -> Decision | None:
    truth, cars = said
    if way == "whole":
        if whole in (None, "none"):
            return Decision(path=path, truth=whole)  # type: ignore[arg-type]
        both = ("red-racer", "blue-bolt")
        return (
            Decision(path=path, truth="car", cars=both)
            if whole == "two"
            else Decision(path=path, truth=truth, cars=cars)
        )
    if way == "draw":
        return Decision(path=path, truth=truth, cars=cars, to=to)
    if box is None:
        return None
    if way == "move":
        return Decision(path=path, truth=truth, cars=cars, box=box, to=to)
    if way == "name":
        return Decision(path=path, truth=truth, cars=cars, box=box)
    return Decision(path=path, truth="none" if way == "delete" else None, box=box)


def _check(before: PhotoRecord, after: PhotoRecord, said: Decision) -> None:
    """Against a model of it: the box that was spoken of says what was said, every other what it said before."""
    was, now = live(before), live(after)
    if said.is_of_box:
        expected = dict(was)
        if said.box is not None and (said.to is not None or said.truth == "none"):
            del expected[said.box]
        if said.truth in ("car", "unknown"):
            expected[said.to or said.box] = (said.cars, "human")
        if said.truth is None:
            assert {box: what for box, what in now.items() if box in was and box != said.box} == {
                box: what for box, what in was.items() if box != said.box
            }
            assert now.get(said.box, ((), "model"))[1] == "model"
        else:
            assert now == expected
    elif said.truth is not None:
        assert after.confirmed is True
        assert {tag.car for tag in after.tags} == set(said.cars)
        assert after.outcome == {"car": "tagged", "unknown": "unknown", "none": "no-car"}[said.truth]
    hers = {car for cars, source in now.values() if source == "human" for car in cars}
    assert hers <= {tag.car for tag in after.tags if tag.source == "human"}
    if before.path == "old.jpg":  # it was never looked at for cars
        if said.is_of_box and before.confirmed is not True:
            assert after.confirmed is not True, "there may be others"
            assert "blue-bolt" in {tag.car for tag in after.tags}, "what the photo had it keeps"
    elif now and all(source == "human" for _, source in now.values()):
        assert after.confirmed is True
    if any(source == "model" for _, source in now.values()) and said.is_of_box and before.confirmed is not True:
        assert after.confirmed is not True, "boxes are left to be confirmed"


def _unordered(record: PhotoRecord | None) -> Any:
    assert record is not None
    regions = sorted(record.regions, key=lambda r: r.box) if isinstance(record.regions, tuple) else []
    return record.outcome, record.tags, record.candidates, regions


def _check_labels(base: Gallery, session: Session, labels: Path) -> None:
    """What the CSV says, as it is read back, is what the index says."""
    records = session.index.photos
    settled = {path for path, record in records.items() if record.confirmed is True}
    cars = session.index.header.catalog.cars
    there = {label.file: label for label in read_labels(labels, cars, records)} if settled else {}
    assert set(there) == settled
    for path, label in there.items():
        record = records[path]
        truth = {"tagged": "car", "unknown": "unknown", "no-car": "none"}[record.outcome]
        assert (label.truth, label.cars) == (truth, {tag.car for tag in record.tags})
        at = live(record)
        for box in label.boxes:
            assert at[box.box][1] == "human"
            assert set(at[box.box][0]) == box.cars
