"""A review: what a person says stands in the files at once, and nothing else changes, whoever else writes them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import Gallery, later, snapshot
from hypothesis import given, settings, strategies as st
from processes import ROOT
from reviews import Served, served, without_csv

import cartag
from cartag.errors import IndexFileError, LabelsError, ReviewError
from cartag.reviewing import Decision, Session
from cartag.state import index as indexes, locks
from cartag.state.place import place_of
from cartag.values import is_settled_by_human


@pytest.fixture
def tagged(gallery: Gallery) -> Gallery:
    """Two red photos, a blue one in a folder, an orange one, a green one, and one that cannot be read."""
    for i, (name, colour) in enumerate(
        {"a.jpg": "red", "b.jpg": "red", "day-1/é.jpg": "blue", "o.jpg": "orange", "g.png": "green"}.items()
    ):
        gallery.paint(name, colour, mark=i + 1)
    (gallery.path / "bad.jpg").write_bytes(b"no picture")
    gallery.tag()
    return gallery


def said(gallery: Gallery, name: str) -> tuple[str, list[tuple[str, str]], bool | None]:
    record = gallery.record(name)
    return record["outcome"], [(tag["car"], tag["source"]) for tag in record["tags"]], record.get("confirmed")


def without_date(gallery: Gallery) -> dict[str, Any]:
    return gallery.raw() | {"updated": None}


# --- what is said stands ------------------------------------------------------------------------------------------


def test_what_a_person_says_is_in_the_index_at_once_and_no_run_changes_it(tagged: Gallery) -> None:
    before = snapshot(tagged.path)
    with served(tagged.path) as review:
        assert review.decide(
            ("a.jpg", "car", "red-racer"),
            ("b.jpg", "car", "blue-bolt", "yellow-yeti"),
            ("day-1/é.jpg", "unknown"),
            ("o.jpg", "none"),
            ("bad.jpg", "car", "red-racer"),
        ).status == 200  # fmt: skip
        wanted = {
            "a.jpg": ("tagged", [("red-racer", "human")], True),
            "b.jpg": ("tagged", [("blue-bolt", "human"), ("yellow-yeti", "human")], True),
            "day-1/é.jpg": ("unknown", [], True),
            "o.jpg": ("no-car", [], True),
            "bad.jpg": ("tagged", [("red-racer", "human")], True),
        }
        assert {name: said(tagged, name) for name in wanted} == wanted
        assert said(tagged, "g.png") == ("no-car", [], None)
    for options in ({}, {"retag": True}, {"threshold": 0.99}):
        tagged.tag(**options)
        assert {name: said(tagged, name) for name in wanted} == wanted
    assert snapshot(tagged.path) == before
    report = review.end()
    assert (report.confirmed, report.corrected, report.to_do) == (1, 4, 1)


def test_what_the_model_says_stands_beside_it_and_a_box_stays(tagged: Gallery) -> None:
    tagged.edit_photo(
        "a.jpg", tags=[{"car": "red-racer", "score": 0.9, "source": "model", "box": [0.1, 0.2, 0.5, 0.5]}]
    )
    before = tagged.record("a.jpg")
    with served(tagged.path) as review:
        review.decide(("a.jpg", "car", "blue-bolt"))
        assert tagged.record("a.jpg")["by_model"] == {key: before[key] for key in ("outcome", "tags", "candidates")}
        assert tagged.record("a.jpg")["candidates"] == []
        review.decide(("a.jpg", "none"))
        assert tagged.record("a.jpg")["by_model"]["tags"] == before["tags"]
        assert tagged.find("red", min_score=0.001) == ["b.jpg"]
        review.undo()
        review.undo()
        review.decide(("a.jpg", "car", "red-racer"))
        assert tagged.record("a.jpg")["tags"][0]["box"] == [0.1, 0.2, 0.5, 0.5]


def test_another_catalog_changes_what_the_model_says_and_nothing_else(tagged: Gallery, tmp_path: Path) -> None:
    from conftest import write_catalog

    with served(tagged.path) as review:
        review.decide(("a.jpg", "car", "blue-bolt"))
    write_catalog(tmp_path, "name: few\ncars: [Blue Bolt, Red Rocket]\nother_cars: [Orange Other]\n", "few.yaml")
    tagged.tag(catalog=tmp_path / "few.yaml")
    assert said(tagged, "a.jpg") == ("tagged", [("blue-bolt", "human")], True)
    assert [tag["car"] for tag in tagged.record("a.jpg")["by_model"]["tags"]] == ["red-rocket"]


def test_fields_of_others_survive(tagged: Gallery) -> None:
    tagged.edit(lambda raw: raw.update(house="ours"))
    tagged.edit_photo("a.jpg", stars=5)
    with served(tagged.path) as review:
        review.decide(("a.jpg", "none"))
    assert tagged.raw()["house"] == "ours"
    assert tagged.record("a.jpg")["stars"] == 5


def test_undo_goes_back_step_by_step(tagged: Gallery) -> None:
    before = without_date(tagged)
    with served(tagged.path) as review:
        review.decide(("a.jpg", "none"), ("b.jpg", "unknown"))
        between = without_date(tagged)
        review.decide(("a.jpg", "car", "blue-bolt"))
        assert review.undo().json()["photos"][0]["outcome"] == "no-car"
        assert without_date(tagged) == between
        answer = review.undo().json()
        assert {photo["path"] for photo in answer["photos"]} == {"a.jpg", "b.jpg"}
        assert answer["step"] == 0
        assert without_date(tagged) == before
        assert review.undo().status == 409
    assert review.end().corrected == 0


def test_undo_leaves_alone_what_somebody_else_changed_since(tagged: Gallery) -> None:
    with served(tagged.path) as review:
        review.decide(("a.jpg", "none"), ("b.jpg", "none"))
        tagged.edit_photo("a.jpg", outcome="unknown")
        assert review.undo().json()["refused"] == ["a.jpg"]
    assert said(tagged, "a.jpg") == ("unknown", [], True)
    assert said(tagged, "b.jpg") == ("tagged", [("red-racer", "model")], None)


def test_a_word_taken_back_gives_the_model_its_own_back(tagged: Gallery) -> None:
    before = tagged.record("a.jpg")
    with served(tagged.path) as review:
        review.decide(("a.jpg", "car", "blue-bolt"))
    assert review.end().corrected == 1
    with served(tagged.path) as review:
        review.decide(("a.jpg", None), ("b.jpg", None))
        assert tagged.record("a.jpg") == before
    assert review.end().corrected == 0


def test_a_word_taken_back_where_that_is_not_known_lets_the_next_run_ask_the_model(tagged: Gallery) -> None:
    before = tagged.record("a.jpg"), tagged.record("bad.jpg")
    for name in ("a.jpg", "bad.jpg"):  # settled by another program, which did not keep what the model says
        tagged.edit_photo(name, tags=[], candidates=[], outcome="no-car", confirmed=True)
    with served(tagged.path) as review:
        review.decide(("a.jpg", None), ("bad.jpg", None))
        assert said(tagged, "a.jpg") == ("unknown", [], False)
        assert said(tagged, "bad.jpg") == ("error", [], False)
        assert review.photo("a.jpg")["settled"] is False
    report = tagged.tag()
    assert (report.scored, report.embedded, report.unchanged) == (1, 0, 4)
    assert (tagged.record("a.jpg"), tagged.record("bad.jpg")) == before


def test_a_tag_by_hand_beside_the_model_s_is_taken_back_alone(tagged: Gallery) -> None:
    tagged.tag_by_hand("a.jpg", "blue-bolt")
    with served(tagged.path) as review:
        review.decide(("a.jpg", None))
    assert said(tagged, "a.jpg") == ("tagged", [("red-racer", "model")], False)


# --- nonsense ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "decision",
    [
        ("nowhere.jpg", "none"),
        ("a.jpg", "car"),
        ("a.jpg", "car", "no-such-car"),
        ("a.jpg", "none", "red-racer"),
        ("a.jpg", "maybe"),
        ("a.jpg", None, "red-racer"),
    ],
)
def test_a_decision_that_makes_no_sense_changes_nothing(tagged: Gallery, decision: Any) -> None:
    before = tagged.index_file.read_bytes()
    with served(tagged.path) as review:
        answer = review.decide(("b.jpg", "none"), decision)
        assert answer.status in (400, 409)
        assert "error" in answer.json()
        assert review.data()["step"] == 0
    assert tagged.index_file.read_bytes() == before


@pytest.mark.parametrize("body", [b"", b"{}", b"[[", b"\xff", b'[{"path": 1}]', b'[{"path": "a.jpg"}]'])
def test_a_body_that_is_no_list_of_decisions_is_refused(tagged: Gallery, body: bytes) -> None:
    with served(tagged.path) as review:
        assert review.ask("decide", body).status == 400


def test_a_body_without_end_is_refused(tagged: Gallery) -> None:
    with served(tagged.path) as review:
        assert review.ask("decide", b" " * (33 * 2**20)).status == 400


def test_a_car_of_an_earlier_catalog_may_stay(tagged: Gallery) -> None:
    tagged.tag_by_hand("a.jpg", "old-timer")
    with served(tagged.path) as review:
        assert review.decide(("a.jpg", "car", "old-timer")).status == 200
        assert review.decide(("b.jpg", "car", "old-timer")).status == 409
    assert said(tagged, "a.jpg")[1] == [("old-timer", "human")]


# --- others write too -------------------------------------------------------------------------------------------


def test_what_others_write_meanwhile_is_kept_and_shown(tagged: Gallery) -> None:
    with served(tagged.path) as review:
        edition = review.data()["edition"]
        tagged.paint("new.jpg", "yellow")
        (tagged.path / "g.png").unlink()
        tagged.tag()
        answer = review.decide(("a.jpg", "none")).json()
        assert answer["edition"] != edition
        assert {photo["path"] for photo in review.data()["photos"]} >= {"new.jpg", "a.jpg"}
        assert "g.png" not in {photo["path"] for photo in review.data()["photos"]}
        assert review.decide(("g.png", "none")).status == 409
    assert said(tagged, "new.jpg") == ("tagged", [("yellow-yeti", "model")], None)
    assert said(tagged, "a.jpg") == ("no-car", [], True)


def test_a_run_under_way_takes_up_what_is_said_meanwhile(tagged: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    from cartag.tagging.work import Work

    take = Work._take

    def decide_first(self: Any, batch: Any) -> None:
        review.decide(("a.jpg", "car", "yellow-yeti"))
        take(self, batch)

    monkeypatch.setattr(Work, "_take", decide_first)
    with served(tagged.path) as review:
        tagged.tag(retag=True)
    assert said(tagged, "a.jpg") == ("tagged", [("yellow-yeti", "human")], True)


def test_of_two_that_replace_the_index_one_waits(tagged: Gallery) -> None:
    place = place_of(tagged.path)
    with served(tagged.path) as review:
        with locks.replacing(place):
            waiting = threading.Thread(target=review.decide, args=(("a.jpg", "none"),))
            waiting.start()
            waiting.join(0.5)
            assert waiting.is_alive()
            assert said(tagged, "a.jpg")[2] is None
        waiting.join(20)
    assert said(tagged, "a.jpg")[2] is True


def test_who_waits_too_long_is_told(tagged: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_PATIENCE", 0.05)
    with served(tagged.path) as review, locks.replacing(place_of(tagged.path)):
        answer = review.decide(("a.jpg", "none"))
        assert (answer.status, "another cartag" in answer.json()["error"]) == (409, True)


@pytest.mark.damaged_index
def test_an_index_damaged_meanwhile_is_left_alone(tagged: Gallery) -> None:
    with served(tagged.path) as review:
        tagged.index_file.write_bytes(b'{"half": ')
        answer = review.decide(("a.jpg", "none"))
        assert (answer.status, "damaged index" in answer.json()["error"]) == (409, True)
        assert review.ask("data").status == 409
        assert tagged.index_file.read_bytes() == b'{"half": '


def test_an_index_that_cannot_be_written_is_said_and_nothing_is_done(
    tagged: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with served(tagged.path) as review:
        monkeypatch.setattr(indexes, "replace_file", full)
        answer = review.decide(("a.jpg", "none"))
        assert (answer.status, "No space left" in answer.json()["error"]) == (409, True)
        monkeypatch.undo()
        assert review.photo("a.jpg")["outcome"] == "tagged"
        assert review.data()["step"] == 0


# --- hand labels ------------------------------------------------------------------------------------------------


def test_labels_are_made_and_kept_in_step(tagged: Gallery, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    with served(tagged.path, labels=labels) as review:
        assert not labels.exists()
        review.decide(("a.jpg", "car", "blue-bolt", "red-racer"), ("day-1/é.jpg", "none"), ("o.jpg", "unknown"))
        wanted = "file,label\na.jpg,Red Racer|Blue Bolt\nday-1/é.jpg,none\no.jpg,unknown\n"
        assert labels.read_text(encoding="utf-8") == wanted
        review.decide(("a.jpg", "car", "red-racer"), ("o.jpg", None))
        assert labels.read_text(encoding="utf-8") == "file,label\na.jpg,Red Racer\nday-1/é.jpg,none\n"
        review.undo()
        assert labels.read_text(encoding="utf-8") == wanted
        review.undo()
        assert labels.read_text(encoding="utf-8") == "file,label\n"
    assert review.end().labels == labels


def test_labels_that_are_there_are_shown_and_only_their_row_changes(tagged: Gallery) -> None:
    labels = tagged.path / "labels.csv"
    text = '\ufeffwho,file,label\r\nme,a.jpg,SCUDERIA\r\n"you, too",./b.jpg,Trabant\r\nme,elsewhere.jpg,none\r\n'
    labels.write_bytes(text.encode())
    with served(tagged.path, labels=labels) as review:
        assert review.photo("a.jpg")["label"] == {"truth": "car", "cars": ["red-racer"]}
        assert review.photo("b.jpg")["label"] == {"truth": "unknown", "cars": []}
        review.decide(("a.jpg", "car", "red-racer"), ("b.jpg", "unknown"))
        assert labels.read_bytes() == text.encode(), "the same said in other words"
        review.decide(("b.jpg", "car", "blue-bolt"), ("g.png", "none"))
        assert labels.read_bytes() == (text.replace("Trabant", "Blue Bolt") + ",g.png,none\r\n").encode()
        review.undo()
        assert labels.read_bytes() == text.encode()
        review.decide(("b.jpg", "car", "blue-bolt"))
        review.decide(("b.jpg", None))
        assert labels.read_bytes() == text.encode(), "as it was before it was settled here"
        review.undo()
        review.decide(("b.jpg", None))
        assert labels.read_bytes() == text.encode(), "also a second time"
    with served(tagged.path, labels=labels) as review:
        review.decide(("a.jpg", None))
        assert "SCUDERIA" not in labels.read_text(encoding="utf-8"), "said in an earlier review"
        review.undo()
        assert labels.read_bytes() == text.encode(), "with the columns that cartag does not know"


def test_the_label_of_a_car_that_the_index_has_by_name_alone_is_that_car(tagged: Gallery) -> None:
    """As long as the next `tag` has not scored it, or when it has left the catalog and she named photos by it."""
    labels, wanted = tagged.path / "labels.csv", {"truth": "car", "cars": ["lada-niva"]}
    with served(tagged.path, labels=labels) as review:
        assert review.ask("car", json.dumps({"name": "Lada Niva", "aliases": []}).encode()).status == 200
        review.decide(("a.jpg", "car", "lada-niva"), ("b.jpg", "car", "red-racer", "lada-niva"), ("o.jpg", "unknown"))
        text = labels.read_text()
        assert "a.jpg,lada-niva\n" in text
        assert review.photo("a.jpg")["label"] == wanted
        assert review.photo("b.jpg")["label"] == {"truth": "car", "cars": ["lada-niva", "red-racer"]}
        assert review.photo("o.jpg")["label"] == {"truth": "unknown", "cars": []}
        review.decide(("a.jpg", "car", "lada-niva"))
        assert labels.read_text() == text
    tagged.tag(catalog="sports-cars")
    labels.write_text("file,label\na.jpg,unknown: Lada Niva\n")
    with served(tagged.path, labels=labels) as review:
        assert review.photo("a.jpg")["label"] == wanted


@pytest.mark.parametrize("mark", [";", "\t"])
def test_labels_of_a_spreadsheet_keep_what_parts_their_columns(tagged: Gallery, mark: str) -> None:
    labels = tagged.path / "labels.csv"
    text = '\ufeffwho;file;label\r\n"me";a.jpg;SCUDERIA\r\nyou, too;b.jpg;Trabant\r\n'.replace(";", mark)
    labels.write_bytes(text.encode())
    with served(tagged.path, labels=labels) as review:
        assert review.photo("a.jpg")["label"] == {"truth": "car", "cars": ["red-racer"]}
        review.decide(("b.jpg", "car", "blue-bolt"), ("g.png", "none"))
        added = ";g.png;none\r\n".replace(";", mark)
        assert labels.read_bytes() == (text.replace("Trabant", "Blue Bolt") + added).encode()
        review.undo()
        assert labels.read_bytes() == text.encode()
        review.decide(("b.jpg", "none"))
        labels.write_bytes(b"file,label\nb.jpg,none\n")
        review.undo()
        assert labels.read_text(encoding="utf-8").startswith("file,label\n")
        assert mark not in labels.read_text(encoding="utf-8"), "saved with commas since"
    assert cartag.evaluate(tagged.path, labels).photos == 1


def test_labels_changed_by_hand_meanwhile_are_kept(tagged: Gallery, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    with served(tagged.path, labels=labels) as review:
        review.decide(("a.jpg", "none"))
        labels.write_text("file,label\no.jpg,Trabant\n")
        review.decide(("b.jpg", "none"))
        assert labels.read_text() == "file,label\no.jpg,Trabant\nb.jpg,none\n"
        assert review.photo("o.jpg")["label"]["truth"] == "unknown"
        labels.write_text("nonsense\n")
        before = tagged.index_file.read_bytes()
        answer = review.decide(("b.jpg", "unknown"))
        assert (answer.status, "expected the columns" in answer.json()["error"]) == (409, True)
        assert tagged.index_file.read_bytes() == before
        assert labels.read_text() == "nonsense\n"


@pytest.mark.parametrize("name", ["no/such/folder.csv", "gallery"])
def test_labels_that_cannot_be_are_refused_before_anything_is_served(
    tagged: Gallery, tmp_path: Path, name: str
) -> None:
    with pytest.raises(LabelsError):
        cartag.review(tagged.path, labels=tmp_path / name)


def test_learning_and_measuring_read_what_was_said(tagged: Gallery) -> None:
    with served(tagged.path, labels=tagged.path / "labels.csv") as review:
        review.decide(("a.jpg", "car", "blue-bolt"), ("b.jpg", "car", "red-racer"), ("g.png", "none"))
    for labels in ("labels.csv", "cartag.json"):
        result = cartag.evaluate(tagged.path, tagged.path / labels)
        assert (result.photos, result.settled_by_hand) == (3, 0)
        assert (result.top1, result.right_car_tagged, result.no_car_found) == (0.5, 0.5, 1.0), "the model is measured"


# --- several at once --------------------------------------------------------------------------------------------


def test_of_two_reviews_the_later_does_not_undo_the_earlier_unseen(tagged: Gallery) -> None:
    with served(tagged.path) as one, served(tagged.path) as two:
        seen = {photo["path"]: photo["state"] for photo in two.data()["photos"]}
        one.decide(("a.jpg", "none"), ("b.jpg", "none"))
        said = [
            {"path": name, "truth": "car", "cars": ["red-racer"], "seen": seen[name]} for name in ("a.jpg", "o.jpg")
        ]
        answer = two.ask("decide", json.dumps(said).encode()).json()
        assert answer["refused"] == ["a.jpg"]
        assert {photo["path"]: photo["outcome"] for photo in answer["photos"]} == {"a.jpg": "no-car", "o.jpg": "tagged"}
        assert said_of(tagged) == {"a.jpg": "no-car", "b.jpg": "no-car", "o.jpg": "tagged"}
        said = [{"path": "a.jpg", "truth": "unknown", "seen": two.photo("a.jpg")["state"]}]
        assert two.ask("decide", json.dumps(said).encode()).json()["refused"] == []
        assert said_of(tagged)["a.jpg"] == "unknown"
        assert one.undo().json()["refused"] == ["a.jpg"]
        assert said_of(tagged) == {"a.jpg": "unknown", "o.jpg": "tagged"}


def said_of(gallery: Gallery) -> dict[str, str]:
    return {photo["path"]: photo["outcome"] for photo in gallery.raw()["photos"] if photo.get("confirmed")}


@pytest.mark.parametrize("sessions", [1, 3])
def test_whoever_decides_at_the_same_time_nothing_is_lost(gallery: Gallery, tmp_path: Path, sessions: int) -> None:
    names = [f"{i:02}.jpg" for i in range(24)]
    for i, name in enumerate(names):
        gallery.paint(name, "red", mark=i + 1)
    gallery.tag()
    labels = tmp_path / "labels.csv"
    several = [Session(gallery.path, place_of(gallery.path), labels) for _ in range(sessions)]
    with ThreadPoolExecutor(8) as pool:
        for i, name in enumerate(names):
            pool.submit(several[i % sessions].decide, [Decision(path=name, truth="none")])
    assert said_of(gallery) == dict.fromkeys(names, "no-car")
    assert sorted(labels.read_text().splitlines()[1:]) == [f"{name},none" for name in names]


def test_reviews_of_two_indexes_may_share_their_labels(tagged: Gallery, tmp_path: Path) -> None:
    tagged.tag(index=tmp_path / "other" / "cartag.json")
    labels = tmp_path / "labels.csv"
    places = [place_of(tagged.path), place_of(tagged.path, tmp_path / "other" / "cartag.json")]
    several = [Session(tagged.path, place, labels) for place in places]
    names = ["a.jpg", "b.jpg", "o.jpg", "g.png"]
    with ThreadPoolExecutor(4) as pool:
        for i, name in enumerate(names * 2):
            pool.submit(several[i % 2 if i < 4 else (i + 1) % 2].decide, [Decision(path=name, truth="none")])
    assert sorted(labels.read_text().splitlines()[1:]) == sorted(f"{name},none" for name in names)


def test_a_run_waits_at_its_end_for_who_replaces_the_index(tagged: Gallery) -> None:
    before = tagged.index_file.read_bytes()
    tagged.paint("new.jpg", "yellow")
    with locks.replacing(place_of(tagged.path)):
        run = threading.Thread(target=tagged.tag)
        run.start()
        run.join(1.5)
        assert run.is_alive()
        assert tagged.index_file.read_bytes() == before
    run.join(30)
    assert tagged.record("new.jpg")["outcome"] == "tagged"


def test_of_two_that_replace_the_labels_one_waits(tagged: Gallery, tmp_path: Path) -> None:
    with served(tagged.path, labels=tmp_path / "labels.csv") as review:
        with locks.writing_into(tmp_path):
            waiting = threading.Thread(target=review.decide, args=(("a.jpg", "none"),))
            waiting.start()
            waiting.join(0.5)
            assert waiting.is_alive()
        waiting.join(20)
    assert (tmp_path / "labels.csv").read_text() == "file,label\na.jpg,none\n"


def test_undo_waits_too(tagged: Gallery) -> None:
    with served(tagged.path) as review:
        review.decide(("a.jpg", "none"))
        with locks.replacing(place_of(tagged.path)):
            waiting = threading.Thread(target=review.undo)
            waiting.start()
            waiting.join(0.5)
            assert waiting.is_alive()
            assert said_of(tagged) == {"a.jpg": "no-car"}
        waiting.join(20)
    assert said_of(tagged) == {}


def test_who_waits_when_the_review_ends_is_told_and_nothing_is_done(tagged: Gallery) -> None:
    answers = []
    with served(tagged.path) as review:
        with locks.replacing(place_of(tagged.path)):
            waiting = threading.Thread(target=lambda: answers.append(review.decide(("a.jpg", "none"))))
            waiting.start()
            waiting.join(0.5)
            began = time.monotonic()
            review.end()
            assert time.monotonic() - began < 10
        waiting.join(20)
    assert [answer.status for answer in answers] == [409]
    assert said_of(tagged) == {}


# --- what does not count ----------------------------------------------------------------------------------------


def test_saying_the_same_again_writes_nothing_and_is_no_step(tagged: Gallery) -> None:
    with served(tagged.path, labels=tagged.path / "labels.csv") as review:
        review.decide(("a.jpg", "none"))
        files = tagged.index_file, tagged.path / "labels.csv"
        before = [file.stat() for file in files]
        review.decide(("a.jpg", "none"), ("b.jpg", None))
        review.ask("decide", b"[]")
        assert [(f.stat().st_ino, f.stat().st_mtime_ns) for f in files] == [(s.st_ino, s.st_mtime_ns) for s in before]
        assert review.undo().status == 200
        assert review.undo().status == 409


def test_what_was_undone_does_not_count(tagged: Gallery) -> None:
    with served(tagged.path) as review:
        review.decide(("a.jpg", "none"))
    with served(tagged.path) as review:
        review.decide(("a.jpg", "unknown"))
        review.undo()
    assert (review.end().confirmed, review.end().corrected) == (0, 0)


def test_a_label_that_was_not_said_here_is_not_taken_back(tagged: Gallery) -> None:
    labels = tagged.path / "labels.csv"
    labels.write_text("file,label,place\na.jpg,Red Racer,Brescia\n")
    with served(tagged.path, labels=labels) as review:
        review.decide(("a.jpg", None))
        assert labels.read_text() == "file,label,place\na.jpg,Red Racer,Brescia\n"
        assert review.data()["step"] == 0


def test_a_car_of_an_earlier_catalog_is_a_label_too(tagged: Gallery) -> None:
    tagged.tag_by_hand("a.jpg", "old-timer")
    labels = tagged.path / "labels.csv"
    with served(tagged.path, labels=labels) as review:
        review.decide(("a.jpg", "car", "old-timer"), ("b.jpg", "none"))
        assert labels.read_text() == "file,label\na.jpg,unknown: old-timer\nb.jpg,none\n"
        review.decide(("a.jpg", "car", "old-timer", "red-racer"))
        assert "a.jpg,Red Racer|unknown: old-timer\n" in labels.read_text()
        assert review.photo("a.jpg")["label"]["cars"] == ["red-racer"]


def test_labels_that_cannot_be_written_are_owed_until_they_can(
    tagged: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = tagged.path / "labels.csv"
    with served(tagged.path, labels=labels) as review:
        monkeypatch.setattr("cartag.reviewing.session.replace_file", without_csv)
        answer = review.decide(("a.jpg", "none"))
        assert (answer.status, answer.json()["owed"]) == (200, 1)
        assert answer.json()["photos"][0]["settled"] is True
        assert review.decide(("b.jpg", "none")).json()["owed"] == 2
        monkeypatch.undo()
        assert review.decide(("o.jpg", "none")).json()["owed"] == 0
        assert labels.read_text() == "file,label\na.jpg,none\nb.jpg,none\no.jpg,none\n"
        monkeypatch.setattr("cartag.reviewing.session.replace_file", without_csv)
        review.decide(("g.png", "unknown"))
        labels.write_text("file,label\nz.jpg,none\n")
        review.decide(("a.jpg", "unknown"))
        assert labels.read_text() == "file,label\nz.jpg,none\n"
        monkeypatch.undo()
    assert review.end().not_in_labels == 0
    assert labels.read_text() == "file,label\nz.jpg,none\ng.png,unknown\na.jpg,unknown\n"


def test_undo_keeps_what_others_wrote_into_the_labels(tagged: Gallery) -> None:
    labels = tagged.path / "labels.csv"
    with served(tagged.path, labels=labels) as review:
        review.decide(("a.jpg", "none"), ("b.jpg", "none"))
        review.decide(("a.jpg", None), ("b.jpg", None))
        labels.write_text("file,label\nz.jpg,Red Racer\n")
        review.undo()
        assert sorted(labels.read_text().splitlines()[1:]) == ["a.jpg,none", "b.jpg,none", "z.jpg,Red Racer"]
        review.decide(("a.jpg", None), ("b.jpg", None))
        tagged.edit_photo("a.jpg", outcome="unknown", confirmed=True, tags=[])
        assert review.undo().json()["refused"] == ["a.jpg"]
        assert sorted(labels.read_text().splitlines()[1:]) == ["b.jpg,none", "z.jpg,Red Racer"]


def test_undo_after_a_run_keeps_what_the_run_has_learnt(tagged: Gallery) -> None:
    before = {name: tagged.record(name) for name in ("a.jpg", "b.jpg")}
    tagged.tag_by_hand("b.jpg", "blue-bolt")
    with served(tagged.path) as review:
        review.decide(("a.jpg", "none"), ("b.jpg", "none"))
        for name in before:
            later(tagged.path / name)
        tagged.tag()
        answer = review.undo().json()
        assert (answer["refused"], len(answer["photos"])) == ([], 2)
    fresh = (tagged.path / "a.jpg").stat().st_mtime_ns
    assert tagged.record("a.jpg") == before["a.jpg"] | {"mtime_ns": fresh}
    assert [tag["car"] for tag in tagged.record("b.jpg")["tags"] if tag["source"] == "human"] == ["blue-bolt"]
    assert tagged.record("b.jpg").get("confirmed") is None


def test_what_the_model_was_not_asked_is_not_its_answer(tagged: Gallery) -> None:
    tagged.edit_photo("a.jpg", tags=[], candidates=[], outcome="no-car", confirmed=True)
    with served(tagged.path) as review:
        review.decide(("a.jpg", None))
        assert "model" not in review.photo("a.jpg")
        review.decide(("a.jpg", "car", "red-racer"))
    assert "by_model" not in tagged.record("a.jpg")
    (tagged.path / "labels.csv").write_text("file,label\na.jpg,Red Racer\n")
    assert cartag.evaluate(tagged.path, tagged.path / "labels.csv").settled_by_hand == 1


def test_a_comparison_measures_the_model_in_both_indexes(tagged: Gallery, tmp_path: Path) -> None:
    other = tmp_path / "other" / "cartag.json"
    tagged.tag(index=other)
    with served(tagged.path, index=other) as review:
        review.decide(("a.jpg", "none"))
    (tmp_path / "labels.csv").write_text("file,label\na.jpg,Red Racer\nb.jpg,Red Racer\n")
    against = cartag.evaluate(tagged.path, tmp_path / "labels.csv", against=other).against
    assert against is not None
    assert (against.photos, against.gained, against.lost) == (2, 0, 0)


@pytest.mark.usefixtures("tagged")
def test_a_state_folder_that_cannot_be_written_is_said_at_once(tagged: Gallery) -> None:
    import shutil

    shutil.rmtree(tagged.path / ".cartag")
    (tagged.path / ".cartag").write_text("a file")
    with pytest.raises(IndexFileError, match="cannot be written"):
        cartag.review(tagged.path)


def test_another_picture_of_the_same_name_was_not_seen(tagged: Gallery) -> None:
    with served(tagged.path) as review:
        seen = review.photo("o.jpg")["state"]
        tagged.paint("o.jpg", "black", mark=9)
        tagged.tag()
        assert tagged.record("o.jpg")["outcome"] == "unknown", "as before"
        said = [{"path": "o.jpg", "truth": "car", "cars": ["blue-bolt"], "seen": seen}]
        assert review.ask("decide", json.dumps(said).encode()).json()["refused"] == ["o.jpg"]


def test_undo_with_another_catalog_writes_labels_that_can_be_read(tagged: Gallery, tmp_path: Path) -> None:
    from conftest import write_catalog

    labels = tagged.path / "labels.csv"
    labels.write_text("file,label,note\na.jpg,Blue Bolt,mine\n")
    few = write_catalog(tmp_path, "name: few\ncars: [Red Racer]\nother_cars: [Orange Other]\n", "few.yaml")
    with served(tagged.path, labels=labels) as review:
        review.decide(("a.jpg", "car", "red-racer"))
        tagged.tag(catalog=few)
        review.undo()
        assert labels.read_text() == "file,label,note\na.jpg,Blue Bolt,mine\n"
        assert review.photo("a.jpg")["label"] == {"truth": "unknown", "cars": []}


def test_undo_brings_the_name_of_a_former_car_back(tagged: Gallery, tmp_path: Path) -> None:
    from conftest import write_catalog

    tagged.tag_by_hand("a.jpg", "blue-bolt")
    tagged.catalog = write_catalog(tmp_path, "name: few\ncars: [Red Racer]\nother_cars: []\n", "few.yaml")
    tagged.tag()
    with served(tagged.path) as review:
        review.decide(("a.jpg", "none"))
        tagged.tag()
        assert "former" not in tagged.raw()["catalog"], "nobody names it"
        review.undo()
        assert tagged.find("Blue Bolt") == ["a.jpg"]
        tagged.tag()
    assert tagged.find("Blue Bolt") == ["a.jpg"]


def test_owed_labels_outlast_another_edition_and_an_undo(
    tagged: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conftest import write_catalog

    labels = tagged.path / "labels.csv"
    with served(tagged.path, labels=labels) as review:
        monkeypatch.setattr("cartag.reviewing.session.replace_file", without_csv)
        review.decide(("a.jpg", "car", "blue-bolt"))
        review.decide(("b.jpg", "none"))
        assert review.decide(("o.jpg", "none")).json()["owed"] == 3
        monkeypatch.undo()
        few = write_catalog(tmp_path, "name: few\ncars: [Red Racer]\nother_cars: [Orange Other]\n", "few.yaml")
        tagged.tag(catalog=few)
        assert review.undo().json()["owed"] == 0
    assert labels.read_text() == "file,label\na.jpg,unknown: blue-bolt\nb.jpg,none\n"


def test_what_a_review_remembers_goes_with_the_photos(tagged: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two photos of which she says the same swap their names: undo and rows that are owed mean the photo, as she did."""
    labels = tagged.path / "labels.csv"
    labels.write_text("file,label,note\na.jpg,none,was mine\n")
    session = Session(tagged.path, place_of(tagged.path), labels)
    session.decide([Decision(path="b.jpg", truth="car", cars=("red-racer",))])
    monkeypatch.setattr("cartag.reviewing.session.replace_file", without_csv)
    session.decide([Decision(path="a.jpg", truth="car", cars=("red-racer",))])
    b = tagged.record("b.jpg")["sha256"]
    for one, two in (("a.jpg", "swap"), ("b.jpg", "a.jpg"), ("swap", "b.jpg")):
        (tagged.path / one).rename(tagged.path / two)
    later(tagged.path / "a.jpg")
    tagged.tag()
    monkeypatch.undo()
    session.decide([Decision(path="o.jpg", truth="none")])
    assert "b.jpg,Red Racer,\n" in labels.read_text()
    session.undo()
    session.undo()
    assert tagged.record("a.jpg")["sha256"] == b
    assert [said(tagged, name)[2] for name in ("a.jpg", "b.jpg")] == [True, None]
    assert session.counts().confirmed == 1
    session.decide([Decision(path="a.jpg", truth=None)])
    assert not is_settled_by_human(session.index.photos["a.jpg"])


