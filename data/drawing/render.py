"""The camera and the renderer: splats surfaces into a depth buffer and shades what is seen, all in numpy.

World coordinates: X to the right, D away from the camera, z up, metres. The camera looks along D, level, so upright
lines stay upright and the horizon is one row of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from . import model as m
from .geometry import Array, smoothstep

_STEP = 0.75  # distance of neighbouring samples on the picture, in pixels


@dataclass(frozen=True)
class Camera:
    """A level camera over the road: focal length, principal column and horizon row in pixels, height in metres."""

    width: int
    height: int
    focal: float
    centre: float
    horizon: float
    eye: float

    def project(self, world: Array) -> tuple[Array, Array, Array]:
        """Pixel column, pixel row and depth of world points (..., 3)."""
        depth = np.maximum(world[..., 1], 0.3)
        scale = self.focal / depth
        return self.centre + world[..., 0] * scale, self.horizon + (self.eye - world[..., 2]) * scale, depth


@dataclass(frozen=True)
class Light:
    """Light of a time of day. Colours are sRGB triples, `sun` points to the light, (X, D, z)."""

    name: str
    sky_top: m.Rgb
    sky_low: m.Rgb
    sun: tuple[float, float, float]
    sun_colour: m.Rgb
    ambient: float
    haze: m.Rgb
    ground_tint: m.Rgb = (1.0, 1.0, 1.0)
    shadow: float = 0.5
    wet: float = 0.0
    lamps: float = 0.0
    stars: bool = False


@dataclass(frozen=True)
class Stand:
    """Where a car stands: yaw in radians (0: nose to the left; positive turns the nose to the viewer), X, depth."""

    yaw: float
    x: float
    depth: float


def to_world(p: Array, length: float, stand: Stand) -> Array:
    """Car coordinates to world coordinates."""
    c, s = np.float32(np.cos(stand.yaw)), np.float32(np.sin(stand.yaw))
    x = p[..., 0] - np.float32(length / 2)
    world = np.empty_like(p)
    world[..., 0] = stand.x + x * c - p[..., 1] * s
    world[..., 1] = stand.depth + x * s + p[..., 1] * c
    world[..., 2] = p[..., 2]
    return world


def _turn(n: Array, stand: Stand) -> Array:
    c, s = np.float32(np.cos(stand.yaw)), np.float32(np.sin(stand.yaw))
    return np.stack([n[:, 0] * c - n[:, 1] * s, n[:, 0] * s + n[:, 1] * c, n[:, 2]], axis=-1)


def _spread(part: m.Part, length: float, stand: Stand, camera: Camera) -> tuple[Array, Array]:
    """Sample positions along u and v so that neighbours lie closer than a pixel."""
    coarse = np.linspace(0, 1, 49, dtype=np.float32)
    x, y, _ = camera.project(to_world(part.surface(coarse[:, None], coarse[None, :]), length, stand))
    result = []
    for axis in (0, 1):
        steps = np.hypot(np.diff(x, axis=axis), np.diff(y, axis=axis)).max(axis=1 - axis)
        path = np.concatenate([[0], np.cumsum(steps + 1e-3)])
        count = int(np.clip(np.ceil(path[-1] / _STEP), 8, 9000))
        result.append(np.interp(np.linspace(0, path[-1], count), path, coarse).astype(np.float32))
    return result[0], result[1]


@dataclass(frozen=True)
class _Grid:
    """One part's sample points (car coordinates) and where its samples start among all."""

    part: m.Part
    offset: int
    points: Array
    u: Array
    v: Array


_NOTHING = np.iinfo(np.uint64).max


def draw_car(canvas: Array, camera: Camera, light: Light, car: m.Car, paint: m.Paint, stand: Stand,
             roll: float = 0.0, steer: float = 0.0, flip: bool = False) -> None:
    """Draw a car over `canvas` (height, width, 3; in place).

    With `flip` the car is drawn upside down below its wheels, as a wet road shows it, faintly.
    """
    parts = m.car_parts(car, roll, steer)
    solid, grids = _splat([p for p in parts if not p.see_through], car, stand, camera, flip)
    _paint(canvas, solid, grids, camera, light, car, paint, stand, flip)
    thin = [p for p in parts if p.see_through]
    if thin and not flip:
        front, grids = _splat(thin, car, stand, camera, flip)
        _paint(canvas, np.where(front < solid, front, _NOTHING), grids, camera, light, car, paint, stand, flip)


