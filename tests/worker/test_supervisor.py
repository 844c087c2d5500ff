"""Sweeps in a process of their own: what hangs, crashes or loses the device costs a trial, and no more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import Notebook
from tests.forked_workers import fork_workers, start_workers_anew
from tests.planted import HANG_WHILE, KERNEL, NAME, problem_of, register_lightly
from tests.store.bundled import write
from tests.store.samples import sweep, trial
from tests.threads import eventually
from tunedb import settings
from tunedb.core.device import INTERPRETER
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep
from tunedb.core.verification import Verification
from tunedb.store import Store
from tunedb.sweep.observer import Observer
from tunedb.worker.death import Death
from tunedb.worker.messages import Request, Tuned, Verified, Verify
from tunedb.worker.supervisor import Supervisor

STEP = 4.0  # seconds; ample for a fake trial, also on a busy machine


@pytest.fixture
def supervisor(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """A supervisor whose processes know the planted kernel."""
    monkeypatch.setenv("PYTHONPATH", register_lightly(tmp_path / "site"))
    fork_workers(monkeypatch)
    with Supervisor(store, settings.current(), -1, STEP) as found:
        yield found


def tune(supervisor: Supervisor, problem: Problem, notebook: Notebook | None = None, **told: float) -> Sweep | None:
    """The sweep that the supervisor comes back with."""
    budget = told.get("budget", float("inf"))
    source, sweep = supervisor.tune(problem, force=False, budget=budget, observer=notebook or Notebook())
    assert sweep is None or source == {"tuned": "sweep"}.get(sweep.status, sweep.status)
    return sweep


def test_what_takes_its_process_along_is_a_trial_and_the_best_of_the_others_wins(
    supervisor: Supervisor, store: Store
) -> None:
    notebook = Notebook()
    problem = problem_of(b1=0.03, b2="crash", b4="hang", b8="sticky", b16="wrong", b32=0.001)
    sweep = tune(supervisor, problem, notebook)
    assert sweep is not None
    assert (sweep.status, sweep.complete, sweep.config) == ("tuned", True, Config.of(BLOCK=32))
    found = {trial.config["BLOCK"]: trial for trial in sweep.trials}
    assert {block: trial.status for block, trial in found.items()} == {
        1: "ok", 2: "runtime_error", 4: "timeout", 8: "runtime_error", 16: "wrong", 32: "ok",
    }  # fmt: skip
    assert "signal 11" in (found[2].error or "")
    assert f"nothing happened for {STEP:g} s" in (found[4].error or "")
    assert "illegal memory access" in (found[8].error or "")
    others = [one for one in store.iter_sweeps(finished=False) if one.uid != sweep.uid]
    assert [(one.status, one.complete, one.config) for one in others] == [("aborted", False, None)] * 3
    assert {trial.config["BLOCK"] for trial in notebook.told} == set(found)


def test_what_a_bundle_has_is_answered_and_verified(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", register_lightly(tmp_path / "site"))
    problem, won = problem_of(b1=0.03, b32=0.001), Config.of(BLOCK=32)
    shipped = sweep(
        problem=problem, device=INTERPRETER, kernel_hash=KERNEL.hash, config=won, trials=(trial(config=won),)
    )
    settings.configure(bundles=str(write(tmp_path / "shipped.db", [shipped])))
    with Supervisor(store, settings.current(), -1, STEP) as supervisor:
        source, found = supervisor.tune(problem, force=False, budget=60.0, observer=Notebook())
        assert (source, found and found.uid, found and found.layer) == ("stored", shipped.uid, "bundle")
        assert supervisor.verify(shipped, Notebook()).verdict == "holds"
    assert list(store.iter_sweeps()) == []


def test_the_next_command_knows_the_suspect(supervisor: Supervisor, store: Store) -> None:
    problem = problem_of(b1=0.001, b2="crash")
    first = tune(supervisor, problem)
    assert first is not None
    assert first.status == "tuned"
    notebook = Notebook()
    source, again = supervisor.tune(problem, force=True, budget=float("inf"), observer=notebook)
    assert source == "sweep"
    assert again is not None
    known = next(trial for trial in again.trials if trial.config["BLOCK"] == 2)
    assert known.outcome == "known_from"
    assert len(list(store.iter_sweeps())) == 3  # one was aborted: nothing crashed a second time
    source, forced = supervisor.tune(problem, force=True, builds_on=(), budget=float("inf"), observer=Notebook())
    assert forced is not None
    assert (source, forced.complete) == ("sweep", True)
    crashed = {one.uid for one in store.iter_sweeps() if one.status == "aborted"}
    known = next(trial for trial in forced.trials if trial.config["BLOCK"] == 2)
    assert len(crashed) == 2  # it was tried once more, and not a second time after that
    assert known.reference in crashed


class Interrupting(Notebook):
    """Ctrl-C in the middle of a sweep."""

    def trying(self, config: Config) -> None:
        """Come at the second config."""
        if config["BLOCK"] == 2:
            raise KeyboardInterrupt


def test_an_interrupt_ends_the_sweep_as_aborted(supervisor: Supervisor, store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), supervisor:
        tune(supervisor, problem_of(b1=0.001, b2="hang"), Interrupting())  # the second can not be over before the kill
    [sweep] = store.iter_sweeps(finished=False)
    assert (sweep.status, sweep.complete) == ("aborted", False)


def test_no_process_is_started_for_a_budget_that_the_one_before_has_spent(supervisor: Supervisor, store: Store) -> None:
    notebook = Notebook()
    sweep = tune(supervisor, problem_of(b1=0.001, b2="hang"), notebook, budget=1.5)
    assert sweep is not None
    assert (sweep.status, [trial.status for trial in notebook.told]) == ("aborted", ["ok", "timeout"])
    assert len(list(store.iter_sweeps(finished=False))) == 1


def test_a_config_that_outlasts_the_budget_is_not_blamed_for_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", register_lightly(tmp_path / "site"))
    monkeypatch.setattr("tunedb.worker.supervisor.MAX_OVERTIME_S", 1.0)
    with Supervisor(store, settings.current(), -1, 60.0) as patient:
        started = time.monotonic()
        sweep = tune(patient, problem_of(b1=0.001, b2="hang"), budget=1.5)
    assert time.monotonic() - started < 40
    assert sweep is not None
    assert (sweep.status, [trial.config["BLOCK"] for trial in sweep.trials]) == ("aborted", [1])


def test_a_process_that_can_not_make_the_problem_is_one_problems_end(supervisor: Supervisor, store: Store) -> None:
    assert tune(supervisor, Problem.of(NAME)) is None  # it has no configs: an error in the process
    done = tune(supervisor, problem_of(b1=0.001))
    assert done is not None
    assert done.status == "tuned"


def test_a_worker_that_can_not_measure_a_copy_rate_says_why_and_goes_on(supervisor: Supervisor, store: Store) -> None:
    assert not supervisor.is_running
    tune(supervisor, problem_of(b1=0.001))
    assert supervisor.is_running
    child = supervisor._child
    assert supervisor.measure_copy_rate()  # no GPU is here
    assert store.copy_rates.get() == {}
    tune(supervisor, problem_of(b2=0.001))
    assert supervisor._child is child


def test_a_stored_winner_that_takes_its_process_along_fails_its_verification(
    supervisor: Supervisor, store: Store
) -> None:
    from tests.store.samples import sweep
    from tunedb.core.device import INTERPRETER

    problem = problem_of(b1=0.001, b2="crash")
    stored = sweep(problem=problem, device=INTERPRETER, kernel_hash="cd" * 32, config=Config.of(BLOCK=2))
    store.put_sweep(stored)
    finding = supervisor.verify(stored, Notebook())
    assert (finding.verdict, "signal 11" in finding.reason) == ("fails", True)
    good = sweep(problem=problem, device=INTERPRETER, kernel_hash="cd" * 32, config=Config.of(BLOCK=1))
    store.put_sweep(good)
    assert supervisor.verify(good, Notebook()).verdict == "holds"
    problem = problem_of(b1="crash", b2=0.001)  # the default, beside which it would be timed
    other = sweep(problem=problem, device=INTERPRETER, kernel_hash="cd" * 32, config=Config.of(BLOCK=2))
    store.put_sweep(other)
    assert supervisor.verify(other, Notebook()).verdict == "untried"


def test_a_rival_that_takes_the_process_along_does_not_condemn_the_winner(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, asked = sweep(config=Config.of(BLOCK=1)), []

    def answer(_: Supervisor, task: Verify, observer: object) -> Death | Verified:
        asked.append(task.rivals)
        if task.rivals:  # all are compiled at once, and the winner was announced first
            return Death("runtime_error", "signal 11", stored.config, None)
        return Verified(Verification("holds"))

    monkeypatch.setattr(Supervisor, "_ask", answer)
    assert supervisor.verify(stored, Notebook(), rivals=3).verdict == "holds"
    assert asked == [3, 0]


class Killer(Notebook):
    """Ends the process from outside, as soon as it is at BLOCK=2: the first one, or all of them."""

    def __init__(self, supervisor: Supervisor, most: int, number: int = signal.SIGKILL) -> None:
        super().__init__()
        self.supervisor, self.left, self.number = supervisor, most, number

    def trying(self, config: Config) -> None:
        super().trying(config)
        if config["BLOCK"] == 2 and self.left:
            self.left -= 1
            self.kill()

    def kill(self) -> None:
        """Send the signal."""
        assert self.supervisor._child is not None
        self.supervisor._child.send_signal(self.number)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_from_outside_is_no_fault_of_its_config(
    supervisor: Supervisor, store: Store, number: int, tmp_path: Path
) -> None:
    from tests.store.samples import sweep
    from tunedb.core.device import INTERPRETER

    (hangs := tmp_path / "hangs").touch()

    class Patient(Killer):
        def kill(self) -> None:
            """Do so once the trial before is stored; the next process does not hang."""
            assert eventually(lambda: any(one.trials for one in store.iter_sweeps(finished=False, with_trials=True)))
            super().kill()
            assert self.supervisor._child is not None
            self.supervisor._child.wait()
            hangs.unlink()

    problem = problem_of(b1=0.03, b2=f"{HANG_WHILE}{hangs}")
    done = tune(supervisor, problem, Patient(supervisor, 1, number))
    assert done is not None
    assert (done.status, done.complete) == ("tuned", True)
    assert {trial.config["BLOCK"]: trial.status for trial in done.trials} == {1: "ok", 2: "ok"}
    [other] = [one for one in store.iter_sweeps(finished=False, with_trials=True) if one.uid != done.uid]
    assert (other.status, [trial.status for trial in other.trials]) == ("aborted", ["ok"])
    stored = sweep(problem=problem, device=INTERPRETER, kernel_hash="cd" * 32, config=Config.of(BLOCK=2))
    store.put_sweep(stored)
    hangs.touch()
    finding = supervisor.verify(stored, Patient(supervisor, 1, number))
    assert (finding.verdict, f"signal {int(number)}" in finding.reason) == ("untried", True)


def test_a_process_that_ends_behind_a_stored_sweep_loses_nothing(
    supervisor: Supervisor, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = supervisor._ask

    def end_unheard(task: Request, observer: Observer, until: float) -> Death:
        """The answer is lost with the process."""
        answer = ask(task, observer, until)
        assert isinstance(answer, Tuned)
        supervisor._end()
        return Death("runtime_error", "the process ended with signal 11", Config.of(BLOCK=2), answer.uid)

    monkeypatch.setattr(supervisor, "_ask", end_unheard)
    notebook = Notebook()
    done = tune(supervisor, problem_of(b1=0.03, b2=0.001), notebook)
    assert done is not None
    assert (done.status, done.config, done.trials[1].status) == ("tuned", Config.of(BLOCK=2), "ok")
    assert len(list(store.iter_sweeps(finished=False))) == 1
    failed = tune(supervisor, problem_of(b1="wrong", b2="wrong"), notebook)
    assert failed is not None
    assert failed.status == "failed"


def test_a_problem_that_ends_each_process_is_given_up_and_says_so(
    supervisor: Supervisor, store: Store, monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tunedb.worker.supervisor.MAX_RESTARTS", 1)
    sweep = tune(supervisor, problem_of(b1="crash", b2="crash", b4=0.001))
    assert sweep is not None
    assert sweep.status == "aborted"
    ours = [record for record in records.records if record.message.startswith("planted") and record.levelname != "INFO"]
    told = [record.message.partition("): ")[2] for record in ours]
    assert told == ["going on in a new process.", "given up, after 2 processes."]


def test_files_of_the_folder_that_one_stands_in_are_not_imported(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_workers_anew(monkeypatch)  # Python's own start looks for modules there
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "queue.py").write_text("raise SystemExit('this is not the standard library')")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])  # as the installed command's
    done = tune(supervisor, problem_of(b1=0.001))
    assert done is not None
    assert done.status == "tuned"


PARENT = """
import sys
from tests.fakes import Notebook
from tests.planted import NAME, problem_of
from tunedb import settings
from tunedb.store import open_store
from tunedb.worker.supervisor import Supervisor
class Told(Notebook):
    def trying(self, config):
        if config["BLOCK"] == 2:
            print(supervisor._child.pid, flush=True)
