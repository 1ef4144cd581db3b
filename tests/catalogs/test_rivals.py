"""A car that stands among the other cars under another spelling is reported; cars that are two are not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from conftest import write_catalog
from hypothesis import given, settings, strategies as st
from processes import run

import cartag
from cartag.catalogs import load_catalog, rivals
from cartag.values import Car

CATALOG = cartag.cars("sports-cars")


def of(tmp_path: Path, cars: str, others: str) -> list[tuple[str, str, bool]]:
    text = f"cars: [{cars}]\nother_cars:\n{others}\n"
    found = rivals(load_catalog(write_catalog(tmp_path, text, "own.yaml")))
    return [(rival.car.name, rival.other.name, rival.is_family) for rival in found]


@pytest.mark.parametrize(
    ("car", "other", "is_family"),
    [
        ("458 Italia", "- Ferrari 458 Italia", False),
        ("Italia 458", "- Ferrari 458 Italia", False),
        ("Ferrari 458", "- {name: Ferrari 458 Italia, aliases: [Ferrari 458]}", False),
        ("Ferrari 458 Italia", "- Ferrari 458", True),
        ("458 Italia", "- Ferrari 458", True),
    ],
)
def test_a_car_that_would_fight_itself_is_reported(car: str, other: str, is_family: bool, tmp_path: Path) -> None:
    ((found, _, family),) = of(tmp_path, car, f"  {other}")
    assert (found, family) == (car, is_family)


@pytest.mark.parametrize(
    ("car", "other"),
    [
        ("458 Italia", "Ferrari 458 Spider"),
        ("Ferrari 458 Italia", "Ferrari 458 Speciale"),
        ("Pagani Huayra", "Pagani Huayra BC"),
        ("Porsche 911 Carrera GTS (997)", "Porsche 911 Carrera GTS (991)"),
        ("Bugatti Veyron Grand Sport Vitesse", "Bugatti Veyron Grand Sport"),
        ("Fiat 500 Abarth", "Lincoln 500"),
    ],
)
def test_two_cars_are_told_apart(car: str, other: str, tmp_path: Path) -> None:
    assert not of(tmp_path, f'"{car}"', f'  - "{other}"')


@pytest.mark.parametrize("name", ["mille-miglia-2013", "sports-cars"])
def test_the_shipped_catalogs_fight_nobody(name: str) -> None:
    assert not rivals(load_catalog(name))


@settings(deadline=None)
@given(st.sampled_from(CATALOG.cars))
def test_any_known_car_listed_without_its_make_is_reported_or_gone(car: Car) -> None:
    """Who lists `458 Italia` gets either a catalog without the Ferrari among its other cars, or a line about it."""
    bare = car.name.removeprefix(car.make).strip()
    one = msgspec.structs.replace(car, id="x", name=bare or car.name, make="x", aliases=(), prompts=())
    assert car in [r.other for r in rivals(msgspec.structs.replace(CATALOG, cars=(one,), other_cars=(car,)))]


def test_the_command_says_it(tmp_path: Path) -> None:
    write_catalog(tmp_path, "cars: [458 Italia]\nother_cars: [Ferrari 458 Italia]\n", "own.yaml")
    done = run(tmp_path, "-m", "cartag", "cars", "--catalog", "own.yaml")
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "458 Italia: it seems to be among the other cars, as Ferrari 458 Italia" in done.stderr
    mended = "cars:\n  - {name: 458 Italia, aliases: [Ferrari 458 Italia]}\nother_cars: [Ferrari 458 Italia]\n"
    write_catalog(tmp_path, mended, "own.yaml")
    assert run(tmp_path, "-m", "cartag", "cars", "--catalog", "own.yaml").stderr == ""
