"""Curves and parametric surfaces: everything a car is made of, in metres.

Car coordinates: x from the nose (0) to the tail (length), y to the side (0 is the middle), z up from the road.
A surface maps grids (u, v), both in [0, 1], to points of shape (..., 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Pair = tuple[float, float]
Curve = tuple[Pair, ...]
Surface = Callable[[Array, Array], Array]

_TABLE = 1024


@lru_cache(maxsize=512)
def _table(points: Curve, smooth: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A dense polyline through the points: straight, or monotone cubic (no overshoot between points)."""
    xs = np.array([p[0] for p in points], dtype=np.float64)
    ys = np.array([p[1] for p in points], dtype=np.float64)
    grid = np.linspace(xs[0], xs[-1], _TABLE)
    if not smooth or len(points) < 3:
        return grid, np.interp(grid, xs, ys)
    step = np.diff(xs)
    slope = np.diff(ys) / step
    tangent = np.empty_like(ys)
    tangent[0], tangent[-1] = slope[0], slope[-1]
    left, right = slope[:-1], slope[1:]
    product = left * right
    total = np.where(np.abs(left + right) < 1e-12, 1.0, left + right)
    tangent[1:-1] = np.where(product > 0, 2 * product / total, 0.0)
    cell = np.clip(np.searchsorted(xs, grid, side="right") - 1, 0, len(xs) - 2)
    h = step[cell]
    t = (grid - xs[cell]) / h
    value = (
        (1 + 2 * t) * (1 - t) ** 2 * ys[cell]
        + t * (1 - t) ** 2 * h * tangent[cell]
        + t * t * (3 - 2 * t) * ys[cell + 1]
        + t * t * (t - 1) * h * tangent[cell + 1]
    )
    return grid, value


def along(points: Curve, x: Array, smooth: bool = True) -> Array:
    """Value of the curve through `points` at each x; constant beyond its ends."""
    grid, value = _table(points, smooth)
    return np.interp(x, grid, value).astype(np.float32)


@lru_cache(maxsize=64)
def _quarter(power: float) -> tuple[Array, Array, Array]:
    """A quarter of a superellipse, (1, 0) to (0, 1), by arc length: parameter, abscissa, ordinate."""
    angle = np.linspace(0, np.pi / 2, 2000)
    a, b = np.cos(angle) ** (2 / power), np.sin(angle) ** (2 / power)
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(a), np.diff(b)))])
    t = np.linspace(0, 1, 400)
    where = t * length[-1]
    return (
        t.astype(np.float32),
        np.interp(where, length, a).astype(np.float32),
        np.interp(where, length, b).astype(np.float32),
    )


def quarter(power: float, t: Array) -> tuple[Array, Array]:
    """Points of a quarter superellipse at arc-length fraction t: (across, up), each in [0, 1]."""
    grid, across, up = _quarter(power)
    t = np.clip(t, 0, 1)
    return np.interp(t, grid, across).astype(np.float32), np.interp(t, grid, up).astype(np.float32)


def smoothstep(low: float, high: float, x: Array) -> Array:
    """0 below `low`, 1 above `high`, and a smooth ramp between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def stack(x: Array, y: Array, z: Array) -> Array:
    """Three coordinate grids as one grid of points (float32, shape (..., 3))."""
    x, y, z = np.broadcast_arrays(x, y, z)
    return np.stack([x, y, z], axis=-1).astype(np.float32)


def ellipsoid(centre: Sequence[float], radii: Sequence[float]) -> Surface:
    """An ellipsoid with its axes along the car's."""

    def surface(u: Array, v: Array) -> Array:
        a, b = u * 2 * np.pi, (v - 0.5) * np.pi
        return stack(
            centre[0] + radii[0] * np.cos(a) * np.cos(b),
            centre[1] + radii[1] * np.sin(a) * np.cos(b),
            centre[2] + radii[2] * np.sin(b),
        )

    return surface


def patch(corners: Sequence[Sequence[float]], bulge: Sequence[float] = (0, 0, 0)) -> Surface:
    """A four-cornered sheet (corners in ring order), swollen by `bulge` in the middle."""
    a, b, c, d = (np.asarray(p, dtype=np.float32) for p in corners)
    swell = np.asarray(bulge, dtype=np.float32)

    def surface(u: Array, v: Array) -> Array:
        u, v = np.broadcast_arrays(u, v)
        u, v = u[..., None], v[..., None]
        flat = (1 - u) * ((1 - v) * a + v * d) + u * ((1 - v) * b + v * c)
        return (flat + swell * (16 * u * (1 - u) * v * (1 - v))).astype(np.float32)

    return surface


def tube(start: Sequence[float], end: Sequence[float], radius: float, end_radius: float | None = None) -> Surface:
    """A round bar from `start` to `end`."""
    a, b = np.asarray(start, dtype=np.float32), np.asarray(end, dtype=np.float32)
    axis = (b - a) / max(float(np.linalg.norm(b - a)), 1e-6)
    other = np.array([0, 0, 1] if abs(axis[2]) < 0.9 else [1, 0, 0], dtype=np.float32)
    side = np.cross(axis, other)
    side /= np.linalg.norm(side)
    up = np.cross(axis, side)
    last = radius if end_radius is None else end_radius

    def surface(u: Array, v: Array) -> Array:
        u, v = np.broadcast_arrays(u, v)
        angle = (v * 2 * np.pi)[..., None]
        t = u[..., None]
        r = radius + (last - radius) * t
        return (a + (b - a) * t + r * (np.cos(angle) * side + np.sin(angle) * up)).astype(np.float32)

    return surface


def disc(centre: Sequence[float], radius: float, axis: str = "x", squash: float = 1.0) -> Surface:
    """A flat disc whose normal is the given axis; `squash` scales its height."""

    def surface(u: Array, v: Array) -> Array:
        a, r = u * 2 * np.pi, v * radius
        p, q = r * np.cos(a), r * np.sin(a) * squash
        if axis == "x":
            return stack(centre[0] + 0 * p, centre[1] + p, centre[2] + q)
        if axis == "y":
            return stack(centre[0] + p, centre[1] + 0 * p, centre[2] + q)
        return stack(centre[0] + p, centre[1] + q, centre[2] + 0 * p)

    return surface


def mirrored(surface: Surface) -> Surface:
    """The same surface on the other side of the car."""

    def other(u: Array, v: Array) -> Array:
        return surface(u, v) * np.array([1, -1, 1], dtype=np.float32)

    return other
