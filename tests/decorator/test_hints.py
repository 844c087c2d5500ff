"""Hints for decorated kernels: Triton's own file and vLLM's form name a config of the list, and a call gets it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

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
