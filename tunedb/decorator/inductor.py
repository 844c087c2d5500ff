"""The stored choice for compiled code: Dynamo and `wrap_triton` never call the kernel, they read its list of configs.

They do honour `early_config_prune`: what it returns becomes a Triton kernel of its own, which Inductor compiles, and
times only where there are several. So where the user has no such function, we have one that knows the store.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from tunedb.core.problem import Problem
from tunedb.core.sweep import now
from tunedb.decorator.configs import Candidates
from tunedb.override import overridden
from tunedb.runtime import compat_triton
from tunedb.runtime.compat_torch import mark_constant
from tunedb.runtime.current_device import device_of
from tunedb.tuner import session

if TYPE_CHECKING:
    from tunedb.decorator.autotuner import Autotuner

Narrow = Callable[..., Any]
Fact = tuple[str, str, Any]  # an argument, an attribute of it or "", and the value
Table = tuple[tuple[tuple[Fact, ...], int], ...]  # the facts of a tuned problem, and its config's place in the list

Known = tuple[Table, int | None]  # the second is the place on which all agree, where facts can't be compared
NOTHING: Known = (), None

LIFETIME = 1.0  # seconds for which an answer is good while code is compiled, which reads it many times
MOST = 64  # problems that compiled code is told apart by: each is a comparison while it is traced

# From this version of torch on Dynamo can trace the pruning function of a kernel with heuristics below the decorator;
# 2.11 raises for any. Between the two it was not tried.
FOLLOWED = "2.13"

_PLAIN = (bool, int, float, str, type(None))

_log = logging.getLogger("tunedb")


class Narrowing:
    """What compiled code is told of the store, for one decorated kernel."""

    def __init__(self, kernel: Autotuner) -> None:
        self._kernel = kernel
        self._can_tell: bool | None = None  # whether the store has anything to tell; None before it was asked
        self._good_until = 0.0

    def function(self) -> Narrow | None:
        """`narrow`, or None as long as there is nothing to tell.

        Dynamo also reads it at each call of what it has compiled: then nothing is asked, but once after `look_again`.
        """
        if self._kernel.heuristics and torch.__version__ < FOLLOWED:
            return None
        is_old = torch.compiler.is_compiling() and self._good_until < time.monotonic()
        if self._can_tell is None or not self._good_until or is_old:
            known = known_of(self._kernel)
            if known is not None:
                self._can_tell = known != NOTHING
            self._good_until = time.monotonic() + LIFETIME
        return self._narrow if self._can_tell else None

    def look_again(self) -> None:
        """The store has answered, or something was stored."""
        self._good_until = 0.0

    @cached_property
    def _narrow(self) -> Narrow:
        return narrowing(self._kernel)


def narrowing(kernel: Autotuner) -> Narrow:
    """A function in the form of an `early_config_prune` that leaves the config which is stored for a call.

    Dynamo traces it: it may do no more than compare and index. What is stored is a constant to it, so that compiled
    code stays valid when more is tuned. An argument that is no tensor here may have been one, such as a descriptor's
    base, whose dtype can't be compared; a size that is dynamic is equal to none, for a comparison would fix it.
    """
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # here, because it loads much

    must_be_one = _loses_guards(kernel)
    defaults = {name: one for name, one in kernel.parameters.defaults.items() if type(one) in _PLAIN}

    def stored() -> Known:
        return known_of(kernel) or NOTHING

    mark_constant(stored)

    def fits(one: Any, attribute: str, value: Any) -> bool:
        if value is None or one is None:
            return value is None and one is None
        if attribute == "dtype":
            return not torch.is_tensor(one) or one.dtype == value
        return not torch.is_tensor(one) and statically_known_true(one == value)

    def narrow(configs: list[Any], named_args: dict[str, Any], **kwargs: Any) -> list[Any]:
        table, agreed = stored()
        given = {**defaults, **named_args, **kwargs}
        places = [] if agreed is None else [agreed]
        for facts, place in table:
            fitting = [name in given and fits(given[name], attribute, value) for name, attribute, value in facts]
            if all(fitting) and place not in places:
                places.append(place)
        if len(places) == 1:
            return [configs[places[0]]]
        return configs[:1] if must_be_one else configs

    return narrow


def known_of(kernel: Autotuner) -> Known | None:
    """What is stored for the kernel on the device that is current: the config's place in the list by the facts of a
    call. For a kernel of which a call's facts can't be compared with the stored ones, the place on which all tuned
    problems agree, if they do. None where that can't be told: compiled code goes on with the whole list.
    """
    try:
        return _known_of(kernel)
    # The store, or a device that is not there, may raise anything: that is not the compiling caller's concern.
    except Exception as error:
        _log.debug("%s: what is stored is not known (%s: %s).", kernel.name, type(error).__name__, error)
        return None


def _known_of(kernel: Autotuner) -> Known:
    from tunedb.store.ranking import winners

    tuner = session.active()
    listed = Candidates(kernel.configs).in_order  # today's, also where a list was changed in place
    places = {config: place for place, config in enumerate(listed)}
    if kernel.name in tuner.settings.override:
        forced = overridden(kernel.name, listed[0], tuner.settings.override[kernel.name])
        return (), places.get(forced)
    if tuner.settings.mode == "off":
        return NOTHING
    device = device_of(compat_triton.current_device())
    sweeps = tuner.store.get_kernel_sweeps(kernel.name, device, kernel.source_hash, MOST)
    found: dict[tuple[Fact, ...], set[int]] = {}
    for sweep, _ in winners(sweeps, None, now()):
        if sweep.config in places:
            found.setdefault(_facts(kernel, sweep.problem), set()).add(places[sweep.config])
    if kernel.buckets or _loses_guards(kernel):  # a bucket is no code of ours to trace
        every = set().union(*found.values())
        return (), next(iter(every)) if len(every) == 1 else None
    return tuple((facts, place) for facts, some in sorted(found.items(), key=str) for place in sorted(some)), None


def _loses_guards(kernel: Autotuner) -> bool:
    """Whether the kernel needs what Dynamo drops of a narrowed one, unless it has one config."""
    return bool(kernel.reset_to_zero or kernel.restore_value)


def _facts(kernel: Autotuner, problem: Problem) -> tuple[Fact, ...]:
    """Those of a problem that can be compared where code is traced: a function's name can't."""
    names = kernel.parameters.names
    plain = [
        name for name in names if name in problem and not (isinstance(problem[name], str) and "@" in problem[name])
    ]
    dtypes = [(f"{name}.dtype", name) for name in names]
    return (
        *((name, "", problem[name]) for name in plain),
        *((name, "dtype", problem[fact]) for fact, name in dtypes if fact in problem),
    )
