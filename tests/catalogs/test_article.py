"""Articles: the cars a text names, in five languages, as people spell them; and everything that names none."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings, strategies as st
from strategies import respelt

import cartag
from cartag.catalogs import article, catalog, gazetteer
from cartag.catalogs.article.page import plain
from cartag.catalogs.article.words import words
from cartag.catalogs.catalog import normalise
from cartag.errors import ArticleError
from cartag.resources import shipped_catalogs

ROOT = Path(__file__).resolve().parents[2]
ELEVEN = [car.id for car in catalog.load_catalog("mille-miglia-2013").cars]

TEXTS = {
    "vietnamese": (
        "Dẫn đầu đoàn xe là một chiếc Pagani Huayra màu bạc, theo sau là Ferrari 458 Italia, Wiesmann và Porsche Carrera "
        "GT. Phía sau còn có Ferrari F12 Berlinetta, Porsche 997 Carrera GTS, chiếc Ferrari SA Aperta hiếm hoi, cùng với "
        "Bugatti Veyron Grand Sport Vitesse, Mercedes-Benz SLR McLaren, Pagani Zonda F, Lamborghini Coutach…\n\n"
        "Năm 1927 cuộc đua dài 1.600 km từ Brescia qua Ferrara, Roma, Siena và Florence.",
        ELEVEN,
    ),
    "vietnamese, no car": (
        "Mille Miglia bắt đầu từ năm 1927, dài khoảng 1.600 km qua Ferrara, San Marino, Rome, Siena và Florence. "
        "Mille Miglia 2013 là lần thứ 31, có 997 người xem.",
        [],
    ),
    "vietnamese, electric": ("VinFast VF 8 và VF 9 đã về tới Hà Nội.", ["vinfast-vf-8", "vinfast-vf-9"]),
    "english, a list": (
        "Parked outside: the Ferrari 458 Italia, F12 Berlinetta and 599 GTB, next to a McLaren P1, 720S and Senna GTR.",
        [
            "ferrari-458-italia",
            "ferrari-f12-berlinetta",
            "ferrari-599-gtb-fiorano",
            "mclaren-p1",
            "mclaren-720s",
            "mclaren-senna-gtr",
        ],
    ),
    "english, people and places": (
        "Enzo met Dino in California. Enzo Ferrari himself never came to Ferrara; Ferrari, Roma and Portofino were all "
        "he knew. Henry Ford, John DeLorean and 458 guests focus on 1927.",
        [],
    ),
    "english, numbers": (
        "The Porsche 911, 959 and 928. A Fiat 500 km from home; Ferrari 250 GTO and 330 guests.",
        [
            "porsche-911",
            "porsche-959",
            "porsche-928",
            "ferrari-250-gto",
        ],
    ),
    "english, verbs": (
        "Honda beat Ferrari today, and Ford will focus on the next race. Tesla models are delaying it.",
        [],
    ),
    "german": (
        "Der Lamborgini Aventador SVJ und ein VW Käfer standen neben einem BMW E30 M3; der 458 Italia Ferrari fehlte.",
        ["lamborghini-aventador-svj", "volkswagen-beetle", "bmw-m3-e30", "ferrari-458-italia"],
    ),
    "german, no car": (
        "Familie Wiesner fuhr am 4. Mai 1957 mit 356 Gästen nach Modena. Audi verkaufte 100 Millionen.",
        [],
    ),
    "italian": (
        "Alla partenza c'erano una Lancia Delta HF Integrale, l'Alfa Romeo 8C 2300, la Ferrari Roma e la Fiat 500 Topolino.",
        ["lancia-delta-hf-integrale", "alfa-romeo-8c-2300", "ferrari-roma", "fiat-500-topolino"],
    ),
    "italian, no car": (
        "La Ferrari ha sede a Maranello; il mio amico Enzo vive a Roma, sua sorella Giulia a Siena. La Lancia è a Torino.",
        [],
    ),
    "french": (
        "La Citroën DS, l'Alpine-Renault A110 et la Renault 5 Turbo; la voiture noire de Bugatti n'y était pas.",
        ["citroen-ds", "alpine-a110-classic", "renault-5-turbo"],
    ),
    "french, misspelt": ("Une Buggati Chirron et la Koeniggsegg Agera.", ["bugatti-chiron", "koenigsegg-agera"]),
    "spanish": (
        "El Seat Ibiza, un Pegaso Z-102 y el Lamborghini Murciélago; de noche voló un murciélago.",
        ["seat-ibiza", "pegaso-z-102", "lamborghini-murcielago"],
    ),
    "spanish, no car": ("En Toledo y Córdoba hay fiesta; mi amiga Mercedes vive en Ronda desde 2002.", []),
    "longest wins": (
        "Porsche 911 GT3 RS (997). Bugatti Veyron Super Sport. Aston Martin DB5 Volante",
        ["porsche-911-gt3-rs-997", "bugatti-veyron-16-4-super-sport", "aston-martin-db5-convertible"],
    ),
    "alone": (
        "A Countach, then a Testarossa, a Karmann Ghia and a Wiesmann.",
        [
            "lamborghini-countach",
            "ferrari-testarossa",
            "volkswagen-karmann-ghia",
            "wiesmann",
        ],
    ),
    "near its make": (
        "Jaguar showed a lot this year. Nothing came near the Project 7 of 2015. Elsewhere, one F50 and 997 ran.",
        ["jaguar-f-type-project-7"],
    ),
    "possessives and glue": (
        "Ferrari's F40 raced Nissan's GTR, a Mercedes 300SL and a Toyota Landcruiser.",
        ["ferrari-f40", "nissan-gt-r", "mercedes-benz-300-sl", "toyota-land-cruiser"],
    ),
    "other scripts": (
        "这辆Ferrari 458 Italia很快。ランボルギーニ Lamborghini Miura が来た。",
        [
            "ferrari-458-italia",
            "lamborghini-miura",
        ],
    ),
}


def ids(text: str) -> list[str]:
    return list(dict.fromkeys(mention.car.id for mention in article.find_mentions(text)))


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_names_exactly_its_cars(text: str) -> None:
    assert ids(TEXTS[text][0]) == TEXTS[text][1]


def test_a_mention_says_its_words_their_place_and_how_sure_it_is() -> None:
    text = "Ein Lamborgini Countach (1974), später die Porsche 911 (964) und das 458 Italia Cabrio."
    countach, porsche = article.find_mentions(text)
    assert (countach.words, countach.offset, porsche.words) == ("Lamborgini Countach", 4, "Porsche 911 (964)")
    assert text[countach.offset :].startswith(countach.words)
    assert 0.5 < countach.certainty < porsche.certainty == 1


def test_what_was_inferred_is_less_certain() -> None:
    def certainty(text: str) -> float:
        return article.find_mentions(text)[-1].certainty

    sure = certainty("the Ferrari F12 Berlinetta")
    for text in ("F12 Berlinetta Ferrari", "Ferrari 458 Italia, F12 Berlinetta", "Ferari F12 Berlineta", "BMW 2002"):
        assert certainty(text) < sure == 1


# --- what always holds ------------------------------------------------------------------------------------------

_pieces = st.sampled_from(" /()&\n½ßİﬁⅣ\u0301") | st.sampled_from(
    [
        "Ferrari",
        "Porsche",
        "911",
        "458 Italia",
        "Mini",
        "GT",
        "Coutach",
        "12 Berlinetta",
        "Roma",
        "Enzo",
        "km",
        "Lamborghini",
        "F́errari",
        "法拉利",
        "ID. ",
        ", ",
        ". ",
        "'s ",
    ]
)
_texts = st.text(max_size=80) | st.lists(_pieces | st.text(max_size=3), max_size=25).map("".join)


@given(_texts)
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_and_every_mention_lies_in_it(text: str) -> None:
    end = 0
    for mention in article.find_mentions(text):
        assert 0 <= mention.offset < mention.offset + len(mention.words) <= len(text)
        assert text[mention.offset :].startswith(mention.words)
        assert end <= mention.offset, "mentions overlap or are out of order"
        assert 0 < mention.certainty <= 1
        end = mention.offset + len(mention.words)


@given(_texts)
@settings(max_examples=200, deadline=None)
def test_words_are_folded_like_names(text: str) -> None:
    assert "".join(word.text for word in words(text)) == normalise(text).replace(" ", "")


@given(st.data(), st.sampled_from(sorted(TEXTS)))
@settings(max_examples=60, deadline=None)
def test_case_and_accents_never_matter(data: st.DataObject, text: str) -> None:
    said, wanted = TEXTS[text]
    change = data.draw(st.sampled_from([str.upper, str.lower, str.title, str.swapcase, _accented, _without_accents]))
    assert ids(change(said)) == wanted


def _accented(text: str) -> str:
    return re.sub(r"([a-zA-Z])", "\\1\u0301", text)


def _without_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


@given(st.data(), st.sampled_from(catalog.load_catalog("mille-miglia-2013").cars))
@settings(max_examples=60, deadline=None)
def test_a_name_is_found_however_its_letters_are_set(data: st.DataObject, car: cartag.values.Car) -> None:
    name = data.draw(respelt(car.name).filter(lambda text: not re.search(r" - |, ", text)))
    assert ids(f"Here is {name} today") == [car.id]


# --- the gazetteer ----------------------------------------------------------------------------------------------

RAW = gazetteer.read()
ENTRIES = gazetteer.entries(RAW)
KNOWN = gazetteer.load_gazetteer()


def test_the_gazetteer_holds_at_least_1500_cars_of_sound_facts() -> None:
    assert len(ENTRIES) >= 1500
    for car in ENTRIES:
        assert car.body in gazetteer.BODIES, car.name
        years = re.fullmatch(r"(\d{4})(-(\d{4})?)?", car.years or "")
        assert years, f"{car.name}: {car.years}"
        assert 1885 <= int(years[1]) <= int(years[3] or years[1]) <= 2026, car.name


def test_no_name_of_the_gazetteer_means_two_cars() -> None:
    owner: dict[str, str] = {}
    for car in KNOWN.cars:
        for name in (car.id, car.name, *car.aliases, *KNOWN.spellings.get(car.id, ())):
            assert owner.setdefault(normalise(name), car.id) == car.id, f"{name}: {owner[normalise(name)]}, {car.id}"
    names = [normalise(car.name) for car in ENTRIES]
    assert len(set(names)) == len(names)
    shipped = {car.id for name in shipped_catalogs() for car in catalog.load_catalog(name).cars}
    assert not shipped & {car.id for car in ENTRIES}, "shipped cars need no line in the gazetteer"


def test_what_the_gazetteer_says_of_cars_and_makes_is_about_cars_and_makes_it_has() -> None:
    assert set(KNOWN.spellings) <= {car.id for car in KNOWN.cars}
    assert set(RAW["makes"]) <= {car.make for car in KNOWN.cars}
    assert all(word == normalise(word) for word in (*KNOWN.list_words, *KNOWN.units))


# Too short without their make, or also a bat, a blow-out, a black car, a person, "a mini one".
NEED_THEIR_MAKE = {"F40", "F50", "Miura", "MGA", "MGB", "MGC", "MGF"} | {"Murcielago", "Reventon", "La Voiture Noire"}
MEAN_SOMETHING_ELSE = {"Enzo Ferrari", "Mini One"}


def test_every_name_of_every_car_finds_it_in_a_sentence() -> None:
    wrong = [
        f"{name}: {found}"
        for car in KNOWN.cars
        for name in (car.name, *car.aliases, *KNOWN.spellings.get(car.id, ()))
        if (found := ids(f"Here is the {name}.")) != [car.id]
        and not (found == [] and name in NEED_THEIR_MAKE | MEAN_SOMETHING_ELSE)
    ]
    assert not wrong


@pytest.mark.parametrize("name", sorted(shipped_catalogs()))
def test_every_car_of_the_shipped_catalogs_keeps_its_entry(name: str) -> None:
    known = {car.id: car for car in KNOWN.cars}
    differing = [car.id for car in catalog.load_catalog(name).cars if known.get(car.id) != car]
    assert differing == []


# --- pages ------------------------------------------------------------------------------------------------------

PAGE = """<!DOCTYPE html><html><head><meta charset="{charset}"><title>Citro&euml;n DS</title>
<style>.a:after {{content: "Ferrari F40"}}</style><script>var car = "Bugatti Chiron";</script></head>
<body><!-- Lotus Elise --><p>Ein <b>Lam</b>borghini&nbsp;Countach, ein VW K&#228;fer und ein schöner</p><p>BMW</p>
<p>M1 ist die Autobahn</p><table><tr><td>Porsche</td><td>959</td></tr></table><noscript>Audi TT</noscript>
<script>"Volvo 240"</script></body></html>"""
ON_PAGE = ["citroen-ds", "lamborghini-countach", "volkswagen-beetle", "porsche-959"]


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("utf-8", "utf-8"),
        ("utf-8", "utf-8-sig"),
        ("windows-1252", "cp1252"),
        ("ISO-8859-1", "latin-1"),
        ("utf-8", "utf-16"),
        ("utf-8", "utf-32"),
    ],
)
def test_html_is_read_in_its_encoding_without_its_markup(tmp_path: Path, charset: str, codec: str) -> None:
    file = tmp_path / "page.html"
    file.write_bytes(PAGE.format(charset=charset).encode(codec))
    text = article.read_article(file)
    assert "schöner" in text
    assert ids(text) == ON_PAGE


def test_a_page_that_closes_nothing_is_read() -> None:
    assert ids(plain("<html><head><title>x<body><p>Ferrari 458 Italia<p>Roma<td>Pagani Huayra")) == [
        "ferrari-458-italia",
        "pagani-huayra",
    ]


@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from(["<", ">", "</", "script", "p", "!--", "&#", "x", ";", " "])).map("".join)
)
@settings(max_examples=200, deadline=None)
def test_no_markup_is_too_broken(html: str) -> None:
    plain(html)


@pytest.mark.parametrize(
    ("data", "words_said"),
    [
        (b"Ferrari \xff F40", "byte 8"),
        (b'<html><meta charset="no-such">', "'no-such'"),
        (b"\xff\xfea", "utf-16"),
        (b'<meta charset="ascii">\xe9', "ascii"),
        (b'<meta charset="idna">\xe9', "idna"),
        (b'<meta charset="base64">Ferrari', "base64"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_text_is_named_in_one_line(tmp_path: Path, data: bytes | None, words_said: str) -> None:
    file = tmp_path / "a.txt"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(ArticleError, match=re.escape(words_said)) as raised:
        article.read_article(file)
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


# --- the command ------------------------------------------------------------------------------------------------


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cartag", "cars", *arguments]
    return subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )


def test_a_draft_is_a_catalog_that_tag_takes(tmp_path: Path) -> None:
    (tmp_path / "Bài báo.txt").write_text(TEXTS["vietnamese"][0], encoding="utf-8")
    done = run(tmp_path, "--from-text", "Bài báo.txt")
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "draft.yaml").write_text(done.stdout, encoding="utf-8")
    drafted = cartag.cars(tmp_path / "draft.yaml")
    assert drafted.cars == catalog.load_catalog("mille-miglia-2013").cars
    assert drafted.name == "bai-bao"
    assert '  # "Lamborghini Coutach"; certainty 1.00\n' in done.stdout
    report = cartag.tag(tmp_path, catalog=tmp_path / "draft.yaml", model="fake")
    assert report.outcomes is not None


def test_every_car_can_stand_in_a_draft(tmp_path: Path) -> None:
    """Names with colons, hashes, quotes, numbers and years come back as they went."""
    some = [car for i, car in enumerate(KNOWN.cars) if i % 20 == 0 or not re.fullmatch(r"[\w .-]+", car.name)]
    (tmp_path / "all.txt").write_text(". \n".join(car.name for car in some), encoding="utf-8")
    (tmp_path / "draft.yaml").write_text(run(tmp_path, "--from-text", "all.txt").stdout, encoding="utf-8")
    assert {car.id: car for car in cartag.cars(tmp_path / "draft.yaml").cars} == {car.id: car for car in some}


def test_json_gives_every_mention(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A Ferrari F40. Another Ferrari F40, and a Wiesmann.")
    answer = json.loads(run(tmp_path, "--from-text", "a.txt", "--format", "json").stdout)
    assert [car["id"] for car in answer["cars"]] == ["ferrari-f40", "wiesmann"]
    assert answer["mentions"] == [
        {"car": "ferrari-f40", "words": "Ferrari F40", "offset": 2, "certainty": 1.0},
        {"car": "ferrari-f40", "words": "Ferrari F40", "offset": 23, "certainty": 1.0},
        {"car": "wiesmann", "words": "Wiesmann", "offset": 42, "certainty": 0.9},
    ]
    draft = cartag.cars(from_text=tmp_path / "a.txt")
    assert [car.id for car in draft.cars] == ["ferrari-f40", "wiesmann"]
    assert [m.offset for m in draft.of(draft.cars[0])] == [2, 23]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--from-text", "none.txt"], 1),
        (["--from-text", "empty.txt"], 1),
        (["--from-text", "none.txt", "--format", "json"], 1),
        (["--from-text", "nowhere.txt"], 2),
        (["--from-text", "."], 2),
        (["--from-text", "none.txt", "--catalog", "sports-cars"], 2),
    ],
)
def test_no_car_and_no_text_are_one_line_each(tmp_path: Path, arguments: list[str], code: int) -> None:
    (tmp_path / "none.txt").write_text(TEXTS["italian, no car"][0], encoding="utf-8")
    (tmp_path / "empty.txt").touch()
    done = run(tmp_path, *arguments)
    assert done.returncode == code
    assert done.stderr.count("\n") == 1
    if "json" in arguments:
        assert json.loads(done.stdout)["mentions"] == []
    else:
        assert done.stdout == ""


def test_yaml_in_a_draft_holds_no_more_than_its_cars(tmp_path: Path) -> None:
    """A file's name and a text's line breaks end up in the draft: as text, not as YAML."""
    file = tmp_path / "a: [b] #c\n- d.txt"
    file.write_text("Ferrari\nF12 Berlinetta")
    raw = yaml.safe_load(run(tmp_path, "--from-text", file.name).stdout)
    assert [car["id"] for car in raw["cars"]] == ["ferrari-f12-berlinetta"]
    assert set(raw) == {"name", "title", "cars"}


# --- speed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["prose", "cars", "no break"])
def test_a_text_ten_times_as_long_takes_about_ten_times_as_long(kind: str) -> None:
    """A megabyte takes a few seconds, as a rule; how many is a matter of the machine and of what else it does."""
    if kind == "prose":
        said = "\n\n".join(said for said, _ in TEXTS.values())
    else:
        said = (". " if kind == "cars" else " ").join(car.name for car in KNOWN.cars)
    seconds = []
    for size in (100_000, 1_000_000):
        text = said * (1 + size // len(said))
        began = time.process_time()
        assert article.find_mentions(text)
        seconds.append((time.process_time() - began) / len(text))
    assert seconds[1] < 3 * seconds[0]
