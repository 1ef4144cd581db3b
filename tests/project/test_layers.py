"""The house keeps its order: imports point down, rooms have doors, heavy libraries their importers; start-up stays light."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import cartag

PACKAGE = Path(cartag.__file__).parent
RECIPE = PACKAGE.parent / "models" / "recipe"
HEAVY = (
    *("torch", "PIL", "numpy", "transformers", "sklearn", "scipy", "torchvision", "huggingface_hub", "timm"),
    *("lxml", "rawpy", "pillow_heif", "starlette", "uvicorn", "anyio"),
    *("ray", "pyarrow", "duckdb", "fsspec", "usearch"),
)
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
DOORS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.pyi"))
"""Rooms that hand their names out on first use, so that it costs nothing to pass the door."""
LONGEST = 500


def _modules() -> dict[str, Path]:
    return {
        path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py") if "_shipped" not in path.parts
    }


def _imports(path: Path) -> Iterator[tuple[str, str]]:
    """Module and name of everything that is imported from `cartag`, for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.startswith("cartag."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cartag":
            yield from ((node.module or "", alias.name) for alias in node.names)


def test_imports_keep_to_the_rows_and_libraries_to_their_importers() -> None:
    """The contracts of pyproject.toml: rows, rooms side by side, circles, and who imports what is heavy."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("room", DOORS)
def test_other_rooms_come_in_by_the_door(room: str) -> None:
    """A name out of a room is asked of the room, not of one of its modules."""
    wrong = [
        f"{name}: from {module} import {what}"
        for name, path in _modules().items()
        if name.split("/")[0] != room and name != "__init__.py"
        for module, what in _imports(path)
        if module.startswith(f"cartag.{room}.")
    ]
    assert not wrong


@pytest.mark.parametrize("room", DOORS)
def test_a_door_hands_out_what_is_there_and_what_others_ask_for(room: str) -> None:
    door = importlib.import_module(f"cartag.{room}")
    names = set(door.__all__)
    assert all(hasattr(door, name) for name in names)
    asked = {name for where, name in cartag._WHERE.values() if where == f"cartag.{room}"}
    for name, path in _modules().items():
        if name.split("/")[0] != room:
            asked |= _asked_of(room, path)
    assert asked <= names
    tests = (PACKAGE.parent / "tests").rglob("*.py")
    assert names - asked <= set().union(*(_asked_of(room, path) for path in tests))


def _asked_of(room: str, path: Path) -> set[str]:
    """Names that a module has from a room: imported, or as attributes of the room itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names, called = set[str](), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names if node.module == f"cartag.{room}"}
            called |= {
                alias.asname or alias.name for alias in node.names if (node.module, alias.name) == ("cartag", room)
            }
    attributes = (
        node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    )
    return names | {node.attr for node in attributes if getattr(node.value, "id", "") in called}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_owns(room: str) -> None:
    assert (importlib.import_module(f"cartag.{room}").__doc__ or "").strip()


def test_files_are_read_in_a_sitting() -> None:
    files = [*PACKAGE.rglob("*.py"), *RECIPE.rglob("*.py")]
    assert not {str(path): n for path in files if (n := len(path.read_text("utf-8").splitlines())) > LONGEST}
    assert len(list(PACKAGE.glob("*.py"))) <= 12


def _loaded_by(code: str, cwd: Path) -> set[str]:
    probe = f"import json, sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
    probe += "print('\\n' + json.dumps([m for m in sys.modules]))"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    out = subprocess.run(
        [sys.executable, "-c", probe], cwd=cwd, env=environment, capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in json.loads(out.stdout.splitlines()[-1])}


def test_start_up_loads_nothing_heavy(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (40, 30), (220, 20, 30)).save(tmp_path / "a.jpg")
    (tmp_path / "c.yaml").write_text("cars: [Red Racer]\nother_cars: []\n")
    cartag.tag(tmp_path, catalog=tmp_path / "c.yaml", model="fake")
    for code in (
        "import cartag",
        "from cartag.cli import main; main(['--help'])",
        "from cartag.cli import main; main(['find', '.', 'red'])",
    ):
        assert not _loaded_by(code, tmp_path) & set(HEAVY), code


def test_help_answers_at_once(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}

    def seconds() -> float:
        """Processor time of the child, so that a busy machine does not fail the test."""
        before, began = os.times(), time.perf_counter()
        subprocess.run([sys.executable, "-m", "cartag", "--help"], env=environment, capture_output=True, check=True)
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        return min(used, time.perf_counter() - began)

    assert min(seconds() for _ in range(5)) < 0.3


def test_the_public_names_are_what_the_package_exposes() -> None:
    assert set(cartag.__all__) == {*cartag._WHERE, "__version__"}
    for name in cartag.__all__:
        assert getattr(cartag, name).__doc__ or name == "__version__"
