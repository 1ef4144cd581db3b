"""Trying a model out: what works holds, and each way of being broken fails at the check that is there for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checkpoints import checkpoints, copy_of, edit_json  # noqa: F401 - a fixture
from conftest import paint, write_catalog
from hubs import one_thread  # noqa: F401 - a fixture
from processes import run

import cartag
from cartag.errors import ModelError, UsageError
from cartag.resources import shipped
from cartag.trying import trying

Folders = Callable[[str], Path]
pytestmark = pytest.mark.usefixtures("one_thread")
DRAWINGS = shipped("data", "gallery")


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Twelve drawings of the sample gallery with their labels."""
    rows = (DRAWINGS / "labels.csv").read_text(encoding="utf-8").splitlines()
    chosen = [row for row in rows[1:] if row.split(",")[1] not in ("none", "unknown") and "|" not in row][:12]
    (tmp_path / "few").mkdir()
    for row in chosen:
        shutil.copy(DRAWINGS / row.split(",")[0], tmp_path / "few")
    (tmp_path / "few" / "labels.csv").write_text("\n".join([rows[0], *chosen]), encoding="utf-8")
    return tmp_path / "few"


def failing(trial: cartag.Trial) -> set[str]:
    return {check.what.partition(" (")[0] for check in trial.checks if check.holds is False}


@pytest.mark.skipif(not DRAWINGS.is_dir(), reason="the sample gallery is in the repository alone")
def test_the_bundled_model_holds(few: Path) -> None:
    trial = cartag.check_model("mini", few, device="cpu")
    assert trial.holds, failing(trial)
    assert (trial.pictures, sum(trial.outcomes.values())) == (12, 12)
    assert trial.top1 > 0.5
    assert trial.seconds_a_photo > 0


@pytest.mark.skipif(not DRAWINGS.is_dir(), reason="the sample gallery is in the repository alone")
@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2", "siglip2-naflex", "timm-bert"])
def test_a_model_that_knows_no_car_fails_by_that_alone(kind: str, few: Path, checkpoints: Folders) -> None:  # noqa: F811
    """Random weights: all that is technical holds, of every family."""
    trial = cartag.check_model(str(checkpoints(kind)), few, device="cpu")
    assert failing(trial) <= {"likeliest car is the right one"}
    assert not trial.holds


def test_another_resize_than_its_own_fails(few: Path, checkpoints: Folders, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """As if the decode had the crop wrong: the picture is upside down."""
    real = trying._decoded
    monkeypatch.setattr(trying, "_decoded", lambda data, spec: np.ascontiguousarray(real(data, spec)[::-1]))
    monkeypatch.setattr(trying, "_in_full", lambda data: real(data, _whole(data)))
    assert "its own processor against cartag's decode" in failing(
        cartag.check_model(str(checkpoints("clip")), few, device="cpu")
    )


def _whole(data: bytes) -> trying.ImageSpec:
    found = trying.decode(data, None)
    return trying.ImageSpec(found.height, found.width, "squash", found.height, 3, (0.5,) * 3, (0.5,) * 3)


def test_texts_that_are_all_alike_fail(few: Path, checkpoints: Folders, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """As with a tokenizer that knows no word."""
    from cartag.encoder.dual import DualEncoder

    real = DualEncoder.embed_texts
    monkeypatch.setattr(
        DualEncoder, "embed_texts", lambda self, texts: np.repeat(real(self, ["x"]), len(texts), axis=0)
    )
    assert "names of cars differ" in failing(cartag.check_model(str(checkpoints("clip")), few, device="cpu"))


def test_a_gallery_without_labels_is_one_line(tmp_path: Path) -> None:
    paint(tmp_path / "red.jpg")
    with pytest.raises(UsageError, match=r"labels\.csv: not there; name a gallery"):
        cartag.check_model("mini", tmp_path)
    (tmp_path / "labels.csv").write_text("file,label\ngone.jpg,Red Racer\n")
    with pytest.raises(UsageError, match="names no picture that is there"):
        cartag.check_model("mini", tmp_path, catalog=write_catalog(tmp_path))


def test_a_model_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="none of mini"):
        cartag.check_model("./nowhere", tmp_path)


def test_how_likely_luck_is() -> None:
    assert trying._luck(0, 10, 0.1) == pytest.approx(1)
    assert trying._luck(10, 10, 0.5) == pytest.approx(0.5**10)
    assert trying._luck(3, 3, 0.25) < trying._luck(2, 3, 0.25)


def test_luck_of_thousands_of_pictures_is_told_too() -> None:
    """Where the ways to be right are too many for a float."""
    assert trying._luck(1000, 2000, 1 / 11) < 1e-300
    assert trying._luck(182, 2000, 1 / 11) == pytest.approx(0.5, abs=0.05)


@pytest.mark.skipif(not DRAWINGS.is_dir(), reason="the sample gallery is in the repository alone")
@pytest.mark.parametrize("count", [1, 2])
def test_of_a_picture_or_two_nothing_fails_that_they_cannot_tell(few: Path, count: int) -> None:
    """Two of eleven cars are right by chance more often than a check may be wrong, and one picture differs from none."""
    rows = (few / "labels.csv").read_text(encoding="utf-8").splitlines()
    (few / "labels.csv").write_text("\n".join(rows[: 1 + count]), encoding="utf-8")
    trial = cartag.check_model("mini", few, device="cpu")
    assert trial.pictures == count
    assert trial.holds, failing(trial)
    assert next(check.holds for check in trial.checks if check.what.startswith("likeliest car")) is None


def test_the_command_exits_with_what_it_found(few: Path, checkpoints: Folders) -> None:  # noqa: F811
    check = ("-m", "cartag", "models", "check", "mini", "--gallery", "few", "--device", "cpu")
    done = run(few.parent, *check)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verdict: works as its authors meant it" in done.stdout
    as_json = run(few.parent, *check[:4], str(checkpoints("clip")), *check[5:], "--format", "json")
    assert as_json.returncode == 1, as_json.stderr
    found = json.loads(as_json.stdout)
    assert found["holds"] is False
    assert {check["holds"] for check in found["checks"]} == {True, False, None}
