"""XMP packets: merging what cartag has to say into one, and taking it out again. The only importer of lxml.

What cartag wrote into lists that others use too (`dc:subject` and its kin, `mwg-rs:Regions`) it notes down in a
namespace of its own. So it takes out only what it put in; a keyword that was there before stays; and one that a person
has deleted since, which the note still holds, is not put back.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from lxml import etree

from cartag.exporting.keywords import Keywords, Region

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
MWG = "http://www.metadataworkinggroup.com/schemas/regions/"
AREA = "http://ns.adobe.com/xmp/sType/Area#"
DIMENSIONS = "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
OWN = "urn:cartag:xmp:1#"  # exiv2 adds a slash to a namespace that ends in anything but "/" or "#"
_PREFIXES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "mwg-rs": MWG,
    "stArea": AREA,
    "stDim": DIMENSIONS,
    "cartag": OWN,
}
_EMPTY = (
    "<?xpacket begin='\N{ZERO WIDTH NO-BREAK SPACE}' id='W5M0MpCehiHzreSzNTczkc9d'?>\n"
    '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="cartag">\n'
    f' <rdf:RDF xmlns:rdf="{RDF}">\n </rdf:RDF>\n</x:xmpmeta>\n'
    "<?xpacket end='w'?>\n"
).encode()
_UTF8 = ("UTF-8", "US-ASCII", "ASCII")
# A private character takes the place of "&" while a packet is edited, or lxml would write &quot; and &#39; otherwise.
_REFERENCE = "\ue000"
_MARK = "cartag-was"
_MARKED_TAG = re.compile(rf'<([^\s<>/]+)(?:[^<>"\']|"[^"]*"|\'[^\']*\')*? {_MARK}="(\d+)"[^<>]*?(/?)>')
_MARKUP = re.compile(
    r"""<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>|</[^>]*>|(<(?:[^"'<>]|"[^"]*"|'[^']*')*>)""", re.DOTALL
)
_NOT_XML = re.compile("[^\t\n\r\N{SPACE}-\ud7ff\ue001-\ufffd\U00010000-\U0010ffff]")


class PacketError(Exception):
    """A packet that cannot be merged into: no XMP, or laid out in a way that is not safe to edit."""


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


NOTHING = Statement((), "", "", Keywords((), (), (), (), None))


@dataclass(frozen=True, slots=True)
class _List:
    """A list of keywords that others write as well, and the field that notes which of them are ours."""

    name: str
    container: str
    note: str


_SUBJECTS = _List(f"{{{_PREFIXES['dc']}}}subject", "Bag", "Subjects")
_HIERARCHICAL = _List(f"{{{_PREFIXES['lr']}}}hierarchicalSubject", "Bag", "HierarchicalSubjects")
_TREE = _List(f"{{{_PREFIXES['digiKam']}}}TagsList", "Seq", "TagsLists")


@dataclass(frozen=True, slots=True)
class _Notes:
    """The content of our namespace: what is said, and what was written elsewhere."""

    created: bool = False
    """Whether the whole file is ours: then it goes when nothing is left in it."""
    outcome: str = ""
    model: str = ""
    cars: tuple[ScoredCar, ...] = ()
    subjects: tuple[str, ...] = ()
    hierarchical: tuple[str, ...] = ()
    tree: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    """Ids of the cars whose region was written."""


def merged(packet: bytes | None, said: Statement) -> bytes | None:
    """The packet with what is ``said`` in it; the same bytes where that is so already; None where nothing remains.

    Everything that is not cartag's stays, and in a packet in UTF-8, which is all that programs write, so do its bytes.

    Raises:
        PacketError: the packet cannot be edited without risk.
    """
    if packet is None and not said.cars:
        return None
    source = _EMPTY if packet is None else packet
    tree = _parsed(source)
    if _encoding(tree) in _UTF8:
        if _REFERENCE.encode() in source:
            raise PacketError(f"it holds the private character U+{ord(_REFERENCE):04X}")
        source = source.replace(b"&", _REFERENCE.encode())
        tree = _parsed(source)
    tags = _start_tags(tree, source)
    document = _Document(tree)
    old = document.notes() if packet is not None else _Notes(created=True)
    changed, new = document.bring_up_to(said, old)
    if packet is not None and not changed and new == old:
        return packet
    document.set_notes(new if said.cars else None)
    if old.created and document.is_empty():
        return None
    return _serialised(tree, source, tags)


def xml_text(text: str) -> str:
    """Text that a packet can hold: control characters, half surrogates and our own private character are left out."""
    return _NOT_XML.sub("", text)


def _word(text: str) -> str:
    """A keyword as it is written and compared: accents may be typed in two ways, and mean one word."""
    return unicodedata.normalize("NFC", xml_text(text))


def _parsed(packet: bytes) -> Any:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, strip_cdata=False, remove_blank_text=False
    )
    try:
        tree = etree.ElementTree(etree.fromstring(packet, parser))
    except (etree.XMLSyntaxError, ValueError) as e:
        raise PacketError(f"it is no well-formed XML ({' '.join(str(e).split())})") from e
    if tree.docinfo.doctype:
        raise PacketError("it declares a document type, which XMP does not have")
    return tree


def _start_tags(tree: Any, source: bytes) -> list[str]:
    """The start tags as they are written, in order; every element is marked with the number of its own.

    lxml would sort their attributes and join their lines. Where they cannot be told for certain, none are given.
    """
    if _encoding(tree) not in _UTF8:
        return []
    text = source.decode("utf-8")  # the parser has read it as such
    tags = [found[1] for found in _MARKUP.finditer(text) if found[1]]
    elements = [element for element in tree.getroot().iter() if isinstance(element.tag, str)]
    names = [re.split(r"[\s/>]", tag[1:], maxsplit=1)[0] for tag in tags]
    if names != [_written_name(element) for element in elements]:
        return []
    for number, element in enumerate(elements):
        element.set(_MARK, str(number))
    return tags


def _as_written(body: str, tags: list[str]) -> str:
    """Puts the original start tags back in the place of the marked ones."""

    def original(found: re.Match[str]) -> str:
        name, number, is_empty = found.groups()
        tag = tags[int(number)]
        was_empty = tag.endswith("/>")
        if is_empty and not was_empty:
            return f"{tag}</{name}>"
        return tag if is_empty or not was_empty else f"{tag[:-2]}>"

    return _MARKED_TAG.sub(original, body)


def _serialised(tree: Any, source: bytes, tags: list[str]) -> bytes:
    """The edited packet; declaration, packet marks and padding around the root element stay as they were."""
    root = tree.getroot()
    if _encoding(tree) not in _UTF8:
        whole: bytes = etree.tostring(tree, encoding=_encoding(tree))
        return whole
    name = _written_name(root)
    start, end = source.find(f"<{name}".encode()), source.rfind(f"</{name}>".encode())
    if start < 0 or end < 0:
        raise PacketError("its root element is empty")
    body = _as_written(etree.tostring(root, encoding="unicode", with_tail=False), tags)
    if b"\r\n" in source and source.count(b"\r\n") == source.count(b"\n"):
        # XML knows line feeds alone: the parser has made them so, but for those inside the start tags.
        body = body.replace("\r\n", "\n").replace("\n", "\r\n")
    edited = source[:start] + body.encode() + source[end + len(name) + 3 :]
    return edited.replace(_REFERENCE.encode(), b"&")


def _encoding(tree: Any) -> str:
    return (tree.docinfo.encoding or "UTF-8").upper()


def _written_name(element: Any) -> str:
    local = etree.QName(element).localname
    return local if element.prefix is None else f"{element.prefix}:{local}"


class _Document:
    """A parsed packet, seen as the properties of one photo."""

    def __init__(self, tree: Any) -> None:
        root = tree.getroot()
        rdf = root if root.tag == _rdf("RDF") else root.find(_rdf("RDF"))
        if rdf is None:
            raise PacketError("it is XML, but no XMP (no rdf:RDF in it)")
        self._rdf = rdf

    # --- what is there

    def notes(self) -> _Notes:
        """What our namespace holds."""
        fields: dict[str, Any] = {}
        for description in self._descriptions():
            fields |= {_own_name(name): value for name, value in _fields(description).items() if _own_name(name)}

        def text(name: str) -> str:
            return _text(fields.get(name))

        def words(name: str) -> tuple[str, ...]:
            return tuple(_text(item) for item in _items(fields.get(name)))

        cars = [{_own_name(k): _text(v) for k, v in _fields(item).items()} for item in _items(fields.get("Cars"))]
        return _Notes(
            created=text("Created") == "True",
            outcome=text("Outcome"),
            model=text("Model"),
            cars=tuple(
                ScoredCar(c.get("Car", ""), c.get("Name", ""), c.get("Score", ""), c.get("Source", "")) for c in cars
            ),
            subjects=words(_SUBJECTS.note),
            hierarchical=words(_HIERARCHICAL.note),
            tree=words(_TREE.note),
            regions=words("Regions"),
        )

    def is_empty(self) -> bool:
        """Whether no description says anything."""
        return not any(len(d) or set(d.attrib) - {_rdf("about"), _MARK} for d in self._descriptions())

    def _descriptions(self) -> list[Any]:
        return list(self._rdf.findall(_rdf("Description")))

    def _property(self, name: str) -> Any:
        """The element of a property, or None.

        Raises:
            PacketError: it is there twice, or as an attribute.
        """
        found = [element for description in self._descriptions() for element in description.findall(name)]
        if len(found) > 1 or any(name in description.attrib for description in self._descriptions()):
            raise PacketError(f"its {etree.QName(name).localname} is not one list")
        return found[0] if found else None

    # --- what shall be there

    def bring_up_to(self, said: Statement, old: _Notes) -> tuple[bool, _Notes]:
        """Edits the lists that others use too; returns whether it changed one, and the new notes."""
        words = said.keywords
        changed_subjects, subjects = self._edit(_SUBJECTS, words.subjects, old.subjects)
        changed_hierarchical, hierarchical = self._edit(_HIERARCHICAL, words.hierarchical, old.hierarchical)
        changed_tree, tree = self._edit(_TREE, words.tree, old.tree)
        changed_regions, regions = self._edit_regions(words, old.regions)
        new = replace(
            old,
            outcome=xml_text(said.outcome),
            model=xml_text(said.model),
            cars=tuple(ScoredCar(*map(xml_text, (c.car, c.name, c.score, c.source))) for c in said.cars),
            subjects=subjects,
            hierarchical=hierarchical,
            tree=tree,
            regions=regions,
        )
        return changed_subjects or changed_hierarchical or changed_tree or changed_regions, new

    def _edit(self, kind: _List, wanted: Iterable[str], ours: tuple[str, ...]) -> tuple[bool, tuple[str, ...]]:
        """Takes out what is ours and no longer wanted, puts in what is wanted and was never there; the new note."""
        words = tuple(dict.fromkeys(_word(text) for text in wanted))
        element = self._property(kind.name)
        container = None if element is None else _container(element)
        present = [_word(_text(item)) for item in _items(element)]
        unwanted = [word for word in ours if word not in words and word in present]
        missing = [word for word in words if word not in present and word not in ours]
        for word in unwanted:
            _remove(next(item for item in _items(element) if _word(_text(item)) == word))
        if missing:
            if container is None:
                element = _append(self._own_description(), kind.name)
                container = _append(element, _rdf(kind.container))
            for word in missing:
                _append(container, _rdf("li"), word)
        if unwanted and container is not None and not len(container):
            _remove(element)
        return bool(unwanted or missing), tuple(word for word in words if word in ours or word in missing)

    def _edit_regions(self, words: Keywords, noted: tuple[str, ...]) -> tuple[bool, tuple[str, ...]]:
        """The same for regions. One of ours that a person has moved is theirs from then on."""
        regions = self._property(_mwg("Regions"))
        place: Any = None if regions is None else _struct(regions)
        listed = None if place is None else place.find(_mwg("RegionList"))
        if listed is None and not words.regions:
            return False, ()
        here = {_region_car(item): item for item in _items(listed) if _region_car(item)}
        ours = {car: item for car, item in here.items() if _is_unmoved(item)}
        wanted = {xml_text(region.car): region for region in words.regions}
        stale = {car: item for car, item in ours.items() if car not in wanted or _mark(wanted[car]) != _marked(item)}
        # Noted and gone: deleted by a person. Here, but moved: a person's now.
        add = {car: r for car, r in wanted.items() if car in stale or (car not in here and car not in noted)}
        for item in stale.values():
            _remove(item)
        if add:
            if place is None:
                place = _append(self._own_description(), _mwg("Regions"), resource=True, inside=(AREA, DIMENSIONS))
                if words.stored_size is not None:
                    _append_dimensions(place, words.stored_size)
            if listed is None:
                listed = _append(place, _mwg("RegionList"))
                _append(listed, _rdf("Bag"))
            container = _container(listed)
            for region in add.values():
                _append_region(container, region)
        if stale and not add and not _items(listed):
            _remove(listed)
            if {child.tag for child in place} <= {_mwg("AppliedToDimensions")}:
                _remove(regions)
        return bool(stale or add), tuple(car for car in wanted if car in add or car in noted or car in here)

    # --- our own part

    def set_notes(self, notes: _Notes | None) -> None:
        """Replaces the content of our namespace; None takes it out."""
        for description in self._descriptions():
            for child in [child for child in description if _own_name(child.tag)]:
                _remove(child)
            for name in [name for name in description.attrib if _own_name(name)]:
                del description.attrib[name]
                description.attrib.pop(_MARK, None)  # its start tag is no longer the one that was written
        if notes is not None:
            self._write_notes(notes)
        for description in self._descriptions():  # what was emptied by us was made by us, or says nothing
            if not len(description) and not set(description.attrib) - {_rdf("about"), _MARK}:
                _remove(description)

    def _write_notes(self, notes: _Notes) -> None:
        own = self._own_description()
        if notes.created:
            _append(own, _own("Created"), "True")
        _append(own, _own("Outcome"), notes.outcome)
        _append(own, _own("Model"), notes.model)
        cars = _append(_append(own, _own("Cars")), _rdf("Bag"))
        for car in notes.cars:
            item = _append(cars, _rdf("li"), resource=True)
            for name, value in (("Car", car.car), ("Name", car.name), ("Score", car.score), ("Source", car.source)):
                _append(item, _own(name), value)
        lists = (
            (_SUBJECTS.note, notes.subjects),
            (_HIERARCHICAL.note, notes.hierarchical),
            (_TREE.note, notes.tree),
            ("Regions", notes.regions),
        )
        for name, words in lists:
            if words:
                bag = _append(_append(own, _own(name)), _rdf("Bag"))
                for word in words:
                    _append(bag, _rdf("li"), word)

    def _own_description(self) -> Any:
        """The description that declares our prefix; a new one at the end where there is none."""
        for description in self._descriptions():
            if OWN in description.nsmap.values():
                return description
        about = next((d.get(_rdf("about")) for d in self._descriptions() if d.get(_rdf("about")) is not None), "")
        prefixes = {p: uri for p, uri in _PREFIXES.items() if p in ("dc", "lr", "digiKam", "cartag")}
        description = etree.SubElement(self._rdf, _rdf("Description"), nsmap=prefixes)
        description.set(_rdf("about"), about)  # one packet speaks of one photo: all of them name the same
        _laid_out(self._rdf, description)
        return description


# --- RDF in its several spellings -------------------------------------------------------------------------------


def _fields(node: Any) -> dict[str, Any]:
    """Fields of a description or struct by name: child elements, and attributes as their text."""
    place = _struct(node)
    fields: dict[str, Any] = {name: value for name, value in place.attrib.items() if name.startswith("{")}
    return fields | {child.tag: child for child in place if isinstance(child.tag, str)}


def _struct(node: Any) -> Any:
    """Where the fields of a struct stand: in the node itself, or in the description that it holds."""
    inner = node.find(_rdf("Description"))
    return node if inner is None else inner


def _container(element: Any) -> Any:
    """The rdf:Bag, Seq or Alt of a list.

    Raises:
        PacketError: there is none.
    """
    for name in ("Bag", "Seq", "Alt"):
        found = element.find(_rdf(name))
        if found is not None:
            return found
    raise PacketError(f"its {etree.QName(element).localname} is not one list")


def _items(element: Any) -> list[Any]:
    """The items of a list; of no list, none."""
    if element is None or isinstance(element, str):
        return []
    return list(_container(element).findall(_rdf("li")))


def _text(node: Any) -> str:
    if node is None:
        return ""
    text = node if isinstance(node, str) else (node.text or "")
    return html.unescape(text.replace(_REFERENCE, "&")) if _REFERENCE in text else text


def _own_name(name: Any) -> str:
    """The local name of a name of our namespace, else an empty text."""
    return name.removeprefix(f"{{{OWN}}}") if isinstance(name, str) and name.startswith(f"{{{OWN}}}") else ""


def _rdf(name: str) -> str:
    return f"{{{RDF}}}{name}"


def _mwg(name: str) -> str:
    return f"{{{MWG}}}{name}"


def _own(name: str) -> str:
    return f"{{{OWN}}}{name}"


# --- regions ----------------------------------------------------------------------------------------------------


def _append_region(container: Any, region: Region) -> None:
    item = _append(container, _rdf("li"), resource=True, inside=(AREA, OWN))
    _append(item, _mwg("Name"), region.name)
    area = _append(item, _mwg("Area"), resource=True)
    for name, value in (("x", region.x), ("y", region.y), ("w", region.width), ("h", region.height)):
        _append(area, f"{{{AREA}}}{name}", _number(value))
    _append(area, f"{{{AREA}}}unit", "normalized")
    extensions = _append(item, _mwg("Extensions"), resource=True)
    _append(extensions, _own("Car"), region.car)
    _append(extensions, _own("Area"), _mark(region))


def _append_dimensions(regions: Any, size: tuple[int, int]) -> None:
    dimensions = _append(regions, _mwg("AppliedToDimensions"), resource=True)
    for name, value in (("w", str(size[0])), ("h", str(size[1])), ("unit", "pixel")):
        _append(dimensions, f"{{{DIMENSIONS}}}{name}", value)


def _region_car(item: Any) -> str:
    """The id of the car that a region of ours shows; of another's, an empty text."""
    extensions = _fields(item).get(_mwg("Extensions"))
    return "" if extensions is None else _text(_fields(extensions).get(_own("Car")))


def _marked(item: Any) -> str:
    """Where a region of ours was when it was written."""
    extensions = _fields(item).get(_mwg("Extensions"))
    return "" if extensions is None else _text(_fields(extensions).get(_own("Area")))


def _is_unmoved(item: Any) -> bool:
    area = _fields(item).get(_mwg("Area"))
    if area is None:
        return False
    fields = _fields(area)
    try:
        now = [float(_text(fields.get(f"{{{AREA}}}{name}"))) for name in "xywh"]
        then = [float(value) for value in _marked(item).split()]
    except ValueError:
        return False
    return len(then) == len(now) and all(abs(a - b) < 1e-5 for a, b in zip(now, then, strict=True))


def _mark(region: Region) -> str:
    return " ".join(map(_number, (region.x, region.y, region.width, region.height)))


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


# --- editing with the layout kept -------------------------------------------------------------------------------


def _append(
    parent: Any, name: str, text: str | None = None, *, resource: bool = False, inside: tuple[str, ...] = ()
) -> Any:
    """Adds a child, on a line of its own, one step further in than its parent.

    It declares the prefixes of its own namespace and of those ``inside`` it, where its parents do not.
    """
    needed = {etree.QName(name).namespace, *inside} - set(parent.nsmap.values())
    child = etree.SubElement(parent, name, nsmap={p: uri for p, uri in _PREFIXES.items() if uri in needed})
    if resource:
        child.set(_rdf("parseType"), "Resource")
    if text is not None:
        child.text = xml_text(text)
    _laid_out(parent, child)
    return child


def _laid_out(parent: Any, child: Any) -> None:
    """Gives a child that was just appended the line breaks that its siblings have."""
    before = child.getprevious()
    if before is not None:
        child.tail, before.tail = before.tail, parent.text if _is_blank(parent.text) else before.tail
        return
    depth = sum(1 for _ in parent.iterancestors())
    closing = parent.text if _is_blank(parent.text) and parent.text else "\n" + " " * depth
    parent.text, child.tail = closing + " ", closing


def _remove(element: Any) -> None:
    """Takes an element out, and the line that it stood on."""
    parent, before, after = element.getparent(), element.getprevious(), element.getnext()
    closing = element.tail
    parent.remove(element)
    if before is not None and after is None:
        before.tail = closing
    elif before is None and after is None:
        parent.text = None


def _is_blank(text: str | None) -> bool:
    return text is None or not text.strip()
