"""Skies, roads and the country between Brescia and Rome: everything in a picture that is not a car."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .geometry import Array, smoothstep
from .model import Rgb
from .render import Camera, Light

LIGHTS: dict[str, Light] = {
    light.name: light for light in (
        Light("noon", (.30, .52, .84), (.78, .88, .96), (-.5, -.55, .8), (.56, .54, .50), .60, (.76, .80, .82),
            shadow=.45),
        Light("morning", (.50, .66, .85), (.95, .93, .88), (.7, -.5, .5), (.50, .46, .38), .62, (.84, .84, .82),
            shadow=.3),
        Light("golden hour", (.36, .47, .70), (1.0, .80, .54), (-.9, -.45, .30), (.78, .55, .30), .48,
            (.93, .76, .58),
              (1.0, .93, .84), shadow=.45),
        Light("dusk", (.15, .17, .37), (.88, .50, .42), (.8, -.3, .25), (.32, .22, .19), .60, (.55, .44, .50),
              (.95, .92, 1.0), shadow=.25, lamps=.75),
        Light("rain", (.50, .54, .58), (.72, .74, .76), (.1, -.3, 1.0), (.12, .12, .12), .62, (.66, .69, .71),
            (.9, .93, .96),
              shadow=.2, wet=.9, lamps=.4),
        Light("night", (.03, .045, .12), (.13, .15, .30), (-.4, -.75, .6), (.50, .42, .31), .40, (.17, .17, .24),
              (1.0, .95, .85), shadow=.3, wet=.25, lamps=1.0, stars=True),
        Light("tunnel", (.30, .27, .22), (.46, .40, .30), (.0, -.5, 1.0), (.34, .30, .20), .42, (.42, .37, .28),
            (1.0, .93, .8),
              shadow=.35, wet=.2, lamps=.8),
    )
}


@lru_cache(maxsize=1)
def _noise() -> Array:
    """A 512 x 512 tile of cloudy noise in [0, 1], the same on every run."""
    rng = np.random.default_rng(20130516)
    total = np.zeros((512, 512), dtype=np.float32)
    for cells, weight in ((4, 1.0), (8, .6), (16, .4), (32, .28), (64, .2), (128, .14), (256, .1), (512, .08)):
        grid = Image.fromarray(np.tile(rng.random((cells, cells), dtype=np.float32), (3, 3)))
        big = grid.resize((1536, 1536), Image.Resampling.BICUBIC).crop((512, 512, 1024, 1024))
        total += weight * np.asarray(big)
    total -= total.min()
    return total / total.max()


def _sample(x: Array, y: Array) -> Array:
    """The noise tile at integer-rounded coordinates, repeated without end."""
    return _noise()[y.astype(np.int32) & 511, x.astype(np.int32) & 511]


@dataclass
class Painter:
    """Draws things standing on the ground into an image, coloured by the light and by distance."""

    image: Image.Image
    camera: Camera
    light: Light
    rng: np.random.Generator
    push: float = 0.0  # everything stands this much further away, to make room for the cars

    def __post_init__(self) -> None:
        self.pen = ImageDraw.Draw(self.image)
        light = self.light
        sky = np.array(light.sky_top) * 0.3 + np.array(light.sky_low) * 0.3 + 0.3 * np.array(light.haze)
        self.level = light.ambient * (0.35 + sky) * 0.9 + 0.62 * np.array(light.sun_colour)

    def tone(self, colour: Rgb, depth: float, shade: float = 1.0) -> tuple[int, int, int]:
        """A colour as it looks in this light from that far away."""
        far = 1 - np.exp(-depth / 420)
        lit = np.array(colour) * self.level * shade
        mixed = lit * (1 - far) + np.array(self.light.haze) * far
        r, g, b = (np.clip(mixed, 0, 1) * 255).astype(int).tolist()
        return r, g, b

    def at(self, x: float, depth: float, z: float = 0.0) -> tuple[float, float]:
        """Picture position of a place."""
        c = self.camera
        depth = depth + self.push
        return c.centre + x * c.focal / depth, c.horizon + (c.eye - z) * c.focal / depth

    def box(self, x0: float, x1: float, z0: float, z1: float, depth: float, fill: tuple[int, int, int]) -> None:
        """An upright rectangle that faces the camera."""
        a, b = self.at(x0, depth, z1), self.at(x1, depth, z0)
        self.pen.rectangle((min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])), fill=fill)

    def shape(self, points: list[tuple[float, float]], depth: float, fill: tuple[int, int, int]) -> None:
        """A flat upright polygon at one depth, points (x, z)."""
        self.pen.polygon([self.at(x, depth, z) for x, z in points], fill=fill)

    def ball(self, x: float, z: float, rx: float, rz: float, depth: float, fill: tuple[int, int, int]) -> None:
        """An ellipse at one depth."""
        a, b = self.at(x - rx, depth, z + rz), self.at(x + rx, depth, z - rz)
        self.pen.ellipse((a[0], a[1], max(b[0], a[0]), max(b[1], a[1])), fill=fill)

    def span(self, depth: float) -> tuple[float, float]:
        """Leftmost and rightmost x in view at a depth."""
        c = self.camera
        depth = depth + self.push
        return (-c.centre * depth / c.focal, (c.width - c.centre) * depth / c.focal)


def sky(camera: Camera, light: Light, rng: np.random.Generator) -> Array:
    """The sky over the whole canvas: gradient, glow of the sun, clouds, stars."""
    h, w = camera.height, camera.width
    up = np.clip((camera.horizon - np.arange(h, dtype=np.float32)) / (0.62 * h), 0, 1)[:, None, None]
    top, low = np.array(light.sky_top, dtype=np.float32), np.array(light.sky_low, dtype=np.float32)
    canvas = np.empty((h, w, 3), dtype=np.float32)
    canvas[:] = low + (top - low) * up ** 0.8
    rows = max(int(camera.horizon) + 2, 2)
    y, x = np.arange(rows, dtype=np.float32)[:, None], np.arange(w, dtype=np.float32)[None, :]
    rows = min(rows, h)
    y = y[:rows]
    depth = 1 / (0.06 + np.clip((camera.horizon - y) / h, 0, 1))
    shift = rng.integers(0, 512, 2)
    cloud = _sample(shift[0] + (x - w / 2) / w * 44 * depth, shift[1] + 36 * depth + 0 * x)
    cover = {"rain": .30, "night": .60, "tunnel": 2.0}.get(light.name, .50 + .12 * rng.random())
    amount = smoothstep(cover, cover + .28, cloud) * np.clip((camera.horizon - y) / (0.12 * h), 0, 1)
    lit = np.clip(low * 1.04 + 0.05, 0, 1) if light.name != "rain" else np.array([.60, .62, .64], dtype=np.float32)
    canvas[:rows] += (lit - canvas[:rows]) * (0.72 * amount)[..., None]
    glow_x = w * (0.5 + 0.45 * light.sun[0])
    d = np.hypot((x - glow_x) / w, (y - camera.horizon * (1 - light.sun[2] * .8)) / w)
    canvas[:rows] += (0.5 * np.exp(-d * 5))[..., None] * np.array(light.sun_colour, dtype=np.float32)
    if light.stars:
        count = 160
        sx, sy = rng.integers(0, w - 2, count), rng.integers(0, max(rows - 2, 1), count)
        canvas[sy, sx] += rng.random((count, 1), dtype=np.float32)
        canvas[sy, sx + 1] += 0.5 * rng.random((count, 1), dtype=np.float32)
    return canvas


_SURFACES: dict[str, Rgb] = {"asphalt": (.40, .40, .41), "cobbles": (.50, .47, .43), "stone": (.66, .60, .52),
                             "gravel": (.80, .74, .63), "grass": (.38, .46, .20), "wheat": (.80, .66, .32),
                             "dirt": (.55, .43, .30),
                             "sand": (.80, .72, .56), "water": (.13, .42, .56), "dark": (.25, .25, .26)}


def ground(canvas: Array, camera: Camera, light: Light, surface: str, verge: str, edge: float, away: bool,
           level: Array, rng: np.random.Generator) -> None:
    """Paint the ground below the horizon (in place): the road's surface and, past its edge, the verge.

    `away`: the road runs from the viewer, `edge` metres to each side; else across, up to a depth of `edge`.
    """
    first = max(int(camera.horizon) + 1, 0)
    if first >= camera.height:
        return
    row = np.arange(first, camera.height, dtype=np.float32)[:, None]
    depth = camera.focal * camera.eye / np.maximum(row - camera.horizon, 0.5)
    x = (np.arange(camera.width, dtype=np.float32)[None, :] - camera.centre) * depth / camera.focal
    shift = int(rng.integers(0, 512))
    fine = _sample(x * 40 + shift, depth * 40 + 0 * x) - 0.5
    coarse = _sample(x * 6 + shift, depth * 6 + 0 * x) - 0.5
    near = np.clip(18 / depth, 0.12, 1)
    value = 1 + (0.26 * fine * near + 0.22 * coarse)
    if surface in ("cobbles", "stone"):
        size = 0.16 if surface == "cobbles" else 0.62
        line = np.floor(depth / size)
        b = x / (size * 1.25) + 0.5 * (line % 2)
        joint = np.minimum(np.minimum(b % 1, 1 - b % 1) * 1.25,
            np.minimum((depth / size) % 1, 1 - (depth / size) % 1))
        sharp = np.clip((camera.focal * camera.eye * size / depth**2 - 1.2) / 4, 0, 1)
        stone = _sample(np.floor(b) * 37, line * 53 + 0 * x) - 0.5
        value = value + sharp * (0.5 * stone - 0.38 * (1 - smoothstep(0.04, 0.16, joint)))
    colour = np.array(_SURFACES[surface], dtype=np.float32) * value[..., None]
    if surface in ("asphalt", "dark"):
        mark = np.abs(np.abs(x) - edge + 0.35) < 0.07 if away else np.abs(depth + 0 * x - edge + 0.45) < 0.10
        colour = np.where(mark[..., None], np.float32(.86), colour)
    beyond = smoothstep(-0.12, 0.12, (np.abs(x) if away else depth + 0 * x) - edge + 0.5 * coarse)
    tuft = 1 + 0.5 * fine * np.clip(30 / depth, .2, 1) + 0.5 * coarse
    if verge == "water":
        ripple = _sample(x * 3 + 0 * depth, 30 * np.log(depth) * 6 + 0 * x) - 0.5
        tuft = 1 + 0.55 * ripple + 0.9 * smoothstep(.16, .34, ripple)
    colour = colour + (np.array(_SURFACES[verge], dtype=np.float32) * tuft[..., None] - colour) * beyond[..., None]
    colour = colour * level.astype(np.float32)
    far = np.minimum(1 - np.exp(-depth / 420), 0.45)[..., None]
    haze = np.array(light.haze, dtype=np.float32)
    colour = colour * (1 - far) + haze * far
    if light.wet:
        mirror = canvas[np.clip(2 * int(camera.horizon) - np.arange(first, camera.height), 0,
            first - 1)] if first > 1 else 0
        puddle = smoothstep(-0.05, 0.25, coarse + 0.1)[..., None] * np.float32(light.wet)
        colour = colour * (1 - 0.35 * light.wet) + (mirror * 0.62 - colour * 0.3) * puddle * (0.35 + 0.65 * np.clip(
            depth / 30, 0, 1))[..., None]
    canvas[first:] = colour


# --- things -------------------------------------------------------------------------------------------------------


def hills(p: Painter, depth: float, height: float, colour: Rgb, rough: float = 1.0, jagged: bool = False) -> None:
    """A line of hills or mountains along the horizon."""
    x0, x1 = p.span(depth)
    x = np.linspace(x0, x1, 140)
    t = np.linspace(0, 1, 140)
    z = np.zeros(140)
    waves = ((1.3, 1), (2.9, .55), (5.7, .28)) if not jagged else ((1.7, 1), (4.1, .5), (9, .24), (21, .09),
        (43, .04))
    for k, weight in waves:
        wave = np.sin(2 * np.pi * (k * t + p.rng.random()))
        z += weight * (np.abs(wave) * 2 - 1 if jagged else wave)
    z = height * (0.55 + 0.28 * rough * z)
    fold = np.interp(t, np.linspace(0, 1, 18), p.rng.uniform(.1, .55, 18))
    for k in range(6):
        level = z * (1 - fold * (k / 5) ** 1.3) if k else z
        fill = p.tone(colour, 0.16 * depth + 40, 1.06 - .05 * k)
        p.pen.polygon([p.at(x0, depth, -2), *(p.at(a, depth, b) for a,
            b in zip(x.tolist(), level.tolist(), strict=True)),
                       p.at(x1, depth, -2)], fill=fill)


def cypress(p: Painter, x: float, depth: float, height: float) -> None:
    """One slim dark tree, lit from one side."""
    side = -1 if p.light.sun[0] < 0 else 1
    outline = [(0.0, 1.0), (.55, .72), (.95, .40), (.8, .12), (.2, .03)]
    for width, shade in ((1.0, .62), (.55, 1.0)):
        shift = 0 if width == 1.0 else side * .32
        w = height * .115
        points = [(x + w * (shift + width * a), height * b) for a, b in outline]
        points += [(x + w * (shift - width * a), height * b) for a, b in outline[::-1]]
        p.shape(points, depth, p.tone((.16, .26, .13), depth, shade))


def tree(p: Painter, x: float, depth: float, height: float, colour: Rgb = (.30, .42, .18),
    pine: bool = False) -> None:
    """A round tree, or an umbrella pine."""
    p.box(x - height * .025, x + height * .025, 0, height * (.88 if pine else .7), depth,
        p.tone((.34, .25, .18), depth))
    side = -1 if p.light.sun[0] < 0 else 1
    for k in range(12):
        a, b = p.rng.normal(0, .17 if not pine else .26), p.rng.normal(0, .10 if not pine else .035)
        size = height * (.20 if not pine else .14) * p.rng.uniform(.7, 1.2)
        lift = .68 if not pine else .88
        shade = .72 + .5 * np.clip(b * 3 + side * a, -.3, .5) + .02 * k
        p.ball(x + a * height, height * (lift + b), size, size * (.9 if not pine else .5), depth,
            p.tone(colour, depth, shade))


_COATS: tuple[Rgb, ...] = ((.88, .87, .83), (.20, .26, .40), (.72, .16, .15), (.46, .56, .66), (.83, .71, .45),
    (.28, .38, .28),
                           (.16, .16, .18), (.62, .34, .24), (.52, .62, .74), (.86, .56, .42), (.40, .24, .30),
                           (.70, .70, .70))


def person(p: Painter, x: float, depth: float) -> None:
    """A spectator."""
    h = float(p.rng.normal(1.70, .09))
    coat = _COATS[p.rng.integers(len(_COATS))]
    legs = (.18, .20, .28) if p.rng.random() < .7 else (.55, .48, .38)
    w = .21
    p.box(x - .15, x - .02, 0, h * .5, depth, p.tone(legs, depth, .9))
    p.box(x + .02, x + .15, 0, h * .5, depth, p.tone(legs, depth, .8))
    p.shape([(x - w, h * .84), (x + w, h * .84), (x + w * .8, h * .45), (x - w * .8, h * .45)], depth,
        p.tone(coat, depth))
    raised = p.rng.random() < .25
    for side in (-1, 1):
        end = (x + side * .36, h * 1.08) if raised else (x + side * .27, h * .48)
        a, b = p.at(x + side * w, depth, h * .81), p.at(end[0], depth, end[1])
        p.pen.line([a, b], fill=p.tone(coat, depth, .85), width=max(1, int(.10 * p.camera.focal / (depth + p.push))))
    skin = (.85, .66, .54) if p.rng.random() < .8 else (.55, .38, .28)
    p.ball(x, h * .92, .105, .13, depth, p.tone(skin, depth))
    p.ball(x, h * .965, .115, .09, depth, p.tone(((.2, .14, .1), (.5, .4, .25), (.1, .1, .1),
        (.9, .9, .88))[p.rng.integers(4)], depth))


def crowd(p: Painter, depth: float, density: float, gap: tuple[float, float] | None = None) -> None:
    """A row of spectators behind a barrier."""
    x0, x1 = p.span(depth)
    for back in (1.6, .8, 0):
        x = x0 + p.rng.random()
        while x < x1:
            if gap is None or not gap[0] < x < gap[1]:
                person(p, x, depth + back)
            x += p.rng.uniform(.45, .75) / density
    for a in np.arange(np.floor(x0 / 2.4) * 2.4, x1, 2.4).tolist():
        if gap is None or not (gap[0] - 2 < a < gap[1]):
            p.box(a, a + 2.35, .96, 1.02, depth - .6, p.tone((.72, .74, .76), depth))
            p.box(a, a + 2.35, .18, .23, depth - .6, p.tone((.72, .74, .76), depth))
            for k in range(9):
                p.box(a + .02 + .28 * k, a + .06 + .28 * k, .2, 1.0, depth - .6, p.tone((.66, .68, .70), depth))


def bunting(p: Painter, depth: float, height: float) -> None:
    """A string of little flags across the picture."""
    x0, x1 = p.span(depth)
    colours: tuple[Rgb, ...] = ((.82, .12, .12), (.93, .92, .88), (.12, .48, .24), (.95, .78, .18), (.14, .30, .65))
    n = 26
    for k in range(n):
        t = k / n
        x, z = x0 + (x1 - x0) * t, height - .9 * np.sin(np.pi * ((t * 2) % 1))
        s = (x1 - x0) / n * .40
        p.shape([(x - s * .5, z), (x + s * .5, z), (x, z - s * 1.5)], depth, p.tone(colours[k % 5], depth))


def flag(p: Painter, x: float, depth: float, height: float) -> None:
    """A green, white and red flag on a pole."""
    p.box(x - .03, x + .03, 0, height, depth, p.tone((.7, .7, .7), depth))
    for k, colour in enumerate(((.10, .50, .25), (.94, .93, .90), (.80, .12, .14))):
        p.shape([(x + .5 * k, height - .05 * k), (x + .5 * k + .5, height - .05 * k - .05),
                 (x + .5 * k + .5, height - .05 * k - 1.05), (x + .5 * k, height - .05 * k - 1.0)], depth,
                 p.tone(colour, depth))


_WALLS: tuple[Rgb, ...] = ((.86, .70, .48), (.80, .56, .40), (.90, .80, .62), (.74, .50, .38), (.84, .76, .66),
    (.88, .68, .56))


def house(p: Painter, x0: float, x1: float, depth: float, height: float, arcade: bool,
    colour: Rgb | None = None) -> None:
    """A town house: storeys of shuttered windows over an arcade or over shop doors."""
    colour = colour or _WALLS[p.rng.integers(len(_WALLS))]
    for k in range(14):
        p.box(x0, x1, height * k / 14, height * (k + 1) / 14, depth, p.tone(colour, depth, .80 + .24 * k / 13))
    p.box(x0 - .3, x1 + .3, height, height + .35, depth, p.tone((.60, .34, .24), depth))
    p.box(x0, x1, height - .25, height, depth, p.tone(colour, depth, .72))
    shutter = ((.25, .40, .30), (.40, .28, .20), (.32, .42, .50))[p.rng.integers(3)]
    lit_rate = .35 if p.light.stars or p.light.name == "dusk" else 0
    floor, bay = 3.3, 2.3
    base = 4.2 if arcade else 3.4
    count = max(1, int((x1 - x0) / bay))
    step = (x1 - x0) / count
    for k in range(count):
        c = x0 + step * (k + .5)
        if arcade:
            p.box(c - step * .36, c + step * .36, 0, 2.6, depth, p.tone((.16, .12, .10), depth))
            p.ball(c, 2.6, step * .36, step * .36, depth, p.tone((.16, .12, .10), depth))
            p.box(c - step * .5, c - step * .36, 2.5, 2.65, depth, p.tone(colour, depth, 1.15))
        else:
            door = (.20, .16, .14) if p.rng.random() < .6 else (.34, .24, .16)
            p.box(c - .6, c + .6, 0, 2.4, depth, p.tone(door, depth))
            if p.rng.random() < .35:
                awning = ((.75, .2, .18), (.2, .42, .32), (.9, .86, .76))[p.rng.integers(3)]
                p.shape([(c - .9, 2.8), (c + .9, 2.8), (c + 1.1, 2.3), (c - 1.1, 2.3)], depth, p.tone(awning, depth))
        z = base + .5
        while z + 1.9 < height:
            lit = p.rng.random() < lit_rate
            p.box(c - .58, c + .58, z - .08, z + 1.78, depth, p.tone(colour, depth, 1.14))
            glass = (255, 206, 120) if lit else p.tone((.20, .22, .26), depth)
            p.box(c - .42, c + .42, z, z + 1.65, depth, glass)
            p.box(c - .82, c - .44, z, z + 1.65, depth, p.tone(shutter, depth))
            p.box(c + .44, c + .82, z, z + 1.65, depth, p.tone(shutter, depth, .85))
            z += floor
    if arcade:
        p.box(x0, x1, 3.85, 4.05, depth, p.tone(colour, depth, 1.12))


def tower(p: Painter, x: float, depth: float, width: float, height: float, colour: Rgb = (.72, .46, .34)) -> None:
    """A town hall's tower: shaft, battlements, bell chamber."""
    p.box(x - width / 2, x + width / 2, 0, height, depth, p.tone(colour, depth))
    p.box(x + width * .2, x + width / 2, 0, height, depth, p.tone(colour, depth, .8))
    for k in range(5):
        p.box(x - .12 * width, x + .10 * width, height * (.2 + .14 * k), height * (.2 + .14 * k) + width * .22,
            depth, p.tone((.2, .15, .13), depth))
    p.box(x - width * .66, x + width * .66, height, height + width * .5, depth, p.tone((.84, .78, .68), depth))
    for k in range(4):
        a = x - width * .66 + k * width * .36
        p.box(a, a + width * .22, height + width * .5, height + width * .8, depth, p.tone((.84, .78, .68), depth))
    p.box(x - width * .34, x + width * .34, height + width * .5, height + width * 1.5, depth,
        p.tone((.80, .72, .62), depth))
    p.box(x - width * .14, x + width * .14, height + width * .6, height + width * 1.25, depth,
        p.tone((.2, .16, .15), depth))
    p.shape([(x - width * .4, height + width * 1.5), (x + width * .4, height + width * 1.5),
        (x, height + width * 2.2)], depth, p.tone((.56, .32, .24), depth))


