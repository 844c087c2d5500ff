"""Progress of a whole `warm`: the problems done, the time left, the current sweep, and lines off a terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Cli, Kernel
from tests.fakes import FakeKernel, task_of
from tests.store.samples import sweep, trial
from tunedb.cli.command import log
from tunedb.cli.host_progress import HostProgress
from tunedb.core.task import TuningTask
from tunedb.fleet.slots import Slot
from tunedb.fleet.task_run import Outcome


@pytest.fixture(autouse=True)
def loud() -> Iterator[None]:
    """The log of commands is on, as in a command."""
    before = log.level
    log.setLevel(logging.INFO)
    yield
    log.setLevel(before)


class Watch:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def tasks(count: int) -> list[TuningTask]:
    """So many tasks of a fake kernel."""
    return [task_of(FakeKernel({128: 1.0}), n=number) for number in range(count)]


def test_lines_come_every_few_seconds_and_say_what_is_left(caplog: pytest.LogCaptureFixture) -> None:
    watch, work = Watch(), tasks(3)
    here = Slot("", work[0].device, work[0].index, 0)
    with (
        caplog.at_level(logging.INFO, "tunedb.cli"),
        HostProgress([here], {task.key: 10.0 for task in work}, watch) as shown,
    ):
        shown.begins(here, work[0])
        shown.started(here, 4)
        for seconds, block in ((1.0, 1), (6.0, 2), (7.0, 3), (13.0, 4)):
            watch.time = seconds
            shown.tried(here, trial(block), 100.0 / block, 100.0)
        watch.time = 20.0
        shown.done(here, Outcome(work[0], "sweep", sweep()))
        shown.begins(here, work[1])
        watch.time = 50.0
        shown.done(here, Outcome(work[1], "stored", sweep()))
    assert [record.getMessage() for record in caplog.records] == [
        "[1/3] tuning: fake (n=0), 4 candidates",
        "[1/3] 2 candidates left, best so far 50.0 us (default 100.0 us)",
        "[1/3] 0 candidates left, best so far 25.0 us (default 100.0 us)",
        "[1/3] sweep: fake (n=0) -> BLOCK=128, num_warps=4 12.5 us (default 20.0 us), about 40 s left",
        "[2/3] stored: fake (n=1) -> BLOCK=128, num_warps=4 12.5 us (default 20.0 us), about 20 s left",
    ]


def test_a_terminal_has_one_display_for_the_whole_run(
    cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    answer = cli("warm", "pool", "--shape", "2,3", "--kernel-size", "2")
    assert answer.code == 0
    assert "problems" in answer.err
    assert "2/2" in answer.err
    assert answer.err.count("[1/2] sweep: pool (") == 1
    assert answer.err.count("[2/2] sweep: pool_backward (") == 1


def test_a_sweep_without_a_config_says_why_and_names_the_store(
    cli: Cli, kernels: dict[str, Kernel], tmp_path: object
) -> None:
    kernels["other"].times = {128: "compile_error"}
    said = cli("warm", "other", "--shape", "2,3", "--store", f"{tmp_path}/a b.db").err
    assert "compile_error: BLOCK=128 fails See: tunedb show " in said
    assert f"--store '{tmp_path}/a b.db'" in said
