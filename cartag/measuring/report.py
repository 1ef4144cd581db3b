"""The evaluation as one self-contained page: figures, charts as inline SVG, thumbnails of the worst mistakes.

Nothing is fetched when it is opened; every name in it is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cartag.errors import UsageError
from cartag.measuring import cards, charts
from cartag.measuring.charts import counted, percent
from cartag.paths import printable, printable_values, why_no_folder
from cartag.photos import check_holds_no_photo, check_is_no_gallery
from cartag.state import Footprint, Index, digest_of

if TYPE_CHECKING:
    from cartag.measuring.figures import BoxFigures, Evaluation
    from cartag.measuring.metrics import Interval

PAGE, FIGURES = "index.html", "metrics.json"
HEADLINES = {
    "accuracy": ("Exactly right", "tags and outcome as labelled"),
    "precision": ("Precision", "share of tags that are right"),
    "recall": ("Recall", "share of shown cars that are tagged"),
    "f1": ("F1", "precision and recall in one"),
    "macro_f1": ("F1, every car alike", "mean over the cars"),
    "top1": ("Top-1", "likeliest car is right"),
    "top5": ("Top-5", "right car among the five likeliest"),
    "recall_at_95_precision": ("Recall at 95 % precision", "at one cut-off for all cars"),
    "auroc_other_cars": ("AUROC, other cars", "catalog cars score above other cars"),
    "fpr95_other_cars": ("FPR@95, other cars", "lower is better"),
    "auroc_no_car": ("AUROC, no car", "catalog cars score above no car"),
    "fpr95_no_car": ("FPR@95, no car", "lower is better"),
    "brier": ("Brier score", "lower is better"),
    "ece": ("Calibration error", "ECE, lower is better"),
    "aurc": ("Mean risk", "AURC, lower is better"),
}
_NO_PERCENTAGE = ("brier", "aurc")
_HEAD = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta http-equiv="Content-Security-Policy" content="'
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
    "<title>cartag: how right are the tags?</title><style>"
)
_NO_FIGURES = {"without_picture"}
"""What an evaluation says of its own page."""
_FOOT = "</main></body></html>\n"


def claim_report(folder: Path, gallery: Path, names: Iterable[str], *, force: bool = False) -> Footprint:
    """Makes sure that a report may be written into ``folder``; ``names`` are those of all figures.

    Raises:
        UsageError: the folder is none, or a gallery.
        ForeignFileError: it holds photos, or files in the way that are not cartag's.
    """
    if why := why_no_folder(folder):
        raise UsageError(f"--report {printable(str(folder))}: {why}; name another")
    check_is_no_gallery(folder, gallery, "--report")
    made = Footprint(folder, "name another folder with --report DIR", force=force)
    made.claim(PAGE, is_own=_is_page)
    made.claim(FIGURES, is_own=lambda data: _are_figures(data, set(names) - _NO_FIGURES))
    if not made.is_ours(PAGE, _is_page):
        check_holds_no_photo(folder, made.names(), "--report")
    return made


def write_report(evaluation: Evaluation, index: Index, gallery: Path, made: Footprint) -> dict[str, str]:
    """Writes ``index.html`` and ``metrics.json`` into the folder that was claimed for them; photos are only read.

    Returns the photos that the page names and cannot show, with the reason: the page says so too.

    Raises:
        UsageError: the folder cannot be written.
        ForeignFileError: somebody else wrote one of the two meanwhile.
    """
    pictures = cards.Pictures(index, gallery)
    page = page_of(evaluation, index, pictures).encode("utf-8", "backslashreplace")
    figures = msgspec.json.format(msgspec.json.encode(printable_values(_figures_of(evaluation))), indent=2) + b"\n"
    try:
        made.expect({FIGURES: digest_of(figures), PAGE: digest_of(page)})
        made.write(FIGURES, figures)
        made.write(PAGE, page)
        made.settle()
    except OSError as e:
        raise UsageError(f"{made.folder}: cannot be written ({e.strerror}); name another folder with --report") from e
    return pictures.missing


def _is_page(data: bytes) -> bool:
    """Whether a page has the frame of a report; what is in it cannot be made again from it."""
    head, style = _HEAD.encode(), f"{_STYLE}</style></head>\n<body><main><header><h1>".encode()
    return data.startswith(head + style) and data.endswith(_FOOT.encode())


def _are_figures(data: bytes, names: set[str]) -> bool:
    """Whether figures are as `write_report` writes them: all of them, by name, and nothing else."""
    figures = msgspec.json.decode(data)
    return set(figures) == names and msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n" == data


def _figures_of(evaluation: Evaluation) -> dict[str, Any]:
    """What `metrics.json` holds: all of an evaluation, but for what became of its page."""
    return {name: value for name, value in asdict(evaluation).items() if name not in _NO_FIGURES}


def page_of(e: Evaluation, index: Index, pictures: cards.Pictures) -> str:
    """The page's HTML."""
    names = {car.id: car.name for car in index.header.catalog.named}
    header = index.header
    mistakes, suspicious = cards.mistakes(e, names, pictures), cards.suspicious(e, names, pictures)
    parts = [
        f"<header><h1>How right are the tags?</h1>"
        f"<p>{e.photos} labelled photos, catalog {escape(header.catalog.name)}, "
        f"model {escape(header.model.name)}, index of {escape(header.updated[:10])}</p>"
        f"{_remarks(e, len(pictures.missing))}</header>",
        _headlines(e),
        _against(e),
        _section(
            "Cars",
            charts.car_bars(e),
            "Bars: recall (blue), precision (grey); the thin line on each is its 95 % interval.",
        ),
        _section(
            "Confusion",
            charts.confusion(e, names),
            "Rows: what the photo shows. Columns: the answer. Photos with one label; point at a cell for its names.",
        ),
        '<div class="pair">',
        _section(
            "Reliability",
            charts.reliability(e),
            "A dot on the line: of photos scored 0.8, eight in ten are right. Below the line: too sure of itself.",
        ),
        _section(
            "Coverage and accuracy",
            charts.coverage(e),
            "Answering only the surest photos: how many are answered, and how many of these are right.",
        ),
        "</div>",
        _section("Outcomes", _outcomes(e), "Rows: truth. Columns: outcome."),
        _section(
            "One car, several cars", _groups(e), "By what the labels say; photos without a car are in neither row."
        ),
        _boxes(e),
        _section(
            "Worst mistakes",
            mistakes,
            "Wrong tags, the surest first; then missed cars. White: boxes that were found; red: the one it is about.",
        ),
        _section(
            "Labels worth another look",
            suspicious,
            "The model is surer of another answer than it usually is of the right one (confident learning).",
        )
        if e.suspicious
        else "",
    ]
    body = "\n".join(part for part in parts if part)
    return f"{_HEAD}{_STYLE}</style></head>\n<body><main>{body}{_FOOT}"


