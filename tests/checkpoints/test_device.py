"""Where a model computes: passes on cores and within a GPU's memory, and the dtype that is not assumed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

import pytest
import torch
from hypothesis import given, strategies as st

from cartag.checkpoints import Passes, choose_dtype, device as devices, without_tf32
from cartag.checkpoints.device import even_parts
from cartag.errors import ModelError

CPU = torch.device("cpu")
CUDA = torch.device("cuda")  # named, never used: what is computed here stays on the CPU


def squares(items: Sequence[int]) -> torch.Tensor:
    return torch.tensor([[float(i), float(i * i)] for i in items])


# --- passes -----------------------------------------------------------------------------------------------------


@given(st.integers(1, 400), st.integers(1, 16))
def test_parts_are_even_small_and_hold_every_item_once(count: int, workers: int) -> None:
    parts = even_parts(range(count), workers)
    assert [i for part in parts for i in part] == list(range(count))
    lengths = [len(part) for part in parts]
    assert max(lengths) <= 8
    assert max(lengths) - min(lengths) <= 1
    assert len(parts) % workers == 0 or len(parts) == count


@pytest.mark.parametrize("cores", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 7, 33])
def test_passes_keep_the_order(cores: int, count: int) -> None:
    found = Passes(CPU, cores).run(squares, range(count))
    torch.testing.assert_close(found, squares(range(count)))


def test_a_worker_computes_with_one_thread_and_torch_keeps_its_own() -> None:
    torch_threads, names = [], set()

    def embed(items: Sequence[int]) -> torch.Tensor:
        torch_threads.append(torch.get_num_threads())
        names.add(threading.current_thread().name)
        assert torch.is_inference_mode_enabled()
        return squares(items)

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        Passes(CPU, 2).run(embed, range(64))
        assert set(torch_threads) == {1}
        assert all(name.startswith("cartag-model") for name in names)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("most", [1, 3])
def test_a_pass_takes_no_more_than_it_may(most: int) -> None:
    sizes: list[int] = []

    def embed(items: Sequence[int]) -> torch.Tensor:
        sizes.append(len(items))
        return squares(items)

    for passes in (Passes(CPU, 2, on_core=most), Passes(CPU, 1, on_core=most), Passes(CUDA, on_gpu=most)):
        torch.testing.assert_close(passes.run(embed, range(20)), squares(range(20)))
    assert max(sizes) <= most


def test_an_error_in_a_pass_comes_out() -> None:
    def embed(items: Sequence[int]) -> torch.Tensor:
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        Passes(CPU, 2).run(embed, range(20))


# --- a GPU's memory ---------------------------------------------------------------------------------------------


class SmallGpu:
    """Runs out of memory with more than ``room`` items at once."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.tried: list[int] = []

    def __call__(self, items: Sequence[int]) -> torch.Tensor:
        self.tried.append(len(items))
        if len(items) > self.room:
            raise torch.OutOfMemoryError("injected")
        return squares(items)


def test_out_of_memory_halves_the_pass_for_good_and_loses_nothing() -> None:
    gpu, passes = SmallGpu(room=70), Passes(CUDA)
    torch.testing.assert_close(passes.run(gpu, range(300)), squares(range(300)))
    assert gpu.tried == [256, 128, 64, 64, 64, 64, 44]
    gpu.tried.clear()
    passes.run(gpu, range(64))
    assert gpu.tried == [64]


def test_a_small_batch_that_does_not_fit_is_halved_at_once() -> None:
    gpu = SmallGpu(room=10)
    torch.testing.assert_close(Passes(CUDA).run(gpu, range(32)), squares(range(32)))
    assert gpu.tried == [32, 16, 8, 8, 8, 8]


def test_a_gpu_too_small_for_a_single_photo_says_what_to_do() -> None:
    with pytest.raises(ModelError, match="--device cpu"):
        Passes(CUDA).run(SmallGpu(room=0), range(5))


# --- what is computed in -----------------------------------------------------------------------------------------


def test_a_dtype_is_never_assumed_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_cpu_has_bfloat16", lambda: True)
    assert choose_dtype("auto", CPU) is None
    monkeypatch.setattr(devices, "_cpu_has_bfloat16", lambda: False)
    assert choose_dtype("auto", CPU) == "float32"
    assert [choose_dtype(name, CPU) for name in ("float32", "bfloat16")] == ["float32", "bfloat16"]


def _tf32() -> object:
    cudnn = torch.backends.cudnn
    return cudnn.conv.fp32_precision if hasattr(cudnn, "conv") else cudnn.allow_tf32  # type: ignore[attr-defined]


@pytest.mark.parametrize("before", ["ieee", "tf32"])
def test_tf32_is_off_for_a_while_and_then_as_it_was(before: str) -> None:
    cudnn, found = torch.backends.cudnn, _tf32()
    try:
        if hasattr(cudnn, "conv"):
            cudnn.conv.fp32_precision = before  # type: ignore[attr-defined]
        else:
            cudnn.allow_tf32 = before == "tf32"  # type: ignore[assignment]
        set_by_others = _tf32()
        with suppress(LookupError), without_tf32(torch.device("cuda")):
            assert _tf32() in ("ieee", False)
            raise LookupError
        assert _tf32() == set_by_others
        with without_tf32(torch.device("cpu")):
            assert _tf32() == set_by_others
    finally:
        if hasattr(cudnn, "conv"):
            cudnn.conv.fp32_precision = found  # type: ignore[attr-defined]
        else:
            cudnn.allow_tf32 = found  # type: ignore[assignment]
