"""Writing another car into a catalog's file: comments stay, nothing else changes, a shipped catalog never."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import write_catalog
from typer.testing import CliRunner

import cartag
from cartag.cli import app
from cartag.errors import CatalogError, UsageError
from cartag.resources import shipped_catalogs

MINE = """# for the club
name: mine
cars:
  - Lancia Stratos   # the best
  - {name: Alpine A110, aliases: [Berlinette]}

# nothing after this
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return write_catalog(tmp_path, MINE, "mine.yaml")


def test_a_car_is_a_line_more_and_comments_stay(mine: Path) -> None:
    catalog = cartag.cars(mine, add="Tata Nano")
    assert [car.name for car in catalog.cars] == ["Lancia Stratos", "Alpine A110", "Tata Nano"]
    assert mine.read_text() == MINE.replace("[Berlinette]}\n", "[Berlinette]}\n  - Tata Nano\n")
    assert cartag.cars(mine) == catalog


def test_what_is_known_of_another_car_comes_with_it(mine: Path) -> None:
    before = cartag.cars(mine)
    (known,) = [car for car in before.other_cars if car.name == "Ferrari F430"]
    catalog = cartag.cars(mine, add=["ferrari f430", "037"])
    assert catalog.cars[-2:] == (known, cartag.cars(mine).cars[-1])
    assert catalog.cars[-1].name == "037"
    assert known not in catalog.other_cars, "it is looked for now, not rejected by"
    assert len(catalog.other_cars) == len(before.other_cars) - 1


def test_every_other_car_can_be_added_as_it_is_known(tmp_path: Path) -> None:
    shipped = cartag.cars("mille-miglia-2013")
    for number, other in enumerate(shipped.other_cars[::25]):
        catalog = cartag.cars("mille-miglia-2013", add=other.name, to=tmp_path / f"{number}.yaml")
        assert catalog.cars == (*shipped.cars, other)


def test_a_shipped_catalog_is_copied_not_changed(tmp_path: Path) -> None:
    file = shipped_catalogs()["mille-miglia-2013"]
    before = file.read_bytes()
    with pytest.raises(UsageError, match=r"ships with cartag and is not changed.*--to my-cars\.yaml"):
        cartag.cars("mille-miglia-2013", add="Tata Nano")
    catalog = cartag.cars("mille-miglia-2013", add="Tata Nano", to=tmp_path / "my.yaml")
    assert catalog.source == str((tmp_path / "my.yaml").resolve())
    assert [car.id for car in catalog.cars][-2:] == ["lamborghini-countach", "tata-nano"]
    assert file.read_bytes() == before
    with pytest.raises(UsageError, match=r"is there already.*--catalog"):
        cartag.cars("mille-miglia-2013", add="Tata Nano", to=tmp_path / "my.yaml")


@pytest.mark.parametrize(
    ("add", "message"),
    [
        ("alpine a110", r"mine\.yaml: has 'alpine a110' already, as 'Alpine A110'"),
        ("Berlinette", "already, as 'Alpine A110'"),
        ("unknown", r"cars\[2\]: 'unknown' is a word of the hand labels"),
        ("!!", r"cars\[2\]\.name: '!!' has no letter or digit"),
        ("", r"cars\[2\]: expected a text|a car needs a name|expected a text"),
    ],
)
def test_what_cannot_be_added_is_said_and_the_file_stays(mine: Path, add: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message) as e:
        cartag.cars(mine, add=[add])
    assert "\n" not in str(e.value)
    assert mine.read_text() == MINE


def test_a_list_that_is_written_elsewhere_is_left_to_the_person(mine: Path) -> None:
    text = "cars: &all [Lancia Stratos]\nother_cars: *all\n"
    mine.write_text(text)
    catalog = cartag.cars(mine, add="Tata Nano")
    assert [car.name for car in catalog.cars] == ["Lancia Stratos", "Tata Nano"]
    mine.write_text("base: &base {cars: [Lancia Stratos]}\n<<: *base\n")
    with pytest.raises(CatalogError):
        cartag.cars(mine, add="Tata Nano")


def test_where_nothing_can_be_written_nothing_is(mine: Path, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"nowhere.my\.yaml: cannot be written"):
        cartag.cars(mine, add="Tata Nano", to=tmp_path / "nowhere" / "my.yaml")
    with pytest.raises(UsageError, match="name the car with --add"):
        cartag.cars(mine, to=tmp_path / "my.yaml")
    assert mine.read_text() == MINE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml"]


def test_the_command_says_what_is_next(mine: Path) -> None:
    run = CliRunner().invoke(app, ["cars", "--catalog", str(mine), "--add", "Tata Nano", "--add", "Fiat Uno"])
    assert run.exit_code == 0
    assert run.stdout.splitlines() == [
        f"{mine}: 4 cars, with Tata Nano, Fiat Uno",
        f"next: cartag tag GALLERY --catalog {mine}",
    ]
    run = CliRunner().invoke(app, ["cars", "--catalog", str(mine), "--add", "Skoda 120", "--format", "json"])
    assert [car["name"] for car in json.loads(run.stdout)["cars"]][-1] == "Skoda 120"
