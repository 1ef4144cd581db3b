"""cartag replaces and removes only what it made: in every folder that a person names, by every command."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import Gallery, later, paint, snapshot, write_catalog
from hypothesis import HealthCheck, given, settings, strategies as st
from typer.testing import CliRunner

import cartag
from cartag.checkpoints.folders import missing_files
from cartag.cli import app
from cartag.errors import CartagError, ForeignFileError, IndexFileError, LabelsError, ModelError, UsageError
from cartag.exporting import FORMATS
from cartag.exporting.page import PAGE
from cartag.learning import learned
from cartag.reviewing import Session
from cartag.settings import Settings
from cartag.state import footprint, index as indexes
from cartag.state.footprint import NOTE, Footprint, digest_of

DOCUMENTS = [name for name, format in FORMATS.items() if format.document is not None]
HERS = b"<h1>my club page, made by hand</h1>"


@pytest.fixture
def tagged(gallery: Gallery) -> Gallery:
    for i, colour in enumerate(("red", "yellow", "green")):
        gallery.paint(f"{colour}.jpg", colour, mark=i)
    gallery.tag()
    return gallery


def contents(folder: Path) -> dict[str, bytes | str]:
    """What stands in a folder: bytes of files, targets of links; without following any."""
    found: dict[str, bytes | str] = {}
    for root, folders, files in os.walk(folder):
        for name in (*files, *folders):
            path = Path(root, name)
            if path.is_symlink():
                found[str(path.relative_to(folder))] = os.readlink(path)
            elif path.is_file():
                found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def file_of(as_: str) -> str:
    return FORMATS[as_].file_name or PAGE


def out_of(gallery: Gallery, as_: str) -> Path:
    """A folder that the format may be written to."""
    return gallery.path if as_ == "imagefolder" else gallery.path.parent / "out"


OWN_FORMATS = [name for name, format in FORMATS.items() if not format.merges]
in_every_format = pytest.mark.parametrize("as_", OWN_FORMATS)

# --- whatever is there, and whatever is done --------------------------------------------------------------------

PLACES = (
    PAGE,
    NOTE,
    "cartag.csv",
    "note.txt",
    "thumbs/mine.jpg",
    "thumbs/0123456789abcdef.jpg",
    "photos/b.jpg",
    "x.jpg",
)
_steps = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(PLACES), st.sampled_from((HERS, b"", b"{}", b"path,outcome\r\n"))),
    st.tuples(st.just("edit"), st.integers(0, 20), st.just(b"changed by hand")),
    st.tuples(st.just("link"), st.sampled_from((*PLACES, "thumbs", "photos")), st.sampled_from(("file", "folder"))),
    st.tuples(st.just("photo"), st.sampled_from("abc"), st.integers(0, 3)),
    st.tuples(st.just("gone"), st.sampled_from("abc"), st.none()),
    st.tuples(st.just("export"), st.sampled_from(("html", "html", "csv")), st.sampled_from(("copy", "none", "dry"))),
    st.tuples(st.just("force"), st.sampled_from(("html", "csv")), st.sampled_from(("copy", "none"))),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_steps, min_size=3, max_size=12))
def test_whatever_is_done_every_file_that_cartag_did_not_make_keeps_its_bytes(
    steps: list[tuple[str, Any, Any]], tmp_path: Path
) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as root:
        world = _World(Path(root))
        for what, one, two in [*steps, ("export", "html", "copy")]:
            getattr(world, what)(one, two)
            world.check()


class _World:
    """A gallery, a folder for its page, a place outside; and what a person put there."""

    def __init__(self, root: Path) -> None:
        (root / "gallery").mkdir()
        self.gallery = Gallery(root / "gallery", write_catalog(root))
        self.site, self.outside = root / "site", root / "outside"
        (self.outside / "folder").mkdir(parents=True)
        (self.outside / "file").write_bytes(HERS)
        (self.outside / "folder" / "0123456789abcdef.jpg").write_bytes(HERS)
        self.was_outside = contents(self.outside)
        self.hers: dict[str, bytes | str] = {}
        self.photo("a", 0)

    def check(self) -> None:
        there = contents(self.site)
        assert {name: there.get(name) for name in self.hers} == self.hers
        assert contents(self.outside) == self.was_outside

    def put(self, name: str, data: bytes) -> None:
        path = self.site / name
        if any(parent.is_symlink() for parent in path.parents) or path.is_symlink():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.hers[name] = data

    def edit(self, number: int, data: bytes) -> None:
        files = sorted(name for name, what in contents(self.site).items() if isinstance(what, bytes))
        if files:
            self.put(files[number % len(files)], data)

    def link(self, name: str, to: str) -> None:
        path = self.site / name
        if not os.path.lexists(path) and not path.parent.is_symlink():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(self.outside / to)
            self.hers[name] = os.readlink(path)

    def photo(self, name: str, mark: int) -> None:
        self.gallery.paint(f"{name}.jpg", "red", mark=mark)
        later(self.gallery.path / f"{name}.jpg")
        self.gallery.tag()

    def gone(self, name: str, _: None) -> None:
        (self.gallery.path / f"{name}.jpg").unlink(missing_ok=True)
        self.gallery.tag()

    def export(self, as_: str, how: str, *, force: bool = False) -> None:
        before = contents(self.site)
        options = Settings(html_photos="link" if how == "dry" else how)
        try:
            cartag.export(self.gallery.path, as_, to=self.site, dry_run=how == "dry", force=force, settings=options)
        except ForeignFileError:
            assert contents(self.site) == before, "a refusal comes before anything is written"
        if how == "dry":
            assert contents(self.site) == before

    def force(self, as_: str, how: str) -> None:
        self.export(as_, how, force=True)
        there = contents(self.site)
        assert set(self.hers) <= set(there), "--force replaces, and never removes"
        self.hers = {name: what for name, what in self.hers.items() if there[name] == what}


# --- what cartag made -------------------------------------------------------------------------------------------


@in_every_format
def test_a_file_of_somebody_else_stays_and_is_named(as_: str, tagged: Gallery) -> None:
    folder = out_of(tagged, as_)
    folder.mkdir(exist_ok=True)
    (folder / file_of(as_)).write_bytes(HERS)
    before = contents(folder)
    for dry_run in (True, False):
        with pytest.raises(ForeignFileError, match=rf"{file_of(as_)}: is none of cartag's.*--to DIR.*--force"):
            cartag.export(tagged.path, as_, to=folder, dry_run=dry_run)
        assert contents(folder) == before
    cartag.export(tagged.path, as_, to=folder, force=True)
    assert (folder / file_of(as_)).read_bytes() != HERS


@in_every_format
def test_what_a_person_changed_is_hers(as_: str, tagged: Gallery) -> None:
    folder = out_of(tagged, as_)
    cartag.export(tagged.path, as_, to=folder)
    tagged.paint("blue.jpg", "blue")
    tagged.tag()
    cartag.export(tagged.path, as_, to=folder)  # nobody did
    edited = folder / file_of(as_)
    edited.write_bytes(edited.read_bytes().replace(b"blue", b"blau"))
    hers = edited.read_bytes()
    with pytest.raises(ForeignFileError, match="was changed since cartag made it"):
        cartag.export(tagged.path, as_, to=folder)
    assert edited.read_bytes() == hers


def test_a_page_made_before_there_were_notes_is_known_by_its_content(tagged: Gallery) -> None:
    folder = out_of(tagged, "html")
    cartag.export(tagged.path, "html", to=folder)
    (folder / NOTE).unlink()
    tagged.paint("blue.jpg", "blue", mark=7)
    tagged.tag()
    old = (folder / PAGE).read_bytes()
    (folder / PAGE).write_bytes(old + b" ")  # not as it was made
    with pytest.raises(ForeignFileError):
        cartag.export(tagged.path, "html", to=folder)
    (folder / PAGE).write_bytes(old)
    report = cartag.export(tagged.path, "html", to=folder)
    assert (report.counts["changed"], report.counts["created"]) == (1, 1)
    (tagged.path / "red.jpg").unlink()
    tagged.tag()
    assert cartag.export(tagged.path, "html", to=folder).counts["removed"] == 1


@pytest.mark.parametrize("as_", DOCUMENTS)
def test_a_table_that_was_corrected_by_hand_is_hers_whoever_made_it(as_: str, tagged: Gallery) -> None:
    """A spreadsheet writes a corrected cell as cartag would: only a note, or the very same content, says whose it is."""
    folder = out_of(tagged, as_)
    folder.mkdir(exist_ok=True)
    text = cartag.export(tagged.path, as_).document or b""
    hers = text.replace(b"red-racer", b"blue-bolt").replace(b"Red Racer", b"Blue Bolt")
    assert hers != text
    (folder / file_of(as_)).write_bytes(hers)
    with pytest.raises(ForeignFileError, match="is none of cartag's"):
        cartag.export(tagged.path, as_, to=folder)
    assert (folder / file_of(as_)).read_bytes() == hers
    (folder / file_of(as_)).write_bytes(text)  # without a note, and as it would be made now
    assert cartag.export(tagged.path, as_, to=folder).counts["unchanged"] == 1
    tagged.paint("blue.jpg", "blue", mark=7)
    tagged.tag()
    assert cartag.export(tagged.path, as_, to=folder).counts["changed"] == 1


@pytest.mark.parametrize("kind", ["a file", "below a file", "a link to nowhere", "a link to itself", "a long name"])
def test_what_can_be_no_folder_is_said_once(kind: str, tagged: Gallery, labels: Path, tmp_path: Path) -> None:
    place = tmp_path / ("x" * 300 if kind == "a long name" else "place")
    if kind in ("a file", "below a file"):
        place.write_bytes(HERS)
    elif kind != "a long name":
        place.symlink_to(place if kind == "a link to itself" else tmp_path / "nowhere")
    if kind == "below a file":
        place = place / "deeper"
    for as_ in (*OWN_FORMATS, "xmp"):
        with pytest.raises(UsageError, match=r"--to .*(is no folder|can be no folder \(.*\)|leads nowhere); name"):
            cartag.export(tagged.path, as_, to=place)
    with pytest.raises(UsageError, match="--report"):
        cartag.evaluate(tagged.path, labels, report=place)
    with pytest.raises(ModelError, match="--to"):
        cartag.fetch("mini", place)


def test_a_page_does_not_lie_among_what_may_be_deleted(tagged: Gallery) -> None:
    for place in (tagged.path / ".cartag", tagged.path / ".cartag" / "page"):
        with pytest.raises(UsageError, match="may delete"):
            cartag.export(tagged.path, "html", to=place)


def test_sweeps_go_by_the_note(tagged: Gallery, tmp_path: Path) -> None:
    site = tmp_path / "site"
    cartag.export(tagged.path, "html", to=site)
    (hers,) = [site / "thumbs" / f"{tagged.record('red.jpg')['sha256'][:16]}.jpg"]
    hers.write_bytes(b"retouched")
    (site / "thumbs" / "0123456789abcdef.jpg").write_bytes(b"looks like one of ours")
    for name in ("red.jpg", "yellow.jpg"):
        (tagged.path / name).unlink()
    tagged.tag()
    assert cartag.export(tagged.path, "html", to=site, dry_run=True).counts["removed"] == 1
    assert cartag.export(tagged.path, "html", to=site).counts["removed"] == 1
    assert hers.read_bytes() == b"retouched"
    assert (site / "thumbs" / "0123456789abcdef.jpg").exists()
    assert not any(hers.name in name for name in json.loads((site / NOTE).read_bytes())["made"])


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"mine",
        b"[]",
        b'{"version": 2, "made": {}}',
        *(
            b'{"version": 1, "made": {"%b": ["%b"]}}' % (name, b"0" * 64)
            for name in (b"../a", b"/a", b"a/../../b", b"", b"a\\u0000", b"a//b", NOTE.encode())
        ),
        b'{"version": 1, "made": {"a": ["short"]}}',
    ],
)
def test_a_note_that_is_none_means_that_nothing_is_ours(note: bytes, tagged: Gallery, tmp_path: Path) -> None:
    (tmp_path / NOTE).write_bytes(note)
    with pytest.raises(ForeignFileError, match=f"{NOTE}: cannot be read as cartag's note"):
        cartag.export(tagged.path, "csv", to=tmp_path)
    assert (tmp_path / NOTE).read_bytes() == note
    assert not (tmp_path / "cartag.csv").exists()


def test_a_run_that_was_killed_between_note_and_file_finds_its_work_again(tmp_path: Path) -> None:
    def opened() -> Footprint:
        return Footprint(tmp_path, "go elsewhere")

    made = opened()
    made.expect({"a": digest_of(b"one")})  # killed here
    opened().claim("a")
    made.write("a", b"one")  # or here
    assert opened().is_ours("a")
    made.settle()
    again = opened()
    again.expect({"a": digest_of(b"two")})
    opened().claim("a")  # the old one is still ours
    again.write("a", b"two")
    opened().claim("a")
    again.settle()
    assert json.loads((tmp_path / NOTE).read_bytes())["made"] == {"a": [digest_of(b"two")]}
    (tmp_path / "a").write_bytes(b"one")  # an older one that a person brought back
    with pytest.raises(ForeignFileError):
        opened().claim("a")


# --- no place for a page ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["photos", "thumbs"])
@pytest.mark.parametrize("html_photos", ["link", "copy", "none"])
def test_a_gallery_in_the_place_of_the_pages_pictures_is_only_read(
    name: str, html_photos: str, gallery: Gallery, tmp_path: Path
) -> None:
    album = Gallery(tmp_path / name, gallery.catalog)
    for i in range(2):
        album.paint(f"{i:016x}.jpg", "red", mark=i)
    album.tag()
    before = contents(tmp_path)
    for force in (False, True):
        with pytest.raises(UsageError, match="the gallery lies where"):
            cartag.export(album.path, "html", to=tmp_path, force=force, settings=Settings(html_photos=html_photos))
        assert contents(tmp_path) == before


def test_folders_with_photos_are_no_place_for_a_page(tagged: Gallery, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\nred.jpg,red racer\n")
    shoot = tmp_path / "shoot"
    paint(shoot / "IMG_1.JPG".lower(), "blue")
    other = Gallery(tmp_path / "other", tagged.catalog)
    other.paint("day-1/a.jpg")
    other.tag()
    link = tmp_path / "link"
    link.symlink_to(tagged.path)
    export = partial(cartag.export, tagged.path, "html")
    report = partial(cartag.evaluate, tagged.path, labels)
    before = contents(tmp_path)
    for folder, words in ((shoot, "holds photos, img_1.jpg"), (other.path, "is a gallery"), (link, "is a gallery")):
        for force in (False, True):
            with pytest.raises(UsageError, match=words):
                export(to=folder, force=force)
            with pytest.raises(UsageError, match=words):
                report(report=folder, force=force)
    with pytest.raises(UsageError, match="is a gallery"):
        report(report=tagged.path)
    with pytest.raises(UsageError, match="lies in the gallery"):
        export(to=other.path / "page")
    (tmp_path / "site" / "thumbs").mkdir(parents=True)
    shutil.copy(shoot / "img_1.jpg", tmp_path / "site" / "thumbs")
    with pytest.raises(ForeignFileError, match=r"site/thumbs: holds photos.*--force"):
        export(to=tmp_path / "site")
    assert {k: v for k, v in contents(tmp_path).items() if not k.startswith("site")} == before
    export(to=tmp_path / "site", force=True)
    assert (tmp_path / "site" / "thumbs" / "img_1.jpg").exists()


@in_every_format
@pytest.mark.parametrize("force", [False, True])
def test_nothing_is_written_through_a_link(as_: str, force: bool, tagged: Gallery, tmp_path: Path) -> None:
    folder, outside = out_of(tagged, as_), tmp_path / "outside"
    folder.mkdir(exist_ok=True)
    outside.mkdir()
    (outside / "hers").write_bytes(HERS)
    (folder / file_of(as_)).symlink_to(outside / "hers")
    if force:
        cartag.export(tagged.path, as_, to=folder, force=True)
        assert not (folder / file_of(as_)).is_symlink()
    else:
        with pytest.raises(ForeignFileError, match="is a link"):
            cartag.export(tagged.path, as_, to=folder)
    assert contents(outside) == {"hers": HERS}


def test_a_linked_folder_of_thumbnails_is_refused(tagged: Gallery, tmp_path: Path) -> None:
    site, outside = tmp_path / "site", tmp_path / "outside"
    cartag.export(tagged.path, "html", to=site)
    shutil.move(site / "thumbs", outside)
    (site / "thumbs").symlink_to(outside)
    (tagged.path / "red.jpg").unlink()
    tagged.tag()
    before = contents(outside)
    for force in (False, True):
        with pytest.raises(ForeignFileError, match="thumbs: is a link that leads elsewhere"):
            cartag.export(tagged.path, "html", to=site, force=force)
    assert contents(outside) == before


# --- one bad file costs itself ----------------------------------------------------------------------------------


def test_a_picture_that_cannot_be_written_is_named_and_costs_no_other(
    tagged: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = f"{tagged.record('red.jpg')['sha256'][:16]}.jpg"

    def full(path: Path, data: bytes, **options: Any) -> None:
        if path.name == bad:
            raise OSError(errno.ENOSPC, "No space left on device")
        indexes.replace_file(path, data, **options)

    monkeypatch.setattr(footprint, "replace_file", full)
    report = cartag.export(tagged.path, "html", to=tmp_path / "site")
    (remark,) = report.remarks
    assert f"{bad}: cannot be written (No space left on device)" in remark.message
    assert (report.failures, report.counts["created"]) == (1, 3)
    monkeypatch.undo()
    assert cartag.export(tagged.path, "html", to=tmp_path / "site").counts["created"] == 1


def test_many_failures_are_counted_and_the_first_named(
    gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(30):
        gallery.paint(f"{i}.jpg", "red", mark=i)
    gallery.tag()

    def full(path: Path, data: bytes, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(footprint, "replace_file", full)
    to = tmp_path / "site"
    done = CliRunner().invoke(app, ["export", str(gallery.path), "--as", "html", "--to", str(to)])
    assert done.exit_code == 1
    named = [line for line in done.stderr.splitlines() if "cannot be written" in line]
    assert len(set(named)) == 20, "each file by its own name"
    assert "11 more file(s) could not be written either" in done.stderr
    assert "Traceback" not in done.output


def test_a_folder_called_like_a_sidecar_or_a_place_that_takes_none_costs_that_photo(
    tagged: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes, **options: Any) -> None:
        if path.name == "red.jpg.xmp":
            raise OSError(errno.EACCES, "Permission denied")
        indexes_replace(path, data, **options)

    indexes_replace = indexes.replace_file
    monkeypatch.setattr("cartag.exporting.writing.replace_file", full)
    report = cartag.export(tagged.path, "xmp")
    (remark,) = report.remarks
    assert "red.jpg.xmp: cannot be written (Permission denied)" in remark.message
    assert (report.failures, report.counts["created"]) == (1, 1)
    assert (tagged.path / "yellow.jpg.xmp").exists()


def test_a_sidecar_that_is_another_by_now_is_not_replaced(tagged: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    from cartag.exporting import writing, xmp

    def late(job: Any) -> Any:
        for step in xmp.files(job):
            (tagged.path / "red.jpg.xmp").write_bytes(HERS)
            yield step

    monkeypatch.setitem(FORMATS, "xmp", writing_format(late))
    report = cartag.export(tagged.path, "xmp")
    assert "red.jpg.xmp: was changed by another program meanwhile" in report.remarks[0].message
    assert (tagged.path / "red.jpg.xmp").read_bytes() == HERS
    assert writing.ACTIONS


def writing_format(files: Callable[[Any], Any]) -> Any:
    from cartag.exporting import Format

    return Format(files=files, merges=True)


@pytest.mark.parametrize("name", ["a:b.learned.json", "a\\b.learned.json", "C:x"])
def test_a_note_may_name_whatever_a_file_may_be_called(name: str, tmp_path: Path) -> None:
    made = Footprint(tmp_path, "elsewhere", note=tmp_path / "state" / "note.json")
    made.expect({name: digest_of(b"1")})
    made.write(name, b"1")
    made.settle()
    assert Footprint(tmp_path, "elsewhere", note=tmp_path / "state" / "note.json").is_ours(name)


@pytest.mark.parametrize("name", ["thumbs/holiday.jpg", "photos/IMG_1.jpg", "thumbs/sub/0123456789abcdef.jpg"])
def test_a_note_from_elsewhere_has_no_picture_removed_that_no_page_has(
    name: str, tagged: Gallery, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    data = paint(site / name)
    (site / NOTE).write_text(json.dumps({"version": 1, "made": {name: [digest_of(data)]}}))
    assert cartag.export(tagged.path, "html", to=site).counts["removed"] == 0
    assert (site / name).read_bytes() == data


def test_exports_into_one_folder_at_once_keep_each_others_notes(tmp_path: Path) -> None:
    def wrote(made: Footprint, name: str, data: bytes) -> None:
        made.expect({name: digest_of(data)})
        made.write(name, data)

    one, two = Footprint(tmp_path, "elsewhere"), Footprint(tmp_path, "elsewhere")
    wrote(one, "a", b"1")
    wrote(two, "b", b"2")
    wrote(two, "both", b"of two")
    wrote(one, "both", b"of one")
    one.settle()
    two.settle()
    after = Footprint(tmp_path, "elsewhere")
    assert [name for name in ("a", "b", "both") if after.is_ours(name)] == ["a", "b", "both"]
    one.expect({"soon": digest_of(b"4")})
    three, four = Footprint(tmp_path, "elsewhere"), Footprint(tmp_path, "elsewhere")
    three.remove("a")
    wrote(four, "c", b"3")
    three.settle()
    four.settle()
    one.write("soon", b"4")
    one.settle()
    assert Footprint(tmp_path, "elsewhere").names() == ["b", "both", "c", "soon"]


# --- the report of an evaluation --------------------------------------------------------------------------------


@pytest.fixture
def labels(tagged: Gallery, tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("file,label\nred.jpg,red racer\nyellow.jpg,red racer\n")
    return path


@pytest.mark.parametrize("name", ["index.html", "metrics.json"])
def test_a_report_replaces_only_its_own(name: str, tagged: Gallery, labels: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / name).write_bytes(HERS)
    before = contents(folder)
    command = ["eval", str(tagged.path), str(labels), "--report", str(folder)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1 or isinstance(done.exception, ForeignFileError)
    assert contents(folder) == before
    assert CliRunner().invoke(app, [*command, "--force"]).exit_code == 0
    (folder / NOTE).unlink()  # as before there were notes
    labels.write_text("file,label\nred.jpg,red racer\n")
    assert CliRunner().invoke(app, command).exit_code == 0
    made = folder / name
    made.write_bytes(made.read_bytes() + b"<!-- mine -->")
    with pytest.raises(ForeignFileError, match=f"{name}: was changed since"):
        cartag.evaluate(tagged.path, labels, report=folder)


# --- what is learned --------------------------------------------------------------------------------------------


@pytest.fixture
def taught(tagged: Gallery, labels: Path) -> tuple[Gallery, Path]:
    labels.write_text("file,label\nred.jpg,red racer\n")  # so few that it is taken on trust
    assert cartag.learn(tagged.path, labels).kept
    return tagged, labels


@pytest.mark.parametrize("end", ["json", "safetensors"])
def test_learning_replaces_and_removes_only_its_own(end: str, tagged: Gallery, labels: Path) -> None:
    theirs = tagged.path / f"cartag.learned.{end}"
    theirs.write_bytes(b'{"my": "notes"}')
    before = snapshot(tagged.path)
    with pytest.raises(ForeignFileError, match=rf"cartag\.learned\.{end}: is none of cartag's; move it away"):
        cartag.learn(tagged.path, labels)
    with pytest.raises(ForeignFileError):
        learned.remove_learned(indexes.place_of(tagged.path))
    assert snapshot(tagged.path) == before


def test_what_a_person_changed_in_it_is_hers(taught: tuple[Gallery, Path]) -> None:
    gallery, labels = taught
    place = indexes.place_of(gallery.path)
    cartag.learn(gallery.path, labels)  # nobody did
    readable = learned.learned_files(place)[0]
    for note in (place.state / "cartag.made.json", None):
        if note is None:  # made before there were notes: known by its content
            readable.write_bytes(readable.read_bytes().replace(b"0.5,", b"0.6,").rstrip() + b"\n\n")
        else:
            readable.write_bytes(readable.read_bytes().replace(b'"precision": 0.95', b'"precision": 0.9'))
        hers = contents(gallery.path)
        with pytest.raises(ForeignFileError, match=r"cartag\.learned\.json"):
            cartag.learn(gallery.path, labels)
        with pytest.raises(ForeignFileError):
            learned.remove_learned(place)
        assert contents(gallery.path) == hers
        (place.state / "cartag.made.json").unlink(missing_ok=True)


def test_what_was_learned_before_there_were_notes_is_learned_again_and_forgotten(taught: tuple[Gallery, Path]) -> None:
    gallery, labels = taught
    place = indexes.place_of(gallery.path)
    (place.state / "cartag.made.json").unlink()
    cartag.learn(gallery.path, labels)
    (place.state / "cartag.made.json").unlink()
    learned.remove_learned(place)
    assert not any(path.exists() for path in learned.learned_files(place))


# --- a model's files --------------------------------------------------------------------------------------------


def test_a_fetched_model_replaces_no_file_of_others(tmp_path: Path) -> None:
    folder, outside = tmp_path / "model", tmp_path / "outside"
    folder.mkdir()
    outside.write_bytes(HERS)
    (folder / "config.json").write_bytes(HERS)
    (folder / "tokenizer.json").symlink_to(outside)
    before = contents(folder)
    with pytest.raises(ForeignFileError, match=r"config\.json: is there with another content.*--to DIR.*--force"):
        cartag.fetch("mini", folder)
    assert contents(folder) == before
    cartag.fetch("mini", folder, force=True)
    assert outside.read_bytes() == HERS
    assert not missing_files(folder)
    whole = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    cartag.fetch("mini", folder)  # the same again is written again by nobody
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == whole


def test_the_model_of_the_tests_has_no_files_to_carry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder is none; taken for a path that is the folder one happens to be in."""
    (tmp_path / "config.json").write_bytes(HERS)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="has no files"):
        cartag.fetch("fake", tmp_path / "to")
    assert not (tmp_path / "to").exists()


