"""What a checkpoint's config may not ask for: whatever would load more than the weights, words and numbers beside it.

`transformers` is told to run no code of a repository and to read nothing but safetensors. A config can still have timm
read another file (which older releases of timm unpickle), fetch a model from the hub, or name attention code there. No
model of the table does; a checkpoint that asks for it is refused before any library sees it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from cartag.errors import ModelError

_WORD = re.compile(r"[\w.+-]+")
_NAMES_CODE = {"architecture", "backbone", "attn_implementation", "_attn_implementation", "experts_implementation"}
"""What is built. A plain word is a part of the library; a slash or a colon leads to the hub or to another folder."""
_LOADS = {"transformers_weights", "use_pretrained_backbone"}
_ARGUMENTS = {"model_args", "backbone_kwargs"}
"""Handed to timm's `create_model` as they are."""
_LOADING_ARGUMENTS = {"checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"}


def vet(folder: Path, *, left_out: Collection[str] = ()) -> dict[str, Any]:
    """Refuses a checkpoint whose config would have something loaded from outside its folder, unpickled, or run.

    Returns its config, less the keys ``left_out`` at its top: these may ask for anything, for whoever calls hands on
    only what is returned.

    Raises:
        ModelError: it asks for that, or its config is damaged.
    """
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder / 'adapter_config.json'}: an adapter leads to other weights; merge it into the model"
        )
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ModelError(f"{path}: cannot be read as JSON ({' '.join(str(e).split())[:200]})") from e
    if not isinstance(config, dict):
        raise ModelError(f"{path}: not the config of a model, which is an object in JSON")
    config = {key: value for key, value in config.items() if key not in left_out}
    found = next(_asks(config), None)
    if found is not None:
        raise ModelError(
            f"{path}: {found[0]}: {json.dumps(found[1])[:100]} would load more than the safetensors beside it, which "
            "cartag never does; take it out or choose another checkpoint"
        )
    return config


def _asks(node: Any, place: str = "", *, are_arguments: bool = False) -> Iterator[tuple[str, Any]]:
    """Places and values of a config that lead elsewhere."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in children:
        here = f"{place}.{key}" if place else str(key)
        loads = key in _LOADS or (are_arguments and key in _LOADING_ARGUMENTS)
        if (loads and value) or ((key in _NAMES_CODE or are_arguments) and not _are_words(value)):
            yield here, value
        else:
            yield from _asks(value, here, are_arguments=are_arguments or key in _ARGUMENTS)


def is_plain_word(text: str) -> bool:
    """Whether a text can name a part of a library and nothing elsewhere."""
    return _WORD.fullmatch(text) is not None


def _are_words(value: Any) -> bool:
    """Whether every text in a value is a plain word; numbers and nothing at all are."""
    if isinstance(value, str):
        return not value or is_plain_word(value)
    if isinstance(value, dict):
        return all(map(_are_words, value.values()))
    return not isinstance(value, list) or all(map(_are_words, value))
