"""Which config a call gets: from the tuner, which looks it up or tunes on the call's own tensors."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import triton

from tunedb.core.problem import Config
from tunedb.core.source_text import HashUnavailable
from tunedb.core.sweep import Sweep, Trial
from tunedb.core.task import Choice, TuningTask
from tunedb.decorator.call.arguments import Call, is_on_host, problem_of
from tunedb.decorator.configs import pruned
from tunedb.decorator.dispatch.codegen import MOST
from tunedb.decorator.tuning.called_kernel import CalledKernel
from tunedb.decorator.tuning.caller_errors import callers_faults
from tunedb.errors import CallerError, SweepError
from tunedb.override import overridden
from tunedb.runtime.compile_job import preload_aside
from tunedb.runtime.current_device import placement_of
from tunedb.runtime.failures import typed_errors
from tunedb.runtime.loaded_kernel import load_call
from tunedb.tuner import session
from tunedb.tuner.unhashed import check_mode

if TYPE_CHECKING:
    from tunedb.decorator.autotuner import Autotuner

_log = logging.getLogger("tunedb")

Timings = dict[triton.Config, list[float]]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The config for a call, and how it was found. `choice` is None where there was nothing to choose from."""

    config: triton.Config
    choice: Choice | None = None
    swept: bool = False  # by this call
    made: Mapping[Config, triton.Config] = field(default_factory=dict)  # what pruning left, which it may have made
    by_triton: bool = False  # Triton's own autotuner has to choose; `config` is its first one


def prune(kernel: Autotuner, call: Call) -> list[triton.Config]:
    """The configs that are left for a call. Raises as triton.autotune does."""
    return pruned(
        kernel.configs,
        call,
        positional=kernel.arg_names,
        early_config_prune=kernel.users_prune,
        perf_model=kernel.perf_model,
        top_k=kernel.configs_top_k,
    )


def choose(kernel: Autotuner, call: Call, index: int) -> Chosen:
    """Ask the tuner. Raises SweepError where every config failed, and what the user's own functions raise."""
    configs = prune(kernel, call)
    if index >= 0 and not _is_on_gpu(call):
        return Chosen(configs[0])  # Triton's launch says what is wrong with it
    try:
        problem = problem_of(kernel.name, call, kernel.parameters, kernel.keys, kernel.buckets)
        if len(configs) == 1:
            return Chosen(configs[0])
        called = CalledKernel(kernel, call, configs)
        _ = kernel.source_hash
    except HashUnavailable as error:
        return _without_hash(kernel, configs, index, error)
    if index >= 0:
        preload_aside()
    case, tuner = TuningTask(called, problem, placement_of(index)), session.active()
    if len(kernel.asked) >= MOST:
        kernel.asked.clear()
    known, asked = tuner.cache.get(case), kernel.asked.setdefault((index, problem), set())
    is_of_list = known is None or known.source == "override" or known.config in called.configs
    if not is_of_list or not asked.issuperset(called.configs):
        tuner.cache.forget(case)  # of another list, or of what pruning left for another call: the store is asked
    asked.update(called.configs)
    try:
        choice, config = tuner.bind(called, problem, index, lambda stored: _load(kernel, call, called, stored))
        if choice.failed:
            raise SweepError(
                f"{kernel.name} ({problem}): all {len(configs)} configs failed. {called.why or _stored_reason(case)} "
                "See: tunedb ls, tunedb show UID. To run the first one all the same: tunedb.using(mode='off')."
            )
        return Chosen(config, choice, called.swept, called.configs)
    except CallerError as error:
        fault = error.error
    finally:
        called.release()
    try:
        raise fault
    finally:
        del fault  # its frames hold this one


def _without_hash(kernel: Autotuner, configs: list[triton.Config], index: int, fault: HashUnavailable) -> Chosen:
    """The choice for a kernel, or a function given to it, that can't be told from an edited one: nothing is stored.

    Triton's own autotuner chooses; but in the modes that do not tune, and in the interpreter, where it can't time
    anything, the first config serves. Raises MissError in mode `strict`.
    """
    settings = session.active().settings
    if kernel.name in settings.override:
        with contextlib.suppress(HashUnavailable):  # of the list's knobs
            stored = kernel.candidates.stored(configs[0])
            forced = overridden(kernel.name, stored, settings.override[kernel.name])
            return Chosen(kernel.candidates.config(forced))
    by_triton = settings.mode == "tune" and index >= 0
    instead = "Triton's own autotuner serves its calls" if by_triton else "its first config serves its calls"
    check_mode(kernel.name, fault, settings, instead)
    return Chosen(configs[0], by_triton=by_triton)


def _stored_reason(case: TuningTask) -> str:
    """How the first config failed that did, of a sweep before this call; empty where the store does not tell."""
    store = session.active().store
    failed = [one.uid for one in store.get_sweeps(case.problem, case.device, case.kernel.hash) if not one.config]
    trials = (trial for page in store.get_whole(failed) for sweep in page for trial in sweep.trials)
    return next((trial.error for trial in trials if trial.error), "")


def _load(kernel: Autotuner, call: Call, called: CalledKernel, stored: Config) -> triton.Config:
    """The config, compiled and loaded. Raises TrialError where it can't be, CallerError where the call is wrong.

    One with a hook is compiled at the launch: the hook, which runs once for each, may set what that depends on.
    """
    config = called.find(stored)
    if config.pre_hook is None:
        with typed_errors(), callers_faults():
            load_call(kernel.fn, call.args, {**call.kwargs, **config.all_kwargs()}).keep()
    return config


def _is_on_gpu(call: Call) -> bool:
    """Whether a launch could reach every tensor; an empty one has no memory, wherever it is."""
    return all(not is_on_host(one) or not one.numel() or one.is_pinned() for one in call.tensors().values())


def timings_of(kernel: Autotuner, sweep: Sweep) -> Timings:
    """[median, p20, p80] in milliseconds by config of today's list, as Triton tells them; inf for a failure."""
    trials = list(sweep.trials)
    if not trials:
        pages = session.active().store.get_whole([sweep.uid])
        trials = [trial for page in pages for one in page for trial in one.trials]
    ours = {**kernel.candidates.ours, **kernel.made_by_pruning}
    found = {trial.config: _times(trial) for trial in trials}
    return {config: found[stored] for stored, config in ours.items() if stored in found}


def _times(trial: Trial) -> list[float]:
    if trial.status != "ok" or trial.time_us is None:
        return [float("inf")] * 3
    times: tuple[Any, ...] = (trial.time_us, trial.p20_us, trial.p80_us)
    return [(trial.time_us if one is None else one) / 1e3 for one in times]
