"""`tunedb.warm_many`: tunes many problems, on this host's GPUs or on the workers of an executor."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunedb import registry, settings
from tunedb.core.device import INTERPRETER, Placement
from tunedb.core.problem import Problem
from tunedb.core.sweep import Trial
from tunedb.core.task import TuningTask
from tunedb.errors import SettingError
from tunedb.fleet.executors import Job, SubmitsJobs, run_on_executor
from tunedb.fleet.host import tune_on_host
from tunedb.fleet.order import expected_seconds, longest_first
from tunedb.fleet.result import WarmResult
from tunedb.fleet.slots import Slot, gpu_slots, interpreters, on_slots
from tunedb.fleet.task_run import HostRun, Outcome
from tunedb.fleet.versions import facts_of
from tunedb.runtime.current_device import current_index, device_of
from tunedb.tuner import session
from tunedb.worker.supervisor import MAX_STEP_S

if TYPE_CHECKING:
    from tunedb.store import Store

IN_MEMORY = ("sqlite://", "sqlite:///:memory:", ":memory:")
OnResult = Callable[[WarmResult], object]


def warm_many(
    problems: Iterable[Mapping[str, Any] | Problem],
    executor: SubmitsJobs | None = None,
    *,
    on_result: OnResult | None = None,
    force: bool = False,
    trial_timeout: float = MAX_STEP_S,
) -> list[WarmResult]:
    """Tune many problems, each once, and store what was found. Return a result for each, in their order.

    A problem is what a line of a file for `tunedb warm --from` holds: `{"kernel": "avg_pool1d", "shape": (64, 128,
    65536), "kernel_size": 8}`, for a registered kernel; or a `tunedb.Problem`. It is tuned unless its config is stored
    already; with `force` in any case.

    `executor` is one of `concurrent.futures`, of Dask (`client.get_executor()`), `mpi4py.futures`, loky or submitit,
    whose workers have a GPU each, and tunedb and the kernels as they are here. Sweeps run in child processes of the
    workers. Results come back through the executor and are stored here: workers and client need no database in common.
    Without an executor, every GPU of this host is used. `on_result` is called with each result as it arrives, on the
    calling thread. `trial_timeout` is in seconds, for compiling a config and for running it.

    A problem that fails or is lost has no config, and its result says why; the others go on. Raises SettingError for
    what is not a problem, and if this process may not write; StoreError if the store fails.
    """
    jobs = [_job(problem) for problem in problems]
    current = settings.current()
    if not current.writes:
        raise SettingError(
            f"Mode {current.mode} writes nothing; expected tune or record. See: tunedb.using(mode='tune')"
        )
    unique = list({problem: (problem, arguments) for problem, arguments in jobs}.values())
    results: dict[Problem, list[WarmResult]] = {}  # several if this host has several models of GPU

    def take(result: WarmResult) -> None:
        results.setdefault(result.problem, []).append(result)
        if on_result is not None:
            on_result(result)

    from tunedb.store import open_store

    with open_store(current.store) as store:
        try:
            if executor is None:
                _warm_here(unique, store, take, force=force, step=trial_timeout)
            else:
                with contextlib.closing(warm_on(executor, unique, store, force=force, step=trial_timeout)) as arriving:
                    for result in arriving:
                        take(result)
        finally:
            if results:
                session.forget()  # this process's calls, too, get the new configs
    return [result for problem, _ in jobs for result in results.get(problem, ())]


def warm_on(
    executor: SubmitsJobs, jobs: Sequence[Job], store: Store, *, force: bool, step: float, at_a_time: int | None = None
) -> Generator[WarmResult, None, None]:
    """Yield the results of jobs on an executor, which gets the longest first. See `run_on_executor`."""
    tasks = tasks_of(jobs)
    ordered = longest_first(tasks, expected_seconds(tasks, store))
    facts = facts_of(dict.fromkeys(task.kernel.name for task in tasks))
    return run_on_executor(
        [(task.problem, task.arguments) for task in ordered], executor, store, facts, force=force, step=step,
        at_a_time=at_a_time,
    )  # fmt: skip


def tasks_of(jobs: Sequence[Job]) -> list[TuningTask]:
    """Return jobs as tasks on the current device, or on none if there is none."""
    index = current_index()
    placement = Placement(INTERPRETER, None) if index is None else Placement(device_of(index), index)
    return [
        TuningTask(registry.kernel_named(problem.kernel), problem, placement, arguments) for problem, arguments in jobs
    ]


def _job(problem: Mapping[str, Any] | Problem) -> Job:
    """Return a problem with the arguments that it was made of. Raises SettingError, and TypeError for other things."""
    if isinstance(problem, Problem):
        registry.kernel_named(problem.kernel)  # raises if there is no such kernel
        return problem, None
    if not isinstance(problem, Mapping):
        raise TypeError(f"problems: expected mappings like {{'kernel': 'avg_pool1d', ...}}, got {problem!r:.100}.")
    arguments = dict(problem)
    name = arguments.pop("kernel", None)
    if name is None:
        name = registry.kernel_with(arguments)
    if not isinstance(name, str):
        raise TypeError(f"kernel: expected the name of a registered kernel, which workers find too, got {name!r:.100}.")
    return registry.kernel_named(name).problem(arguments), arguments


def _warm_here(
    jobs: Sequence[Job], store: Store, take: Callable[[WarmResult], None], *, force: bool, step: float
) -> None:
    current = settings.current()
    if current.store in IN_MEMORY:
        raise SettingError(f"Expected a store that other processes can open, a path or a URL; got {current.store}.")
    index = current_index()
    if index is None:
        raise SettingError("No GPU was found. Set TRITON_INTERPRET=1 to run on the CPU, or pass an executor.")
    slots = interpreters(1) if index < 0 else gpu_slots()
    tasks = on_slots(tasks_of(jobs), slots)
    run = HostRun(
        store, current, force=force, builds_on=() if force else None, step=step, seconds=expected_seconds(tasks, store)
    )
    tune_on_host(tasks, slots, run, _Taker(take))


class _Taker:
    """An observer of a run on this host that hands on its results."""

    def __init__(self, take: Callable[[WarmResult], None]) -> None:
        self._take = take
        self._why: dict[str, str] = {}  # by slot: the first config failed

    def begins(self, slot: Slot, task: TuningTask) -> None:  # noqa: ARG002 (protocol)
        """Forget the problem before."""
        self._why.pop(slot.name, None)

    def started(self, slot: Slot, candidates: int) -> None:
        """Hand on nothing."""

    def tried(self, slot: Slot, trial: Trial, best_us: float | None, default_us: float | None) -> None:  # noqa: ARG002
        """Keep why the first config failed."""
        if note := trial.note({}):
            self._why.setdefault(slot.name, f"{trial.status}: {note}")

    def passed_over(self, slot: Slot, task: TuningTask) -> None:
        """Hand on nothing."""

    def done(self, slot: Slot, outcome: Outcome) -> None:
        """Hand on the result."""
        sweep = outcome.sweep
        error = None if sweep is not None and sweep.config else outcome.why or self._why.get(slot.name)
        self._take(WarmResult(outcome.task.problem, outcome.word, sweep, slot.name, error))
