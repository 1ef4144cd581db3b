"""Finding photos: by car, by words, by an example."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Gallery, Seen, picture, write_catalog

import cartag
from cartag.errors import GalleryError, IndexFileError, UnknownCarError, UsageError
from cartag.state.place import place_of


@pytest.fixture
def parade(gallery: Gallery) -> Gallery:
    """Photos of known scores, as a person's editor would have left them."""
    colours = {"both": "red", "red": "red", "blue": "blue", "street": "green", "maybe": "red", "orange": "orange"}
    for mark, (name, colour) in enumerate(colours.items()):
        gallery.paint(f"{name}.jpg", colour, mark=mark)
    (gallery.path / "broken.jpg").write_bytes(b"no photo")
    gallery.tag()
    tag = {"source": "model"}
    gallery.edit_photo(
        "both.jpg",
        tags=[{"car": "red-racer", "score": 0.6, **tag}, {"car": "blue-bolt", "score": 0.3, **tag}],
        candidates=[{"car": "yellow-yeti", "score": 0.1}],
    )
    gallery.edit_photo("red.jpg", tags=[{"car": "red-racer", "score": 0.9, **tag}], candidates=[])
    gallery.edit_photo("blue.jpg", tags=[{"car": "blue-bolt", "score": 0.8, **tag}], candidates=[])
    maybe = [{"car": "red-racer", "score": 0.4}, {"car": "blue-bolt", "score": 0.2}]
    gallery.edit_photo("maybe.jpg", outcome="unknown", tags=[], candidates=maybe)
    return gallery


def scored(gallery: Gallery, *cars: str, **options: object) -> list[tuple[str, float]]:
    return [(hit.path, hit.score) for hit in cartag.find(gallery.path, cars, **options)]  # type: ignore[arg-type]


# --- by car -----------------------------------------------------------------------------------------------------


def test_photos_tagged_with_a_car_come_best_first(parade: Gallery) -> None:
    assert scored(parade, "red racer") == [("red.jpg", 0.9), ("both.jpg", 0.6)]
    assert scored(parade, "Scuderia") == scored(parade, "red-racer")


def test_a_make_means_every_car_of_it(parade: Gallery) -> None:
    parade.tag_by_hand("street.jpg", "yellow-yeti")
    assert scored(parade, "rossi") == [("street.jpg", 1.0), ("red.jpg", 0.9), ("both.jpg", 0.6)]


def test_any_of_several_cars_or_every_one_of_them(parade: Gallery) -> None:
    assert scored(parade, "red racer", "blue bolt") == [("red.jpg", 0.9), ("blue.jpg", 0.8), ("both.jpg", 0.6)]
    assert scored(parade, "red racer", "blue bolt", every=True) == [("both.jpg", 0.3)]


def test_a_car_can_be_left_out(parade: Gallery) -> None:
    assert scored(parade, "red racer", exclude=["blue bolt"]) == [("red.jpg", 0.9)]
    assert scored(parade, "red racer", exclude=["rossi"]) == []


def test_leaving_out_alone_gives_everything_else(parade: Gallery) -> None:
    found = {path for path, _ in scored(parade, exclude=["red racer"])}
    assert {"blue.jpg", "street.jpg", "maybe.jpg", "orange.jpg"} <= found
    assert found.isdisjoint({"red.jpg", "both.jpg"})


def test_a_least_score_asks_of_tags_and_candidates_alike(parade: Gallery) -> None:
    assert scored(parade, "red racer", min_score=0.7) == [("red.jpg", 0.9)]
    assert scored(parade, "red racer", min_score=0.4) == [("red.jpg", 0.9), ("both.jpg", 0.6), ("maybe.jpg", 0.4)]
    both = scored(parade, "red racer", "blue bolt", every=True, min_score=0.2)
    assert both == [("both.jpg", 0.3), ("maybe.jpg", 0.2)]


def test_a_limit_keeps_the_best(parade: Gallery) -> None:
    assert scored(parade, "red racer", "blue bolt", limit=2) == [("red.jpg", 0.9), ("blue.jpg", 0.8)]


def test_a_tag_by_hand_is_certain(parade: Gallery) -> None:
    parade.tag_by_hand("street.jpg", "red-racer", score=0.1)
    assert scored(parade, "red racer", min_score=0.99) == [("street.jpg", 1.0)]


def test_equal_scores_come_in_the_order_of_their_paths(parade: Gallery) -> None:
    for name in ("street.jpg", "blue.jpg", "maybe.jpg"):
        parade.tag_by_hand(name, "yellow-yeti")
    assert parade.find("yeti") == ["blue.jpg", "maybe.jpg", "street.jpg"]


def test_a_hit_names_all_cars_of_its_photo_and_the_file_to_open(parade: Gallery) -> None:
    (hit,) = cartag.find(parade.path, ["red racer", "blue bolt"], every=True)
    assert hit.cars == ("red-racer", "blue-bolt")
    assert Path(hit.file) == parade.path / "both.jpg"


