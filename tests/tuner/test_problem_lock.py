"""One sweeper per problem: among processes and threads, with a bounded wait, and never stuck."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from tests.fakes import DEVICE
from tunedb.core.problem import Problem
from tunedb.tuner.problem_lock import MAX_KEEP_S, _shard, lock_problem

PROBLEM = Problem.of("fake", n=1)

HOLDER = """
import sys, time
from pathlib import Path
from tunedb.core.device import INTERPRETER
from tunedb.tuner.problem_lock import lock_problem
from tunedb.core.problem import Problem
with lock_problem(Path(sys.argv[1]), Problem.of("fake", n=1), INTERPRETER, 5) as lock:
    print(lock.held, flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


def test_another_process_keeps_us_out_for_as_long_as_we_wait_and_no_longer(tmp_path: Path) -> None:
    other = holder(tmp_path)
    try:
        start = time.monotonic()
        with lock_problem(tmp_path, PROBLEM, DEVICE, 0.3) as lock:
            assert not lock.held
        assert 0.3 <= time.monotonic() - start < 5
        with lock_problem(tmp_path, Problem.of("fake", n=2), DEVICE, 0) as lock:
            assert lock.held  # another problem is another lock
    finally:
        other.kill()
        other.communicate()


def test_a_killed_holder_leaves_no_lock_that_blocks(tmp_path: Path) -> None:
    other = holder(tmp_path)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    with lock_problem(tmp_path, PROBLEM, DEVICE, 5) as lock:
        assert lock.held


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    inside, most = 0, 0
    guard = threading.Lock()

    def enter() -> None:
        nonlocal inside, most
        with lock_problem(tmp_path, PROBLEM, DEVICE, 10) as lock:
            assert lock.held
            with guard:
                inside += 1
                most = max(most, inside)
            time.sleep(0.01)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_where_no_lock_file_can_be_made_threads_still_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "locks"
    with lock_problem(folder, PROBLEM, DEVICE, 0) as lock:
        assert lock.held
        seen: list[bool] = []

        def other() -> None:
            with lock_problem(folder, PROBLEM, DEVICE, 0.05) as also:
                seen.append(also.held)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert seen == [False]


def test_a_forked_child_of_a_holder_is_not_stuck(tmp_path: Path) -> None:
    ready, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock_problem(tmp_path / "one", PROBLEM, DEVICE, 1):
            ready.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait(10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of a fork beside threads: that is what is tested
        child = os.fork()
    if child == 0:  # the other thread is not here; its lock must not be either
        with lock_problem(tmp_path / "two", PROBLEM, DEVICE, 1) as lock:
            os._exit(0 if lock.held else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    done.set()
    thread.join()


def test_a_thread_that_waited_is_not_held_up_by_a_result_that_comes_late(tmp_path: Path) -> None:
    """The file's lock is kept for other processes; who waited in this one has the answer at hand."""
    known, late, waited = threading.Event(), threading.Event(), []

    def second() -> None:
        begun = time.monotonic()
        with lock_problem(tmp_path, PROBLEM, DEVICE, 30, known.is_set) as lock:
            waited.append((lock.held, time.monotonic() - begun))

    with lock_problem(tmp_path, PROBLEM, DEVICE, 5) as lock:
        lock.keep_until(late.is_set)
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        known.set()
    thread.join()
    assert waited[0][0] is False
    assert waited[0][1] < MAX_KEEP_S / 2
    late.set()


def test_a_thread_that_can_not_be_started_releases_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with lock_problem(tmp_path, PROBLEM, DEVICE, 5) as lock:
        lock.keep_until(lambda: False)
        monkeypatch.setattr(threading.Thread, "start", start)
    with lock_problem(tmp_path, PROBLEM, DEVICE, 0) as lock:
        assert lock.held


def test_a_thread_that_has_a_lock_does_not_wait_for_itself(tmp_path: Path) -> None:
    start = time.monotonic()
    with lock_problem(tmp_path, PROBLEM, DEVICE, 60) as lock:
        assert lock.held
        with lock_problem(tmp_path, PROBLEM, DEVICE, 60) as again:
            assert not again.held
        with lock_problem(tmp_path / "other", PROBLEM, DEVICE, 60) as other:
            assert other.held
    assert time.monotonic() - start < 30
    with lock_problem(tmp_path, PROBLEM, DEVICE, 0) as lock:
        assert lock.held


def test_a_child_that_was_forked_by_a_holder_does_not_wait_for_it(tmp_path: Path) -> None:
    with lock_problem(tmp_path, PROBLEM, DEVICE, 0), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking a process with threads
        child = os.fork()
        if child == 0:
            held, start = True, time.monotonic()
            with contextlib.suppress(BaseException), lock_problem(tmp_path, PROBLEM, DEVICE, 60) as lock:
                held = lock.held
            os._exit(1 if held or time.monotonic() - start > 30 else 0)
        assert os.waitpid(child, 0)[1] == 0


def test_the_number_of_lock_files_is_bounded_and_problems_of_one_name_take_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {_shard(Problem.of("fake", n=n), DEVICE) for n in range(20_000)}
    assert 3900 < len(names) <= 4096
    monkeypatch.setattr("tunedb.tuner.problem_lock._shard", lambda problem, device: "abc")
    with lock_problem(tmp_path, PROBLEM, DEVICE, 0) as lock:
        assert lock.held
        with lock_problem(tmp_path, Problem.of("fake", n=2), DEVICE, 0) as other:  # within a sweep of the first
            assert not other.held
    with lock_problem(tmp_path, Problem.of("fake", n=2), DEVICE, 0) as other:
        assert other.held
    assert [path.name for path in tmp_path.iterdir()] == ["abc.lock"]