def test_undo_leaves_a_row_alone_that_somebody_edited_since(tagged: Gallery) -> None:
    labels = tagged.path / "labels.csv"
    with served(tagged.path, labels=labels) as review:
        review.decide(("a.jpg", "car", "red-racer"), ("b.jpg", "none"))
        text = "file,label,note\na.jpg,Red Racer|Blue Bolt,the second one behind\nb.jpg,none,\n"
        labels.write_text(text)
        review.undo()
        assert labels.read_text() == text.replace("b.jpg,none,\n", "")
        assert said_of(tagged) == {}


def test_undo_of_a_step_that_is_not_the_last_is_refused(tagged: Gallery) -> None:
    with served(tagged.path) as review:
        step = review.decide(("a.jpg", "none")).json()["step"]
        assert review.decide(("b.jpg", "none")).json()["step"] > step
        answer = review.ask("undo", json.dumps({"step": step}).encode())
        assert (answer.status, "another window" in answer.json()["error"]) == (409, True)
        assert review.ask("undo", b"[1]").status == 400
        assert review.undo().json()["step"] == step


@pytest.mark.parametrize("lock", ["index", "folder"])
def test_nothing_is_done_after_the_end_and_the_report_comes(
    tagged: Gallery, tmp_path: Path, lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cartag.reviewing import session

    monkeypatch.setattr(session, "_LAST_PATIENCE", 0.5)
    folder = tmp_path / "labels"
    folder.mkdir()
    answers = []
    with served(tagged.path, labels=folder / "labels.csv") as review:
        with monkeypatch.context() as patch:
            patch.setattr("cartag.reviewing.session.replace_file", without_csv)
            assert review.decide(("b.jpg", "none")).json()["owed"] == 1
        with locks.replacing(place_of(tagged.path)) if lock == "index" else locks.writing_into(folder):
            waiting = threading.Thread(target=lambda: answers.append(review.decide(("a.jpg", "none"))))
            waiting.start()
            waiting.join(0.5)
            report = review.end()
        waiting.join(20)
    assert [answer.status for answer in answers] == [409]
    assert said_of(tagged) == {"b.jpg": "no-car"}
    assert (report.corrected, report.not_in_labels) == (1, 1)


# --- who may ask ------------------------------------------------------------------------------------------------


def test_nothing_is_served_without_the_secret_or_under_another_name(tagged: Gallery) -> None:
    with served(tagged.path) as review:
        host = review.address.split("/")[2]
        assert review.address.startswith("http://127.0.0.1:")
        assert len(review.address.split("/")[3]) >= 24
        for path in ("", "data", "review.js", "x" * 24 + "/", "x" * 24 + "/data"):
            assert review.ask(f"http://{host}/{path}").status == 404
        assert review.ask(f"http://{host}/{'x' * 24}/decide", b"[]").status == 404
        assert review.ask("data", Host="evil.example").status == 400
        assert review.ask("data", Host=f"localhost:{host.split(':')[1]}").status == 200
        assert review.ask("decide").status == 405
        assert review.ask("..%2f..%2fetc/passwd").status == 404
    with served(tagged.path) as again:
        assert again.address.split("/")[3] != review.address.split("/")[3]


def test_only_this_machine_is_listened_to(tagged: Gallery) -> None:
    with served(tagged.path) as review:
        port = int(review.address.split("/")[2].split(":")[1])
        others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
        for address in {"127.0.0.2", *others}:
            with pytest.raises(OSError), socket.create_connection((address, port), timeout=2):  # noqa: PT011
                pass


def test_every_answer_forbids_what_the_page_does_not_need(tagged: Gallery) -> None:
    with served(tagged.path) as review:
        for what in ("", "data", "grid.js", "picture/small/0/x", "nothing"):
            headers = review.ask(what).headers
            assert headers["Content-Security-Policy"].startswith("default-src 'none';")
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert headers["X-Content-Type-Options"] == "nosniff"
        page = review.ask("").body.decode()
    assert "<script>" not in page
    assert "style=" not in page
    assert "http" not in page


def test_a_port_that_is_taken_is_said(tagged: Gallery) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ReviewError, match=f"port {port}: cannot be had"):
            cartag.review(tagged.path, port=port)


