"""What looks alike: groups, the odd ones within a name, likeness; the arrays, and over HTTP with a real gallery."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Gallery
from hypothesis import given, settings, strategies as st
from reviews import Served, served

from cartag import pages
from cartag.errors import SettingsError
from cartag.reviewing import groups
from cartag.reviewing.keys import KEYS, keys_of
from cartag.settings import Settings, load_settings


def _unit(rows: Any) -> np.ndarray:
    vectors = np.asarray(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(1, 4), st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_a_view_is_in_one_group_at_most_and_like_its_first(n: int, answers: int, most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = _unit(rng.normal(size=(n, 4))) if n else np.zeros((0, 4), np.float32)
    said, burst = rng.integers(0, answers, n), rng.integers(-1, 3, n)
    found = groups.groups(vectors, burst, said, most=most)
    members = np.concatenate(found) if found else np.zeros(0, int)
    assert len(members) == len(set(members.tolist()))
    for group in found:
        assert 2 <= len(group) <= most
        first = group[0]
        for other in group[1:]:
            least = groups.SAME_ANSWER if said[first] == said[other] else groups.LEAST
            if burst[first] >= 0 and burst[first] == burst[other]:
                least = min(least, groups.IN_A_BURST)
            assert vectors[first] @ vectors[other] >= least - 1e-5


def test_two_cars_are_two_groups_and_what_is_like_nothing_is_in_none() -> None:
    vectors = _unit([[1, 0, 0], [0.99, 0.1, 0], [0, 1, 0], [0.1, 0.99, 0], [0, 0.95, 0.1], [0, 0, 1]])
    found = groups.groups(vectors, np.full(6, -1), np.arange(6))
    assert sorted(sorted(group.tolist()) for group in found) == [[0, 1], [2, 3, 4]]
    assert len(found[0]) == 3, "the largest first"


def test_what_is_left_over_and_probably_none_of_the_catalog_is_pooled() -> None:
    found = [np.array([0, 1, 2, 3]), np.array([4, 5]), np.array([6, 7]), np.array([8, 9, 10])]
    likely = np.full(15, 0.05)
    likely[[4, 11]] = 0.4
    likely[14] = 0.01
    unknown = np.ones(15, bool)
    unknown[12] = False
    groups_as_they_are, rest = groups.pooled(found, unknown, likely)
    assert [one.tolist() for one in groups_as_they_are] == [[0, 1, 2, 3], [4, 5]], "large, or one of it is likely"
    assert [one.tolist() for one in rest] == [[14, 6, 7, 8, 9, 10, 13]], "surest first; neither 11 nor 12"
    assert [len(one) for one in groups.pooled(found, unknown, likely, most=3)[1]] == [3, 2, 2]
    assert groups.pooled(found[:1], unknown[:5], np.array([0.0] * 4 + [0.05])) == (found[:1], []), "one is no group"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_pooling_loses_no_view_and_doubles_none(n: int, most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    order, unknown, likely = rng.permutation(n), rng.random(n) < 0.7, rng.random(n) / 2
    found = [part for part in np.split(order, sorted(rng.integers(0, n + 1, 6).tolist())) if 2 <= len(part) <= most]
    stay, rest = groups.pooled(found, unknown, likely, most=most)
    before, after = ({i for one in some for i in one.tolist()} for some in (found, [*stay, *rest]))
    assert before <= after
    assert sum(map(len, [*stay, *rest])) == len(after)
    assert all(1 <= len(one) <= most for one in rest)
    assert all(unknown[one].all() and (likely[one] < groups.IMPROBABLE).all() for one in rest)


def test_a_burst_is_alike_sooner_and_a_copy_is_no_burst() -> None:
    taken = np.array([0.0, 1.0, 2.5, 100.0, 101.0])
    assert groups.bursts(taken).tolist() == [0, 0, 0, 1, 1]
    assert (groups.bursts(np.arange(groups.LONGEST_BURST + 1) * 0.1) == -1).all()
    assert (groups.bursts(np.zeros(5)) == -1).all(), "one time for all says nothing"
    vectors = _unit([[1, 0, 0], [0.6, 0.8, 0]])
    assert not groups.groups(vectors, np.array([-1, -1]), np.array([0, 1]))
    assert groups.groups(vectors, np.array([0, 0]), np.array([0, 1]))


def test_the_wrong_one_is_the_odd_one() -> None:
    vectors = _unit([[1, 0.1, 0], [1, 0, 0.1], [1, 0.05, 0], [0, 1, 0.2]])
    assert groups.unlikeness(vectors).argmax() == 3
    assert groups.unlikeness(vectors[:1]).tolist() == [0]


# --- over HTTP ----------------------------------------------------------------------------------------------------


@pytest.fixture
def tagged(gallery: Gallery) -> Gallery:
    colours = {"a.jpg": "red", "b.jpg": "red", "c.jpg": "red", "d.jpg": "blue", "e.jpg": "blue", "f.jpg": "orange"}
    for i, (name, colour) in enumerate(colours.items()):
        gallery.paint(name, colour, mark=i + 1)
    gallery.tag()
    return gallery


@pytest.fixture
def review(tagged: Gallery) -> Iterator[Served]:
    with served(tagged.path) as found:
        yield found


def asked(review: Served, what: str, **body: Any) -> Any:
    return review.ask(what, json.dumps(body).encode()).json()


def test_groups_are_of_what_is_left_to_say(review: Served) -> None:
    found = asked(review, "groups")["groups"]
    assert sorted(sorted(path for path, _ in group) for group in found) == [
        ["a.jpg", "b.jpg", "c.jpg"],
        ["d.jpg", "e.jpg"],
    ]
    assert all(box is None for group in found for _, box in group)
    review.decide(("a.jpg", "car", "red-racer"), ("d.jpg", "none"))
    assert [sorted(path for path, _ in group) for group in asked(review, "groups")["groups"]] == [["b.jpg", "c.jpg"]]


def test_a_group_is_one_step_of_undo(review: Served, tagged: Gallery) -> None:
    before = tagged.raw()["photos"]
    group = next(one for one in asked(review, "groups")["groups"] if len(one) == 3)
    review.decide(*((path, "car", "yellow-yeti") for path, _ in group))
    assert all(tagged.record(path)["tags"][0]["car"] == "yellow-yeti" for path, _ in group)
    review.undo()
    assert tagged.raw()["photos"] == before


def test_likeness_is_to_every_other_photo_best_first(review: Served) -> None:
    found = asked(review, "like", path="d.jpg")["like"]
    assert found[0][0] == "e.jpg"
    assert sorted(path for path, _ in found) == ["a.jpg", "b.jpg", "c.jpg", "e.jpg", "f.jpg"]
    assert [much for _, much in found] == sorted((much for _, much in found), reverse=True)
    assert [path for path, _ in asked(review, "like", path="d.jpg", most=1)["like"]] == ["e.jpg"]
    assert "no embedding" in asked(review, "like", path="gone.jpg")["error"]


def test_the_photo_with_a_wrong_name_is_the_oddest_of_that_name(review: Served) -> None:
    review.decide(("f.jpg", "car", "red-racer"))
    odd = asked(review, "odd")["odd"]
    named = {path: odd[path] for path in ("a.jpg", "b.jpg", "c.jpg", "f.jpg")}
    assert max(named, key=lambda path: named[path]) == "f.jpg"


def test_without_embeddings_nothing_is_alike_and_the_review_goes_on(tagged: Gallery) -> None:
    (tagged.path / ".cartag" / "embeddings.sqlite").unlink()
    with served(tagged.path) as review:
        assert asked(review, "groups") == {"groups": [], "pooled": []}
        assert asked(review, "odd") == {"odd": {}}
        assert review.decide(("a.jpg", "none")).status == 200


@pytest.mark.parametrize("body", [b"", b"[]", b'{"path": 3}', b'{"box": [0, 0, 1, 1]}', b"\xff"])
def test_what_is_no_question_is_refused_in_one_line(review: Served, body: bytes) -> None:
    answer = review.ask("like", body)
    assert answer.status == 400
    assert answer.json()["error"].startswith("not such a question: ")


# --- another car, and learning --------------------------------------------------------------------------------------


def test_a_car_is_added_to_her_catalog_and_named_at_once(review: Served, tagged: Gallery) -> None:
    tagged.catalog.write_text(tagged.catalog.read_text().replace("templates:", "# mine\ntemplates:"))
    told = asked(review, "car", name=" Green  Goblin ", aliases=["Goblin", " "])
    assert told == {"car": "green-goblin", "file": str(tagged.catalog)}
    text = tagged.catalog.read_text()
    assert "# mine" in text
    assert "{name: Green Goblin, aliases: [Goblin]}" in text
    assert review.decide(("f.jpg", "car", "green-goblin")).status == 200
    assert "has 'green goblin' already" in asked(review, "car", name="green goblin")["error"]
    assert asked(review, "car", name="  ")["error"] == "a car needs a name"
    report = tagged.tag(catalog=None)
    assert (report.embedded, report.scored) == (0, 6), "scored from the cache"
    header = tagged.raw()["catalog"]
    assert [car["id"] for car in header["cars"]][-1] == "green-goblin"
    assert "former" not in header
    assert tagged.record("f.jpg")["tags"][0]["car"] == "green-goblin"


def test_of_a_catalog_that_ships_with_cartag_a_copy_is_made_beside_the_index(tagged: Gallery) -> None:
    tagged.tag(catalog="mille-miglia-2013")
    with served(tagged.path) as review:
        told = asked(review, "car", name="Ferrari 488 GTB")
        copy = Path(told["file"])
        assert copy == tagged.path / "cartag.catalog.yaml"
        assert copy.read_text().startswith("#"), "comments are kept"
        assert asked(review, "car", name="Ferrari 812")["file"] == str(copy)
        assert [car["name"] for car in review.data()["cars"]][-2:] == ["Ferrari 488 GTB", "Ferrari 812"]
    tagged.tag(catalog=None)
    assert [car["name"] for car in tagged.raw()["catalog"]["cars"]][-2:] == ["Ferrari 488 GTB", "Ferrari 812"]


def test_of_two_catalogs_that_ship_with_cartag_each_has_a_copy_of_its_own(tagged: Gallery) -> None:
    files = {}
    for catalog, car in (("mille-miglia-2013", "Lada Niva"), ("sports-cars", "Trabant 601")):
        tagged.tag(catalog=catalog)
        with served(tagged.path) as review:
            files[catalog] = Path(asked(review, "car", name=car)["file"]).name
        tagged.tag(catalog=None)
        assert tagged.raw()["catalog"]["name"] == catalog
        assert tagged.raw()["catalog"]["cars"][-1]["name"] == car
    assert files["mille-miglia-2013"] == "cartag.catalog.yaml"
    assert files["sports-cars"] == "cartag.sports-cars.catalog.yaml"
    tagged.tag(catalog="mille-miglia-2013")
    with served(tagged.path) as review:
        assert Path(asked(review, "car", name="Trabant 601")["file"]).name == "cartag.catalog.yaml", "it is there still"


def test_a_file_that_is_no_catalog_is_no_copy_and_stays(tagged: Gallery) -> None:
    for name in ("cartag.catalog.yaml", "cartag.sports-cars.catalog.yaml"):
        (tagged.path / name).write_text("mine: [")
    tagged.tag(catalog="sports-cars")
    with served(tagged.path) as review:
        told = asked(review, "car", name="Trabant 601")
    assert Path(told["file"]).name == "cartag.sports-cars-2.catalog.yaml"
    assert (tagged.path / "cartag.catalog.yaml").read_text() == "mine: ["


def test_a_car_whose_index_was_never_written_is_taken_up_again(review: Served, tagged: Gallery) -> None:
    text = tagged.catalog.read_text()  # as a review that died in between leaves it
    tagged.catalog.write_text(text.replace("templates:", "  - Green Goblin\ntemplates:"))
    assert asked(review, "car", name="Green Goblin")["car"] == "green-goblin"
    assert review.decide(("f.jpg", "car", "green-goblin")).status == 200


def test_what_is_learned_is_kept_only_when_it_is_taken(gallery: Gallery) -> None:
    for i in range(12):
        gallery.paint(f"{i}.jpg", ("red", "blue", "orange")[i % 3], mark=i + 1)
    gallery.tag()
    files = [gallery.path / f"cartag.learned.{kind}" for kind in ("json", "safetensors")]
    with served(gallery.path) as review:
        assert "error" in asked(review, "take", take=True)
        assert "error" in asked(review, "learn"), "nothing is settled yet"
        cars = ("yellow-yeti", "red-racer", None)  # the model is wrong about all of them
        review.decide(
            *(
                (f"{i}.jpg", "car" if car else "unknown", *filter(None, [car]))
                for i in range(12)
                for car in [cars[i % 3]]
            )
        )
        told = asked(review, "learn")
        assert told["photos"] == 12
        assert not any(file.exists() for file in files), "seen, not taken"
        assert asked(review, "take", take=False) == {"kept": False}
        assert not any(file.exists() for file in files)
        assert "error" in asked(review, "take", take=True), "what was left is gone"
        told = asked(review, "learn")
        assert asked(review, "take", take=True) == {"kept": told["helps"]}
        assert all(file.exists() == told["helps"] for file in files)


# --- keys -----------------------------------------------------------------------------------------------------------


def test_keys_of_ones_own() -> None:
    own = keys_of(Settings(review_keys=("unknown=K", "none = j")))
    assert {one.key for one in own if one.action == "unknown"} == {"k"}
    assert len(keys_of(Settings())) == len(KEYS)
    assert load_settings(environment={"CARTAG_REVIEW_KEYS": "unknown=k,none=j"}).review_keys == ("unknown=k", "none=j")


def test_an_action_has_one_key_in_all_places_and_every_cap_of_the_page_is_in_the_table() -> None:
    keys: dict[str, set[str]] = {}
    for one in KEYS:
        keys.setdefault(one.action, set()).add(one.key)
    assert all(len(some) == 1 for some in keys.values()), keys
    caps = set(re.findall(r'data-key="(\w+)\.(\w+)"', pages.text("review.html")))
    assert len(caps) > 20
    assert caps <= {(one.where, one.action) for one in KEYS}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("jump=k", "expected action=key"),
        ("unknown", "expected action=key"),
        ("unknown=5", "a key is one sign that is no number"),
        ("unknown=kk", "a key is one sign that is no number"),
        ("unknown=n", "would be"),
    ],
)
def test_keys_that_are_none_are_refused(given: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        keys_of(Settings(review_keys=(given,)))
