"""Which model `auto` is: by accuracy and cost, by what is here, and by what the index was made with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoints import checkpoints, put_in_cache  # noqa: F401 - a fixture
from hubs import empty_hub, one_line  # noqa: F401 - a fixture
from hypothesis import given, strategies as st
from notes import Notes

import cartag
from cartag.checkpoints import choosing, front, known_models, resolve_auto
from cartag.errors import ModelError
from cartag.progress import Silent
from cartag.values import IndexedModel, ModelSpec

Folders = Callable[[str], Path]
SPECS = st.lists(
    st.tuples(st.none() | st.floats(0.1, 100), st.none() | st.floats(1, 100)).map(
        lambda of: ModelSpec("m", "m", cost=of[0], stanford_cars_top1=of[1])
    ),
    max_size=12,
)


def names(which: str, **machine: object) -> list[str]:
    return [spec.name for spec in choosing.wanted(which, **{"cores": 2, "has_gpu": False, **machine})]  # type: ignore[arg-type]


@given(SPECS)
def test_of_the_front_none_is_beaten_and_what_is_not_on_it_is(models: list[ModelSpec]) -> None:
    best = front(models)
    for model in models:
        if model.cost is None or model.stanford_cars_top1 is None:
            assert model not in best
            continue
        beaten = [
            one
            for one in models
            if one.cost is not None
            and one.stanford_cars_top1 is not None
            and one.cost <= model.cost
            and one.stanford_cars_top1 >= model.stanford_cars_top1
            and (one.cost, one.stanford_cars_top1) != (model.cost, model.stanford_cars_top1)
        ]
        assert (model in best) == (not beaten)


def test_a_superseded_model_is_beaten_by_the_one_it_names() -> None:
    known = known_models()
    best = {spec.name for spec in front(known.values())}
    for spec in known.values():
        if spec.superseded_by is None:
            assert spec.stanford_cars_top1 is None or spec.name in best
            continue
        better = known[spec.superseded_by]
        assert spec.name not in best
        assert (better.cost or 0) <= (spec.cost or 0)
        assert (better.stanford_cars_top1 or 0) > (spec.stanford_cars_top1 or 0)


def test_the_choice_by_machine() -> None:
    assert names("auto", cores=1) == ["clip-b32"]
    assert names("auto", cores=2) == ["siglip2-b16", "clip-b32"]
    assert names("auto", cores=1, has_gpu=True) == ["siglip2-b16", "clip-b32"]
    assert names("auto:fast") == ["clip-b32"]
    assert names("auto:best") == ["siglip2-l16", "siglip2-b16", "clip-b32"]


@given(st.integers(1, 512), st.booleans())
def test_more_cores_never_choose_a_worse_model(cores: int, has_gpu: bool) -> None:
    top = [choosing.wanted("auto", cores=n, has_gpu=has_gpu)[0].stanford_cars_top1 or 0 for n in (cores, cores + 1)]
    assert top[0] <= top[1]


def test_what_is_here_is_taken_where_the_first_choice_cannot_be_had(
    hub: Path,
    checkpoints: Folders,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choosing, "usable_cores", lambda: 2)
    put_in_cache(hub, known_models()["clip-b32"].source, checkpoints("clip"))
    notes = Notes()
    assert resolve_auto(None, notes).spec.name == "clip-b32"
    assert not notes.said
    put_in_cache(hub, known_models()["siglip2-b16"].source, checkpoints("siglip2"))
    assert resolve_auto(None, Silent()).spec.name == "siglip2-b16"
    assert resolve_auto(None, Silent(), "auto:fast").spec.name == "clip-b32"


@pytest.mark.parametrize("which", ["auto", "auto:fast", "auto:best"])
def test_what_an_index_was_made_with_stays_first(which: str, hub: Path, checkpoints: Folders) -> None:  # noqa: F811
    put_in_cache(hub, known_models()["clip-b32"].source, checkpoints("clip"))
    mini = IndexedModel(name="mini", source="models/mini", revision="1", dtype="float32")
    assert resolve_auto(mini, Silent(), which).spec.name == "mini"
    assert resolve_auto(None, Silent(), which).spec.name == "clip-b32"


def test_an_index_made_with_a_superseded_model_keeps_it(hub: Path, checkpoints: Folders) -> None:  # noqa: F811
    spec = known_models()["siglip-b16"]
    put_in_cache(hub, spec.source, checkpoints("siglip"))
    made_with = IndexedModel(name=spec.name, source=spec.source, revision="1", dtype="float32")
    assert resolve_auto(made_with, Silent()).spec == spec


@pytest.mark.parametrize("name", ["auto:", "auto:cheap", "auto:BEST"])
def test_a_choice_nobody_knows_is_one_line(name: str, hub: Path) -> None:
    with pytest.raises(ModelError, match="use auto, auto:best or auto:fast") as error:
        resolve_auto(None, Silent(), name)
    one_line(error)


def test_the_list_says_what_is_on_the_front() -> None:
    listed = {model.name: model for model in cartag.models()}
    assert [name for name, model in listed.items() if model.is_on_front] == ["clip-b32", "siglip2-b16", "siglip2-l16"]
    assert listed["clip-l14"].superseded_by == "siglip2-b16"
    assert listed["look"].cost is None
