"""The `triton.runtime.Autotuner` that `tunedb.autotune` makes of a kernel: its choices come from the tuner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import replace
from functools import partial
from operator import is_not
from typing import Any, Generic, NamedTuple

import triton
from typing_extensions import TypeVar

from tunedb.core.source_hash import LazyHash
from tunedb.decorator import replaced_methods, validation
from tunedb.decorator.buckets import Bucket
from tunedb.decorator.cache import Cache
from tunedb.decorator.call.arguments import Call, Parameters
from tunedb.decorator.configs import contents_of
from tunedb.decorator.hooks import ArgumentGuards
from tunedb.decorator.inductor import StoredPruning
from tunedb.decorator.kernel import KernelSpec, KernelState, tritons_attributes
from tunedb.decorator.launcher import Launcher
from tunedb.decorator.registered import CountWork, MakeArguments, RegisteredAutotuner
from tunedb.decorator.results import Results, Timings
from tunedb.runtime import compat_triton

Fn = TypeVar("Fn", default=Any)  # what is decorated: a JITFunction, or heuristics around one


_PARTS, _LAUNCH = "_made_parts", "_launch"  # in the `__dict__` of a kernel once it is used


class Parts(NamedTuple):
    """The parts of a decorated kernel that serve its calls."""

    state: KernelState
    results: Results
    stored_pruning: StoredPruning
    launcher: Launcher


class Autotuner(triton.runtime.Autotuner, Generic[Fn]):  # type: ignore[misc]  # Triton ships no types
    """A decorated kernel: `kernel[grid](*args, **kwargs)`, with the attributes of Triton's own Autotuner.

    The attributes exist from construction on. If a program assigns to them, later calls follow.
    """

    fn: Fn
    nargs: dict[str, Any] | None = None  # the positional arguments, while a method of Triton's uses them
    _is_made = False  # Triton's constructor reads and assigns attributes that are properties here

    def __init__(
        self,
        fn: Fn,
        *,
        key: Iterable[str] | None,
        bucket: Mapping[str, Bucket] | None,
        reference: Callable[..., Mapping[str, Any]] | None,
        name: str | None,
        **tritons: Any,
    ) -> None:
        jit = compat_triton.jit_of(fn)
        validation.check_kernel(jit)
        keys = list(key or ())
        names = {"key": keys, "reset_to_zero": tritons["reset_to_zero"], "restore_value": tritons["restore_value"]}
        validation.check_decoration(jit.arg_names, names, bucket or {}, reference)
        self._name = name if name is None else validation.check_name(name)
        self._buckets, self._reference = dict(bucket or {}), reference
        super().__init__(fn, list(jit.arg_names), key=keys, **tritons)
        guards = ArgumentGuards(self.reset_to_zero, self.restore_value)
        if not self.user_defined_pre_hook:
            self.pre_hook = guards.before
        if not self.user_defined_post_hook:
            self.post_hook = guards.after
        self._is_made = True

    @property
    def _parts(self) -> Parts:
        """The parts that serve calls, made at their first use: a program decorates many kernels to call few."""
        parts: Parts | None = self.__dict__.get(_PARTS)
        if parts is None:
            parts = self.__dict__.setdefault(_PARTS, self._connected(self._spec()))  # those of the first of two threads
        return parts

    def _has_parts(self) -> bool:
        return _PARTS in self.__dict__

    def _spec(self) -> KernelSpec:
        """Return all that the decoration says."""
        jit = compat_triton.jit_of(self.fn)
        return KernelSpec(
            name=self._name or validation.default_name(jit.fn),
            jit=jit,
            parameters=Parameters.of(compat_triton.signature_of(jit)),
            buckets=self._buckets,
            heuristics=tuple(compat_triton.heuristics_of(self.fn)),
            reference=self._reference,
            lazy_hash=LazyHash(self.fn, self._reference),
            **self._attributes(),
        )

    def _connected(self, spec: KernelSpec, results: Results | None = None) -> Parts:
        """Return parts that share one state."""
        state = KernelState(spec, self._configs)
        results = Results(state, self._forget) if results is None else results.copy(state, self._forget)
        stored_pruning = StoredPruning(state)
        self._note()
        return Parts(state, results, stored_pruning, Launcher(state, results, stored_pruning, self._refresh))

    def __getattr__(self, name: str) -> Any:
        if name == _LAUNCH:
            launcher = self._launcher
            launch = launcher.launch
            if launcher.is_generated:  # it is not replaced any more: kept where the next look-up finds it first
                self.__dict__[_LAUNCH] = launch
                if launcher.launch is not launch:  # another thread has just edited the configs
                    self.__dict__.pop(_LAUNCH, None)
            return launch
        return super().__getattribute__(name)  # which raises: also again what a property raised, instead of hiding it

    @property
    def _state(self) -> KernelState:
        return self._parts.state

    @property
    def _results(self) -> Results:
        return self._parts.results

    @property
    def _launcher(self) -> Launcher:
        return self._parts.launcher

    def _note(self) -> None:
        """Note the configs and attributes that calls are served by."""
        self._contents, self._assigned = contents_of(self._configs), self._attributes()

    def _attributes(self) -> dict[str, Any]:
        """Return the attributes that a program may assign to, and a pruning method that it may have replaced."""
        is_replaced = not compat_triton.is_tritons_own(self.prune_configs)
        return tritons_attributes(self, self._early_config_prune, self._prune_by_method if is_replaced else None)

    def _prune_by_method(self, call: Call) -> list[triton.Config]:
        """Prune by a replaced `prune_configs`, which finds the positional arguments where Triton leaves them."""
        self.nargs = dict(zip(self.arg_names, call.args, strict=False))
        try:
            configs: list[triton.Config] = self.prune_configs(call.extra)
        finally:
            self.nargs = None
        return configs

    def __copy__(self) -> Autotuner[Fn]:
        """Return a copy of the kernel that remembers none of its calls."""
        made: Autotuner[Fn] = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._configs = list(self._configs)
        made.__dict__.pop(_LAUNCH, None)
        if made.__dict__.pop(_PARTS, None) is not None:
            made.__dict__[_PARTS] = made._connected(self._state.spec, self._results)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Autotuner[Fn]:
        return copy(self)  # hooks and the kernel itself are shared

    def _restart(self) -> None:
        """Serve later calls by the current attributes and configs."""
        if not self._has_parts():
            return
        self._note()
        self._state.spec = replace(self._state.spec, **self._assigned)
        self._state.configs = self._configs
        self._launcher.start()
        self.__dict__.pop(_LAUNCH, None)

    def _refresh(self) -> bool:
        """Restart if a program has assigned to an attribute, or has edited the list of configs or a config in place."""
        replaced_methods.log_unused(self)
        contents = contents_of(self._configs)
        is_same = len(self._contents) == len(contents) and not any(map(is_not, self._contents, contents))
        if is_same and self._assigned == self._attributes():
            return False
        self._restart()
        return True

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if self._has_parts() and name != "nargs" and not name.startswith("_"):
            self._launcher.expect_edit()

    def _forget(self) -> None:
        self._launcher.forget()

    @property
    def configs(self) -> list[triton.Config]:
        """The list of configs; the first is the default. It may be assigned, and edited in place, its configs too."""
        if self._has_parts():
            self._launcher.expect_edit()
        return self._configs

    @configs.setter
    def configs(self, configs: list[triton.Config]) -> None:
        self._configs = configs
        self._restart()

    @property
    def early_config_prune(self) -> Callable[..., Any] | None:
        """The user's function; without one, a function for compiled code that reads the store: see inductor.py."""
        is_pruning = self.nargs is not None  # a method that Triton's `prune_configs` serves
        if self._early_config_prune is not None or self.perf_model is not None or is_pruning or not self._is_made:
            return self._early_config_prune
        is_fixed = len(self._configs) == 1 or compat_triton.is_interpreted(self._state.spec.jit)
        return None if is_fixed else self._parts.stored_pruning.function()

    @early_config_prune.setter
    def early_config_prune(self, function: Callable[..., Any] | None) -> None:
        self._early_config_prune = function
        self._restart()

    @property
    def name(self) -> str:
        """The name under which the kernel is stored."""
        return self._state.spec.name

    @property
    def best_config(self) -> triton.Config | None:
        """The config of the last call; None before the first one."""
        return self._results.best_config

    @best_config.setter
    def best_config(self, config: triton.Config | None) -> None:
        self._results.best_config = config

    @property
    def bench_time(self) -> float:
        """The seconds that tuning the last choice took; 0.0 if it came from the store, and before the first call."""
        return self._results.bench_time

    @bench_time.setter
    def bench_time(self, seconds: float) -> None:
        self._results.bench_time = seconds

    @property
    def configs_timings(self) -> Timings:
        """[median, p20, p80] in milliseconds by config, inf if it failed; empty before the first call."""
        return self._results.configs_timings

    @configs_timings.setter
    def configs_timings(self, timings: Timings) -> None:
        self._results.configs_timings = timings

    @property
    def cache(self) -> Cache:
        """The configs that calls got, by Triton's key. Clear it to ask the store again, assign an entry to force it."""
        return self._results.cache

    @cache.setter
    def cache(self, entries: Mapping[Any, triton.Config]) -> None:
        if self._is_made:
            self._results.replace_cache(entries)

    @property
    def source_hash(self) -> str:
        """The hash of what the kernel, its heuristics and its reference do. Raises HashUnavailable."""
        return self._state.spec.hash

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        """Return a launch on that grid: one to three ints in a tuple, or a function of the arguments returning them."""
        if "run" in self.__dict__ or type(self).run is not Autotuner.run:  # a program has replaced ours
            return partial(self.run, grid=grid, warmup=False)
        return partial(self._launch, grid)

    def run(self, *args: Any, grid: Any, warmup: bool = False, **kwargs: Any) -> Any:
        """Do what `kernel[grid](*args, **kwargs)` does; with `warmup`, compile every config and launch none."""
        if warmup:
            return self.warmup(*args, grid=grid, **kwargs)
        return self._launch(grid, *args, **kwargs)

    def warmup(self, *args: Any, grid: Any = None, **kwargs: Any) -> list[Any]:
        """Compile each config that pruning leaves. An argument may be a dtype instead of a tensor."""
        configs = self._state.prune(self._state.spec.call(grid, args, kwargs))
        fn: Any = self.fn  # Triton ships no types
        return [fn.warmup(*args, grid=grid, **kwargs, **config.all_kwargs()) for config in configs]

    def chosen(self, grid: Any, *args: Any, **kwargs: Any) -> triton.runtime.Autotuner:
        """Return a plain Triton kernel with this call's config, tuning as a call would: for `torch.compile`."""
        call = self._state.spec.call(grid, args, kwargs)
        config = self._launcher.choose(call, self._launcher.index()).config
        return triton.runtime.Autotuner(self.fn, self.arg_names, [config], [], self.reset_to_zero, self.restore_value)

    def registered(
        self, arguments: MakeArguments, bytes_moved: CountWork | None = None, operations: CountWork | None = None
    ) -> RegisteredAutotuner:
        """Return what to register under the entry point group `tunedb.kernels`, by the kernel's name, to warm it.

        `arguments(device, **facts)` makes a call for a problem: it returns the grid and the kernel's arguments by name,
        and gets those facts that it has parameters for: values of `key`; `x_dtype`, `x_layout`, `x_aligned` of a tensor
        x. `bytes_moved(problem)` and `operations(problem)` state what any config has to do, for reports.
        """
        return RegisteredAutotuner(self._state, arguments, bytes_moved, operations)
