"""YAML as it is written: every value is a text, so that a car called 037, 3.10 or No is called so.

YAML of its own accord takes such words for numbers, times and truths. Whoever wants one of these makes it of the text.
Only a key whose value is ``null`` or ``~`` has none, for that is how programs write that nothing is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

_NOTHING = {"~", "null", "Null", "NULL"}
_AS_TEXT = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "timestamp")}
_NULL = "tag:yaml.org,2002:null"
_COLLECTIONS = {"tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"}
_MERGE = "<<"


def read(path: Path, error: Callable[[str], Exception], *, trusted: bool = False) -> Any:
    """What a YAML file says, in dicts, lists and texts; None where nothing stands.

    Args:
        path: a file in UTF-8.
        error: makes the exception that says, in one line, what is wrong with the file.
        trusted: it is one of ours. libyaml reads it in a tenth of the time; of what others wrote, PyYAML's parser is
            the one that says in words what is wrong, and that endless nesting does not crash.

    Raises:
        ``error``: the file is no YAML, or gives a key twice.
        OSError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as e:
        raise error(f"{path}: not UTF-8 text (byte {e.start}), so not valid YAML; save it as UTF-8") from e
    return parse(text, path, error, trusted=trusted)


def parse(text: str, path: Path, error: Callable[[str], Exception], *, trusted: bool = False) -> Any:
    """As `read`, of the text that the file has or is to have."""
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader) if trusted else yaml.BaseLoader
    try:
        node = yaml.compose(text, Loader=loader)
        return None if node is None else _Reading().value(node)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join(str(getattr(e, "problem", None) or e).split())
        raise error(f"{path}: not valid YAML{where}: {problem}") from e
    except RecursionError as e:
        raise error(f"{path}: not usable YAML: lists and keys are nested too deeply") from e
    except (ValueError, OverflowError) as e:  # PyYAML lets them escape where "\UFFFFFFFF" names no character
        raise error(f"{path}: not usable YAML: {e}") from e


def with_items(text: str, key: str, items: Sequence[Any]) -> str | None:
    """The text of a file with more items at the end of the list under ``key``, and everything else as it was.

    ``text`` has been parsed before. None where there is no such list. Whether the new text means what it should is to
    be seen by parsing it: a list may have been written in ways that nobody thought of.
    """
    root = yaml.compose(text, Loader=yaml.BaseLoader)
    nodes = {k.value: node for k, node in root.value} if isinstance(root, yaml.MappingNode) else {}
    listed = nodes.get(key)
    if not isinstance(listed, yaml.SequenceNode) or not listed.value:
        return None
    end = _last_mark(listed.value[-1]).index
    if listed.flow_style:
        return text[:end] + "".join(f", {one_line(item)}" for item in items) + text[end:]
    newline = "\r\n" if "\r\n" in text else "\n"
    if end == 0 or text[end - 1] != "\n":  # a block of text ends where the next line begins
        end = text.find("\n", end) + 1 or len(text)
    before = text[:end] if text[:end].endswith("\n") else text[:end] + newline
    dash = text.rindex("-", 0, listed.value[0].start_mark.index)
    indent = " " * (dash - text.rfind("\n", 0, dash) - 1)
    return before + "".join(f"{indent}- {one_line(item)}{newline}" for item in items) + text[end:]


def _last_mark(node: yaml.Node) -> yaml.Mark:
    """Where a node ends; one that is written as a block ends with the last thing in it, not with comments after it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_mark(last[1] if isinstance(node, yaml.MappingNode) else last)
    return node.end_mark


def one_line(value: Any) -> str:
    """A value as YAML in one line, such as may stand in a list, in brackets too."""
    listed = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, sort_keys=False, width=float("inf"))
    return listed.strip()[1:-1]


class _Reading:
    """Turns the nodes of one file into values; a node that an alias repeats is one value, which may hold itself."""

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}

    def value(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if node.tag not in _COLLECTIONS:
            raise _wrong(f"the tag {node.tag!r} means nothing here", node)
        if id(node) not in self._done:
            self._collection(node)
        return self._done[id(node)]

    def _collection(self, node: yaml.Node) -> None:
        if isinstance(node, yaml.SequenceNode):
            items: list[Any] = []
            self._done[id(node)] = items
            items.extend(self.value(item) for item in node.value)
        else:
            entries: dict[str, Any] = {}
            self._done[id(node)] = entries
            self._fill(entries, node)

    def _fill(self, entries: dict[str, Any], node: yaml.Node) -> None:
        merged: list[dict[str, Any]] = []
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _wrong("a key must be a text", key)
            if key.value in seen:
                raise _wrong(f"the key {key.value!r} is given twice", key)
            seen.add(key.value)
            if key.value == _MERGE and _is_plain(key):
                merged = self._merged(value)
            else:
                entries[key.value] = None if _is_nothing(value) else self.value(value)
        for other in merged:  # keys of its own go first, then those of what is named first
            for name in other:
                entries.setdefault(name, other[name])

    def _merged(self, node: yaml.Node) -> list[dict[str, Any]]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for part in parts:
            if not isinstance(part, yaml.MappingNode):
                raise _wrong("'<<' takes over keys and values, and there are none", part)
        return [dict(self.value(part)) for part in parts]


def _scalar(node: yaml.ScalarNode) -> str | None:
    if node.tag == _NULL or (node.value == "" and _is_plain(node) and node.tag in _AS_TEXT):
        return None
    if node.tag not in _AS_TEXT:
        raise _wrong(f"the tag {node.tag!r} means nothing here; leave it out", node)
    return str(node.value)


def _is_nothing(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag in _AS_TEXT and _is_plain(node) and node.value in _NOTHING


def _is_plain(node: yaml.ScalarNode) -> bool:
    """Neither quoted nor a block; libyaml and PyYAML say so in two ways."""
    return node.style in (None, "")


def _wrong(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.composer.ComposerError(None, None, problem, node.start_mark)
