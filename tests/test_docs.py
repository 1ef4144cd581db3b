"""The docs tell the truth: their console blocks, their Python, the command reference, the schema, their links."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cartag.settings import Settings
from cartag.values import ERROR_REASONS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/*/*.md"), *ROOT.glob("data/**/*.md")]
)


@pytest.fixture(scope="module")
def render() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render", ROOT / "docs" / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["render"] = module
    spec.loader.exec_module(module)
    return module


def test_what_the_docs_show_is_what_the_code_prints(render: ModuleType) -> None:
    differences = list(render.differences(render.rendered()))
    assert not differences, "run `make docs` and look at the changes:\n" + "\n\n".join(differences)


def test_small_differences_of_figures_are_noise_and_large_ones_are_not(render: ModuleType) -> None:
    assert render.same_but_for_noise("score 0.9712\n", "score 0.9688\n")
    assert not render.same_but_for_noise("score 0.9712\n", "score 0.8688\n")
    assert not render.same_but_for_noise("37 photos\n", "30 photos\n")
    assert not render.same_but_for_noise("a.jpg\n", "b.jpg\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_the_docs_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    dead = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not dead


@pytest.mark.parametrize(
    ("html", "remote"),
    [
        ('<script src="https://cdn.example/x.js"></script>', True),
        ('<link rel="preconnect" href="//fonts.example">', True),
        ('<link href="http://fonts.example/a.css" rel="stylesheet">', True),
        ('<p style="background: url(https://img.example/a.png)">', True),
        (
            '<a href="https://github.com/cartag/cartag">source</a><img src="a.png"><link rel="canonical" href="//x">',
            False,
        ),
    ],
)
def test_the_check_of_the_site_finds_what_a_page_would_load_from_elsewhere(
    html: str, remote: bool, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text(html)
    done = subprocess.run([sys.executable, ROOT / "docs" / "check_site.py", tmp_path], capture_output=True, check=False)
    assert done.returncode == int(remote)


def test_every_setting_is_documented_with_its_default() -> None:
    import yaml

    documented = yaml.safe_load((ROOT / "configs" / "settings.yaml").read_text(encoding="utf-8"))
    defaults = Settings()
    shipped = {key: getattr(defaults, key) for key in documented}
    assert documented == {key: list(value) if isinstance(value, tuple) else value for key, value in shipped.items()}
    assert list(documented) == list(Settings.__slots__) or set(documented) == set(Settings.__slots__)


def test_every_dependency_has_its_reason() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    for requirement in [*project["dependencies"], *extras]:
        name = re.split(r"[<>=\[]", requirement)[0]
        assert re.search(rf"\b{re.escape(name)}\b", contributing), f"{name}: no reason in CONTRIBUTING.md"


def test_every_error_reason_is_a_word_with_an_explanation() -> None:
    assert all(re.fullmatch(r"[a-z-]+", reason) and text for reason, text in ERROR_REASONS.items())
