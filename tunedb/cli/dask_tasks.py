"""Tuning tasks of `warm --dask`: sent to a cluster, stored here, and printed as rows."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tunedb.core.task import TuningTask

if TYPE_CHECKING:
    from tunedb.store import Store


def tune_on_dask(
    address: str, tasks: Sequence[TuningTask], store: Store, *, force: bool, step: float
) -> list[dict[str, Any]]:
    """Tune the tasks on the workers of a Dask cluster, the longest first. Returns a row for each.

    Raises SettingError, before anything is tuned, if a worker's versions or kernels are not those here.
    """
    from tunedb.cli.host_progress import HostProgress
    from tunedb.fleet.dask_cluster import dask_cluster
    from tunedb.fleet.order import expected_seconds
    from tunedb.fleet.warming import warm_on

    seconds = expected_seconds(tasks, store)
    by_problem = {task.problem: task for task in tasks}
    rows: dict[Any, dict[str, Any]] = {}
    with dask_cluster(address, sorted({task.kernel.name for task in tasks})) as cluster:
        jobs = [(task.problem, task.arguments) for task in tasks]
        arriving = warm_on(cluster.executor, jobs, store, force=force, step=step, at_a_time=cluster.at_a_time)
        progress = HostProgress([], seconds, title=f"{cluster.workers} Dask workers", at_a_time=cluster.at_a_time)
        with contextlib.closing(arriving) as results, progress as shown:
            for result in results:
                task, sweep = by_problem[result.problem], result.sweep
                took = (sweep.finished - sweep.started).total_seconds() if sweep and sweep.finished else 0.0
                shown.end(result.worker, task, result.outcome, sweep, took, result.error or "")
                rows[task.problem] = {
                    "uid": sweep and sweep.uid,
                    "kernel": task.kernel.name,
                    "problem": task.problem.plain(),
                    "device": sweep and sweep.device.name,
                    "config": None if result.config is None else result.config.plain(),
                    "time_us": sweep and sweep.time_us,
                    "default_time_us": sweep and sweep.default_time_us,
                    "speedup": sweep and sweep.speedup,
                    "source": result.outcome,
                    "worker": result.worker,
                    "error": result.error,
                }
    return [rows[task.problem] for task in tasks if task.problem in rows]
