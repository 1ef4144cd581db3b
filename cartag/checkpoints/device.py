"""Where a model computes, in what dtype, and how its work is spread over cores or kept within a GPU's memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from cartag.checkpoints.passes import CPU_PASS, MOST_WORKERS, even_parts
from cartag.errors import ModelError, SettingsError
from cartag.settings import usable_cores

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
T = TypeVar("T")

_GPU_PASS = 256
_OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")


def choose_device(wanted: str) -> torch.device:
    """The device by name; ``auto`` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        SettingsError: there is no device of that name.
        ModelError: the device is not on this machine.
    """
    if wanted == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(name)
    try:
        device = torch.device(wanted)
    except RuntimeError as e:
        raise SettingsError(f"no device {wanted!r}: use auto, cpu, cuda, cuda:N or mps") from e
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {wanted}: no such CUDA device here; --device cpu works")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("device mps: not on this machine; --device cpu works")
    if device.type not in ("cpu", "cuda", "mps"):
        raise SettingsError(f"no device {wanted!r}: use auto, cpu, cuda, cuda:N or mps")
    return device


def devices_of(wanted: str) -> list[str]:
    """The devices that a name stands for: ``cuda``, or ``auto`` where it means that, is every GPU; all others are one.

    Which GPUs a process is given CUDA_VISIBLE_DEVICES says.
    """
    count = torch.cuda.device_count() if wanted in ("auto", "cuda") and torch.cuda.is_available() else 0
    return [f"cuda:{number}" for number in range(count)] if count > 1 else [wanted]


def choose_dtype(wanted: str, device: torch.device) -> str | None:
    """What to compute in; None where only a trial can tell (`cartag.encoder.tower.faster_dtype`).

    ``auto`` takes bfloat16 on a CUDA device that computes in it, else float16 there. A CPU that has instructions for
    bfloat16 needs a trial: without AMX they are often slower than float32.

    Raises:
        SettingsError: there is no dtype of that name.
    """
    if wanted in DTYPES:
        return wanted
    if wanted != "auto":
        raise SettingsError(f"no dtype {wanted!r}: use auto, {', '.join(DTYPES)}")
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return None if device.type == "cpu" and _cpu_has_bfloat16() else "float32"


def _cpu_has_bfloat16() -> bool:
    flags = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, flag, lambda: False)() for flag in flags)


_SWITCH = threading.Lock()
_LOADS = threading.Lock()


@contextmanager
def without_tf32(device: torch.device) -> Iterator[None]:
    """Within it, cuDNN's float32 convolutions do not use TF32, which has 10 bits of mantissa instead of 23.

    The switch is the process's: what others compute meanwhile does without TF32 as well, and theirs is restored.
    """
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    # Since torch 2.9 there are new switches, and the old one raises where somebody has used these.
    switch, name, off = (
        (cudnn.conv, "fp32_precision", "ieee") if hasattr(cudnn, "conv") else (cudnn, "allow_tf32", False)
    )
    with _SWITCH:
        before = getattr(switch, name)
        setattr(switch, name, off)
        try:
            yield
        finally:
            setattr(switch, name, before)


class Passes:
    """Runs a model over many items, a few of them a pass.

    On a CPU every core takes passes of its own, with one thread each. Threads that share one pass wait for each other
    at every layer, and while photos are being decoded on the same cores they wait long. On a GPU one pass follows the
    other; when one does not fit into its memory, it is halved for good. ``on_core`` and ``on_gpu`` are how many items
    a pass takes at most there.
    """

    def __init__(
        self, device: torch.device, cores: int | None = None, *, on_core: int = CPU_PASS, on_gpu: int = _GPU_PASS
    ) -> None:
        self._device = device
        self._on_core, self._at_once = on_core, on_gpu
        self._workers = min(cores or usable_cores(), MOST_WORKERS) if device.type == "cpu" else 1
        self._pool: ThreadPoolExecutor | None = None

    def run(self, embed: Callable[[Sequence[T]], torch.Tensor], items: Sequence[T]) -> torch.Tensor:
        """What ``embed`` makes of all items, in their order: float32 of shape (items, d), on the CPU.

        Raises:
            ModelError: the device's memory does not even hold a single item.
        """
        if self._device.type == "cpu" and self._workers > 1 and len(items) > 1:
            split = even_parts(items, self._workers, self._on_core)
            parts = list(self._threads().map(lambda part: _inferred(embed, part), split))
        elif self._device.type == "cpu":
            parts = [_inferred(embed, part) for part in even_parts(items, 1, self._on_core)]
        else:
            parts = self._one_by_one(embed, items)
        return torch.cat(parts).cpu()

    def _threads(self) -> ThreadPoolExecutor:
        """Threads that compute on one core each; torch's own number of threads stays what it is for everybody else."""
        if self._pool is None:
            before = torch.get_num_threads()
            self._pool = ThreadPoolExecutor(self._workers, "cartag-model", torch.set_num_threads, (1,))
            list(self._pool.map(lambda _: torch.get_num_threads(), range(self._workers)))
            torch.set_num_threads(before)
        return self._pool

    def _one_by_one(self, embed: Callable[[Sequence[T]], torch.Tensor], items: Sequence[T]) -> list[torch.Tensor]:
        parts: list[torch.Tensor] = []
        done = 0
        while done < len(items):
            tried = items[done : done + self._at_once]
            part = _inferred_if_it_fits(embed, tried)
            if part is not None:
                parts.append(part)
                done += len(tried)
                continue
            if len(tried) == 1:
                raise ModelError(
                    f"device {self._device}: its memory does not hold this model with a single photo; "
                    "use a smaller --model, or --device cpu"
                )
            self._at_once = len(tried) // 2  # what was tried in vain may have been less than a full pass
            log.info("%s: out of memory; going on with %d at once", self._device, self._at_once)
            torch.cuda.empty_cache()
        return parts


@contextmanager
def alone_at_loading() -> Iterator[None]:
    """One thread at a time: `from_pretrained` sets the default dtype of the whole process while it works."""
    with _LOADS:
        yield


@contextmanager
def room_for_a_model(device: torch.device) -> Iterator[None]:
    """For moving weights to a device.

    Raises:
        ModelError: its memory does not hold them.
    """
    try:
        yield
    except RuntimeError as e:
        if not _is_out_of_memory(e):
            raise
        raise ModelError(
            f"device {device}: its memory does not hold this model; use a smaller --model, or --device cpu"
        ) from e


@contextmanager
def one_thread() -> Iterator[None]:
    """For work that is small: threads that share it would wait longer for each other than it takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def _inferred(embed: Callable[[Sequence[T]], torch.Tensor], part: Sequence[T]) -> torch.Tensor:
    return embed(part)


def _inferred_if_it_fits(embed: Callable[[Sequence[T]], torch.Tensor], part: Sequence[T]) -> torch.Tensor | None:
    """None where the memory ran out; with the error everything is gone that its stack held in that memory."""
    try:
        return _inferred(embed, part)
    except RuntimeError as e:
        if not _is_out_of_memory(e):
            raise
        return None


def _is_out_of_memory(e: RuntimeError) -> bool:
    """Whether a device's memory is full; CUDA's libraries, which allocate beside torch, say so in words alone."""
    return isinstance(e, torch.OutOfMemoryError) or any(words in str(e) for words in _OUT_OF_MEMORY)
