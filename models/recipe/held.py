"""What a training says of the photographs that it did not see: its answers, as `measure` keeps them for `report`."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cartag.scoring.scoring import ClassSet
from models.recipe.photos import Photo
from models.recipe.progress import say
from models.recipe.world import World


@dataclass
class Held:
    """Held-out photographs of one fold: cosines to the classes of the tool, and ranks among all names."""

    fold: int  # -1: none
    photos: list[Photo]
    vectors: np.ndarray  # (N, 256) unit embeddings
    classes: ClassSet  # of the first catalog, by the fold's own text tower
    ranks: np.ndarray  # (N,) rank of the right name among all names with training photographs, -1 where none
    taught: np.ndarray  # (N,) how many photographs taught its name
    by_crops: np.ndarray  # (N,) bool: crops of the same car taught it too
    free_text: dict[str, float]  # precision at ten of descriptions, searched among these photographs
    strangers: ClassSet  # of a catalog of names that no training picture has
    wide: ClassSet  # of the wide catalog

    @property
    def cosines(self) -> np.ndarray:
        """(N, classes): to cars, other cars, no-car prompts."""
        return self.vectors @ self.classes.embeddings.T


def place(work: Path, tag: str) -> Path:
    """Where the answers of the training `tag` lie, without ending: `held-0of3` of `fold0of3`."""
    return work / f"held-{tag.removeprefix('fold')}"


def write(held: Held, to: Path) -> None:
    """Keeps them: TO.npz and TO.json."""
    np.savez(
        f"{to}.npz",
        vectors=held.vectors,
        classes=held.classes.embeddings,
        ranks=held.ranks,
        taught=held.taught,
        by_crops=held.by_crops,
        strangers=held.strangers.embeddings,
        wide=held.wide.embeddings,
        rows=[p.row for p in held.photos],
    )
    rest = {
        "cars": held.classes.cars,
        "others": held.classes.others,
        "free_text": held.free_text,
        "stranger_cars": held.strangers.cars,
        "stranger_others": held.strangers.others,
        "wide_cars": held.wide.cars,
        "wide_others": held.wide.others,
    }
    Path(f"{to}.json").write_text(json.dumps(rest), encoding="utf-8")


def read(world: World, folds: int) -> list[Held]:
    """What was kept of the folds that are finished."""
    by_row = {p.row: p for p in world.photos}
    found = []
    for k in range(folds):
        to = place(world.work, f"fold{k}of{folds}")
        if not Path(f"{to}.json").exists():
            say(f"fold {k} is not trained: its photographs are in no figure")
            continue
        kept, rest = np.load(f"{to}.npz"), json.loads(Path(f"{to}.json").read_text(encoding="utf-8"))
        found.append(
            Held(
                fold=k,
                photos=[by_row[int(r)] for r in kept["rows"]],
                vectors=kept["vectors"],
                classes=ClassSet(tuple(rest["cars"]), kept["classes"], rest["others"]),
                ranks=kept["ranks"],
                taught=kept["taught"],
                by_crops=kept["by_crops"],
                free_text=rest["free_text"],
                strangers=ClassSet(tuple(rest["stranger_cars"]), kept["strangers"], rest["stranger_others"]),
                wide=ClassSet(tuple(rest["wide_cars"]), kept["wide"], rest["wide_others"]),
            )
        )
    return found


def halves(held: Held) -> list[Held]:
    """One held-out set as two, groups kept whole, so that each half is decided by what was fitted to the other."""
    groups = sorted({p.group for p in held.photos})
    first = np.array([groups.index(p.group) % 2 == 0 for p in held.photos])
    return [
        replace(
            held,
            photos=[p for p, m in zip(held.photos, mask, strict=True) if m],
            vectors=held.vectors[mask],
            ranks=held.ranks[mask],
            taught=held.taught[mask],
            by_crops=held.by_crops[mask],
        )
        for mask in (first, ~first)
    ]
