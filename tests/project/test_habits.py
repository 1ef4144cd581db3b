"""What runs before a commit and on GitHub is what `make lint` runs and what the package claims."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").is_file())


def read_yaml(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return found


def test_what_make_lint_runs_runs_before_a_commit() -> None:
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert recipe is not None
    checks = [line.removeprefix("\t@").replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines()]
    (local,) = read_yaml(".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    assert len(checks) >= 3
    assert set(checks) <= {hook["entry"] for hook in local["hooks"]}
    assert not [hook["id"] for hook in local["hooks"] if hook["pass_filenames"] or hook["language"] != "system"]


@pytest.mark.skipif((ROOT / "PKG-INFO").is_file(), reason="a source distribution has no .github")
def test_github_runs_the_tests_for_every_python_that_is_claimed() -> None:
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["classifiers"]
    claimed = [found[1] for text in classifiers if (found := re.fullmatch(r"Programming Language.* (3\.\d+)", text))]
    workflow = read_yaml(".github/workflows/ci.yml")
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    for job in workflow["jobs"].values():
        assert job["strategy"]["matrix"]["python"] == claimed
        assert job["timeout-minutes"] <= 90
        actions = [step["uses"] for step in job["steps"] if "uses" in step]
        assert not [action for action in actions if not re.fullmatch(r"actions/[\w-]+@v\d+", action)]
    linux, elsewhere = workflow["jobs"]["linux"], workflow["jobs"]["elsewhere"]
    assert linux["steps"][-1]["run"] == ".ci/run"
    assert {system.split("-")[0] for system in elsewhere["strategy"]["matrix"]["os"]} == {"macos", "windows"}
