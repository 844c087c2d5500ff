"""A decorated kernel as every part of the decorator sees it: its decoration, and what changes between calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import triton

from tunedb.core.problem import Config, Problem
from tunedb.core.source_hash import LazyHash
from tunedb.decorator.buckets import Bucket
from tunedb.decorator.call.arguments import Call, Parameters
from tunedb.decorator.call.grid import has_no_programs, launches_nothing
from tunedb.decorator.call.problem import problem_of
from tunedb.decorator.configs import Candidates, pruned
from tunedb.runtime import compat_triton


@dataclass(frozen=True)
class KernelSpec:
    """All that a decoration says about a kernel, except its list of configs. Triton ships no types, hence Any."""

    name: str  # under which it is stored
    fn: Any  # what was decorated: a jit function, or heuristics around one
    jit: Any  # the jit function
    parameters: Parameters
    keys: tuple[str, ...]
    buckets: Mapping[str, Bucket]
    heuristics: tuple[tuple[str, Callable[..., Any]], ...]  # the outermost first
    reference: Callable[..., Mapping[str, Any]] | None
    lazy_hash: LazyHash
    reset_to_zero: tuple[str, ...]
    restore_value: tuple[str, ...]
    pre_hook: Callable[..., Any]  # the user's, or one that does what the two lists above ask for
    post_hook: Callable[..., Any]
    has_user_pre_hook: bool
    has_user_post_hook: bool
    prune_configs: Callable[[Call], list[triton.Config]] | None  # if a program has replaced the method
    early_config_prune: Callable[..., Any] | None  # the user's
    perf_model: Callable[..., Any] | None
    top_k: float
    do_bench: Callable[..., Any] | None

    @property
    def hash(self) -> str:
        """The hash of what the kernel, its heuristics and its reference do. Raises HashUnavailable."""
        return self.lazy_hash.get()

    @property
    def prunes(self) -> bool:
        """Whether a function of the user's prunes the configs for each call."""
        return self.prune_configs is not None or self.early_config_prune is not None or self.perf_model is not None

    def call(self, grid: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Return a call with these arguments."""
        return Call(self.parameters.names, grid, args, kwargs, self.parameters.variadic)

    def problem(self, call: Call) -> Problem:
        """Return the call's problem. Raises as `problem_of` does."""
        return problem_of(self.name, call, self.parameters, self.keys, self.buckets)

    def launches_nothing(self, call: Call, configs: Sequence[triton.Config]) -> bool:
        """Say whether a call computes nothing with any of these configs, so that there is nothing to measure."""
        return launches_nothing(call, configs, self.parameters, self.heuristics)

    def has_no_programs(self, call: Call, config: triton.Config) -> bool:
        """Say whether the call's grid is empty with this config."""
        return has_no_programs(call, config, self.parameters, self.heuristics)


@dataclass
class KernelState:
    """The state of a kernel, which changes between calls. All parts of a decorated kernel share one."""

    spec: KernelSpec  # another one once a program has assigned to an attribute of Triton's
    configs: list[triton.Config]  # the list itself: a program may change it in place
    asked: dict[Any, set[Config]] = field(default_factory=dict)  # the configs that the store chose from, by problem
    _candidates: Candidates | None = None

    @property
    def candidates(self) -> Candidates:
        """The configs as they are stored. Made late: the globals of a function in one may be defined after the kernel.

        Raises HashUnavailable.
        """
        if self._candidates is None:
            self._candidates = Candidates(self.configs)
        return self._candidates

    def forget(self) -> None:
        """Drop what was derived from the list of configs."""
        self.asked.clear()
        self._candidates = None

    def prune(self, call: Call) -> list[triton.Config]:
        """Return the configs that pruning leaves for a call. Raises as triton.autotune does."""
        spec = self.spec
        if spec.prune_configs is not None:
            return spec.prune_configs(call)
        return pruned(
            self.configs,
            call,
            positional=spec.parameters.names,
            early_config_prune=spec.early_config_prune,
            perf_model=spec.perf_model,
            top_k=spec.top_k,
        )


def tritons_attributes(
    kernel: triton.runtime.Autotuner,
    early_config_prune: Callable[..., Any] | None,
    prune_configs: Callable[[Call], list[triton.Config]] | None,
) -> dict[str, Any]:
    """Return the attributes of a Triton Autotuner that a program may assign to, by their names in KernelSpec."""
    return {
        "fn": kernel.fn, "keys": tuple(kernel.keys), "reset_to_zero": tuple(kernel.reset_to_zero),
        "restore_value": tuple(kernel.restore_value), "pre_hook": kernel.pre_hook, "post_hook": kernel.post_hook,
        "has_user_pre_hook": kernel.user_defined_pre_hook, "has_user_post_hook": kernel.user_defined_post_hook,
        "prune_configs": prune_configs, "early_config_prune": early_config_prune, "perf_model": kernel.perf_model,
        "top_k": kernel.configs_top_k, "do_bench": compat_triton.benchmark_of(kernel),
    }  # fmt: skip