def _splat(parts: list[m.Part], car: m.Car, stand: Stand, camera: Camera, flip: bool
           ) -> tuple[NDArray[np.uint64], list[_Grid]]:
    """Depth buffer of the parts: per pixel the nearest sample, as depth in the high and its number in the low half."""
    best = np.full(camera.height * camera.width, _NOTHING, dtype=np.uint64)
    grids = []
    offset = 0
    for part in parts:
        u, v = _spread(part, car.length, stand, camera)
        points = part.surface(u[:, None], v[None, :])
        placed = points * np.array([1, 1, -1], dtype=np.float32) if flip else points
        col, row, depth = camera.project(to_world(placed, car.length, stand))
        ci, ri = np.floor(col).astype(np.int32).ravel(), np.floor(row).astype(np.int32).ravel()
        at = np.flatnonzero((ci >= 0) & (ci < camera.width) & (ri >= 0) & (ri < camera.height))
        if len(at):
            key = ((depth.ravel()[at] * 2e5).astype(np.uint64) << np.uint64(32)) | (at + offset).astype(np.uint64)
            np.minimum.at(best, ri[at] * camera.width + ci[at], key)
            grids.append(_Grid(part, offset, points, u, v))
        offset += points.shape[0] * points.shape[1]
    return best, grids


