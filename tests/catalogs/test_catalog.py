"""Catalogs: which car some words mean, and every mistake of a file named with its place."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import write_catalog
from hypothesis import given, settings, strategies as st
from strategies import car_name_lists, respelt

import cartag
from cartag.catalogs import catalog as catalogs
from cartag.catalogs.catalog import match_car, match_exactly, normalise, slug, suggest
from cartag.errors import CatalogError, UnknownCarError
from cartag.resources import shipped
from cartag.values import Car

MILLE = cartag.cars("mille-miglia-2013").cars
ELEVEN = [
    "pagani-huayra",
    "ferrari-458-italia",
    "wiesmann",
    "porsche-carrera-gt",
    "ferrari-f12-berlinetta",
    "porsche-911-carrera-gts-997",
    "ferrari-599-sa-aperta",
    "bugatti-veyron-grand-sport-vitesse",
    "mercedes-benz-slr-mclaren",
    "pagani-zonda-f",
    "lamborghini-countach",
]


def ids(words: str) -> list[str]:
    return [car.id for car in match_car(words, MILLE)]


def written(folder: Path, content: Any) -> Path:
    path = folder / "cars.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return path


# --- words ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Citroën DS-21", "citroen ds 21"),
        ("  Škoda__110 R!", "skoda 110 r"),
        ("Đông Phong", "dong phong"),
        ("Mercedes‑Benz", "mercedes benz"),
        ("ＦＵＬＬ ½", "full 1 2"),
        ("...", ""),
    ],
)
def test_words_lose_case_accents_and_punctuation(text: str, plain: str) -> None:
    assert normalise(text) == plain


def test_an_id_is_made_of_a_name() -> None:
    assert slug("Porsche 911 Carrera GTS (997)") == "porsche-911-carrera-gts-997"


@given(st.text(max_size=20))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_normal_words_stay_as_they_are(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("huayra", ["pagani-huayra"]),
        ("Pagani", ["pagani-huayra", "pagani-zonda-f"]),
        ("FERRARI", ["ferrari-458-italia", "ferrari-f12-berlinetta", "ferrari-599-sa-aperta"]),
        ("carrera gt", ["porsche-carrera-gt"]),
        ("Lamborghini Coutach", ["lamborghini-countach"]),
        ("Ferrari SA Aperta", ["ferrari-599-sa-aperta"]),
        ("Porsche 997 Carrera GTS", ["porsche-911-carrera-gts-997"]),
        ("porsche-911-carrera-gts-997", ["porsche-911-carrera-gts-997"]),
        ("f12berlinetta", ["ferrari-f12-berlinetta"]),
        ("mercedes", ["mercedes-benz-slr-mclaren"]),
        ("zonda f", ["pagani-zonda-f"]),
    ],
)
def test_words_mean_a_car_or_all_cars_of_a_make(words: str, wanted: list[str]) -> None:
    assert ids(words) == wanted


@given(st.data(), st.sampled_from(MILLE))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_case_accents_and_punctuation_never_matter(data: st.DataObject, car: Car) -> None:
    name = data.draw(st.sampled_from([car.name, car.id.replace("-", " "), *car.aliases]))
    assert match_car(data.draw(respelt(name)), MILLE) == [car]


def test_a_near_miss_is_answered_with_suggestions() -> None:
    with pytest.raises(UnknownCarError, match='did you mean "Pagani Huayra"') as caught:
        match_car("Pagni Huayra", MILLE)
    assert caught.value.suggestions[0] == "Pagani Huayra"
    assert suggest("ferari", MILLE)[0] == "Ferrari"


@pytest.mark.parametrize("words", ["", "  ", "?!"])
def test_no_words_mean_no_car(words: str) -> None:
    with pytest.raises(UnknownCarError, match="empty car name"):
        match_car(words, MILLE)


def test_nonsense_is_answered_without_a_suggestion() -> None:
    with pytest.raises(UnknownCarError, match="lists the catalog") as caught:
        match_car("qqqqxxxx", MILLE)
    assert caught.value.suggestions == ()


# --- any list of names ------------------------------------------------------------------------------------------


@given(car_name_lists)
@settings(max_examples=120, deadline=None, derandomize=True)
def test_any_list_of_distinct_names_loads_and_each_name_finds_its_car(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cars = catalogs.load_catalog(written(Path(folder), {"cars": names, "other_cars": []})).cars
    assert len(cars) == len(names)
    for name, car in zip(names, cars, strict=True):
        for words in (name, car.name, car.id):
            assert match_exactly(words, cars) == car
            assert match_car(words, cars) == [car]


def test_names_that_differ_by_a_space_alone_each_find_their_own_car(tmp_path: Path) -> None:
    cars = catalogs.load_catalog(written(tmp_path, {"cars": ["Ford GT 40", "Ford GT40"], "other_cars": []})).cars
    assert [match_car(car.name, cars) for car in cars] == [[car] for car in cars]


def test_a_catalog_needs_nothing_but_its_cars(tmp_path: Path) -> None:
    catalog = catalogs.load_catalog(
        write_catalog(tmp_path, "cars:\n- Pagani Huayra\n- 911\n- Aston Martin DB5\n", "mine.yaml")
    )
    assert (catalog.name, catalog.title) == ("mine", "mine")
    assert [(car.id, car.name, car.make) for car in catalog.cars] == [
        ("pagani-huayra", "Pagani Huayra", "Pagani"),
        ("911", "911", "911"),
        ("aston-martin-db5", "Aston Martin DB5", "Aston Martin"),
    ]
    assert catalog.templates == cartag.cars().templates
    assert len(catalog.no_car) >= 20
    others = {car.id for car in catalog.other_cars}
    assert "ferrari-458-italia" in others
    assert "pagani-huayra" not in others, "what the catalog names is not rejected"


def test_the_digest_changes_with_whatever_scores_depend_on(tmp_path: Path) -> None:
    content: dict[str, Any] = {"cars": ["Pagani Huayra"], "other_cars": ["Trabant"]}
    first = catalogs.load_catalog(written(tmp_path, content)).sha256
    assert catalogs.load_catalog(written(tmp_path, content)).sha256 == first
    for change in (
        {"cars": ["Pagani Zonda"]},
        {"other_cars": []},
        {"no_car": ["a cat."]},
        {"templates": ["my {name}"]},
    ):
        assert catalogs.load_catalog(written(tmp_path, content | change)).sha256 != first


def test_other_cars_may_be_another_catalog_beside_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    write_catalog(tmp_path, "cars: [Trabant 601, Pagani Huayra]\n", "rivals.yaml")
    mine = write_catalog(tmp_path, "cars: [Pagani Huayra]\nother_cars: rivals.yaml\n", "mine.yaml")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert [car.id for car in catalogs.load_catalog(mine).other_cars] == ["trabant-601"]


# --- the shipped ones -------------------------------------------------------------------------------------------


def test_the_first_catalog_holds_the_eleven_cars() -> None:
    assert [car.id for car in MILLE] == ELEVEN


@pytest.mark.parametrize("name", ["mille-miglia-2013", "sports-cars"])
def test_a_shipped_catalog_is_the_same_read_as_if_a_user_had_written_it(name: str, tmp_path: Path) -> None:
    copy = tmp_path / f"{name}.yaml"
    copy.write_bytes(shipped("configs", copy.name).read_bytes())
    assert catalogs.load_catalog(copy).sha256 == catalogs.load_catalog(name).sha256


def test_the_second_catalog_holds_at_least_300_cars() -> None:
    assert len(cartag.cars("sports-cars").cars) >= 300


@pytest.mark.parametrize(("name", "step"), [("mille-miglia-2013", 1), ("sports-cars", 7)])
def test_every_name_of_a_shipped_catalog_finds_its_car(name: str, step: int) -> None:
    cars = cartag.cars(name).cars
    owner: dict[str, str] = {}
    for car in cars:  # no two cars share a name, whatever the spaces
        for words in (car.id, car.name, *car.aliases):
            assert owner.setdefault(normalise(words).replace(" ", ""), car.id) == car.id, words
    for car in cars[::step]:
        for words in (car.id, car.name, *car.aliases):
            assert match_car(words, cars) == [car], words


# --- mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "expected keys and values .* found nothing"),
        ("- Pagani", "expected keys and values .* found a list"),
        ("cars: []", "cars: the list is empty"),
        ("name: mine", "cars: the list is empty"),
        ("cars: Pagani", "cars: expected a list of cars, found the text 'Pagani'"),
        ("cars: [A]\ncars: [B]", "not valid YAML at line 2, column 1: the key 'cars' is given twice"),
        ("cars: [{name: A, name: B}]", "not valid YAML at line 1, column 18: the key 'name' is given twice"),
        ("cars: [A, {name: B, aliases: [C, D, c]}]", r"cars\[1\]\.aliases: 'c' is there twice"),
        ("cars: [A]\nother_cars: 5", "other_cars: no catalog '5': neither a file nor one of mille-miglia-2013"),
        ("cars: [A]\ncolour: red", "unknown key 'colour'; known are cars"),
        ("cars: [A, {name: B, colour: red}]", r"cars\[1\]: unknown key 'colour'; known are aliases"),
        ("cars: [{make: A}]", r"cars\[0\]: a car needs a name"),
        ("cars:\n- A\n-", r"cars\[1\]\.name: expected a text, found nothing"),
        ("cars: [A, {name: null}]", r"cars\[1\]\.name: expected a text, found nothing"),
        ("cars: [A, !!null '']", r"cars\[1\]\.name: expected a text, found nothing"),
        ("cars: [A, No: B]", r"cars\[1\]: unknown key 'No'; known are aliases"),
        ("cars: [{name: A, 037: B}]", r"cars\[0\]: unknown key '037'"),
        ("cars: [A, !colour red]", "not valid YAML at line 1, column 11: the tag '!colour' means nothing here"),
        ("cars: [A, !!python/name:os.system '']", "not valid YAML at line 1, column 11: the tag"),
        ("cars: !!set {A}", "not valid YAML at line 1, column 7: the tag"),
        ("{[cars]: A}", "not valid YAML at line 1, column 2: a key must be a text"),
        ("cars: [{<<: A}]", "not valid YAML at line 1, column 13: '<<' takes over keys and values"),
        ("cars: [*c]", "not valid YAML at line 1, column 8: found undefined alias"),
        ('cars: ["\\UFFFFFFFF"]', "not usable YAML"),
        ("cars: " + "[" * 5000, "not usable YAML: lists and keys are nested too deeply"),
        ("cars: [A, ' ']", r"cars\[1\]\.name: expected a text, found an empty text"),
        ("cars: [A, '?!']", r"cars\[1\]\.name: '\?!' has no letter or digit"),
        ("cars: [A, [B]]", r"cars\[1\]\.name: expected a text, found a list"),
        ("cars: [{name: A, make: {b: c}}]", r"cars\[0\]\.make: expected a text, found keys and values"),
        ("cars: [{name: A, id: Big A}]", r"cars\[0\]\.id: 'Big A': use lower-case letters"),
        ("cars: [{name: A, id: a--b}]", r"cars\[0\]\.id: 'a--b'"),
        ("cars: [{name: A, aliases: B}]", r"cars\[0\]\.aliases: expected a list"),
        ("cars: [{name: A, aliases: [B, '']}]", r"cars\[0\]\.aliases\[1\]: expected a text"),
        ("cars: [{name: A, prompts: [[]]}]", r"cars\[0\]\.prompts\[0\]: expected a text, found a list"),
        ("cars: [{name: A, years: [2]}]", r"cars\[0\]\.years: expected a text"),
        (
            "cars: [A, {name: B, years: 2013-1999}]",
            r"cars\[1\]\.years: '2013-1999' ends before it begins; write the first year first: 1999-2013$",
        ),
        (
            "cars: [{name: A, years: 2013 \u2013 1999}]",
            r"cars\[0\]\.years: '2013 \u2013 1999' ends before it begins; .* 1999-2013$",
        ),
        ("other_cars: [{name: B, years: 2013-2012}]\ncars: [A]", r"other_cars\[0\]\.years: '2013-2012' ends before"),
        ("cars: [A, B, a]", r"cars\[2\]\.(id|name): 'a' already means 'A' .*cars\[0\]"),
        ("cars: [A b, {name: C, id: a-b}]", r"cars\[1\]\.id: 'a-b' already means 'A b'"),
        ("cars: [A, {name: C, aliases: [D, Á]}]", r"cars\[1\]\.aliases: 'Á' already means 'A'"),
        ("cars: [none]", r"cars\[0\]: 'none' is a word of the hand labels"),
        ("cars: [Unknown]", r"cars\[0\]: 'unknown' is a word of the hand labels"),
        ("cars: [A]\ntemplates: []", "templates: the list is empty"),
        ("cars: [A]\ntemplates: [a photo]", r"templates\[0\]: a template needs \{name\}"),
        ("cars: [A]\ntemplates: ['{name}', '{name} {colour}']", r"templates\[1\]: a template needs \{name\}"),
        ("cars: [A]\nno_car: a cat", "no_car: expected a list"),
        ("cars: [A]\nno_car: [3, '']", r"no_car\[1\]: expected a text"),
        ("cars: [A]\nname: [B]", "name: expected a text, found a list"),
        ("cars: [A]\ntitle: ''", "title: expected a text"),
        ("cars: [A]\nother_cars: [B, {name: C, x: 1}]", r"other_cars\[1\]: unknown key 'x'"),
        ("cars: [A]\nother_cars: {B: C}", "other_cars: expected a list of cars"),
        ("cars: [A\nname: B", "not valid YAML at line 2"),
        ("cars: &c [*c]", r"cars\[0\]"),
        ("\tcars: [A]", "not valid YAML at line 1"),
    ],
)
def test_every_mistake_is_named_with_file_and_place(tmp_path: Path, text: str, place: str) -> None:
    path = write_catalog(tmp_path, text, "mine.yaml")
    with pytest.raises(CatalogError, match=f"mine\\.yaml: {place}") as caught:
        catalogs.load_catalog(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_other_text_than_utf_8_is_named_with_its_byte(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"cars: [Citro\xebn]")
    with pytest.raises(CatalogError, match=r"mine\.yaml: not UTF-8 text \(byte 12\)"):
        catalogs.load_catalog(tmp_path / "mine.yaml")


@pytest.mark.parametrize("text", ["cars: [A]\nother_cars: nowhere.yaml", None])
def test_a_catalog_that_is_not_there_is_named_with_those_that_are(tmp_path: Path, text: str | None) -> None:
    wanted = tmp_path / "nowhere.yaml" if text is None else write_catalog(tmp_path, text, "mine.yaml")
    with pytest.raises(CatalogError, match=r"no catalog .*nowhere\.yaml.* mille-miglia-2013, sports-cars"):
        catalogs.load_catalog(wanted)
