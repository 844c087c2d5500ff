"""What `tunedb.autotune` makes of a kernel: a `triton.runtime.Autotuner` whose choices come from the tuner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from functools import cached_property, partial
from operator import is_not
from typing import Any, Generic

import triton
from typing_extensions import TypeVar

from tunedb.core.problem import Config
from tunedb.core.source_hash import LazyHash
from tunedb.core.sweep import Sweep
from tunedb.decorator import resolve as choosing
from tunedb.decorator import validation as checks
from tunedb.decorator.cache import Cache, key_of
from tunedb.decorator.call.arguments import Bucket, Call, Parameters, kind_of
from tunedb.decorator.configs import Candidates, check_conflicts
from tunedb.decorator.dispatch.codegen import MOST
from tunedb.decorator.dispatch.graph_capture import Loaded, is_capturing
from tunedb.decorator.dispatch.plans import Plans
from tunedb.decorator.fallback import TritonsOwn
from tunedb.decorator.hooks import Guards
from tunedb.decorator.inductor import Narrowing
from tunedb.decorator.registered import RegisteredAutotuner
from tunedb.decorator.resolve import Chosen, Timings
from tunedb.runtime import compat_triton
from tunedb.runtime.launch import launch_call
from tunedb.tuner import session

_MISSED = object()
Fn = TypeVar("Fn", default=Any)  # what is decorated: a JITFunction, or heuristics around one


class Autotuner(triton.runtime.Autotuner, Generic[Fn]):  # type: ignore[misc]  # Triton ships no types
    """A decorated kernel: `kernel[grid](*args, **kwargs)`, with the attributes of Triton's own Autotuner.

    Those exist from construction on: before the first call `best_config` is None, `configs_timings` is empty and
    `bench_time` is 0.0. `bench_time` is the seconds that the last choice took to tune, 0.0 where it came from the
    store; `configs_timings` maps each config to [median, p20, p80] in milliseconds, inf where it failed. `cache` holds
    what calls were answered with, by Triton's key; clearing it has the next call ask the store.
    """

    fn: Fn

    def __init__(
        self,
        fn: Fn,
        *,
        key: Iterable[str] | None,
        bucket: Mapping[str, Bucket] | None,
        reference: Callable[..., Mapping[str, Any]] | None,
        name: str | None,
        **given: Any,
    ) -> None:
        self.jit = compat_triton.jit_of(fn)
        checks.check_kernel(self.jit)
        self.parameters = Parameters.of(self.jit.fn)
        keys = list(key or ())
        for argument in ("reset_to_zero", "restore_value"):
            checks.check_names(argument, given[argument] or (), self.parameters.names)
        checks.check_names("key", keys, self.parameters.names)
        checks.check_bucket(bucket or {}, keys)
        checks.check_reference(reference)
        names_in_order = list(self.parameters.names)
        super().__init__(fn, names_in_order, key=keys, **given)
        self.reference = reference
        self.buckets = dict(bucket or {})
        self.name = checks.name_of(self.jit.fn) if name is None else checks.checked_name(name)
        self.heuristics = tuple(compat_triton.heuristics_of(fn))
        self._hash = LazyHash(fn, reference)
        guards = Guards(self.reset_to_zero, self.restore_value)
        self.is_guarded = not (self.user_defined_pre_hook or self.user_defined_post_hook)
        if not self.user_defined_pre_hook:
            self.pre_hook = guards.before
        if not self.user_defined_post_hook:
            self.post_hook = guards.after
        self.best_config: triton.Config | None = None
        self.bench_time = 0.0
        self._timings: Timings | Sweep = {}
        self.made_by_pruning: Mapping[Config, triton.Config] = {}
        self._known: dict[Any, tuple[triton.Config, bool]] = session.new_plans()  # by kind; whether it can have a plan
        self.loaded = Loaded(self)
        self._narrowing = Narrowing(self)
        self.asked: dict[Any, set[Config]] = {}  # by device and problem: what the store was asked to choose from
        self._start()

    def _start(self) -> None:
        """Make the fast path for today's list of configs."""
        self._listed = list(self._configs)
        self.__dict__.pop("candidates", None)
        self._own = TritonsOwn(self)
        knobs = {name for config in self._configs for name in config.all_kwargs()}
        self.filled = (knobs | {name for name, _ in self.heuristics}) & set(self.parameters.names)
        # Pruning functions are shown which arguments were given by position: a plan's code does not tell.
        splits = self.users_prune is not None or self.perf_model is not None
        self._plans = Plans(self, (lambda *_: _MISSED) if splits else self._first)
        if self._plans.dispatch is None:
            self._launch: Callable[..., Any] = self._by_hand
        else:
            self._launch = partial(_launch_or, self._plans.dispatch, self._by_hand) if splits else self._plans.dispatch

    def __copy__(self) -> Autotuner:
        """The same kernel with a memory of its own."""
        made: Autotuner = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._known, made._loaded, made._cache = session.new_plans(), Loaded(made), Cache(made._forget)
        made.asked, made._narrowing = {}, Narrowing(made)
        made._configs = list(self._configs)
        made._start()
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Autotuner:
        return copy(self)  # hooks and the kernel itself are shared

    @property
    def configs(self) -> list[triton.Config]:
        """The list; a new one may be assigned."""
        return self._configs

    @configs.setter
    def configs(self, configs: list[triton.Config]) -> None:
        self._configs = configs
        if hasattr(self, "_plans"):
            self._forget()
            self._start()

    @property
    def early_config_prune(self) -> Callable[..., Any] | None:
        """The user's function. Where there is none, one that knows the store, for compiled code: see narrowing.py."""
        is_made = hasattr(self, "_plans")  # Triton's constructor reads it as well
        if self.users_prune is not None or self.perf_model is not None or not is_made:
            return self.users_prune
        return None if len(self._configs) == 1 or compat_triton.is_interpreted(self.jit) else self._narrowing.function()

    @early_config_prune.setter
    def early_config_prune(self, function: Callable[..., Any] | None) -> None:
        self.users_prune = function

    @property
    def configs_timings(self) -> Timings:
        """What the last choice was made from."""
        if isinstance(self._timings, Sweep):
            self._timings = choosing.timings_of(self, self._timings)
        return self._timings

    @property
    def cache(self) -> Cache:
        """What calls were answered with; entries that are assigned answer the calls of their keys."""
        return self._cache

    @cache.setter
    def cache(self, entries: Mapping[Any, triton.Config]) -> None:
        self._cache = Cache(self._forget)
        self._cache.update(entries)
        self._forget()

    @cached_property
    def candidates(self) -> Candidates:
        """Today's list as it is stored. Made late: the globals of a function in it may follow the kernel."""
        return Candidates(self._configs)

    @property
    def source_hash(self) -> str:
        """The hash of what the kernel, its heuristics and its reference do. Raises HashUnavailable."""
        return self._hash.get()

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        """A launch on that grid: a tuple of one to three ints, or a function of the arguments that returns one."""
        if "run" in self.__dict__ or type(self).run is not Autotuner.run:  # somebody's own, in the place of ours
            return partial(self.run, grid=grid, warmup=False)
        return partial(self._launch, grid)

    def run(self, *args: Any, grid: Any, warmup: bool = False, **kwargs: Any) -> Any:
        """`kernel[grid](*args, **kwargs)`; with `warmup`, compile every config and launch none."""
        if warmup:
            return self.warmup(*args, grid=grid, **kwargs)
        return self._launch(grid, *args, **kwargs)

    def warmup(self, *args: Any, grid: Any = None, **kwargs: Any) -> list[Any]:
        """Compile each config that pruning leaves, for arguments of which only the kind counts."""
        configs = choosing.prune(self, self._call(grid, args, kwargs))
        fn: Any = self.fn  # Triton ships no types
        return [fn.warmup(*args, grid=grid, **kwargs, **config.all_kwargs()) for config in configs]

    def chosen(self, grid: Any, *args: Any, **kwargs: Any) -> triton.runtime.Autotuner:
        """Return a plain Triton kernel with this call's config, tuning as a call would: for `torch.compile`."""
        config = self._choose(self._call(grid, args, kwargs)).config
        return triton.runtime.Autotuner(self.fn, self.arg_names, [config], [], self.reset_to_zero, self.restore_value)

    def registered(self, arguments: Callable[..., tuple[Any, Mapping[str, Any]]]) -> RegisteredAutotuner:
        """What to register under the entry point group `tunedb.kernels`, by the kernel's name, to warm it.

        `arguments(device, **facts)` makes a call for a problem: the grid, and the kernel's arguments by name. It gets
        those facts it has parameters for: values of `key`, and `x_dtype`, `x_layout`, `x_aligned` of a tensor x.
        """
        return RegisteredAutotuner(self, arguments)

    def _first(self, grid: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """A call that has no plan, from the fast path: its arguments in order."""
        args, kwargs = self._plans.given(arguments)
        return self._by_hand(grid, *args, **kwargs, **options)

    def _by_hand(self, grid: Any, *args: Any, **kwargs: Any) -> Any:
        call = self._call(grid, args, kwargs)
        index = self._index()
        since = session.generation()
        kind = kind_of(call, self.parameters, self.keys, self.buckets)
        kind = kind and (index, *kind)
        known, is_plannable = (None, True) if kind is None else self._known.get(kind, (None, True))
        if is_capturing(index):
            return self.loaded.launch(call, index, known)
        found = Chosen(known) if known else self._choose(call, index)
        if found.by_triton:
            return self._own.run(call, index)
        config = found.config
        self.configure(call, config)
        launched = self.launch_with(call, config)
        if known is not None and not is_plannable:
            return launched
        self.loaded.note(call, index, config)
        is_plannable = index >= 0 and self._plans.remember(call, config, since)
        if kind is not None and since == session.generation():
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[kind] = config, is_plannable
        return launched

    def _call(self, grid: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        return Call(self.arg_names, grid, args, kwargs, self.parameters.variadic)

    def _index(self) -> int:
        return -1 if compat_triton.is_interpreted(self.jit) else compat_triton.current_device()

    def _choose(self, call: Call, index: int | None = None) -> Chosen:
        if len(self._listed) != len(self._configs) or any(map(is_not, self._listed, self._configs)):
            self._forget()  # the list was changed in place
            self._start()
        check_conflicts(call, self._configs)
        forced = self.cache.forced.get(key_of(call, self.arg_names, self.keys)) if self.cache.forced else None
        if forced is not None:
            return Chosen(forced)
        if len(self._configs) == 1:
            return Chosen(self._configs[0])
        found = choosing.choose(self, call, self._index() if index is None else index)
        if found.swept:  # as triton.autotune does, between its tuning and the call's own launch
            self.pre_hook({**call.named, **call.extra, **found.config.all_kwargs()}, reset_only=True)
        if not found.by_triton:
            self._report(call, found)
        return found

    def configure(self, call: Call, config: triton.Config) -> None:
        """Run a config's own hook."""
        if config.pre_hook is not None:
            config.pre_hook({**call.named, **call.extra, **config.all_kwargs()})

    def launch_with(self, call: Call, config: triton.Config) -> Any:
        """Launch through Triton, without hooks."""
        self.best_config = config
        return launch_call(self.fn, call.args, call.grid, {**call.kwargs, **config.all_kwargs()})

    def _report(self, call: Call, found: Chosen) -> None:
        """Keep what others read of an Autotuner, and tell those who listen."""
        key = key_of(call, self.arg_names, self.keys)
        is_new = key not in self.cache
        self.cache.put(key, found.config)
        self.best_config = found.config
        sweep = None if found.choice is None else found.choice.sweep
        if found.choice is None or sweep is None or found.choice.source == "nearest":
            return
        self._timings = sweep
        self.made_by_pruning = found.made
        self._narrowing.look_again()
        is_its_own = found.choice.source == "sweep"  # not so where a race after an edit was cut short
        self.bench_time = (sweep.finished - sweep.started).total_seconds() if is_its_own and sweep.finished else 0.0
        if compat_triton.is_printing() and is_its_own:
            print(
                f"Triton autotuning for function {self.base_fn.__name__},\nwith key as {key},\n"
                f"finished after {self.bench_time:.2f}s,\nbest config selected: {self.best_config};"
            )
        listener = compat_triton.tuning_listener()
        if listener is not None and (is_its_own or is_new):
            listener(
                fn=self.jit, key=key, best_config=found.config, configs_timings=self.configs_timings,
                duration=self.bench_time if is_its_own else None, cache_hit=not is_its_own,
            )  # fmt: skip

    def _forget(self) -> None:
        if hasattr(self, "_plans"):  # Triton's constructor assigns a cache, and a list of configs
            self._known.clear()
            self._plans.clear()
            self.asked.clear()


def _launch_or(fast: Callable[..., Any], slow: Callable[..., Any], grid: Any, *args: Any, **kwargs: Any) -> Any:
    found = fast(grid, *args, **kwargs)
    return slow(grid, *args, **kwargs) if found is _MISSED else found
