"""What the image tower of the recipe is shown while it is trained, and how it computes then."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def views() -> Any:
    """Loaded when the first test wants it: it takes torch with it."""
    pytest.importorskip("cv2")
    from models.recipe import views

    return views


@pytest.fixture(scope="module")
def tower() -> Any:
    from models.recipe.towers import FROZEN2, ImageTower

    return ImageTower(FROZEN2, pretrained=False)


def coloured(seed: int, count: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 64, 3)).astype(np.uint8)


@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_views_are_normalised_and_repeat_with_their_seed(views: Any, strength: float) -> None:
    found, kept = views.recolour(coloured(1), strength, np.random.default_rng(5))
    again, _ = views.recolour(coloured(1), strength, np.random.default_rng(5))
    assert found.shape == (12, 3, 48, 64)
    assert -1 <= float(found.min()) < -0.5
    assert 0.5 < float(found.max()) <= 1
    assert bool((found == again).all())
    assert bool(kept.all()) or strength > 0


def test_a_view_that_keeps_its_colours_keeps_their_order(views: Any) -> None:
    red = np.zeros((40, 16, 16, 3), np.uint8)
    red[..., 0], red[..., 1] = 200, 60
    found, kept = views.recolour(red, 1.0, np.random.default_rng(2))
    means = found[:, :, 8, 8]
    is_red = (means[:, 0] > means[:, 1]) & (means[:, 1] > means[:, 2])
    has_hole = found.amax((1, 2, 3)) != found[:, :, 8, 8].amax(1)
    assert 20 < int(kept.sum()) < 40
    assert bool(is_red[kept & ~has_hole].all())
    assert not bool(is_red[~kept].all())


def test_every_change_of_hue_keeps_grey_grey(views: Any) -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        assert np.allclose(views.hue(rng) @ np.ones(3), 1)


def test_pictures_go_through_the_frozen_stages_a_few_at_a_time(tower: Any) -> None:
    import torch

    pixels = torch.randn(5, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    tower.eval()
    with torch.no_grad():
        together = tower(pixels)
        alone = torch.cat([tower(one[None]) for one in pixels])
    assert torch.allclose(together, alone, atol=1e-5)


def test_only_training_computes_in_bfloat16(tower: Any) -> None:
    import torch

    pixels = torch.randn(4, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    seen: list[Any] = []
    hook = tower.body.conv_head.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    try:
        exact = tower.eval()(pixels)
        tower.is_half = True
        assert torch.equal(tower(pixels), exact)
        taught = tower.train()(pixels)
        with torch.no_grad():
            tower(pixels)
    finally:
        tower.is_half = False
        hook.remove()
    assert seen == [torch.float32, torch.float32, torch.bfloat16, torch.float32]
    assert taught.dtype == torch.float32
    assert taught.requires_grad
