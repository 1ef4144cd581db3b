"""The photos of a report: cards with a thumbnail, the boxes that it is about drawn on it, and what is wrong."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET

from cartag.errors import PhotoError
from cartag.measuring.detection import found_in
from cartag.paths import disk_path
from cartag.photos import content_hash, is_raw, read_photo, small_jpeg
from cartag.state import Index
from cartag.values import Box, PhotoRecord, as_model_has_it

if TYPE_CHECKING:
    from cartag.measuring.figures import Evaluation, Mistake

_THUMBNAIL = 320
_MOST = 24
_KINDS = {"wrong tag": ("tagged", "shows"), "wrong box": ("on another car", "tagged"), "missed": ("missed", "answered")}
"""Of mistakes: the word for the mistake, and for what stands beside it."""
_SPECIAL = {"none": "no car", "unknown": "another car"}


def mistakes(e: Evaluation, names: Mapping[str, str], pictures: Pictures) -> str:
    """The worst ones, as HTML."""
    cards = [pictures.card(m.path, _mistake(m, names), m.box) for m in e.mistakes[:_MOST]]
    return f"<div class=photos>{''.join(cards)}</div>" if cards else "<p>None.</p>"


def _mistake(m: Mistake, names: Mapping[str, str]) -> str:
    what, beside = _KINDS[m.kind]
    car, rest = m.answer, m.truth
    if m.kind == "missed":
        car, rest = m.truth[0], (m.answer,)
    said = f"{beside} {escape(_said(rest, names) if m.kind != 'missed' else names.get(m.answer, m.answer))}, "
    return f"<b>{what}: {escape(names.get(car, _SPECIAL.get(car, car)))}</b><br>{said}score {m.score:.2f}"


def suspicious(e: Evaluation, names: Mapping[str, str], pictures: Pictures) -> str:
    """Labels that are probably wrong, as HTML."""
    cards = [
        pictures.card(
            s.path,
            f"<b>labelled {escape(_said(s.label, names))}</b><br>likelier: "
            f"{escape('none of these cars' if s.likely == 'other' else names.get(s.likely, s.likely))}, {s.score:.2f}",
        )
        for s in e.suspicious[:_MOST]
    ]
    return f"<div class=photos>{''.join(cards)}</div>"


def _said(words: Sequence[str], names: Mapping[str, str]) -> str:
    return ", ".join(names.get(word, _SPECIAL.get(word, word)) for word in words)


class Pictures:
    """Cards with a thumbnail, or with the reason why there is none."""

    def __init__(self, index: Index, gallery: Path) -> None:
        self._index, self._gallery = index, gallery
        self.missing: dict[str, str] = {}
        """Of the photos asked for so far those without a picture, and why."""

    def card(self, path: str, text: str, wrong: Box | None = None) -> str:
        """A card; the box that is ``wrong`` is drawn above those that were found."""
        record = self._index.photos[path]
        on_disk = record.path_on_disk if isinstance(record.path_on_disk, str) else None
        try:
            photo = read_photo(self._gallery, disk_path(path, on_disk))
            if record.sha256 not in (UNSET, content_hash(photo)):
                raise PhotoError("unreadable", "changed since it was tagged")
            data = small_jpeg(photo, _THUMBNAIL, raw=is_raw(path))
            source = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
            drawing = _boxes(as_model_has_it(record) or record, wrong)
            picture = f'<img src="{source}" alt="{escape(path)}" loading=lazy>{drawing}'
            picture = f"<div class=photo>{picture}</div>"
        except PhotoError as e:
            self.missing[path] = f"{e.reason}: {e.detail}"
            picture = f"<div class=nothing>{escape(self.missing[path])}</div>"
        return f"<figure>{picture}<figcaption>{text}<br><small>{escape(path)}</small></figcaption></figure>"


def _boxes(record: PhotoRecord, wrong: Box | None) -> str:
    """A drawing that lies on the thumbnail as the thumbnail lies in its frame."""
    if not isinstance(record.width, int) or not isinstance(record.height, int):
        return ""
    drawn = [(one.box, "found") for one in found_in(record) if one.box != wrong]
    if wrong is not None:
        drawn.append((wrong, "mistake"))
    if not drawn:
        return ""
    sides = (record.width, record.height) * 2
    rectangles = "".join(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'.format(
            kind, *(value * side for value, side in zip(box, sides, strict=True))
        )
        for box, kind in drawn
    )
    return f'<svg class=boxes viewBox="0 0 {record.width} {record.height}" aria-hidden="true">{rectangles}</svg>'
