"""The house keeps its order: imports point down, heavy libraries have one importer each, start-up stays light."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cartag

PACKAGE = Path(cartag.__file__).parent
# A module may import from earlier groups, and the pairs listed below.
GROUPS = (
    (
        *("errors", "values", "progress", "resources", "version", "paths", "leave_out", "rights", "plainyaml"),
        *("whereabouts",),
    ),
    (
        *("catalog", "prompts", "labels", "settings", "photos", "raw", "jpegs", "tiffs", "samples", "framing"),
        *("images", "gazetteer", "vocabulary", "pages"),
    ),
    (
        *("cage", "calibration", "encoder", "store", "journal", "index", "scoring", "metrics", "learned", "fitting"),
        *("footprint",),
    ),
    ("reading", "truth", "basis", "report", "article", "locks", "pagefolder", "merging"),
    ("tagging", "finding", "showing", "evaluation", "learning", "following", "datasets", "listing", "exporting"),
    ("reviewing",),
    ("cli", "__init__", "__main__"),
)
SIDEWAYS = {
    ("fitting", "calibration"),
    ("fitting", "metrics"),
    ("fitting", "scoring"),
    ("gazetteer", "catalog"),
    ("images", "framing"),
    ("images", "jpegs"),
    ("images", "raw"),
    ("images", "samples"),
    ("images", "tiffs"),
    ("labels", "catalog"),
    ("labels", "vocabulary"),
    ("vocabulary", "catalog"),
    ("vocabulary", "gazetteer"),
    ("scoring", "calibration"),
    ("footprint", "index"),
    ("learned", "footprint"),
    ("report", "pagefolder"),
    ("learned", "calibration"),
    ("learned", "index"),
    ("learned", "scoring"),
    ("learning", "following"),
    ("tagging", "following"),
    ("tagging", "learning"),
    ("__main__", "cli"),
}
ONLY_IMPORTERS = {
    "PIL": {"images.py"},
    "torch": {f"encoder/{name}.py" for name in ("dual", "device", "tower", "closeup", "resizing")},
    "transformers": {"encoder/dual.py"},
    "huggingface_hub": {"encoder/table.py"},
    "sqlite3": {"store.py", "tagging.py", "finding.py", "learning.py"},
    "sklearn": {"evaluation.py", "fitting.py"},
    "scipy": {"metrics.py", "fitting.py"},
    "torchvision": {"datasets.py"},
    "lxml": {"exporting/rdf.py"},
    "pillow_heif": {"images.py"},
    "rawpy": {"raw.py"},
    "threadpoolctl": {"fitting.py"},
    "starlette": {"reviewing/app.py"},
    "uvicorn": {"reviewing/__init__.py"},
    "typer": None,  # all of cli/
}
HEAVY = (
    *("torch", "PIL", "numpy", "transformers", "sklearn", "scipy", "torchvision", "huggingface_hub", "timm"),
    *("lxml", "rawpy", "pillow_heif", "starlette", "uvicorn", "anyio"),
)


def _modules() -> dict[str, Path]:
    return {
        path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py") if "_shipped" not in path.parts
    }


def _imports(path: Path) -> set[str]:
    """Dotted names of everything a module imports while it runs (imports for type checkers do not count)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _top(name: str) -> str:
    return name.split("/")[0].removesuffix(".py")


def test_every_module_has_its_row() -> None:
    assert {_top(name) for name in _modules()} == {name for group in GROUPS for name in group}


def test_imports_point_down() -> None:
    row = {name: i for i, group in enumerate(GROUPS) for name in group}
    wrong = []
    for name, path in _modules().items():
        own = _top(name)
        for imported in _imports(path):
            parts = imported.split(".")
            if parts[0] != "cartag" or len(parts) < 2 or parts[1] not in row or parts[1] == own:
                continue
            if row[parts[1]] >= row[own] and (own, parts[1]) not in SIDEWAYS:
                wrong.append(f"{name} imports {imported}")
    assert not wrong


@pytest.mark.parametrize("library", ONLY_IMPORTERS)
def test_heavy_libraries_have_their_one_importer(library: str) -> None:
    importers = {name for name, path in _modules().items() if any(i.split(".")[0] == library for i in _imports(path))}
    allowed = ONLY_IMPORTERS[library]
    if allowed is None:
        assert all(name.startswith("cli/") for name in importers)
    else:
        assert importers == allowed


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
