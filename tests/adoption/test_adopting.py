"""Kernels that triton.autotune decorated are served by the tuner while they are adopted."""

from __future__ import annotations

from typing import Any

import torch
import triton

import tunedb
from tests.decorator.kernels import add_one, configs, grid_of
from tests.decorator.stub import StubDriver, once


def plain(**given: Any) -> Any:
    """A kernel of Triton's."""
    return triton.autotune(given.pop("configs", None) or configs(16, 64), ["n"], do_bench=once, **given)(add_one)


def call(kernel: Any, n: int = 64) -> None:
    """One launch."""
    x = torch.zeros(n)
    kernel[grid_of(n)](x, x.clone(), n)


def state_of(kernel: Any) -> str:
    """The state in the list of the kernels named like this one's function."""
    return next(record.state for record in tunedb.adopted() if record.kernel.endswith("add_one"))


def test_a_kernel_is_adopted_at_its_first_call_and_left_at_the_end(stub: StubDriver) -> None:
    kernel, run = plain(), triton.runtime.Autotuner.run
    with tunedb.adopt():
        assert state_of(kernel) == "not called"
        call(kernel)
        assert state_of(kernel) == "adopted"
        assert kernel.best_config in kernel.configs
        assert list(kernel.cache.values()) == [kernel.best_config]
        assert kernel.configs_timings.keys() == set(kernel.configs)
    assert triton.runtime.Autotuner.run is run
    assert kernel.cache == {}
    call(kernel)
    assert len(kernel.cache) == 1
    assert type(kernel) is triton.runtime.Autotuner
