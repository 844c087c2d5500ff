"""Stored choices for compiled code: Dynamo and `wrap_triton` never call a kernel, they read its list of configs.

They do honour `early_config_prune`: what it returns becomes a Triton kernel of its own, which Inductor compiles, and
times only if several configs are left. So a kernel for which the user gave no such function gets one that reads the
store.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import torch

from tunedb._internal.control import let_pass
from tunedb.core.problem import Problem
from tunedb.core.sweep import now
from tunedb.decorator.configs import Candidates
from tunedb.decorator.kernel import KernelSpec, KernelState
from tunedb.runtime import compat_triton
from tunedb.runtime.compat_torch import is_compiling, mark_constant
from tunedb.runtime.current_device import device_of
from tunedb.store.ranking import winners
from tunedb.tuner import session
from tunedb.tuner.override import forced_config

PruneFunction = Callable[..., Any]
Fact = tuple[str, str, Any]  # an argument, an attribute of it or "", and the value
Table = tuple[tuple[tuple[Fact, ...], int], ...]  # the facts of each tuned problem, and its config's place in the list
StoredPlaces = tuple[Table, int | None]  # the second is the place that all problems share, if facts can't be compared

NOTHING_STORED: StoredPlaces = (), None
LIFETIME_S = 1.0  # for how long an answer is used: code that is being compiled asks many times
MAX_PROBLEMS = 64  # that compiled code distinguishes: each is a comparison while the code is traced

# From this version of torch on, Dynamo can trace the pruning function of a kernel with heuristics below the decorator;
# 2.11 raises for any. Versions between the two were not tried.
MIN_TORCH_WITH_HEURISTICS = "2.13"

_PLAIN_TYPES = (bool, int, float, str, type(None))

_log = logging.getLogger("tunedb")


class StoredPruning:
    """The `early_config_prune` of one kernel that leaves the stored config of a call."""

    def __init__(self, state: KernelState) -> None:
        self._state = state
        self._has_stored: bool | None = None  # whether the store holds a config of the list; None before it was asked
        self._valid_until = 0.0
        self._function: PruneFunction | None = None

    def function(self) -> PruneFunction | None:
        """Return the pruning function, or None if nothing is stored.

        Dynamo reads it at each call of compiled code, too: the store is then asked only once after `look_again`.
        """
        if self._state.spec.heuristics and torch.__version__ < MIN_TORCH_WITH_HEURISTICS:
            return None
        is_old = is_compiling() and self._valid_until < time.monotonic()
        if self._has_stored is None or not self._valid_until or is_old:
            places = stored_places(self._state)
            if places is not None:
                self._has_stored = places != NOTHING_STORED
            self._valid_until = time.monotonic() + LIFETIME_S
        if not self._has_stored:
            return None
        # Not a cached property: before Python 3.12 that has a lock, which a forked child may find held.
        self._function = self._function or make_pruning(self._state)
        return self._function

    def look_again(self) -> None:
        """Ask the store at the next use: something may have been stored."""
        self._valid_until = 0.0


def make_pruning(state: KernelState) -> PruneFunction:
    """Return a function in the form of an `early_config_prune` that leaves the config which is stored for a call.

    Dynamo traces it, so it may only compare and index. To Dynamo what is stored is a constant, so that compiled code
    stays valid when more is tuned. An argument that is not a tensor may have been one, such as a descriptor's base,
    whose dtype can't be compared. A dynamic size equals nothing: a comparison would fix it.
    """
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # here, because it loads much

    must_leave_one = _loses_guards(state.spec)
    parameters = state.spec.parameters
    defaults = {name: default for name, default in parameters.defaults.items() if type(default) in _PLAIN_TYPES}

    def stored() -> StoredPlaces:
        return stored_places(state) or NOTHING_STORED

    mark_constant(stored)

    def fits(argument: Any, attribute: str, value: Any) -> bool:
        if value is None or argument is None:
            return value is None and argument is None
        if attribute == "dtype":
            return not torch.is_tensor(argument) or argument.dtype == value
        return not torch.is_tensor(argument) and statically_known_true(argument == value)

    def keep_stored(configs: list[Any], named_args: dict[str, Any], **kwargs: Any) -> list[Any]:
        table, shared_place = stored()
        arguments = {**defaults, **named_args, **kwargs}
        places = [] if shared_place is None else [shared_place]
        for facts, place in table:
            fitting = [
                name in arguments and fits(arguments[name], attribute, value) for name, attribute, value in facts
            ]
            if all(fitting) and place not in places:
                places.append(place)
        if len(places) == 1:
            return [configs[places[0]]]
        return configs[:1] if must_leave_one else configs

    return keep_stored


def stored_places(state: KernelState) -> StoredPlaces | None:
    """Return where in the list the stored configs are, by the facts of their problems, for the current device.

    If a call's facts can't be compared with stored ones, return the place that all tuned problems share, if they do.
    Returns None if the store can't be read: the code is then compiled with the whole list.
    """
    try:
        return _stored_places(state)
    # The store, or a device that is missing, may raise anything: the caller, which compiles, must not see it.
    except Exception as error:
        let_pass(error)
        _log.debug("%s: can't read what is stored (%s: %s).", state.spec.name, type(error).__name__, str(error))
        return None


def _stored_places(state: KernelState) -> StoredPlaces:
    spec, tuner = state.spec, session.active()
    stored_forms = Candidates(state.configs).in_order  # of the current list, also after a change in place
    place_of = {config: place for place, config in enumerate(stored_forms)}
    forced = forced_config(spec.name, stored_forms[0], tuner.settings)
    if forced is not None:
        return (), place_of.get(forced)
    if tuner.settings.mode == "off":
        return NOTHING_STORED
    device = device_of(compat_triton.current_device())
    sweeps = tuner.store.get_kernel_sweeps(spec.name, device, spec.hash, MAX_PROBLEMS)
    places: dict[tuple[Fact, ...], set[int]] = {}
    for sweep, _ in winners(sweeps, None, now()):
        if sweep.config in place_of:
            places.setdefault(_facts(spec, sweep.problem), set()).add(place_of[sweep.config])
    if spec.buckets or _loses_guards(spec):  # a bucket is the user's code, which Dynamo might not trace
        every = set().union(*places.values())
        return (), next(iter(every)) if len(every) == 1 else None
    return tuple((facts, place) for facts, of in sorted(places.items(), key=str) for place in sorted(of)), None


def _loses_guards(spec: KernelSpec) -> bool:
    """Say whether arguments are to be reset or restored: Dynamo ignores that if pruning leaves several configs."""
    return bool(spec.reset_to_zero or spec.restore_value)


def _facts(spec: KernelSpec, problem: Problem) -> tuple[Fact, ...]:
    """Return the facts of a problem that traced code can compare: all but a function's name."""
    names = spec.parameters.names
    plain = [
        name for name in names if name in problem and not (isinstance(problem[name], str) and "@" in problem[name])
    ]
    dtypes = [(f"{name}.dtype", name) for name in names]
    return (
        *((name, "", problem[name]) for name in plain),
        *((name, "dtype", problem[fact]) for fact, name in dtypes if fact in problem),
    )