# --- parts ------------------------------------------------------------------------------------------------------


def _section(title: str, content: str, note: str) -> str:
    return f"<section><h2>{escape(title)}</h2><p class=note>{escape(note)}</p>{content}</section>"


def _remarks(e: Evaluation, without_picture: int) -> str:
    remarks = []
    if e.uses_learned:
        remarks.append("The tags use what was learned from hand labels: on the labels learned from, figures flatter.")
    for count, one, several, text in (
        (len(e.not_in_index), "labelled file is", "labelled files are", "not in the index"),
        (e.without_label, "photo has", "photos have", "no label"),
        (e.settled_by_hand, "photo", "photos", "left out: tagged by a person, without what the model says"),
        (e.labels_outside_catalog, "label names", "labels name", "cars outside the catalog, which count as other cars"),
        (len(e.silent_folders), "folder is", "folders are", "not named after a car"),
        (without_picture, "photo", "photos", "below could not be read: the reason stands in place of the picture"),
    ):
        if count:
            remarks.append(f"{count} {one if count == 1 else several} {text}.")
    return f"<p class=note>{escape(' '.join(remarks))}</p>" if remarks else ""


def _headlines(e: Evaluation) -> str:
    figures = []
    for name, (title, meaning) in HEADLINES.items():
        interval = e.intervals.get(name)
        if interval is not None:
            figures.append(
                f"<div class=card><div class=value>{_figure(name, interval.value)}</div><div>{escape(title)}</div>"
                f"<div class=note>{escape(meaning)}<br><span class=span>{_span(name, interval)}</span></div></div>"
            )
    meant = "Under each figure its 95 % interval: with other photos of this kind it would most likely lie in it."
    note = f"<p class=note>{meant}</p>"
    return f"<section><div class=cards>{''.join(figures)}</div>{note}</section>"


def _against(e: Evaluation) -> str:
    c = e.against
    if c is None:
        return ""
    rows = [
        (
            escape(HEADLINES[name][0]),
            _signed(name, i.value),
            f"{_signed(name, i.low)} to {_signed(name, i.high)}",
            _meaning(name, i),
        )
        for name, i in c.differences.items()
        if i is not None and name in HEADLINES
    ]
    table = _table(("figure", "difference", "95 % interval", ""), rows)
    verdict = f"Only this one right: {c.gained}. Only the other: {c.lost}. McNemar p = {c.p_value:.4f}."
    return _section(
        f"Against {c.against}",
        table,
        f"This less the other, in percentage points, on {counted(c.photos, 'photo')}. {verdict}",
    )


def _meaning(name: str, i: Interval) -> str:
    if i.low <= 0 <= i.high:
        return "no clear difference"
    worse_when_high = name.startswith(("fpr", "brier", "ece", "aurc"))
    return "better" if (i.low > 0) != worse_when_high else "worse"


def _outcomes(e: Evaluation) -> str:
    columns = list(next(iter(e.outcomes.values())))
    words = {"car": "a car of the catalog", "unknown": "another car", "none": "no car"}
    return _table(("truth", *columns), [(words[t], *map(str, row.values())) for t, row in e.outcomes.items()])


