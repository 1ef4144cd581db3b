"""exiftool's JSON: what ``exiftool -json`` prints and ``exiftool -json=FILE`` imports."""

from __future__ import annotations

from typing import Any

import msgspec

from cartag.exporting.job import Job, Photo
from cartag.exporting.keywords import Keywords, Region, keywords_of
from cartag.exporting.regions import VEHICLE
from cartag.paths import printable

_DIGITS = 6


def document(job: Job) -> bytes:
    """A list with one object a photo that has tags: `SourceFile` and the tags' names in exiftool's words.

    ``SourceFile`` is the photo under the gallery as it was given, so that ``exiftool -json=FILE -r GALLERY`` finds it.
    The setting `exiftool_keys` decides between flat keys (``Subject``) and grouped ones (``XMP:Subject``).
    """
    prefix = "XMP:" if job.settings.exiftool_keys == "grouped" else ""
    rows = [_row(photo, job, prefix) for photo in job.photos if photo.tags]
    return msgspec.json.format(msgspec.json.encode(rows), indent=2) + b"\n"


def _row(photo: Photo, job: Job, prefix: str) -> dict[str, Any]:
    keywords = keywords_of(photo, job)
    fields: dict[str, Any] = {
        "Subject": keywords.subjects,
        "HierarchicalSubject": keywords.hierarchical,
        "TagsList": keywords.tree,
    }
    if keywords.regions:
        fields["ImageRegion"] = [_image_region(region, number) for number, region in enumerate(keywords.regions, 1)]
    if keywords.regions and keywords.mwg:
        fields["RegionInfo"] = _region_info(keywords)
    return {"SourceFile": printable(job.disk_path(photo))} | {prefix + key: value for key, value in fields.items()}


def _image_region(region: Region, number: int) -> dict[str, Any]:
    """A region of IPTC in exiftool's words; its id is unique in the photo."""
    sides = {f"Rb{side}": round(value, _DIGITS) for side, value in zip("XYWH", region.box, strict=True)}
    return {
        "RegionBoundary": {"RbShape": "Rectangle", "RbUnit": "Relative"} | sides,
        "RId": f"cartag:{region.car}#{number}",
        "Name": region.name,
        "RCtype": [{"Name": "vehicle", "Identifier": [VEHICLE]}],
    }


def _region_info(keywords: Keywords) -> dict[str, Any]:
    info: dict[str, Any] = {"RegionList": [_region(region) for region in keywords.regions]}
    if keywords.stored_size is not None:
        width, height = keywords.stored_size
        info["AppliedToDimensions"] = {"W": width, "H": height, "Unit": "pixel"}
    return info


def _region(region: Region) -> dict[str, Any]:
    """A region of MWG; one with a name would be a face to many programs."""
    area = {"X": region.x, "Y": region.y, "W": region.width, "H": region.height, "Unit": "normalized"}
    return {"Description": region.name, "Area": area}
