"""Encodings and locales that cannot show a name: it is escaped and never lost, and it opens the file in every one."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import paint, write_catalog

import cartag
from cartag.paths import disk_path, printable, printable_values

ROOT = Path(__file__).resolve().parents[2]
CATALOG = "cars:\n  - {id: red-racer, name: Škoda Červená, aliases: [red racer]}\nother_cars: []\nno_car: []\n"
NAMES = ("Müller.jpg", "横顔.jpg", "Mu\u0308ller 2.jpg")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="names on disk are bytes on POSIX alone")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("locales")
    for mark, name in enumerate(NAMES):
        paint(os.fsencode(folder) + b"/photos/" + name.encode(), "red", mark=mark)
    write_catalog(folder, CATALOG)
    cartag.tag(folder / "photos", catalog=folder / "colours.yaml", model="fake")
    return folder


def run(home: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CARTAG_TEXT_CACHE": "off", **variables}
    return subprocess.run(
        [sys.executable, "-m", "cartag", *words], cwd=home, env=environment, capture_output=True, check=False
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-16"])
def test_what_an_encoding_lacks_is_shown_as_escapes(home: Path, encoding: str) -> None:
    shown = run(home, "show", "photos", PYTHONIOENCODING=encoding)
    assert (shown.returncode, shown.stderr) == (0, b"")
    name = "Škoda Červená".encode(encoding, "backslashreplace").decode(encoding)
    assert name in shown.stdout.decode(encoding)


def test_tables_diffs_and_messages_go_through_a_narrow_encoding(home: Path) -> None:
    table = run(home, "find", "photos", "red racer", "--format", "table", PYTHONIOENCODING="ascii")
    assert (table.returncode, table.stderr) == (0, b"")
    assert b"\\u6a2a\\u9854.jpg" in table.stdout
    dry = run(home, "export", "photos", "--as", "xmp", "--dry-run", PYTHONIOENCODING="ascii")
    assert dry.returncode == 0
    assert b"+++ photos/M\\xfcller.jpg.xmp" in dry.stdout
    asked = run(home, "show", "photos", PYTHONIOENCODING="ascii:replace")
    assert b"?koda" in asked.stdout, "what the user asks for holds"


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "utf-16"}, {"PYTHONIOENCODING": "ascii"}])
def test_data_is_utf_8_whatever_the_encoding(home: Path, variables: dict[str, str]) -> None:
    check_data(home, variables)


def check_data(home: Path, variables: dict[str, str]) -> None:
    def out(*words: str) -> bytes:
        done = run(home, *words, **variables)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout

    wanted = {"Müller.jpg", "横顔.jpg", "Müller 2.jpg"}  # identities are NFC
    found = json.loads(out("find", "photos", "red racer", "--format", "json"))
    assert {hit["path"] for hit in found} == wanted
    assert {hit["file"] for hit in found} == {f"photos/{name}" for name in NAMES}
    rows = csv.DictReader(out("find", "photos", "red racer", "--format", "csv").decode().splitlines())
    assert {row["path"] for row in rows} == wanted
    exported = csv.DictReader(out("export", "photos", "--as", "csv").decode().splitlines())
    assert {(row["path"], row["name"]) for row in exported} == {(path, "Škoda Červená") for path in wanted}
    paths = out("find", "photos", "red racer", "--format", "paths0").split(b"\0")[:-1]
    assert {os.path.basename(path).decode() for path in paths} == set(NAMES)
    assert all(os.path.exists(os.fsencode(home) + b"/" + path) for path in paths)
    assert set(out("find", "photos", "red racer").splitlines()) == set(paths)


def latin_1(folder: Path) -> dict[str, str]:
    """A locale of Latin-1, made for this test."""
    made = folder / "de_DE.ISO-8859-1"
    if shutil.which("localedef") is None or subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(made)], capture_output=True, check=False
    ).returncode not in (0, 1):  # 1: made, with warnings
        pytest.skip("no locale of Latin-1 can be made here (Debian: locales)")
    return {"LOCPATH": str(folder), "LC_ALL": "de_DE.ISO-8859-1", "PYTHONUTF8": "0"}


@pytest.mark.parametrize("locale", ["ascii", "latin-1"])
def test_a_gallery_is_the_same_in_every_locale(home: Path, tmp_path: Path, locale: str) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    variables = ascii_only if locale == "ascii" else latin_1(tmp_path)
    shutil.copytree(home / "photos", tmp_path / "photos", ignore=shutil.ignore_patterns("*cartag*"))
    write_catalog(tmp_path, CATALOG)
    told = run(
        tmp_path, "tag", "photos", "--catalog", "colours.yaml", "--model", "fake", "--format", "json", **variables
    )
    assert (told.returncode, told.stderr) == (0, b"")
    ours, utf_8 = (json.loads((f / "photos" / "cartag.json").read_bytes())["photos"] for f in (tmp_path, home))

    def identities(photos: list[dict[str, str]]) -> list[tuple[str, str | None, str]]:
        return [(photo["path"], photo.get("path_on_disk"), photo["sha256"]) for photo in photos]

    assert identities(ours) == identities(utf_8)
    check_data(tmp_path, variables)
    assert run(tmp_path, "tag", "photos", "--retag", "--strict", **variables).returncode == 0
    exported = run(tmp_path, "export", "photos", "--as", "xmp", **variables)
    assert (exported.returncode, exported.stderr) == (0, b"cartag: xmp: 3 created, 0 unchanged\n")
    again = cartag.export(tmp_path / "photos", "xmp")
    assert again.counts["unchanged"] == len(again.files) == 3, "in UTF-8 they are the same sidecars"
    exported = run(tmp_path, "export", "photos", "--as", "html", "--to", "page", **variables)
    assert exported.returncode == 0, exported.stderr
    again = cartag.export(tmp_path / "photos", "html", to=tmp_path / "page")
    assert again.counts["unchanged"] == len(again.files), "and the same page"
    metadata = run(tmp_path, "export", "photos", "--as", "imagefolder", **variables).stdout
    assert {json.loads(line)["file_name"] for line in metadata.splitlines()} == set(NAMES)


def test_a_drafted_catalog_is_utf_8_and_can_be_read_again(home: Path) -> None:
    (home / "article.txt").write_text("Citroën DS und Škoda 130 RS standen da.", encoding="utf-8")
    drafted = run(home, "cars", "--from-text", "article.txt", PYTHONIOENCODING="latin-1")
    assert drafted.returncode == 0, drafted.stderr
    (home / "drafted.yaml").write_bytes(drafted.stdout)
    assert "Citroën DS" in drafted.stdout.decode("utf-8")
    assert "citroen-ds" in {car.id for car in cartag.cars(home / "drafted.yaml").cars}


def test_texts_and_names_are_made_valid_and_never_raise() -> None:
    assert printable(os.fsdecode(b"M\xc3\xbcller \xff")) == "Müller \\xff"
    assert printable("a\ud800b") == printable_values("a\ud800b") == "a\\ud800b"
    assert printable_values({"é\udcff": ["é", ("\udcc3\udcbc",)]}) == {"é\\xff": ["é", ["ü"]]}
    assert os.fsencode(disk_path("Müller.jpg", None)) == "Müller.jpg".encode()
