"""YAML as it is written: no word of a catalog or of settings is taken for a number, a time or a truth."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings, strategies as st

import cartag
from cartag import plainyaml
from cartag.catalogs import catalog as catalogs
from cartag.catalogs.catalog import match_car
from cartag.errors import CatalogError, UnknownCarError
from cartag.resources import shipped_catalogs
from cartag.values import Car

ODD = (
    *(
        "037",
        "02",
        "3.10",
        "1:30",
        "1:30:05",
        "190:20:30",
        "1e3",
        "1.0e+3",
        ".5",
        "0x1F",
        "0o17",
        "0b11",
        "1_000",
        "+5",
    ),
    *("-0", "No", "no", "Yes", "on", "Off", "y", "N", "true", "False", "null", "Null", "2013-05-16"),
    *("2013-99-99", "2001-12-14t21:59:43.10-05:00", ".inf", "-.Inf", ".NaN", "=", "<<", "911", "8C", "F1", "Ka", "é"),
)


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
        both = [plainyaml.read(tmp_path / "a.yaml", CatalogError, trusted=trusted) for trusted in (False, True)]
        assert both[0] == both[1], "PyYAML and libyaml read the same"
        return both[0]

    return read


@pytest.mark.parametrize("word", ODD)
def test_a_word_is_what_is_written_wherever_it_stands(read: Callable[[str], Any], word: str) -> None:
    assert read(f"{word}") == word
    value = None if word.lower() == "null" else word
    assert read(f"- {word}\n- [{word}]\n- a: {word}\n- a: '{word}'\n") == [word, [word], {"a": value}, {"a": word}]
    assert read(f"[&w {word}, *w]") == [word, word]
    if word != "<<":
        assert read(f"{word}: a\n") == {word: "a"}


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.from_regex(r"[0-9_.:eExX+-]{1,8}")
)
@settings(max_examples=400, deadline=None)
def test_whatever_yaml_takes_for_a_plain_word_comes_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, word: str
) -> None:
    try:
        tokens = list(yaml.scan(f"- {word}\n"))
    except yaml.YAMLError:
        return
    plain = [token for token in tokens if isinstance(token, yaml.ScalarToken) and token.plain]
    if len(plain) != 1 or len(tokens) != 6 or plain[0].value != word:
        return
    path = tmp_path_factory.mktemp("yaml") / "a.yaml"
    path.write_text(f"- {word}\n", encoding="utf-8", newline="")
    assert plainyaml.read(path, CatalogError) == [word]


@pytest.mark.parametrize("path", shipped_catalogs().values(), ids=lambda path: path.stem)
def test_a_catalog_without_such_words_is_read_as_ever(path: Path) -> None:
    assert plainyaml.read(path, CatalogError) == yaml.safe_load(path.read_text(encoding="utf-8"))


def test_quotes_blocks_and_tags_of_plain_kinds_are_texts_and_nothing_is_none(read: Callable[[str], Any]) -> None:
    assert read("a: '037'\nb: |\n  No\nc: !!str 02\nd: !!int 037\ne: ''\nf:\ng: !!null x\nh: ~\n") == {
        "a": "037",
        "b": "No\n",
        "c": "02",
        "d": "037",
        "e": "",
        "f": None,
        "g": None,
        "h": None,
    }
    assert read("") is read("# only a remark\n") is read("---\n") is None


def test_keys_are_taken_over_from_others_and_those_of_its_own_go_first(read: Callable[[str], Any]) -> None:
    text = (
        "- &a {name: A, 02: x, years: 1}\n- &b {name: B, body: van}\n- {<<: *a, name: C}\n- {<<: [*b, *a]}\n- '<<': d\n"
    )
    assert read(text)[2:] == [
        {"name": "C", "02": "x", "years": "1"},
        {"name": "B", "body": "van", "02": "x", "years": "1"},
        {"<<": "d"},
    ]


@pytest.mark.parametrize("more", ["{<<: [%s]}", "[%s]"])
def test_aliases_of_aliases_cost_no_more_than_they_are_long(tmp_path: Path, more: str) -> None:
    lines = ["a0: &a0 {k: v}"]
    lines += [f"a{i}: &a{i} {more % ', '.join([f'*a{i - 1}'] * 9)}" for i in range(1, 25)]
    path = tmp_path / "a.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    began = time.perf_counter()
    assert set(plainyaml.read(path, CatalogError)) == {f"a{i}" for i in range(25)}
    assert time.perf_counter() - began < 5


def test_a_list_may_hold_itself_as_yaml_lets_it(read: Callable[[str], Any], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("&a [b, *a]")
    found = plainyaml.read(tmp_path / "a.yaml", CatalogError)
    assert found[0] == "b"
    assert found[1] is found


# --- catalogs ---------------------------------------------------------------------------------------------------


def test_a_car_is_called_what_is_written_and_found_by_it(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        "name: 02\ntitle: No\ncars:\n- {name: Lancia Rally, aliases: [037]}\n- {name: BMW 2002, aliases: [02]}\n"
        "- {name: Lotus, aliases: [3.10]}\n- {name: Some Car, aliases: [1:30, No, 1e3]}\n- 2013-05-16\n- on\n- null\n"
        "- {name: Plain, years: null, body: ~, aliases: null}\n"
    )
    found = cartag.cars(path)
    assert (found.name, found.title) == ("02", "No")
    assert [car.aliases for car in found.cars[:4]] == [("037",), ("02",), ("3.10",), ("1:30", "No", "1e3")]
    assert [car.name for car in found.cars[4:]] == ["2013-05-16", "on", "null", "Plain"]
    assert found.cars[-1] == Car(id="plain", name="Plain", make="Plain")
    for word, name in {"037": "Lancia Rally", "3.10": "Lotus", "1:30": "Some Car", "no": "Some Car"}.items():
        assert [car.name for car in match_car(word, found.cars)] == [name]
    with pytest.raises(UnknownCarError):
        match_car("31", found.cars)


_words = st.sampled_from(ODD) | st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co", "Zl", "Zp"]), max_size=12
)


def _as_a_catalog_has_it(text: str) -> str:
    """Composed, without what nobody sees, and with plain spaces: so a name goes to a model."""
    return " ".join(catalogs.seen(catalogs.unicodedata.normalize("NFC", text)).split())


_names = _words.map(_as_a_catalog_has_it).filter(catalogs.slug)


@given(name=_names, alias=_names, years=st.sampled_from(["1974-1990", "2013", "1e3", "2013-05"]))
@settings(max_examples=200, deadline=None)
def test_a_drafted_car_is_read_with_the_names_it_was_drafted_with(
    tmp_path_factory: pytest.TempPathFactory, name: str, alias: str, years: str
) -> None:
    line = plainyaml.one_line({"id": "x-1", "name": name, "make": alias, "aliases": [alias], "years": years})
    path = tmp_path_factory.mktemp("draft") / "draft.yaml"
    path.write_text(f"name: {plainyaml.one_line(name)}\ncars:\n  - {line}\nother_cars: []\n", encoding="utf-8")
    if catalogs.OUTCOME_WORDS & {catalogs.squeezed(name), catalogs.squeezed(alias)}:
        return
    found = catalogs.load_catalog(path)
    assert found.name == name
    assert found.cars == (Car(id="x-1", name=name, make=alias, aliases=(alias,), years=years),)


# --- an item more -----------------------------------------------------------------------------------------------

FILES = (
    "cars:\n  - A  # the first\n  - B\n\n# the end\ntitle: T\n",
    "cars:\n- A\n- B",
    "# mine\ntitle: T\ncars:\n    - name: A\n      aliases: [x, y]   # said\n    # none here\n",
    "cars: [A, B]  # in one line\ntitle: T\n",
    "cars: [\n  A,\n  {name: B},\n]\n",
    "cars:\n  - A\n  - name: >\n      a\n      block\n\ntitle: T\n",
    "cars:\n  - name: A\n    aliases:\n      - x\n      - y\n\n# later\n",
    "cars:\r\n  - A\r\n  - B\r\ntitle: T\r\n",
    "\ufeffcars:\n  - A\n",
    "other: &these\n  - A\ncars: *these\n",
    "{cars: [A], title: T}",
    "cars:\n  - A\n  - name: B\n    years:\n",
    "---\ncars:\n  - 'A'\n...\n",
)


@pytest.mark.parametrize("text", FILES)
@given(st.lists(st.one_of(st.sampled_from(ODD), st.text(min_size=1)), min_size=1, max_size=3))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_items_come_at_the_end_of_a_list_and_everything_else_stays(text: str, items: list[str]) -> None:
    file = Path("f.yaml")
    items = [item for item in items if item.isprintable()] or ["C"]
    entries = [*items, {"name": items[0], "years": "1990-"}]
    before = plainyaml.parse(text, file, ValueError)
    new = plainyaml.with_items(text, "cars", entries)
    assert new is not None
    after = plainyaml.parse(new, file, ValueError)
    assert after["cars"] == [*before["cars"], *entries]
    assert after.get("title") == before.get("title")
    left = iter(new)
    assert all(character in left for character in text), "what was there is there, in its order"
    assert ("\r\n" in text) == ("\r\n" in new)


@pytest.mark.parametrize("text", ["", "title: T\n", "cars: []\n", "cars:\n", "cars: A\n", "- A\n"])
def test_where_there_is_no_such_list_nothing_is_written(text: str) -> None:
    assert plainyaml.with_items(text, "cars", ["C"]) is None
