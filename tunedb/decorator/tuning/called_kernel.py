"""A decorated kernel as the tuner sees it in one call: tuned on the caller's own tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import triton

from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.decorator.call.arguments import Call
from tunedb.decorator.configs import Candidates
from tunedb.decorator.kernel import KernelSpec
from tunedb.decorator.tuning.caller_errors import caller_errors
from tunedb.decorator.tuning.clock import clock_of

if TYPE_CHECKING:
    from tunedb.decorator.tuning.workload import CallWorkload


class CalledKernel:
    """A `tunedb.core.kernel.TunableKernel` for one call.

    `release` drops the caller's tensors. A name, a hash and a list of configs may stay in the tuner's memory.
    """

    def __init__(
        self, spec: KernelSpec, candidates: Candidates, call: Call | None, configs: Sequence[triton.Config]
    ) -> None:
        self._spec = spec
        self._candidates = candidates
        self._call = call
        self.configs: Mapping[Config, triton.Config] = {candidates.stored(config): config for config in configs}
        self.clock = clock_of(spec.do_bench)
        self.swept = False
        self._workload: CallWorkload | None = None

    @property
    def name(self) -> str:
        """The kernel's name."""
        return self._spec.name

    @property
    def hash(self) -> str:
        """The kernel's hash. Raises HashUnavailable."""
        return self._spec.hash

    def space(self, problem: Problem, device: Device) -> Sequence[Config]:
        """Return the configs that pruning left, in the order of the list."""
        return tuple(self.configs)

    def default(self, problem: Problem, device: Device) -> Config:
        """Return the first config that pruning left."""
        return next(iter(self.configs))

    def is_alike(self, problem: Problem, other: Problem) -> bool:
        """Say whether one problem may use the other's config: the tuner compares their facts."""
        return True

    def workload(self, problem: Problem, index: int) -> CallWorkload:
        """Return the call's own tensors. Raises CallerError if the reference fails."""
        from tunedb.decorator.tuning.workload import CallWorkload  # here, because a hit needs none

        assert self._call is not None, "this kernel has no call, or its call is over"
        self.swept = True
        with caller_errors(always=True):
            self._workload = CallWorkload(self._spec, self._call, self.find, index)
        return self._workload

    def find(self, config: Config) -> triton.Config:
        """Return the object of the current list for a stored config."""
        return self._candidates.config(config, self.configs)

    @property
    def launches_nothing(self) -> bool:
        """Whether the call computes nothing with any of its configs."""
        assert self._call is not None, "this kernel has no call, or its call is over"
        return self._spec.launches_nothing(self._call, list(self.configs.values()))

    def close(self) -> None:
        """Restore the call's tensors if an exception kept the sweep from it, and drop them.

        A signal handler may raise at the very moment at which the sweep closes its workload.
        """
        if self._workload is not None:
            self._workload.close()
        self.release()

    def release(self) -> None:
        """Drop the call and its tensors."""
        self._call = self._workload = None
