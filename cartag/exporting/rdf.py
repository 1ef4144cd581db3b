"""The RDF of XMP packets: reading its several spellings, editing with the layout kept, writing with the bytes of others
kept. The only importer of lxml.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

from lxml import etree

from cartag.exporting.encoded import PacketError, decoded

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
MWG = "http://www.metadataworkinggroup.com/schemas/regions/"
AREA = "http://ns.adobe.com/xmp/sType/Area#"
DIMENSIONS = "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
XMP = "http://ns.adobe.com/xap/1.0/"
OWN = "urn:cartag:xmp:1#"  # exiv2 adds a slash to a namespace that ends in anything but "/" or "#"
PREFIXES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "mwg-rs": MWG,
    "stArea": AREA,
    "stDim": DIMENSIONS,
    "Iptc4xmpExt": IPTC,
    "xmp": XMP,
    "cartag": OWN,
}
# A private character takes the place of "&" while a packet is edited, or lxml would write &quot; and &#39; otherwise.
_REFERENCE = "\ue000"
# And one the place of a ">" that stands in a text, which lxml would write as &gt;.
_GREATER = "\ue001"
_MARK = "cartag-was"
_MARKED_TAG = re.compile(rf'<([^\s<>/]+)(?:[^<>"\']|"[^"]*"|\'[^\']*\')*? {_MARK}="(\d+)"[^<>]*?(/?)>')
_MARKUP = re.compile(
    r"""<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>|</[^>]*>|(<(?:[^"'<>]|"[^"]*"|'[^']*')*>)""", re.DOTALL
)
_ATTRIBUTE = re.compile(r"""\s+([^\s=<>/"']+)\s*=\s*(?:"[^"]*"|'[^']*')""")
_ABOUT = f"{{{RDF}}}about"
_ITEM = re.compile(re.escape(f"{{{RDF}}}") + r"(?:li|_\d+)")
_NOT_XML = re.compile("[^\t\n\r\N{SPACE}-\ud7ff\ue002-\ufffd\U00010000-\U0010ffff]")


# --- text to tree and back --------------------------------------------------------------------------------------


class Packet:
    """A packet opened for editing."""

    def __init__(self, source: bytes) -> None:
        """Parses a packet.

        Raises:
            PacketError: it cannot be edited without risk.
        """
        encoded = decoded(source)
        for private in (_REFERENCE, _GREATER):
            if private in encoded.text:
                raise PacketError(f"it holds the private character U+{ord(private):04X}")
        _parsed(encoded.document)  # with its references as they are: what is wrong with them is said now
        text = _kept(encoded.text)
        tree = _parsed(_kept(encoded.document))
        root = tree.getroot()
        rdf = root if root.tag == rdf_name("RDF") else root.find(rdf_name("RDF"))
        if rdf is None:
            raise PacketError("it is XML, but no XMP (no rdf:RDF in it)")
        self.rdf = rdf
        """Holds the descriptions."""
        self._root = root
        self._encoded = encoded
        self._text = text
        self._tags = _start_tags(root, text)

    def descriptions(self) -> list[Any]:
        """The elements that hold the photo's properties; most packets have several."""
        return list(self.rdf.findall(rdf_name("Description")))

    def property(self, name: str) -> Any:
        """The element of a property, or None.

        Raises:
            PacketError: it is there twice, or as an attribute.
        """
        description, element = self._place_of(name)
        if description is not None and element is None:
            raise PacketError(f"its {etree.QName(name).localname} is an attribute, which cannot hold a structure")
        return element

    def words(self, name: str) -> list[str]:
        """The texts of a list; of a property that is a single text, as element or attribute, that one.

        Raises:
            PacketError: it is there twice, or is neither a list nor a text.
        """
        description, element = self._place_of(name)
        if element is not None and container_of(element) is not None:
            return [text_of(item) for item in items_of(element)]
        text = text_of(description.get(name) if element is None and description is not None else element)
        return [text] if text.strip() else []

    def list_of(self, name: str, kind: str, place: Callable[[], Any]) -> Any:
        """The element of a property, which is a list from now on: a text that stood in its place is its first item.

        Where there is no such property it is made, in the description that ``place`` gives.

        Raises:
            PacketError: as `words`.
        """
        description, element = self._place_of(name)
        if element is None:
            value = "" if description is None else description.get(name)
            element = append(place() if description is None else description, name)
            element.text = value
            if description is not None:
                self._take_attribute(description, name)
        if "<![CDATA[" in self._text and _REFERENCE in (element.text or ""):
            raise PacketError(f"its {etree.QName(name).localname} cannot be told from its markup (CDATA)")
        as_list(element, kind)
        return element

    def _place_of(self, name: str) -> tuple[Any, Any]:
        """The description that holds a property, and its element; None where it is an attribute."""
        found = [(d, element) for d in self.descriptions() for element in d.findall(name)]
        found += [(d, None) for d in self.descriptions() if name in d.attrib]
        if len(found) > 1:
            raise PacketError(f"its {etree.QName(name).localname} is there twice")
        return found[0] if found else (None, None)

    def description_with(self, namespace: str, prefixes: tuple[str, ...]) -> Any:
        """The description that declares a namespace; where there is none a new one, with these prefixes, at the end."""
        for description in self.descriptions():
            if namespace in description.nsmap.values():
                return description
        about = next((d.get(_ABOUT) for d in self.descriptions() if d.get(_ABOUT) is not None), "")
        declared = {prefix: PREFIXES[prefix] for prefix in prefixes}
        description = etree.SubElement(self.rdf, rdf_name("Description"), nsmap=declared)
        description.set(_ABOUT, about)  # one packet speaks of one photo: all of them name the same
        _laid_out(self.rdf, description)
        return description

    def remove(self, element: Any) -> None:
        """Takes a property out, and with it the description that is empty without it."""
        description = element.getparent()
        remove(element)
        if _is_empty(description):
            remove(description)

    def remove_attribute(self, description: Any, name: str) -> None:
        """Takes a property out that is written as an attribute."""
        self._take_attribute(description, name)
        if _is_empty(description):
            remove(description)

    def _take_attribute(self, description: Any, name: str) -> None:
        """Takes it out of the start tag that was written, too; what else stands there stays as it is."""
        del description.attrib[name]
        number = description.get(_MARK)
        if number is None:
            return
        qualified = etree.QName(name)
        written = {f"{p}:{qualified.localname}" for p, uri in description.nsmap.items() if uri == qualified.namespace}
        tag = self._tags[int(number)]
        (found,) = [attribute for attribute in _ATTRIBUTE.finditer(tag) if attribute[1] in written]
        self._tags[int(number)] = tag[: found.start()] + tag[found.end() :]

    def is_empty(self) -> bool:
        """Whether nothing is said in it: in no description, in nothing beside them, in no comment."""
        inside = [node for node in self._root.iter() if node is not self._root and node is not self.rdf]
        around = [*self._root.itersiblings(), *self._root.itersiblings(preceding=True)]
        return all(node.tag == rdf_name("Description") and _is_empty(node) for node in inside) and not any(
            node.tag is etree.Comment for node in around
        )

    def to_bytes(self) -> bytes:
        """The packet as it is now; what was not edited has the bytes that it had."""
        return self._encoded.to_bytes(_serialised(self._root, self._text, self._tags))


def _is_empty(description: Any) -> bool:
    return not len(description) and not set(description.attrib) - {_ABOUT, _MARK}


def _kept(text: str) -> str:
    """The text with private characters for what lxml would write in another way."""
    parts, at = [], 0
    for markup in _MARKUP.finditer(text):
        parts += [text[at : markup.start()].replace(">", _GREATER), markup[0]]
        at = markup.end()
    return "".join((*parts, text[at:])).replace("&", _REFERENCE)


def _parsed(document: str) -> Any:
    """The tree of a document.

    libxml2 refuses texts of more than 10 MB, for entities could make them of a few bytes. Masks and curves of photo
    programs are as long as that: where there is no document type, which alone declares entities, the limit is lifted.
    """
    try:
        tree = etree.ElementTree(etree.fromstring(document.encode(), _parser(huge="<!DOCTYPE" not in document)))
    except (etree.XMLSyntaxError, ValueError) as e:
        raise PacketError(f"it is no well-formed XML ({' '.join(str(e).split())})") from e
    if tree.docinfo.doctype:
        raise PacketError("it declares a document type, which XMP does not have")
    return tree


def _parser(*, huge: bool) -> Any:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        strip_cdata=False,
        remove_blank_text=False,
        huge_tree=huge,
        encoding="utf-8",
    )


def _start_tags(root: Any, text: str) -> list[str]:
    """The start tags as they are written, in order; every element is marked with the number of its own.

    lxml would sort their attributes and join their lines. Where they cannot be told for certain, none are given.
    """
    tags = [found[1] for found in _MARKUP.finditer(text) if found[1]]
    elements = [element for element in root.iter() if isinstance(element.tag, str)]
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


def _serialised(root: Any, text: str, tags: list[str]) -> str:
    """The edited packet; declaration, packet marks and padding around the root element stay as they were."""
    markup = list(_MARKUP.finditer(text))
    first = next(found for found in markup if found[1])
    start, end = first.start(), first.end()
    body = _as_written(etree.tostring(root, encoding="unicode", with_tail=False), tags)
    if not first[1].endswith("/>"):
        end = max(found.start() for found in markup if found[0].startswith("</"))
        body = body.removesuffix(f"</{_written_name(root)}>")
    if "\r\n" in text and text.count("\r\n") == text.count("\n"):
        # XML knows line feeds alone: the parser has made them so, but for those inside the start tags.
        body = body.replace("\r\n", "\n").replace("\n", "\r\n")
    return (text[:start] + body + text[end:]).replace(_REFERENCE, "&").replace(_GREATER, ">")


def _written_name(element: Any) -> str:
    local = etree.QName(element).localname
    return local if element.prefix is None else f"{element.prefix}:{local}"


def xml_text(text: str) -> str:
    """Text that a packet can hold: control characters, half surrogates and our own private characters are left out."""
    return _NOT_XML.sub("", text)


# --- RDF in its several spellings -------------------------------------------------------------------------------


def fields_of(node: Any) -> dict[str, Any]:
    """Fields of a description or struct by name: child elements, and attributes as their text."""
    place = struct_of(node)
    fields: dict[str, Any] = {name: value for name, value in place.attrib.items() if name.startswith("{")}
    return fields | {child.tag: child for child in place if isinstance(child.tag, str)}


def struct_of(node: Any) -> Any:
    """Where the fields of a struct stand: in the node itself, or in the description that it holds."""
    inner = node.find(rdf_name("Description"))
    return node if inner is None else inner


def container_of(element: Any) -> Any:
    """The rdf:Bag, Seq or Alt of a list; None where a single text, or nothing, stands in its place.

    Raises:
        PacketError: it is neither a list nor a text.
    """
    for name in ("Bag", "Seq", "Alt"):
        found = element.find(rdf_name(name))
        if found is not None:
            return found
    if len(element) or set(element.attrib) - {_MARK}:
        raise PacketError(f"its {etree.QName(element).localname} is neither a list nor a text")
    return None


def as_list(element: Any, kind: str) -> Any:
    """The container of a list, made where there is none: the text that stood in its place is the first item.

    Raises:
        PacketError: as `container_of`.
    """
    container = container_of(element)
    if container is None:
        text, element.text = element.text, None
        container = append(element, rdf_name(kind))
        if text and text.strip():
            append(container, rdf_name("li")).text = text
    return container


def items_of(element: Any) -> list[Any]:
    """The items of a list; of a text or of nothing, none."""
    if element is None or isinstance(element, str) or (container := container_of(element)) is None:
        return []
    return [child for child in container if isinstance(child.tag, str) and _ITEM.fullmatch(child.tag)]


def text_of(node: Any) -> str:
    """The text of an element or attribute; of nothing, an empty one."""
    if node is None:
        return ""
    text = node if isinstance(node, str) else (node.text or "")
    text = text.replace(_GREATER, ">")
    return html.unescape(text.replace(_REFERENCE, "&")) if _REFERENCE in text else text


def rdf_name(name: str) -> str:
    """A name in RDF's own namespace, as lxml writes it."""
    return f"{{{RDF}}}{name}"


# --- editing with the layout kept -------------------------------------------------------------------------------


def append(
    parent: Any, name: str, text: str | None = None, *, resource: bool = False, inside: tuple[str, ...] = ()
) -> Any:
    """Adds a child, on a line of its own, one step further in than its parent.

    It declares the prefixes of its own namespace and of those ``inside`` it, where its parents do not.
    """
    needed = {etree.QName(name).namespace, *inside} - set(parent.nsmap.values())
    child = etree.SubElement(parent, name, nsmap={p: uri for p, uri in PREFIXES.items() if uri in needed})
    if resource:
        child.set(rdf_name("parseType"), "Resource")
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


def remove(element: Any) -> None:
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