def farmhouse(p: Painter, x: float, depth: float, size: float) -> None:
    """A stone house on a hill."""
    p.box(x, x + size, 0, size * .55, depth, p.tone((.82, .68, .50), depth))
    p.box(x + size, x + size * 1.4, 0, size * .45, depth, p.tone((.76, .62, .46), depth, .85))
    p.shape([(x - .05 * size, size * .55), (x + size * 1.05, size * .55), (x + size * .85, size * .75),
        (x + size * .15, size * .75)], depth, p.tone((.64, .36, .25), depth))
    for k in range(3):
        p.box(x + size * (.15 + .28 * k), x + size * (.25 + .28 * k), size * .25, size * .42, depth,
            p.tone((.25, .2, .18), depth))


# --- places -------------------------------------------------------------------------------------------------------


def _hill_country(p: Painter) -> None:
    hills(p, 2600, 190, (.46, .52, .46))
    hills(p, 1300, 75, (.45, .52, .30))
    hills(p, 620, 26, (.52, .56, .26))


def _cypresses(p: Painter) -> None:
    x0, x1 = p.span(60)
    start = p.rng.uniform(x0, x1)
    for k in range(7):
        cypress(p, start + 3.1 * k, 60 + 6 * k, float(p.rng.uniform(8, 12)))
    farmhouse(p, float(p.rng.uniform(x0, x1)) * 1.4, 110, 13)
    for _ in range(4):
        cypress(p, float(p.rng.uniform(x0, x1)), float(p.rng.uniform(34, 80)), float(p.rng.uniform(6, 10)))
    for _ in range(5):
        tree(p, float(p.rng.uniform(x0, x1)), float(p.rng.uniform(40, 90)), float(p.rng.uniform(4, 7)),
            (.40, .46, .30))