# --- an index elsewhere, and labels -----------------------------------------------------------------------------

FOREIGN = {
    "empty": b"",
    "a list": b'["mine"]',
    "other JSON": b'{"photos": [{"path": "a.jpg", "stars": 3}]}',
    "a number": b"12",
    "no JSON": b"dear diary",
    "UTF-16": '{"photos": []}'.encode("utf-16"),
}


@pytest.mark.damaged_index
@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("name", ["theirs.json", "cartag.json", "holiday.jpg"])
def test_no_file_that_is_no_index_is_written_as_one(kind: str, name: str, gallery: Gallery, tmp_path: Path) -> None:
    gallery.paint("a.jpg")
    theirs = tmp_path / "else" / name
    theirs.parent.mkdir()
    theirs.write_bytes(FOREIGN[kind])
    for retag in (False, True):
        with pytest.raises(IndexFileError, match="move it away"):
            gallery.tag(index=theirs, retag=retag)
    assert contents(theirs.parent) == {name: FOREIGN[kind]}


def test_a_photo_is_no_index(gallery: Gallery, tmp_path: Path) -> None:
    photo = gallery.paint("a.jpg")
    before = photo.read_bytes()
    with pytest.raises(IndexFileError):
        gallery.tag(index=photo)
    assert photo.read_bytes() == before


