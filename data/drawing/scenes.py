"""What is drawn: the Scene value, random scenes for training, and how a scene becomes a picture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from .cars import CATALOG, COUNTACH_OPEN, OTHERS
from .model import Car, Paint
from .render import Camera, Stand, draw_car, ground_shadow, lamp_glow
from .scenery import LIGHTS, PLACES, paint_place, weather

_FOCAL = 1.6  # focal length as a fraction of the long side of the picture


@dataclass(frozen=True)
class Standing:
    """One car in a scene: which, how painted, how turned (degrees), and where on the picture."""

    car: Car
    paint: Paint
    yaw: float  # 0: side, nose to the left; 90: nose to the viewer; 180: nose to the right; -90: tail to the viewer
    at: float = 0.5  # middle of the car, as a fraction of the picture's width
    size: float = 0.7  # length of the car side on, as a fraction of the picture's width
    steer: float = 0.0
    roll: float = 0.0


@dataclass(frozen=True)
class Scene:
    """One picture. `labels`: catalog ids, or ("none",) or ("unknown",); `caption`: one English sentence."""

    labels: tuple[str, ...]
    caption: str
    place: str
    light: str
    seed: tuple[int, ...]
    cars: tuple[Standing, ...] = ()
    upright: bool = False
    horizon: float = 0.42
    eye: float = 1.25
    away: bool = False


def draw(scene: Scene, width: int) -> Image.Image:
    """Draw a scene `width` pixels wide (an upright one: two thirds of that wide and `width` high)."""
    long, short = width, round(width * 2 / 3)
    w, h = (short, long) if scene.upright else (long, short)
    factor = 1.5
    rng = np.random.default_rng([*scene.seed, 77])
    wide, high = round(w * factor), round(h * factor)
    camera = Camera(wide, high, _FOCAL * long * factor, wide / 2, scene.horizon * high, scene.eye)
    light = LIGHTS[scene.light]
    placed = [(one, _stand(one, camera)) for one in scene.cars]
    clear = max((_back(one, stand) for one, stand in placed), default=0.0)
    canvas = paint_place(camera, light, PLACES[scene.place], scene.away, clear, rng)
    placed.sort(key=lambda pair: -pair[1].depth)
    for one, stand in placed:
        if light.wet > 0.5:
            draw_car(canvas, camera, light, one.car, one.paint, stand, one.roll, one.steer, flip=True)
        canvas *= 1 - ground_shadow(camera, light, one.car, stand)[..., None]
        draw_car(canvas, camera, light, one.car, one.paint, stand, one.roll, one.steer)
        lamp_glow(canvas, camera, light, one.car, stand)
    image = Image.fromarray((np.clip(canvas, 0, 1) * 255).astype(np.uint8)).resize((w, h), Image.Resampling.HAMMING)
    return weather(image, light, rng)


def _stand(one: Standing, camera: Camera) -> Stand:
    depth = camera.focal * one.car.length / (one.size * camera.width)
    x = (one.at * camera.width - camera.centre) * depth / camera.focal
    return Stand(float(np.radians(one.yaw)), x, depth)


def _back(one: Standing, stand: Stand) -> float:
    """Depth of a car's far side, and a step more."""
    return stand.depth + abs(float(np.sin(stand.yaw))) * one.car.length / 2 + abs(float(np.cos(stand.yaw))) + 1.2


def _vary(rng: np.random.Generator, paint: Paint) -> Paint:
    """The same paint, a little lighter, darker or warmer."""
    shift = rng.normal(0, .025, 3) + rng.normal(0, .035)
    red, green, blue = np.clip(np.array(paint.body) + shift, .02, .98).tolist()
    return replace(paint, body=(red, green, blue))