with Supervisor(open_store(settings.current().store), settings.current(), -1) as supervisor:
    supervisor.tune(problem_of(b1=0.001, b2="hang"), force=False, budget=float("inf"), observer=Told())
"""


def test_a_process_whose_parent_was_killed_ends_and_loses_one_trial(tmp_path: Path, store: Store) -> None:
    environment = os.environ | {"PYTHONPATH": register_lightly(tmp_path / "site")}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 30
    while is_there(child):
        assert time.monotonic() < deadline, "the process outlives its parent"
        time.sleep(0.05)
    [left] = store.iter_sweeps(finished=False, with_trials=True)
    assert (left.status, [trial.config["BLOCK"] for trial in left.trials]) == ("aborted", [1])


def is_there(pid: int) -> bool:
    """Whether the process runs: one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_list_goes_on_behind_a_problem_whose_configs_all_crash(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.planted import KERNEL
    from tunedb.cli.host_tasks import tune as tune_all
    from tunedb.core.device import INTERPRETER, Placement
    from tunedb.core.task import TuningTask
    from tunedb.fleet.slots import interpreters

    monkeypatch.setenv("PYTHONPATH", register_lightly(tmp_path / "site"))
    fork_workers(monkeypatch)
    problems = [problem_of(b1="crash", b2="crash"), problem_of(b1=0.001)]
    tasks = [TuningTask(KERNEL, problem, Placement(INTERPRETER, -1)) for problem in problems]
    rows = tune_all(tasks, store, interpreters(1), step=STEP)
    assert [(row["source"], row["config"]) for row in rows] == [("failed", None), ("sweep", {"BLOCK": 1})]