@pytest.mark.parametrize("data", [b"", b"a,b\n1,2\n", b"dear diary\n", b"\xff\xd8\xff", b'{"file": "label"}'])
def test_a_review_writes_into_no_file_that_holds_no_labels(data: bytes, tagged: Gallery, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.csv"
    theirs.write_bytes(data)
    for path in (theirs, tagged.index_file, tagged.path / "red.jpg"):
        before = path.read_bytes()
        with pytest.raises((LabelsError, CartagError)):
            Session(tagged.path, indexes.place_of(tagged.path), path)
        assert path.read_bytes() == before


def test_what_only_looks_left_behind_by_a_killed_run_stays(tagged: Gallery) -> None:
    names = (".cartag.json.backup.tmp", ".cartag.json.a1b2c3d4.tmp", ".cartag.json..tmp", "cartag.json.tmp")
    for name in names:
        (tagged.path / name).write_bytes(HERS)
    state = tagged.path / ".cartag"
    for name in (".cartag.json.k3x_9abz.tmp", ".cartag.json.b.k3x_9abz.tmp", "notes.tmp"):
        (state / name).write_bytes(b"half an index")
    tagged.paint("blue.jpg", "blue")
    tagged.tag()
    assert all((tagged.path / name).read_bytes() == HERS for name in names)
    assert not (state / ".cartag.json.k3x_9abz.tmp").exists()
    assert (state / ".cartag.json.b.k3x_9abz.tmp").exists(), "of an index cartag.json.b beside it, that may be alive"
    assert (state / "notes.tmp").exists()


def test_a_state_folder_elsewhere_costs_no_write(
    tagged: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it is a link to another disk: nothing can be moved from there into place."""
    real = os.replace

    def other_disk(source: str | Path, target: str | Path) -> None:
        if ".cartag/" in str(source) and ".cartag/" not in str(target):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(source, target)

    monkeypatch.setattr(indexes.os, "replace", other_disk)
    tagged.paint("blue.jpg", "blue")
    tagged.tag()
    assert tagged.outcomes()["blue.jpg"] == "tagged"
    assert not list((tagged.path / ".cartag").glob(".*.tmp"))
