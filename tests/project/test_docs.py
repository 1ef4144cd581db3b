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

ROOT = Path(__file__).resolve().parents[2]
HERE = "https://github.com/cartag/cartag/"
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


@pytest.mark.timeout(1200)  # every command of every page, each a process: minutes on a busy machine
def test_what_the_docs_show_is_what_the_code_prints(render: ModuleType) -> None:
    differences = list(render.differences(render.rendered()))
    assert not differences, "run `make docs` and look at the changes:\n" + "\n\n".join(differences)


def test_small_differences_of_figures_are_noise_and_large_ones_are_not(render: ModuleType) -> None:
    assert render.same_but_for_noise("score 0.9712\n", "score 0.9688\n")
    assert not render.same_but_for_noise("score 0.9712\n", "score 0.8688\n")
    assert not render.same_but_for_noise("37 photos\n", "30 photos\n")
    assert not render.same_but_for_noise("a.jpg\n", "b.jpg\n")


def test_a_block_may_show_the_head_of_an_output(render: ModuleType, tmp_path: Path) -> None:
    whole = render._shown("cartag models --help", tmp_path)
    assert render._shown("cartag models --help | head -n 3", tmp_path) == "".join(whole.splitlines(keepends=True)[:3])
    with pytest.raises(ValueError, match="nothing is cut off"):
        render._shown("cartag --version | head -n 5", tmp_path)
    with pytest.raises(RuntimeError, match="says something on stderr"):
        render._shown("cartag show nowhere | head -n 5", tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_the_docs_leads_somewhere(page: Path) -> None:
    found = re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text(encoding="utf-8"))
    assert not [link for link in found if not _leads_somewhere(page, *link)]


@pytest.mark.parametrize(
    "link", ["gone.md", "#gone", "evaluation.md#gone", f"{HERE}blob/main/gone.md", f"{HERE[:-1]}#gone"]
)
def test_a_dead_link_is_found(link: str) -> None:
    target, _, heading = link.partition("#")
    assert not _leads_somewhere(ROOT / "docs" / "index.md", target, heading)


def _leads_somewhere(page: Path, target: str, heading: str) -> bool:
    """Whether there is such a file in this repository, also where it is named by its address, and it has such a heading."""
    if target == HERE[:-1]:
        path = ROOT / "README.md"
    elif target.startswith(f"{HERE}blob/main/"):
        path = ROOT / target.removeprefix(f"{HERE}blob/main/")
    elif "://" in target:
        return True
    else:
        path = page.parent / target if target else page
    return path.exists() and (not heading or heading in _anchors(path.read_text(encoding="utf-8")))


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_and_the_site_begin_alike() -> None:
    readme, home = ((ROOT / name).read_text(encoding="utf-8").split("\n\n") for name in ("README.md", "docs/index.md"))
    assert readme[:2] == home[:2]
    assert readme[2] == home[2].replace("(pictures/", "(docs/pictures/")
    assert "drawings" in readme[2]


def test_pictures_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in (ROOT / "docs" / "pictures").iterdir()}
    assert not {name: size for name, size in sizes.items() if size > 250_000}


def test_sentences_about_speed_say_what_was_measured() -> None:
    performance = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    web, camera = _times_the_pipeline(performance, "throughput")
    gpu_web, gpu_camera = _times_the_pipeline(performance, "throughput-cuda")
    readme, page = (" ".join(text.split()) for text in ((ROOT / "README.md").read_text(encoding="utf-8"), performance))
    for text in (readme, page):
        assert f" {camera} times as many camera photos a second" in text
        assert f" and {web} times as many web photos" in text
    assert f"On an H100 with sixteen cores it is {float(gpu_camera):.0f} and {float(gpu_web):.0f} times" in page


def _times_the_pipeline(page: str, table: str) -> list[str]:
    rows = page[page.index(f"<!-- {table} -->") : page.index(f"<!-- /{table} -->")]
    return re.findall(
        r"^\| \d+ (?:web|camera) \| transformers pipeline.* \| ([\d.]+) x as fast \|$", rows, re.MULTILINE
    )


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
