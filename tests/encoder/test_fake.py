"""The shipped fake encoder keeps to the protocol that real ones keep to."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import OUTCOME_OF, picture

from cartag.encoder import Encoder, FakeEncoder
from cartag.encoder.fake import COLOURS


def pixels(colour: str) -> np.ndarray:
    return np.asarray(picture(colour, size=(32, 32)))


def test_it_is_an_encoder() -> None:
    encoder: Encoder = FakeEncoder()
    assert encoder.identity.startswith("fake@")
    assert (encoder.dtype, encoder.logit_bias) == ("float32", None)
    assert (encoder.image_spec.height, encoder.image_spec.width) == (32, 32)


def test_embeddings_are_unit_length_float32_and_always_the_same() -> None:
    photos, texts = [pixels(colour) for colour in COLOURS], ["a red car", "", "Cuộc", "\udcff"]
    for one, two in (
        (FakeEncoder().embed_images(photos), FakeEncoder().embed_images(photos)),
        (FakeEncoder().embed_texts(texts), FakeEncoder().embed_texts(texts)),
    ):
        assert one.dtype == np.float32
        assert np.allclose(np.linalg.norm(one, axis=1), 1)
        assert np.array_equal(one, two)
    assert FakeEncoder().embed_images([]).shape == FakeEncoder().embed_texts([]).shape == (0, 32)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_photo_lies_nearest_to_the_text_that_names_its_colour(colour: str) -> None:
    encoder = FakeEncoder()
    similarity = encoder.embed_images([pixels(colour)]) @ encoder.embed_texts([f"a {c} car" for c in COLOURS]).T
    assert list(COLOURS)[int(similarity.argmax())] == colour


def test_a_text_without_a_colour_is_like_no_photo() -> None:
    encoder = FakeEncoder()
    photos = encoder.embed_images([pixels(colour) for colour in OUTCOME_OF])
    assert np.abs(photos @ encoder.embed_texts(["a Pagani Huayra"]).T).max() < 1e-6


def test_a_photo_s_neighbours_in_the_batch_play_no_part() -> None:
    encoder = FakeEncoder()
    together = encoder.embed_images([pixels("red"), pixels("blue")])
    assert np.array_equal(together[1], encoder.embed_images([pixels("blue")])[0])
