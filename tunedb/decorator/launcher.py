"""From a call of a decorated kernel to its launch: with a remembered config, a resolved one, or in a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import triton

from tunedb._internal.control import let_pass
from tunedb.decorator.call.arguments import Call
from tunedb.decorator.call.specialization import call_specialization
from tunedb.decorator.configs import arguments_with, check_conflicts, run_hook
from tunedb.decorator.dispatch.codegen import MAX_PLANS
from tunedb.decorator.dispatch.graph_capture import GraphCapture, is_capturing
from tunedb.decorator.dispatch.plans import Plans
from tunedb.decorator.fallback import tritons_autotuner
from tunedb.decorator.inductor import StoredPruning
from tunedb.decorator.kernel import KernelState
from tunedb.decorator.recording import call_log
from tunedb.decorator.recording.recorded_call import record_call
from tunedb.decorator.resolve import Resolved, resolve
from tunedb.decorator.results import Results
from tunedb.errors import IdentityError
from tunedb.runtime import compile_cache
from tunedb.runtime.compat_triton import current_device, is_interpreted
from tunedb.runtime.launch import launch_call
from tunedb.tuner import session
from tunedb.tuner.border import guarded

# Calls of a kind that are served without a plan. To generate the code for one takes about as long as serving these, and
# many kernels of a program are called less often: measured on a CPU, 1.3 ms against 0.3 ms a call.
CALLS_BEFORE_PLAN = 4

_NO_PLAN = object()


class Remembered(NamedTuple):
    """The config of calls that have no plan, and whether a later one may get a plan."""

    config: triton.Config
    calls: int  # of this kind so far
    can_have_plan: bool


class Launcher:
    """The launcher of a kernel's calls.

    `refresh` looks for assigned attributes and edited configs; it calls `start` and returns True if there are any.
    """

    plans: Plans

    def __init__(
        self, state: KernelState, results: Results, stored_pruning: StoredPruning, refresh: Callable[[], bool]
    ) -> None:
        self._state = state
        self._results = results
        self._stored_pruning = stored_pruning
        self._refresh = refresh
        self._capture = GraphCapture(state)
        self._remembered: dict[Any, Remembered] = session.new_plans()  # by what the call depends on
        self._is_exposed = False  # a program may have edited the configs since the last call
        self.start()

    def start(self) -> None:
        """Serve later calls by the current configs: `launch(grid, *args, **kwargs)`."""
        spec, configs = self._state.spec, self._state.configs
        if hasattr(self, "plans"):
            self.forget()  # a program may have kept `kernel[grid]`, which looks into the old plans
        self._tritons: triton.runtime.Autotuner | None = None
        knobs = {name for config in configs for name in config.all_kwargs()}
        # A pruning function sees which arguments were passed by position, which generated code doesn't know.
        unplanned = (lambda *_: _NO_PLAN) if spec.prunes else self._launch_in_order
        self.plans = Plans(spec, knobs, self._results, unplanned)
        self.launch: Callable[..., Any] = self._launch_early if self.plans.can_dispatch else self.by_hand
        self.is_generated = not self.plans.can_dispatch  # whether `launch` stays what it is

    def _generate(self) -> None:
        """Generate the code that serves repeated calls. It takes longer than serving one call does."""
        if not self.is_generated:
            dispatch = self.plans.dispatch
            prunes = self._state.spec.prunes
            self.launch = partial(_dispatch_or, dispatch, self.by_hand) if prunes else dispatch
            self.is_generated = True

    def _launch_early(self, grid: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Serve a call before there is generated code, as that would: many kernels of a program are called once."""
        if not self.is_generated:
            if self._state.spec.prunes:
                return self.by_hand(grid, *args, **kwargs)
            bound = self.plans.bind_early(args, kwargs)
            if bound is not None:
                return self._launch_in_order(grid, *bound)
            self._generate()  # it raises what is wrong with the call
        return self.launch(grid, *args, **kwargs)

    def forget(self) -> None:
        """Ask the store again at the next call of each kind."""
        self._remembered.clear()
        self.plans.clear()
        self._state.forget()

    def expect_edit(self) -> None:
        """Compare the configs at the next call, because a program has the list in its hands.

        A call that is answered from a plan compares nothing, so the plans are put aside until then.
        """
        self._is_exposed = True
        self.plans.park()

    def _compare(self) -> None:
        """Start again if the configs were edited, else bring the plans back."""
        self._is_exposed = False  # first: another thread may read the list meanwhile
        try:
            if not self._refresh():
                self.plans.unpark()
        # Raised again: the list may hold something that is not a config, and an interrupt may come at any moment.
        except BaseException:
            self._is_exposed = True
            raise

    def by_hand(self, grid: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Serve a call that has no plan, and make one if it can have one and comes often."""
        if self._is_exposed:
            self._compare()
            return self.launch(grid, *args, **kwargs)
        spec, since = self._state.spec, session.generation()
        call, index = spec.call(grid, args, kwargs), self.index()
        key = self._key_of(call, index)
        remembered = None if key is None else self._remembered.get(key)
        if is_capturing(index):
            known = self._results.forced_config(call) if remembered is None else remembered.config
            return self._launch(call, self._capture.config_for(call, index, known))
        if remembered is None:
            resolved = self.choose(call, index)
            if resolved.by_triton:
                return self._launch_as_triton(call, index)
            config, is_final = resolved.config, resolved.is_for_this_call_only
        else:
            config, is_final = remembered.config, not remembered.can_have_plan
        run_hook(config, call)
        launched = self._launch(call, config)
        if call_log.is_on():
            guarded(spec.name, partial(record_call, self._state, call), _nothing)
        if not is_final:
            calls = 0 if remembered is None else remembered.calls
            guarded(spec.name, partial(self._remember, call, index, config, key, since, calls), _nothing)
        return launched

    def _key_of(self, call: Call, index: int) -> Any:
        """Return what a call is remembered by; None if it can't be. Raises IdentityError if a bucket fails."""
        spec = self._state.spec
        try:
            key = call_specialization(call.named, spec.parameters.constexprs, spec.keys, spec.buckets)
            if key is None:
                return None
            key = (index, call.empty_tensors(), *key)
            hash(key)
        except IdentityError:
            raise
        # An argument's class may have a `__hash__` or `__getattr__` that raises anything: it is asked at each call.
        except Exception as error:
            let_pass(error)
            return None
        return key

    def _remember(self, call: Call, index: int, config: triton.Config, key: Any, since: int, calls: int) -> None:
        """Keep the config of a launched call for calls like it, and a plan if there were some before."""
        self._capture.note(call, index, config)
        can_have_plan = index >= 0
        if can_have_plan and (key is None or calls >= CALLS_BEFORE_PLAN):
            can_have_plan = self.plans.remember(call, config, since)
            self._generate()
        if key is not None and since == session.generation():
            if len(self._remembered) >= MAX_PLANS:
                self._remembered.clear()
            self._remembered[key] = Remembered(config, calls + 1, can_have_plan)

    def choose(self, call: Call, index: int) -> Resolved:
        """Return the config for a call: the only one, one that the user put into the cache, or the tuner's."""
        self._refresh()
        state = self._state
        check_conflicts(call, state.configs)
        forced = self._results.forced_config(call)
        if forced is not None:
            return Resolved(forced)
        if len(state.configs) == 1:
            return Resolved(state.configs[0])
        resolved = resolve(state, call, index)
        if resolved.swept:  # as triton.autotune does, between its tuning and the call's own launch
            state.spec.pre_hook(arguments_with(resolved.config, call), reset_only=True)
        if not (resolved.by_triton or resolved.is_for_this_call_only):
            self._results.report(call, resolved)
            if resolved.sweep is not None:
                self._stored_pruning.look_again()
        return resolved

    def index(self) -> int:
        """Return the index of the current device; -1 in the interpreter."""
        if is_interpreted(self._state.spec.jit):
            return -1
        compile_cache.prepare()
        return current_device()

    def _launch_in_order(self, grid: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Serve a call that has no plan, from generated code: its arguments are in order."""
        args, kwargs = self.plans.as_given(arguments)
        return self.by_hand(grid, *args, **kwargs, **options)

    def _launch(self, call: Call, config: triton.Config) -> Any:
        """Launch through Triton, without hooks."""
        self._results.best_config = config
        return launch_call(self._state.spec.fn, call.args, call.grid, {**call.kwargs, **config.all_kwargs()})

    def _launch_as_triton(self, call: Call, index: int) -> Any:
        """Have Triton's own autotuner serve a call."""
        if self._tritons is None:
            self._tritons = tritons_autotuner(self._state)
        launched = self._tritons.run(*call.args, grid=call.grid, warmup=False, **call.kwargs)
        self._capture.note(call, index, self._results.report_tritons(call, self._tritons))
        return launched


def _nothing() -> None:
    """Do nothing: the next call is remembered."""


def _dispatch_or(
    dispatch: Callable[..., Any], by_hand: Callable[..., Any], grid: Any, *args: Any, **kwargs: Any
) -> Any:
    launched = dispatch(grid, *args, **kwargs)
    return by_hand(grid, *args, **kwargs) if launched is _NO_PLAN else launched
