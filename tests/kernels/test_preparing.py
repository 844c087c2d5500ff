"""What is compiled ahead, on threads that may outlive the sweep: the launch itself, without its tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tunedb.core.device import Device
from tunedb.core.kernel import Resources
from tunedb.kernels.avg_pool import BACKWARD, FORWARD
from tunedb.kernels.avg_pool.problem import LAYOUTS, Pool
from tunedb.kernels.geometry import Window
from tunedb.runtime import loaded_kernel
from tunedb.runtime.launch import Launch
from tunedb.runtime.loaded_kernel import outline

H200 = Device("NVIDIA H200", "cuda", "sm_90", 132)


@pytest.mark.parametrize("kernel", [FORWARD, BACKWARD], ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("alignment", [4, 8, 16])
def test_what_is_compiled_is_the_launch_and_holds_no_tensor_of_the_sweep(
    kernel: Any, layout: str, alignment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiling: list[Launch] = []
    monkeypatch.setattr(loaded_kernel, "prepare", lambda launch: compiling.append(launch) or Resources())
    pool = Pool(3, 5, 64, Window(4, 1, 1), torch.float32, layout, alignment)
    problem = pool.backward_problem() if kernel is BACKWARD else pool.forward_problem()
    made = kernel.workload(problem, -1)
    for config in kernel.space(problem, H200):
        made.prepare(config)
        needed, found = made.launch(config), compiling[-1]
        assert (found.grid, found.constants, found.options) == (needed.grid, needed.constants, needed.options)
        assert found.arguments[2:] == needed.arguments[2:]
        for mine, its in zip(found.arguments[:2], needed.arguments[:2], strict=True):
            assert mine.is_meta, "the tensor lives as long as its compile"
            assert (mine.dtype, mine.shape, mine.stride()) == (its.dtype, its.shape, its.stride())
            assert mine.data_ptr() % 16 == its.data_ptr() % 16


def test_the_outline_of_an_expanded_tensor_takes_no_more_than_it() -> None:
    tensor = torch.empty(5)[2:].expand(4, 3)
    found = outline(tensor)
    assert (found.shape, found.stride(), found.data_ptr() % 16) == (tensor.shape, (0, 1), 8)
    assert found.untyped_storage().nbytes() == 20
