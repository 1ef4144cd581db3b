"""Catalogs: reading and checking the YAML file, and finding the car that somebody means by a few words."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from cartag import plainyaml
from cartag.errors import CatalogError, UnknownCarError
from cartag.resources import shipped, shipped_catalogs
from cartag.values import Car, Catalog

# Makes of more than one word; everywhere else the first word of a name is the make.
_LONG_MAKES = (
    "alfa romeo",
    "aston martin",
    "austin healey",
    "de tomaso",
    "gordon murray",
    "isotta fraschini",
    "land rover",
    "range rover",
    "rolls royce",
)
_CATALOG_KEYS = {"name", "title", "cars", "templates", "other_cars", "no_car"}
_CAR_KEYS = {"id", "name", "make", "aliases", "years", "body", "prompts"}
OUTCOME_WORDS = frozenset({"none", "unknown", "nocar"})
"""Words of the hand labels, `squeezed`: no car may be called so."""
_A_WORD, _LIKE_A_PART = 4, 80  # letters of a part of a name that a misspelt word may be like, and how like, of 100
_REJECTION_CATALOG = "sports-cars"
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
_HARD_SPACES = dict.fromkeys(map(ord, "\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{FIGURE SPACE}"), " ")


class Named(Protocol):
    """What a car needs in order to be found by words: `Car` and `IndexedCar` both have it."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def make(self) -> str: ...
    @property
    def aliases(self) -> tuple[str, ...]: ...


C = TypeVar("C", bound=Named)

# --- words ------------------------------------------------------------------------------------------------------


# What nobody sees without being of the category "format": joiners, selectors of a letter's shape, fillers.
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


@lru_cache(maxsize=10_000)
def is_unseen(character: str) -> bool:
    """Whether a character is not seen: a soft hyphen, a joiner, a mark of direction. It parts no words."""
    return unicodedata.category(character) == "Cf" or _UNSEEN.match(character) is not None


def seen(text: str) -> str:
    """The text as a person sees it: with no characters that are none to her."""
    return text if text.isascii() else "".join(c for c in text if not is_unseen(c))


@lru_cache(maxsize=4096)  # a catalog compares every name with every other
def normalise(text: str) -> str:
    """Lower-case words without accents, punctuation or what nobody sees: ``"Citroën DS-21" -> "citroen ds 21"``."""
    plain = seen("".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)))
    plain = plain.casefold().replace("đ", "d").replace("ø", "o").replace("ł", "l")
    return " ".join(re.findall(r"[^\W_]+", plain))


def squeezed(text: str) -> str:
    """Equal for what `match_exactly` takes for the same name."""
    return normalise(text).replace(" ", "")


def slug(text: str) -> str:
    """An id made of a name: ``"Porsche 911 Carrera GTS (997)" -> "porsche-911-carrera-gts-997"``."""
    return normalise(text).replace(" ", "-")


def _make_words(car: Named) -> list[str]:
    return normalise(car.make).split()


def _names(car: Named) -> list[str]:
    return [normalise(text) for text in (car.id, car.name, *car.aliases)]


def match_exactly(words: str, cars: Iterable[C]) -> C | None:
    """The car whose id, name or alias these words are, ignoring case, accents and punctuation."""
    wanted = normalise(words)
    names = [(name, car) for car in cars for name in _names(car)]
    exactly = next((car for name, car in names if name == wanted), None)
    return exactly or next((car for name, car in names if name.replace(" ", "") == wanted.replace(" ", "")), None)


def match_car(words: str, cars: Sequence[C]) -> list[C]:
    """The cars that somebody means by ``words``.

    A full id, name or alias means that car; a make means all its cars; otherwise every car whose name, make or one
    alias holds all the words ("zonda", "carrera gt").

    Raises:
        UnknownCarError: none does; its message suggests near misses.
    """
    if not normalise(words):
        raise UnknownCarError("an empty car name matches nothing: name a car or a make")
    found = meant(words, cars)
    if found:
        return found
    if squeezed(words) in OUTCOME_WORDS:
        raise UnknownCarError(f"{words!r} is no car but an outcome; `cartag export --as csv` lists photos by it")
    near = suggest(words, cars)
    hint = f"; did you mean {_either(near)}?" if near else "; `cartag cars` lists the catalog"
    raise UnknownCarError(f"no car called {words!r} in the catalog{hint}", near)


def meant(words: str, cars: Sequence[C]) -> list[C]:
    """As `match_car`; no car where nothing is meant."""
    wanted = normalise(words)
    if not wanted:
        return []
    exact = match_exactly(words, cars)
    if exact is not None:
        return [exact]
    of_make = [car for car in cars if normalise(car.make) == wanted]
    if of_make:
        return of_make
    tokens = set(wanted.split())
    return [car for car in cars if any(tokens <= {*name.split(), *_make_words(car)} for name in _names(car))]


