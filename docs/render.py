"""Writes what the docs show from the code itself: console blocks, the command reference, the index's JSON Schema.

python docs/render.py            compares, prints the differences, exits 1 if there are any
python docs/render.py --write    writes them (`make docs`)

The charts in docs/pictures are written too, and not compared: where two scores are nearly equal, another processor may
put a point elsewhere.

A ```console block holds `$ cartag ...` lines; each is run, in order, in a scratch folder of the page with a copy of
`data/gallery`, and its output (stdout and stderr) follows it. Where ` | head -n N` ends a line, these are the first N
lines of stdout, and there must be nothing on stderr. A ```python block is run the same way and must not raise.
A ```yaml or ```html block whose first line is a comment with a file's name is written there under that name.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/tutorial.md")
# These begin where the tutorial ends: with the gallery tagged by the bundled model.
HOW_TOS = tuple(f"docs/howto/{name}.md" for name in ("keywords", "learn", "catalog", "offline", "models", "python"))
COMMANDS = (
    *("tag", "find", "show", "eval", "learn", "export", "review", "check", "merge", "cars"),
    *("models", "models fetch", "models check"),
)
_BLOCK = re.compile(r"```(console|python|yaml|html)\n(.*?)```", re.DOTALL)
_NAME = re.compile(r"(?:# |<!-- )(\S+\.(?:yaml|html))(?: -->)?\n")
_CUT = re.compile(r"(.*) \| head -n ([1-9]\d*)")
_NUMBER = re.compile(r"\d+\.\d+|\d+(?= photos)")
# Processors differ in the last digits of a model's output; more than this is a change.
_PROBABILITY, _PERCENT = 0.02, 3.0


def rendered() -> dict[str, str]:
    """Every generated or partly generated file with the content it should have."""
    pages: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        fresh, tagged, scratch = (Path(folder) / name for name in ("fresh", "tagged", "scratch"))
        shutil.copytree(ROOT / "data" / "gallery", fresh / "data" / "gallery", ignore=_left_behind)
        shutil.copytree(fresh, tagged)
        _run(_program("cartag tag data/gallery --model mini"), tagged, check=True)
        for name in (*PAGES, *HOW_TOS):  # each in a place of its own: pages are read in any order
            shutil.copytree(tagged if name in HOW_TOS else fresh, scratch)
            pages[name] = _page((ROOT / name).read_text(encoding="utf-8"), scratch)
            shutil.rmtree(scratch)
    helps = {command: _help(command, ROOT) for command in ("", *COMMANDS)}
    generated = {
        "docs/cli.md": _command_reference(helps),
        "docs/cartag.1": _man_page(helps),
        "docs/cartag.schema.json": _schema(),
    }
    return {**pages, **generated}


def differences(files: dict[str, str]) -> Iterator[str]:
    """Unified diffs of the files whose content is not what was rendered, beyond the noise of floating point."""
    for name, wanted in files.items():
        path = ROOT / name
        there = path.read_text(encoding="utf-8") if path.is_file() else ""
        if not same_but_for_noise(there, wanted):
            yield "\n".join(
                difflib.unified_diff(there.splitlines(), wanted.splitlines(), name, "as rendered", "", "", 1)
            )


def same_but_for_noise(a: str, b: str) -> bool:
    """Whether two texts are equal up to small differences of decimal numbers (and of dates, which always differ)."""
    a, b = (re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "DATE", text) for text in (a, b))
    if re.sub(r"[ -]+", " ", _NUMBER.sub("N", a)) != re.sub(r"[ -]+", " ", _NUMBER.sub("N", b)):
        return False
    return all(
        abs(float(x) - float(y)) <= (_PROBABILITY if max(float(x), float(y)) <= 1 else _PERCENT)
        for x, y in zip(_NUMBER.findall(a), _NUMBER.findall(b), strict=True)
    )


def _page(text: str, scratch: Path) -> str:
    def run(block: re.Match[str]) -> str:
        kind, body = block.groups()
        if kind in ("yaml", "html"):
            named = _NAME.match(body)
            if named:
                (scratch / named[1]).write_text(body, encoding="utf-8")
            return block.group()
        if kind == "python":
            _run([sys.executable, "-c", body], scratch, check=True)
            return block.group()
        commands = [line[2:] for line in body.splitlines() if line.startswith("$ ")]
        if any(shutil.which("exiftool") is None for command in commands if command.startswith("exiftool ")):
            return block.group()
        outputs = [f"$ {command}\n{_shown(command, scratch)}" for command in commands]
        return "```console\n" + "".join(outputs) + "```"

    return _BLOCK.sub(run, text)


def _shown(command: str, scratch: Path) -> str:
    cut = _CUT.fullmatch(command)
    if not cut:
        return _run(_program(command), scratch)
    lines = _run(_program(cut[1]), scratch, only_stdout=True).splitlines(keepends=True)
    if len(lines) <= int(cut[2]):
        raise ValueError(f"nothing is cut off: {command}")
    return "".join(lines[: int(cut[2])])


def _program(command: str) -> list[str]:
    program, *arguments = shlex.split(command)
    if program not in ("cartag", "exiftool"):
        raise ValueError(f"a console block may only run cartag and exiftool: {command}")
    return [sys.executable, "-m", "cartag", *arguments] if program == "cartag" else [program, *arguments]


def _run(command: list[str], scratch: Path, *, check: bool = False, only_stdout: bool = False) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("CARTAG_", "HF_"))}
    environment |= {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(scratch / "hub"),
        "XDG_CONFIG_HOME": str(scratch),
        "CARTAG_TEXT_CACHE": "off",
        "CARTAG_DTYPE": "float32",
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }
    stderr = subprocess.PIPE if only_stdout else subprocess.STDOUT
    done = subprocess.run(
        command, cwd=scratch, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False
    )
    if check and done.returncode:
        raise RuntimeError(f"a command or python block of the docs fails:\n{done.stdout}")
    if done.stderr:
        raise RuntimeError(f"{shlex.join(command)} says something on stderr, which head would not cut:\n{done.stderr}")
    return done.stdout


def _left_behind(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name in ("cartag.json", ".cartag")}


def _help(command: str, scratch: Path) -> str:
    text = _run(_program(f"cartag {command} --help"), scratch).replace("python -m cartag", "cartag")
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


PICTURES = {
    "confusion matrix": "confusion",
    "share right by mean score": "reliability",
    "share right by share of photos answered": "coverage",
}


def pictures() -> dict[str, str]:
    """The charts that `eval --report` draws of the sample gallery, each an SVG of its own."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        shutil.copytree(ROOT / "data" / "gallery", scratch / "data" / "gallery", ignore=_left_behind)
        for command in ("tag data/gallery --model mini", "eval data/gallery data/gallery/labels.csv --report report"):
            _run(_program(f"cartag {command}"), scratch, check=True)
        page = (scratch / "report" / "index.html").read_text(encoding="utf-8")
    found = {}
    style = page[page.index("<style>") + len("<style>") : page.index("</style>")]
    for chart in re.findall(r'<svg [^>]*aria-label="[^>]*>.*?</svg>', page, re.DOTALL):
        drawn = ET.fromstring(chart)
        inside = "".join(ET.tostring(part, encoding="unicode") for part in drawn)
        found[f"docs/pictures/{PICTURES[drawn.attrib['aria-label']]}.svg"] = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{drawn.attrib["viewBox"]}">'
            f"<style>{style}svg{{font:16px sans-serif;background:var(--paper)}}</style>{inside}</svg>\n"
        )
    return found


