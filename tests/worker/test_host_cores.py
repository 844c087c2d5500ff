"""The cores of a host: all workers that compile there, of whatever process, use them once."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import Notebook
from tests.planted import KERNEL, problem_of, register_lightly
from tunedb import settings
from tunedb.core.device import INTERPRETER
from tunedb.runtime import compile_pool
from tunedb.store import Store
from tunedb.worker import process
from tunedb.worker.host_cores import MAX_COUNTED, Presence, core_share, count_workers
from tunedb.worker.messages import Tune, Verify
from tunedb.worker.supervisor import Supervisor

HOLD = """
import sys
from pathlib import Path
from tunedb.worker.host_cores import Presence
presence = Presence(Path(sys.argv[1]))
presence.begin()
print("ready", flush=True)
sys.stdin.readline()
"""


def test_the_workers_of_a_host_use_its_cores_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(16))
    assert [core_share(workers) for workers in (0, 1, 4, 16, 1000)] == [16, 16, 4, 1, 1]


def test_a_worker_compiles_no_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(64))
    monkeypatch.setattr(compile_pool, "_limit", compile_pool.MAX_WORKERS)
    workers = []
    for limit in (None, 3, 0, 1000):
        compile_pool.limit_workers(limit)
        workers.append(compile_pool.workers())
    assert workers == [16, 3, 1, 16]


def test_workers_of_all_processes_are_counted_until_they_end_or_are_killed(tmp_path: Path) -> None:
    assert count_workers(tmp_path) == 0
    others = [
        subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    for other in others:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
    ours = Presence(tmp_path)
    ours.begin()
    assert count_workers(tmp_path) == 3
    others[0].kill()
    others[0].communicate()
    assert count_workers(tmp_path) == 2
    others[1].communicate(b"\n")
    ours.begin()  # once more: it counts once
    assert count_workers(tmp_path) == 1
    ours.end()
    ours.end()
    assert count_workers(tmp_path) == 0


def test_more_workers_than_are_counted_do_no_harm(tmp_path: Path) -> None:
    presences = [Presence(tmp_path) for _ in range(MAX_COUNTED + 2)]
    for presence in presences:
        presence.begin()
    assert count_workers(tmp_path) == MAX_COUNTED
    for presence in presences:
        presence.end()
    assert count_workers(tmp_path) == 0


def test_a_folder_that_can_hold_no_lock_file_counts_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    presence = Presence(tmp_path / "file" / "folder")
    presence.begin()
    assert count_workers(tmp_path / "file" / "folder") == 0
    presence.end()


def test_each_worker_gets_its_share_of_those_that_run_when_its_problem_begins(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the processes of an executor, or those that torchrun or srun starts, each with a GPU of its own."""
    monkeypatch.setenv("PYTHONPATH", register_lightly(tmp_path / "site"))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(16))
    shares: list[int | None] = []

    def encode(message: Any) -> str:
        if isinstance(message, Tune | Verify):
            shares.append(message.compiles)
        return own_encode(message)

    own_encode = process.encode
    monkeypatch.setattr(process, "encode", encode)

    def tune(worker: Supervisor, number: int) -> None:
        asked = {"force": False, "budget": float("inf"), "observer": Notebook()}
        assert worker.tune(problem_of(**{f"b{number}": 0.001}), **asked)[0] == "sweep"

    with Supervisor(store, settings.current(), -1) as first:
        tune(first, 1)
        with Supervisor(store, settings.current(), -1) as second:
            tune(second, 2)
            tune(first, 4)
        tune(first, 8)
    with Supervisor(store, settings.current(), -1, workers=4) as one_of_four:
        tune(one_of_four, 16)
        [stored] = store.get_sweeps(problem_of(b1=0.001), INTERPRETER, KERNEL.hash)
        assert one_of_four.verify(stored, Notebook()).verdict == "holds"
    assert shares == [16, 8, 8, 16, 4, 4]
