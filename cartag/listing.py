"""What there is to choose from: the cars of a catalog or of an article, the models and detectors known by name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

from cartag.catalogs import catalog_file, load_catalog, slug, with_cars
from cartag.checkpoints import fetch_to, front, is_here, known_detectors, known_models, resolve_either
from cartag.errors import CatalogError, UsageError
from cartag.progress import Progress, Silent
from cartag.settings import DEFAULT_CATALOG, load_settings
from cartag.state import replace_file
from cartag.values import Car, Catalog, ModelKind

if TYPE_CHECKING:
    from cartag.catalogs import Mention


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model or a detector known by name."""

    name: str
    source: str
    licence: str | None
    input_size: int | None
    size_mb: int | None
    stanford_cars_top1: float | None
    """Zero-shot top-1 in percent as published; None where nobody published one."""
    here: bool
    """Whether it can be loaded now, without network."""
    note: str | None
    kind: ModelKind = "model"
    """`model`: tells cars apart (`--model`); `detector`: finds them in a photo (`--detector`)."""
    coco_ap: float | None = None
    """Of a detector: average precision on COCO in percent as published; None where nobody published one."""
    cost: float | None = None
    """Of a model: processor time of its image tower a photo on one core, as times of `clip-b32`."""
    is_on_front: bool = False
    """Whether no other model of the table is both as accurate, as published, and as cheap."""
    superseded_by: str | None = None
    """A model that is more accurate and costs less; the name is kept for indexes that were made with it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A catalog to be, drafted from an article."""

    name: str
    title: str
    mentions: tuple[Mention, ...]
    """Every time that a car is named, in the order of the text."""

    @property
    def cars(self) -> tuple[Car, ...]:
        """Each car once, in the order of the text."""
        return tuple({mention.car.id: mention.car for mention in self.mentions}.values())

    def of(self, car: Car) -> tuple[Mention, ...]:
        """Where the text names the car."""
        return tuple(mention for mention in self.mentions if mention.car.id == car.id)


@overload
def cars(
    catalog: str | Path | None = None, *, add: str | Sequence[str] = (), to: str | Path | None = None
) -> Catalog: ...
@overload
def cars(catalog: None = None, *, from_text: str | Path) -> Draft: ...
def cars(
    catalog: str | Path | None = None,
    *,
    from_text: str | Path | None = None,
    add: str | Sequence[str] = (),
    to: str | Path | None = None,
) -> Catalog | Draft:
    """Reads and checks a catalog: a shipped one by name, or a YAML file; or drafts one of the cars an article names.

    With ``add`` it is written with more cars, and the new one returned.

    Args:
        catalog: a shipped catalog's name or a YAML file; None: the one of the settings, else `mille-miglia-2013`.
        from_text: an article in any language of Latin script (plain text, HTML, or a web archive of a page: `.mhtml`,
            `.webarchive`), to draft a catalog from instead. A draft without cars is no error. Takes the place of
            ``catalog``.
        add: names of cars to write into the catalog's file, a line each at the end of its list; everything else in it,
            comments too, stays as it is.
        to: a new file to write instead. A catalog that ships with cartag is not changed, so it needs one.

    Raises:
        CatalogError: no such catalog, or a mistake in it, with its place; or a car cannot be added.
        UsageError: ``to`` without anything to add, or not given where it is needed.
        SettingsError: the settings file or a ``CARTAG_*`` variable is wrong.
        ArticleError: the article is not there, or not readable as text.
    """
    if from_text is None:
        named = catalog or load_settings().catalog or DEFAULT_CATALOG
        added = (add,) if isinstance(add, str) else tuple(add)
        if to is not None and not added:
            raise UsageError("--to is for a catalog with another car: name the car with --add")
        return _add(named, added, to) if added else load_catalog(named)
    from cartag.catalogs import find_mentions, read_article  # noqa: PLC0415 - loads the gazetteer's matcher, which no other command needs

    file = Path(from_text)
    return Draft(
        name=slug(file.stem) or "article",
        title=f"Cars named in {file.name}",
        mentions=tuple(find_mentions(read_article(file))),
    )


def _add(named: str | Path, names: Sequence[str], to: str | Path | None) -> Catalog:
    own = catalog_file(named)
    target = Path(to) if to is not None else own
    if target is None:
        raise UsageError(f"{named} ships with cartag and is not changed: name a new file with --to my-cars.yaml")
    if to is not None and os.path.lexists(target):
        raise UsageError(
            f"--to {target}: is there already; name a new file, or add to that one with --catalog {target}"
        )
    catalog, text = with_cars(named, names, target)
    try:
        replace_file(target, text.encode("utf-8"))
    except OSError as e:
        raise CatalogError(f"{target}: cannot be written ({e.strerror}); nothing was changed") from e
    return catalog


def models() -> list[ModelInfo]:
    """The models and the detectors known by name, and which of them are here."""
    best = {spec.name for spec in front(known_models().values())}
    return [
        ModelInfo(
            name=spec.name,
            source=spec.source,
            licence=spec.licence,
            input_size=spec.input_size,
            size_mb=spec.size_mb,
            stanford_cars_top1=spec.stanford_cars_top1,
            here=is_here(spec),
            note=spec.note,
            kind=spec.kind,
            coco_ap=spec.coco_ap,
            cost=spec.cost,
            is_on_front=spec.name in best,
            superseded_by=spec.superseded_by,
        )
        for spec in (*known_models().values(), *known_detectors().values())
    ]


def fetch(name: str, to: Path | str | None = None, *, force: bool = False, progress: Progress | None = None) -> Path:
    """Fetches a model or a detector for use without network and returns the folder it lies in.

    Without ``to`` that is the hub's cache on this machine, where ``--model NAME`` or ``--detector NAME`` finds it; with
    ``to`` its files are put into that folder, to be carried to another machine and used there by the folder's name.
    Files of these names that lie there with another content stay, unless ``force`` replaces them.

    Raises:
        ModelError: the model is unknown, or neither here nor to be fetched; or the folder cannot be written.
        ForeignFileError: a file of another content is in the way. Nothing was written.
    """
    progress = progress or Silent()
    if to is None:
        return Path(resolve_either(name, progress).folder)
    return fetch_to(name, Path(to), progress, force=force)
