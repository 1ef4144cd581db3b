"""Parts of the recipe of `mini` that can be told right from wrong without training, and what pages say of its figures."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from cartag.scoring.calibration import Calibration
from cartag.scoring.scoring import ClassSet, score

ROOT = Path(__file__).resolve().parents[2]
MINI = ROOT / "models" / "mini"
RECIPE = MINI.parent / "recipe"
CARS, OTHERS, NONE = 4, 30, 6
TRUE = Calibration(temperature=1.3, spread=2.0, other_bias=-1.5, no_car_bias=0.5)


@pytest.fixture(scope="module")
def recipe() -> SimpleNamespace:
    """Its modules, loaded when the first test wants them: they take torch, transformers and timm with them."""
    from models.recipe import calibrating, card, checkpoints, heads, loop, text

    return SimpleNamespace(
        calibrating=calibrating, card=card, checkpoints=checkpoints, heads=heads, loop=loop, text=text
    )


# --- the package ------------------------------------------------------------------------------------------------

STAGES = ("stage1", "stage2", "stage3", "export")
PROGRAMS = (*STAGES, "graphs", "measure", "report", "digests")
MODULES = {path.stem: path for path in RECIPE.glob("*.py")}


def imported_by(name: str) -> set[str]:
    """Modules of the recipe that one of them imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("models.recipe.") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "models.recipe":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.removeprefix("models.recipe."))
    return found & MODULES.keys()


def test_its_modules_import_each_other_in_no_circle() -> None:
    order = TopologicalSorter({name: imported_by(name) for name in MODULES})
    order.prepare()  # CycleError names the circle
    assert "world" in imported_by("stage2")


def test_its_stages_meet_in_checkpoints_alone() -> None:
    for stage in STAGES:
        assert not imported_by(stage) & {*PROGRAMS, "__main__"} - {"digests", "graphs"}, stage


def test_its_modules_can_be_read_in_a_sitting_and_say_what_they_own() -> None:
    for name, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 250, name
        assert (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0].endswith((".", ":")), name


def test_its_programs_are_those_that_the_card_and_the_package_name() -> None:
    programs = {name for name, path in MODULES.items() if 'if __name__ == "__main__":' in path.read_text()}
    assert programs == {*PROGRAMS, "__main__"}
    said = (MODULES["__init__"].read_text(encoding="utf-8"), (MINI / "README.md").read_text(encoding="utf-8"))
    for name in PROGRAMS[:-1]:
        assert all(f"`{name}`" in text for text in said), name