def test_a_gallery_without_an_index_is_said(gallery: Gallery) -> None:
    with pytest.raises(IndexFileError, match="make one with 'cartag tag"):
        cartag.review(gallery.path)


def test_a_browser_is_given_an_address_that_works_once(tagged: Gallery) -> None:
    given: list[str] = []
    with served(tagged.path, browser=given.append) as review:
        (address,) = given
        assert address.split("/")[4] not in review.address
        assert review.address.split("/")[3] not in address
        assert b"<title>" in review.ask(address).body
        assert review.ask(address).status == 404
        assert review.ask("").status == 200
    with served(tagged.path, browser=given.append) as review:
        assert review.ask(given[1] + "x").status == 404
        assert review.ask(given[1]).status == 200, "a guess does not use it up"
        assert b"somebody else was here" in review.ask(given[1]).body


def test_beside_an_event_loop_it_runs_in_a_thread(tagged: Gallery) -> None:
    import asyncio

    async def cell() -> cartag.ReviewReport:
        return cartag.review(tagged.path, ready=lambda address: threading.Thread(target=end, args=(address,)).start())

    def end(address: str) -> None:
        review = Served.__new__(Served)
        review.address = address
        review.decide(("a.jpg", "none"))
        review.ask("end", b"")

    assert asyncio.run(cell()).corrected == 1


