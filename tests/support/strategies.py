"""What hypothesis draws from: names of files and cars, records of an index, embeddings."""

from __future__ import annotations

import string
from typing import Any
from urllib.parse import quote

import numpy as np
from hypothesis import strategies as st

from cartag.catalogs.catalog import OUTCOME_WORDS, normalise, squeezed

# --- names ------------------------------------------------------------------------------------------------------

file_names = st.binary(min_size=1, max_size=20).filter(lambda name: b"/" not in name and b"\0" not in name)
"""Names as a POSIX file system takes them."""

_parts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=12).filter(
    lambda part: part not in (".", "..")
)
paths = st.lists(_parts, min_size=1, max_size=3).map("/".join)
"""As an index may hold them."""
_leading_parts = st.sampled_from(["..", "", ".", "a", "..", "b.jpg", "link", "etc", "\0", "a\0b", "...", " .. ", "é"])
any_paths = st.lists(_leading_parts, max_size=5).map("/".join) | st.text(max_size=6)
"""As somebody may write them who wants a file elsewhere."""

_name_characters = st.characters(categories=["Lu", "Ll", "Lo", "Nd", "Zs", "Pd", "Po", "Mn"], max_codepoint=0x2FFF)
_readable = st.text(string.ascii_letters + string.digits + " -'éüđøł.", min_size=1, max_size=12)


def _is_a_name(name: str) -> bool:
    return bool(normalise(name)) and squeezed(name) not in OUTCOME_WORDS


car_names = st.one_of(_readable, st.text(_name_characters, min_size=1, max_size=12)).filter(_is_a_name)
car_name_lists = st.lists(car_names, min_size=1, max_size=8, unique_by=normalise)

_ACCENTS = ["", "", "", "\u0301", "\u0308", "\u0323"]
_GAPS = [" ", "-", "  ", " - ", "_", ", ", "'"]


@st.composite
def respelt(draw: st.DrawFn, name: str) -> str:
    """The same words in other case, with other accents, with punctuation for spaces."""
    out = []
    for c in name:
        if c == " ":
            out.append(draw(st.sampled_from(_GAPS)))
        elif c.isalpha():
            out.append(draw(st.sampled_from([c.lower(), c.upper()])) + draw(st.sampled_from(_ACCENTS)))
        else:
            out.append(c)
    return draw(st.sampled_from(["", " ", "("])) + "".join(out) + draw(st.sampled_from(["", " ", ")", "!"]))


# --- JSON of an index -------------------------------------------------------------------------------------------

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
_ids = st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=8)
_probability = st.floats(0, 1).map(lambda p: round(p, 4))
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=5,
)
_foreign = st.dictionaries(_text.map(lambda key: f"x-{key}"), _json, max_size=2)
"""Fields that this version does not know."""
_sha256 = st.binary(min_size=32, max_size=32).map(bytes.hex)


def _with(draw: st.DrawFn, fields: dict[str, Any], optional: dict[str, st.SearchStrategy[Any]]) -> dict[str, Any]:
    return fields | {key: draw(value) for key, value in optional.items() if draw(st.booleans())}


@st.composite
def _photo(draw: st.DrawFn, path: str) -> dict[str, Any]:
    cars = draw(st.lists(_ids, max_size=4, unique=True))
    split = draw(st.integers(0, len(cars)))
    tags = []
    for car in cars[:split]:
        source = draw(st.sampled_from(["model", "human"]))
        tag = {"car": car, "score": draw(_probability), "source": source}
        tags.append(tag | draw(_foreign) if source == "human" else tag)
    photo = {
        "path": path,
        "size": draw(st.integers(0, 2**40)),
        "mtime_ns": draw(st.integers(-(2**62), 2**62)),
        "outcome": draw(st.sampled_from(["tagged", "unknown", "no-car"])),
        "tags": tags,
        "candidates": [{"car": car, "score": draw(_probability)} for car in cars[split:]],
    }
    optional = {
        "sha256": _sha256,
        "width": st.integers(1, 10**5),
        "height": st.integers(1, 10**5),
        "path_on_disk": paths.map(quote),
        "confirmed": st.booleans(),
        "missing": st.booleans(),
        "error": st.fixed_dictionaries({"reason": _ids, "detail": _text}),
    }
    return _with(draw, photo, optional) | draw(_foreign)


@st.composite
def index_files(draw: st.DrawFn) -> dict[str, Any]:
    """An index as JSON, of this version or with fields of a later one."""
    cars = [
        {"id": car, "name": draw(_text), "make": draw(_text), "aliases": draw(st.lists(_text, max_size=2))}
        for car in draw(st.lists(_ids, max_size=3, unique=True))
    ]
    catalog = {"name": draw(_text), "sha256": draw(_sha256), "cars": cars}
    header = {
        "schema_version": 1,
        "generator": draw(_text),
        "updated": draw(_text),
        "model": {key: draw(_text) for key in ("name", "source", "revision", "dtype")} | draw(_foreign),
        "catalog": _with(draw, catalog, {"source": _text}) | draw(_foreign),
    }
    names = draw(st.lists(paths, max_size=4, unique=True))
    return _with(draw, header, {"scoring": _text}) | draw(_foreign) | {"photos": [draw(_photo(name)) for name in names]}


# --- embeddings -------------------------------------------------------------------------------------------------


@st.composite
def unit_vectors(draw: st.DrawFn, rows: st.SearchStrategy[int], width: int = 6) -> np.ndarray:
    """Float32 of shape (rows, width), each row of length one."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vectors = rng.normal(size=(draw(rows), width)).astype(np.float32)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
