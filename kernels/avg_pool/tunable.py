"""Average pooling as the tuner and the command line see it: FORWARD and BACKWARD.

The command line reads what they declare without loading torch and Triton, so the methods import what they need.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunedb.core.declaration import Argument, Demo
from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.source_folder import hash_of_files
from tunedb.core.sweep import Sweep
from tunedb.runtime.versions import triton_version

from .arguments import ARGUMENTS, problem_of

if TYPE_CHECKING:
    import torch
    from triton.backends.compiler import GPUTarget

    from tunedb.runtime.compile_job import CompileJob

    from .workload import PoolWorkload


@dataclass(frozen=True)
class AvgPool:
    """One direction of average pooling: a `tunedb.core.kernel.RegisteredKernel`."""

    backward: bool

    @property
    def name(self) -> str:
        """`avg_pool1d` or `avg_pool1d_backward`."""
        return "avg_pool1d_backward" if self.backward else "avg_pool1d"

    @property
    def gradient(self) -> str | None:
        """The name of the kernel that computes this one's gradient; None for the gradient itself."""
        return None if self.backward else "avg_pool1d_backward"

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """The arguments of a problem, for the command line."""
        return ARGUMENTS

    @property
    def demo(self) -> Demo | None:
        """The demonstration for `tunedb demo`; None for the gradient."""
        from .demo import DEMO

        return None if self.backward else DEMO

    @property
    def hash(self) -> str:
        """The hash of the kernel and of the launcher that calls it."""
        return _hash(self.backward)

    def space(self, problem: Problem, device: Device) -> tuple[Config, ...]:
        """Return every legal config, the default first."""
        from . import search_space

        return (search_space.backward_space if self.backward else search_space.forward_space)(problem, device)

    def default(self, problem: Problem, device: Device) -> Config:
        """Return the config that a call gets without tuning."""
        from . import search_space

        return (search_space.backward_default if self.backward else search_space.forward_default)(problem, device)

    def is_alike(self, problem: Problem, other: Problem) -> bool:
        """Say whether both windows are unrolled or neither, and they overlap in the same way."""
        from . import search_space

        return search_space.window_class(problem) == search_space.window_class(other)

    def problem(self, arguments: Mapping[str, Any]) -> Problem:
        """Return the problem of a line of a shapes file; `arguments.read` has the keys. Raises SettingError."""
        return problem_of(arguments, self.backward)

    def workload(self, problem: Problem, index: int) -> PoolWorkload:
        """Make tensors for the problem on the GPU of that index, or on the CPU for -1 (the interpreter)."""
        from .problem import Pool
        from .workload import PoolWorkload

        return PoolWorkload(Pool.of_problem(problem), self.backward, index)

    def bytes_moved(self, problem: Problem) -> int | None:
        """Return the bytes that any config has to read and write."""
        from .traffic import bytes_moved

        return bytes_moved(problem, self.backward)

    def operations(self, problem: Problem) -> int:
        """Return the operations of the definition."""
        from .traffic import operations

        return operations(problem)

    def compile_jobs(
        self, problem: Problem, config: Config, target: GPUTarget, tensor: torch.Tensor | None = None
    ) -> list[CompileJob]:
        """Return what compiles the config for calls on a device that need not be here.

        `tensor` is what a call read, without memory; without it, the calls are those that read a new tensor of the
        problem's layout.
        """
        from .ahead import compile_jobs
        from .problem import Pool

        return compile_jobs(Pool.of_problem(problem), self.backward, config, target, tensor)

    def module_source(self, sweeps: Sequence[Sweep]) -> str:
        """Return the exported module with one device's winners. Raises SettingError for the gradient's kernel."""
        from .export.module import module_source

        return module_source(sweeps)


@functools.cache  # not a cached property: before Python 3.12 that has a lock, which a forked child may find held
def _hash(backward: bool) -> str:
    folder = Path(__file__).parent
    return hash_of_files(
        "avg_pool1d_backward" if backward else "avg_pool1d",
        [*folder.rglob("*.py"), *folder.parent.glob("*.py")],
        module=f"{__package__}.jit",
        triton=triton_version(),
        compute=functools.partial(_computed_hash, backward),
    )


def _computed_hash(backward: bool) -> str:
    from tunedb.core.source_hash import kernel_hash

    from . import jit
    from .launch import backward_launch, empty_grad_input, empty_output, forward_launch

    if backward:
        return kernel_hash(jit.avg_pool1d_backward_kernel, backward_launch, empty_grad_input)
    return kernel_hash(jit.avg_pool1d_forward_kernel, forward_launch, empty_output)


FORWARD = AvgPool(backward=False)
BACKWARD = AvgPool(backward=True)
