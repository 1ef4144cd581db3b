"""The sample gallery: what the drawings promise, and that they are what the code draws."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

import cartag

ROOT = Path(__file__).resolve().parents[2]
GALLERY = ROOT / "data" / "gallery"


def _column(name: str) -> dict[str, str]:
    with (GALLERY / f"{name}s.csv").open(encoding="utf-8", newline="") as f:
        return {row["file"]: row[name] for row in csv.DictReader(f)}


def test_it_has_37_pictures_each_with_a_label_and_a_caption() -> None:
    files = [f"mille-miglia-2013-{i:02}.jpg" for i in range(1, 38)]
    assert sorted(path.name for path in GALLERY.glob("*.jpg")) == files
    assert sorted(_column("label")) == files
    captions = _column("caption")
    assert sorted(captions) == files
    assert len(set(captions.values())) == 37


def test_it_is_light_and_large_enough() -> None:
    pictures = list(GALLERY.glob("*.jpg"))
    assert sum(path.stat().st_size for path in pictures) < 8_000_000
    assert all(max(Image.open(path).size) == 1600 for path in pictures)


def test_every_car_of_the_catalog_is_there_and_so_are_the_hard_cases() -> None:
    labels = list(_column("label").values())
    ids = {car.id for car in cartag.cars("mille-miglia-2013").cars}
    shown = Counter(car for label in labels for car in label.split("|"))
    assert ids <= set(shown)
    assert set(shown) <= ids | {"none", "unknown"}
    assert all(shown[car] >= 2 for car in ids)
    assert labels.count("none") == 3
    assert labels.count("unknown") == 3
    assert sum("|" in label for label in labels) >= 2


@pytest.mark.stress
@pytest.mark.timeout(1800)
def test_the_shipped_pictures_are_what_the_code_draws() -> None:
    subprocess.run([sys.executable, ROOT / "data" / "draw_gallery.py", "--check"], check=True)


def test_random_drawings_are_deterministic_and_labelled(tmp_path: Path) -> None:
    def draw(to: Path, seed: int) -> list[bytes]:
        command = [sys.executable, ROOT / "data" / "draw_gallery.py", "--random", "2", "--to", to, "--width", "160"]
        subprocess.run([*command, "--seed", str(seed)], check=True, stdout=subprocess.DEVNULL)
        return [path.read_bytes() for path in sorted(to.iterdir())]

    first, again, other = draw(tmp_path / "a", 1), draw(tmp_path / "b", 1), draw(tmp_path / "c", 2)
    assert first == again
    assert first != other
    assert (tmp_path / "a" / "labels.csv").read_text().splitlines()[0] == "file,label"
