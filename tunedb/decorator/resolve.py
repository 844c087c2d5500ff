"""The config of a call: the tuner looks it up, or tunes on the call's own tensors."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

import triton

from tunedb.core.problem import Config
from tunedb.core.source_text import HashUnavailable
from tunedb.core.sweep import Sweep, Trial
from tunedb.core.task import Choice, TuningTask
from tunedb.decorator.call.arguments import Call, is_on_host
from tunedb.decorator.dispatch.codegen import MAX_PLANS
from tunedb.decorator.kernel import KernelState
from tunedb.decorator.tuning.called_kernel import CalledKernel
from tunedb.decorator.tuning.caller_errors import caller_errors
from tunedb.errors import AllConfigsFailed, CallerError, HostFaultError, StickyDeviceError, TrialError
from tunedb.runtime.compile_job import preload_aside
from tunedb.runtime.current_device import placement_of
from tunedb.runtime.failures import typed_errors
from tunedb.runtime.loaded_kernel import load_call
from tunedb.tuner import session
from tunedb.tuner.border import guarded
from tunedb.tuner.override import forced_config
from tunedb.tuner.unhashed import check_mode

MAX_REASONS = 3  # that the error names if every config failed; `tunedb show` has all

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

    If not even the default loads, it is returned all the same: its launch raises Triton's own error. Raises
    AllConfigsFailed if every config failed in this call's own sweep, StickyDeviceError if that sweep lost the device,
    and what the user's own functions raise. If tunedb itself fails, the first config serves.
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
    config = configs[0]

    def load(stored: Config) -> None:
        nonlocal config
        config = called.find(stored)
        _load(state, call, config)

    try:
        choice, _ = tuner.bind(called, problem, index, load, on_failed=partial(_raise_reasons, spec.name))
        return Resolved(config, choice, called.swept, called.configs)
    except (TrialError, StickyDeviceError) as error:
        if called.swept and isinstance(error, StickyDeviceError):
            raise
        return Resolved(config, swept=called.swept, configs=called.configs)
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


def _raise_reasons(name: str, sweep: Sweep) -> NoReturn:
    """Raise AllConfigsFailed for a sweep in which every config failed, with the first reasons that differ."""
    reasons: dict[str, Trial] = {}
    for trial in sweep.trials:
        reasons.setdefault(trial.error or trial.status, trial)
    first = " ".join(f"{trial.config}: {reason}" for reason, trial in list(reasons.items())[:MAX_REASONS])
    raise AllConfigsFailed(
        f"{name} ({sweep.problem}): all {len(sweep.trials)} configs failed. {first} "
        f"See: tunedb show {sweep.uid[:12]} -v. Later calls run the first config, and it is not tuned again for a day."
    )


def _load(state: KernelState, call: Call, config: triton.Config) -> None:
    """Compile and load a config. Raises TrialError if that fails, CallerError if the call is wrong.

    A config with a hook is compiled at the launch: the hook runs once for each launch and may set what is compiled.
    A fault of this machine is left to the launch, which raises it as it is.
    """
    if config.pre_hook is None:
        with contextlib.suppress(HostFaultError), typed_errors(), caller_errors():
            load_call(state.spec.fn, call.args, {**call.kwargs, **config.all_kwargs()}).keep()


def _is_on_gpu(call: Call) -> bool:
    """Say whether a launch could reach every tensor; an empty tensor has no memory, so it may be anywhere."""
    return all(not is_on_host(tensor) or not tensor.numel() or tensor.is_pinned() for tensor in call.tensors().values())
