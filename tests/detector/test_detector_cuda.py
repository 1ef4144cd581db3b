"""On a GPU: the boxes of the CPU, whatever shares a pass. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectors import MAKERS, made_detectors, painted  # noqa: F401 - a fixture

from cartag import detector
from cartag.checkpoints import resolve_detector
from cartag.errors import ModelError
from cartag.progress import Silent

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def loaded(folder: Path, device: str) -> Any:
    return detector.load(resolve_detector(str(folder), Silent()), device=device)


@pytest.mark.parametrize("kind", list(MAKERS))
def test_boxes_are_those_of_the_cpu(kind: str, detectors: Callable[[str], Path]) -> None:
    photos = [painted(70 + 10 * (seed % 3), 110, seed) for seed in range(40)]
    exact, fast = (loaded(detectors(kind), device).boxes(photos) for device in ("cpu", "cuda"))
    same = [
        one.shape == other.shape and np.abs(one - other).max(initial=0) < 1e-3
        for one, other in zip(exact, fast, strict=True)
    ]
    # A confidence may lie at the threshold, or two boxes at the overlap that makes them one.
    assert np.mean(same) >= 0.9


def test_a_full_memory_halves_the_pass(detectors: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [painted(80, 110, seed) for seed in range(40)]
    model = loaded(detectors("rtdetr"), "cuda")
    whole, one_pass = model.boxes(photos), model._pass

    def small(items: Any) -> Any:
        if len(items) > 5:
            raise torch.OutOfMemoryError("injected")
        return one_pass(items)

    monkeypatch.setattr(model, "_pass", small)
    for ours, wanted in zip(model.boxes(photos), whole, strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-4)
    monkeypatch.setattr(model, "_pass", lambda items: small([*items] * 6))
    with pytest.raises(ModelError, match="--device cpu"):
        model.boxes(photos)
