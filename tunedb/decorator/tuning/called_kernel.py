"""A decorated kernel as the tuner sees it: in one call, on the caller's own tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import triton

from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.decorator.call.arguments import Call
from tunedb.decorator.tuning.caller_errors import callers_faults
from tunedb.decorator.tuning.clock import clock_of
from tunedb.decorator.tuning.workload import CallWorkload

if TYPE_CHECKING:
    from tunedb.decorator.autotuner import Autotuner


class CalledKernel:
    """A `tunedb.core.kernel.TunableKernel` for one call.

    `release` lets go of the caller's tensors: what may outlive the call, in the tuner's memory, is a name, a hash and a
    list of configs.
    """

    def __init__(self, kernel: Autotuner, call: Call, configs: Sequence[triton.Config]) -> None:
        self._kernel = kernel
        self._call: Call | None = call
        self.configs: Mapping[Config, triton.Config] = {kernel.candidates.stored(one): one for one in configs}
        self.clock = clock_of(kernel._do_bench)
        self._workload: CallWorkload | None = None
        self.swept = False

    @property
    def name(self) -> str:
        """The kernel's name."""
        return self._kernel.name

    @property
    def hash(self) -> str:
        """The kernel's hash."""
        return self._kernel.source_hash

    def space(self, problem: Problem, device: Device) -> Sequence[Config]:
        """Today's configs that pruning left, in their order."""
        return tuple(self.configs)

    def default(self, problem: Problem, device: Device) -> Config:
        """The first of them."""
        return next(iter(self.configs))

    def is_alike(self, problem: Problem, other: Problem) -> bool:
        """Whether a config may be borrowed: which facts have to be equal is seen elsewhere."""
        return True

    def workload(self, problem: Problem, index: int) -> CallWorkload:
        """The call's own tensors. Raises CallerError where the reference fails."""
        assert self._call is not None, "the call is over"
        self.swept = True
        with callers_faults(always=True):
            self._workload = CallWorkload(self._kernel, self._call, self.find, index)
        return self._workload

    def find(self, config: Config) -> triton.Config:
        """Today's object for a stored config."""
        return self._kernel.candidates.config(config, self.configs)

    @property
    def why(self) -> str:
        """How the first config failed that did in this call; empty where none did."""
        return "" if self._workload is None else self._workload.why

    def release(self) -> None:
        """Let go of the call."""
        self._call = self._workload = None
