"""A car as data (curves, features, extras) and as parts: surfaces with a material for each of their points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .geometry import Array, Curve, Pair, Surface, along, disc, mirrored, quarter, smoothstep, stack, tube

# Materials. Numbers are kept in 8-bit feature maps, 0 is "no feature here".
(NONE, PAINT, PAINT2, GLASS, BLACK, MATT, CHROME, LAMP, GLOW, RED, AMBER, GAP, WELL, RUBBER, RIM, DISC, CALIPER,
 LEATHER, CARBON, CLEAR, SKIN, CLOTH, GRILLE, GOLD, SHADE, WHITE, RIMDARK) = range(27)

Ids = NDArray[np.uint8]
Classify = Callable[[Array, Array, Array, Array], Ids]
Rgb = tuple[float, float, float]

_RES = 400  # feature maps: pixels per metre
_SPAN = 5.2  # metres that a feature map covers along the car
_HALF = 1.2  # metres to each side of the middle
_TALL = 2.2  # metres in height


@dataclass(frozen=True)
class Paint:
    """Colours of one car, each an sRGB triple in [0, 1]."""

    name: str
    body: Rgb
    second: Rgb = (0.05, 0.05, 0.06)
    rim: Rgb = (0.62, 0.63, 0.66)
    caliper: Rgb = (0.75, 0.62, 0.1)
    interior: Rgb = (0.25, 0.14, 0.08)
    metallic: float = 0.3


@dataclass(frozen=True)
class Feature:
    """A shape painted on the body: seen along `view` (side, house, front, rear or top), in that view's two axes."""

    view: str
    material: int
    kind: str  # poly, blob, line or oval
    points: tuple[Pair, ...]
    width: float = 0.0
    mirror: bool = True


def poly(view: str, material: int, *points: Pair, mirror: bool = True) -> Feature:
    """A polygon."""
    return Feature(view, material, "poly", points, mirror=mirror)


def blob(view: str, material: int, *points: Pair, mirror: bool = True) -> Feature:
    """A closed smooth curve through the points."""
    return Feature(view, material, "blob", points, mirror=mirror)


def line(view: str, material: int, width: float, *points: Pair, mirror: bool = True) -> Feature:
    """An open stroke, `width` metres wide."""
    return Feature(view, material, "line", points, width, mirror)


def oval(view: str, material: int, x: float, z: float, rx: float, rz: float, tilt: float = 0.0) -> Feature:
    """An ellipse; `tilt` in degrees."""
    a = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    p, q = rx * np.cos(a), rz * np.sin(a)
    return Feature(view, material, "poly", tuple(zip((x + p * c - q * s).tolist(), (z + p * s + q * c).tolist(),
                                                     strict=True)))


@dataclass(frozen=True)
class Extra:
    """A separate piece: mirror, pipe, wing, seat."""

    surface: Surface
    material: int
    mirror: bool = False


@dataclass(frozen=True)
class Cabin:
    """A closed greenhouse: centre line of the roof from the cowl to the end of the rear window."""

    roof: Curve
    half: Curve  # half width at the belt line
    header: float  # x where the windscreen ends
    rear: tuple[float, float]  # x from and to which the rear window runs (equal: none)
    tumble: float = 0.22  # how much narrower the top is, as a fraction
    power: float = 3.2
    bow: float = 0.28
    tail_bow: float = -0.15
    roof_material: int = PAINT
    pillar: int = PAINT


@dataclass(frozen=True)
class Screen:
    """The windscreen of an open car, as a bent sheet."""

    base: tuple[float, float, float]  # x, z at the middle of the base, half width
    top: tuple[float, float, float]
    bow: float = 0.3
    frame: int = BLACK
    frame_width: float = 0.07


@dataclass(frozen=True)
class Rim:
    """A wheel's looks."""

    spokes: int = 5
    width: float = 0.30  # of the angle between two spokes
    twist: float = 0.0
    split: bool = False
    lip: float = 0.06
    material: int = RIM
    size: float = 0.74  # rim radius as a fraction of the tyre's
    style: str = "spokes"  # spokes, disc, wire


