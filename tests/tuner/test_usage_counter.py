"""What calls were served with: counted in memory, written in batches and at exit, bounded, and local."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import forked
from tests.conftest import runs_interpreter
from tests.fakes import DEVICE, FakeKernel, config
from tests.tuner.tuners import tuner_on
from tunedb.core.device import Placement
from tunedb.core.sweep import COUNTED_SOURCES, UsageCount
from tunedb.core.task import Choice, TuningTask
from tunedb.store import open_store
from tunedb.tuner import usage_counter
from tunedb.tuner.usage_counter import UsageCounter


def case(n: int = 1) -> TuningTask:
    kernel = FakeKernel({1: 9.0})
    return TuningTask(kernel, kernel.problem(n=n), Placement(DEVICE, -1))


def test_counts_are_kept_by_case_and_source_until_they_are_written() -> None:
    written: list[list[UsageCount]] = []
    counts = UsageCounter(written.append)
    for source, n in (("default", 1), ("default", 1), ("store", 1), ("default", 2)):
        counts.count(case(n), Choice(config(1), source))
    assert written == []
    counts.flush()
    counts.flush()
    (batch,) = written  # the second flush had nothing to say
    assert sorted((one.problem["n"], one.source, one.count) for one in batch) == [
        (1, "default", 2),
        (1, "store", 1),
        (2, "default", 1),
    ]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_counter, "MAX_COUNTS", 3)
    written: list[list[UsageCount]] = []
    counts = UsageCounter(written.append)
    for n in range(10):
        counts.count(case(n), Choice(config(1), "default"))
    counts.count(case(0), Choice(config(1), "default"))  # one that is counted goes on being so
    counts.flush()
    assert sorted((one.problem["n"], one.count) for one in written[0]) == [(0, 2), (1, 1), (2, 1)]


def test_a_tuner_counts_each_first_use_and_writes_when_it_is_closed(tmp_path: Path) -> None:
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    path = str(tmp_path / "tunedb.db")
    for mode in ("record", "tune", "tune", "record"):
        tuner = tuner_on(open_store(path), tmp_path, mode=mode)
        for _ in range(3):
            tuner.choose(kernel, kernel.problem(n=5), -1)
        tuner.close()
    store = open_store(path)
    assert store.usage.by_source() == {"default": 1, "store": 2, "sweep": 1}
    assert store.usage.get(["default"]) == []  # the first one's miss is settled


@runs_interpreter
def test_a_mode_that_writes_nothing_counts_nothing(tmp_path: Path) -> None:
    program = """
import torch, tunedb
from tunedb.kernels import avg_pool1d
for mode in ("read", "strict", "off"):
    with tunedb.using(mode=mode):
        try: avg_pool1d(torch.ones(2, 3, 16), 4)
        except tunedb.MissError: print(mode)
"""
    environment = os.environ | {"TRITON_INTERPRET": "1", "TUNEDB_STORE": str(tmp_path / "t.db")}
    done = forked.run(["-c", program], env=environment)
    assert (done.stdout.split(), done.returncode) == (["strict"], 0), done.stderr  # the mode was in force
    assert list(tmp_path.iterdir()) == []


@runs_interpreter
def test_a_process_writes_its_counts_at_exit(tmp_path: Path) -> None:
    environment = os.environ | {
        "TRITON_INTERPRET": "1",
        "TUNEDB_MODE": "record",
        "TUNEDB_STORE": str(tmp_path / "t.db"),
    }
    program = "import torch\nfrom tunedb.kernels import avg_pool1d\navg_pool1d(torch.ones(2, 3, 16), 4)\n"
    for _ in range(2):
        assert forked.run(["-c", program], env=environment).returncode == 0
    (miss,) = open_store(str(tmp_path / "t.db")).usage.get(["default"])
    assert (miss.problem.kernel, miss.count, miss.device) == ("avg_pool1d", 2, DEVICE)
    assert miss.first_seen < miss.last_seen


@runs_interpreter
def test_counts_are_in_the_shared_store_when_the_process_has_ended(tmp_path: Path) -> None:
    shared = tmp_path / "shared.db"
    open_store(str(shared)).close()
    environment = os.environ | {
        "TRITON_INTERPRET": "1",
        "TUNEDB_MODE": "record",
        "TUNEDB_SHARED": f"sqlite:///{shared}",
    }
    program = "import torch\nfrom tunedb.kernels import avg_pool1d\navg_pool1d(torch.ones(2, 3, 16), 4)\n"
    for state in ("a", "b", "a"):  # two state folders, as of two hosts
        own = {"TUNEDB_STORE": str(tmp_path / state / "t.db")}
        assert forked.run(["-c", program], env=environment | own).returncode == 0
    with open_store(str(shared)) as store:
        assert store.usage.by_source() == {"default": 3}
        assert sorted(one.usage.count for one in store.usage.sums()) == [1, 2]


def test_every_source_of_a_choice_can_be_counted(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "t.db"))
    counts = UsageCounter(store.add_usage)
    for source in COUNTED_SOURCES:
        counts.count(case(), Choice(config(1), source))
    counts.flush()
    assert store.usage.by_source() == dict.fromkeys(sorted(COUNTED_SOURCES), 1)
