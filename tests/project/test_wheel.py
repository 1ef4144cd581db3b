"""What is published works: the wheel, in a fresh environment, away from the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", to], cwd=ROOT, check=True, capture_output=True
    )
    (built,) = to.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment with the wheel; its dependencies are borrowed from this one."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel], check=True)
    site = next((home / "lib").glob("python*")) / "site-packages"
    # addsitedir is not used: the .pth files there would put the checkout itself (an editable install) on the path.
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return home / "bin"


def test_nothing_is_in_the_wheel_that_should_not_be(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "configs/mille-miglia-2013.yaml",
        "configs/models.yaml",
        "configs/gazetteer.yaml",
        "models/mini/model.safetensors",
        "models/look/model.safetensors",
    ):
        assert f"cartag/_shipped/{needed}" in names
    models = {
        n.removeprefix("cartag/_shipped/models/") for n in names if "models/" in n and n.startswith("cartag/_shipped/")
    }
    shipped = {f"{name}/{path.name}" for name in ("mini", "look") for path in (ROOT / "models" / name).iterdir()}
    assert models == shipped  # and no recipe
    assert not [n for n in names if n.startswith("models/")]
    for needed in ("cartag/py.typed", "cartag/pages/gallery.html", "cartag/pages/review.js", "cartag/pages/views.css"):
        assert needed in names
    assert [n for n in names if n.endswith("share/man/man1/cartag.1")]
    assert not [n for n in names if n.endswith((".jpg", ".sqlite", ".pyc")) or "/tests/" in n or "cartag.json" in n]


def test_the_wheel_is_the_same_byte_for_byte(wheel: Path, tmp_path: Path) -> None:
    """From another folder, with other file times and modes, and another order of hashes."""
    away = ("cartag", "configs", "docs", "models", "pyproject.toml", "README.md", "LICENSE", ".gitignore")
    for name in away:
        source, copy = ROOT / name, tmp_path / "elsewhere" / name
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, copy)
    for path in (tmp_path / "elsewhere").rglob("*"):
        os.utime(path, (1, 1_000_000_000))
        if path.is_file():
            path.chmod(0o600)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "again"],
        cwd=tmp_path / "elsewhere",
        env={**os.environ, "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1580601600"},
        check=True,
        capture_output=True,
    )
    (again,) = (tmp_path / "again").glob("*.whl")
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_the_installed_wheel_tags_a_photo(installed: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [installed / "cartag", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    where = subprocess.run(
        [installed / "python", "-c", "import cartag; print(cartag.__file__)"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert where.startswith(str(installed.parent))
    assert run("--version").startswith("cartag ")
    assert "Pagani Huayra" in run("cars")
    Image.new("RGB", (320, 200), "white").save(tmp_path / "photo.jpg")
    report = json.loads(run("tag", ".", "--model", "mini", "--format", "json"))
    assert report["photos"] == report["embedded"] == 1
    assert report["model"] == "mini"
