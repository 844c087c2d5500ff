"""`verify`, `warm --budget` and `--incomplete`, and what `show` and the progress tell."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from tests.cli.conftest import Cli, Kernel, put
from tests.cli.test_explain_mark import PROBLEM, tuned
from tests.fakes import FakeClock, FakeKernel, Notebook, config, context, task_of
from tests.store.samples import failed, sweep, trial
from tunedb import settings
from tunedb.cli import host_progress
from tunedb.cli.commands.show import why_lost
from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.store import open_store
from tunedb.sweep.run import run_sweep
from tunedb.tuner.lock_folder import lock_folder
from tunedb.tuner.problem_lock import lock_problem
from tunedb.tuner.tuner import Tuner

SHAPE = ("--shape", "2,3,4", "--kernel-size", "2")


@pytest.fixture(autouse=True)
def fake_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times that the test says, for tuners that the commands make."""
    made = Tuner.__init__

    def make(self: Tuner, *arguments: Any, **given: Any) -> None:
        made(self, *arguments, **(given | {"clock": FakeClock, "monotonic": lambda: time.monotonic()}))

    monkeypatch.setattr(Tuner, "__init__", make)


def verify(cli: Cli, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    """The rows that `verify` prints."""
    answer = cli("verify", *arguments, "--format", "json")
    assert answer.code == code, answer.err
    rows: list[dict[str, Any]] = answer.json
    return rows


def marks(uid: str) -> list[tuple[str, str]]:
    """The marks of a stored sweep."""
    with open_store(settings.current().store) as store:
        return [(mark.kind, mark.reason) for mark in store.get_sweep(uid).marks]


def test_a_winner_that_holds_is_left_as_it_is(cli: Cli, kernels: dict[str, Kernel]) -> None:
    kernels["pool"].times = {128: 100.0, 256: 50.0}
    [row] = cli("warm", "pool", *SHAPE, "--forward-only", "--format", "json").json
    [found] = verify(cli)
    assert (found["uid"], found["verdict"], found["quarantined"]) == (row["uid"], "holds", False)
    assert (found["time_us"], found["default_time_us"]) == (50, 100)
    assert marks(row["uid"]) == []


@pytest.mark.parametrize(
    ("times", "verdict", "reason"),
    [
        ({128: 100.0, 256: "wrong"}, "wrong", "3 of 8 outputs differ"),
        ({128: 100.0, 256: "out_of_resources"}, "fails", "out_of_resources: BLOCK=256 fails"),
        ({128: 100.0, 256: 103.0}, "beaten", "103.0 us, the default takes 100.0 us"),
        ({128: 100.0, 256: "sticky"}, "fails", "illegal memory access"),
    ],
)
def test_a_winner_that_no_longer_holds_is_quarantined_and_exit_code_1(
    cli: Cli, kernels: dict[str, Kernel], times: dict[int, float | str], verdict: str, reason: str
) -> None:
    before, stored = tuned(0, 128), tuned(1, 256)
    put(before, stored)
    kernels["pool"].times = times
    [found] = verify(cli, code=1)
    assert (found["uid"], found["verdict"], found["quarantined"]) == (stored.uid, verdict, True)
    assert reason in found["reason"]
    [(kind, told)] = marks(stored.uid)
    assert kind == "quarantine"
    assert told.startswith(f"verify: {verdict}: ")
    assert cli("lookup", "pool", *SHAPE, "--format", "json").json["uid"] == before.uid


def test_one_that_another_process_is_tuning_is_left_for_later(cli: Cli, kernels: dict[str, Kernel]) -> None:
    kernels["pool"].times = {128: 100.0, 256: 50.0}
    [row] = cli("warm", "pool", *SHAPE, "--forward-only", "--format", "json").json
    folder = lock_folder(settings.current())
    with open_store(settings.current().store) as store:
        stored = store.get_sweep(row["uid"])
    with lock_problem(folder, stored.problem, stored.device, 1.0), settings.using(lock_timeout=0.1):
        [found] = verify(cli, code=1)
    assert (found["verdict"], found["reason"]) == ("untried", "another process is tuning this problem")
    assert marks(row["uid"]) == []


def test_a_time_that_has_moved_is_told_and_nothing_more(cli: Cli, kernels: dict[str, Kernel]) -> None:
    stored = tuned(block=256, time_us=50.0)
    put(stored)
    kernels["pool"].times = {128: 100.0, 256: 60.0}
    [found] = verify(cli)
    assert (found["verdict"], found["reason"]) == ("moved", "+20.0% of the stored time")
    assert marks(stored.uid) == []


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(), RuntimeError("can't allocate"), KeyError("rows")])
def test_one_that_can_not_be_tried_is_left_as_it_is_and_exit_code_1(
    error: Exception, cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    def workload(problem: Problem, index: int) -> None:
        raise error

    stored = tuned(block=256)
    put(stored)
    monkeypatch.setattr(kernels["pool"], "workload", workload, raising=False)
    [found] = verify(cli, code=1)
    assert (found["verdict"], found["quarantined"]) == ("untried", False)
    assert marks(stored.uid) == []


def test_where_the_default_fails_the_winner_holds(cli: Cli, kernels: dict[str, Kernel]) -> None:
    put(tuned(block=256, time_us=50.0))
    kernels["pool"].times = {128: "wrong", 256: 50.0}
    [found] = verify(cli)
    assert (found["verdict"], found["default_time_us"]) == ("holds", None)


def test_a_sample_is_some_of_them_and_another_device_is_refused(cli: Cli, kernels: dict[str, Kernel]) -> None:
    kernels["pool"].times = {128: 100.0, 256: 50.0}
    for rows in ("1,1,1", "2,1,1", "3,1,1"):
        cli("warm", "pool", "--shape", rows, "--forward-only")
    put(sweep())
    assert len(verify(cli)) == 3
    assert len(verify(cli, "--sample", "2")) == 2
    assert len(verify(cli, "--device", "interpreter")) == 3
    answer = cli("verify", "--device", "H200")
    assert answer.code == 2
    assert "'H200' is not the current device" in answer.err


def test_a_problem_of_another_version_is_left_out(
    cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tuned(block=256))

    def space(problem: Problem, device: Device) -> None:
        raise KeyError("a fact that it does not have")

    monkeypatch.setattr(kernels["pool"], "space", space, raising=False)
    answer = cli("verify", "--format", "json")
    assert (answer.code, answer.json) == (0, [])
    assert "the installed kernel does not know this problem" in answer.err


def test_nothing_stored_is_nothing_to_verify(cli: Cli, kernels: dict[str, Kernel]) -> None:
    assert cli("verify").code == 1  # no store at all
    put(failed())
    assert verify(cli) == []


def test_a_budget_that_is_spent_stores_the_best_so_far_and_incomplete_finishes_it(
    cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [0.0]

    def slow(block: int) -> None:
        seconds[0] += 1.0

    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    pool = kernels["pool"]
    pool.times, pool.on_compile = {1: 100.0, 2: 50.0, 4: 500.0, 8: 40.0}, slow
    lines = ("warm", "pool", *SHAPE, "--budget", "3", "--format", "json")
    answer = cli(*lines)
    assert answer.code == 1  # the gradient's problem was not reached
    assert "The budget is spent: 1 problem left." in answer.err
    [row] = answer.json
    assert row["config"] == {"BLOCK": 2}
    assert cli("show", row["uid"], "--format", "json").json["complete"] is False
    pool.tried.clear()
    [again] = cli("warm", "--incomplete", "--format", "json").json
    assert (again["config"], pool.tried) == ({"BLOCK": 8}, [1, 2, 8])  # what was far behind is known
    assert cli("show", again["uid"], "--format", "json").json["complete"] is True
    assert cli("warm", "--incomplete", "--format", "json").json == []
    assert "Nothing incomplete" in cli("warm", "--incomplete").err


def test_incomplete_also_finishes_what_was_aborted(cli: Cli, kernels: dict[str, Kernel]) -> None:
    put(tuned(status="aborted", complete=False, config=None, time_us=None))
    [row] = cli("warm", "--incomplete", "pool", "--format", "json").json
    assert (row["kernel"], row["source"]) == ("pool", "sweep")
    assert row["problem"] == PROBLEM.plain()


def race() -> Sweep:
    """A sweep with a winner, a near-tie, slow ones, a twin and failures."""
    kernel = FakeKernel(
        {1: 100.0, 2: 50.0, 4: 50.4, 8: 70.0, 16: "wrong", 32: "out_of_resources", 64: 50.0}, binaries={2: "s", 64: "s"}
    )
    return run_sweep(task_of(kernel), context(Notebook()))


def test_each_trial_says_why_it_lost() -> None:
    done = race()
    said = {one.config["BLOCK"]: why_lost(one, done) for one in done.trials}
    assert said == {
        1: "slower: 100.0% over the winner",
        2: "won; 2.000 times as fast as the default",
        4: "a near-tie: 0.8% over the winner",
        8: "slower: 40.0% over the winner",
        16: "wrong: 3 of 8 outputs differ",
        32: "out_of_resources: BLOCK=32 fails",
        64: "Same binary as BLOCK=2",
    }


def test_show_is_the_race_with_bars_the_winner_first(cli: Cli) -> None:
    done = race()
    put(done)
    short = cli("show", done.uid).out.splitlines()
    table = short[next(n for n, line in enumerate(short) if "p20_us" in line) + 1 :]
    assert table[0].startswith("BLOCK=2 ")
    assert [line.count("#") for line in table[:4]] == [12, 12, 12, 17]
    assert "3 of 8 outputs differ" in "".join(table)
    assert "over the winner" not in "".join(short)
    long = cli("show", done.uid, "-v").out
    assert "slower: 40.0% over the winner" in long
    assert "a near-tie" in long


def test_a_trial_of_the_sample_store_says_why() -> None:
    assert why_lost(trial(status="pruned", error="too many threads"), sweep()) == "pruned: too many threads"
    assert why_lost(trial(256), failed()) == "the sweep has no winner"


def test_progress_tells_now_and_then_how_many_are_left(
    cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_progress, "PAUSE", -1.0)
    kernels["other"].times = {1: 100.0, 2: 50.0, 4: "wrong"}
    said = cli("warm", "other", *SHAPE).err
    assert "[1/1] 2 candidates left, best so far 100.0 us (default 100.0 us)" in said
    assert "[1/1] 0 candidates left, best so far 50.0 us (default 100.0 us)" in said


def test_verbose_progress_has_a_line_for_each_trial(cli: Cli, kernels: dict[str, Kernel]) -> None:
    kernels["other"].times = {1: 100.0, 2: 50.0, 4: "wrong"}
    said = cli("warm", "other", *SHAPE, "-v").err
    assert "BLOCK=2: 50.0 us" in said
    assert "BLOCK=4: wrong (3 of 8 outputs differ)" in said
    assert config(2)["BLOCK"] == 2


def test_a_kernel_that_nobody_has_is_no_success(cli: Cli) -> None:
    put(sweep(1))
    answer = cli("verify", "--kernel", "avg_pool_1d")
    assert answer.code == 2
    assert "No kernel is called 'avg_pool_1d'" in answer.err
