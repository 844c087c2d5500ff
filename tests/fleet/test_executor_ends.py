"""The end of an executor's process, in order or by a signal: claims are given back, and what waits is sent."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.fleet.test_warm_many import registered, request
from tests.planted import HANG_WHILE, KERNEL, NAME, problem_of
from tests.threads import eventually
from tests.worker.test_claims import be_late
from tunedb import settings
from tunedb.core.claim import ClaimKey
from tunedb.core.device import INTERPRETER
from tunedb.core.problem import Problem
from tunedb.fleet.job import run_job
from tunedb.fleet.versions import facts_of
from tunedb.store import Store, open_store

__all__ = ["registered"]

WAIT_S = 50.0  # ample, on a busy machine; a claim's lease is longer
SIGNALS = [signal.SIGTERM, signal.SIGKILL]


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The shared store, which is there."""
    url = str(tmp_path / "shared.db")
    monkeypatch.setenv("TUNEDB_SHARED", url)
    settings._change({})
    with open_store(url) as opened:
        yield opened


def forks() -> Executor:
    """A pool of one process, a fork of this one."""
    return ProcessPoolExecutor(1, get_context("fork"))


def loky() -> Executor:
    """A pool of loky with one process, which is started, not forked."""
    module = pytest.importorskip("loky", reason="needs loky")
    executor: Executor = module.ProcessPoolExecutor(1)
    return executor


def submit(executor: Executor, arguments: dict[str, Any]) -> Future[dict[str, Any]]:
    """Have a problem tuned, with what the worker says of itself as the client's versions."""
    return executor.submit(run_job, request(arguments) | {"facts": executor.submit(facts_of, [NAME]).result()})


def state_of(store: Store, problem: Problem) -> str | None:
    """The state of the problem's claim."""
    claim = store.claims.get(ClaimKey(problem, INTERPRETER, KERNEL.hash))
    return None if claim is None else str(claim.state)


def has_trial(store: Store) -> bool:
    """Whether a trial is stored."""
    return any(sweep.trials for sweep in store.iter_sweeps(finished=False, with_trials=True))


def hanging(tmp_path: Path) -> dict[str, Any]:
    """A problem, as arguments, one of whose configs hangs."""
    (hangs := tmp_path / "hangs").touch()
    return {"kernel": NAME, "b1": 0.001, "b2": f"{HANG_WHILE}{hangs}"}


def problem_in(arguments: dict[str, Any]) -> Problem:
    """The problem of these arguments."""
    return problem_of(**{name: value for name, value in arguments.items() if name != "kernel"})


@pytest.mark.parametrize("engine", [forks, loky])
def test_a_process_that_ends_in_order_has_sent_its_sweeps(
    store: Store, shared: Store, tmp_path: Path, engine: Callable[[], Executor]
) -> None:
    be_late(tmp_path / "site")
    with engine() as executor:
        assert submit(executor, {"kernel": NAME, "b1": 0.001}).result()["outcome"] == "sweep"
        assert list(shared.upkeep.uids()) == []
    assert list(shared.upkeep.uids()) == list(store.upkeep.uids())
    assert state_of(shared, problem_of(b1=0.001)) == "released"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_process_that_a_signal_ends_has_its_sweeps_sent(
    store: Store, shared: Store, tmp_path: Path, number: int
) -> None:
    be_late(tmp_path / "site")
    with forks() as executor:
        assert submit(executor, {"kernel": NAME, "b1": 0.001}).result()["outcome"] == "sweep"
        os.kill(executor.submit(os.getpid).result(), number)
    assert eventually(lambda: list(shared.upkeep.uids()) == list(store.upkeep.uids()), WAIT_S)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("engine", [forks, loky])
def test_a_process_that_a_signal_ends_in_a_sweep_has_its_claim_given_back(
    store: Store, shared: Store, tmp_path: Path, number: int, engine: Callable[[], Executor]
) -> None:
    arguments = hanging(tmp_path)
    with engine() as executor:
        pid = executor.submit(os.getpid).result()
        job = submit(executor, arguments)
        assert eventually(lambda: has_trial(store), WAIT_S)
        assert state_of(shared, problem_in(arguments)) == "held"
        os.kill(pid, number)
        assert job.exception(WAIT_S) is not None
        assert eventually(lambda: state_of(shared, problem_in(arguments)) == "released", WAIT_S)
    assert eventually(lambda: [str(one.status) for one in store.iter_sweeps(finished=False)] == ["aborted"], WAIT_S)


ENDS_IN_A_JOB = """
import sys, threading, time
from tests.fleet.test_executor_ends import has_trial
from tests.fleet.test_warm_many import request
from tunedb.fleet.job import run_job
from tunedb import settings
from tunedb.store import open_store
arguments = {"kernel": "planted", "b1": 0.001, "b2": sys.argv[1]}
threading.Thread(target=run_job, args=(request(arguments),), daemon=True).start()
with open_store(settings.current().store) as store:
    while not has_trial(store):
        time.sleep(0.05)
"""


def test_a_process_that_ends_while_a_thread_of_it_runs_a_job_has_aborted_the_sweep(
    store: Store, shared: Store, tmp_path: Path
) -> None:
    arguments = hanging(tmp_path)
    environment = os.environ | {"TUNEDB_SHARED": str(tmp_path / "shared.db")}
    done = forked.run(["-c", ENDS_IN_A_JOB, arguments["b2"]], env=environment, libraries=forked.LIBRARIES)
    assert done.returncode == 0, done.stderr
    assert state_of(shared, problem_in(arguments)) == "released"
    assert [sweep.status for sweep in store.iter_sweeps(finished=False)] == ["aborted"]
