"""Plans: for each kind of call that was made before, its config and its loaded kernel."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import triton

from tunedb._internal.bounded import make_room
from tunedb.decorator.call.arguments import Call, is_on_host
from tunedb.decorator.call.specialization import can_plan, specialization_of
from tunedb.decorator.dispatch.codegen import (
    ABSENT,
    MAX_PLANS,
    Reader,
    Signature,
    can_generate,
    defaults_of,
    is_set_by_hooks,
    make_dispatcher,
    make_reader,
    part_of_options,
)
from tunedb.decorator.dispatch.graph_capture import is_capturing, not_loaded
from tunedb.decorator.dispatch.grid_cache import GridCache
from tunedb.decorator.kernel import KernelSpec
from tunedb.decorator.results import Results
from tunedb.runtime import compat_triton
from tunedb.runtime.launch import launch_call
from tunedb.runtime.loaded_kernel import is_call_loaded, load_call
from tunedb.tuner import session

MAX_RARE_CALLS = 16  # with an empty tensor, before one gets a plan. Chosen, not measured
Filled = tuple[Any, ...]  # the values of the parameters that a call does not give, in their order


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a repeated call needs. A NamedTuple would be slower to read, as its fields are not slots."""

    config: triton.Config
    hook: Callable[..., Any] | None  # the config's
    knobs: Mapping[str, Any]  # the config's
    bound: Any  # the bound kernel; one by variant if it is bound after hooks and heuristics have run: see `Plans.bind`
    absent: tuple[str, ...]  # the parameters that the call does not give
    filled: Filled | None  # their values; None if heuristics or hooks decide at each call
    functions: tuple[Any, ...]  # the call's, kept alive because the key holds their ids


