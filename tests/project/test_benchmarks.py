"""The benchmarks measure what they say, on sets small enough for a test."""

from __future__ import annotations

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cartag
from benchmarks import measuring, rates, reviewing, startup, throughput
from benchmarks.galleries import make_gallery
from benchmarks.measuring import Report, Run, between_markers, medians
from benchmarks.photos import WEB, PhotoKind, make_galleries, make_gallery as make_photos
from cartag.values import ImageSpec

SMALL = PhotoKind("small", 160, 107, 85)


def test_a_run_is_measured_and_its_failure_told() -> None:
    done = measuring.run(
        [sys.executable, "-c", "x = bytearray(200 * 2**20); import time; time.sleep(0.1); print('yes')"]
    )
    assert done.output == "yes\n"
    assert done.seconds >= 0.1
    if Path("/proc/self/status").exists():
        assert 200 <= done.peak_mb <= 300
    with pytest.raises(RuntimeError, match="no way"):
        measuring.run([sys.executable, "-c", "raise SystemExit('no way')"])


def test_medians_are_taken_of_each_figure() -> None:
    runs = [Run(1, 9, 5, "a"), Run(3, 8, 4, "b"), Run(2, 7, 6, "c")]
    assert medians(runs) == Run(2, 8, 5, "c")


def test_a_table_is_written_between_its_markers() -> None:
    report = Report("speed", ("way", "photos/s"))
    report.add("cartag", 12.345)
    report.add("other", 1234)
    assert "| cartag | 12.3 |\n| other | 1,234 |\n" in report.markdown()
    page = "before\n<!-- speed -->\nold\n<!-- /speed -->\nafter\n"
    assert between_markers(page, "speed", "new") == "before\n<!-- speed -->\nnew\n<!-- /speed -->\nafter\n"
    with pytest.raises(ValueError, match="speed"):
        between_markers("nothing", "speed", "new")
    assert report.as_json()["rows"][0] == {"way": "cartag", "photos/s": 12.345}


def test_every_photo_of_a_set_has_its_own_content_and_decodes(tmp_path: Path) -> None:
    folder = make_photos(tmp_path, SMALL, 10)
    photos = sorted(folder.iterdir())
    assert len({photo.read_bytes() for photo in photos}) == 10
    for photo in photos:
        with Image.open(photo) as image:
            image.load()
            assert image.size == (160, 107)
    assert WEB.width == 1600


def test_the_limit_on_a_gpu_is_the_slower_of_decoders_and_model(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        galleries = make_galleries(tmp_path, {SMALL: 10}, pool)
    photos = sorted(galleries["small"].iterdir())
    assert len({photo.read_bytes() for photo in photos}) == 10
    spec = ImageSpec(32, 32, "squash", 32, 3, (0.5,) * 3, (0.5,) * 3)
    assert all(rate > 0 for rate in rates.decoders(photos, spec).values())
    found = {"dtype": "bfloat16", "threads": 200.0, "processes": 300.0, "model": 5000.0}
    found |= {"tag": 180.0, "pipeline": 9.0, "pipeline_batch": 8, "loop": 18.0}
    report = Report("throughput-cuda", ("photos", "way", "whole /s", "steady /s", "peak MiB", "cartag is"))
    throughput._add_gpu_rows(report, "1801 web", 1801, Run(12, 9, 5, ""), found)
    shares = {row[1].split(",")[0]: row[-1] for row in report.rows if row[-1]}
    assert shares["transformers pipeline"] == "20.0 x as fast"
    assert shares["decoders alone"] == "at 90 % of it"
    assert "model alone" not in shares


def test_the_rate_of_tagging_is_of_photos_that_were_embedded(tmp_path: Path) -> None:
    gallery = make_photos(tmp_path, SMALL, 10)
    rate = rates.tagging(gallery, "fake", "cpu", measuring.ROOT / "configs" / "mille-miglia-2013.yaml")
    assert 0 < rate < 10_000
    assert {path.suffix for path in gallery.iterdir()} == {".jpg"}  # its index lay elsewhere


def test_a_made_gallery_is_one_that_tag_leaves_alone(tmp_path: Path) -> None:
    folder = make_gallery(tmp_path / "g", 1200, "fake", "mille-miglia-2013")
    report = cartag.tag(folder, model="fake")
    assert (report.unchanged, report.embedded) == (1200, 0)
    again = cartag.tag(folder, model="fake", catalog="sports-cars")
    assert (again.scored, again.embedded, again.unreadable) == (1200, 0, 0)
    assert len(cartag.find(folder, "pagani")) > 0


def test_startup_prints_a_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "clip_b32", lambda folder: "fake")  # one of its size takes a minute
    monkeypatch.setattr(startup, "_texts_in_photos", lambda model: 100.0)
    monkeypatch.setattr(startup, "IMPORTS", "import json")
    monkeypatch.setattr(startup, "_GALLERY", tmp_path / "photos")
    (tmp_path / "photos").mkdir()
    shutil.copy(measuring.ROOT / "data" / "gallery" / "mille-miglia-2013-01.jpg", tmp_path / "photos")
    startup.main(["--runs", "1", "--photos", "3", "--json", str(tmp_path / "s.json"), "--work", str(tmp_path)])
    assert "cartag --help" in capsys.readouterr().out
    rows = json.loads((tmp_path / "s.json").read_text())["rows"]
    assert [row["command"] for row in rows] == [
        *(startup.IMPORTS, *startup.SHORT, startup.FIRST, startup.SECOND, startup.NEW),
        *(startup.HUB_FIRST, startup.HUB_SECOND, *(name.format(count=3) for name in startup.WHOLE)),
    ]
    assert all(row["seconds"] > 0 for row in rows)


def test_a_group_is_worth_what_it_saves() -> None:
    truth = np.array(["a", "a", "a", "b", "c", "d"], object)
    whole, half, mixed = np.array([0, 1, 2]), np.array([0, 1, 2, 3]), np.array([0, 3, 4, 5])
    assert reviewing._cost([], truth, 6) == (6, 0)
    assert reviewing._cost([whole], truth, 6) == (4, 0), "one for three"
    assert reviewing._cost([half], truth, 6) == (5, 1), "one, and two for the other"
    assert reviewing._cost([mixed], truth, 6) == (6, 3), "skipped"
