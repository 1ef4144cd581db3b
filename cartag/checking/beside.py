"""What lies among the photos and beside the index: the photos themselves, what was learned, labels, sidecars."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import UNSET

from cartag.checking.findings import TEMPORARY, Case, Found, found, half_written
from cartag.errors import CartagError, IndexFileError, LabelsError
from cartag.exporting import why_torn
from cartag.learning import (
    Learned,
    claim_learned,
    kept_tensors,
    learned_files,
    load_learned,
    remove_learned,
    restore_tensors,
)
from cartag.measuring import LabelFile, other_cars
from cartag.state import Index
from cartag.tagging import in_folders

_SIDECAR = ".xmp"
_MOST_BYTES = 64 * 2**20
_CODECS = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_OURS = tuple("urn:cartag:xmp:1#".encode(codec) for codec in _CODECS)
_COLUMNS = [
    re.compile(rb'(?:\A|[,;\t])[ "]*%s[ "]*(?:[,;\t]|\Z)' % name, re.IGNORECASE) for name in (b"file", b"label")
]
_SHOWN = 3


# --- photos -------------------------------------------------------------------------------------------------------


def findings_of_photos(case: Case) -> Iterator[Found]:
    """Photos of the index that are gone, or are others now, by size and time."""
    if case.index is None:
        return
    closed = set(in_folders(case.index.photos, case.walk.unreadable_folders))
    for folder in case.walk.unreadable_folders:
        yield found("photos", "damaged", case.gallery / folder, "this folder cannot be listed", "check its permissions")
    for record in case.index:
        if record.missing is True or record.path in closed:
            continue
        there, path = case.on_disk.get(record.path), case.gallery / record.path
        if there is None:
            yield found("photos", "missing", path, "in the index, and not there", f"bring it back, or run {case.tag}")
        elif (there.size, there.mtime_ns) != (record.size, record.mtime_ns):
            yield found("photos", "changed", path, "another file than the index knows", f"run {case.tag}")


# --- what was learned ----------------------------------------------------------------------------------------------


def findings_of_learned(case: Case) -> Iterator[Found]:
    """What `learn` wrote: torn, half, lost, or of another model or catalog."""
    place = case.place
    readable, tensors = learned_files(place)
    kept = kept_tensors(place)
    if kept.is_file():

        def mend() -> None:
            restore_tensors(place)
            kept.unlink()

        what = "the tensors of before, which a killed 'cartag learn' left"
        yield found("learned", "left-over", kept, what, "--repair puts them back where they belong", mend)
    if not os.path.lexists(readable):
        yield from _without_json(case, readable, tensors)
        return
    try:
        learned = load_learned(place)
    except IndexFileError as e:
        path, _, what = str(e).partition(": ")
        what, _, remedy = what.rpartition("; ")
        yield found("learned", "damaged", path, what, remedy)
        return
    if learned is not None:
        yield from _fitting(case, learned, readable)


def _without_json(case: Case, readable: Path, tensors: Path) -> Iterator[Found]:
    try:
        made = claim_learned(case.place)
    except CartagError:  # said of the note, or no file of ours
        return
    if os.path.lexists(tensors):
        what = f"tensors without {readable.name}, which says what they are of"
        yield found("learned", "left-over", tensors, what, "--repair removes them", lambda: remove_learned(case.place))
    elif made.has(readable.name):
        what = "what was learned is not there any more"
        remedy = "run 'cartag learn' with your labels again; if you deleted it, --repair forgets it"
        yield found("learned", "missing", readable, what, remedy, lambda: remove_learned(case.place))


def _fitting(case: Case, learned: Learned, readable: Path) -> Iterator[Found]:
    facts = learned.facts
    if case.index is not None:
        model, catalog = case.index.header.model, case.index.header.catalog
        made_with = f"{model.name.replace('/', '--')}@{model.revision}/"
        remedy = f"run {case.tag}" if facts.source else "run 'cartag learn' with your labels again"
        if not facts.model.startswith(made_with):
            yield found("learned", "damaged", readable, f"learned with another model, {facts.model}", remedy)
        if facts.catalog != catalog.sha256:
            yield found("learned", "damaged", readable, "learned for another catalog than the index's", remedy)
    if facts.source:
        source = case.place.index.parent / facts.source
        if not os.path.exists(source):
            what = "the labels that were learned from are not there"
            yield found("labels", "missing", source, what, "bring them back, or learn from others")


# --- labels -------------------------------------------------------------------------------------------------------


def findings_of_labels(case: Case) -> Iterator[Found]:
    """Hand labels beside the index and those learned from: torn, or of photos that are not there."""
    if case.index is None:
        return
    for path in _label_files(case):
        try:
            names = LabelFile(
                path,
                case.index.header.catalog.cars,
                case.index.photos,
                case.gallery,
                lambda: other_cars(_index(case)),
                names_only=True,
            ).photos()
        except LabelsError as e:
            what = str(e).removeprefix(f"{path}: ")
            yield found("labels", "damaged", path, what, "mend it by hand: what is in it is a person's word")
            continue
        there = case.on_disk.keys() | {record.path for record in case.index if record.missing is UNSET}
        if gone := sorted(set(names) - there):
            some = ", ".join(gone[:_SHOWN]) + (", ..." if len(gone) > _SHOWN else "")
            n = f"{len(gone)} photos that are" if len(gone) > 1 else "a photo that is"
            what = f"names {n} not there"
            yield found("labels", "missing", path, f"{what}: {some}", "bring them back, or correct the rows by hand")


def _index(case: Case) -> Index:
    assert case.index is not None
    return case.index


def _label_files(case: Case) -> list[Path]:
    """CSVs with the columns file and label at the top of the gallery and beside the index, and the one learned from."""
    files: dict[str, Path] = {}
    try:
        learned = load_learned(case.place)
    except IndexFileError:
        learned = None
    if learned is not None and learned.facts.source:
        source = case.place.index.parent / learned.facts.source
        if source.is_file() and source.suffix.lower() != ".json":
            files[os.path.realpath(source)] = source
    for folder in (case.gallery, case.place.index.parent):
        for path in (folder / name for name in case.listed(folder) if name.endswith(".csv")):
            if os.path.realpath(path) not in files and path.is_file() and _may_be_labels(path):
                files[os.path.realpath(path)] = path
    return list(files.values())


def _may_be_labels(path: Path) -> bool:
    """Whether its first line has the columns file and label; not file_name, which other programs write."""
    try:
        with path.open("rb") as f:
            first = f.read(4096).removeprefix(codecs.BOM_UTF8)
    except OSError:
        return False
    line = re.split(rb"[\r\n]", first, maxsplit=1)[0]
    return all(column.search(line) for column in _COLUMNS)


# --- sidecars, and what killed writers left ---------------------------------------------------------------------------


def findings_among_photos(case: Case) -> Iterator[Found]:
    """Sidecars that are torn or have lost their photo, and half files, in the folders of the gallery."""
    by_folder: dict[str, set[str]] = {"": set()}
    for photo in case.walk.photos:
        folder, _, name = photo.disk_path.rpartition("/")
        by_folder.setdefault(folder, set()).add(name)
    if case.index is not None:  # folders whose photos have gone all
        for photo_path in case.index.photos:
            by_folder.setdefault(photo_path.rpartition("/")[0], set())
    beside = case.place.index.parent
    if not beside.resolve().is_relative_to(case.gallery.resolve()):
        yield from _half_files(case, beside, case.listed(beside), set())
    for folder in sorted(by_folder):
        path = case.gallery / folder if folder else case.gallery
        names = case.listed(path)
        yield from _half_files(case, path, names, by_folder[folder])
        for name in names:
            if name.lower().endswith(_SIDECAR) and not name.startswith("."):
                yield from _sidecar(path / name, set(names))


def _half_files(case: Case, folder: Path, names: list[str], photos: set[str]) -> Iterator[Found]:
    ours = {case.place.index.name, *(path.name for path in learned_files(case.place))}
    sidecars = {name + _SIDECAR for name in photos} | {os.path.splitext(name)[0] + _SIDECAR for name in photos}
    for name in names:
        path, matched = folder / name, TEMPORARY.fullmatch(name)
        if matched is None or not path.is_file() or path.is_symlink():
            continue
        target = matched[1]
        if target in ours and folder.resolve() == case.place.index.parent.resolve():
            yield half_written("index", path, f"half of {target}, which a killed run left", is_ours=True)
        elif target in sidecars:
            yield half_written("sidecars", path, f"half of {target}, which a killed export left", is_ours=True)
        elif target.lower().endswith(".csv") and target in names:
            yield half_written("labels", path, f"half of {target}, which a killed writer left", is_ours=False)


def _sidecar(path: Path, names: set[str]) -> Iterator[Found]:
    stem = path.name[: -len(_SIDECAR)]
    stems = {os.path.splitext(name)[0].casefold() for name in names - {path.name}}
    has_photo = stem in names or stem.casefold() in stems
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return
        data = path.read_bytes()
    except OSError as e:
        if has_photo:
            yield found("sidecars", "damaged", path, f"cannot be read ({e.strerror})", "check its permissions")
        return
    is_ours = any(name in data for name in _OURS)
    if (has_photo or is_ours) and (why := why_torn(data)) is not None:
        yield found("sidecars", "damaged", path, why, "mend it, or move it away and export again")
    elif is_ours and not has_photo:
        what = "a sidecar without its photo"
        yield found("sidecars", "left-over", path, what, "bring the photo back, or remove the sidecar")
