"""Every call fails once: the first, the second, the third ... until a command ends without coming to it.

After each: every file is the old one or the new one, whole; what a person said is there; a failure is one line and no
traceback; the same command, run again, goes on to what it makes where nothing fails. The short loop takes some of the calls,
`make stress` every one with every error.
"""

from __future__ import annotations

import errno
import gc
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from anomalies import ERRORS, Anomaly
from conftest import Gallery, check_index, picture, write_catalog
from trials import without_date

import cartag
from cartag.cli import _run
from cartag.errors import CartagError
from cartag.learning import load_learned
from cartag.reviewing import Decision, Session
from cartag.state.place import place_of

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="which file a handle is of is read from /proc"
)
SETTLED = "cartag.checking.findings._SETTLED"
EVERY = 29
"""Of the short loop: each so many calls one fails, with one error after the other."""
LABELS = "file,label\na.jpg,red racer\nb.jpg,red racer\nc.jpg,yellow yeti\nd.jpg,blue bolt\n"
FOREIGN = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF></x:xmpmeta>
"""


@dataclass
class Scene:
    """A gallery as it is before each try, and what a command makes of it where nothing fails."""

    gallery: Gallery
    before: Path
    wanted: dict[str, Any] = field(default_factory=dict)

    def reset(self) -> None:
        shutil.rmtree(self.gallery.path)
        shutil.copytree(self.before, self.gallery.path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("anomalies")
    (folder / "gallery").mkdir()
    gallery = Gallery(folder / "gallery", write_catalog(folder))
    for mark, (name, colour) in enumerate({"a": "red", "b": "red", "c": "yellow", "d": "blue"}.items()):
        gallery.paint(f"{name}.jpg", colour, mark=mark)
    gallery.tag(text_cache="off")
    labels = gallery.path / "labels.csv"
    labels.write_text(LABELS, encoding="utf-8")
    session = Session(gallery.path, place_of(gallery.path), labels)
    session.decide([Decision(path="b.jpg", truth="car", cars=("blue-bolt",))])
    (gallery.path / "a.jpg.xmp").write_bytes(FOREIGN)
    shutil.copytree(gallery.path, folder / "before")
    return Scene(gallery, folder / "before")


@pytest.fixture
def scene(made: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("CARTAG_TEXT_CACHE", "off")
    monkeypatch.setenv("CARTAG_DECODE_THREADS", "1")
    monkeypatch.setattr(SETTLED, -1.0)
    shutil.copytree(made.before, tmp_path / "before")
    own = Scene(made.gallery, tmp_path / "before")
    own.reset()
    return own


def numbers(error: int | None, every: int) -> Iterator[tuple[int, int]]:
    """Which call fails, and how; without end. Without an error: some calls, with one error after the other."""
    for number in count(1):
        if error is not None:
            yield number, error
        elif number % every == 1 or number < 4:
            yield number, ERRORS[number % len(ERRORS)]


def loop(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[[], str | None],
    check: Callable[[str, bool], None],
    error: int | None,
    every: int = EVERY,
) -> int:
    """Runs with one call after the other failing; how many tries there were.

    ``run`` gives what went wrong, or None; ``check`` is told the call, and whether the run said that all is well.
    """
    wrong: list[str] = []
    for tries, (number, how) in enumerate(numbers(error, every)):
        scene.reset()
        with Anomaly(scene.gallery.path, number, how).under(monkeypatch) as anomaly:
            failure = run()
        gc.collect()
        if not anomaly.failed:
            assert failure is None, failure
            assert not wrong, "\n\n".join(wrong)
            return tries
        try:
            check_index(scene.gallery.index_file)
            assert human(scene) == scene.wanted["human"], "a person's word"
            check(anomaly.failed, failure is None)
        except Exception as e:
            wrong.append(f"call {number}, {anomaly.failed}: {e!r}; it said: {failure}")
    raise AssertionError("unreachable")


def human(scene: Scene) -> dict[str, Any]:
    """What a person said before, of b.jpg."""
    record = scene.gallery.record("b.jpg")
    return {"confirmed": record["confirmed"], "tags": [tag for tag in record["tags"] if tag["source"] == "human"]}


def commanded(capsys: pytest.CaptureFixture[str], *arguments: str) -> Callable[[], str | None]:
    """A command line, in this process; what it says where it fails."""

    def run() -> str | None:
        capsys.readouterr()
        code = _run([*arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.err, said.err
        if code in (0, None):
            return None
        lines = said.err.splitlines()
        assert code in (1, 2), said.err
        assert lines or arguments[0] == "check", "it failed, and said nothing"
        assert all(line.startswith("cartag: ") for line in lines), said.err
        return said.err or said.out

    return run


def sound(scene: Scene) -> None:
    """Nothing that a check finds is left that a repair does not mend."""
    cartag.check(scene.gallery.path, repair=True)
    assert cartag.check(scene.gallery.path).findings == ()


each = pytest.mark.parametrize(
    "error",
    [None, *(pytest.param(e, marks=[pytest.mark.stress, pytest.mark.timeout(3600)]) for e in ERRORS)],
    ids=["some", *(errno.errorcode[e] for e in ERRORS)],
)


@each
def test_tag(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: int | None
) -> None:
    gallery = scene.gallery
    command = ("tag", str(gallery.path), "--model", "fake", "--catalog", str(gallery.catalog))
    picture("blue", mark=200).save(scene.before / "e.jpg")
    picture("yellow", mark=201).save(scene.before / "a.jpg")
    scene.reset()
    old = {photo["path"]: photo for photo in gallery.raw()["photos"]}
    scene.wanted["human"] = human(scene)
    run = commanded(capsys, *command)
    assert run() is None
    wanted = without_date(gallery.index_file)
    new = {photo["path"]: photo for photo in wanted["photos"]}

    def check(what: str, is_well: bool) -> None:
        for photo in gallery.raw()["photos"]:
            is_error = photo["outcome"] == "error" and what.startswith(("open", "read", "stat"))
            assert is_error or photo in (old.get(photo["path"]), new[photo["path"]])
        assert run() is None
        assert without_date(gallery.index_file) == wanted
        sound(scene)

    assert loop(scene, monkeypatch, run, check, error)


@each
def test_learn(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: int | None
) -> None:
    gallery, labels = scene.gallery, scene.gallery.path / "labels.csv"
    monkeypatch.setattr("cartag.learning.learning._helps", lambda *arguments: True)
    cartag.learn(gallery.path, labels)
    labels.write_text(LABELS.replace("c.jpg,yellow yeti\n", "c.jpg,unknown\n"), encoding="utf-8")
    shutil.rmtree(scene.before)
    shutil.copytree(gallery.path, scene.before)
    scene.wanted["human"] = human(scene)
    index, said = gallery.index_file.read_bytes(), labels.read_bytes()
    run = commanded(capsys, "learn", str(gallery.path), str(labels))

    def digest() -> str:
        found = load_learned(place_of(gallery.path))
        assert found is not None
        return found.digest()

    old = digest()
    assert run() is None
    new = digest()
    assert old != new

    def check(what: str, is_well: bool) -> None:
        assert digest() in ((new,) if is_well else (old, new))
        assert (gallery.index_file.read_bytes(), labels.read_bytes()) == (index, said)
        assert run() is None
        assert digest() == new
        sound(scene)

    assert loop(scene, monkeypatch, run, check, error, 3 * EVERY)  # it fits something each time


@each
def test_export(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: int | None
) -> None:
    gallery = scene.gallery
    scene.wanted["human"] = human(scene)
    run = commanded(capsys, "export", str(gallery.path), "--as", "xmp")

    def sidecars() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in gallery.path.glob("*.xmp")}

    old = sidecars()
    assert run() is None
    new = sidecars()
    assert len(new) == 4

    def check(what: str, is_well: bool) -> None:
        there = sidecars()
        assert there.keys() >= old.keys()
        assert all(data in (old.get(name), new[name]) for name, data in there.items())
        assert not is_well or there == new
        assert run() is None
        assert sidecars() == new
        sound(scene)

    assert loop(scene, monkeypatch, run, check, error)


@each
def test_a_decision(scene: Scene, monkeypatch: pytest.MonkeyPatch, error: int | None) -> None:
    gallery, labels = scene.gallery, scene.gallery.path / "labels.csv"
    scene.wanted["human"] = human(scene)
    said = [Decision(path="c.jpg", truth="car", cars=("red-racer",))]
    sessions: list[Session] = []

    def run() -> str | None:
        sessions.clear()
        try:
            sessions.append(Session(gallery.path, place_of(gallery.path), labels))
            sessions[0].decide(said)
        except CartagError as e:
            return str(e)
        return None

    old, old_labels = gallery.record("c.jpg"), labels.read_bytes()
    assert run() is None
    new, new_labels = gallery.record("c.jpg"), labels.read_bytes()
    assert (old, old_labels) != (new, new_labels)

    def check(what: str, is_well: bool) -> None:
        session = sessions[0] if sessions else Session(gallery.path, place_of(gallery.path), labels)
        assert gallery.record("c.jpg") in (old, new)
        assert labels.read_bytes() in (old_labels, new_labels)
        if is_well:  # what the page shows as saved is saved, or owed and said
            assert gallery.record("c.jpg") == new
            assert labels.read_bytes() == new_labels or session.owed() == 1
        session.decide(said)
        session.finish()
        assert gallery.record("c.jpg") == new
        assert labels.read_bytes() == new_labels
        sound(scene)

    assert loop(scene, monkeypatch, run, check, error)


@each
def test_a_repair(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: int | None
) -> None:
    import sqlite3
    from contextlib import closing

    gallery, state = scene.gallery, scene.gallery.path / ".cartag"
    with closing(sqlite3.connect(state / "embeddings.sqlite")) as db:
        db.execute("UPDATE photo SET vector = x'00'")
        db.commit()
    (state / "cartag.journal.jsonl").write_bytes(b'[{"path":"a.jp')
    (state / ".cartag.json.0a1b2c3d.tmp").write_bytes(b"half")
    (state / "embeddings.damaged").write_bytes(b"noise")
    (state / "thumbs").mkdir()
    (state / "thumbs" / f"{'ab' * 32}.jpg").write_bytes(b"half")
    shutil.rmtree(scene.before)
    shutil.copytree(gallery.path, scene.before)
    scene.wanted["human"] = human(scene)
    index = gallery.index_file.read_bytes()
    assert len(cartag.check(gallery.path).findings) == 5
    run = commanded(capsys, "check", str(gallery.path), "--repair")

    def check(what: str, is_well: bool) -> None:
        assert gallery.index_file.read_bytes() == index
        assert not is_well or cartag.check(gallery.path).findings == ()
        assert run() is None
        assert cartag.check(gallery.path).findings == ()

    assert loop(scene, monkeypatch, run, check, error)