def _square_far(p: Painter) -> None:
    hills(p, 2000, 90, (.50, .54, .52))


def _row_of_houses(p: Painter, depth: float, arcade: bool, low: float, high: float) -> None:
    x0, x1 = p.span(depth)
    x = x0 - p.rng.uniform(0, 6)
    while x < x1:
        w = float(p.rng.uniform(7, 13))
        house(p, x, x + w, depth, float(p.rng.uniform(low, high)), arcade)
        x += w


def _square(p: Painter) -> None:
    x0, x1 = p.span(46)
    tower(p, float(p.rng.uniform(x0 * .7, x1 * .7)), 52, 6.0, float(p.rng.uniform(26, 34)))
    _row_of_houses(p, 42, True, 11, 15)
    if p.rng.random() < .7:
        crowd(p, 26, .5)


def _lake_far(p: Painter) -> None:
    hills(p, 5200, 900, (.46, .52, .62), jagged=True)
    hills(p, 3600, 420, (.34, .44, .44), jagged=True)


def _lake(p: Painter) -> None:
    x0, x1 = p.span(22)
    for a in np.arange(np.floor(x0), x1, 3.0).tolist():
        p.box(a, a + .22, 0, .8, 22, p.tone((.78, .74, .68), 22))
    p.box(x0, x1, .72, .86, 22, p.tone((.82, .78, .72), 22))
    for _ in range(3):
        cypress(p, float(p.rng.uniform(x0, x1)), 22.5, float(p.rng.uniform(3.2, 4.6)))
    tree(p, float(p.rng.uniform(x0, x1)), 22.5, 4.2, (.36, .44, .26))
    for _ in range(2):
        x = float(p.rng.uniform(x0, x1)) * 8
        p.shape([(x - 3, 0), (x - 2, -1.4), (x + 6, -1.4), (x + 8, 0)], 180, p.tone((.35, .2, .14), 60))
        p.shape([(x + 2.2, .6), (x + 7, .6), (x + 2.2, 11)], 180, p.tone((.97, .96, .93), 40))
        p.shape([(x + 1.8, .6), (x - 2, .6), (x + 1.8, 9)], 180, p.tone((.97, .96, .93), 40, .86))


