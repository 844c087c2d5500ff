"""The config of a call: the tuner looks it up, or tunes on the call's own tensors."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import triton

from tunedb.core.problem import Config
from tunedb.core.source_text import HashUnavailable
from tunedb.core.sweep import Sweep
from tunedb.core.task import Choice, TuningTask
from tunedb.decorator.call.arguments import Call, is_on_host
from tunedb.decorator.dispatch.codegen import MAX_PLANS
from tunedb.decorator.kernel import KernelState
from tunedb.decorator.tuning.called_kernel import CalledKernel
from tunedb.decorator.tuning.caller_errors import caller_errors
from tunedb.errors import CallerError, SweepError
from tunedb.runtime.compile_job import preload_aside
from tunedb.runtime.current_device import placement_of
from tunedb.runtime.failures import typed_errors
from tunedb.runtime.loaded_kernel import load_call
from tunedb.tuner import session
from tunedb.tuner.border import guarded
from tunedb.tuner.override import forced_config
from tunedb.tuner.unhashed import check_mode

_log = logging.getLogger("tunedb")


@dataclass(frozen=True, slots=True)
class Resolved:
    """The config for a call, and where it came from. `choice` is None if there was nothing to choose from."""

    config: triton.Config
    choice: Choice | None = None
    swept: bool = False  # by this call
    configs: Mapping[Config, triton.Config] = field(default_factory=dict)  # what pruning left, which it may have made
    by_triton: bool = False  # Triton's own autotuner has to choose; `config` is its first one
    is_for_this_call_only: bool = False  # it computes nothing, or tunedb failed: the next call has to ask again

    @property
    def sweep(self) -> Sweep | None:
        """The sweep of this problem that the choice came from, if there is one."""
        return None if self.choice is None or self.choice.source == "nearest" else self.choice.sweep


def resolve(state: KernelState, call: Call, index: int) -> Resolved:
    """Ask the tuner for a call's config on the device of that index.

    Raises SweepError if every config failed, and what the user's own functions raise. If tunedb itself fails, the first
    config serves.
    """
    configs = state.prune(call)
    if index >= 0 and not _is_on_gpu(call):
        return Resolved(configs[0])  # Triton's launch says what is wrong with it
    if len(configs) > 1 and state.spec.launches_nothing(call, configs):
        return Resolved(configs[0], is_for_this_call_only=True)
    try:
        return guarded(
            state.spec.name,
            lambda: _resolve(state, call, index, configs),
            lambda: Resolved(configs[0], is_for_this_call_only=True),
        )
    except CallerError as error:
        callers_own = error.error
    try:
        raise callers_own
    finally:
        del callers_own  # its frames hold this one


def _resolve(state: KernelState, call: Call, index: int, configs: Sequence[triton.Config]) -> Resolved:
    spec = state.spec
    try:
        problem = spec.problem(call)
        if len(configs) == 1:
            return Resolved(configs[0])
        called = CalledKernel(spec, state.candidates, call, configs)
        _ = spec.hash
    except HashUnavailable as error:
        return _without_hash(state, configs, index, error)
    if index >= 0:
        preload_aside()
    task, tuner = TuningTask(called, problem, placement_of(index)), session.active()
    if len(state.asked) >= MAX_PLANS:
        state.asked.clear()
    cached, asked = tuner.cache.get(task), state.asked.setdefault((index, problem), set())
    is_of_list = cached is None or cached.source == "override" or cached.config in called.configs
    if not is_of_list or not asked.issuperset(called.configs):
        tuner.cache.forget(task)  # chosen from another list, or from what pruning left for another call: ask the store
    asked.update(called.configs)
    try:
        choice, config = tuner.bind(called, problem, index, lambda stored: _load(state, call, called, stored))
        if choice.failed:
            raise SweepError(
                f"{spec.name} ({problem}): all {len(configs)} configs failed. "
                f"{called.first_failure or _stored_failure(task)} "
                "See: tunedb ls, tunedb show UID. To run the first one all the same: tunedb.using(mode='off')."
            )
        return Resolved(config, choice, called.swept, called.configs)
    finally:
        called.close()


def _without_hash(
    state: KernelState, configs: Sequence[triton.Config], index: int, reason: HashUnavailable
) -> Resolved:
    """Choose for a kernel without a hash, or one that was passed a function without a hash: nothing is stored.

    Triton's own autotuner chooses. The first config serves in the modes that do not tune, and in the interpreter, where
    Triton can't time anything. Raises MissError in mode `strict`.
    """
    settings, name = session.active().settings, state.spec.name
    if name in settings.override:
        with contextlib.suppress(HashUnavailable):  # of a knob in the list
            default = state.candidates.stored(configs[0])
            forced = forced_config(name, default, settings)
            if forced is not None:
                return Resolved(state.candidates.config(forced))
    by_triton = settings.mode == "tune" and index >= 0
    instead = "Triton's own autotuner serves its calls" if by_triton else "its first config serves its calls"
    check_mode(name, reason, settings, instead)
    return Resolved(configs[0], by_triton=by_triton)


def _stored_failure(task: TuningTask) -> str:
    """Return how the first config failed in an earlier sweep; empty if the store does not say."""
    store = session.active().store
    failed = [sweep.uid for sweep in store.get_sweeps(task.problem, task.device, task.kernel.hash) if not sweep.config]
    trials = (trial for page in store.get_whole(failed) for sweep in page for trial in sweep.trials)
    return next((trial.error for trial in trials if trial.error), "")


def _load(state: KernelState, call: Call, called: CalledKernel, stored: Config) -> triton.Config:
    """Return the config, compiled and loaded. Raises TrialError if that fails, CallerError if the call is wrong.

    A config with a hook is compiled at the launch: the hook runs once for each launch and may set what is compiled.
    """
    config = called.find(stored)
    if config.pre_hook is None:
        with typed_errors(), caller_errors():
            load_call(state.spec.fn, call.args, {**call.kwargs, **config.all_kwargs()}).keep()
    return config


def _is_on_gpu(call: Call) -> bool:
    """Say whether a launch could reach every tensor; an empty tensor has no memory, so it may be anywhere."""
    return all(not is_on_host(tensor) or not tensor.numel() or tensor.is_pinned() for tensor in call.tensors().values())
