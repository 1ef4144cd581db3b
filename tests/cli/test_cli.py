"""The command line: exit codes, what goes to stdout and what to stderr, every format."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cartag.cli.find import WRITERS, FindFormat

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (60, 40), (220, 20, 30)).save(folder / "red.jpg")
    Image.new("RGB", (60, 40), (20, 60, 200)).save(folder / "blue\n1.jpg")
    (tmp_path / "cars.yaml").write_text("cars: [Red Racer, Blue Bird]\nother_cars: [Green Goblin]\nno_car: [black]\n")
    return folder


def run(gallery: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CARTAG_")}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "XDG_CONFIG_HOME": str(gallery),
        "CARTAG_TEXT_CACHE": "off",
    }
    command = [sys.executable, "-m", "cartag", *arguments]
    return subprocess.run(command, cwd=gallery.parent, env=environment, capture_output=True, check=False)


def tagged(gallery: Path) -> Path:
    done = run(gallery, "tag", "photos", "--catalog", "cars.yaml", "--model", "fake")
    assert done.returncode == 0, done.stderr
    return gallery


def test_tag_then_show_then_find(gallery: Path) -> None:
    tagged(gallery)
    summary = json.loads(run(gallery, "show", "photos", "--format", "json").stdout)
    assert summary["outcomes"] == {"tagged": 2, "unknown": 0, "no-car": 0, "error": 0}
    found = run(gallery, "find", "photos", "red")
    assert (found.returncode, found.stdout, found.stderr) == (0, b"photos/red.jpg\n", b"")


def test_every_format_of_find_has_a_writer_and_can_be_read_back(gallery: Path) -> None:
    tagged(gallery)
    assert set(WRITERS) == set(FindFormat)

    def out(name: str) -> bytes:
        return run(gallery, "find", "photos", "bird", "racer", "--format", name).stdout

    assert sorted(out("paths0").split(b"\0")) == [b"", b"photos/blue\n1.jpg", b"photos/red.jpg"]
    assert {hit["path"] for hit in json.loads(out("json"))} == {"red.jpg", "blue\n1.jpg"}
    assert len([json.loads(line) for line in out("jsonl").splitlines()]) == 2
    assert len(list(csv.DictReader(out("csv").decode().splitlines()))) == 2
    assert len(out("table").splitlines()) == 3


def test_find_exits_like_grep(gallery: Path) -> None:
    tagged(gallery)
    assert run(gallery, "find", "photos", "red", "bird", "--all").returncode == 1
    miss = run(gallery, "find", "photos", "Rad Racer")
    assert miss.returncode == 2
    assert b'did you mean "Red Racer"' in miss.stderr
    assert run(gallery, "find", "nowhere", "red").returncode == 2
    assert run(gallery, "find", "photos").returncode == 2


def test_one_is_no_plural(gallery: Path) -> None:
    (gallery.parent / "one.yaml").write_text("cars: [Red Racer]\nother_cars: [Blue Bird]\nno_car: [a wall]\n")
    listed = run(gallery, "cars", "--catalog", "one.yaml").stdout
    assert b"): 1 car\n" in listed
    assert b"rejected by 1 other car and 1 prompt without a car" in listed
    assert run(gallery, "cars", "--catalog", "one.yaml", "--add", "Pale Rider").stdout.count(
        b"one.yaml: 2 cars, with Pale"
    )
    (gallery / "blue\n1.jpg").unlink()
    tagged(gallery)
    assert b": 1 photo, " in run(gallery, "show", "photos").stdout
    assert b": 1 photo; nothing is damaged" in run(gallery, "check", "photos").stdout


def test_a_command_that_is_named_can_be_typed(gallery: Path) -> None:
    (gallery / "empty.jpg").touch()
    shoot = gallery.rename(gallery.with_name("my shoot")).name
    tag = ("tag", shoot, "--catalog", "cars.yaml", "--model", "fake", "--regions", "off", "--index", "a.json")
    assert b"; `cartag show 'my shoot' --index a.json` says why" in run(gallery, *tag).stderr
    told = run(gallery, "show", shoot, "--index", "a.json", "--others").stderr
    assert b"; `cartag tag 'my shoot' --index a.json` looks for them" in told


def test_export_prints_tables_and_writes_sidecars(gallery: Path) -> None:
    tagged(gallery)
    table = run(gallery, "export", "photos", "--as", "csv")
    assert (table.returncode, table.stderr) == (0, b"")
    assert {row["car"] for row in csv.DictReader(table.stdout.decode().splitlines())} >= {"red-racer"}
    dry = run(gallery, "export", "photos", "--as", "xmp", "--dry-run")
    assert b"+++ photos/red.jpg.xmp" in dry.stdout
    assert b"2 created" in dry.stderr
    assert not list(gallery.glob("*.xmp"))
    done = run(gallery, "export", "photos", "--as", "xmp")
    assert (done.returncode, done.stdout) == (0, b"")
    assert len(list(gallery.glob("*.xmp"))) == 2
    assert run(gallery, "export", "photos", "--as", "xmp", "--dry-run").stdout == b""
    (gallery / "red.jpg.xmp").write_text("no XMP")
    failed = run(gallery, "export", "photos", "--as", "xmp")
    assert failed.returncode == 1
    assert b"red.jpg.xmp: left as it is" in failed.stderr
    assert run(gallery, "export", "photos", "--as", "html").returncode == 2
    assert run(gallery, "export", "photos", "--as", "pdf").returncode == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_choices(gallery: Path, shell: str) -> None:
    words = {
        "COMP_WORDS": "cartag export photos --as ",
        "COMP_CWORD": "4",
        "_TYPER_COMPLETE_ARGS": "cartag export photos --as ",
    }
    environment = {**os.environ, **words, "_TYPER_COMPLETE_FISH_ACTION": "get-args", "PYTHONPATH": str(ROOT)}
    program = "import sys; sys.argv = ['cartag']; from cartag.cli import app; app(prog_name='cartag')"
    environment["_CARTAG_COMPLETE"] = f"complete_{shell}"
    out = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    ).stdout
    assert {"xmp", "exiftool", "html"} <= set(re.findall(r"\w+", out))


def test_exit_codes_of_the_other_commands(gallery: Path) -> None:
    assert run(gallery, "show", "photos").returncode == 1
    assert run(gallery, "tag", "nowhere", "--model", "fake").returncode == 1
    assert run(gallery, "tag", "photos", "--catalog", "nowhere.yaml").returncode == 2
    assert run(gallery, "tag", "photos", "--model", "fake", "--bogus").returncode == 2
    (gallery / "bad.jpg").write_bytes(b"no picture")
    strict = run(gallery, "tag", "photos", "--catalog", "cars.yaml", "--model", "fake", "--strict")
    assert strict.returncode == 3
    for done in (strict, run(gallery, "show", "nowhere")):
        assert b"Traceback" not in done.stderr
        assert done.stderr.count(b"\n") == 1


def test_eval_prints_json(gallery: Path) -> None:
    tagged(gallery)
    (gallery.parent / "labels.csv").write_text("file,label\nred.jpg,red racer\n")
    result = json.loads(run(gallery, "eval", "photos", "labels.csv", "--format", "json").stdout)
    assert result["top1"] == result["right_car_tagged"] == 1.0
    assert result["without_label"] == 1


def test_a_hub_model_without_network_says_what_to_do(gallery: Path) -> None:
    environment = {"HF_HOME": str(gallery / "hub")}
    os.environ.update(environment)
    try:
        done = run(gallery, "tag", "photos", "--model", "clip-b32")
    finally:
        del os.environ["HF_HOME"]
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    for words in (b"clip-b32", b"cartag models fetch", b"--model mini"):
        assert words in done.stderr


@pytest.mark.parametrize("command", ["tag", "find", "show", "eval", "export", "cars", "models"])
def test_every_option_has_its_help(gallery: Path, command: str) -> None:
    done = run(gallery, command, "--help")
    assert done.returncode == 0
    lines = [line for line in done.stdout.decode().splitlines() if line.strip().startswith("--")]
    assert lines


def test_an_option_with_a_tilde_makes_no_folder_of_that_name(
    gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--to=~/cars``: shells put the home in after a space alone."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    done = run(tagged(gallery), "export", "photos", "--as", "csv", "--to=~/cars")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (home / "cars").iterdir() if path.suffix == ".csv"] == ["cartag.csv"]
    assert not (tmp_path / "~").exists()


def test_what_is_loaded_is_not_searched_for_cycles_when_the_process_ends(gallery: Path) -> None:
    script = (
        "import gc, sys\n"
        "from cartag.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "finally:\n"
        "    print(gc.get_freeze_count(), len(gc.get_objects()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "show", str(gallery)], capture_output=True, text=True, check=False
    )
    frozen, searched = map(int, done.stdout.splitlines()[-1].split())
    assert frozen > 100 * searched