def test_a_query_by_car_needs_no_model_and_no_catalog_file(parade: Gallery, forbid_encoder: Callable[[], None]) -> None:
    forbid_encoder()
    parade.catalog.unlink()
    shutil.rmtree(place_of(parade.path).state)
    assert parade.find("red racer") == ["red.jpg", "both.jpg"]


# --- by words and by example ------------------------------------------------------------------------------------


def test_words_rank_every_readable_photo(parade: Gallery) -> None:
    found = scored(parade, text="something orange")
    assert found[0][0] == "orange.jpg"
    assert len(found) == 6, "a photo that cannot be read has no likeness"
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


def test_words_rank_the_photos_of_a_car(parade: Gallery) -> None:
    assert parade.find("blue bolt", text="red") == ["both.jpg", "blue.jpg"]


def test_a_photo_of_the_gallery_is_most_like_itself_without_the_model(
    parade: Gallery, forbid_encoder: Callable[[], None]
) -> None:
    forbid_encoder()
    found = scored(parade, like=parade.path / "blue.jpg")
    assert found[0] == ("blue.jpg", 1.0)


def test_an_example_may_be_named_from_the_gallery_on_as_tables_name_it(
    parade: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forbid_encoder: Callable[[], None]
) -> None:
    forbid_encoder()
    monkeypatch.chdir(tmp_path)
    assert scored(parade, like="blue.jpg")[0] == ("blue.jpg", 1.0)
    with pytest.raises(UsageError, match=r"blue\.jpg#2: that photo has 0 regions"):
        cartag.find(parade.path, like="blue.jpg#2")


def test_what_lies_here_goes_before_what_the_gallery_has(
    parade: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture("orange", size=(30, 30)).save("blue.jpg")
    assert scored(parade, like="blue.jpg", limit=1)[0][0] == "orange.jpg"


def test_an_example_that_is_a_folder_is_said_to_be_one(parade: Gallery) -> None:
    with pytest.raises(UsageError, match=r"--like .*: is a folder; name a photo"):
        cartag.find(parade.path, like=parade.path)


def test_a_photo_from_elsewhere_is_embedded(parade: Gallery, tmp_path: Path, seen: Seen) -> None:
    picture("orange", size=(30, 30)).save(tmp_path / "other.png")
    assert scored(parade, like=tmp_path / "other.png", limit=1)[0][0] == "orange.jpg"
    assert seen.photos == 1


def test_a_least_likeness_cuts_the_list_off(parade: Gallery) -> None:
    assert parade.find(like=parade.path / "blue.jpg", min_score=0.99) == ["blue.jpg"]


def test_an_example_that_cannot_be_read_is_an_error(parade: Gallery) -> None:
    with pytest.raises(UsageError, match=r"broken\.jpg: cannot be read"):
        cartag.find(parade.path, like=parade.path / "broken.jpg")
    with pytest.raises(UsageError, match=r"nowhere\.jpg: cannot be read .*no longer there"):
        cartag.find(parade.path, like=parade.path / "nowhere.jpg")


def test_without_the_cache_words_ask_for_another_run(parade: Gallery) -> None:
    shutil.rmtree(place_of(parade.path).state)
    with pytest.raises(IndexFileError, match=r"holds no embeddings of these photos") as told:
        cartag.find(parade.path, text="red")
    assert f"; 'cartag tag {parade.path} --retag' computes them again" in str(told.value)
    other = parade.path.rename(parade.path.with_name("my shoot"))
    with pytest.raises(IndexFileError, match="holds no embeddings") as told:
        cartag.find(other, text="red", index=other / "cartag.json")
    assert f"; `cartag tag '{other}' --retag --index '{other}/cartag.json'` computes" in str(told.value), "can be typed"


def test_another_catalog_of_the_settings_plays_no_part(parade: Gallery, tmp_path: Path) -> None:
    parade.tag(catalog=write_catalog(tmp_path, "cars: [Orange Otter]\nother_cars: []\n", "citrus.yaml"))
    assert parade.find("otter") == ["orange.jpg"]
    with pytest.raises(UnknownCarError):
        parade.find("red racer")


# --- wrong use --------------------------------------------------------------------------------------------------


def test_a_car_the_catalog_does_not_hold_is_an_error_with_suggestions(parade: Gallery) -> None:
    with pytest.raises(UnknownCarError, match='did you mean "Red Racer"'):
        parade.find("Red Racr")
    with pytest.raises(UnknownCarError):
        parade.find("red racer", exclude=["Trabant"])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"text": "red", "like": "a.jpg"},
        {"exclude": ["red racer"], "limit": 0},
        {"text": "red", "min_score": 2.0},
        {"cars": ["red racer"], "min_score": -0.1},
        {"exclude": ["red racer"], "min_score": 0.3},
    ],
)
def test_a_query_that_asks_nothing_or_too_much_is_refused(parade: Gallery, options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        cartag.find(parade.path, **options)  # type: ignore[arg-type]


def test_a_gallery_without_an_index_is_told_how_to_get_one(gallery: Gallery) -> None:
    with pytest.raises(IndexFileError, match="make one with 'cartag tag"):
        gallery.find("red racer")
    with pytest.raises(GalleryError, match="no such folder"):
        cartag.find(gallery.path / "nowhere", ["red racer"])