class Plans:
    """The plans of one kernel for its current configs, and the generated code that finds them.

    `unplanned(grid, arguments, options)` serves calls without a plan. `dispatch(grid, *arguments, **options)` launches;
    there is none if not `can_dispatch`: for a signature that can't be bound.
    """

    def __init__(self, spec: KernelSpec, knobs: set[str], results: Results, unplanned: Callable[..., Any]) -> None:
        self._spec = spec
        self._results = results
        self._unplanned = unplanned
        filled = (knobs | {name for name, _ in spec.heuristics}) & set(spec.parameters.names)
        self._signature = Signature(spec.parameters, filled, spec.keys, spec.buckets, bool(spec.heuristics))
        self._table: dict[Any, Plan] = session.new_plans()
        self._read_by_types: dict[tuple[type, ...], Callable[..., Any]] = {}
        self._readers: dict[tuple[type, ...], Reader | None] = {}  # None if a type has no fast form
        self._numbers = itertools.count()
        self._parked: dict[Any, Plan] = session.new_plans()  # the plans, while a program may be editing the configs
        self._is_parked = False
        self._with_empty: Counter[Any] = Counter()  # the calls with an empty tensor, by the key of their plan
        self._grids = GridCache()
        self._dispatch: Callable[..., Any] | None = None  # until it is asked for
        self.can_dispatch = can_generate(spec.parameters)

    @property
    def dispatch(self) -> Callable[..., Any]:
        """The generated code, made at its first use."""
        if self._dispatch is None:
            scope = {"_t_readers": self._read_by_types, "_t_unplanned": self._unplanned}
            self._dispatch = make_dispatcher(self._signature, scope)
        return self._dispatch

    def bind_early(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Return the arguments in order and the options, as the generated code binds them; None if that would raise."""
        names, defaults = self._spec.parameters.names, defaults_of(self._signature)
        bound, options = dict(zip(names, args, strict=False)), {}
        for name, value in kwargs.items():
            if name not in names:
                options[name] = value
            elif name in bound:
                return None
            else:
                bound[name] = value
        if len(args) > len(names) or any(name not in bound and name not in defaults for name in names):
            return None
        return tuple(bound[name] if name in bound else defaults[name] for name in names), options

    def clear(self) -> None:
        """Drop every plan."""
        self._table.clear()
        self._parked.clear()
        self._is_parked = False
        self._with_empty.clear()

    def park(self) -> None:
        """Put the plans aside, so that the next call comes by `unplanned`."""
        self._is_parked = True
        self._parked.update(self._table)
        self._table.clear()

    def unpark(self) -> None:
        """Bring back the plans that were put aside."""
        self._is_parked = False
        self._table.update(self._parked)
        self._parked.clear()

    def as_given(self, arguments: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return arguments in order as Triton takes them: by position up to the first that may be filled in."""
        names, filled = self._spec.parameters.names, self._signature.filled
        absent = (place for place, value in enumerate(arguments) if value is ABSENT or names[place] in filled)
        first = next(absent, len(arguments))
        rest = zip(names[first:], arguments[first:], strict=True)
        return arguments[:first], {name: value for name, value in rest if value is not ABSENT}

    def remember(self, call: Call, config: triton.Config, since: int) -> bool:
        """Make a plan for calls like this one, which that config served; return False if they can't have one.

        `since` is the session's generation before the config was chosen: if the settings have changed since then, no
        plan is kept.
        """
        # Host memory that a GPU reaches (pinned, or empty) looks like host memory that it does not reach.
        is_seen = compat_triton.is_observed(self._spec.jit) or compat_triton.is_launch_replaced(self._spec.fn)
        if is_seen or self._is_parked or any(map(is_on_host, call.tensors().values())):
            return True
        arguments = self._in_order(call)
        types = tuple(map(type, arguments))
        reader = self._reader_for(types)
        names = self._spec.parameters.names
        part = part_of_options({name: value for name, value in call.kwargs.items() if name not in names})
        if reader is None or part is None or not all(value is ABSENT or can_plan(value) for value in arguments):
            return False
        knobs, functions = config.all_kwargs(), tuple(value for value in arguments if callable(value))
        absent = tuple(name for name, value in zip(names, arguments, strict=True) if value is ABSENT)
        if not knobs.keys() & names <= {*absent, *self._spec.parameters.constexprs}:
            return False  # a pruning function added a knob, and the code would launch with the argument's default
        bound: Any = {}
        filled: Filled | None = None
        if not (self._spec.heuristics or any(map(is_set_by_hooks, types))):
            bound = load_call(self._spec.fn, call.args, {**call.kwargs, **knobs})
            if bound.run is None:
                return True
            bound.keep()
            filled = self._filled(absent, knobs)
        if since == session.generation():
            key = reader.key_of(part, *arguments)
            if call.empty_tensors() and not self._is_usual(key):
                return True
            if len(self._table) >= MAX_PLANS:
                self._table.clear()
            self._table[key] = Plan(config, config.pre_hook, knobs, bound, absent, filled, functions)
        return True

    def bind(self, given: dict[str, Any], grid: Any, plan: Plan, late: tuple[Any, ...]) -> tuple[Any, Filled | None]:
        """Return the kernel bound to a call, and the values that fill it, once hooks and heuristics have run.

        `given` are the call's arguments and options by name; `late` is what the config's hook may have set in them.
        Heuristics see what Triton would show them. Returns (None, None) if Triton has to launch. Raises SweepError if a
        CUDA graph is captured, and that kernel is not loaded.
        """
        seen = {**given, "grid": grid, "warmup": False, **plan.knobs}
        for name, function in self._spec.heuristics:
            seen[name] = function(seen)
        values = tuple(seen[name] for name, _ in self._spec.heuristics)
        if not can_plan(values):
            return None, None
        # A heuristic is asked at each call, and its result not kept: it may be a tensor of this call's own.
        filled = self._filled(plan.absent, seen)
        variant = (specialization_of(values, is_value=True), late) if values else late
        bound_and_filled = plan.bound.get(variant)
        if bound_and_filled is None:
            keywords = {name: value for name, value in seen.items() if name not in ("grid", "warmup")}
            if is_capturing(compat_triton.current_device()) and not is_call_loaded(self._spec.jit, (), keywords):
                raise not_loaded(self._spec.name)
            bound = load_call(self._spec.jit, (), keywords)
            if bound.run is None:
                return None, None
            bound.keep()
            make_room(plan.bound, MAX_PLANS)
            bound_and_filled = plan.bound[variant] = bound, () if values else filled
        return bound_and_filled[0], filled

    def _is_usual(self, key: Any) -> bool:
        """Say whether an empty tensor stands for an argument that is left out, as it always has so far.

        A plan's key does not tell an empty tensor from others, so a plan made for a rare one would serve all calls.
        """
        if len(self._with_empty) >= MAX_PLANS:
            self._with_empty.clear()
        self._with_empty[key] += 1
        return self._with_empty[key] > MAX_RARE_CALLS

    def _launch_by_triton(
        self, grid: Any, arguments: tuple[Any, ...], options: dict[str, Any], config: triton.Config
    ) -> Any:
        """Launch through Triton, if the config's hook has run and the plan does not serve after all."""
        args, kwargs = self.as_given(arguments)
        return launch_call(self._spec.fn, args, grid, {**kwargs, **options, **config.all_kwargs()})

    def _filled(self, absent: Sequence[str], values: Mapping[str, Any]) -> Filled:
        defaults = self._spec.parameters.defaults
        return tuple([values[name] if name in values else defaults[name] for name in absent])

    def _in_order(self, call: Call) -> tuple[Any, ...]:
        parameters, filled = self._spec.parameters, self._signature.filled
        return tuple(
            call.named.get(name, ABSENT if name in filled else parameters.defaults.get(name, ABSENT))
            for name in parameters.names
        )

    def _reader_for(self, types: tuple[type, ...]) -> Reader | None:
        """Return the functions for arguments of these types, generated when they are first needed."""
        if not self.can_dispatch:
            return None
        if types not in self._readers:
            scope = {
                "_t_plans": self._table, "_t_unplanned": self._unplanned, "_t_results": self._results,
                "_t_device": compat_triton.device_getter(), "_t_runtime": compat_triton.runtime_knobs,
                "_t_compilation": compat_triton.compilation_knobs, "_t_enter": compat_triton.launch_hooks("enter"),
                "_t_exit": compat_triton.launch_hooks("exit"), "_t_hooks": compat_triton.hooks_of_jit(self._spec.jit),
                "_t_grids": self._grids, "_t_bind": self.bind, "_t_by_triton": self._launch_by_triton,
            }  # fmt: skip
            made = make_reader(self._signature, types, next(self._numbers), scope)
            reader = self._readers.setdefault(types, made)  # the first one, if two threads have made one
            if reader is not None:
                self._read_by_types[types] = reader.read
        return self._readers[types]
