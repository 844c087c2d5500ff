"""Hints for decorated kernels: Triton's own file and vLLM's form name a config of the list, and a call gets it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import triton

import tunedb
from tests.conftest import runs_kernels
from tests.decorator.kernels import Bench, grid_of, new_process, tensors, tuned
from tests.store.foreign.samples import autotune, put
from tunedb.cli import run
from tunedb.runtime.current_device import current_index, placement_of
from tunedb.store import Store

pytestmark = runs_kernels


def imported(tmp_path: Path, name: str, content: object, *words: str) -> None:
    """Import a file of another tool for the decorated kernel."""
    assert run(["import", "--as-hints", str(put(tmp_path / name, content)), "--kernel", "kernel", *words]) == 0


def device_name() -> str:
    """The current device's name, as it stands in names of files."""
    index = current_index()
    return placement_of(-1 if index is None else index).device.name.replace(" ", "_")


@pytest.mark.parametrize("form", ["triton", "json-configs"])
def test_a_call_that_may_not_tune_gets_the_config_of_another_tool(tmp_path: Path, store: Store, form: str) -> None:
    kernel = tuned(do_bench=Bench(2.0, 1.0))
    wanted = kernel.configs[1]
    if form == "triton":
        times = {config.kwargs["BLOCK"]: 1.0 if config is wanted else 9.0 for config in kernel.configs}
        content = autotune([128, "torch.float32", "torch.float32"], times)
        imported(tmp_path, "add.autotune.json", content, "--keys", "n", "--device", device_name())
    else:
        knobs = {**wanted.kwargs, "num_warps": wanted.num_warps}
        name = f"device_name={device_name()},dtype=float32.json"
        imported(tmp_path, name, {"128": knobs}, "--map", "M=n", "--map", "dtype=x.dtype")
    new_process()
    x, y = tensors()
    with tunedb.using(mode="read"):
        kernel[grid_of(100)](x, y, 100)
        assert kernel.best_config is wanted
    torch.testing.assert_close(y, x + 1)
    assert list(store.iter_sweeps()) == []


@pytest.mark.parametrize("mode", ["read", "tune"])
def test_a_kernel_with_a_module_gets_the_hints_of_its_function(tmp_path: Path, store: Store, mode: str) -> None:
    """Other tools' files name the function alone, and nothing of the kernel is stored when they are imported."""
    content = autotune([128, "torch.float32", "torch.float32"], {16: 9.0, 32: 9.0, 64: 9.0, 128: 1.0})
    file = put(tmp_path / "add_one.autotune.json", content)
    assert run(["import", "--as-hints", str(file), "--keys", "n", "--device", device_name()]) == 0
    launched: list[int] = []
    made = [
        triton.Config({"BLOCK": block}, pre_hook=lambda given: launched.append(given["BLOCK"]))
        for block in (16, 32, 64, 128)
    ]
    kernel = tuned(name="mine.ops.add_one", configs=made, do_bench=Bench(4.0, 1.0, 2.0, 3.0))
    new_process()
    x, y = tensors()
    with tunedb.using(mode=mode):
        kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config is made[3]
    order = list(dict.fromkeys(launched))
    assert order == ([128] if mode == "read" else [16, 128, 32, 64])  # it races right behind the default
    torch.testing.assert_close(y, x + 1)
