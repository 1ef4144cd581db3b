"""The RDF of XMP packets: reading its several spellings, editing with the layout kept, writing with the bytes of others
kept. The only importer of lxml.
"""

from __future__ import annotations

import html
import re
from typing import Any

from lxml import etree

from cartag.errors import ExportError

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
MWG = "http://www.metadataworkinggroup.com/schemas/regions/"
AREA = "http://ns.adobe.com/xmp/sType/Area#"
DIMENSIONS = "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
OWN = "urn:cartag:xmp:1#"  # exiv2 adds a slash to a namespace that ends in anything but "/" or "#"
PREFIXES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "mwg-rs": MWG,
    "stArea": AREA,
    "stDim": DIMENSIONS,
    "cartag": OWN,
}
_UTF8 = ("UTF-8", "US-ASCII", "ASCII")
# A private character takes the place of "&" while a packet is edited, or lxml would write &quot; and &#39; otherwise.
_REFERENCE = "\ue000"
_MARK = "cartag-was"
_MARKED_TAG = re.compile(rf'<([^\s<>/]+)(?:[^<>"\']|"[^"]*"|\'[^\']*\')*? {_MARK}="(\d+)"[^<>]*?(/?)>')
_MARKUP = re.compile(
    r"""<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>|</[^>]*>|(<(?:[^"'<>]|"[^"]*"|'[^']*')*>)""", re.DOTALL
)
_ABOUT = f"{{{RDF}}}about"
_NOT_XML = re.compile("[^\t\n\r\N{SPACE}-\ud7ff\ue001-\ufffd\U00010000-\U0010ffff]")


class PacketError(ExportError):
    """A packet that cannot be merged into: no XMP, or laid out in a way that is not safe to edit."""


# --- text to tree and back --------------------------------------------------------------------------------------


class Packet:
    """A packet opened for editing."""

    def __init__(self, source: bytes) -> None:
        """Parses a packet.

        Raises:
            PacketError: it cannot be edited without risk.
        """
        tree = _parsed(source)
        if _encoding(tree) in _UTF8:
            if _REFERENCE.encode() in source:
                raise PacketError(f"it holds the private character U+{ord(_REFERENCE):04X}")
            source = source.replace(b"&", _REFERENCE.encode())
            tree = _parsed(source)
        root = tree.getroot()
        rdf = root if root.tag == rdf_name("RDF") else root.find(rdf_name("RDF"))
        if rdf is None:
            raise PacketError("it is XML, but no XMP (no rdf:RDF in it)")
        self.rdf = rdf
        """Holds the descriptions."""
        self._tree = tree
        self._source = source
        self._tags = _start_tags(tree, source)

    def descriptions(self) -> list[Any]:
        """The elements that hold the photo's properties; most packets have several."""
        return list(self.rdf.findall(rdf_name("Description")))

    def property(self, name: str) -> Any:
        """The element of a property, or None.

        Raises:
            PacketError: it is there twice, or as an attribute.
        """
        found = [element for description in self.descriptions() for element in description.findall(name)]
        if len(found) > 1 or any(name in description.attrib for description in self.descriptions()):
            raise PacketError(f"its {etree.QName(name).localname} is not one list")
        return found[0] if found else None

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
        del description.attrib[name]
        description.attrib.pop(_MARK, None)  # its start tag is no longer the one that was written
        if _is_empty(description):
            remove(description)

    def is_empty(self) -> bool:
        """Whether no description says anything."""
        return all(_is_empty(description) for description in self.descriptions())

    def to_bytes(self) -> bytes:
        """The packet as it is now; what was not edited has the bytes that it had."""
        return _serialised(self._tree, self._source, self._tags)


def _is_empty(description: Any) -> bool:
    return not len(description) and not set(description.attrib) - {_ABOUT, _MARK}


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


def xml_text(text: str) -> str:
    """Text that a packet can hold: control characters, half surrogates and our own private character are left out."""
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
    """The rdf:Bag, Seq or Alt of a list.

    Raises:
        PacketError: there is none.
    """
    for name in ("Bag", "Seq", "Alt"):
        found = element.find(rdf_name(name))
        if found is not None:
            return found
    raise PacketError(f"its {etree.QName(element).localname} is not one list")


def items_of(element: Any) -> list[Any]:
    """The items of a list; of no list, none."""
    if element is None or isinstance(element, str):
        return []
    return list(container_of(element).findall(rdf_name("li")))


def text_of(node: Any) -> str:
    """The text of an element or attribute; of nothing, an empty one."""
    if node is None:
        return ""
    text = node if isinstance(node, str) else (node.text or "")
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
