"""Views for training: photographs cut, zoomed and set side by side, and cars pasted into scenes, with their boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from models.recipe.labels import Item
from models.recipe.look.sources import Scene, Sources, fold_of_nothing

VIEW_HW = (160, 224)  # what the network is trained on
_KEPT, _FAINT = 0.5, 0.1  # share of a car to be seen from which it is one, and below which it is a mere detail
_SMALLEST = 0.035  # of the view's width: what is narrower is not asked for
Rect = tuple[float, float, float, float]  # left, top, right, bottom in fractions of a view


@dataclass
class View:
    """A picture (H, W, 3) uint8 and what is known of it, in fractions of its sides."""

    pixels: np.ndarray
    cars: list[Rect] = field(default_factory=list)
    unclear: list[Rect] = field(default_factory=list)
    is_blind: bool = False

    def add(self, rect: Rect, share: float) -> None:
        """A car of which this share is to be seen."""
        left, top, right, bottom = (min(1.0, max(0.0, side)) for side in rect)
        if right - left < 1e-3 or bottom - top < 1e-3 or share < _FAINT:
            return
        is_asked = share >= _KEPT and right - left >= _SMALLEST
        (self.cars if is_asked else self.unclear).append((left, top, right, bottom))


@dataclass(frozen=True)
class Mix:
    """Shares of the kinds of views; what is left shows no car."""

    photos: float
    side_by_side: float
    pasted: float
    details: float = 0.0


def any_view(sources: Sources, fold: int, folds: int, mix: Mix, rng: np.random.Generator) -> View:
    """A view of one of all kinds, made of photographs and scenery of this fold alone, or of what is `COMMON`."""
    chance = rng.random()
    if chance < mix.photos:
        view = photo_view(sources, _drawn(sources, fold, rng), VIEW_HW, rng)
    elif chance < mix.photos + mix.side_by_side:
        view = side_by_side(sources, fold, rng)
    elif chance < mix.photos + mix.side_by_side + mix.pasted:
        view = pasted(sources, fold, folds, rng)
    elif chance < mix.photos + mix.side_by_side + mix.pasted + mix.details:
        view = detail(sources, fold, rng)
    elif rng.random() < 0.3 and (empty := [s for s in sources.by_fold.get(fold, ()) if s.is_empty]):
        view = photo_view(sources, empty[rng.integers(len(empty))], VIEW_HW, rng)
    else:
        view = View(_fitted(sources.crop_pixels[_nothing(sources, fold, folds, rng).row], VIEW_HW, rng))
    view.pixels = recoloured(view.pixels, rng)
    if rng.random() < 0.5:
        view.pixels = np.ascontiguousarray(view.pixels[:, ::-1])
        view.cars = [(1 - r, t, 1 - le, b) for le, t, r, b in view.cars]
        view.unclear = [(1 - r, t, 1 - le, b) for le, t, r, b in view.unclear]
    return view


def _drawn(sources: Sources, fold: int, rng: np.random.Generator) -> Scene:
    """A photograph of the fold; those with several cars, and those without, more often."""
    scenes = sources.by_fold[fold]
    for _ in range(4):
        scene = scenes[rng.integers(len(scenes))]
        if scene.is_empty or len(scene.cars) > 1 or (not scene.is_blind and rng.random() < 0.6):
            break
    return scene


def _nothing(sources: Sources, fold: int, folds: int, rng: np.random.Generator) -> Item:
    while True:
        item = sources.nothing[rng.integers(len(sources.nothing))]
        if fold_of_nothing(item, folds) == fold:
            return item


def photo_view(sources: Sources, scene: Scene, hw: tuple[int, int], rng: np.random.Generator) -> View:
    """A part of a photograph, or all of it with something around."""
    chance = rng.random()
    size = (
        rng.uniform(0.85, 1.1) if chance < 0.45 else rng.uniform(0.3, 0.85) if chance < 0.75 else rng.uniform(1.1, 2.6)
    )
    ratio = math.exp(rng.uniform(-0.25, 0.25))
    w, h = size * ratio, size / ratio
    x, y = (rng.uniform(min(0, 1 - side), max(0, 1 - side)) for side in (w, h))
    if size < 0.85 and scene.cars and rng.random() < 0.7:  # a zoom goes to a car
        bx, by, bw, bh = scene.cars[rng.integers(len(scene.cars))].box
        x = float(np.clip(bx + bw * rng.uniform(0.1, 0.9) - w / 2, min(0, 1 - w), max(0, 1 - w)))
        y = float(np.clip(by + bh * rng.uniform(0.1, 0.9) - h / 2, min(0, 1 - h), max(0, 1 - h)))
    window = (x, y, x + w, y + h)
    view = View(_window(sources.pixels[scene.row], window, hw, rng), is_blind=scene.is_blind)
    for places, asked in ((scene.cars, True), (scene.unclear, False)):
        for place in places:
            rect, share = _seen(place.box, window)
            if asked:
                view.add(rect, share)
            elif share > 0.05:
                view.unclear.append(rect)
    return view


def detail(sources: Sources, fold: int, rng: np.random.Generator) -> View:
    """A small part of a car: a wheel, a badge, a line of the body. That is no car."""
    scene = next((s for s in (_drawn(sources, fold, rng) for _ in range(8)) if s.cars), None)
    if scene is None:
        return photo_view(sources, _drawn(sources, fold, rng), VIEW_HW, rng)
    x, y, w, h = max((place.box for place in scene.cars), key=lambda box: box[2] * box[3])
    share = math.sqrt(rng.uniform(0.01, _FAINT))  # of its sides
    w, h, x, y = w * share, h * share, x + w * rng.uniform(0.05, 0.95 - share), y + h * rng.uniform(0.05, 0.95 - share)
    return View(_window(sources.pixels[scene.row], (x, y, x + w, y + h), VIEW_HW, rng))


def _seen(box: tuple[float, float, float, float], window: Rect) -> tuple[Rect, float]:
    """A box as it lies in a window, cut off at its sides, and which share of it is left."""
    left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    w, h = window[2] - window[0], window[3] - window[1]
    rect = ((left - window[0]) / w, (top - window[1]) / h, (right - window[0]) / w, (bottom - window[1]) / h)
    cut = tuple(min(1.0, max(0.0, side)) for side in rect)
    area = (rect[2] - rect[0]) * (rect[3] - rect[1])
    share = (cut[2] - cut[0]) * (cut[3] - cut[1]) / area if area > 0 else 0.0
    return (cut[0], cut[1], cut[2], cut[3]), share


def _window(photo: np.ndarray, window: Rect, hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The window of a photograph, in fractions; beyond its sides lies one colour, or the photograph much blurred."""
    height, width = photo.shape[:2]
    left, top, right, bottom = window
    inner = [max(0, round(left * width)), max(0, round(top * height))]
    inner += [min(width, round(right * width)), min(height, round(bottom * height))]
    part = photo[inner[1] : max(inner[3], inner[1] + 2), inner[0] : max(inner[2], inner[0] + 2)]
    w, h = right - left, bottom - top
    x0, y0 = round((inner[0] / width - left) / w * hw[1]), round((inner[1] / height - top) / h * hw[0])
    x1, y1 = round((inner[2] / width - left) / w * hw[1]), round((inner[3] / height - top) / h * hw[0])
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    small = cv2.resize(part, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    if small.shape[:2] == hw:
        return small
    out = np.empty((*hw, 3), np.uint8)
    out[:] = rng.integers(0, 256, 3) if rng.random() < 0.5 else part.mean((0, 1))
    if rng.random() < 0.5:
        out = cv2.resize(cv2.blur(cv2.resize(part, (16, 12)), (5, 5)), hw[::-1])
    y0, x0 = max(0, y0), max(0, x0)
    small = small[: hw[0] - y0, : hw[1] - x0]
    out[y0 : y0 + small.shape[0], x0 : x0 + small.shape[1]] = small
    return out


def _fitted(pixels: np.ndarray, hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A picture without a car, or a part of it."""
    size = 1.0 if rng.random() < 0.4 else rng.uniform(0.5, 1.0)
    x, y = rng.uniform(0, 1 - size, 2)
    return _window(pixels, (x, y, x + size, y + size), hw, rng)


def side_by_side(sources: Sources, fold: int, rng: np.random.Generator) -> View:
    """Two or four photographs in one picture."""
    height, width = VIEW_HW
    rows, columns = ((1, 2), (2, 1), (2, 2))[rng.choice(3, p=(0.55, 0.15, 0.3))]
    view = View(np.zeros((height, width, 3), np.uint8))
    ys = [0, *(height // rows * i for i in range(1, rows)), height]
    at = round(width * rng.uniform(0.35, 0.65))
    xs = [0, at, width] if columns == 2 else [0, width]
    for r in range(rows):
        for c in range(columns):
            h, w = ys[r + 1] - ys[r], xs[c + 1] - xs[c]
            part = photo_view(sources, _drawn(sources, fold, rng), (h, w), rng)
            view.pixels[ys[r] : ys[r + 1], xs[c] : xs[c + 1]] = part.pixels
            own = (xs[c] / width, ys[r] / height, xs[c + 1] / width, ys[r + 1] / height)
            view.cars += [moved for rect in part.cars if (moved := _put(rect, own))[2] - moved[0] >= _SMALLEST]
            view.unclear += [_put(rect, own) for rect in part.unclear]
            if part.is_blind:
                view.unclear.append(own)
    return view


def _put(rect: Rect, within: Rect) -> Rect:
    w, h = within[2] - within[0], within[3] - within[1]
    left, top = within[0] + rect[0] * w, within[1] + rect[1] * h
    return left, top, within[0] + rect[2] * w, within[1] + rect[3] * h


@dataclass
class _Pasted:
    mask: np.ndarray  # (H, W) float32: how much of every pixel is this car


def pasted(sources: Sources, fold: int, folds: int, rng: np.random.Generator) -> View:
    """Cars of all sizes on scenery or on a photograph, some behind others."""
    height, width = VIEW_HW
    if rng.random() < 0.3 and fold in sources.by_fold:
        view = photo_view(sources, _drawn(sources, fold, rng), VIEW_HW, rng)
    else:
        view = View(_fitted(sources.crop_pixels[_nothing(sources, fold, folds, rng).row], VIEW_HW, rng))
        if rng.random() < 0.12:
            view.pixels[:] = rng.integers(0, 256, 3)
    there = [
        (rect, _rect_mask(rect, height, width), asked)
        for rects, asked in ((view.cars, True), (view.unclear, False))
        for rect in rects
    ]
    layers = [m for _, m, _ in there]
    count = 1 + int(rng.choice(5, p=(0.3, 0.28, 0.2, 0.12, 0.1)))
    common = math.exp(rng.uniform(math.log(0.09), math.log(0.85 if count < 3 else 0.5)))
    line = rng.uniform(0.45, 0.8)  # cars stand on one ground
    new: list[np.ndarray] = []
    for _ in range(count):
        placed = _placed(sources, fold, common * math.exp(rng.uniform(-0.5, 0.5)), line, rng)
        if placed is None:
            continue
        car, mask, soft = placed
        view.pixels = (soft[..., None] * car + (1 - soft[..., None]) * view.pixels).round().astype(np.uint8)
        layers.append(mask)
        new.append(mask)
    view.cars, view.unclear = [], []
    hidden = np.zeros((height, width), np.float32)
    left: list[tuple[np.ndarray, bool, Rect | None]] = [(m, asked, rect) for rect, m, asked in there]
    left += [(m, True, None) for m in new]
    for mask, asked, rect in reversed(left):  # from the front to the back
        seen = mask * (1 - hidden)
        total, inside = float(mask.sum()), float(seen.sum())
        hidden = np.maximum(hidden, mask)
        if total < 8:
            continue
        share = inside / total
        if not asked:
            assert rect is not None  # what is unclear lies in the photograph
            view.unclear.append(rect)
        elif share > 0.95 and rect is not None:
            view.cars.append(rect)
        else:
            ys, xs = np.nonzero(seen > 0.5)
            if len(ys):
                shown = (xs.min() / width, ys.min() / height, (xs.max() + 1) / width, (ys.max() + 1) / height)
                view.add(shown, share)
    return view


def _rect_mask(rect: Rect, height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), np.float32)
    mask[round(rect[1] * height) : round(rect[3] * height), round(rect[0] * width) : round(rect[2] * width)] = 1
    return mask


def _placed(
    sources: Sources, fold: int, size: float, line: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """A car in a view (H, W, 3), its mask (H, W), and how much of it is to be seen there (H, W), edges softened."""
    height, width = VIEW_HW
    chance = rng.random()
    if chance < 0.3 and fold in sources.by_fold:  # cut out of a photograph
        scene = next((s for s in (_drawn(sources, fold, rng) for _ in range(8)) if len(s.cars) == 1), None)
        if scene is None:
            return None
        x, y, w, h = scene.cars[0].box
        photo = sources.pixels[scene.row]
        rows, columns = photo.shape[:2]
        picture = photo[round(y * rows) : round((y + h) * rows), round(x * columns) : round((x + w) * columns)]
        if min(picture.shape[:2]) < 24:
            return None
        ratio, alpha = float(sources.aspects[scene.row]) * w / h, None
    else:
        item = sources.crops[rng.integers(len(sources.crops))]
        picture, ratio = sources.crop_pixels[item.row], float(sources.crop_aspects[item.row])
        alpha = sources.crop_alphas[item.row] if item.cutout else None
    squash = math.exp(rng.uniform(-0.25, 0.25))
    w = max(8, round(width * size))
    h = max(6, round(w / ratio * squash * (height / width) * 1.5))  # the view is of a photo of about 3:2
    if w > 1.4 * width or h > 1.4 * height:
        return None
    small = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA)
    shape = (
        np.ones((h, w), np.float32)
        if alpha is None
        else cv2.resize(alpha, (w, h), interpolation=cv2.INTER_AREA) / np.float32(255)
    )
    if alpha is None:  # the corners of a box are seldom car
        shape = _rounded(h, w, rng)
    left = round(rng.uniform(-0.25 * w, width - 0.75 * w))
    top = round(line * height - h * rng.uniform(0.55, 0.9) + rng.normal(0, 0.04) * height)
    car, mask = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
    y0, x0, y1, x1 = max(0, top), max(0, left), min(height, top + h), min(width, left + w)
    if y1 - y0 < 4 or x1 - x0 < 4:
        return None
    car[y0:y1, x0:x1] = small[y0 - top : y1 - top, x0 - left : x1 - left]
    mask[y0:y1, x0:x1] = shape[y0 - top : y1 - top, x0 - left : x1 - left]
    solid = (mask > 0.5).astype(np.float32)
    soft = mask if rng.random() < 0.4 else np.minimum(mask, cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.4, 2.0)))
    if mask.sum() < 0.5 * w * h * 0.6:
        return None
    return car, solid, soft


def _rounded(h: int, w: int, rng: np.random.Generator) -> np.ndarray:
    """The mask of a crop without one: its box with round corners, sometimes an ellipse of high power."""
    power = rng.uniform(3, 12)
    ys = np.abs(np.linspace(-1, 1, h, dtype=np.float32)) ** power
    xs = np.abs(np.linspace(-1, 1, w, dtype=np.float32)) ** power
    return (ys[:, None] + xs[None] <= 1.0).astype(np.float32)


def recoloured(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, colours, grey, blur, noise, JPEG's traces."""
    view = pixels.astype(np.float32)
    view *= rng.uniform(0.7, 1.3) * rng.uniform(0.93, 1.07, 3).astype(np.float32)
    mean = view.mean()
    view = mean + (view - mean) * rng.uniform(0.7, 1.3)
    grey = view.mean(2, keepdims=True)
    view = grey + (view - grey) * (0.0 if rng.random() < 0.06 else rng.uniform(0.6, 1.35))
    if rng.random() < 0.12:
        view = view[..., rng.permutation(3)]
    if rng.random() < 0.15:
        view = cv2.GaussianBlur(view, (0, 0), rng.uniform(0.4, 1.3))
    if rng.random() < 0.12:
        view = view + rng.normal(0, rng.uniform(2, 12), view.shape)
    out = np.clip(view, 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        coded = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])[1]
        out = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return out