def _street(p: Painter) -> None:
    _row_of_houses(p, 24, False, 10, 15)
    bunting(p, 17, 5.6)
    bunting(p, 20, 7.0)
    crowd(p, 19, 1.0)
    x0, x1 = p.span(17.5)
    for _ in range(3):
        flag(p, float(p.rng.uniform(x0, x1)), 17.8, 4.2)


def _start(p: Painter) -> None:
    _row_of_houses(p, 40, False, 11, 14)
    crowd(p, 24, .9)
    x0, x1 = p.span(20)
    for x in (x0 * .62, x1 * .62):
        p.box(x - .5, x + .5, 0, 5.4, 20, p.tone((.72, .10, .12), 20))
        p.box(x + .15, x + .5, 0, 5.4, 20, p.tone((.72, .10, .12), 20, .75))
    p.box(x0 * .62 - .5, x1 * .62 + .5, 4.5, 6.0, 20, p.tone((.78, .11, .13), 20))
    p.box(x0 * .62 - .5, x1 * .62 + .5, 4.7, 4.8, 20, p.tone((.95, .93, .88), 20))
    n = 26
    w = (x1 - x0) * .62 / n
    for k in range(n):
        for j in range(2):
            if (k + j) % 2:
                p.box(x0 * .62 + k * w, x0 * .62 + (k + 1) * w, 5.5 + .25 * j, 5.75 + .25 * j, 20,
                    p.tone((.94, .93, .9), 20))
    p.shape([(x0 * .5, 0), (x1 * .5, 0), (x1 * .38, .75), (x0 * .38, .75)], 19, p.tone((.45, .43, .42), 19))
    for x in (x0 * .8, x1 * .74):
        flag(p, x, 18.5, 4.6)


