"""Regions in XMP packets: cars in their boxes as IPTC has them, and as MWG does, beside the regions of others.

One that is as cartag wrote it, to the last of its texts, is ours: replaced, or taken out when its tag goes. One that a
person has moved, named otherwise or added something to is hers from then on, and one that she deleted stays away.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from cartag.exporting.job import Box
from cartag.exporting.keywords import Keywords, Region
from cartag.exporting.rdf import (
    AREA,
    DIMENSIONS,
    IPTC,
    MWG,
    OWN,
    XMP,
    Packet,
    append,
    as_list,
    fields_of,
    items_of,
    rdf_name,
    remove,
    struct_of,
    text_of,
    xml_text,
)
from cartag.exporting.structs import Items, Struct, leaves, leaves_in, write
from cartag.state import matched

VEHICLE = "http://cv.iptc.org/newscodes/imageregiontype/vehicle"
"""IPTC's controlled vocabulary of what a region shows."""
_OURS = "cartag:"
"""What the `rId` of our regions begins with; their key follows."""
_NUMBERED = re.compile(r"(.+)#\d+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NotedRegions:
    """Regions that were written, by their keys: a car's id, with a number where it stands in several boxes."""

    iptc: Mapping[str, str] = field(default_factory=dict)
    """With the box that each had then, as text."""
    mwg: tuple[str, ...] = ()
    """These hold their box themselves."""


def edit_regions(
    packet: Packet,
    place: Callable[[], Any],
    said: Keywords,
    noted: NotedRegions,
    names: Mapping[str, str],
    *,
    was_deleted: bool,
) -> tuple[bool, NotedRegions]:
    """Brings the regions of a packet up to date; returns whether it changed one, and what is to be noted now.

    Args:
        packet: is edited.
        place: gives the description that new properties go into.
        said: the regions that shall be there.
        noted: those that were written before.
        names: of cars by their ids, as they were written then.
        was_deleted: what is noted and not there, a person deleted.

    Raises:
        PacketError: what is there is no list of regions.
    """
    if not said.regions and not noted.iptc and not noted.mwg:
        return False, NotedRegions()
    iptc, mwg = _Iptc(packet, place, names, noted.iptc), _Mwg(packet, place, names, dict.fromkeys(noted.mwg, ""))
    boxes = {**mwg.boxes(), **iptc.boxes()} if was_deleted else {}
    hers = frozenset() if was_deleted else iptc.keys_of_others() | mwg.keys_of_others()
    wanted = _keyed(said.regions, boxes, hers)
    changed_iptc, iptc_now = iptc.edit(wanted, said.stored_size, was_deleted)
    changed_mwg, mwg_now = mwg.edit(wanted if said.mwg else {}, said.stored_size, was_deleted)
    return changed_iptc or changed_mwg, NotedRegions(iptc_now, tuple(mwg_now))


def _keyed(regions: Sequence[Region], noted: Mapping[str, Box | None], taken: AbstractSet[str]) -> dict[str, Region]:
    """Regions by key. Where a car was in a box before, the region nearest to it keeps the key."""
    found: dict[str, Region] = {}
    for car in dict.fromkeys(region.car for region in regions):
        mine = [region for region in regions if region.car == car]
        keys = [key for key in noted if _car_of(key) == xml_text(car)]
        placed = [(key, box) for key in keys if (box := noted[key]) is not None]
        same = matched([region.box for region in mine], [box for _, box in placed])
        by_number = {i: placed[j][0] for i, j in same.items()}
        free = iter([key for key in keys if key not in by_number.values()])
        new = (key for key in _keys(xml_text(car)) if key not in keys and key not in taken)
        for i, region in enumerate(mine):
            found[by_number.get(i) or next(free, None) or next(new)] = region
    return found


def _keys(car: str) -> Iterator[str]:
    yield car
    number = 1
    while True:
        number += 1
        yield f"{car}#{number}"


def _car_of(key: str) -> str:
    found = _NUMBERED.fullmatch(key)
    return key if found is None else found[1]


# --- the two kinds ----------------------------------------------------------------------------------------------


class _Kind(ABC):
    """A list of regions in a packet, and which of them are ours."""

    stands_last = False
    """Whether ours stand after those of all others."""

    def __init__(
        self, packet: Packet, place: Callable[[], Any], names: Mapping[str, str], noted: Mapping[str, str]
    ) -> None:
        self._packet, self._place, self._names, self._noted = packet, place, names, noted
        self._listed: Any = self._find()
        self._items = [(self._key(item), item) for item in items_of(self._listed)]

    @abstractmethod
    def _find(self) -> Any:
        """The element of the list, or None."""

    @abstractmethod
    def _make(self, size: tuple[int, int] | None) -> Any:
        """Makes that element; ``size`` is that of the photo as it is stored."""

    @abstractmethod
    def _tidy(self) -> None:
        """Takes the element out, which is empty."""

    @abstractmethod
    def _key(self, item: Any) -> str:
        """The key of a region of ours; of another's, an empty text."""

    @abstractmethod
    def _mark(self, key: str, item: Any) -> str:
        """The box that a region had when it was written."""

    @abstractmethod
    def _form(self, key: str, name: str, mark: str) -> Struct:
        """A region as it is written."""

    @abstractmethod
    def _box(self, mark: str) -> Box | None:
        """Left, top, width and height of a mark."""

    @abstractmethod
    def _mark_of(self, region: Region) -> str:
        """A box as the region holds it."""

    def _older(self, key: str, name: str, mark: str) -> Struct | None:
        """As an older version wrote it."""
        return None

    def boxes(self) -> dict[str, Box | None]:
        """The noted keys, with their boxes where those are known."""
        items = dict(self._items)
        return {key: self._box(self._mark(key, items.get(key))) for key in self._noted}

    def keys_of_others(self) -> frozenset[str]:
        """Keys of regions that were ours and are a person's now."""
        return frozenset(key for key, item in self._items if key and not self._is_ours(key, item))

    def _is_ours(self, key: str, item: Any) -> bool:
        if key not in self._noted:
            return False
        arguments = key, self._names.get(_car_of(key), ""), self._mark(key, item)
        older = self._older(*arguments)
        found = leaves_in(item)
        return found == leaves(self._form(*arguments)) or (older is not None and found == leaves(older))

    def edit(
        self, wanted: Mapping[str, Region], size: tuple[int, int] | None, was_deleted: bool
    ) -> tuple[bool, dict[str, str]]:
        """Takes out what is ours and no longer wanted, puts in what is wanted and was never there; the new note."""
        forms = {key: self._form(key, xml_text(region.name), self._mark_of(region)) for key, region in wanted.items()}
        here = {key for key, _ in self._items if key}
        ours = [(place, key, item) for place, (key, item) in enumerate(self._items) if self._is_ours(key, item)]
        others = set(range(len(self._items))) - {place for place, _, _ in ours}
        after = max(others, default=-1) if self.stands_last else -1
        stale = {
            place: (key, item)
            for place, key, item in ours
            if key not in forms or place < after or leaves_in(item) != leaves(forms[key])
        }
        again = {key for key, _ in stale.values()}
        deleted = self._noted.keys() - here if was_deleted else set()
        add = {key for key in forms if key in again or (key not in here and key not in deleted)}
        for _, item in stale.values():
            remove(item)
        if add:
            listed = self._make(size) if self._listed is None else self._listed
            container = as_list(listed, "Bag")
            for key in forms:
                if key in add:
                    write(container, rdf_name("li"), forms[key])
        elif stale and not items_of(self._listed):
            self._tidy()
        notes = {key: self._mark_of(wanted[key]) if key in add else self._noted.get(key) for key in sorted(forms)}
        return bool(stale or add), {key: mark for key, mark in notes.items() if mark is not None}


class _Iptc(_Kind):
    """`Iptc4xmpExt:ImageRegion` (IPTC Photo Metadata Standard 2019.1 and later): a rectangle by its top left corner."""

    def _find(self) -> Any:
        return self._packet.property(_iptc("ImageRegion"))

    def _make(self, size: tuple[int, int] | None) -> Any:
        return append(self._place(), _iptc("ImageRegion"), inside=(XMP,))

    def _tidy(self) -> None:
        self._packet.remove(self._listed)

    def _key(self, item: Any) -> str:
        text = text_of(fields_of(item).get(_iptc("rId"))).strip()
        return text.removeprefix(_OURS) if text.startswith(_OURS) else ""

    def _mark(self, key: str, item: Any) -> str:
        return self._noted.get(key, "")

    def _mark_of(self, region: Region) -> str:
        return " ".join(map(_number, region.box))

    def _box(self, mark: str) -> Box | None:
        return _numbers(mark)

    def _form(self, key: str, name: str, mark: str) -> Struct:
        sides = (_iptc(f"rb{side}") for side in "XYWH")
        boundary = {_iptc("rbShape"): "rectangle", _iptc("rbUnit"): "relative"}
        vehicle = {
            _iptc("Name"): Items("Alt", ("vehicle",)),
            f"{{{XMP}}}Identifier": Items("Bag", (VEHICLE,)),
        }
        return {
            _iptc("RegionBoundary"): boundary | dict(zip(sides, mark.split(), strict=False)),
            _iptc("rId"): _OURS + key,
            _iptc("Name"): Items("Alt", (name,)),
            _iptc("rCtype"): Items("Bag", (vehicle,)),
        }


class _Mwg(_Kind):
    """`mwg-rs:Regions`: a rectangle by its centre.

    Programs take a region with a name for a face, whatever its type: so ours have a description, and stand last. They
    have no type, for MWG's (face, pet, focus, barcode) know no car.
    """

    stands_last = True

    def _find(self) -> Any:
        regions = self._packet.property(_mwg("Regions"))
        return None if regions is None else struct_of(regions).find(_mwg("RegionList"))

    def _make(self, size: tuple[int, int] | None) -> Any:
        regions = self._packet.property(_mwg("Regions"))
        if regions is None:
            regions = append(self._place(), _mwg("Regions"), resource=True, inside=(AREA, DIMENSIONS))
            if size is not None:
                dimensions = append(regions, _mwg("AppliedToDimensions"), resource=True)
                for name, value in (("w", str(size[0])), ("h", str(size[1])), ("unit", "pixel")):
                    append(dimensions, f"{{{DIMENSIONS}}}{name}", value)
        return append(struct_of(regions), _mwg("RegionList"))

    def _tidy(self) -> None:
        place = self._listed.getparent()
        remove(self._listed)
        if {child.tag for child in place} <= {_mwg("AppliedToDimensions")}:
            self._packet.remove(self._packet.property(_mwg("Regions")))

    def _key(self, item: Any) -> str:
        return self._extension(item, "Car")

    def _mark(self, key: str, item: Any) -> str:
        return "" if item is None else self._extension(item, "Area")

    def _extension(self, item: Any, name: str) -> str:
        extensions = fields_of(item).get(_mwg("Extensions"))
        return "" if extensions is None else text_of(fields_of(extensions).get(f"{{{OWN}}}{name}"))

    def _mark_of(self, region: Region) -> str:
        return " ".join(map(_number, (region.x, region.y, region.width, region.height)))

    def _box(self, mark: str) -> Box | None:
        numbers = _numbers(mark)
        return None if numbers is None else Region("", "", *numbers).box

    def _form(self, key: str, name: str, mark: str) -> Struct:
        area = dict(zip((f"{{{AREA}}}{side}" for side in "xywh"), mark.split(), strict=False))
        return {
            _mwg("Description"): name,
            _mwg("Area"): area | {f"{{{AREA}}}unit": "normalized"},
            _mwg("Extensions"): {f"{{{OWN}}}Car": key, f"{{{OWN}}}Area": mark},
        }

    def _older(self, key: str, name: str, mark: str) -> Struct | None:
        form = self._form(key, name, mark)
        return {_mwg("Name"): form.pop(_mwg("Description"))} | form


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")  # never an exponent


def _numbers(mark: str) -> Box | None:
    try:
        x, y, w, h = map(float, mark.split())
    except ValueError:
        return None
    return x, y, w, h


def _iptc(name: str) -> str:
    return f"{{{IPTC}}}{name}"


def _mwg(name: str) -> str:
    return f"{{{MWG}}}{name}"
