"""How stage 2 of the recipe of `mini` makes one image tower of several."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch


def test_stage_2_ends_with_the_mean_of_its_branches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.recipe import checkpoints, stage2

    class Tower(torch.nn.Linear):
        """Stands for the image tower: descending adds what the cycle's number says."""

    starts: dict[str, float] = {}

    def descend(world: Any, part: Any, tower: Any, heads: Any, cycle: stage2.Cycle) -> None:
        starts[cycle.name] = float(tower.weight.detach()[0, 0])
        with torch.no_grad():
            for weights in (tower.weight, heads.weight):
                weights += cycle.number

    def begun(world: Any, part: Any) -> tuple[torch.nn.Module, torch.nn.Module]:
        both = Tower(2, 2), torch.nn.Linear(2, 2)
        for module in both:
            torch.nn.init.zeros_(module.weight)
        return both

    normed = []
    monkeypatch.setattr(stage2, "begun", begun)
    monkeypatch.setattr(stage2, "descend", descend)
    monkeypatch.setattr(stage2, "measure_norms", lambda tower, *rest: normed.append(float(tower.weight.detach()[0, 0])))
    stage2.train(SimpleNamespace(work=tmp_path), SimpleNamespace(tag="a"))  # type: ignore[arg-type]
    before = sum(cycle.number for cycle in stage2.CYCLES)
    mean = before + np.mean([branch.number for branch in stage2.BRANCHES])
    assert [starts[branch.name] for branch in stage2.BRANCHES] == [before] * len(stage2.BRANCHES)
    assert len({(branch.name, branch.number) for branch in (*stage2.CYCLES, *stage2.BRANCHES)}) == 5
    assert normed == [pytest.approx(mean)]
    kept = checkpoints.read(checkpoints.stage2(tmp_path, "a"), "stage2")
    heads = checkpoints.read(checkpoints.heads(tmp_path, "a"), "stage2")["heads"]
    assert float(kept["weight"][0, 0]) == float(heads["weight"][1, 1]) == pytest.approx(mean)
