"""The claims and the sweeps of a worker in a shared store: what becomes of them when the worker ends."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import Notebook
from tests.forked_workers import fork_workers
from tests.planted import KERNEL, NAME, problem_of, register_lightly
from tests.threads import eventually
from tunedb import settings
from tunedb.core.claim import Claim, ClaimKey
from tunedb.core.device import INTERPRETER
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.store import Store, open_store
from tunedb.worker import supervisor as module
from tunedb.worker.supervisor import Supervisor

LATE_KERNEL = """
import threading, time
from tests.planted import KERNEL
from tunedb.store import Store, shared
from tunedb.store.sql.claims import Claims
for store in shared._all:
    store.deadline = 0.05  # for which a sweep waits until it is published
for owner, name in ((Claims, "end"), (Store, "publish")):
    def late(*given, do=getattr(owner, name), **more):
        if threading.current_thread().name.startswith("tunedb-"):  # not for the local store
            time.sleep(1.0)
        return do(*given, **more)
    setattr(owner, name, late)
"""


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder by which workers know the planted kernel."""
    folder = tmp_path / "site"
    monkeypatch.setenv("PYTHONPATH", register_lightly(folder))
    fork_workers(monkeypatch)
    return folder


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Store]:
    """The shared store, which is there."""
    with open_store(str(tmp_path / "shared.db")) as opened:
        settings.configure(shared=str(tmp_path / "shared.db"))
        yield opened


def claim_of(store: Store, problem: Problem) -> Claim | None:
    """The claim of a problem of the planted kernel."""
    return store.claims.get(ClaimKey(problem, INTERPRETER, KERNEL.hash))


class Watching(Notebook):
    """Writes down the state of a claim whenever a sweep ends."""

    def __init__(self, store: Store, problem: Problem) -> None:
        super().__init__()
        self.store, self.problem, self.states = store, problem, []

    def finished(self, sweep: Sweep) -> None:
        """Note how it ended, and what others would see now."""
        claim = claim_of(self.store, self.problem)
        self.states.append((str(sweep.status), str(claim and claim.state)))


def supervise(store: Store, problem: Problem, notebook: Notebook, **options: float) -> str:
    """Tune a problem by a worker that ends in order; return the outcome."""
    with Supervisor(store, settings.current(), -1, 4.0) as supervisor:
        budget = options.get("budget", 60.0)
        return supervisor.tune(problem, force=False, budget=budget, observer=notebook)[0]


@pytest.mark.parametrize("outcome", ["sticky", "crash"])
def test_a_sweep_that_goes_on_in_a_new_worker_stays_claimed(store: Store, outcome: str) -> None:
    problem = problem_of(b1=0.001, b2=outcome, b4=0.001)
    watching = Watching(store, problem)
    assert supervise(store, problem, watching) == "sweep"
    assert watching.states == [("aborted", "held"), ("tuned", "released")]


@pytest.mark.parametrize("outcome", ["sticky", "crash"])
def test_a_sweep_that_is_given_up_has_failed_for_those_who_wait(
    store: Store, shared: Store, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    monkeypatch.setattr(module, "MAX_RESTARTS", 1)
    problem = problem_of(b1=outcome, b2=outcome, b4=0.001)
    assert supervise(store, problem, Notebook()) == "aborted"
    claim = claim_of(shared, problem)
    assert claim is not None
    assert claim.state == "failed"


@pytest.mark.parametrize("outcome", ["hang", "sticky"])
def test_a_sweep_whose_budget_is_spent_is_free_for_those_who_wait(store: Store, shared: Store, outcome: str) -> None:
    problem = problem_of(b1=outcome, b2="hang")
    assert supervise(store, problem, Notebook(), budget=1.0) == "aborted"
    claim = claim_of(shared, problem)
    assert claim is not None
    assert claim.state == "released"


def be_late(site: Path) -> None:
    """Have workers take a second for the end of a claim, and for a publication."""
    (site / "late.py").write_text(LATE_KERNEL)
    (site / "planted-1.0.dist-info" / "entry_points.txt").write_text(f"[tunedb.kernels]\n{NAME} = late:KERNEL\n")


def test_a_worker_that_ends_in_order_has_sent_its_sweep(store: Store, shared: Store, site: Path) -> None:
    be_late(site)
    assert supervise(store, problem_of(b1=0.001), Notebook()) == "sweep"
    assert list(shared.upkeep.uids()) == list(store.upkeep.uids())


def test_a_worker_that_ends_in_order_has_given_its_claim_back(store: Store, shared: Store, site: Path) -> None:
    be_late(site)
    problem = problem_of(b1="wrong")
    assert supervise(store, problem, Notebook()) == "failed"
    claim = claim_of(shared, problem)
    assert claim is not None
    assert claim.state == "failed"


def test_a_worker_that_lost_its_device_has_sent_the_sweep_before(store: Store, shared: Store, site: Path) -> None:
    be_late(site)
    first, second = problem_of(b1=0.001), problem_of(b1="sticky", b2="sticky")
    with Supervisor(store, settings.current(), -1, 4.0) as supervisor:
        for problem in (first, second):
            supervisor.tune(problem, force=False, budget=60.0, observer=Notebook())
            supervisor._settings = dataclasses.replace(supervisor._settings, shared=None)  # for the workers after it
    [sent] = shared.iter_sweeps()
    assert sent.problem == first


def test_a_worker_says_at_its_end_what_it_could_not_send(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    settings.configure(shared="postgresql+psycopg://nobody@127.0.0.1:9/none")
    assert supervise(store, problem_of(b1=0.001), Notebook()) == "sweep"
    assert eventually(lambda: "Finished sweeps that were not sent" in capfd.readouterr().err)


def test_an_interrupt_reaches_a_worker_that_is_ending(store: Store, shared: Store, site: Path) -> None:
    (site / "late.py").write_text(LATE_KERNEL.replace("1.0", "600.0"))
    (site / "planted-1.0.dist-info" / "entry_points.txt").write_text(f"[tunedb.kernels]\n{NAME} = late:KERNEL\n")
    with Supervisor(store, settings.current(), -1, 4.0) as supervisor:
        supervisor.tune(problem_of(b1=0.001), force=False, budget=60.0, observer=Notebook())
        ending = threading.Thread(target=supervisor._finish)
        ending.start()
        supervisor.interrupt(force=True)
        ending.join(60)
        assert not ending.is_alive()
        assert supervisor._child is None