def _tunnel(p: Painter) -> None:
    wall, roof = 5.6, 5.2
    near, far = 3.0, 160.0
    for side in (-1, 1):
        p.pen.polygon([p.at(side * wall, near, 0), p.at(side * wall, near, roof), p.at(side * wall, far, roof),
            p.at(side * wall, far, 0)], fill=p.tone((.55, .50, .42), 5, .8))
        p.pen.polygon([p.at(side * wall, near, 0), p.at(side * wall, near, 1.4), p.at(side * wall, far, 1.4),
            p.at(side * wall, far, 0)], fill=p.tone((.78, .74, .66), 5, .9))
        p.pen.polygon([p.at(side * wall, near, 1.4), p.at(side * wall, near, 1.55), p.at(side * wall, far, 1.55),
            p.at(side * wall, far, 1.4)], fill=p.tone((.75, .35, .15), 5))
    p.pen.polygon([p.at(-wall, near, roof), p.at(wall, near, roof), p.at(wall, far, roof), p.at(-wall, far, roof)],
        fill=p.tone((.34, .31, .27), 5, .8))
    for k in range(26):
        d = 6 + 5.5 * k
        for x in (-2.2, 2.2):
            p.pen.polygon([p.at(x - .2, d, roof - .1), p.at(x + .2, d, roof - .1), p.at(x + .2, d + 2.2, roof - .1),
                p.at(x - .2, d + 2.2, roof - .1)], fill=(255, 232, 178))
    a, b = p.at(-wall, far, roof), p.at(wall, far, 0)
    p.pen.rectangle((a[0], a[1], b[0], b[1]), fill=(240, 244, 248))


