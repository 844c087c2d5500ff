"""The attributes that users of triton.autotune read after a call: the call's config, and the times of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import triton

from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep, Trial
from tunedb.decorator.cache import Cache, tritons_key
from tunedb.decorator.call.arguments import Call
from tunedb.decorator.kernel import KernelState
from tunedb.decorator.resolve import Resolved
from tunedb.runtime import compat_triton
from tunedb.tuner import session

Timings = dict[triton.Config, list[float]]  # [median, p20, p80] in milliseconds


class Results:
    """The results `best_config`, `bench_time`, `configs_timings` and `cache` of a decorated kernel."""

    def __init__(self, state: KernelState, on_change: Callable[[], None]) -> None:
        self._state = state
        self._on_change = on_change
        self.best_config: triton.Config | None = None
        self.bench_time = 0.0
        self._timings: Timings | Sweep = {}
        self._pruned: Mapping[Config, triton.Config] = {}  # with the configs that a pruning function made
        self.cache = Cache(on_change)

    def copy(self, state: KernelState, on_change: Callable[[], None]) -> Results:
        """Return the same results of the last call, with an empty cache."""
        results = Results(state, on_change)
        results.best_config, results.bench_time = self.best_config, self.bench_time
        results._timings, results._pruned = self._timings, self._pruned
        return results

    @property
    def configs_timings(self) -> Timings:
        """The times that the last choice was made from; those of a stored sweep are read at the first access."""
        if isinstance(self._timings, Sweep):
            by_stored_form = {**self._state.candidates.by_stored_form, **self._pruned}
            times = {trial.config: _milliseconds(trial) for trial in _trials_of(self._timings)}
            self._timings = {config: times[stored] for stored, config in by_stored_form.items() if stored in times}
        return self._timings

    @configs_timings.setter
    def configs_timings(self, timings: Timings) -> None:
        self._timings = timings

    def replace_cache(self, entries: Mapping[Any, triton.Config]) -> None:
        """Replace all entries that calls got so far by these, and force them."""
        self.cache = Cache(self._on_change)
        self.cache.update(entries)
        self._on_change()

    def forced_config(self, call: Call) -> triton.Config | None:
        """Return the config that a user put into the cache for such calls; None if there is none."""
        return self.cache.forced.get(self._key_of(call)) if self.cache.forced else None

    def report(self, call: Call, resolved: Resolved) -> None:
        """Record what a call got. Prints, and calls Triton's listener, as triton.autotune would."""
        key, spec = self._key_of(call), self._state.spec
        is_new = key not in self.cache
        self.cache.put(key, resolved.config)
        self.best_config = resolved.config
        sweep = resolved.sweep
        if sweep is None or resolved.choice is None:
            return
        self._timings = sweep
        self._pruned = resolved.configs
        was_swept = resolved.choice.source == "sweep"  # false for a race after an edit that was cut short
        self.bench_time = (sweep.finished - sweep.started).total_seconds() if was_swept and sweep.finished else 0.0
        if compat_triton.is_printing() and was_swept:
            print(
                f"Triton autotuning for function {spec.jit.fn.__name__},\nwith key as {key},\n"
                f"finished after {self.bench_time:.2f}s,\nbest config selected: {self.best_config};"
            )
        listener = compat_triton.tuning_listener()
        if listener is not None and (was_swept or is_new):
            listener(
                fn=spec.jit, key=key, best_config=resolved.config, configs_timings=self.configs_timings,
                duration=self.bench_time if was_swept else None, cache_hit=not was_swept,
            )  # fmt: skip

    def report_tritons(self, call: Call, autotuner: triton.runtime.Autotuner) -> triton.Config:
        """Record what Triton's own autotuner chose for a call, and return it."""
        config: triton.Config = autotuner.best_config
        self.best_config = config
        self.cache.put(self._key_of(call), config)
        self._timings = getattr(autotuner, "configs_timings", {})
        self.bench_time = getattr(autotuner, "bench_time", 0.0)
        return config

    def _key_of(self, call: Call) -> tuple[Any, ...]:
        return tritons_key(call, self._state.spec.parameters.names, self._state.spec.keys)


def _trials_of(sweep: Sweep) -> Sequence[Trial]:
    """Return a sweep's trials, from the store if the sweep was read without them."""
    if sweep.trials:
        return sweep.trials
    return [trial for page in session.active().store.get_whole([sweep.uid]) for whole in page for trial in whole.trials]


def _milliseconds(trial: Trial) -> list[float]:
    """Return [median, p20, p80] as Triton's `configs_timings` has them; inf if the config failed."""
    if trial.status != "ok" or trial.time_us is None:
        return [float("inf")] * 3
    times = (trial.time_us, trial.p20_us, trial.p80_us)
    return [(trial.time_us if time is None else time) / 1e3 for time in times]