# --- pictures ---------------------------------------------------------------------------------------------------


def picture(review: Served, path: str, size: str = "small") -> Any:
    photo = review.photo(path)
    return review.ask(f"picture/{size}/{photo['number']}/{photo.get('content', '-')}")


def test_pictures_are_upright_small_and_kept(tagged: Gallery) -> None:
    from io import BytesIO

    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (2000, 1000), (200, 30, 30)).save(tagged.path / "big.jpg", exif=exif)
    tagged.tag()
    with served(tagged.path) as review:
        for size, wanted in {"small": (200, 400), "large": (800, 1600)}.items():
            answer = picture(review, "big.jpg", size)
            image = Image.open(BytesIO(answer.body))
            assert (answer.headers["Content-Type"], image.size) == ("image/jpeg", wanted)
            assert "immutable" in answer.headers["Cache-Control"]
            assert not image.getexif()
        kept = tagged.path / ".cartag" / "thumbs" / f"{tagged.record('big.jpg')['sha256']}.jpg"
        first = picture(review, "big.jpg").body
        assert kept.read_bytes() == first
        kept.write_bytes(b"\xff\xd8from the cache\xff\xd9")
        assert picture(review, "big.jpg").body == b"\xff\xd8from the cache\xff\xd9"
        assert review.ask("picture/huge/0/x").status == 404
        assert review.ask("picture/small/999/x").status == 404