@dataclass(frozen=True)
class Car:
    """One drawable car. Curves run over x, from the nose (0) to the tail."""

    id: str
    name: str
    length: float
    wheels: tuple[float, float, float, float]  # x of the axles, radii of the wheels
    top: Curve
    bottom: Curve
    half: Curve
    fender: Curve = ((0.0, 0.0), (1.0, 0.0))
    power: float = 3.0
    waist: float = 0.5
    tuck: float = 0.10
    smooth: bool = True
    nose_bow: float = 0.30
    tail_bow: float = 0.14
    arch: float = 1.08
    arch_shape: str = "round"
    track: float = 0.0  # wheels stand this much further in than the body's edge
    tyre: float = 0.26
    cabin: Cabin | None = None
    screen: Screen | None = None
    features: tuple[Feature, ...] = ()
    extras: tuple[Extra, ...] = ()
    rim: Rim = field(default_factory=Rim)
    paints: tuple[Paint, ...] = ()
    front_lamps: tuple[tuple[float, float, float], ...] = ()
    rear_lamps: tuple[tuple[float, float, float], ...] = ()
    covered: bool = True  # False: the wheels stand free of the body
    ridge: float = 0.74  # where across the car the fender's crest is


@dataclass(frozen=True)
class Part:
    """A surface and the material of its points: one number, or a function of (points, normals, u, v)."""

    surface: Surface
    material: int | Classify
    see_through: bool = False


def wheel_places(car: Car) -> list[tuple[float, float, float]]:
    """(x, half track, radius) of the front and the rear axle."""
    front, rear, r_front, r_rear = car.wheels
    places = []
    for x, r in ((front, r_front), (rear, r_rear)):
        around = np.linspace(x - 0.8 * r, x + 0.8 * r, 9, dtype=np.float32)  # no tyre may stand out of the flank
        edge = float(along(car.half, around, car.smooth).min()) + 0.012
        places.append((x, edge - 0.025 - car.track, r))
    return places


def arch_distance(car: Car, x: Array, z: Array, axle: float, radius: float) -> Array:
    """Distance from an axle as the wheel arch measures it, in units of the arch's radius."""
    dx, dz = np.abs(x - axle), z - radius
    reach = radius * car.arch
    if car.arch_shape == "wedge":
        return np.maximum(dz * 1.0, 0.86 * dx + 0.42 * dz) / reach
    return np.hypot(dx, dz) / reach


def arch_liner(car: Car, axle: float, edge: float, radius: float) -> Surface:
    """The dark inner wall of a wheel opening, on one side of the car."""

    def surface(u: Array, v: Array) -> Array:
        angle = (u * 1.2 - 0.1) * np.pi
        c, s = np.cos(angle), np.sin(angle)
        reach = radius * car.arch * (1 / np.maximum(s,
            0.86 * np.abs(c) + 0.42 * s) if car.arch_shape == "wedge" else 1)
        return stack(axle + reach * c, edge - 0.05 - 0.26 * v, radius + reach * s)

    return surface


_CAP = 0.05
_SILL = 0.30


def body_surface(car: Car) -> Surface:
    """The tub: bonnet, flanks and tail with both end faces. u runs along the car, v around it, sill to sill."""

    def surface(u: Array, v: Array) -> Array:
        x = np.clip((u - _CAP) / (1 - 2 * _CAP), 0, 1) * car.length
        shrink = np.minimum(np.minimum(u, 1 - u) / _CAP, 1)
        s = 1 - np.abs(2 * v - 1)
        width = along(car.half, x, car.smooth)
        low = along(car.bottom, x, car.smooth)
        deck = along(car.top, x, car.smooth)
        crest = along(car.fender, x, True)
        mid = low + car.waist * (deck + 0.4 * crest - low)
        across, up = quarter(car.power, (s - _SILL) / (1 - _SILL))
        crest = crest * np.exp(-(((across - car.ridge) / 0.24) ** 2))
        q = np.clip(s / _SILL, 0, 1)
        y = width * np.where(s < _SILL, 1 - car.tuck * (1 - q) ** 2, across)
        z = np.where(s < _SILL, low + (mid - low) * q, mid + (deck + crest - mid) * up)
        y = y * shrink
        ahead, behind = np.clip(1 - x / 1.1, 0, 1), np.clip(1 - (car.length - x) / 0.9, 0, 1)
        ratio = (y / max(p[1] for p in car.half)) ** 2
        x = x + car.nose_bow * ahead * ratio - car.tail_bow * behind * ratio
        if car.covered:
            for axle, edge, radius in wheel_places(car):
                rows = np.flatnonzero(np.abs(x[:, 0] - axle) < radius * car.arch * 1.5 + 0.4)
                if len(rows):
                    _cut_arch(car, x, y, z, slice(rows[0], rows[-1] + 1), (across > 0.5) | (s < _SILL),
                        (axle, edge, radius))
        return stack(x, y * np.where(v < 0.5, -1, 1), z)

    return surface


