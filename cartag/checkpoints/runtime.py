"""What computes a bundled model: ONNX Runtime on a CPU, which starts in a fraction of the time, or torch."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import platform
import sys
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from cartag.checkpoints.digests import check_recorded
from cartag.checkpoints.graphs import GraphError
from cartag.errors import ModelError
from cartag.resources import shipped

log = logging.getLogger(__name__)


def takes_graphs(runtime: str, device: str, dtype: str = "auto") -> bool:
    """Whether the settings leave room for ONNX Runtime: on a CPU, in float32, where torch was not asked for.

    Raises:
        ModelError: it was asked for, with a device or a dtype that it does not have here.
    """
    if runtime == "torch":
        return False
    is_exact = dtype in ("auto", "float32")
    if is_exact and (device == "cpu" or (device == "auto" and (runtime == "onnx" or not _has_gpu()))):
        return True
    if runtime == "onnx":
        said = f"device {device}" if is_exact else f"dtype {dtype}"
        raise ModelError(f"runtime onnx: computes on a CPU in float32, not with {said}; use --runtime torch")
    return False


def graphs_for(folder: Path, bundled: str, decided_by: Collection[str], runtime: str) -> Path | None:
    """The folder of the graphs that ship with the bundled model, where they say what the one in ``folder`` computes.

    It is that model, or was made by the same recipe: its config says the same under all keys in ``decided_by``. No
    other graph is ever run: weights are data, graphs that come with them would be programs of somebody else's.

    Raises:
        ModelError: there is none, and ONNX Runtime was asked for.
        GraphError: they are damaged.
    """
    ours = shipped("models", bundled)
    if _decided(folder, decided_by) != _decided(ours, decided_by):
        if runtime == "onnx":
            raise ModelError(f"runtime onnx: has no graph of {folder}, only of bundled models; use --runtime torch")
        return None
    try:
        check_recorded(ours, {}, only=".onnx")
    except ModelError as e:
        raise GraphError(str(e)) from e
    return ours


def without_graphs(runtime: str, why: GraphError) -> None:
    """Torch has been loaded instead: said once, whatever is loaded after.

    Raises:
        ModelError: ONNX Runtime was asked for.
    """
    if runtime == "onnx":
        raise ModelError(f"runtime onnx: {why}; use --runtime torch") from why
    _say_once()
    log.info("ONNX Runtime: %s", why)


@cache
def _say_once() -> None:
    log.warning("ONNX Runtime cannot be used; torch computes instead, which takes seconds more to start")


def _decided(folder: Path, keys: Collection[str]) -> dict[str, Any]:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))  # vetted before
    return {key: config.get(key) for key in keys}


@cache
def _has_gpu() -> bool:
    """Whether ``--device auto`` is something else than the CPU. Torch is asked only where there may be a GPU."""
    if not _may_have_gpu():
        return False
    from cartag.checkpoints.device import choose_device

    return choose_device("auto").type != "cpu"


def _may_have_gpu() -> bool:
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if os.path.exists("/dev/kfd"):  # AMD's
        return True
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):
        return False