def _random_standing(rng: np.random.Generator, car: Car, at: float, size: float) -> Standing:
    paint = _vary(rng, car.paints[rng.choice(len(car.paints), p=_weights(len(car.paints)))])
    kind = rng.random()
    if kind < .30:
        yaw = rng.normal(0, 9)
    elif kind < .72:
        yaw = rng.uniform(18, 62)
    elif kind < .84:
        yaw = rng.normal(88, 9)
    elif kind < .95:
        yaw = -rng.uniform(18, 62)
    else:
        yaw = -90 + rng.normal(0, 9)
    if rng.random() < .5:
        yaw = 180 - yaw
    turn = abs(float(np.sin(np.radians(yaw))))
    return Standing(car, paint, float(yaw), at, size * (1 + .55 * turn**3), float(rng.normal(0, .12)),
        float(rng.random()))


def _weights(count: int) -> list[float]:
    """Half of the weight on a car's own colour, the first; the rest shared by the others."""
    return [1.0] if count == 1 else [0.5] + [0.5 / (count - 1)] * (count - 1)


def random_scene(seed: int, i: int) -> Scene:
    """Scene number `i` of the endless series `seed`; never one of the gallery's."""
    rng = np.random.default_rng([seed, i, 1927])
    names = sorted(PLACES)
    place = names[rng.integers(len(names))]
    lights = ("noon", "morning", "golden hour", "dusk", "rain", "night")
    light = "tunnel" if place == "tunnel" else lights[rng.choice(6, p=[.30, .18, .22, .10, .12, .08])]
    kind = rng.random()
    upright = bool(rng.random() < .12)
    cars: list[Standing] = []
    labels: tuple[str, ...] = ("none",)
    catalog = sorted(CATALOG)
    if kind < .80:
        pair = rng.random() < .16 and not upright
        chosen = [str(c) for c in rng.choice(catalog, 2 if pair else 1, replace=False)]
        labels = tuple(chosen)
        if pair:
            big = float(rng.uniform(.44, .60))
            cars = [_random_standing(rng, _body(rng, chosen[0]), float(rng.uniform(.28, .36)), big),
                    _random_standing(rng, _body(rng, chosen[1]), float(rng.uniform(.66, .76)),
                        big * float(rng.uniform(.62, .8)))]
        else:
            cars = [_random_standing(rng, _body(rng, chosen[0]), float(rng.uniform(.40, .60)), _size(rng, upright))]
    elif kind < .92:
        labels = ("unknown",)
        car = OTHERS[rng.integers(len(OTHERS))]
        cars = [_random_standing(rng, car, float(rng.uniform(.40, .60)), _size(rng, upright) * .92)]
    horizon, eye = float(rng.uniform(.36, .50)), float(rng.uniform(.95, 1.7))
    low = float(rng.uniform(.90, .98)) if rng.random() < .85 else 1.12
    cars = [_fitted(one, horizon, eye, low, upright) for one in cars]
    lengthways = bool(cars) and abs(float(np.sin(np.radians(cars[0].yaw)))) > .75
    away = lengthways and place in ("hills", "wheat", "vineyard", "sea", "lake", "rock")
    return Scene(labels, "A random drawing.", place, light, (seed, i), tuple(cars), upright, horizon, eye, away)


def _fitted(one: Standing, horizon: float, eye: float, low: float, upright: bool) -> Standing:
    """The same car, further away if need be, so that its nearest wheel stands above `low` of the picture's height."""
    width, height = (2 / 3, 1.0) if upright else (1.0, 2 / 3)
    nearest = _FOCAL * eye / ((low - horizon) * height)
    turn = np.radians(one.yaw)
    depth = nearest + 0.5 * one.car.length * abs(float(np.sin(turn))) + 0.9 * abs(float(np.cos(turn)))
    return replace(one, size=min(one.size, _FOCAL * one.car.length / (depth * width)))


def _size(rng: np.random.Generator, upright: bool) -> float:
    size = float(rng.uniform(.50, .92)) if rng.random() < .85 else float(rng.uniform(.30, .50))
    return size * 1.4 if upright else size


def _body(rng: np.random.Generator, car_id: str) -> Car:
    if car_id == "lamborghini-countach" and rng.random() < .2:
        return COUNTACH_OPEN
    return CATALOG[car_id]
