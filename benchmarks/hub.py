"""`cartag models check` for every hub model of the table, as a table: what `make hub` writes into docs/hub.md.

    python -m benchmarks.hub [NAME...] [--write docs/hub.md]

A model that is neither here nor to be fetched is "not run", with the reason; a row that was measured before is then
kept. The figures are on the sample gallery, which is drawings: they say that a model works, not how much it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import cartag
from benchmarks import measuring
from benchmarks.measuring import Report
from cartag.checkpoints import known_models
from cartag.errors import ModelError
from cartag.trying import Trial

_CHECKS = {
    "own processor": "its own processor",
    "own tower": "the image tower",
    "one or many": "one at a time",
    "bfloat16": "bfloat16",
}
_COLUMNS = ("model", "verdict", "commit", "top-1", *_CHECKS, "s a photo", "date")
NOT_RUN = "not run"
BUNDLED = "mini"


def names() -> list[str]:
    """The models that come from the hub."""
    return [name for name, spec in known_models().items() if "/" in spec.source and name != BUNDLED]


def measure(wanted: Sequence[str], before: dict[str, tuple[str, ...]] | None = None) -> Report:
    """One row a model; ``before`` are the rows of an earlier time, by the model's name."""
    report = Report("hub", _COLUMNS)
    for name in wanted:
        try:
            report.add(*_row(cartag.check_model(name)))
        except ModelError as e:
            earlier = (before or {}).get(name)
            why = str(e).split("; ")[0].removeprefix(f"model {name}: ")
            report.add(*(earlier or (name, NOT_RUN, *["-"] * (len(_COLUMNS) - 2))))
            report.notes.append(f"`{name}` was not run now: {why}.")
    return report


def _row(trial: Trial) -> tuple[str, ...]:
    found = {check.what: check.found for check in trial.checks}
    checked = [next((f for what, f in found.items() if what.startswith(start)), "-") for start in _CHECKS.values()]
    failed = [check.what for check in trial.checks if check.holds is False]
    verdict = f"fails: {'; '.join(failed)}" if failed else "holds"
    date = datetime.now(UTC).date().isoformat()
    top1 = f"{100 * trial.top1:.0f} %"
    return (trial.model, verdict, trial.revision[:12], top1, *checked, f"{trial.seconds_a_photo:.3f}", date)


def rows_of(page: str) -> dict[str, tuple[str, ...]]:
    """The rows of a page's table that were measured, by the model's name."""
    cells = [tuple(c.strip() for c in line.strip("| ").split(" | ")) for line in page.splitlines() if line[:2] == "| "]
    return {row[0]: row for row in cells if len(row) == len(_COLUMNS) and row[0] in names() and row[1] != NOT_RUN}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = measuring.parser("hub", __doc__ or "")
    parser.add_argument("models", nargs="*", help="names of the table; all that come from the hub")
    options = parser.parse_args(arguments)
    page: Path | None = options.write
    before = rows_of(page.read_text(encoding="utf-8")) if page is not None else {}
    measuring.publish(measure(options.models or names(), before), options)


if __name__ == "__main__":
    main()