def _command_reference(helps: dict[str, str]) -> str:
    parts = ["# Command reference", "", "Written by `make docs` from the commands' own help.", ""]
    for command in COMMANDS:
        parts += [f"## cartag {command}", "", "```text", helps[command], "```", ""]
    return "\n".join(parts)


def _man_page(helps: dict[str, str]) -> str:
    """The same help as a man page (roff), installed by the wheel as share/man/man1/cartag.1."""
    lines = [r'.TH CARTAG 1 "" "cartag" "User Commands"', ".SH NAME"]
    lines += [r"cartag \- looks at a folder of photos and says which cars are in them", ".SH SYNOPSIS"]
    lines += [".B cartag", r"[\-\-help] [\-\-version] \fICOMMAND\fR [\fIARGUMENTS\fR]"]
    for command, text in helps.items():
        heading = f"CARTAG {command.upper()}" if command else "DESCRIPTION"
        escaped = text.replace("\\", r"\e").replace("-", r"\-")
        # A line that begins with a dot or a quote would be a request.
        body = [rf"\&{line}" if line.startswith((".", "'")) else line for line in escaped.split("\n")]
        lines += [f'.SH "{heading}"', ".nf", *body, ".fi"]
    failed = "failed; find: nothing matched; check: something is damaged, missing or left over"
    exits = (("0", "done"), ("1", failed), ("2", "wrong usage or settings; find: an error"))
    lines.append(".SH EXIT STATUS")
    for code, meaning in (*exits, ("3", r"tag \-\-strict met photos that could not be read")):
        lines += [".TP", code, meaning]
    return "\n".join(lines) + "\n"


def _schema() -> str:
    from cartag.state.index import json_schema

    return json.dumps(json_schema(), indent=2) + "\n"


def main() -> int:
    """Compares or writes."""
    files = rendered()
    if "--write" in sys.argv[1:]:
        for name, text in files.items():
            if not (ROOT / name).is_file() or not same_but_for_noise((ROOT / name).read_text(encoding="utf-8"), text):
                (ROOT / name).write_text(text, encoding="utf-8")
                print(f"written: {name}")
        for name, text in pictures().items():
            (ROOT / name).parent.mkdir(exist_ok=True)
            (ROOT / name).write_text(text, encoding="utf-8")
        return 0
    found = list(differences(files))
    print("\n\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
