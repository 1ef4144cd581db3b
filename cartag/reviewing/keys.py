"""The keys of the review page: what each does where, and those that a person set otherwise. The page's only table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from cartag.errors import SettingsError
from cartag.settings import Settings


@dataclass(frozen=True, slots=True)
class Key:
    """One action of the page."""

    action: str
    key: str
    """As a browser calls it, in small letters (`KeyboardEvent.key`)."""
    where: str
    """``list``: among all photos; ``photo``: in one; ``group``: in a group of those that look alike."""
    words: str


KEYS = (
    Key("groups", "g", "list", "name groups that look alike"),
    Key("search", "/", "list", "search"),
    Key("all", "a", "list", "choose all shown"),
    Key("confirm", "enter", "list", "the chosen: right as they are"),
    Key("any", "c", "list", "the chosen: any car, by typing"),
    Key("unknown", "u", "list", "the chosen: not in the catalog"),
    Key("none", "n", "list", "the chosen: no car"),
    Key("undo", "x", "list", "undo"),
    Key("help", "?", "list", "these keys"),
    Key("confirm", "enter", "photo", "save what is ticked, and go on"),
    Key("also", "a", "photo", "one more car in the same photo: then its number"),
    Key("any", "c", "photo", "any car, by typing"),
    Key("unknown", "u", "photo", "tick: not in the catalog"),
    Key("none", "n", "photo", "tick: no car"),
    Key("undo", "x", "photo", "undo"),
    Key("zoom", "z", "photo", "every pixel, and back; arrows or drag move"),
    Key("side", "s", "photo", "compare: beside it a sure photo of the ticked car; again: another one"),
    Key("like", "l", "photo", "all photos, those most like this first"),
    Key("draw", "b", "photo", "draw a box"),
    Key("move", "m", "photo", "move the box with the arrows"),
    Key("size", "r", "photo", "size the box with the arrows"),
    Key("delete", "delete", "photo", "delete the box"),
    Key("help", "?", "photo", "these keys"),
    Key("confirm", "enter", "group", "name all, as offered first"),
    Key("any", "c", "group", "any car, by typing: names all"),
    Key("unknown", "u", "group", "all are not in the catalog"),
    Key("none", "n", "group", "all show no car"),
    Key("zoom", "z", "group", "its whole photo, and back"),
    Key("skip", "s", "group", "next group, say nothing of this"),
    Key("undo", "x", "group", "undo"),
    Key("help", "?", "group", "these keys"),
)
"""Where an action is in several places, it has one key in all of them. Arrows, Space, Tab, Esc and the numbers stay."""
_NAMED = ("enter", "delete", "backspace", "insert", "home", "end", "pageup", "pagedown")
_TAKEN = set("123456789 ")


def keys_of(settings: Settings) -> tuple[Key, ...]:
    """The table with the keys of the setting ``review_keys``.

    Raises:
        SettingsError: it names no action, no key, or one that something else has in the same place.
    """
    wanted = dict(_read(settings.review_keys))
    table = tuple(replace(key, key=wanted.get(key.action, key.key)) for key in KEYS)
    taken: dict[tuple[str, str], str] = {}
    for one in table:
        other = taken.setdefault((one.where, one.key), one.action)
        if other != one.action:
            raise SettingsError(
                f"review_keys: {one.key!r} would be {other!r} and {one.action!r}; give one of them another key"
            )
    return table


def _read(texts: Iterable[str]) -> Iterable[tuple[str, str]]:
    actions = dict.fromkeys(key.action for key in KEYS)
    for text in texts:
        action, is_there, key = text.partition("=")
        action, key = action.strip().lower(), key.strip().lower()
        if not is_there or action not in actions:
            raise SettingsError(f"review_keys: {text!r}: expected action=key; actions are {', '.join(actions)}")
        if not (key in _NAMED or (len(key) == 1 and key.isprintable() and key not in _TAKEN)):
            raise SettingsError(f"review_keys: {text!r}: a key is one sign that is no number, or {', '.join(_NAMED)}")
        yield action, key