def test_a_program_starts_once_more_with_the_settings_it_needs(tmp_path: Path) -> None:
    """And an import of the package does not."""
    from models.recipe import SETTINGS

    probe = tmp_path / "sitecustomize.py"
    probe.write_text("import os, sys\nprint(os.environ.get('OPENBLAS_NUM_THREADS'), file=sys.stderr)\n")
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{MINI.parents[1]}"

    def starts(*arguments: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stderr.split()

    (tmp_path / "out").mkdir()
    assert starts("-m", "models.recipe.digests", "--out", "out") == ["None", "1"]
    assert json.loads((tmp_path / "out" / "digests.json").read_text()).keys() == {"../recipe/*.py"}
    assert starts("-c", "import models.recipe") == ["None"]


def test_a_stage_that_comes_too_early_names_the_one_to_run_first(recipe: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"stage1-last\.pt: missing; run python -m models\.recipe\.stage1 first"):
        recipe.checkpoints.read(tmp_path / recipe.checkpoints.STAGE1_LAST, "stage1")
    with pytest.raises(SystemExit, match=r"run python -m models\.recipe\.stage3 first"):
        recipe.text.read_tokenizer(tmp_path)


# --- calibration ------------------------------------------------------------------------------------------------


def drawn(true: Calibration, recipe: SimpleNamespace, count: int, seed: int) -> tuple[list[Any], np.ndarray, ClassSet]:
    """Photos with cosines (N, classes) that say something of the truth, and the truth drawn from their probabilities."""
    rng = np.random.default_rng(seed)
    classes = ClassSet(tuple(f"car-{i}" for i in range(CARS)), np.eye(CARS + OTHERS + NONE, dtype=np.float32), OTHERS)
    cosines = rng.normal(0, 0.12, (count, CARS + OTHERS + NONE)).astype(np.float32)
    scores = score(cosines, classes, logit_scale=recipe.text.LOGIT_SCALE, calibration=true)
    p = np.column_stack([scores.cars, scores.other, scores.no_car]).astype(float)
    shown = (rng.random((count, 1)) < np.cumsum(p / p.sum(axis=1, keepdims=True), axis=1)).argmax(axis=1)
    kinds = [*classes.cars, "other", "none"]
    return [SimpleNamespace(car=kinds[i]) for i in shown], cosines, classes


def loss(found: Calibration, photos: list[Any], cosines: np.ndarray, classes: ClassSet, scale: float) -> float:
    """What the fit is to make small, by the scoring of the tool."""
    scores = score(cosines, classes, logit_scale=scale, calibration=found)
    p = np.column_stack([scores.cars, scores.other, scores.no_car])
    kinds = [*classes.cars, "other", "none"]
    shown = np.array([kinds.index(photo.car) for photo in photos])
    each = -np.log(p[np.arange(len(p)), shown])
    return sum(
        weight * float(each[rows].mean())
        for weight, rows in ((1, shown < CARS), (1, shown == CARS), (0.5, shown > CARS))
    )


FITTED = {"temperature": 0.05, "spread": 0.08, "other_bias": 0.1, "no_car_bias": 0.1}


@pytest.mark.parametrize("seed", range(4))
def test_no_calibration_nearby_is_likelier_than_the_one_that_is_fitted(recipe: SimpleNamespace, seed: int) -> None:
    """By the scoring of the tool, for which it is meant."""
    world = drawn(TRUE, recipe, 1500, seed)
    found = recipe.calibrating.likeliest(recipe.calibrating.Asked(*world))
    best = loss(found, *world, recipe.text.LOGIT_SCALE)
    assert best < loss(TRUE, *world, recipe.text.LOGIT_SCALE)
    for name, step in FITTED.items():
        for value in (getattr(found, name) - step, getattr(found, name) + step):
            if name != "spread" or value >= 1:
                moved = msgspec.structs.replace(found, **{name: value})
                assert loss(moved, *world, recipe.text.LOGIT_SCALE) > best


def test_many_photos_bring_the_calibration_near_to_the_true_one(recipe: SimpleNamespace) -> None:
    found = recipe.calibrating.likeliest(recipe.calibrating.Asked(*drawn(TRUE, recipe, 12000, 9)))
    assert found.temperature == pytest.approx(TRUE.temperature, rel=0.1)
    assert found.spread == pytest.approx(TRUE.spread, rel=0.35)


def test_a_calibration_is_fitted_to_several_catalogs_at_once(recipe: SimpleNamespace) -> None:
    """Each counts the same, and one without other cars is fitted to the rest of its photographs."""
    photos, cosines, classes = drawn(TRUE, recipe, 3000, 6)
    bare = ClassSet(classes.cars, np.delete(classes.embeddings, slice(CARS, CARS + OTHERS), axis=0), 0)
    colder = np.delete(cosines, slice(CARS, CARS + OTHERS), axis=1) * 1.5
    one, other = recipe.calibrating.Asked(photos, cosines, classes), recipe.calibrating.Asked(photos, colder, bare)
    alone, both, again = (recipe.calibrating.likeliest(*of) for of in ((one,), (one, other), (one, one)))
    assert again == alone
    assert both.temperature > alone.temperature
    assert np.isfinite([both.temperature, both.spread, both.other_bias, both.no_car_bias]).all()


def test_no_bias_of_what_is_no_car_makes_fewer_errors(recipe: SimpleNamespace) -> None:
    photos, cosines, classes = drawn(TRUE, recipe, 1500, 5)
    found, before = (
        fit(recipe.calibrating.Asked(photos, cosines, classes))
        for fit in (recipe.calibrating.fit_calibration, recipe.calibrating.likeliest)
    )
    assert msgspec.structs.replace(found, no_car_bias=0.0) == msgspec.structs.replace(before, no_car_bias=0.0)
    assert found.threshold == 0.5
    nothing = np.array([photo.car == "none" for photo in photos])

    def errors(bias: float) -> float:
        moved = msgspec.structs.replace(found, no_car_bias=bias)
        empty = score(cosines, classes, logit_scale=recipe.text.LOGIT_SCALE, calibration=moved).no_car > 0.5
        return 1 - float(empty[nothing].mean()) + 2 * float(empty[~nothing].mean())

    assert all(
        errors(found.no_car_bias) <= errors(bias) + 1e-9 for bias in before.no_car_bias + np.arange(-4, 4.01, 0.5)
    )


# --- losses -----------------------------------------------------------------------------------------------------


def test_a_loss_is_the_mean_over_the_pictures_that_have_the_label(recipe: SimpleNamespace) -> None:
    torch.manual_seed(0)
    logits = {head: torch.randn(6, 5) for head in recipe.heads.HEAD_SHARES}
    targets = {head: torch.tensor([0, 3, -100, 1, -100, 4]) for head in recipe.heads.HEAD_SHARES}
    targets["colour"][:] = -100
    known = torch.tensor([0, 1, 3, 5])
    wanted = sum(
        share * cross_entropy(logits[head][known], targets[head][known], label_smoothing=0.1)
        for head, share in recipe.heads.HEAD_SHARES.items()
        if head != "colour"
    )
    assert set(recipe.heads.labelled(targets)) == set(recipe.heads.HEAD_SHARES) - {"colour"}
    assert recipe.heads.heads_loss(logits, recipe.heads.labelled(targets)) == pytest.approx(float(wanted), rel=1e-6)


def test_what_may_be_true_as_well_is_no_mistake(recipe: SimpleNamespace) -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(3, 4), torch.tensor([0, -100, 2])
    kin = torch.zeros(4, 4, dtype=torch.bool)
    kin[0, 1] = True  # a picture of class 0 may show class 1
    first = logits[0, [0, 2, 3]].log_softmax(0)
    third = logits[2].log_softmax(0)
    wanted = -sum(0.9 * right + 0.1 * rest.mean() for right, rest in ((first[0], first), (third[2], third))) / 2
    assert recipe.heads.masked_cross_entropy(logits, target, kin) == pytest.approx(float(wanted), rel=1e-5)
    assert recipe.heads.masked_cross_entropy(logits, torch.full((3,), -100), kin) == 0


# --- batches and checkpoints ------------------------------------------------------------------------------------


def test_a_loader_gives_the_parts_of_every_step_in_their_order(recipe: SimpleNamespace) -> None:
    def draw(step: int, worker: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return torch.tensor([step, worker]), {"name": torch.tensor([step * worker])}

    steps = recipe.loop.Steps(draw, range(3, 9))
    loader = torch.utils.data.DataLoader(steps, batch_size=None, num_workers=2, multiprocessing_context="fork")
    seen = [[part[0].tolist() for part in parts] for parts in loader]
    assert seen == [[[step, worker] for worker in range(recipe.loop.WORKERS)] for step in range(3, 9)]


def test_a_checkpoint_is_written_whole_over_the_last_one(recipe: SimpleNamespace, tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        recipe.checkpoints.keep({"tower": {"w": torch.full((3,), value)}, "losses": [value]}, tmp_path / "a.pt")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    assert state["losses"] == [2.0]
    assert state["tower"]["w"].tolist() == [2.0] * 3
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


# --- what the pages say of it -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MINI / "metrics.json").read_text(encoding="utf-8"))
    return found


def test_the_cards_tables_are_those_of_what_was_measured(recipe: SimpleNamespace, measured: dict[str, Any]) -> None:
    card = (MINI / "README.md").read_text(encoding="utf-8")
    assert card.split("<!-- tables -->\n")[1].split("\n<!-- end of tables -->")[0] == recipe.card.tables(measured)


def test_sentences_with_figures_say_what_was_measured(measured: dict[str, Any]) -> None:
    modes = measured["cross_validation"]["decisions_by_mode"]
    right, other = (
        {mode: f"{100 * v[part] / v[whole]:.0f} %" for mode, v in modes.items()}
        for part, whole in (("right", "eleven"), ("other_tagged", "other"))
    )
    readme, evaluation, card = (
        " ".join(path.read_text(encoding="utf-8").split())
        for path in (ROOT / "README.md", ROOT / "docs" / "evaluation.md", MINI / "README.md")
    )
    assert f"tags {right['balanced']} of those of the sample's eleven cars rightly" in readme
    assert f"and {other['balanced']} of those of other cars with one of the eleven" in readme
    assert (
        f"`mini` then tags {other['strict']} of other cars with one of the eleven instead of {other['balanced']}"
        in evaluation
    )
    assert f"{right['strict']} of the eleven's photographs rightly instead of {right['balanced']}" in evaluation
    nothing = modes["balanced"]
    numbers = ("None", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight")
    missed, tagged = numbers[nothing["none"] - nothing["none_no_car"]], numbers[nothing["none_tagged"]].lower()
    said = f"{missed} of the {nothing['none']} photographs without a car come out as something else than `no-car`, {tagged} of them"
    assert said in card
    crops = measured["stanford"]
    assert f"{100 * crops['top1'] / crops['crops']:.1f} % of Stanford's by text" in card
    by_words = measured["colour_and_model_precision_at_10"].values()
    assert f"right in {100 * sum(by_words) / len(by_words):.0f} % of the places" in card
