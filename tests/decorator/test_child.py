"""A decorated kernel in the process of its own in which `tunedb warm` and `verify` sweep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import forked
from tests.conftest import INTERPRETED, runs_interpreter
from tests.decorator.planted import ENTRY_POINTS, KERNEL
from tests.fakes import Notebook
from tests.forked_workers import fork_workers
from tests.planted import register
from tunedb import settings
from tunedb.cli.host_tasks import tune
from tunedb.core.device import INTERPRETER, Placement
from tunedb.core.problem import Problem
from tunedb.core.task import TuningTask
from tunedb.fleet.slots import interpreters
from tunedb.store import Store
from tunedb.worker.supervisor import Supervisor

pytestmark = [
    runs_interpreter,
    pytest.mark.skipif(not INTERPRETED, reason="runs in the interpreter's half of `make test`"),
]
PATIENCE = 120.0  # seconds


@pytest.fixture
def supervisor(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """A supervisor whose processes know the kernel, and interpret it."""
    monkeypatch.setenv("PYTHONPATH", register(tmp_path / "site", ENTRY_POINTS))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    fork_workers(monkeypatch, forked.WITH_TORCH)
    with Supervisor(store, settings.current(), -1, PATIENCE) as found:
        yield found


def test_it_is_tuned_on_the_arguments_that_were_asked_for_and_verified(
    supervisor: Supervisor, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = {"n": 40, "rows": 3}
    problem, notebook = KERNEL.problem(asked), Notebook()
    source, sweep = supervisor.tune(problem, asked, force=False, budget=float("inf"), observer=notebook)
    assert source == "sweep"
    assert sweep is not None
    assert (sweep.status, sweep.kernel_hash, sweep.counts) == ("tuned", KERNEL.hash, {"ok": 2})
    assert "made with 3 rows" in capfd.readouterr().err
    assert supervisor.verify(sweep, Notebook()).verdict == "holds"


def test_a_broken_function_of_the_users_is_one_problems_end_and_no_configs_fault(
    supervisor: Supervisor, store: Store, tmp_path: Path, records: pytest.LogCaptureFixture
) -> None:
    asked = ({"n": 13, "rows": 2}, {"n": 8, "rows": 2})
    tasks = [TuningTask(KERNEL, KERNEL.problem(given), Placement(INTERPRETER, -1), given) for given in asked]
    rows = tune(tasks, store, interpreters(1), step=PATIENCE)
    assert [(row["source"], row["uid"] is None) for row in rows] == [("aborted", True), ("sweep", False)]
    assert [sweep.status for sweep in store.iter_sweeps(finished=False)] == ["tuned"]


def test_a_problem_whose_arguments_nobody_knows_is_told_and_left(
    supervisor: Supervisor, store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tasks = [TuningTask(KERNEL, KERNEL.problem({"n": 48, "rows": 2}), Placement(INTERPRETER, -1))]
    [row] = tune(tasks, store, interpreters(1), step=PATIENCE)  # in another process
    assert (row["source"], row["config"]) == ("aborted", None)
    said = capfd.readouterr().err
    assert "the problem does not say what rows was" in said
    assert "Traceback" not in said


def test_a_kernel_names_the_sizes_that_its_problems_do_not_say() -> None:
    made = KERNEL.problem({"n": 41, "rows": 3})
    assert KERNEL.other_sizes(made) == []
    stored = Problem.of(made.kernel, **{**made.plain(), "n": 4100})
    assert KERNEL.other_sizes(stored) == ["rows"]