def suggest(words: str, cars: Iterable[Named], limit: int = 3, least: float = 60) -> list[str]:
    """Names of cars and makes that look like ``words``, nearest first; ``least`` is how like, up to 100."""
    from rapidfuzz import fuzz, process  # noqa: PLC0415 - only a miss pays for the import

    spoken: dict[str, str] = {}
    parts: dict[str, str] = {}
    for car in cars:
        spoken.setdefault(normalise(car.make), car.make)
        for name in _names(car):
            spoken.setdefault(name, car.name)
            parts |= {word: car.name for word in name.split() if len(word) >= _A_WORD and word not in parts}
    wanted, by_words = normalise(words), fuzz.token_sort_ratio
    found = process.extract(wanted, spoken.keys(), scorer=fuzz.ratio, limit=None, score_cutoff=least)
    found += process.extract(wanted, spoken.keys(), scorer=by_words, limit=None, score_cutoff=least)
    parts = {word: name for word, name in parts.items() if word not in spoken}
    found += process.extract(wanted, parts.keys(), scorer=fuzz.ratio, limit=None, score_cutoff=max(least, _LIKE_A_PART))
    best = sorted(found, key=lambda hit: (-hit[1], hit[0]))
    return list(dict.fromkeys((spoken | parts)[name] for name, _, _ in best))[:limit]