def _paint(canvas: Array, best: NDArray[np.uint64], grids: list[_Grid], camera: Camera, light: Light, car: m.Car,
           paint: m.Paint, stand: Stand, flip: bool) -> None:
    """Shade the pixels of a depth buffer into the canvas (in place)."""
    pixel = np.flatnonzero(best != _NOTHING)
    winner = (best[pixel] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    flat = canvas.reshape(-1, 3)
    eye = np.array([0, 0, camera.eye], dtype=np.float32)
    for grid in grids:
        mine = (winner >= grid.offset) & (winner < grid.offset + grid.points.shape[0] * grid.points.shape[1])
        if not mine.any():
            continue
        p, n, u, v = _surface_at(grid.points, grid.u, grid.v, winner[mine] - grid.offset)
        world = to_world(p, car.length, stand)
        view = eye - world
        view /= np.linalg.norm(view, axis=1, keepdims=True)
        normal = _turn(n, stand)
        away = (normal * view).sum(axis=1) < 0
        normal[away] *= -1
        n[away] *= -1
        material = grid.part.material
        ids = material(p, n, u, v) if callable(material) else np.full(len(p), material, np.uint8)
        colour = shade(ids, p, normal, view, paint, light)
        target = pixel[mine]
        cover = 0.42 * np.exp(-p[:, 2] / 0.7) if flip else np.where(ids == m.CLEAR, 0.48, 1.0)
        cover = cover[:, None].astype(np.float32)
        flat[target] = flat[target] * (1 - cover) + colour * cover


def _surface_at(points: Array, u: Array, v: Array, at: NDArray[np.int64]) -> tuple[Array, Array, Array, Array]:
    """Point, unit normal (finite differences on the grid), u and v of flat grid positions."""
    nu, nv = points.shape[:2]
    i, j = at // nv, at % nv
    wide = 2
    du = points[np.minimum(i + wide, nu - 1), j] - points[np.maximum(i - wide, 0), j]
    dv = points[i, np.minimum(j + wide, nv - 1)] - points[i, np.maximum(j - wide, 0)]
    normal = np.cross(du, dv)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    return points[i, j], normal, u[i], v[j]


# Per material: mirror-like reflection seen head-on, share of diffuse light, gloss of the sun's highlight.
_REFLECT = np.array([0, .10, .10, .16, .07, .015, .75, .35, .30, .14, .14, .02, .0, .02, .30, .25, .06, .02, .10, .25,
                     .01, .01, .02, .3, .04, .08, .08], dtype=np.float32)
_DIFFUSE = np.array([1, .92, .92, .35, .8, .85, .35, .75, .9, .9, .9, .5, .25, .7, .75, .5, .9, .9, .8, .5, .95, .95,
                     .5, .8, .5, .95, .6], dtype=np.float32)
_GLOSS = np.array([0, 1, 1, 1.2, .8, .05, 1, 1, .5, .7, .7, 0, 0, .08, .6, .3, .2, .05, .6, 1, 0, 0, 0, .6, .1, .3,
                   .3], dtype=np.float32)


def _palette(paint: m.Paint, light: Light) -> Array:
    colour = np.zeros((27, 3), dtype=np.float32)
    fixed: dict[int, m.Rgb] = {
        m.GLASS: (.10, .13, .15), m.BLACK: (.045, .045, .05), m.MATT: (.09, .09, .095), m.CHROME: (.72, .74, .77),
        m.LAMP: (.62, .66, .70), m.GLOW: (.95, .96, 1.0), m.RED: (.68, .05, .05), m.AMBER: (.95, .50, .08),
        m.GAP: (.03, .03, .03), m.WELL: (.025, .025, .03), m.RUBBER: (.085, .085, .09), m.DISC: (.38, .37, .36),
        m.CARBON: (.12, .125, .135), m.CLEAR: (.42, .50, .54), m.SKIN: (.80, .60, .48), m.CLOTH: (.85, .83, .78),
        m.GRILLE: (.06, .06, .065), m.GOLD: (.90, .70, .18), m.WHITE: (.92, .92, .90), m.RIMDARK: (.2, .2, .21)}
    for key, value in fixed.items():
        colour[key] = value
    colour[m.PAINT], colour[m.PAINT2] = paint.body, paint.second
    colour[m.RIM], colour[m.CALIPER], colour[m.LEATHER] = paint.rim, paint.caliper, paint.interior
    colour[m.SHADE] = np.array(paint.body) * 0.35
    return colour


def environment(direction: Array, light: Light) -> Array:
    """What a mirror sees in a direction: road, a dark line of scenery, a bright horizon, sky and clouds."""
    e = direction[:, 2]
    low, top, haze = (np.array(c, dtype=np.float32) for c in (light.sky_low, light.sky_top, light.haze))
    azimuth = np.arctan2(direction[:, 1], direction[:, 0])
    skyline = 0.06 + 0.05 * np.sin(3 * azimuth + 1) + 0.03 * np.sin(7 * azimuth + 2)
    sky = low + (top - low) * smoothstep(0.05, 0.75, e)[:, None]
    cloud = smoothstep(0.25, 0.9, np.sin(2.3 * azimuth + 5 * e) * np.sin(5 * e + 0.7)) * smoothstep(0.1, 0.35, e)
    sky = sky + (0.22 * light.ambient * cloud)[:, None]
    road = haze * (0.30 + 0.25 * smoothstep(-0.9, -0.02, e))[:, None] * np.array(light.ground_tint, dtype=np.float32)
    result = road + (haze * 0.36 - road) * smoothstep(-0.04, 0.0, e)[:, None]
    return (result + (sky - result) * smoothstep(-0.02, 0.03, e - skyline)[:, None]).astype(np.float32)


def shade(ids: m.Ids, p: Array, n: Array, view: Array, paint: m.Paint, light: Light) -> Array:
    """Colours (N, 3) of points with materials `ids`, local places p, unit normals n and directions to the eye."""
    base = _palette(paint, light)[ids]
    if paint.metallic and (ids == m.PAINT).any():
        facing = np.clip((n * view).sum(axis=1), 0, 1)[:, None]
        metal = np.where((ids == m.PAINT) | (ids == m.PAINT2), paint.metallic, 0)[:, None]
        base = base * (1 + metal * (facing - 0.6) * 0.9)
    if (ids == m.CARBON).any():
        weave = (np.floor(p[:, 0] * 60) + np.floor((p[:, 1] + p[:, 2]) * 60)) % 2
        base = base * np.where(ids == m.CARBON, 0.8 + 0.45 * weave, 1)[:, None]
    if (ids == m.GRILLE).any():
        mesh = (np.sin(p[:, 1] * 150) * np.sin(p[:, 2] * 150)) > 0.1
        base = base * np.where((ids == m.GRILLE) & mesh, 3.0, 1)[:, None]
    sun = np.array(light.sun, dtype=np.float32)
    sun = sun / np.linalg.norm(sun)
    facing_sun = np.clip(n @ sun, 0, 1)
    up = 0.5 + 0.5 * n[:, 2:3]
    tint = np.array(light.ground_tint, dtype=np.float32)
    low, top, haze = (np.array(c, dtype=np.float32) for c in (light.sky_low, light.sky_top, light.haze))
    sky_light = light.ambient * (0.55 * haze * tint * (1 - up) + up * (0.5 + 0.25 * (low + top)))
    shut = 0.38 + 0.62 * smoothstep(-0.05, 0.55, p[:, 2])
    body = base * _DIFFUSE[ids][:, None] * (
        sky_light * shut[:, None] + facing_sun[:, None] * np.array(light.sun_colour, dtype=np.float32))
    cos_view = np.clip((n * view).sum(axis=1), 0, 1)
    mirror = 2 * cos_view[:, None] * n - view
    strength = _REFLECT[ids] + (1 - _REFLECT[ids]) * (1 - cos_view) ** 4 * np.minimum(1, _REFLECT[ids] * 7)
    colour = body + strength[:, None] * environment(mirror, light) * np.where(
        ids == m.CHROME, 1.0, 0.95)[:, None] * shut[:, None]
    spark = np.clip(mirror @ sun, 0, 1)
    glint = _GLOSS[ids] * (0.9 * spark**160 + 0.16 * spark**14)
    colour = colour + glint[:, None] * np.array(light.sun_colour, dtype=np.float32)
    if light.lamps:
        lit = np.where(ids == m.GLOW, 1.0, np.where(ids == m.LAMP, 0.35, 0))[:, None]
        colour = colour + lit * light.lamps * np.array([1.0, 0.94, 0.8], dtype=np.float32)
        colour = colour + np.where(ids == m.RED, 0.55 * light.lamps, 0)[:, None] * np.array([1, .1, .08], np.float32)
    return np.clip(colour, 0, 4).astype(np.float32)


def ground_shadow(camera: Camera, light: Light, car: m.Car, stand: Stand) -> Array:
    """How dark the car's shadow makes the ground: (height, width), 0 lit to 1 black."""
    u = np.linspace(0, 1, 18, dtype=np.float32)
    hulls = []
    for part in m.hull_parts(car):
        hulls.append(part.surface(u[:, None], u[None, :]).reshape(-1, 3))
    points = to_world(np.concatenate(hulls), car.length, stand)
    sun = np.array(light.sun, dtype=np.float32)
    reach = min(1.0, 0.9 / max(float(sun[2]), 0.2))
    cast = np.stack([points[:, 0] - sun[0] * points[:, 2] * reach, points[:, 1] - sun[1] * points[:, 2] * reach,
                     0 * points[:, 2]], axis=-1)
    under = np.stack([points[:, 0], points[:, 1], 0 * points[:, 2]], axis=-1)
    small = 4  # drawn coarsely: it is blurred anyway
    total = np.zeros((camera.height, camera.width), dtype=np.float32)
    scale = camera.focal / stand.depth
    for shape, strength, blur in ((cast, light.shadow, 0.10), (under, 0.75, 0.07), (under, 0.35, 0.25)):
        col, row, _ = camera.project(shape)
        image = Image.new("L", (camera.width // small, camera.height // small), 0)
        outline = _hull(np.stack([col, row], axis=-1) / small)
        ImageDraw.Draw(image).polygon([tuple(q) for q in outline.tolist()], fill=255)
        image = image.filter(ImageFilter.GaussianBlur(blur * scale / small))
        image = image.resize((camera.width, camera.height), Image.Resampling.BILINEAR)
        dark = np.asarray(image, dtype=np.float32) * np.float32(strength / 255)
        total = 1 - (1 - total) * (1 - dark)
    return total


def _hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convex hull, in ring order."""
    order = points[np.lexsort((points[:, 1], points[:, 0]))].tolist()

    def half(seq: list[list[float]]) -> list[list[float]]:
        ring: list[list[float]] = []
        for q in seq:
            while len(ring) > 1 and ((ring[-1][0] - ring[-2][0]) * (q[1] - ring[-2][1])
                                     - (ring[-1][1] - ring[-2][1]) * (q[0] - ring[-2][0])) <= 0:
                ring.pop()
            ring.append(q)
        return ring[:-1]

    return np.array(half(order) + half(order[::-1]))


def lamp_glow(canvas: Array, camera: Camera, light: Light, car: m.Car, stand: Stand) -> None:
    """Add the halo of the lamps that face the camera (in place)."""
    if not light.lamps:
        return
    nose_to_viewer = np.sin(stand.yaw)
    for places, colour, facing, size in ((car.front_lamps, (1.0, 0.93, 0.75), nose_to_viewer, 0.55),
                                         (car.rear_lamps, (1.0, 0.12, 0.08), -nose_to_viewer, 0.30)):
        power = light.lamps * np.clip(0.35 + facing, 0, 1)
        if power <= 0:
            continue
        for x, y, z in places:
            for side in (-1, 1) if y else (1,):
                spot = to_world(np.array([[x, side * y, z]], dtype=np.float32), car.length, stand)
                col, row, depth = camera.project(spot)
                _add_halo(canvas, float(col[0]), float(row[0]), size * camera.focal / float(depth[0]),
                          np.array(colour, dtype=np.float32) * power)


def _add_halo(canvas: Array, col: float, row: float, radius: float, colour: Array) -> None:
    r = int(radius * 3) + 1
    y0, y1 = max(0, int(row) - r), min(canvas.shape[0], int(row) + r)
    x0, x1 = max(0, int(col) - r), min(canvas.shape[1], int(col) + r)
    if y0 >= y1 or x0 >= x1:
        return
    yy, xx = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    d = np.hypot(xx - col, yy - row) / radius
    canvas[y0:y1, x0:x1] += (0.55 * np.exp(-(d * 2.2) ** 2) + 0.14 * np.exp(-d * 1.6))[..., None] * colour
