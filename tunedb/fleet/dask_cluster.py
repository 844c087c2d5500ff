"""A Dask cluster as the executor of many sweeps: connected, its workers checked before any work, one job a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunedb._internal.control import let_pass
from tunedb._internal.counted import counted
from tunedb.errors import SettingError
from tunedb.fleet.executors import SubmitsJobs
from tunedb.fleet.versions import difference, facts_of

CONNECT_S = 10.0  # for the scheduler's answer, and for a first worker; by judgement
CHECK_S = 120.0  # for what workers say about themselves: at first they import torch
MAX_SHOWN = 5  # of the workers that differ

RESOURCE = "GPU"  # as in `dask worker --resources GPU=1`


@dataclass(frozen=True, slots=True)
class DaskCluster:
    """A connected cluster whose workers have the client's versions and kernels."""

    executor: SubmitsJobs
    workers: int
    at_a_time: int  # jobs that it can run at once: one for each GPU


@contextlib.contextmanager
def dask_cluster(address: str, kernels: Sequence[str]) -> Iterator[DaskCluster]:
    """Connect to the scheduler at an address, and yield the cluster once all its workers are checked.

    If workers declare a resource GPU (`dask worker --resources GPU=1`), jobs run on these, one for each GPU of theirs.
    Otherwise every worker gets one job at a time: it should see one GPU (CUDA_VISIBLE_DEVICES).

    Raises SettingError if Dask is not installed, if nothing answers at the address, if there is no worker, and if
    the versions or the kernels of a worker differ from those here; it names the worker and both values.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise SettingError("--dask needs the package distributed. Run: pip install 'tunedb[dask]'") from error
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:  # OSError: also of a time-out; ImportError: no such protocol
        let_pass(error)
        raise SettingError(f"No Dask scheduler answers at {address}: {error}. Expected HOST:PORT.") from error
    with client:
        workers = _workers(client, address)
        _check(client, list(workers), kernels)
        gpus = {name: int(facts.get("resources", {}).get(RESOURCE, 0)) for name, facts in workers.items()}
        declared = sum(gpus.values())
        resources = {"resources": {RESOURCE: 1}} if declared else {}
        executor = client.get_executor(pure=False, **resources)
        yield DaskCluster(executor, len(workers), declared or len(workers))


def _workers(client: Any, address: str) -> Mapping[str, Mapping[str, Any]]:
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
    except TimeoutError as error:
        let_pass(error)
        raise SettingError(
            f"The Dask scheduler at {address} has no worker. Start one for each GPU: "
            f"CUDA_VISIBLE_DEVICES=0 dask worker {address} --nthreads 1 --resources GPU=1"
        ) from error
    workers: Mapping[str, Mapping[str, Any]] = client.scheduler_info(n_workers=-1)["workers"]
    return workers


def _check(client: Any, workers: Sequence[str], kernels: Sequence[str]) -> None:
    """Raise SettingError if a worker differs from this process, or can't say whether it does."""
    ours = facts_of(kernels)
    futures = {
        worker: client.submit(facts_of, list(kernels), workers=[worker], allow_other_workers=False, pure=False)
        for worker in workers
    }
    faults = []
    for worker, future in futures.items():
        try:
            fault = difference(worker, future.result(timeout=CHECK_S), ours)
        # What its Python raised when it imported tunedb, or Dask's own errors, of a worker that has gone.
        except Exception as error:
            let_pass(error)
            fault = f"Worker {worker} can't run tunedb: {type(error).__name__}: {error}."
        if fault is not None:
            faults.append(fault)
    if faults:
        more = f" (and {counted(len(faults) - MAX_SHOWN, 'more worker')})" if len(faults) > MAX_SHOWN else ""
        raise SettingError(f"Nothing was tuned. {' '.join(faults[:MAX_SHOWN])}{more}")
