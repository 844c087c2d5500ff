"""Tasks of `lookup` and `explain`: what is asked for and what the store answers. Loads torch only to ask for a GPU."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunedb import registry, settings
from tunedb.cli.command import log
from tunedb.cli.device import find_placement
from tunedb.cli.names import kernel_called
from tunedb.core.kernel import RegisteredKernel
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep, now
from tunedb.core.task import Choice, TuningTask
from tunedb.runtime.current_device import environment_of
from tunedb.store.bundles import bundle_layer
from tunedb.store.empty import EmptyStore
from tunedb.store.interface import SweepLists, SweepStore
from tunedb.store.layered import LayeredStore
from tunedb.tuner.choice_cache import ChoiceCache
from tunedb.tuner.explanation import Explanation, explain_problem
from tunedb.tuner.lookup import Lookup, wrong_configs
from tunedb.tuner.stored_kernel import stored_kernel
from tunedb.tuner.stored_names import no_device

if TYPE_CHECKING:
    from tunedb.store import Store
    from tunedb.store.reading import ReadStore


def find_task(
    stored: SweepLists, kernel: str, arguments: Mapping[str, Any], device: str | None
) -> tuple[Problem, TuningTask | None]:
    """Return the problem of these arguments, and its task on a stored device; None if no stored device has that name.

    The device defaults to the current one. A kernel that is not installed is described by its stored sweeps. Raises
    SettingError if several devices fit, for an unknown kernel, and for arguments that do not make a problem.
    """
    tunable = _kernel(stored, kernel)
    problem = tunable.problem(arguments)
    swept = [] if device is None else stored.upkeep.devices(tunable.name)
    placement = find_placement(swept, device)
    if placement is None and device is not None and swept:
        log.info("%s", no_device(device, swept))
    return problem, None if placement is None else TuningTask(tunable, problem, placement, arguments)


def _kernel(stored: SweepLists, typed: str) -> RegisteredKernel:
    name = kernel_called(stored, typed)
    if name in registry.kernel_names():
        return registry.kernel_named(name)
    known = stored_kernel(stored, name)
    return registry.kernel_named(name) if known is None else known


def look_up(store: Store | ReadStore | None, task: TuningTask) -> Choice | None:
    """Return what the store and the bundles answer, as a tuner on them would; None if nothing is stored that can."""
    layers: SweepStore | None = store
    bundles = bundle_layer(settings.current().bundles)
    if bundles.opened():
        layers = LayeredStore(EmptyStore() if store is None else store, bundles=bundles)
    if layers is None:
        return None
    cache = ChoiceCache(lambda: 0, time.monotonic, lambda: None)
    return Lookup(layers, cache, environment_of, time.monotonic).get(task).choice


def explained(store: Store | ReadStore | None, stored: SweepLists, task: TuningTask) -> list[Explanation]:
    """Explain each stored sweep of the task's problem, on any device and of any kernel hash; the chosen one first."""
    environment, moment = environment_of(task), now()
    sweeps = stored.get_problem_sweeps(task.problem)
    wrong = () if store is None else wrong_configs(store, task, environment, sweeps)
    return explain_problem(sweeps, task, environment, moment, wrong)


def passed_over(explanations: Sequence[Explanation], task: TuningTask) -> list[Sweep]:
    """Return the sweeps of the task's device that can't answer it."""
    return [
        entry.sweep for entry in explanations if entry.verdict == "passed over" and entry.sweep.device == task.device
    ]
