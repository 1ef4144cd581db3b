"""Charts of an evaluation as inline SVG and HTML: bars of cars, confusion, reliability, coverage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cartag.measuring.figures import Evaluation
    from cartag.measuring.metrics import Interval


def car_bars(e: Evaluation) -> str:
    """Of every car two bars with their 95 % intervals, recall and precision, as HTML."""
    rows = []
    for car in e.cars:
        if not car.photos and not car.tagged:
            continue
        bars = "".join(
            _bar(kind, interval)
            for kind, interval in (("recall", car.recall_interval), ("precision", car.precision_interval))
        )
        photos, tags = counted(car.photos, "photo"), counted(car.tagged, "tag")
        text = f"{percent(car.recall)} of {photos}, {percent(car.precision)} of {tags}"
        rows.append(
            f"<div class=car><span>{escape(car.name)}</span><div class=bars>{bars}</div><small>{text}</small></div>"
        )
    return "".join(rows) or "<p>No photo of a car of the catalog.</p>"


def _bar(kind: str, i: Interval | None) -> str:
    if i is None:
        return "<div class=track></div>"
    whisker = f"left:{100 * i.low:.1f}%;width:{100 * (i.high - i.low):.1f}%"
    title = f"{kind} {percent(i.value)}, 95 % interval {100 * i.low:.1f} – {100 * i.high:.1f} %"
    return (
        f'<div class=track title="{title}"><div class="bar {kind}" style="width:{100 * i.value:.1f}%"></div>'
        f'<i style="{whisker}"></i></div>'
    )


def confusion(e: Evaluation, names: Mapping[str, str]) -> str:
    """What photos with one label show (rows) and what was answered (columns); ``names`` are those of the cars by id."""
    rows = list(e.confusion)
    columns = list(dict.fromkeys(column for row in e.confusion.values() for column in row))
    order = [*names, "unknown", "none", "no-car", "error"]
    columns.sort(key=lambda c: order.index(c) if c in order else len(order))
    if not rows:
        return "<p>No photo with a single label.</p>"
    cell, left, top = 34, 210, 178
    width, height = left + cell * len(columns) + 130, top + cell * len(rows) + 8
    out = [
        f'<svg viewBox="0 0 {width} {height}" style="min-width:{min(width, 620)}px" '
        'role="img" aria-label="confusion matrix">'
    ]
    for x, column in enumerate(columns):
        at = left + cell * x + cell / 2
        out.append(
            f'<text transform="translate({at + 4:.0f} {top - 8}) rotate(-50)">'
            f"{escape(_short(names.get(column, column)))}</text>"
        )
    for y, row in enumerate(rows):
        total = sum(e.confusion[row].values())
        base = top + cell * y
        out.append(
            f'<text x="{left - 8}" y="{base + cell / 2 + 5:.0f}" text-anchor="end">'
            f"{escape(_short(names.get(row, row)))}</text>"
        )
        for x, column in enumerate(columns):
            n = e.confusion[row].get(column, 0)
            right = column == {"none": "no-car"}.get(row, row)
            tone = "right" if right else "wrong"
            opacity = 0.15 + 0.85 * n / total if n else 0
            title = f"{names.get(row, row)}, answered {names.get(column, column)}: {n} of {total}"
            out.append(
                f'<rect class="cell {tone}" x="{left + cell * x + 1}" y="{base + 1}" width="{cell - 2}" '
                f'height="{cell - 2}" style="fill-opacity:{opacity:.2f}"><title>{escape(title)}</title></rect>'
            )
            if n:
                tone = "count over" if opacity > 0.6 else "count"
                out.append(
                    f'<text class="{tone}" x="{left + cell * (x + 0.5):.0f}" y="{base + cell / 2 + 5:.0f}">{n}</text>'
                )
    return f"<div class=wide>{''.join(out)}</svg></div>"


def reliability(e: Evaluation) -> str:
    """Share right by mean score; the larger a dot, the more photos."""
    most = max((b.photos for b in e.reliability), default=1)
    marks = [_line([(0, 0), (1, 1)], "guide")]
    for b in e.reliability:
        x, y = _place(b.confidence, b.accuracy)
        radius = 4 + 5 * (b.photos / most) ** 0.5
        title = f"{counted(b.photos, 'photo')}, mean score {b.confidence:.2f}, {percent(b.accuracy)} right"
        marks.append(
            f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{escape(title)}</title></circle>'
        )
    return _chart("".join(marks), "mean score", "share right")


def coverage(e: Evaluation) -> str:
    """Share right of the surest photos, by how many are answered."""
    if not e.coverage:
        return "<p>Nothing to show.</p>"
    return _chart(
        _line([(c.coverage, c.accuracy) for c in e.coverage], "curve"), "share of photos answered", "share right"
    )


def _chart(marks: str, x_title: str, y_title: str) -> str:
    grid = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        (x, bottom), (left, y) = _place(tick, 0), _place(0, tick)
        grid.append(f'<path class="grid" d="M{x:.1f} 20V{bottom:.1f}M{left:.1f} {y:.1f}H380"/>')
        grid.append(f'<text x="{x:.1f}" y="{bottom + 20:.0f}" text-anchor="middle">{100 * tick:.0f}</text>')
        grid.append(f'<text x="{left - 8:.0f}" y="{y + 4:.1f}" text-anchor="end">{100 * tick:.0f}</text>')
    titles = (
        f'<text x="220" y="352" text-anchor="middle">{escape(x_title)}, %</text>'
        f'<text transform="translate(16 160) rotate(-90)" text-anchor="middle">{escape(y_title)}, %</text>'
    )
    name = f"{escape(y_title)} by {escape(x_title)}"
    return f'<svg viewBox="0 0 400 360" role="img" aria-label="{name}">{"".join(grid)}{titles}{marks}</svg>'


def _place(x: float, y: float) -> tuple[float, float]:
    return 60 + 320 * x, 310 - 290 * y


def _line(points: Iterable[tuple[float, float]], kind: str) -> str:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (_place(*point) for point in points))
    return f'<path class="{kind}" d="M{path}"/>'


def _short(name: str) -> str:
    return name if len(name) <= 26 else name[:25] + "…"


def counted(n: int, what: str) -> str:
    """A count with its noun, plural but for one."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def percent(value: float | None) -> str:
    """A share 0..1 in per cent; a dash if it is not known."""
    return "–" if value is None else f"{100 * value:.1f} %"
