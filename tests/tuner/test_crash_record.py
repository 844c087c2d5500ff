"""A config that ends its process in a call: the suspect of the next sweep, and out after the second time."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import ENVIRONMENT, FakeKernel, config, task_of
from tests.faults.parts import start
from tests.tuner.tuners import tuner_on
from tunedb.store import Store
from tunedb.tuner.crash_record import CrashRecord

TIMES = {1: 90.0, 2: 10.0, 4: 50.0}

CALL = """
import os, sys
from pathlib import Path
from tests.fakes import FakeKernel
from tests.tuner.tuners import tuner_on
from tunedb.store import open_store
deadly, end, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
kernel = FakeKernel({1: 90.0, 2: 10.0, 4: 50.0}, on_compile=lambda block: block == deadly and eval(end))
choice = tuner_on(open_store(str(folder / "tunedb.db")), folder).choose(kernel, kernel.problem(), -1)
print(kernel.tried, choice.config["BLOCK"], choice.source)
"""


def call(deadly: int, end: str, folder: Path) -> tuple[int, str]:
    """The exit code and the output of a process that makes one call."""
    process = start(CALL, deadly, end, folder)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err, err
    return process.returncode, out


def records_in(folder: Path) -> list[Path]:
    return list((folder / "locks").glob("*.trying"))


@pytest.mark.parametrize(
    ("deadly", "end", "code", "tried", "best"),
    [
        (2, "os.kill(os.getpid(), 11)", -signal.SIGSEGV, [1, 4], 4),
        (4, "os.kill(os.getpid(), 9)", -signal.SIGKILL, [1, 2], 2),
        (1, "os._exit(3)", 3, [2], 2),  # the default; 4 was far behind in the sweep that it ended
    ],
)
def test_a_crash_loop_ends_after_the_second_crash(
    deadly: int, end: str, code: int, tried: list[int], best: int, store: Store, tmp_path: Path
) -> None:
    assert [call(deadly, end, tmp_path)[0] for _ in range(2)] == [code, code]
    assert call(deadly, end, tmp_path) == (0, f"{tried} {best} sweep\n")
    [done] = store.iter_sweeps(with_trials=True)
    [trial] = (trial for trial in done.trials if trial.config == config(deadly))
    assert (done.complete, trial.status, trial.outcome) == (True, "runtime_error", "known_from")
    assert trial.error == "The process died while it was tried, 2 times."
    assert call(deadly, end, tmp_path) == (0, f"[] {best} store\n")


def die(*configs: int) -> Callable[[int], None]:
    """What a config does that ends its process, in a child that the test forks."""
    return lambda block: os._exit(3) if block in configs else None


def fork_and_call(kernel: FakeKernel, store: Store, folder: Path) -> int:
    """The exit code of a forked child that makes one call."""
    child = os.fork()
    if child == 0:
        try:
            tuner_on(store, folder).choose(kernel, kernel.problem(), -1)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_suspect_is_tried_last_and_is_none_once_it_was_right(store: Store, tmp_path: Path) -> None:
    assert fork_and_call(FakeKernel(TIMES, on_compile=die(1)), store, tmp_path) == 3
    assert len(records_in(tmp_path)) == 1
    kernel = FakeKernel(TIMES)
    choice = tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1)
    assert (kernel.tried, choice.config) == ([2, 4, 1], config(2))
    assert records_in(tmp_path) == []


def test_with_a_suspect_nothing_is_compiled_ahead(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("tunedb.sweep.run.workers", lambda: asked.append(1) or 2)
    assert fork_and_call(FakeKernel(TIMES, on_compile=die(1)), store, tmp_path) == 3
    tuner_on(store, tmp_path).choose(FakeKernel(TIMES), FakeKernel(TIMES).problem(), -1)
    assert asked == []


def test_a_sweep_that_ends_in_any_other_way_leaves_no_record(store: Store, tmp_path: Path) -> None:
    def interrupt(block: int) -> None:
        if block == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuner_on(store, tmp_path).choose(FakeKernel(TIMES, on_compile=interrupt), FakeKernel(TIMES).problem(), -1)
    assert records_in(tmp_path) == []
    kernel = FakeKernel(TIMES)
    assert tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1).config == config(2)
    assert records_in(tmp_path) == []


def test_a_person_who_forces_a_sweep_starts_from_nothing(store: Store, tmp_path: Path) -> None:
    for _ in range(2):
        assert fork_and_call(FakeKernel(TIMES, on_compile=die(2)), store, tmp_path) == 3
    kernel = FakeKernel(TIMES)
    choice = tuner_on(store, tmp_path).warm(task_of(kernel), force=True)
    assert choice is not None
    assert (kernel.tried, choice.config) == ([1, 2, 4], config(2))


def test_an_edit_of_the_kernel_clears_its_configs(store: Store, tmp_path: Path) -> None:
    for _ in range(2):
        assert fork_and_call(FakeKernel(TIMES, on_compile=die(2)), store, tmp_path) == 3
    edited = FakeKernel(TIMES, hash="cd" * 32)
    assert tuner_on(store, tmp_path).choose(edited, edited.problem(), -1).config == config(2)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}", b"[]\n[]", b"\xff\n", b"[" * 100_000, b'{"kernel": 1}\n{"BLOCK":1}', b"0" * 2**21]
)
def test_a_damaged_record_counts_as_none(content: bytes, tmp_path: Path) -> None:
    task = task_of(FakeKernel(TIMES))
    path = CrashRecord(tmp_path, task, ENVIRONMENT)._path
    path.write_bytes(content)
    assert CrashRecord(tmp_path, task, ENVIRONMENT).deaths == {}


def test_a_record_that_can_not_be_written_costs_no_sweep(store: Store, tmp_path: Path) -> None:
    kernel, target = FakeKernel(TIMES), tmp_path / "target"
    target.write_text("not ours")
    path = CrashRecord(tmp_path / "locks", task_of(kernel), ENVIRONMENT)._path
    path.parent.mkdir()
    path.symlink_to(target)  # planted
    assert tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1).config == config(2)
    assert target.read_text() == "not ours"


def test_a_pipe_in_its_place_keeps_no_call_waiting(store: Store, tmp_path: Path) -> None:
    kernel = FakeKernel(TIMES)
    path = CrashRecord(tmp_path / "locks", task_of(kernel), ENVIRONMENT)._path
    path.parent.mkdir()
    os.mkfifo(path)
    assert tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1).config == config(2)