def _cut_arch(car: Car, x: Array, y: Array, z: Array, rows: slice, flank: NDArray[np.bool_],
              wheel: tuple[float, float, float]) -> None:
    """Push the flank in behind a wheel and flare it around the opening (y, in place)."""
    axle, edge, radius = wheel
    d = arch_distance(car, x[rows], z[rows], axle, radius)
    cut = y[rows]
    lip = 0.02 * np.exp(-(((d - 1) * (radius / 0.05)) ** 2))
    y[rows] = np.where(flank, np.where(d < 1, np.minimum(cut, edge - 0.27), cut + lip), cut)


def body_classify(car: Car) -> Classify:
    """Materials of the tub, from the feature maps and the wheel arches."""
    maps = feature_maps(car)

    def classify(p: Array, n: Array, u: Array, v: Array) -> Ids:
        out = np.full(len(p), PAINT, dtype=np.uint8)
        _apply(out, maps["top"], p[:, 0], p[:, 1] + _HALF, n[:, 2] > 0.45)
        _apply(out, maps["side"], p[:, 0], p[:, 2], np.abs(n[:, 1]) > 0.32)
        _apply(out, maps["front"], p[:, 1] + _HALF, p[:, 2], (n[:, 0] < -0.14) & (p[:, 0] < 1.25))
        _apply(out, maps["rear"], p[:, 1] + _HALF, p[:, 2], (n[:, 0] > 0.12) & (p[:, 0] > car.length - 1.0))
        if car.covered:
            for axle, edge, radius in wheel_places(car):
                inside = arch_distance(car, p[:, 0], p[:, 2], axle, radius) < 1.0
                out[inside & (np.abs(p[:, 1]) > 0.3) & (np.abs(p[:, 1]) < edge - 0.005)] = WELL
        return out

    return classify


def _apply(out: Ids, image: Ids, a: Array, b: Array, where: NDArray[np.bool_]) -> None:
    """Paint the points `where` the feature map has something at (a, b), metres from its lower left corner."""
    at = np.flatnonzero(where)
    col = np.clip((a[at] * _RES).astype(np.int32), 0, image.shape[1] - 1)
    row = np.clip((b[at] * _RES).astype(np.int32), 0, image.shape[0] - 1)
    found = image[row, col]
    out[at] = np.where(found != NONE, found, out[at])


@lru_cache(maxsize=64)
def feature_maps(car: Car) -> dict[str, Ids]:
    """The features of a car drawn as maps of material numbers, row 0 at the lowest."""
    sizes = {"side": (_SPAN, _TALL), "house": (_SPAN, _TALL), "front": (2 * _HALF, _TALL), "rear": (2 * _HALF, _TALL),
             "top": (_SPAN, 2 * _HALF)}
    maps: dict[str, Ids] = {}
    for view, (wide, tall) in sizes.items():
        image = Image.new("L", (round(wide * _RES), round(tall * _RES)), NONE)
        pen = ImageDraw.Draw(image)
        for f in car.features:
            if f.view == view:
                for points in _placed(f):
                    _stroke(pen, f, points)
        maps[view] = np.asarray(image)
    return maps


def _placed(f: Feature) -> list[NDArray[np.float64]]:
    """The feature's points in its map's metres, twice where it is mirrored."""
    points = np.array(f.points, dtype=np.float64)
    if f.kind == "blob":
        points = closed_curve(points)
    if f.view in ("side", "house"):
        return [points]
    axis = 1 if f.view == "top" else 0
    result = []
    for sign in (1, -1) if f.mirror else (1,):
        one = points.copy()
        one[:, axis] = sign * one[:, axis] + _HALF
        result.append(one)
    return result


def _stroke(pen: ImageDraw.ImageDraw, f: Feature, points: NDArray[np.float64]) -> None:
    xy = [tuple(p) for p in (points * _RES).tolist()]
    if f.kind == "line":
        w = max(1, round(f.width * _RES))
        pen.line(xy, fill=f.material, width=w, joint="curve")
    else:
        pen.polygon(xy, fill=f.material)


