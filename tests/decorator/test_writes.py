"""What a sweep undoes: writes around a view, into elements that share memory, and into dtypes of every kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import triton
import triton.language as tl

from tests.conftest import DEVICE, runs_kernels
from tests.decorator.kernels import Bench, accumulate, add_in_place, add_some, grid_of, tensors, tuned
from tests.decorator.test_store import stored
from tests.decorator.test_tuning import statuses
from tunedb import SettingError
from tunedb.decorator.tuning import saved_arguments, workload
from tunedb.decorator.tuning.saved_arguments import SavedArguments
from tunedb.store import Store

pytestmark = runs_kernels


def test_writes_around_a_view_are_undone() -> None:
    memory = torch.zeros(100, device=DEVICE)
    tuned(add_in_place, do_bench=Bench(2.0, 1.0))[grid_of(100)](memory[:1], 100)
    assert torch.equal(memory, torch.ones_like(memory))


def test_elements_that_share_memory_are_restored() -> None:
    sum_ = torch.zeros(1, device=DEVICE)
    x = torch.ones(100, device=DEVICE)

    @triton.jit
    def accumulate_all(x, y, n, BLOCK: tl.constexpr):
        offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.atomic_add(y + offsets * 0, tl.load(x + offsets, mask=offsets < n, other=0.0))

    tuned(accumulate_all, do_bench=Bench(2.0, 1.0))[grid_of(100)](x, sum_.expand(100), 100)
    assert sum_.item() == 100


def test_arguments_that_share_a_storage_are_restored_together() -> None:
    memory = torch.zeros(200, device=DEVICE)
    memory[:100] = 1.0
    for _ in range(2):
        tuned(accumulate, do_bench=Bench(2.0, 1.0))[grid_of(100)](memory[:100], memory[100:], 100)
    assert memory.tolist() == [1.0] * 100 + [2.0] * 100


def test_restore_value_and_reset_to_zero_hold_in_one_storage() -> None:
    memory = torch.zeros(200, device=DEVICE)
    memory[:100] = 1.0
    kernel = tuned(accumulate, restore_value=["x"], reset_to_zero=["y"])
    kernel[grid_of(100)](memory[:100], memory[100:], 100)
    assert memory.tolist() == [1.0] * 200


def test_of_a_large_storage_only_the_view_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_arguments, "MAX_AROUND_BYTES", 64)
    memory = torch.arange(100.0)
    saved = SavedArguments.of({"x": memory[:2], "y": memory[50:60:2]})
    assert saved is not None
    memory += 1
    saved.restore()
    assert [place for place, value in enumerate(memory.tolist()) if value == place] == [0, 1, 50, 52, 54, 56, 58]
    assert saved.keep_changed(()) == set()
    memory[0] = 9
    assert saved.names == set()


def test_too_little_memory_for_the_storages_saves_the_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(tensor: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(saved_arguments, "_storage", refuse)
    memory = torch.zeros(100)
    saved = SavedArguments.of({"x": memory[:10]})
    assert saved is not None
    memory += 1
    assert saved.keep_changed(()) == {"x"}
    saved.restore()
    assert memory.tolist() == [0.0] * 10 + [1.0] * 90


BITS = [dtype for name in ("float4_e2m1fn_x2", "uint4", "bits8") if (dtype := getattr(torch, name, None)) is not None]


@pytest.mark.parametrize("dtype", [*BITS, torch.float8_e8m0fnu, torch.float8_e4m3fn, torch.bool], ids=str)
@pytest.mark.parametrize("has_reference", [False, True])
def test_a_wrong_config_is_found_and_none_is_blamed_for_its_dtype(
    store: Store, records: pytest.LogCaptureFixture, dtype: torch.dtype, has_reference: bool
) -> None:
    def reference(x: Any, n: int) -> Mapping[str, torch.Tensor]:
        return {"y": torch.full((n,), 1, dtype=torch.uint8, device=DEVICE).view(dtype)}

    x, y = (torch.zeros(100, dtype=torch.uint8, device=DEVICE) for _ in range(2))
    some = [triton.Config({"BLOCK": 64, "SOME": value}) for value in (1, 0)]
    kernel = tuned(
        add_some, configs=some, do_bench=Bench(3.0, 1.0), reference=reference if has_reference else None,
        restore_value=["y"],
    )  # fmt: skip
    kernel[grid_of(100)](triton.reinterpret(x.view(dtype), tl.int8), triton.reinterpret(y.view(dtype), tl.int8), 100)
    (sweep,) = stored(store)
    assert statuses(sweep) == {1: "ok", 0: "wrong" if has_reference else "ok"}
    assert y.tolist() == [1 if has_reference else 0] * 100
    assert "can't be compared" not in records.text
    assert ("from 1 config." in records.text) is not has_reference


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_reference_that_writes_and_then_raises_leaves_nothing(store: Store, kind: type[BaseException]) -> None:
    def reference(x: torch.Tensor, y: torch.Tensor) -> None:
        x.mul_(5)
        y.zero_()
        raise kind("the program's own")

    kernel, (x, y) = tuned(reference=reference), tensors()
    before = x.clone(), y.clone()
    with pytest.raises(kind, match="own"):
        kernel[grid_of(100)](x, y, 100)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    assert [sweep.status for sweep in stored(store) if sweep.status == "tuned"] == []


def test_a_reference_that_can_not_be_converted_is_named() -> None:
    dtype = torch.float4_e2m1fn_x2
    x, y = (torch.zeros(100, dtype=torch.uint8, device=DEVICE) for _ in range(2))
    kernel = tuned(add_some, configs=[triton.Config({"BLOCK": 64, "SOME": one}) for one in (1, 2)],
                   reference=lambda: {"y": torch.zeros(100, device=DEVICE)})  # fmt: skip
    with pytest.raises(SettingError, match=r"y: expected a tensor of torch\.float4_e2m1fn_x2, or its bits as torch"):
        kernel[grid_of(100)](x, triton.reinterpret(y.view(dtype), tl.int8), 100)


def test_a_comparison_that_fails_blames_no_config(
    store: Store, monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> str:
        raise NotImplementedError('"ne" not implemented for this dtype')  # torch's error, for some 8-bit floats

    monkeypatch.setattr(workload, "difference", refuse)
    x, y = tensors()
    kernel = tuned(do_bench=Bench(2.0, 1.0), reference=lambda x: {"y": x + 1})
    kernel[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 1)
    assert kernel.best_config is kernel.configs[1]
    assert records.text.count("can't be compared") == 1