def _wheat_far(p: Painter) -> None:
    hills(p, 2400, 140, (.46, .52, .50))
    hills(p, 900, 30, (.70, .62, .34))


def _wheat(p: Painter) -> None:
    x0, x1 = p.span(90)
    for _ in range(4):
        tree(p, float(p.rng.uniform(x0, x1)), 90, float(p.rng.uniform(6, 10)))
    farmhouse(p, float(p.rng.uniform(x0, x1)), 150, 15)
    for depth in (30, 24, 19, 15.5, 13.6):
        a, b = p.span(depth)
        for x in np.arange(a, b, .05 * depth / 10).tolist():
            z = .75 + .22 * p.rng.random()
            p.pen.line([p.at(x, depth, 0), p.at(x + p.rng.normal(0, .07), depth, z)],
                fill=p.tone((.86, .70, .34), depth, .75 + .4 * p.rng.random()), width=max(1,
                    int(.028 * p.camera.focal / (depth + p.push))))


def _vineyard(p: Painter) -> None:
    x0, x1 = p.span(70)
    farmhouse(p, float(p.rng.uniform(x0, x1)), 130, 14)
    for _ in range(3):
        cypress(p, float(p.rng.uniform(x0, x1)), 110, 11)
    for depth in (64, 52, 43, 36, 30, 25.5, 22, 19, 16.5):
        a, b = p.span(depth)
        for x in np.arange(a, b, .5).tolist():
            h = 1.25 + .3 * p.rng.random()
            p.ball(x, h * .72, .42, h * .38, depth, p.tone((.34, .46, .16), depth, .7 + .5 * p.rng.random()))
        for x in np.arange(np.floor(a / 3) * 3, b, 3).tolist():
            p.box(x - .04, x + .04, 0, 1.7, depth, p.tone((.48, .38, .28), depth))


def _sea_far(p: Painter) -> None:
    x0, x1 = p.span(1500)
    side = p.rng.random() < .5
    points = [(0, 0), (.10, 70), (.22, 110), (.36, 60), (.48, 34), (.55, 0)]
    p.shape([((x0 + (x1 - x0) * (t if side else 1 - t)), z) for t, z in points], 1500, p.tone((.50, .50, .44), 700))