def closed_curve(points: NDArray[np.float64], steps: int = 10) -> NDArray[np.float64]:
    """A closed Catmull-Rom curve through the points, as a polygon."""
    a, b, c, d = (np.roll(points, k, axis=0)[:, None, :] for k in (1, 0, -1, -2))
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return curve.reshape(-1, 2)


def cabin_surface(car: Car, cabin: Cabin) -> Surface:
    """The greenhouse, from the cowl to the end of the rear window."""
    start, end = cabin.roof[0][0], cabin.roof[-1][0]

    def surface(u: Array, v: Array) -> Array:
        x = start + u * (end - start)
        s = 1 - np.abs(2 * v - 1)
        across, up = quarter(cabin.power, s)
        roof = along(cabin.roof, x, car.smooth)
        belt = np.minimum(along(car.top, x, car.smooth) - 0.06, roof - 0.01)
        y = along(cabin.half, x, True) * across * (1 - cabin.tumble * up)
        z = belt + (roof - belt) * up
        ratio = across**2
        ahead, behind = np.clip(1 - (x - start) / 1.2, 0, 1), np.clip(1 - (end - x) / 1.0, 0, 1)
        x = x + cabin.bow * ahead * ratio + cabin.tail_bow * behind * ratio
        return stack(x, y * np.where(v < 0.5, -1, 1), z)

    return surface


def cabin_classify(car: Car, cabin: Cabin) -> Classify:
    """Glass in the windscreen, the rear window and the side windows; pillars and roof between."""
    maps = feature_maps(car)
    start, end = cabin.roof[0][0], cabin.roof[-1][0]

    def classify(p: Array, n: Array, u: Array, v: Array) -> Ids:
        s = 1 - np.abs(2 * v - 1)
        across, up = quarter(cabin.power, s)
        x = start + u * (end - start)
        out = np.full(len(p), cabin.roof_material, dtype=np.uint8)
        lid = across < 0.84
        out[~lid] = cabin.pillar
        out[lid & (x < cabin.header) & (x > start + 0.03)] = GLASS
        out[(across < 0.76) & (x > cabin.rear[0]) & (x < cabin.rear[1])] = GLASS
        _apply(out, maps["house"], p[:, 0], p[:, 2], (up < 0.93) & (np.abs(n[:, 1]) > 0.25))
        _apply(out, maps["top"], p[:, 0], p[:, 1] + _HALF, lid & (n[:, 2] > 0.4) & (x > cabin.header))
        _apply(out, maps["rear"], p[:, 1] + _HALF, p[:, 2], (n[:, 0] > 0.3) & (x > cabin.rear[1]))
        return out

    return classify


def screen_parts(screen: Screen) -> list[Part]:
    """The glass and the frame of an open car's windscreen."""
    (x0, z0, w0), (x1, z1, w1) = screen.base, screen.top

    def surface(u: Array, v: Array) -> Array:
        u, v = np.broadcast_arrays(u, v)
        side = 2 * v - 1
        x = x0 + (x1 - x0) * u + screen.bow * side**2
        return stack(x, (w0 + (w1 - w0) * u) * side, z0 + (z1 - z0) * u - 0.05 * u * side**2)

    def classify(p: Array, n: Array, u: Array, v: Array) -> Ids:
        edge = (np.abs(2 * v - 1) > 1 - screen.frame_width) | (u > 1 - 1.2 * screen.frame_width)
        return np.where(edge, screen.frame, CLEAR).astype(np.uint8)

    return [Part(surface, classify, see_through=True)]


def wheel_parts(car: Car, roll: float, steer: float) -> list[Part]:
    """Tyres and rims of all four wheels. `roll` and `steer` in radians."""
    parts: list[Part] = []
    for index, (x, edge, radius) in enumerate(wheel_places(car)):
        for side in (-1, 1):
            turn = steer if index == 0 else 0.0
            parts.append(Part(_wheel_face(x, side * edge, radius, side, turn), _rim_classify(car.rim, roll)))
            parts.append(Part(_tread(x, side * edge, radius, side, turn, car.tyre), RUBBER))
            parts.append(Part(_wheel_back(x, side * edge, radius, side, turn, car.tyre), RUBBER))
    return parts


def _turned(x: Array, y: Array, z: Array, centre: tuple[float, float], steer: float) -> Array:
    c, s = np.cos(steer), np.sin(steer)
    return stack(centre[0] + x * c - y * s, centre[1] + x * s + y * c, z)


