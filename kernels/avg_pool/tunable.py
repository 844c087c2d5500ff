"""Average pooling as the tuner sees it: FORWARD and BACKWARD."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.source_hash import kernel_hash
from tunedb.core.sweep import Sweep

from . import jit as kernel
from . import search_space as space
from .arguments import pool_of
from .cost_model import estimate
from .launch import backward_launch, empty_grad_input, empty_output, forward_launch
from .problem import Pool
from .workload import PoolWorkload


@dataclass(frozen=True)
class AvgPool:
    """One direction of average pooling: a `tunedb.core.kernel.RegisteredKernel`."""

    backward: bool

    @property
    def name(self) -> str:
        """`avg_pool1d` or `avg_pool1d_backward`."""
        return "avg_pool1d_backward" if self.backward else "avg_pool1d"

    @functools.cached_property
    def hash(self) -> str:
        """Hash of the kernel and of the launcher that calls it."""
        if self.backward:
            return kernel_hash(kernel.avg_pool1d_backward_kernel, backward_launch, empty_grad_input)
        return kernel_hash(kernel.avg_pool1d_forward_kernel, forward_launch, empty_output)

    def space(self, problem: Problem, device: Device) -> tuple[Config, ...]:
        """Every legal config, the default first."""
        return (space.backward_space if self.backward else space.forward_space)(problem, device)

    def default(self, problem: Problem, device: Device) -> Config:
        """The config that a call gets without tuning."""
        return (space.backward_default if self.backward else space.forward_default)(problem, device)

    def is_alike(self, problem: Problem, other: Problem) -> bool:
        """Whether both windows are unrolled or neither, and they overlap in the same way."""
        return space.window_class(problem) == space.window_class(other)

    def estimate(self, problem: Problem, config: Config, device: Device) -> float:
        """A guess at the config's time, to try good ones first: see `cost_model.py`."""
        return estimate(Pool.of_problem(problem), config, device, self.backward)

    def problem(self, arguments: Mapping[str, Any]) -> Problem:
        """The problem of one line of a shapes file: see `arguments.pool_of` for the keys. Raises SettingError."""
        pool = pool_of(arguments, self.backward)
        return pool.backward_problem() if self.backward else pool.forward_problem()

    def workload(self, problem: Problem, index: int) -> PoolWorkload:
        """Fresh tensors for the problem on the GPU of that index, or on the CPU for -1 (the interpreter)."""
        return PoolWorkload(Pool.of_problem(problem), self.backward, index)

    def module_source(self, sweeps: Sequence[Sweep]) -> str:
        """The hand-over file with these winners, of one device. Raises SettingError for the gradient's kernel."""
        from .export.module import module_source

        return module_source(sweeps)


FORWARD = AvgPool(backward=False)
BACKWARD = AvgPool(backward=True)