def _sea(p: Painter) -> None:
    x0, x1 = p.span(20)
    for a in np.arange(np.floor(x0 / 4) * 4, x1, 4.0).tolist():
        p.box(a, a + .12, 0, .78, 20, p.tone((.6, .6, .6), 20))
    p.box(x0, x1, .55, .82, 20, p.tone((.76, .78, .80), 20))
    p.box(x0, x1, .66, .70, 20, p.tone((.5, .52, .54), 20))
    for _ in range(3):
        tree(p, float(p.rng.uniform(x0, x1)), 22.5, float(p.rng.uniform(4.2, 5.6)), (.22, .36, .18), pine=True)
    for _ in range(6):
        x, z = float(p.rng.uniform(x0, x1)), float(p.rng.uniform(2.2, 4.6))
        s = float(p.rng.uniform(.12, .22))
        p.pen.line([p.at(x - s, 21, z + s * .4), p.at(x, 21, z), p.at(x + s, 21, z + s * .4)],
            fill=p.tone((.96, .96, .95), 21),
                   width=max(1, p.camera.width // 900))


def _rock_town(p: Painter) -> None:
    hills(p, 3000, 150, (.46, .52, .50))
    x0, x1 = p.span(700)
    m = float(p.rng.uniform(x0 * .4, x1 * .4))
    ridge = [(-300, 0), (-210, 34), (-120, 52), (-70, 84), (-40, 72), (10, 108), (40, 94), (90, 122), (130, 84),
        (200, 36), (300, 0)]
    p.shape([(m + a, b) for a, b in ridge], 700, p.tone((.50, .49, .44), 170))
    for a, b in ((-70, 84), (10, 108), (90, 122)):
        k = ridge.index((a, b))
        left, right = ridge[k], ridge[k + 1]
        p.shape([(m + left[0], left[1]), (m + right[0], right[1]), (m + right[0] - 12, 0), (m + left[0] + 14, 0)],
            700,
                p.tone((.42, .42, .39), 170))
        p.box(m + a - 6, m + a + 6, b - 10, b + 20, 700, p.tone((.74, .66, .56), 150))
        p.box(m + a - 8, m + a + 8, b + 20, b + 26, 700, p.tone((.80, .72, .62), 150))
    hills(p, 560, 30, (.36, .46, .26))


def _rome(p: Painter) -> None:
    hills(p, 2000, 60, (.52, .54, .50))
    x0, x1 = p.span(120)
    m = float(p.rng.uniform(x0 * .5, x1 * .3))
    stone: Rgb = (.78, .64, .48)
    for level in range(3):
        for k in range(11):
            if level == 2 and k > 6:
                continue
            a = m + k * 4.4
            p.box(a, a + 4.4, level * 6.4, level * 6.4 + 6.4, 120, p.tone(stone, 120))
            p.box(a + 1.0, a + 3.4, level * 6.4 + .6, level * 6.4 + 3.6, 120, p.tone((.28, .22, .18), 120))
            p.ball(a + 2.2, level * 6.4 + 3.6, 1.2, 1.4, 120, p.tone((.28, .22, .18), 120))
        p.box(m, m + 4.4 * (7 if level == 2 else 11), level * 6.4 + 5.9, level * 6.4 + 6.4, 120,
            p.tone(stone, 120, 1.12))
    for _ in range(6):
        tree(p, float(p.rng.uniform(x0, x1)) * .7, float(p.rng.uniform(60, 100)), float(p.rng.uniform(9, 15)),
            (.24, .36, .18), pine=True)


def _gate(p: Painter) -> None:
    brick: Rgb = (.68, .42, .30)
    x0, x1 = p.span(34)
    p.box(x0, x1, 0, 9.0, 34, p.tone(brick, 34))
    for k in range(18):
        p.box(x0, x1, .5 * k, .5 * k + .05, 34, p.tone(brick, 34, .86))
    for a in np.arange(np.floor(x0), x1, 2.0).tolist():
        p.box(a, a + 1.1, 9.0, 10.2, 34, p.tone(brick, 34))
    m = float(p.rng.uniform(x0 * .4, x1 * .4))
    p.box(m - 5, m + 5, 0, 14.5, 33, p.tone(brick, 33, 1.08))
    for k in range(5):
        p.box(m - 5 + 2.2 * k, m - 4 + 2.2 * k, 14.5, 15.8, 33, p.tone(brick, 33, 1.08))
    p.ball(m, 5, 3.0, 3.4, 33, p.tone((.84, .78, .68), 33))
    p.box(m - 3.0, m + 3.0, 0, 5, 33, p.tone((.84, .78, .68), 33))
    p.ball(m, 5, 2.4, 2.8, 33, p.tone((.14, .11, .10), 33))
    p.box(m - 2.4, m + 2.4, 0, 5, 33, p.tone((.14, .11, .10), 33))
    p.box(m - .9, m + .9, 10, 12.4, 33, p.tone((.82, .80, .76), 33))
    if p.rng.random() < .6:
        crowd(p, 24, .6)
        flag(p, m - 6.5, 25, 5)


@dataclass(frozen=True)
class Place:
    """One kind of scenery: what lies far away, what stands nearer, and the ground."""

    name: str
    far: Callable[[Painter], None] | None
    near: Callable[[Painter], None] | None
    surface: str
    verge: str
    edge: float  # metres from the camera where a crossing road ends
    words: tuple[str, ...]


PLACES: dict[str, Place] = {
    place.name: place for place in (
        Place("hills", _hill_country, _cypresses, "gravel", "grass", 15.5,
            ("among the cypresses of the Crete Senesi", "on a white road in Tuscany")),
        Place("square", _square_far, _square, "stone", "stone", 60.0,
            ("in a square with arcades and a tower", "in Siena's wide square")),
        Place("lake", _lake_far, _lake, "asphalt", "water", 21.5,
            ("by Lake Garda", "along the lake, under the mountains")),
        Place("street", None, _street, "cobbles", "stone", 16.5,
            ("past the crowd in a cobbled street", "in Ferrara, between spectators and flags")),
        Place("start", None, _start, "asphalt", "stone", 17.0,
            ("at the start ramp in Brescia", "under the red arch in Brescia")),
        Place("tunnel", None, _tunnel, "dark", "dark", 200.0, ("in a motorway tunnel",)),
        Place("wheat", _wheat_far, _wheat, "asphalt", "wheat", 14.5,
            ("beside a field of ripe wheat", "in the plain before Cremona")),
        Place("vineyard", _hill_country, _vineyard, "gravel", "grass", 15.5,
            ("between vineyards near Verona", "past the vines")),
        Place("sea", _sea_far, _sea, "asphalt", "water", 21.5, ("on the coast road", "above the Adriatic")),
        Place("rock", _rock_town, _cypresses, "asphalt", "grass", 15.0,
            ("below the three towers of San Marino", "on the climb to San Marino")),
        Place("rome", _rome, None, "cobbles", "grass", 17.5, ("among ruins and umbrella pines in Rome", "in Rome")),
        Place("gate", None, _gate, "cobbles", "stone", 32.0,
            ("before a brick city gate", "at the walls of Florence")),
    )
}


def paint_place(camera: Camera, light: Light, place: Place, away: bool, clear: float,
                rng: np.random.Generator) -> Array:
    """The picture without cars: (height, width, 3) float32, sRGB in about [0, 1].

    Up to the depth `clear`, metres, there is nothing but road.
    """
    canvas = sky(camera, light, rng)
    painter = Painter(_to_image(canvas), camera, light, rng)
    if place.far:
        place.far(painter)
        canvas = _to_array(painter.image)
    level = np.asarray(painter.level)
    ground(canvas, camera, light, place.surface, place.verge, 4.6 if away else max(place.edge, clear), away, level,
        rng)
    if place.near:
        push = 0.0 if place.name == "tunnel" else max(0.0, clear - place.edge)
        painter = Painter(_to_image(canvas), camera, light, rng, push)
        place.near(painter)
        canvas = _to_array(_softened(painter.image, camera))
        if place.name == "tunnel":
            fresh = canvas.copy()
            ground(fresh, camera, light, place.surface, place.verge, 4.6, True, level, rng)
            first = max(int(camera.horizon) + 1, 0)
            row = np.arange(first, camera.height, dtype=np.float32)[:, None]
            x = (np.arange(camera.width) - camera.centre)[None, :] * camera.eye / (row - camera.horizon)
            canvas[first:] = np.where((np.abs(x) < 5.6)[..., None], fresh[first:], canvas[first:])
    canvas *= _brushwork(camera, rng)
    return canvas


def _softened(image: Image.Image, camera: Camera) -> Image.Image:
    """The scenery slightly out of focus, so that the cars stand out; the road near the camera stays sharp."""
    soft = image.filter(ImageFilter.GaussianBlur(camera.width / 900))
    ramp = np.clip((camera.horizon + 0.10 * camera.height - np.arange(camera.height)) / (0.05 * camera.height), 0, 1)
    mask = Image.fromarray((ramp * 255).astype(np.uint8)[:, None]).resize(image.size)
    return Image.composite(soft, image, mask)


def _brushwork(camera: Camera, rng: np.random.Generator) -> Array:
    """Uneven paint over flat surfaces: (height, width, 1) around 1."""
    shift = rng.integers(0, 512, 2)
    k = 1100 / max(camera.width, camera.height)
    x, y = np.arange(camera.width)[None, :] * k + shift[0], np.arange(camera.height)[:, None] * k * 0.8 + shift[1]
    return (1 + 0.12 * (_sample(x, y + 0 * x) - 0.5) + 0.08 * (_sample(3 * x, 3 * y + 0 * x) - 0.5))[..., None]


def _to_image(canvas: Array) -> Image.Image:
    return Image.fromarray((np.clip(canvas, 0, 1) * 255).astype(np.uint8))


def _to_array(image: Image.Image) -> Array:
    return np.asarray(image, dtype=np.float32) * np.float32(1 / 255)


def weather(image: Image.Image, light: Light, rng: np.random.Generator) -> Image.Image:
    """Rain, warmth, vignette and the grain of paper over the finished picture."""
    w, h = image.size
    if light.name == "rain":
        layer = Image.new("L", (w, h), 0)
        pen = ImageDraw.Draw(layer)
        for _ in range(w // 3):
            x, y, s = rng.random() * w, rng.random() * h, (.02 + .03 * rng.random()) * h
            pen.line([(x, y), (x - s * .18, y + s)], fill=int(50 + 70 * rng.random()), width=max(1, w // 900))
        image = Image.composite(Image.new("RGB", (w, h), (225, 230, 236)), image,
            layer.filter(ImageFilter.GaussianBlur(w / 1600)))
    pixels = np.asarray(image, dtype=np.float32)
    yy, xx = np.mgrid[-1:1:h * 1j, -1:1:w * 1j].astype(np.float32)
    pixels = pixels * (1 - 0.16 * np.clip(xx * xx + yy * yy - 0.5, 0, 2))[..., None]
    shift = rng.integers(0, 512, 2)
    paper = _sample(np.arange(w)[None, :] * (1600 / w) * .6 + shift[0] + 0 * yy,
        np.arange(h)[:, None] * (1600 / w) * .6 + shift[1] + 0 * xx)
    pixels = pixels * (1 + 0.05 * (paper - .5))[..., None] + rng.normal(0, 2.6, (h, w, 1)).astype(np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
