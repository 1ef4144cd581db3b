"""Texts as each family was taught to read them: case, padding, length, the year first, a make's own prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checkpoints import checkpoints  # noqa: F401 - a fixture
from hubs import one_thread  # noqa: F401 - a fixture

import cartag
from cartag import encoder
from cartag.catalogs import prompt_classes
from cartag.checkpoints import resolve
from cartag.progress import Silent

Folders = Callable[[str], Path]
pytestmark = pytest.mark.usefixtures("one_thread")
CLOSE = {"rtol": 0.0, "atol": 1e-5}
LONG = "a photo of a " + "Bugatti Veyron Grand Sport Vitesse Le Ciel Californien " * 6 + "."


def embedded(folder: Path, *texts: str) -> np.ndarray:
    return encoder.load(resolve(str(folder), Silent()), device="cpu", dtype="float32").embed_texts(texts)


def reference(folder: Path, text: str, **options: object) -> np.ndarray:
    """One text by `transformers`' own classes, tokens as the authors of the family make them."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)([text], truncation=True, return_tensors="pt", **options)
    with torch.inference_mode():
        found = AutoModel.from_pretrained(folder).eval().get_text_features(**tokens)
    vector = getattr(found, "pooler_output", found)
    return torch.nn.functional.normalize(vector, dim=-1).numpy()[0]


@pytest.mark.parametrize("kind", ["siglip", "siglip2", "siglip2-naflex"])
def test_siglip_reads_lower_case_padded_to_64(kind: str, checkpoints: Folders) -> None:  # noqa: F811
    text = "a photo of a Pagani Huayra."
    ours = embedded(checkpoints(kind), text)[0]
    padded = reference(checkpoints(kind), text.lower(), padding="max_length", max_length=64)
    np.testing.assert_allclose(ours, padded, **CLOSE)
    bare = reference(checkpoints(kind), text.lower(), padding=False, max_length=64)
    assert np.abs(ours - bare).max() > 1e-3, "padding matters, or this test could not fail"


@pytest.mark.parametrize("kind", ["siglip", "siglip2", "siglip2-naflex"])
def test_siglip_hears_no_capitals(kind: str, checkpoints: Folders) -> None:  # noqa: F811
    one, other = embedded(checkpoints(kind), "2011 Pagani Huayra", "2011 PAGANI huayra")
    np.testing.assert_allclose(one, other, **CLOSE)


@pytest.mark.parametrize(("kind", "length"), [("clip", 77), ("siglip", 64), ("siglip2", 64)])
def test_a_long_name_is_cut_where_the_model_ends(kind: str, length: int, checkpoints: Folders) -> None:  # noqa: F811
    """CLIP reads the vector of its end mark: a text that is cut has to end with one."""
    assert len(LONG) > 4 * length
    padding = "max_length" if kind != "clip" else False
    text = LONG if kind == "clip" else LONG.lower()
    theirs = reference(checkpoints(kind), text, padding=padding, max_length=length)
    np.testing.assert_allclose(embedded(checkpoints(kind), LONG)[0], theirs, **CLOSE)
    beside = embedded(checkpoints(kind), "a car", LONG)[1]
    np.testing.assert_allclose(beside, theirs, **CLOSE)


def test_clip_reads_a_text_alike_whatever_stands_beside_it(checkpoints: Folders) -> None:  # noqa: F811
    alone = reference(checkpoints("clip"), "2011 Pagani Huayra", padding=False, max_length=77)
    together = embedded(checkpoints("clip"), "2011 Pagani Huayra", LONG)[0]
    np.testing.assert_allclose(together, alone, **CLOSE)


def test_templates_are_plain_and_year_first() -> None:
    texts = {c.label: c.texts for c in prompt_classes(cartag.cars("mille-miglia-2013"))}["pagani-huayra"]
    assert {"a photo of a Pagani Huayra.", "a photo of a 2011 Pagani Huayra.", "2011 Pagani Huayra"} <= set(texts)


def test_the_prompts_of_a_make_stand_in_every_template() -> None:
    """The report names Wiesmann and no model: its models are what a picture can be like."""
    catalog = cartag.cars("mille-miglia-2013")
    texts = {c.label: c.texts for c in prompt_classes(catalog)}["wiesmann"]
    models = ("Wiesmann GT MF4", "Wiesmann GT MF5", "Wiesmann Roadster MF3")
    assert len(texts) == len(models) * len(catalog.templates)
    assert {f"a photo of a {model}." for model in models} | {f"1993 {model}" for model in models} <= set(texts)
    assert not [text for text in texts if text.endswith(("Wiesmann.", "Wiesmann"))]