GROUPS = {"one": "one car", "several": "several cars"}
BOXES = {
    "recall": ("Labelled boxes found", "labelled"),
    "precision": ("Found boxes that are labelled", "found"),
    "tags_right": ("Tags right on the right box", "tags"),
    "cars_right": ("Cars found and rightly tagged", "cars"),
}
"""Shares of `BoxFigures`: what each is, and the count that it is a share of."""


def _groups(e: Evaluation) -> str:
    rows = [
        (GROUPS[name], str(g.photos), *map(percent, (g.accuracy, g.precision, g.recall, *_of_boxes(g.boxes))))
        for name, g in e.groups.items()
    ]
    header = ("photos with", "photos", "exactly right", "precision", "recall", "boxes found", "boxes right")
    return _table(header, rows)


def _of_boxes(boxes: BoxFigures | None) -> tuple[float | None, float | None]:
    shares = (None, None) if boxes is None else (boxes.recall, boxes.precision)
    recall, precision = (None if share is None else share.value for share in shares)
    return recall, precision


def _boxes(e: Evaluation) -> str:
    if e.boxes is None:
        return ""
    rows = [
        (title, "–" if i is None else percent(i.value), str(getattr(e.boxes, of)), "" if i is None else _span(name, i))
        for name, (title, of) in BOXES.items()
        for i in (getattr(e.boxes, name),)
    ]
    return _section(
        "Boxes",
        _table(("figure", "share", "of", "95 % interval"), rows),
        f"On the {counted(e.boxes.photos, 'photo')} whose labels have boxes. "
        "A box is found where an IoU of 0.5 says so.",
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"


def _signed(name: str, value: float) -> str:
    return f"{value:+.3f}" if name in _NO_PERCENTAGE else f"{100 * value:+.1f}"


def _figure(name: str, value: float) -> str:
    """A Brier score is no percentage, nor is an area."""
    return f"{value:.3f}" if name in _NO_PERCENTAGE else percent(value)


def _span(name: str, i: Interval) -> str:
    return f"{i.low:.3f} – {i.high:.3f}" if name in _NO_PERCENTAGE else f"{100 * i.low:.1f} – {100 * i.high:.1f} %"


_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--dim:#5d6876;--paper:#fbfbf9;--card:#fff;--line:#dcdfe3;--good:#1f6fb2;
--bad:#c0392b;--grey:#9aa4b0}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaef;--dim:#9aa6b4;--paper:#14181d;--card:#1d232a;--line:#333c47;
--good:#5aa9e6;--bad:#ef7c6d;--grey:#6f7b89}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:20px 16px 60px}h1{font-size:1.7rem;line-height:1.2;margin:.3em 0}
h2{font-size:1.2rem;margin:0 0 .1em}
section{margin:28px 0 0}.note,small{color:var(--dim);font-size:.85rem}.note{margin:.1em 0 .8em}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(155px,1fr));gap:12px}
.card,figure{background:var(--card);border:1px solid var(--line);border-radius:10px}
.card{padding:12px}.card .note{margin:.2em 0 0;line-height:1.35}
.value{font-size:1.5rem;font-weight:650;font-variant-numeric:tabular-nums}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(280px,1fr));gap:0 28px}
svg{width:100%;height:auto;display:block}.pair svg{max-width:520px}
svg text{fill:var(--ink);font-size:13px}.grid{stroke:var(--line)}.guide{stroke:var(--grey);stroke-dasharray:5 5}
.curve{stroke:var(--good);stroke-width:3;fill:none}
.dot{fill:var(--good);fill-opacity:.75}.cell{stroke:var(--line)}.right{fill:var(--good)}.wrong{fill:var(--bad)}
.count{text-anchor:middle;font-weight:600}svg .over{fill:var(--paper)}td,.span{white-space:nowrap}
td:first-child{white-space:normal}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:5px 12px 5px 0;text-align:left;border-bottom:1px solid var(--line)}
.car{display:grid;grid-template-columns:minmax(0,230px) minmax(0,1fr) minmax(0,250px);gap:4px 14px;align-items:center;
padding:5px 0}.bars{background:var(--line);border-radius:3px;overflow:hidden}
.track{position:relative;height:10px}.bar{height:10px;min-width:1px}
.track i{position:absolute;top:4px;height:2px;background:var(--ink)}
.recall{background:var(--good)}.precision{background:var(--grey)}
.photos{display:grid;grid-template-columns:repeat(auto-fill,minmax(220px,1fr));gap:14px}
figure{margin:0;overflow:hidden}
figure img{width:100%;aspect-ratio:3/2;object-fit:contain;background:#0001;display:block}
.photo{position:relative}.boxes{position:absolute;inset:0;height:100%}
.boxes rect{fill:none;stroke:#fff;stroke-width:1.5;vector-effect:non-scaling-stroke}
.boxes .mistake{stroke:#e5402a;stroke-width:3}
.nothing{aspect-ratio:3/2;display:grid;place-items:center;padding:10px;color:var(--dim);text-align:center}
figcaption{padding:8px 10px 10px;font-size:.92rem;overflow-wrap:anywhere}
@media(max-width:640px){.cards{grid-template-columns:1fr 1fr}.car{grid-template-columns:1fr}
.photos{grid-template-columns:1fr 1fr}}
"""
