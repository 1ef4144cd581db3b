"""The card of `look`: figures into `metrics.json`, tables into `README.md`, between two marks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cartag.detector.network import ARCHITECTURE
from cartag.detector.spec import LookSpec
from models.recipe.card import reached, share
from models.recipe.look.measure import WIDTHS, Seen, figures, kept

BEGIN, END = "<!-- tables -->\n", "<!-- end of tables -->"
NARROWEST = 0.05  # of a photo's width: the setting least_region
BOUNDS = ((0.2, 0.45), (0.25, 0.5), (0.25, 0.55), (0.3, 0.55), (0.3, 0.6), (0.35, 0.6), (0.4, 0.65), (0.5, 0.7))
"""Confidences of large and of small cars, from which on they are cars."""


def metrics_of(seen: Sequence[Seen]) -> dict[str, Any]:
    """Counts at every threshold, as JSON holds them."""
    by_threshold: dict[str, Any] = {}
    for bounds in BOUNDS:
        spec = LookSpec(architecture=ARCHITECTURE, least=bounds[0], least_small=bounds[1])
        row: dict[str, Any] = {}
        for kind in ("photo", "composite"):
            found = figures([s for s in seen if s.kind == kind], spec, NARROWEST)
            row[kind] = {
                "found": {str(w): found.found[w] for w in WIDTHS},
                "there": {str(w): found.there[w] for w in WIDTHS},
                "boxes": found.boxes,
                "no_car": found.no_car,
            }
        for kind in ("empty", "scenery"):
            pictures = [s for s in seen if s.kind == kind]
            with_box = sum(len(kept(s.found, spec, NARROWEST)) > 0 for s in pictures)
            row[kind] = {"pictures": len(pictures), "with_a_box": with_box}
        by_threshold[name_of(*bounds)] = row
    return by_threshold


def name_of(least: float, least_small: float) -> str:
    """Of two bounds, in the tables."""
    return f"{least:g}, small {least_small:g}"


def tables(metrics: dict[str, Any]) -> str:
    """All tables of the card."""
    return "\n\n".join(
        "\n".join(rows) for rows in (_goals(metrics), _thresholds(metrics), _tool(metrics["tool"])) if rows
    )


def _goals(metrics: dict[str, Any]) -> list[str]:
    row = metrics["thresholds"][metrics["bounds"]]
    photo, composite, empty = row["photo"], row["composite"], row["empty"]
    scenery, whole = row["scenery"], metrics["tool"]["counts"]["all"]
    return [
        "| held out, in folds | figure | goal | floor | |",
        "|---|---|---|---|---|",
        _line("cars of at least 15 % of the photo's width found", photo, "0.15", ">= 95 %", ">= 88 %"),
        _line("cars of at least 8 %", photo, "0.08", ">= 88 %", ">= 75 %"),
        _line("cars of at least 30 %", photo, "0.3", "", ""),
        "| boxes that are no car, of all | " + _reached(photo["no_car"], photo["boxes"], "<= 4 %", "<= 10 %"),
        _line("composites with exact boxes: cars of at least 15 % found", composite, "0.15", ">= 95 %", ">= 88 %"),
        "| composites: boxes that are no car | "
        + _reached(composite["no_car"], composite["boxes"], "<= 3 %", "<= 8 %"),
        "| photographs without a car that get a box | "
        + _reached(empty["with_a_box"], empty["pictures"], "<= 1 %", "<= 4 %"),
        "| ... that have a region in the index, through the whole tool | "
        + _reached(whole.get("none: with a region", 0), whole.get("none", 0), "<= 1 %", "<= 4 %"),
        "| ImageNet's pictures without a car that get a box | "
        f"{share(scenery['with_a_box'], scenery['pictures'])} | | | |",
    ]


def _line(what: str, of: dict[str, Any], width: str, goal: str, floor: str) -> str:
    part, whole = of["found"][width], of["there"][width]
    return f"| {what} | " + _reached(part, whole, goal, floor)


def _reached(part: int, whole: int, goal: str, floor: str) -> str:
    return f"{share(part, whole)} | {goal} | {floor} | {reached(part, whole, goal, floor)} |"


def _thresholds(metrics: dict[str, Any]) -> list[str]:
    rows = [
        "| confidence from | cars of 8 % found | of 15 % | of 30 % | boxes that are no car | a box without a car |",
        "|---|---|---|---|---|---|",
    ]
    for least, row in metrics["thresholds"].items():
        photo, empty = row["photo"], row["empty"]
        found = " | ".join(share(photo["found"][str(w)], photo["there"][str(w)]) for w in WIDTHS)
        wrong = share(photo["no_car"], photo["boxes"])
        rows.append(f"| {least} | {found} | {wrong} | {share(empty['with_a_box'], empty['pictures'])} |")
    return rows


def _tool(tool: dict[str, Any]) -> list[str]:
    counts = tool["counts"]
    with_which = f"with `mini`, {tool.get('encoder', 'the one that ships')}"
    rows = [f"| through the whole tool, {with_which} | `--regions all` | `main` | `off` |", "|---|---|---|---|"]
    for what, part, whole in (
        ("one of the eleven alone: right car tagged", "eleven, one: right", "eleven, one in the photo"),
        ("... wrong car tagged", "eleven, one: wrong", "eleven, one in the photo"),
        ("one other car alone: tagged with one of the eleven", "others, one: tagged", "others, one in the photo"),
        (
            "several other cars: tagged with one of the eleven",
            "others, several: tagged",
            "others, several in the photo",
        ),
        ("two of the eleven side by side: cars tagged", "pairs: cars", "pairs: cars alone"),
        ("... both tagged, of those tagged alone", "pairs: both, of those that are both alone", "pairs: both alone"),
        ("... a wrong car tagged", "pairs: a wrong one", "pairs"),
        ("no car: `no-car`", "none: no-car", "none"),
        ("no car: tagged", "none: tagged", "none"),
        ("no car: a region in the index", "none: with a region", "none"),
        ("a detail (badge, wheel): tagged", "detail: tagged", "detail"),
        ("an other car's name is right", "other by name: right", "other by name"),
        ("an other car's make is right, where only that is said", "other by make: right", "other by make"),
    ):
        cells = " | ".join(
            share(counts[mode].get(part, 0), counts[mode].get(whole, 0)) if counts[mode].get(whole) else "-"
            for mode in ("all", "main", "off")
        )
        rows.append(f"| {what} | {cells} |")
    seconds = tool["seconds"]
    ratios = " | ".join(f"{seconds[mode] / seconds['off']:.2f} x" for mode in ("all", "main", "off"))
    rows.append(f"| time of these runs against `off` | {ratios} |")
    return rows


def tool_of(out: Path) -> Any:
    """What was measured of the whole tool when ``out`` was last written."""
    return json.loads((out / "metrics.json").read_text(encoding="utf-8"))["tool"]


def write(out: Path, metrics: dict[str, Any]) -> None:
    """Writes both files; the text around the tables stays."""
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    card = out / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else f"# look\n\n{BEGIN}{END}\n"
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    card.write_text(f"{before}{BEGIN}{tables(metrics)}\n{END}{after}", encoding="utf-8")
