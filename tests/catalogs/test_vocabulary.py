"""One vocabulary: labels understand what `find` does and what cartag writes, and ask where they do not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from conftest import Gallery
from hypothesis import assume, given, settings, strategies as st
from strategies import car_name_lists, respelt

import cartag
from cartag.catalogs.catalog import match_car, normalise, squeezed
from cartag.catalogs.vocabulary import Meaning, Vocabulary, as_other
from cartag.errors import LabelsError, UnknownCarError
from cartag.measuring.labelfile import LabelFile
from cartag.measuring.labels import read_labels
from cartag.measuring.rows import Label
from cartag.values import Car, IndexedCar

MILLE = cartag.cars("mille-miglia-2013").cars
WORDS = Vocabulary(MILLE)


def named(*names: str) -> Vocabulary:
    return Vocabulary([Car(id=squeezed(name), name=name, make=name.split()[0]) for name in names])


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        *((word, Meaning()) for word in ("none", "None", "no-car", "NO CAR", "no_car", "nocar", " no‑car ", "nó-cär")),
        *((word, Meaning(other="unknown")) for word in ("unknown", "UNKNOWN", "unknown:", "Unknown : ", "(unknown)")),
        *((word, Meaning(car="pagani-huayra")) for word in ("huayra", "HUAYRA!", "Pagani Huayra", "pagani-huayra")),
        ("wiesmann", Meaning(car="wiesmann")),
        ("lamborghini", Meaning(car="lamborghini-countach")),
        ("mercedes", Meaning(car="mercedes-benz-slr-mclaren")),
        ("carrera gt", Meaning(car="porsche-carrera-gt")),
        ("unknown: Tata Nano", Meaning(other="Tata Nano")),
        ("UNKNOWN：a car of nobody", Meaning(other="a car of nobody")),
        ("unknown: Ferrari", Meaning(other="Ferrari")),
        ("unknown: Huayra BC", Meaning(other="Huayra BC")),
        ("unknown: PAGANI huayra", Meaning(car="pagani-huayra")),
        ("unknown: unknown", Meaning(other="unknown")),
        ("Ferrari F430", Meaning(other="Ferrari F430")),
        ("fiat-multipla", Meaning(other="fiat-multipla")),
        ("VW Golf", Meaning(other="VW Golf")),
        ("Trabant", Meaning(other="Trabant")),
    ],
)
def test_a_word_says_a_car_another_car_or_none(word: str, meaning: Meaning) -> None:
    assert WORDS.meaning(word) == meaning


@pytest.mark.parametrize(
    ("word", "question"),
    [
        ("wiesman", "'wiesman' is no car that cartag knows; did you mean 'Wiesmann'?"),
        ("huayr", "did you mean 'Pagani Huayra'?"),
        ("pagani huaira", "did you mean 'Pagani Huayra'?"),
        ("Ferari F430", "or 'Ferrari F430'?"),
        ("ferrari", "may be 'Ferrari 458 Italia', 'Ferrari F12 Berlinetta' or 'Ferrari 599 SA Aperta': write which"),
        ("Ferari", "did you mean 'Ferrari 458 Italia', 'Ferrari F12 Berlinetta' or 'Ferrari 599 SA Aperta'?"),
        ("pagani", "may be 'Pagani Huayra' or 'Pagani Zonda F': write which"),
        ("Bugatti Veyron", "may be 'Bugatti Veyron Grand Sport Vitesse', or the car called just so: write which"),
        ("qqqqxxxx", "'qqqqxxxx' is no car that cartag knows"),
        ("detail", "'detail' is no car that cartag knows"),
        ("tagged", "'tagged' says that there is a car, not which: write its name"),
        ("error", "'error' says that cartag could not read the photo"),
        ("Other", "'Other' may be another car ('unknown') or no car ('none'): write which"),
        ("?", "'?' is no word"),
        ("unknown: no-car", "says both another car and no car"),
    ],
)
def test_what_is_not_understood_is_asked_about(word: str, question: str) -> None:
    with pytest.raises(UnknownCarError) as caught:
        WORDS.meaning(word)
    assert question in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("catalog", "word"),
    [
        ("Huayra", "Pagani Huayra"),
        ("Huayra", "Pagani"),
        ("VW Kafer", "Volkswagen Beetle"),
        ("Pagani Huayra", "Pagani Huayra BC"),
        ("Pagani Huayra BC", "Pagani Huayra"),
    ],
)
def test_a_catalog_that_names_a_car_otherwise_is_asked_about_before_it_is_another_car(catalog: str, word: str) -> None:
    with pytest.raises(UnknownCarError, match=catalog):
        named(catalog).meaning(word)


def test_many_choices_are_cut_short() -> None:
    with pytest.raises(UnknownCarError, match=r"'Fiat 4' or one of 15 more: write which"):
        named(*(f"Fiat {i}" for i in range(20))).meaning("fiat")


def _is_asked_or(word: str, meaning: Meaning, words: Vocabulary) -> bool:
    try:
        return words.meaning(word) == meaning
    except UnknownCarError as e:
        return "write which" in str(e)  # a part that is another car's whole name


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_what_find_takes_for_one_car_is_that_car_as_a_label(data: st.DataObject) -> None:
    car = data.draw(st.sampled_from(MILLE))
    names = (car.id, car.name, *car.aliases)
    whole = data.draw(st.sampled_from(names).flatmap(respelt))
    assert WORDS.meaning(whole) == Meaning(car=car.id)
    tokens = normalise(data.draw(st.sampled_from((*names, car.make)))).split()
    part = " ".join(data.draw(st.lists(st.sampled_from(tokens), min_size=1, max_size=3, unique=True)))
    found = match_car(part, MILLE)
    if len(found) == 1:
        assert _is_asked_or(part, Meaning(car=found[0].id), WORDS)
    else:
        with pytest.raises(UnknownCarError, match="write which"):
            WORDS.meaning(part)


@given(names=car_name_lists, said=st.data())
@settings(max_examples=150, deadline=None)
def test_what_is_written_as_a_label_is_read_as_what_was_meant(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], said: st.DataObject
) -> None:
    cars = [IndexedCar(id=f"c{i}", name=name, make="M") for i, name in enumerate(names)]
    known = {squeezed(text) for car in cars for text in (car.id, car.name)}
    assume(len(known) == 2 * len(cars))
    shown = said.draw(st.sets(st.sampled_from([car.id for car in cars])))
    others = said.draw(
        st.lists(st.sampled_from(["unknown", "yellow-yeti", "Ferrari F430", "huayr", "tagged"]), max_size=2)
    )
    others = [name for name in others if squeezed(name) not in known]
    label = Label("a.jpg", frozenset(shown), tuple(others))
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    file = LabelFile(path, cars)
    file.say({"a.jpg": label})
    path.write_bytes(file.encode())
    assert read_labels(path, cars) == [label]


@given(name=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="|"), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_any_name_may_be_said_to_be_another_car(name: str) -> None:
    assume(name == name.strip() and squeezed(name) not in {"", "none", "nocar", "unknown"})
    assert WORDS.meaning(as_other(name)) == (WORDS.exactly(name) or Meaning(other=name))


# --- files ------------------------------------------------------------------------------------------------------


def test_all_rows_that_are_not_understood_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    rows = [f"{i}.jpg,{'Pagani Huayra' if i == 0 else f'Ghost {i % 9}'}" for i in range(600)]
    path.write_text("\n".join(["file,label", *rows, "x.jpg,huayra|wiesman"]))
    with pytest.raises(LabelsError) as caught:
        read_labels(path, MILLE)
    said = str(caught.value)
    assert said.startswith(f"{path}: line 3: 'Ghost 1' is no car that cartag knows; line 4: 'Ghost 2'")
    assert said.endswith(
        "; and 597 more row(s) that are not understood (a car that the catalog lacks is written 'unknown: NAME')"
    )
    path.write_text(path.read_text().replace(",Ghost", ",unknown: Ghost").replace("wiesman", "wiesmann"))
    assert len(read_labels(path, MILLE)) == 601


def test_a_row_of_bars_alone_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,label\na.jpg, | \n")
    with pytest.raises(LabelsError, match="line 2: a row needs a file and a label"):
        read_labels(path, MILLE)


def test_what_cartag_exports_is_read_or_said_to_be_no_labels(gallery: Gallery, tmp_path: Path) -> None:
    for name in ("red", "blue", "green", "orange"):
        gallery.paint(f"{name}.jpg", name)
    gallery.tag()
    cartag.export(gallery.path, as_="csv", to=tmp_path)
    (table,) = tmp_path.glob("*.csv")
    with pytest.raises(LabelsError, match=r"line 1: .*the answers of cartag itself: name the column path 'file'"):
        cartag.evaluate(gallery.path, table)
    cartag.export(gallery.path, as_="imagefolder", to=gallery.path)
    rows = [msgspec.json.decode(line) for line in (gallery.path / "metadata.jsonl").read_bytes().splitlines()]
    assert {row["label"] for row in rows} == {"red-racer", "blue-bolt", "no-car", "unknown"}
    labels = tmp_path / "labels.txt"
    labels.write_text("file,label\n" + "".join(f"{row['file_name']},{row['label']}\n" for row in rows))
    assert cartag.evaluate(gallery.path, labels).accuracy == 1.0


def test_cars_that_the_catalog_rejects_or_lost_may_be_named(gallery: Gallery, tmp_path: Path) -> None:
    for name in ("red", "orange", "black"):
        gallery.paint(f"{name}.jpg", name)
    gallery.tag()
    gallery.tag_by_hand("black.jpg", "green-goblin")
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\nred.jpg,scuderia\norange.jpg,Orange Other\nblack.jpg,green-goblin\n")
    found = cartag.evaluate(gallery.path, labels)
    assert found.names_outside_catalog == {"Orange Other": 1, "green-goblin": 1}
    gallery.catalog.unlink()
    with pytest.raises(LabelsError, match="line 3: 'Orange Other' is no car"):
        cartag.evaluate(gallery.path, labels)


@pytest.mark.parametrize("word", ["none", "no-car", "Unknown"])
def test_a_query_for_an_outcome_says_that_it_is_no_car(word: str) -> None:
    with pytest.raises(UnknownCarError, match=f"{word!r} is no car but an outcome"):
        match_car(word, MILLE)
