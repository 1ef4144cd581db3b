"""XMP packets: merging what cartag has to say into one, and taking it out again.

What cartag wrote into lists that others use too (`dc:subject` and its kin, and `regions`) it notes down in a
namespace of its own. So it takes out only what it put in; a keyword that was there before stays; and one that a person
has deleted since, which the note still holds, is not put back.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Set
from dataclasses import dataclass, field, replace
from typing import Any

from cartag.exporting.encoded import PacketError, decoded
from cartag.exporting.keywords import Keywords
from cartag.exporting.rdf import (
    OWN,
    PREFIXES,
    RDF,
    Packet,
    append,
    container_of,
    fields_of,
    items_of,
    rdf_name,
    remove,
    text_of,
    xml_text,
)
from cartag.exporting.regions import NotedRegions, edit_regions

_EMPTY = (
    "<?xpacket begin='\N{ZERO WIDTH NO-BREAK SPACE}' id='W5M0MpCehiHzreSzNTczkc9d'?>\n"
    '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="cartag">\n'
    f' <rdf:RDF xmlns:rdf="{RDF}">\n </rdf:RDF>\n</x:xmpmeta>\n'
    "<?xpacket end='w'?>\n"
).encode()


def why_torn(packet: bytes) -> str | None:
    """Why nothing can be merged into a sidecar, in words; None: something can, or nothing but padding is in it."""
    try:
        if not decoded(packet).is_blank:
            Packet(packet)
    except PacketError as e:
        return str(e)
    return None


@dataclass(frozen=True, slots=True)
class ScoredCar:
    """What the packet says of one tag, beyond its keywords."""

    car: str
    name: str
    score: str
    source: str


@dataclass(frozen=True, slots=True)
class Statement:
    """Everything that cartag has to say of a photo; without cars: nothing."""

    cars: tuple[ScoredCar, ...]
    outcome: str
    model: str
    keywords: Keywords
    photo: str = ""
    """SHA-256 of its bytes, where that is known: a sidecar lies beside a name, and the name may hold another photo."""


NOTHING = Statement((), "", "", Keywords((), (), (), (), None))


@dataclass(frozen=True, slots=True)
class _List:
    """A list of keywords that others write as well, and the field that notes which of them are ours."""

    name: str
    container: str
    note: str


_SUBJECTS = _List(f"{{{PREFIXES['dc']}}}subject", "Bag", "Subjects")
_HIERARCHICAL = _List(f"{{{PREFIXES['lr']}}}hierarchicalSubject", "Bag", "HierarchicalSubjects")
_TREE = _List(f"{{{PREFIXES['digiKam']}}}TagsList", "Seq", "TagsLists")


@dataclass(frozen=True, slots=True)
class _Notes:
    """The content of our namespace: what is said, and what was written elsewhere."""

    created: bool = False
    """Whether the whole file is ours: then it goes when nothing is left in it."""
    outcome: str = ""
    model: str = ""
    photo: str = ""
    """SHA-256 of the photo that was spoken of. Older versions did not note it."""
    cars: tuple[ScoredCar, ...] = ()
    subjects: tuple[str, ...] = ()
    hierarchical: tuple[str, ...] = ()
    tree: tuple[str, ...] = ()
    regions: NotedRegions = field(default_factory=NotedRegions)


def merged(packet: bytes | None, said: Statement, known: Set[str] = frozenset()) -> bytes | None:
    """The packet with what is ``said`` in it; the same bytes where that is so already; None where nothing remains.

    Everything that is not cartag's stays, and so do its bytes, in whatever encoding. A file that holds nothing, not
    even XML, is filled like one that is not there, but stays when the tags go.

    Args:
        packet: what is there; None: nothing.
        said: what shall be in it.
        known: contents of the gallery's photos (SHA-256). What was noted of one of them, and is said of another now,
            is no memory of this photo: photos were renamed.

    Raises:
        PacketError: the packet cannot be edited without risk.
    """
    if not said.cars and (packet is None or not _may_hold_ours(packet)):
        return packet
    is_new = packet is None or decoded(packet).is_blank
    document = _Document(Packet(_EMPTY if packet is None or is_new else packet))
    old = _Notes(created=packet is None) if is_new else document.notes()
    changed, new = document.bring_up_to(said, old, same_photo=old.photo in ("", said.photo) or old.photo not in known)
    if not is_new and not changed and new == old:
        return packet
    document.set_notes(new if said.cars else None)
    return None if old.created and document.packet.is_empty() else document.packet.to_bytes()


def _may_hold_ours(packet: bytes) -> bool:
    """Whether our namespace is named in it, however wide its characters are: in all others there is nothing to do."""
    return OWN.encode() in packet.replace(b"\0", b"")


def _word(text: str) -> str:
    """A keyword as it is written and compared: accents may be typed in two ways, and mean one word."""
    return unicodedata.normalize("NFC", xml_text(text))


class _Document:
    """A packet, seen as what cartag and others say of one photo."""

    def __init__(self, packet: Packet) -> None:
        self.packet = packet

    # --- what is there

    def notes(self) -> _Notes:
        """What our namespace holds."""
        fields: dict[str, Any] = {}
        for description in self.packet.descriptions():
            fields |= {_own_name(name): value for name, value in fields_of(description).items() if _own_name(name)}

        def text(name: str) -> str:
            return text_of(fields.get(name))

        def words(name: str) -> tuple[str, ...]:
            return tuple(text_of(item) for item in items_of(fields.get(name)))

        cars = [{_own_name(k): text_of(v) for k, v in fields_of(item).items()} for item in items_of(fields.get("Cars"))]
        return _Notes(
            created=text("Created") == "True",
            outcome=text("Outcome"),
            model=text("Model"),
            photo=text("Photo"),
            cars=tuple(
                ScoredCar(c.get("Car", ""), c.get("Name", ""), c.get("Score", ""), c.get("Source", "")) for c in cars
            ),
            subjects=words(_SUBJECTS.note),
            hierarchical=words(_HIERARCHICAL.note),
            tree=words(_TREE.note),
            regions=NotedRegions(
                dict(map(_noted_region, words("ImageRegions"))),
                words("Regions"),
            ),
        )

    # --- what shall be there

    def bring_up_to(self, said: Statement, old: _Notes, *, same_photo: bool) -> tuple[bool, _Notes]:
        """Edits the lists that others use too; returns whether it changed one, and the new notes.

        ``same_photo``: the notes are of the photo that is spoken of, and so is what a person deleted since.
        """
        words = said.keywords
        changed_subjects, subjects = self._edit(_SUBJECTS, words.subjects, old.subjects, same_photo)
        changed_hierarchical, hierarchical = self._edit(_HIERARCHICAL, words.hierarchical, old.hierarchical, same_photo)
        changed_tree, tree = self._edit(_TREE, words.tree, old.tree, same_photo)
        names = {car.car: car.name for car in old.cars}
        changed_regions, regions = edit_regions(
            self.packet, self._own_description, words, old.regions, names, was_deleted=same_photo
        )
        new = replace(
            old,
            outcome=xml_text(said.outcome),
            model=xml_text(said.model),
            photo=xml_text(said.photo) or old.photo,
            cars=tuple(ScoredCar(*map(xml_text, (c.car, c.name, c.score, c.source))) for c in said.cars),
            subjects=subjects,
            hierarchical=hierarchical,
            tree=tree,
            regions=regions,
        )
        return changed_subjects or changed_hierarchical or changed_tree or changed_regions, new

    def _edit(
        self, kind: _List, wanted: Iterable[str], ours: tuple[str, ...], was_deleted: bool
    ) -> tuple[bool, tuple[str, ...]]:
        """Takes out what is ours and no longer wanted, puts in what is wanted and was never there; the new note.

        ``was_deleted``: what is ours and is not there, a person deleted.
        """
        words = tuple(dict.fromkeys(_word(text) for text in wanted))
        present = [_word(text) for text in self.packet.words(kind.name)]
        unwanted = [word for word in ours if word not in words and word in present]
        missing = [word for word in words if word not in present and not (was_deleted and word in ours)]
        if unwanted or missing:
            element = self.packet.list_of(kind.name, kind.container, self._own_description)
            for word in unwanted:
                remove(next(item for item in items_of(element) if _word(text_of(item)) == word))
            for word in missing:
                append(container_of(element), rdf_name("li"), word)
            if not len(container_of(element)):
                self.packet.remove(element)
        return bool(unwanted or missing), tuple(word for word in words if word in ours or word in missing)

    # --- our own part

    def set_notes(self, notes: _Notes | None) -> None:
        """Replaces the content of our namespace; None takes it out."""
        for description in self.packet.descriptions():
            for name in [name for name in description.attrib if _own_name(name)]:
                self.packet.remove_attribute(description, name)
            for child in [child for child in description if _own_name(child.tag)]:
                self.packet.remove(child)
        if notes is not None:
            self._write_notes(notes)

    def _write_notes(self, notes: _Notes) -> None:
        own = self._own_description()
        if notes.created:
            append(own, _own("Created"), "True")
        append(own, _own("Outcome"), notes.outcome)
        append(own, _own("Model"), notes.model)
        if notes.photo:
            append(own, _own("Photo"), notes.photo)
        cars = append(append(own, _own("Cars")), rdf_name("Bag"))
        for car in notes.cars:
            item = append(cars, rdf_name("li"), resource=True)
            for name, value in (("Car", car.car), ("Name", car.name), ("Score", car.score), ("Source", car.source)):
                append(item, _own(name), value)
        lists = (
            (_SUBJECTS.note, notes.subjects),
            (_HIERARCHICAL.note, notes.hierarchical),
            (_TREE.note, notes.tree),
            ("Regions", notes.regions.mwg),
            ("ImageRegions", tuple(f"{box} {key}" for key, box in notes.regions.iptc.items())),
        )
        for name, words in lists:
            if words:
                bag = append(append(own, _own(name)), rdf_name("Bag"))
                for word in words:
                    append(bag, rdf_name("li"), word)

    def _own_description(self) -> Any:
        return self.packet.description_with(OWN, ("dc", "lr", "digiKam", "cartag"))


def _own_name(name: Any) -> str:
    """The local name of a name of our namespace, else an empty text."""
    return name.removeprefix(f"{{{OWN}}}") if isinstance(name, str) and name.startswith(f"{{{OWN}}}") else ""


def _own(name: str) -> str:
    return f"{{{OWN}}}{name}"


def _noted_region(text: str) -> tuple[str, str]:
    """Key and box of a region, from its note: four numbers, and the key."""
    *numbers, key = text.split(" ", 4)
    return key, " ".join(numbers)