def _wheel_face(x: float, y: float, radius: float, side: int, steer: float) -> Surface:
    def surface(u: Array, v: Array) -> Array:
        u, v = np.broadcast_arrays(u, v)
        a, r = u * 2 * np.pi, v
        wall = 0.02 * smoothstep(1.0, 0.84, r) - 0.03 * smoothstep(0.94, 1.0, r)
        dish = -0.05 * smoothstep(0.74, 0.66, r) + 0.03 * smoothstep(0.5, 0.0, r)
        return _turned(radius * r * np.cos(a), side * (wall + dish), radius + radius * r * np.sin(a), (x, y), steer)

    return surface


def _wheel_back(x: float, y: float, radius: float, side: int, steer: float, width: float) -> Surface:
    def surface(u: Array, v: Array) -> Array:
        a = u * 2 * np.pi
        return _turned(radius * v * np.cos(a), -side * width + 0 * a * v, radius + radius * v * np.sin(a), (x, y),
            steer)

    return surface


def _tread(x: float, y: float, radius: float, side: int, steer: float, width: float) -> Surface:
    def surface(u: Array, v: Array) -> Array:
        u, v = np.broadcast_arrays(u, v)
        a = u * 2 * np.pi
        r = radius * (1 - 0.05 * np.abs(2 * v - 1) ** 6)
        return _turned(r * np.cos(a), -side * (v * width - 0.0), radius + r * np.sin(a), (x, y), steer)

    return surface


def _rim_classify(rim: Rim, roll: float) -> Classify:
    def classify(p: Array, n: Array, u: Array, v: Array) -> Ids:
        r = v / rim.size
        out = np.full(len(v), RUBBER, dtype=np.uint8)
        inner = r < 1
        back = np.where(r < 0.80, DISC, WELL)
        back = np.where((r > 0.42) & (r < 0.8) & (np.abs(u - 0.62) < 0.11), CALIPER, back)
        out[inner] = back[inner]
        phase = u * rim.spokes + roll + rim.twist * r
        offset = np.abs(phase - np.round(phase))
        if rim.style == "disc":
            solid = (r < 0.95) & ((r > 0.85) | (r < 0.75))
        elif rim.style == "wire":
            other = u * rim.spokes + roll - rim.twist * r
            solid = (offset < rim.width * 0.5) | (np.abs(other - np.round(other)) < rim.width * 0.5)
        else:
            gap = rim.width * 0.5 * (1.25 - 0.35 * r)
            solid = offset < gap
            if rim.split:
                solid &= ~(offset < (r - 0.45) * 0.16)
        out[inner & solid] = rim.material
        out[inner & (r > 1 - rim.lip)] = rim.material
        out[r < 0.20] = rim.material
        out[(r < 0.10)] = RIMDARK
        return out

    return classify


@lru_cache(maxsize=64)
def _body_parts(car: Car) -> tuple[Part, ...]:
    parts = [Part(body_surface(car), body_classify(car))]
    if car.covered:
        for place in wheel_places(car):
            liner = arch_liner(car, *place)
            parts.extend((Part(liner, WELL), Part(mirrored(liner), WELL)))
    if car.cabin is not None:
        parts.append(Part(cabin_surface(car, car.cabin), cabin_classify(car, car.cabin)))
    if car.screen is not None:
        parts.extend(screen_parts(car.screen))
    for extra in car.extras:
        parts.append(Part(extra.surface, extra.material))
        if extra.mirror:
            parts.append(Part(mirrored(extra.surface), extra.material))
    return tuple(parts)


def hull_parts(car: Car) -> list[Part]:
    """The large surfaces that cast the car's shadow."""
    wheels = [] if car.covered else wheel_parts(car, 0, 0)[1::3]
    return [part for part in _body_parts(car) if callable(part.material)] + wheels


def car_parts(car: Car, roll: float = 0.0, steer: float = 0.0) -> list[Part]:
    """Everything of a car, ready to be drawn."""
    return [*_body_parts(car), *wheel_parts(car, roll, steer)]


def pipe(x: float, y: float, z: float, radius: float, length: float = 0.12) -> tuple[Extra, ...]:
    """An exhaust pipe that ends at x, with its dark mouth."""
    return (Extra(tube((x - length, y, z), (x, y, z), radius), CHROME),
            Extra(disc((x - 0.01, y, z), radius * 0.84), WELL))
