"""Stage 3, a program: trains the text tower against the image tower, which stays as it is but for its last projection.

Without --fold it begins the text tower on the image tower of stage 1, which every later one starts from, then trains
one for the image tower that ships, on all photographs, and one for that of every fold.
"""

from __future__ import annotations

import os
import time
from argparse import Namespace
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from models.recipe import checkpoints, options
from models.recipe.bank import Bank, as_shown, fill_bank, first_bank
from models.recipe.captions import NO_CAR_TEXTS
from models.recipe.lessons import Lessons
from models.recipe.names import OWN_CATALOG, Names, catalog_named
from models.recipe.progress import say
from models.recipe.projections import FIRST_SHARE, classifiers, last_projection, prototypes
from models.recipe.spellings import fitting, spellings
from models.recipe.text import TextTower, embed_texts, read_tokenizer, tokens_of, train_tokenizer, written_of
from models.recipe.towers import round_weights, stage1_tower, stage2_tower
from models.recipe.world import Part, World, chosen_parts

FIRST_STEPS, STEPS = 1000, 700  # on the tower of stage 1, once; on each tower of stage 2
RIDGE = 0.001


@dataclass(frozen=True)
class Run:
    """One training: its seed, its length, and what it is called."""

    seed: int
    steps: int
    tag: str


@dataclass(frozen=True)
class Pace:
    """How a text tower learns."""

    rate: float
    near_share: float  # of the loss: texts belong amid their pictures
    dropout: bool


# The first text tower learns what words say of many pictures, the next ones where the pictures of each name lie now:
# no dropout where each name has a place to be put to.
FIRST_PACE, PACE = Pace(8e-4, 3.0, dropout=True), Pace(1e-3, 10.0, dropout=False)


def train_first(world: World, steps: int = FIRST_STEPS) -> None:
    """Begins the text tower on the image tower of stage 1, which saw no whole photograph, for every fold to go on."""
    torch.set_num_threads(os.cpu_count() or 1)
    tokenizer = train_tokenizer(world.names, world.work / checkpoints.TOKENIZER)
    saved = checkpoints.stage3(world.work, checkpoints.FIRST)
    if saved.exists():
        return
    tower = stage1_tower(world.work)
    torch.manual_seed(world.seed)
    text = TextTower(len(tokenizer))
    round_weights(tower)
    bank = first_bank(world).of([])
    project = last_projection(bank, tower.project.weight.detach(), FIRST_SHARE)
    means = prototypes(bank, project, world.names)
    project = project.half().float()
    tower.set_projection(project)  # draws a random one first, and so moves on what dropout draws
    lessons = Lessons.of(world.names, bank, project, means, [])
    descend(text, tokenizer, lessons, FIRST_PACE, Run(world.seed, steps, checkpoints.FIRST))
    checkpoints.keep({"text": text.state_dict(), "project": project}, saved)


def train(world: World, part: Part, steps: int = STEPS) -> None:
    """Gives the tower of stage 2 its last projection, then trains the text tower on views of the training pictures.

    The rest of the image tower and the logit scale stay as they are.
    """
    torch.set_num_threads(os.cpu_count() or 1)
    saved = checkpoints.stage3(world.work, part.tag)
    if saved.exists():
        return
    tokenizer = read_tokenizer(world.work / checkpoints.TOKENIZER)
    first = checkpoints.read(checkpoints.stage3(world.work, checkpoints.FIRST), "stage3")
    tower = stage2_tower(world.work, part.tag)
    torch.manual_seed(world.seed)
    text = TextTower(len(tokenizer))
    round_weights(tower)
    bank = fill_bank(world, tower, part.train, part.tag).with_more(as_shown(world, tower, part.train, part.tag))
    project = last_projection(bank, tower.project.weight.detach())
    means = places(world, part, bank, project, tower.project.weight.detach())
    text.load_state_dict(first["text"])
    begin_at(text, tokenizer, world.names, means)
    project = project.half().float()
    lessons = Lessons.of(world.names, bank, project, means, part.train)
    descend(text, tokenizer, lessons, PACE, Run(world.seed, steps, part.tag))
    checkpoints.keep({"text": text.state_dict(), "project": project}, saved)


def places(world: World, part: Part, bank: Bank, project: Tensor, trained: Tensor) -> Tensor:
    """Unit vectors (names, 256), zero for a name without a picture: where the text of each name belongs.

    That is half-way between the mean of its pictures and where its classifier points. One knows the few photographs of
    a name, the other what told it from its neighbours in all the views of them; together they are right more often.
    """
    weights = checkpoints.read(checkpoints.heads(world.work, part.tag), "stage2")["heads"]["weights.name"]
    means = prototypes(bank, project, world.names)
    found = functional.normalize(means + classifiers(bank, project, trained, weights), dim=1)
    return found * means.any(1, keepdim=True)


def begin_at(text: TextTower, tokenizer: PreTrainedTokenizerFast, names: Names, means: Tensor) -> None:
    """Fits the text projection by ridge regression from what the text tower reads in each text to the mean (K, 256) of
    its pictures: a text tower begun on one image tower then fits the next, and has less to learn."""
    spelled, templates = spellings(names), catalog_named(OWN_CATALOG).templates
    pairs = [
        (n, t)
        for n, key in enumerate(names.keys)
        if means[n].any()
        for t in (fitting(spelled[key], templates) if key in spelled else NO_CAR_TEXTS[key.removeprefix("no car: ")])
    ]
    read = embed_texts(text, tokenizer, [t for _, t in pairs], pooled=True).double().numpy()
    wanted = means[[n for n, _ in pairs]].double().numpy()
    scatter = read.T @ read
    ridge = RIDGE * np.trace(scatter) / len(scatter) * np.eye(len(scatter))
    with torch.no_grad():
        text.project.weight.copy_(torch.from_numpy(np.linalg.solve(scatter + ridge, read.T @ wanted).T))


def descend(text: TextTower, tokenizer: PreTrainedTokenizerFast, lessons: Lessons, pace: Pace, run: Run) -> None:
    """Trains the text tower, and rounds it."""
    adam = torch.optim.AdamW(text.parameters(), lr=pace.rate, weight_decay=0.05, betas=(0.9, 0.98))
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, pace.rate, total_steps=run.steps, pct_start=0.1)
    total, began = 0.0, time.time()
    text.train(pace.dropout)
    for number in range(run.steps):
        step = lessons.draw(np.random.default_rng([run.seed, 4, number]))
        written = written_of(text, tokens_of(tokenizer, step.texts + step.more))
        loss, near = lessons.loss(step, written, pace.near_share)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(text.parameters(), 1.0)
        adam.step()
        cycle.step()
        total += float(loss.detach())
        if number % 100 == 99:
            so_far = f"stage 3 {run.tag} step {number + 1}/{run.steps} loss {total / 100:.3f} near {float(near):.3f}"
            say(f"{so_far} {time.time() - began:.0f} s")
            total = 0.0
    round_weights(text)


def run(world: World, args: Namespace) -> None:
    """The first one, on all photographs and in every fold, or in some folds."""
    train_first(world)
    for part in chosen_parts(world, args.folds, args.fold):
        train(world, part)


if __name__ == "__main__":
    options.run(options.with_folds(options.parser(__doc__)), run)
