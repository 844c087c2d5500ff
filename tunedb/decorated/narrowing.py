"""The stored choice for compiled code: Dynamo and `wrap_triton` never call the kernel, they read its list of configs.

They do honour `early_config_prune`: what it returns becomes a Triton kernel of its own, which Inductor compiles, and
times only where there are several. So where the user has no such function, we have one that knows the store.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tunedb import process
from tunedb.device import device_of
from tunedb.problem import Problem
from tunedb.records import now
from tunedb.settings import overridden

if TYPE_CHECKING:
    from tunedb.decorated.autotuner import Autotuner

Narrow = Callable[..., Any]
Table = tuple[tuple[tuple[tuple[str, Any], ...], int], ...]  # of name and value of each key, and the config's place

MOST = 64  # problems that compiled code is told apart by: each is a comparison while it is traced

_log = logging.getLogger("tunedb")


def table_of(kernel: Autotuner, index: int) -> tuple[Table, int | None]:
    """What is stored for the kernel on the device of that index: the config's place in the list by the values of `key`,
    and the place on which all stored problems agree, if they do. Empty where anything fails: compiled code goes on
    with the whole list.
    """
    try:
        return _table_of(kernel, index)
    except Exception as error:  # the store, or a device that is not there: not the compiling caller's concern
        _log.debug("%s: compiled code gets all configs (%s: %s).", kernel.name, type(error).__name__, error)
        return (), None


def _table_of(kernel: Autotuner, index: int) -> tuple[Table, int | None]:
    from tunedb.store.ranking import winners

    tuner = process.active()
    places = {config: place for place, config in enumerate(kernel.candidates.in_order)}
    if kernel.name in tuner.settings.override:
        forced = overridden(kernel.name, kernel.candidates.in_order[0], tuner.settings.override[kernel.name])
        return (), places.get(forced)
    if tuner.settings.mode == "off":
        return (), None
    sweeps = tuner.store.get_kernel_sweeps(kernel.name, device_of(index), kernel.source_hash, MOST)
    found: dict[tuple[tuple[str, Any], ...], set[int]] = {}
    for sweep, _ in winners(sweeps, None, now()):
        if sweep.config in places:
            found.setdefault(_values(kernel.keys, sweep.problem), set()).add(places[sweep.config])
    every = set().union(*found.values())
    agreed = next(iter(every)) if len(every) == 1 else None
    # A pruned kernel of Dynamo's loses `reset_to_zero` and `restore_value`: with one config none is needed.
    if agreed is not None or kernel.buckets or kernel.reset_to_zero or kernel.restore_value:
        return (), agreed
    return tuple((values, min(some)) for values, some in sorted(found.items(), key=str) if len(some) == 1), None


def _values(keys: Sequence[str], problem: Problem) -> tuple[tuple[str, Any], ...]:
    return tuple((name, problem[name]) for name in keys if name in problem)


def narrowing(table: Table, agreed: int | None) -> Narrow | None:
    """The function for that table, in the form of an `early_config_prune`; None where nothing is known.

    Dynamo traces it: it may do no more than compare and index.
    """
    if not table and agreed is None:
        return None

    def narrow(configs: list[Any], named_args: dict[str, Any], **kwargs: Any) -> list[Any]:
        if agreed is not None:
            return [configs[agreed]]
        given = {**named_args, **kwargs}
        for wanted, place in table:
            fits = True
            for name, value in wanted:
                if name not in given or given[name] != value:
                    fits = False
            if fits:
                return [configs[place]]
        return configs

    return narrow