def test_a_photo_that_changed_or_went_since_is_not_kept_as_the_old_one(tagged: Gallery) -> None:
    with served(tagged.path) as review:
        tagged.paint("a.jpg", "blue", mark=9)
        assert picture(review, "a.jpg").headers["Cache-Control"] == "no-store"
        assert not list((tagged.path / ".cartag" / "thumbs").glob("*"))
        (tagged.path / "b.jpg").unlink()
        assert picture(review, "b.jpg").status == 404
        assert picture(review, "bad.jpg").status == 404


def test_a_photo_that_took_a_decoder_down_is_not_decoded(tagged: Gallery) -> None:
    tagged.edit_photo("a.jpg", outcome="error", tags=[], error={"reason": "crashed", "detail": "signal 11"})
    with served(tagged.path) as review:
        review.decide(("a.jpg", "car", "red-racer"))
        for size in ("small", "large"):
            answer = picture(review, "a.jpg", size)
            assert (answer.status, answer.json()["error"]) == (404, "crashed: signal 11")


def test_small_pictures_of_photos_that_are_gone_go_too(tagged: Gallery) -> None:
    thumbs = tagged.path / ".cartag" / "thumbs"
    with served(tagged.path) as review:
        assert picture(review, "a.jpg").status == picture(review, "b.jpg").status == 200
    (thumbs / "of-another.txt").write_text("")
    (tagged.path / "a.jpg").unlink()
    tagged.tag()
    with served(tagged.path):
        kept = {file.name for file in thumbs.iterdir()}
    assert kept == {f"{tagged.record('b.jpg')['sha256']}.jpg", "of-another.txt"}


