"""A trial of all stages on made-up pictures, in about a minute."""

from __future__ import annotations

import csv
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from models.recipe import export, stage1, stage2, stage3
from models.recipe.cuts import shown
from models.recipe.model import Model
from models.recipe.progress import say
from models.recipe.world import Part, read_world


def make_toy_data(to: Path, seed: int) -> None:
    """A folder like the real one, of blocks and stripes: every name a colour and a shape."""
    rng = np.random.default_rng(seed)
    looks = {
        n: (rng.integers(40, 255, 3), int(rng.integers(2, 9)))
        for n in ("Pagani Huayra", "Ferrari F40", "Audi TT Coupe", "BMW M5 Sedan", "Porsche Macan", "Porsche 911", "")
    }

    def picture(name: str, path: Path) -> None:
        pixels = rng.integers(90, 160, (96, 128, 3)).astype(np.uint8)
        colour, stripes = looks[name]
        if name:
            pixels[24:72, 16:112] = colour
            pixels[24:72, 16 : 112 : stripes * 2] = 255 - colour
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)

    train, photos, boxes = [], [], []
    for i in range(240):
        kind = i % 6
        name = ("Audi TT Coupe", "BMW M5 Sedan", "Audi TT Coupe", "BMW M5 Sedan", "Porsche Macan", "")[kind]
        file = ("stanford", "stanford", "stanford", "stanford", "porsche", "imagenet")[kind]
        file += f"/{i:05d}.jpg" if kind < 5 else f"/n0{2000000 + i}_thing.jpg"
        picture(name, to / "train" / file)
        train.append(
            [
                file,
                name or "thing",
                "2012" if name else "",
                "red" if kind == 4 else "",
                "photo" if kind < 4 else "cut-out" if kind == 4 else "no car",
                "made up",
            ]
        )
    for i in range(48):
        name = ("Pagani Huayra", "Ferrari F40", "Porsche 911", "")[i % 4]
        picture(name, to / "photos" / f"{i}.jpg")
        if name:
            boxes.append([f"{i}.jpg", "car", "car", "0.9", "0.125", "0.25", "0.75", "0.5"])
        photos.append(
            [
                f"{i}.jpg",
                name or "none",
                ("pagani-huayra", "other", "other", "none")[i % 4],
                "1",
                "photo",
                "",
                f"repo {i % 8}",
                "",
                "",
            ]
        )
    for file, head, rows in (
        ("train.csv", "file,name,year,colour,kind,source", train),
        ("photos.csv", "file,label,car,n_cars_visible,kind,licence,source_repo,source_path,note", photos),
        ("boxes.csv", "file,kind,class,score,x,y,w,h", boxes),
    ):
        with (to / file).open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([head.split(","), *rows])


def smoke(seed: int, *, bfloat16: bool = False) -> int:
    """All stages on made-up pictures; 1 unless the losses fall and the export loads."""
    with tempfile.TemporaryDirectory() as folder:
        data, work = Path(folder) / "data", Path(folder) / "work"
        make_toy_data(data, seed)
        world = replace(read_world(data, work, seed, 0), is_trial=True, bfloat16=bfloat16)
        part = Part("smoke", world.photos, [])
        losses = stage1.train(world, replace(stage1.CYCLES[0], looks=[((64, 80), 0.2)] * 4), pretrained=False)
        for cycle in stage1.CYCLES[1:]:
            stage1.train(world, replace(cycle, looks=[((64, 80), 0.2)]), pretrained=False)
        halves = [Part(f"half{k}", world.photos[k::2], []) for k in range(2)]
        cycles, branches = (
            [replace(cycle, sizes=[((64, 80), 3)]) for cycle in some] for some in (stage2.CYCLES, stage2.BRANCHES[:2])
        )
        for half in halves:
            stage2.train(world, half, cycles, branches)
        stage2.merge(world, part, halves, cycles[-1])
        stage3.train_first(world, 8)
        stage3.train(world, part, 12)
        model = Model.read(world, part.tag)
        export.export(model, work / "model")
        cosine = export.check_export(model, work / "model", shown(world.wholes, range(4), [[]] * 4))
        say(f"losses per epoch {[round(x, 3) for x in losses]}, export cosine {cosine:.6f}")
        return 0 if losses[-1] < 0.9 * losses[0] and cosine > 0.999 else 1
