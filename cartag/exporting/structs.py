"""Structs of XMP as values: how one is written into a packet, and whether an element there says the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cartag.exporting.rdf import RDF, append, rdf_name, text_of, xml_text

_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


@dataclass(frozen=True, slots=True)
class Items:
    """A list; an ``Alt`` holds its text in the default language."""

    kind: str
    values: tuple[Any, ...]


Struct = dict[str, Any]
"""Texts, structs and lists by their qualified names."""


def write(parent: Any, name: str, value: Any) -> None:
    """Adds a text, list or struct to an element."""
    if isinstance(value, str):
        append(parent, name, value)
    elif isinstance(value, Items):
        container = append(append(parent, name), rdf_name(value.kind))
        for item in value.values:
            write(container, rdf_name("li"), item)
            if value.kind == "Alt":
                container[-1].set(_LANGUAGE, "x-default")
    else:
        element = append(parent, name, resource=True, inside=_namespaces(value))
        for inner, part in value.items():
            write(element, inner, part)


def _namespaces(value: Any) -> tuple[str, ...]:
    """Those of all names in a struct, each once: they are declared where it begins."""
    if isinstance(value, Items):
        return tuple(dict.fromkeys(uri for item in value.values for uri in _namespaces(item)))
    if not isinstance(value, dict):
        return ()
    return tuple(
        dict.fromkeys(uri for name, part in value.items() for uri in (name[1:].partition("}")[0], *_namespaces(part)))
    )


Leaves = list[tuple[str, str]]
"""All texts of a struct, each with the name that it stands under: how it is spelt in RDF makes no difference."""


def leaves(value: Any, name: str = "") -> Leaves:
    """Those of a text, list or struct."""
    if isinstance(value, str):
        return [(name, _normal(xml_text(value)))]
    if isinstance(value, Items):
        return sorted(leaf for item in value.values for leaf in leaves(item, name))
    return sorted(leaf for inner, part in value.items() for leaf in leaves(part, inner))


def leaves_in(element: Any) -> Leaves:
    """Those of an element, as another program may have spelt it, and however deep."""
    names = {element.getparent(): ""}
    found: Leaves = []
    for node in element.iter():
        if not isinstance(node.tag, str):
            continue
        names[node] = names[node.getparent()] if node.tag.startswith(f"{{{RDF}}}") else node.tag
        found += [
            (attribute, _normal(text_of(value)))
            for attribute, value in node.attrib.items()
            if attribute.startswith("{") and not attribute.startswith((f"{{{RDF}}}", _LANGUAGE))
        ]
        if not any(isinstance(child.tag, str) for child in node) and (text := text_of(node)).strip():
            found.append((names[node], _normal(text)))
    return sorted(found)


def _normal(text: str) -> str:
    """Programs write numbers with more digits, or fewer."""
    try:
        return f"{float(text):.5f}"
    except ValueError:
        return text
