"""What a run of `tag` is decided by, before any photo is looked at: the old index, catalog, model, calibration.

`Basis` is what answers follow from, on every engine; `Run` adds where the photos and the index of a local run lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
from msgspec import UNSET

from cartag import checkpoints, encoder as encoders
from cartag.catalogs import load_catalog
from cartag.encoder import Encoder
from cartag.errors import IndexFileError
from cartag.learning import Learned, load_learned
from cartag.photos import PICTURE, Walk
from cartag.progress import Progress
from cartag.scoring import (
    Calibration,
    Presence,
    Sight,
    adjusted,
    calibration_of,
    class_set_of,
    default_catalog,
    model_facts,
    presence_of,
    sight_of,
)
from cartag.settings import Settings, shared_texts
from cartag.state import Index, Place, SharedTexts, Stamp, Store, has_shards, read_index_if_there, stamp_of
from cartag.tagging.judging import Judge
from cartag.tagging.merging import in_folders
from cartag.values import Catalog, ImageSpec, IndexHeader, ModelFiles, is_settled_by_human

_OTHERS_BY = "first"
"""See `catalogs.prompt_classes`; where that changes, this has to, or indexes keep what was scored before."""


@dataclass(frozen=True)
class Basis:
    """All that the answers of a run follow from: with equal ones, equal photos get equal records."""

    settings: Settings
    catalog: Catalog
    files: ModelFiles
    identity: str
    calibration: Calibration
    learned: Learned | None
    """What `learn` fitted for this model and catalog."""
    sight: Sight | None
    """How photos are looked at for cars; None: as wholes."""

    @cached_property
    def scoring(self) -> str:
        """Digest of what decides scores besides model and catalog: calibration, how photos are fitted (squash192x192),
        which of their regions are looked at.

        A plus stands for what was learned from hand labels; the last word for which texts stand for other cars.
        """
        learned = f"+{self.learned.digest()}" if self.learned else ""
        sight = f"-{self.sight.digest}" if self.sight else ""
        fit = self.identity.split("/")[1]
        return f"{self.calibration.digest()}{learned}-{self.settings.candidates}-{fit}{sight}-{_OTHERS_BY}"

    @property
    def presence(self) -> Presence | None:
        """How it is weighed whether a box holds a car."""
        return presence_of(self.calibration, self.sight)

    @property
    def is_uncalibrated(self) -> bool:
        """Whether nobody has fitted the scores of this model to anything: neither who made it, nor this user."""
        is_default = self.calibration.fitted_on == Calibration().fitted_on
        return is_default and self.learned is None and bool(self.files.folder)

    def made(self, header: IndexHeader) -> bool:
        """Whether an index was made with this very model, catalog and calibration."""
        spec = self.files.spec
        return (
            (header.model.name, header.model.revision) == (spec.name, self.files.revision)
            and self.settings.dtype in ("auto", header.model.dtype)
            and header.catalog.sha256 == self.catalog.sha256
            and header.scoring == self.scoring
        )


@dataclass(frozen=True)
class Run(Basis):
    """Everything a run is decided by, before any photo is looked at."""

    gallery: Path
    place: Place
    old: Index | None
    stamp: Stamp | None
    """Of the old index: whether somebody else changed it since."""
    added: frozenset[str] = frozenset()
    """Ids of cars that a review has added to the catalog while the run was under way, and that it has not scored."""

    @cached_property
    def old_is_current(self) -> bool:
        """Whether the old index was made with this very model, catalog and calibration."""
        return self.old is not None and self.made(self.old.header)


def prepare(gallery: Path, place: Place, settings: Settings, progress: Progress) -> Run:
    """Reads the old index, and finds catalog, model and calibration by it and by the settings.

    Raises:
        IndexFileError, CatalogError, ModelError: one of them cannot be used.
    """
    stamp = stamp_of(place)
    old = read_index_if_there(place)
    return Run(gallery=gallery, place=place, old=old, stamp=stamp, **vars(basis_of(place, old, settings, progress)))


def basis_of(place: Place | None, old: Index | None, settings: Settings, progress: Progress) -> Basis:
    """Finds catalog, model and calibration by the old index (its header alone tells), and by the settings.

    ``place`` is where what was learned may lie; None: nowhere.

    Raises:
        CatalogError, ModelError: one of them cannot be used.
    """
    catalog = load_catalog(settings.catalog or default_catalog(old))
    if checkpoints.is_auto(settings.model):
        files = checkpoints.resolve_auto(old.header.model if old else None, progress, settings.model, settings.device)
    else:
        files = checkpoints.resolve(settings.model, progress)
    identity = encoders.identity(files, dtype=settings.dtype, fit=settings.fit)
    learned = _learned(place, identity, catalog, progress) if place is not None else None
    rejects = bool(catalog.other_cars or catalog.no_car)
    own = calibration_of(Path(files.folder) if files.folder else None, rejects=rejects)
    calibration = adjusted(
        learned.facts.calibration if learned else own,
        threshold=settings.threshold,
        margin=settings.margin,
        temperature=settings.temperature,
        mode=settings.mode,
    )
    # Not learned: labels say nothing of boxes that hold no car.
    calibration = msgspec.structs.replace(calibration, presence=own.presence)
    sight = sight_of(settings, files, old, progress)
    return Basis(settings, catalog, files, identity, calibration, learned, sight)


def judge_of(basis: Basis, store: Store, encoder: Callable[[], Encoder]) -> Judge:
    """What vectors are scored by. ``encoder`` is called only where neither cache has the texts."""
    shared = SharedTexts(shared_texts(basis.settings), basis.identity)
    classes = class_set_of(basis.catalog, store, shared, encoder)
    return Judge(
        basis.learned.applied(classes) if basis.learned else classes,
        model_facts(store, encoder),
        basis.calibration,
        basis.catalog.other_cars,
        basis.settings.candidates,
        basis.sight is not None,
        basis.presence,
    )


def reading_spec(basis: Basis) -> ImageSpec:
    """How photos are decoded: to cut cars from, or as the model wants them."""
    return PICTURE if basis.sight else encoders.image_spec(basis.files, fit=basis.settings.fit)


def _learned(place: Place, identity: str, catalog: Catalog, progress: Progress) -> Learned | None:
    """What `learn` fitted, if it is for this model and catalog; otherwise it is left alone, and said."""
    found = load_learned(place)
    if found is None or found.fits(model=identity, catalog=catalog.sha256):
        return found
    what = "model" if found.facts.model != identity else "catalog"
    if not found.facts.source:  # otherwise it is learned again at the end
        progress.note(f"learned: made with another {what}, not used; 'cartag learn' fits it to this one")
    return None


def check_is_one_file(place: Place) -> None:
    """A folder of shards, and whatever lies on object storage, is another engine's to write and to go on with.

    Raises:
        IndexFileError: it is one of these.
    """
    if place.uri is not None:
        raise IndexFileError(
            f"{place.uri}: an index on object storage is written by --engine ray; plain 'tag' writes a file"
        )
    if not has_shards(place):  # nearly never: then its bytes are not looked at twice
        return
    try:
        raw = msgspec.json.decode(place.index.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return  # whoever reads it says so
    if isinstance(raw, dict) and "shards" in raw and "photos" not in raw:
        raise IndexFileError(
            f"{place.index.parent}: holds an index of shards: go on with it by --engine ray, or make one file "
            "of it with 'cartag merge'"
        )


def check_not_empty(run: Run, photos: Walk) -> None:
    """A disk that is not mounted leaves an empty folder behind: an index elsewhere is not emptied for that.

    One that lies in the gallery is mounted with it.

    Raises:
        IndexFileError: no photo is to be seen, and the index knows some that it would lose.
    """
    lies_in_it = run.place.index.resolve().is_relative_to(run.gallery.resolve())
    if run.old is None or photos.photos or lies_in_it:
        return
    unseen = set(in_folders(run.old.photos, photos.unreadable_folders))
    lost = sum(record.missing is UNSET and record.path not in unseen for record in run.old)
    if lost:
        raise IndexFileError(
            f"{run.place.index}: knows {lost} photo{'s' if lost > 1 else ''}, and {run.gallery} holds none: mount its "
            "disk, or name another folder; if they are really gone, say so with --gone"
        )


def check_same_gallery(run: Run, photos: Walk) -> None:
    """An index elsewhere (``--index FILE``) does not know its gallery: another one's must not take a person's tags.

    Raises:
        IndexFileError: none of the index's photos is here, by size, so that renamed ones count as here.
    """
    old, elsewhere = run.old, run.place.index.resolve().parent != run.gallery.resolve()
    if old is None or not elsewhere or not photos.photos or not any(map(is_settled_by_human, old)):
        return
    sizes = {photo.size for photo in photos.photos}
    if not any(record.size in sizes for record in old):
        raise IndexFileError(
            f"{run.place.index}: holds a person's tags, and none of its {len(old)} photos is in {run.gallery}: it "
            "seems to be of another gallery; name another --index FILE, or move it away"
        )
