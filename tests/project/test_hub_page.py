"""`make hub`: its table says what was run and what was not, and keeps what was measured before."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import cartag
from benchmarks import hub
from benchmarks.measuring import between_markers
from cartag.checkpoints import known_models
from cartag.errors import ModelError
from cartag.trying import Check, Trial

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "hub.md"


def trial(name: str, holds: bool = True) -> Trial:
    checks = (Check("its own processor against cartag's decode", "0.9991", holds), Check("one at a time", "1.0", True))
    return Trial(name, known_models()[name].source, "c" * 40, 31, checks, 0.5, {"tagged": 31}, 0.25)


def test_the_page_has_a_row_for_every_model_of_the_hub() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = [line.split(" | ")[0].strip("| ") for line in page.splitlines() if line.startswith("| ")]
    assert set(hub.names()) <= set(rows)
    assert set(hub.names()) == set(known_models()) - {"mini"}


def test_what_was_measured_is_kept_where_a_model_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cartag, "check_model", trial, raising=False)
    page = PAGE.read_text(encoding="utf-8")
    first = hub.measure(["clip-b32", "siglip2-b16"])
    written = between_markers(page, "hub", first.markdown())
    assert set(hub.rows_of(written)) == {"clip-b32", "siglip2-b16"}

    def cannot(name: str) -> Trial:
        raise ModelError(f"model {name}: it is not here and offline mode is set; use another")

    monkeypatch.setattr(cartag, "check_model", cannot, raising=False)
    again = hub.measure(hub.names(), hub.rows_of(written))
    assert again.rows[:2] == first.rows
    assert {row[1] for row in again.rows[2:]} == {hub.NOT_RUN}
    assert len(again.notes) == len(hub.names())
    assert "offline mode is set" in again.notes[0]
    assert not hub.rows_of(between_markers(page, "hub", hub.measure(["clip-l14"]).markdown()))


def test_a_model_that_fails_says_at_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cartag, "check_model", lambda name: trial(name, holds=False), raising=False)
    (row,) = hub.measure(["clip-b32"]).rows
    assert row[1] == "fails: its own processor against cartag's decode"


@pytest.mark.skipif((ROOT / "PKG-INFO").is_file(), reason="a source distribution has no .github")
def test_a_maintainer_starts_it_by_hand_and_it_may_write_nothing() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "hub.yml").read_text(encoding="utf-8"))
    assert workflow[True] == {"workflow_dispatch": None}  # YAML takes "on" for true
    assert workflow["permissions"] == {"contents": "read"}
    steps = workflow["jobs"]["hub"]["steps"]
    assert "make hub" in [step.get("run") for step in steps]
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