def _either(names: Sequence[str]) -> str:
    quoted = [f'"{name}"' for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


# --- files ------------------------------------------------------------------------------------------------------


def load_catalog(name_or_file: str | Path) -> Catalog:
    """Reads a catalog: one that ships with cartag by its name, or a YAML file.

    Raises:
        CatalogError: no such catalog, or a mistake in the file; the message says where.
    """
    path, source = locate(str(name_or_file))
    return catalog_of(_parse(path), path, source)


def catalog_of(raw: Any, path: Path, source: str) -> Catalog:
    """The catalog that a parsed file is; ``path`` is where it lies, or is to lie.

    Raises:
        CatalogError: a mistake in it.
    """
    raw = _mapping(raw, path)
    _only_known(raw, _CATALOG_KEYS, str(path))
    cars = _cars(raw.get("cars"), f"{path}: cars")
    if not cars:
        raise CatalogError(f"{path}: cars: the list is empty; name at least one car, e.g. '- Pagani Huayra'")
    prompts = _mapping(_parse(shipped("configs", "prompts.yaml")), shipped("configs", "prompts.yaml"))
    name = _text(raw.get("name", path.stem), f"{path}: name")
    catalog = Catalog(
        name=name,
        title=_text(raw.get("title", name), f"{path}: title"),
        cars=cars,
        templates=_templates(raw.get("templates", prompts["templates"]), f"{path}: templates"),
        other_cars=_other_cars(raw.get("other_cars", _REJECTION_CATALOG), cars, path),
        no_car=_texts(raw.get("no_car", prompts["no_car"]), f"{path}: no_car"),
        sha256="",
        source="",
    )
    digest = hashlib.sha256(msgspec.json.encode(catalog, order="deterministic")).hexdigest()
    return msgspec.structs.replace(catalog, sha256=digest, source=source)


def locate(name_or_file: str) -> tuple[Path, str]:
    """The file of a catalog, and what an index calls it: the name of a shipped one, or the file's full path."""
    known = shipped_catalogs()
    if name_or_file in known:
        return known[name_or_file], name_or_file
    path = Path(name_or_file)
    if _is_file(path):
        return path, str(path.resolve())
    raise CatalogError(f"no catalog {name_or_file!r}: neither a file nor one of {', '.join(known)}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def _parse(path: Path) -> Any:
    try:
        return plainyaml.read(path, CatalogError, trusted=path.parent == shipped("configs"))
    except OSError as e:
        raise CatalogError(f"{path}: cannot be read ({e.strerror})") from e


def _mapping(raw: Any, where: Path | str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise CatalogError(f"{where}: expected keys and values (name:, cars:), found {_kind(raw)}")
    return raw


def _only_known(raw: dict[str, Any], known: set[str], where: str) -> None:
    for key in raw:
        if key not in known:
            raise CatalogError(f"{where}: unknown key {key!r}; known are {', '.join(sorted(known))}")


def _text(raw: Any, where: str) -> str:
    if not isinstance(raw, str) or not seen(raw).strip():
        raise CatalogError(f"{where}: expected a text, found {_kind(raw)}")
    if any("\ud800" <= c <= "\udfff" for c in raw):
        raise CatalogError(f"{where}: {raw!r} holds half a character (a surrogate), which no text may")
    return unicodedata.normalize("NFC", _as_typed(raw))


def _as_typed(text: str) -> str:
    """A pasted text as a person would have typed it: a model reads soft hyphens and hard spaces as other words.

    Joiners stay: some scripts are wrong without them.
    """
    typed = "".join(c for c in text if c in _JOINERS or unicodedata.category(c) != "Cf")
    return typed.translate(_HARD_SPACES).strip()


def _texts(raw: Any, where: str) -> tuple[str, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, list):
        raise CatalogError(f"{where}: expected a list, found {_kind(raw)}")
    return tuple(_text(item, f"{where}[{i}]") for i, item in enumerate(raw))


def _templates(raw: Any, where: str) -> tuple[str, ...]:
    templates = _texts(raw, where)
    if not templates:
        raise CatalogError(f"{where}: the list is empty; use at least one, e.g. 'a photo of a {{name}}.'")
    for i, template in enumerate(templates):
        fields = re.findall(r"{([^{}]*)}", template)
        if not {"name", ""} & set(fields) or set(fields) - {"name", "year", ""}:
            raise CatalogError(f"{where}[{i}]: a template needs {{name}} and may hold {{year}}: {template!r}")
    return tuple(template.replace("{}", "{name}") for template in templates)


def _cars(raw: Any, where: str) -> tuple[Car, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, list):
        raise CatalogError(f"{where}: expected a list of cars, found {_kind(raw)}")
    cars = tuple(_car(item, f"{where}[{i}]") for i, item in enumerate(raw))
    _no_duplicates(cars, where)
    return cars


def _car(raw: Any, where: str) -> Car:
    """One car, from a mapping or from its bare name."""
    if not isinstance(raw, dict):
        raw = {"name": raw}
    _only_known(raw, _CAR_KEYS, where)
    if "name" not in raw:
        raise CatalogError(f"{where}: a car needs a name")
    name = _text(raw["name"], f"{where}.name")
    if not slug(name):
        raise CatalogError(f"{where}.name: {name!r} has no letter or digit")
    car_id = _text(raw.get("id", slug(name)), f"{where}.id")
    if not re.fullmatch(r"[^\W_]+(-[^\W_]+)*", car_id) or car_id != car_id.casefold():
        raise CatalogError(f"{where}.id: {car_id!r}: use lower-case letters, digits and hyphens, e.g. {slug(name)!r}")
    aliases = _texts(raw.get("aliases"), f"{where}.aliases")
    for text in (car_id, name, *aliases):
        if squeezed(text) in OUTCOME_WORDS:
            raise CatalogError(f"{where}: {text!r} is a word of the hand labels; give the car another name")
    return Car(
        id=car_id,
        name=name,
        make=_text(raw.get("make", guess_make(name)), f"{where}.make"),
        aliases=aliases,
        years=_years(raw["years"], f"{where}.years") if raw.get("years") is not None else None,
        body=_text(raw["body"], f"{where}.body") if raw.get("body") is not None else None,
        prompts=_texts(raw.get("prompts"), f"{where}.prompts"),
    )


def _years(raw: Any, where: str) -> str:
    """Years in whatever words; two years are the first and the last."""
    text = _text(raw, where)
    two = re.fullmatch(r"\D*(\d{4})\s*[-\u2010-\u2015]\s*(\d{4})\D*", text)
    if two and two[2] < two[1]:
        raise CatalogError(f"{where}: {text!r} ends before it begins; write the first year first: {two[2]}-{two[1]}")
    return text


def guess_make(name: str) -> str:
    """The make in a car's name: its first word, or two where a known make has two."""
    words = name.split()
    for make in _LONG_MAKES:
        if normalise(name).startswith(make):
            return words[0] if len(normalise(words[0]).split()) > 1 else " ".join(words[:2])
    return words[0]


def _no_duplicates(cars: Sequence[Car], where: str) -> None:
    """Two cars that one word could mean would make every query and every label ambiguous."""
    owner: dict[str, int] = {}
    for i, car in enumerate(cars):
        spoken = [normalise(alias) for alias in car.aliases]
        for j, alias in enumerate(spoken):
            if alias in spoken[:j]:
                raise CatalogError(f"{where}[{i}].aliases: {car.aliases[j]!r} is there twice")
        for field, text in (("id", car.id), ("name", car.name), *(("aliases", alias) for alias in car.aliases)):
            other = owner.setdefault(normalise(text), i)
            if other != i:
                raise CatalogError(
                    f"{where}[{i}].{field}: {text!r} already means {cars[other].name!r} ({where}[{other}])"
                )


def _other_cars(raw: Any, cars: Sequence[Car], path: Path) -> tuple[Car, ...]:
    """The names to reject by: a list of its own, or another catalog, less the cars of this one."""
    if isinstance(raw, str):
        beside = path.parent / raw
        try:
            location, _ = locate(str(beside) if _is_file(beside) else raw)
        except CatalogError as e:
            raise CatalogError(f"{path}: other_cars: {e}") from e
        others = _cars(_mapping(_parse(location), location).get("cars"), f"{location}: cars")
    else:
        others = _cars(raw, f"{path}: other_cars")
    spoken = {squeezed(text) for car in cars for text in (car.id, car.name, *car.aliases)}
    return tuple(other for other in others if spoken.isdisjoint((squeezed(other.id), squeezed(other.name))))


def _kind(raw: Any) -> str:
    if isinstance(raw, str):
        return f"the text {raw!r}" if raw.strip() else "an empty text"
    return "nothing" if raw is None else "a list" if isinstance(raw, list) else "keys and values"
