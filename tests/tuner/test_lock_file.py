"""Lock files that can't keep every process out are logged, and those of a group's store are the group's."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from tunedb.core.device import INTERPRETER
from tunedb.core.problem import Problem
from tunedb.tuner import lock_file
from tunedb.tuner.problem_lock import lock_problem

PROBLEM = Problem.of("k", n=1)


@pytest.fixture(autouse=True)
def nothing_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_file, "_logged", set())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of locks of a store."""
    store = tmp_path / "store.db"
    store.touch(0o600)
    return tmp_path / "store.db.locks"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("store_mode", "file_mode", "folder_mode"), [(0o600, 0o600, 0o700), (0o660, 0o660, 0o2770)])
def test_locks_are_for_those_who_may_write_the_store(
    store_mode: int, file_mode: int, folder_mode: int, folder: Path
) -> None:
    folder.with_name("store.db").chmod(store_mode)
    before = os.umask(0o077)
    try:
        with lock_problem(folder, PROBLEM, INTERPRETER, 0) as lock:
            assert lock.held
            (file,) = folder.iterdir()
            assert (mode(file), mode(folder)) == (file_mode, folder_mode)
            assert file.stat().st_gid == folder.with_name("store.db").stat().st_gid
    finally:
        os.umask(before)


def test_a_lock_that_was_removed_during_a_sweep_is_logged_once(folder: Path, records: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        with lock_problem(folder, PROBLEM, INTERPRETER, 0) as lock:
            assert lock.held
            shutil.rmtree(folder)
    (record,) = records.records
    assert "a lock file was removed during a sweep. Two processes may tune the same problem." in record.getMessage()


def test_a_lock_that_stays_is_no_news(folder: Path, records: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        with lock_problem(folder, PROBLEM, INTERPRETER, 0) as lock:
            assert lock.held
    assert records.records == []


def test_two_names_of_one_store_are_logged(folder: Path, records: pytest.LogCaptureFixture) -> None:
    os.link(folder.with_name("store.db"), folder.with_name("other.db"))
    with lock_problem(folder, PROBLEM, INTERPRETER, 0) as lock:
        assert lock.held
    (record,) = records.records
    assert "the store has 2 hard links, and locks go by its name: use one of them" in record.getMessage()
