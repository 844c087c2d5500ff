"""The stored choice for compiled code: Dynamo and `wrap_triton` never call the kernel, they read its list of configs.

They do honour `early_config_prune`: what it returns becomes a Triton kernel of its own, which Inductor compiles, and
times only where there are several. So where the user has no such function, we have one that knows the store.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tunedb import bound, process
from tunedb.device import device_of
from tunedb.problem import Problem
from tunedb.records import now
from tunedb.settings import overridden

if TYPE_CHECKING:
    from tunedb.decorated.autotuner import Autotuner

Narrow = Callable[..., Any]
Fact = tuple[str, str, Any]  # an argument, an attribute of it or "", and the value
Table = tuple[tuple[tuple[Fact, ...], int], ...]  # the facts of a tuned problem, and its config's place in the list

MOST = 64  # problems that compiled code is told apart by: each is a comparison while it is traced

_log = logging.getLogger("tunedb")


def narrowing(kernel: Autotuner) -> Narrow:
    """A function in the form of an `early_config_prune` that leaves the config which is stored for a call.

    Dynamo traces it: it may do no more than compare and index. What is stored is a constant to it, so that compiled
    code stays valid when more is tuned.
    """

    def stored() -> tuple[Table, int | None]:
        return table_of(kernel)

    stored._dynamo_marked_constant = True  # type: ignore[attr-defined]  # as torch.compiler.assume_constant_result does

    def narrow(configs: list[Any], named_args: dict[str, Any], **kwargs: Any) -> list[Any]:
        table, agreed = stored()
        if agreed is not None:
            return [configs[agreed]]
        given = {**named_args, **kwargs}
        for facts, place in table:
            fits = True
            for name, attribute, value in facts:
                if name not in given:
                    fits = False
                elif attribute == "dtype":
                    fits = fits and given[name].dtype == value
                elif given[name] != value:
                    fits = False
            if fits:
                return [configs[place]]
        return configs

    return narrow


def table_of(kernel: Autotuner) -> tuple[Table, int | None]:
    """What is stored for the kernel on the device that is current: the config's place in the list by the facts of a
    call. For a kernel of which a call's facts can't be compared with the stored ones, the place on which all tuned
    problems agree, if they do. Empty where anything fails: compiled code goes on with the whole list.
    """
    try:
        return _table_of(kernel)
    except Exception as error:  # the store, or a device that is not there: not the compiling caller's concern
        _log.debug("%s: compiled code gets all configs (%s: %s).", kernel.name, type(error).__name__, error)
        return (), None


def _table_of(kernel: Autotuner) -> tuple[Table, int | None]:
    from tunedb.store.ranking import winners

    tuner = process.active()
    places = {config: place for place, config in enumerate(kernel.candidates.in_order)}
    if kernel.name in tuner.settings.override:
        forced = overridden(kernel.name, kernel.candidates.in_order[0], tuner.settings.override[kernel.name])
        return (), places.get(forced)
    if tuner.settings.mode == "off":
        return (), None
    device = device_of(bound.current_device()())
    sweeps = tuner.store.get_kernel_sweeps(kernel.name, device, kernel.source_hash, MOST)
    found: dict[tuple[Fact, ...], set[int]] = {}
    for sweep, _ in winners(sweeps, None, now()):
        if sweep.config in places:
            found.setdefault(_facts(kernel, sweep.problem), set()).add(places[sweep.config])
    if is_incomparable(kernel):
        every = set().union(*found.values())
        return (), next(iter(every)) if len(every) == 1 else None
    return tuple((facts, min(some)) for facts, some in sorted(found.items(), key=str) if len(some) == 1), None


def is_incomparable(kernel: Autotuner) -> bool:
    """Whether stored problems can't be told apart where the kernel is compiled: a bucket is no code of ours to trace,
    and a narrowed kernel loses `reset_to_zero` and `restore_value`, which it needs unless it has one config.
    """
    return bool(kernel.buckets or kernel.reset_to_zero or kernel.restore_value)


def _facts(kernel: Autotuner, problem: Problem) -> tuple[Fact, ...]:
    values = [(name, "", problem[name]) for name in kernel.keys if name in problem]
    dtypes = [(f"{name}.dtype", name) for name in kernel.parameters.names]
    return (*values, *((name, "dtype", problem[fact]) for fact, name in dtypes if fact in problem))