def test_an_index_elsewhere_leaves_the_gallery_alone(tagged: Gallery, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "cartag.json"
    tagged.tag(index=elsewhere)
    before = {str(p): p.stat().st_mtime_ns for p in tagged.path.rglob("*")}
    with served(tagged.path, index=elsewhere) as review:
        review.decide(("a.jpg", "none"))
        assert picture(review, "a.jpg").status == 200
    assert {str(p): p.stat().st_mtime_ns for p in tagged.path.rglob("*")} == before
    assert json.loads(elsewhere.read_bytes())["photos"][0]["confirmed"] is True


# --- whatever is said, in whatever order --------------------------------------------------------------------------

_NAMES = ("a.jpg", "b.jpg", "o.jpg")
_decisions = st.builds(
    lambda path, said: Decision(path=path, truth=said[0], cars=said[1]),
    st.sampled_from(_NAMES),
    st.sampled_from(
        [(None, ()), ("unknown", ()), ("none", ()), ("car", ("red-racer",)), ("car", ("blue-bolt", "red-racer"))]
    ),
)
_steps = st.lists(
    st.one_of(st.just("undo"), st.just("again"), st.lists(_decisions, min_size=1, max_size=3)), max_size=12
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    from conftest import write_catalog

    folder = tmp_path_factory.mktemp("base")
    gallery = Gallery(folder / "gallery", write_catalog(folder))
    for i, colour in enumerate(("red", "blue", "orange")):
        gallery.paint(_NAMES[i], colour, mark=i + 1)
    gallery.tag()
    return gallery


@given(steps=_steps)
@settings(max_examples=60, deadline=None)
def test_files_hold_what_was_said_last_whatever_the_order(base: Gallery, steps: list[Any]) -> None:
    """Against a model of it: what is said of each photo, and a stack of what was said before."""
    start = base.index_file.read_bytes()
    labels = base.path / "labels.csv"
    try:
        session = Session(base.path, place_of(base.path), labels)
        now: dict[str, tuple[str | None, frozenset[str]]] = {}
        stack: list[dict[str, tuple[str | None, frozenset[str]]]] = []
        for step in steps:
            if step == "undo" and not stack:
                with pytest.raises(ReviewError):
                    session.undo()
            elif step == "undo":
                session.undo()
                now = stack.pop()
            elif step == "again":  # another session: what was said stays, what can be undone does not
                session, stack = Session(base.path, place_of(base.path), labels), []
            else:
                session.decide(step)
                said = now | {decision.path: (decision.truth, frozenset(decision.cars)) for decision in step}
                said = {path: value for path, value in said.items() if value[0] is not None}
                if said != now:
                    stack.append(now)
                now = said
        truth = {path: value for path, value in now.items() if value[0] is not None}
        records = cartag.load(base.path).photos
        outcomes = {"car": "tagged", "unknown": "unknown", "none": "no-car"}
        for path in _NAMES:
            record = records[path]
            assert is_settled_by_human(record) == (path in truth)
            if path in truth:
                assert record.outcome == outcomes[truth[path][0]]
                assert frozenset(tag.car for tag in record.tags) == truth[path][1]
        there = {photo.record.path: photo.label for photo in session.snapshot().photos if photo.label is not None}
        assert {path: (label.truth, label.cars) for path, label in there.items()} == truth
        base.tag()
        assert all(
            is_settled_by_human(base_record) == (path in truth)
            for path, base_record in cartag.load(base.path).photos.items()
        )
    finally:
        base.index_file.write_bytes(start)
        labels.unlink(missing_ok=True)


# --- the command --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_its_address_and_ends_with_a_signal(tagged: Gallery, ending: signal.Signals) -> None:
    command = [sys.executable, "-m", "cartag", "review", str(tagged.path), "--no-browser"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            review = Served.__new__(Served)
            review.address = process.stdout.readline().strip()
            assert review.decide(("a.jpg", "car", "red-racer")).status == 200
            process.send_signal(ending)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out) == (0, "")
    assert f"1 confirmed, 0 corrected, 5 to do; in {tagged.index_file}" in err
    assert "Traceback" not in err


def test_the_command_says_in_one_line_what_is_wrong(tagged: Gallery, tmp_path: Path) -> None:
    from processes import run

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments, code in (
            ((str(tmp_path),), 1),
            ((str(tagged.path), "--port", port), 1),
            ((str(tagged.path), "--port", "70000"), 2),
        ):
            result = run(tmp_path, "-m", "cartag", "review", *arguments, "--no-browser")
            assert (result.returncode, result.stdout) == (code, "")
            assert "Traceback" not in result.stderr
        assert (
            f"port {port}: cannot be had"
            in run(tmp_path, "-m", "cartag", "review", str(tagged.path), "--port", port).stderr
        )


def test_one_photo_that_changed_costs_no_answer_but_its_own(tagged: Gallery) -> None:
    tagged.paint("a.jpg", "green", mark=77)
    with served(tagged.path) as review:
        answer = review.decide(("a.jpg", "none"), ("b.jpg", "none"))
        assert answer.status == 200
        assert said(tagged, "b.jpg")[2] is True
        assert said(tagged, "a.jpg")[2] is None
        assert review.decide(("a.jpg", "none")).status == 409
