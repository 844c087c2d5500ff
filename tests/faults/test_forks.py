"""Processes that are made out of others, and threads: each has connections of its own, and nobody waits for ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.network import Forwarder
from tests.faults.parts import PATIENT, ROOT, output_of, start
from tests.faults.test_shared import forwarder
from tunedb.store import check, open_store, receive

__all__ = ["forwarder"]

# What a child does is printed by its parent, so that a child that hangs shows as a time-out of the test.
FORK = """
import json, os, sys, threading, time, warnings
warnings.simplefilter("ignore")  # a fork beside threads is what is tested
from tests.faults import calls
from tests.faults.parts import crowd, write_all
tuner = calls.tuner(store=sys.argv[1])
calls.call(tuner, 0)
"""

AFTER_USE = """
found = crowd(4, lambda n: [calls.call(tuner, problem)[:2] for problem in (0, n + 1, 9)])
found.append([calls.call(tuner, problem)[:2] for problem in (0, 1, 9)])
tuner.close()
print(json.dumps(found))
"""

# Forks while another thread is in the middle of a write: SQLite keeps its locks by process, in memory that is copied.
DURING_A_WRITE = """
from tests.store.samples import sweep
from tunedb.store.sql.sweep_rows import SweepRows
inside, go_on = threading.Event(), threading.Event()
insert = SweepRows.insert_trials
def slow(self, *arguments):
    insert(self, *arguments)
    inside.set()
    go_on.wait(0.3)
SweepRows.insert_trials = slow
def write():
    tuner.store.finish_sweep(sweep(100))
writer = threading.Thread(target=write)
writer.start()
inside.wait()
child = os.fork()
if child == 0:
    SweepRows.insert_trials = insert
    own = calls.tuner(store=sys.argv[1])
    found = [calls.call(held, n)[:2] for n, held in ((1, tuner), (2, own))]
    own.close()
    write_all()
    stored = sum(1 for _ in __import__("tunedb.store").store.open_store(sys.argv[1]).iter_sweeps())
    print(json.dumps([found, stored]), flush=True)
    os._exit(0)
writer.join()
os.waitpid(child, 0)
tuner.close()
"""

DURING_A_SWEEP = """
sweeping, go_on = threading.Event(), threading.Event()
def hold(block):
    sweeping.set()
    go_on.wait(30)
sweeper = threading.Thread(target=lambda: calls.call(tuner, 1, hold))
sweeper.start()
sweeping.wait()
impatient = calls.tuner(store=sys.argv[1], lock_timeout=0.2)
child = os.fork()
if child == 0:
    print(json.dumps([calls.call(impatient, 1)[:2], calls.call(tuner, 2)[:2]]), flush=True)
    os._exit(0)
os.waitpid(child, 0)
go_on.set()
sweeper.join()
found = calls.call(calls.tuner(store=sys.argv[1], lock_timeout=0), 1)[:2]
tuner.close()
print(json.dumps(found))
"""

# The sweeper is killed; a child that it forked meanwhile, a worker of its DataLoader say, lives on.
ORPHANED = """
import signal
sweeper = os.fork()
if sweeper == 0:
    def fork(block):
        if block == 4:
            if os.fork() == 0:
                os.close(1), os.close(2)
                time.sleep(15)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
    calls.call(tuner, 1, fork)
os.waitpid(sweeper, 0)
start = time.monotonic()
print(json.dumps([*calls.call(tuner, 1)[:2], time.monotonic() - start]), flush=True)
tuner.close()
os._exit(0)
"""

QUEUED = """
import sqlite3
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("BEGIN IMMEDIATE")
calls.call(tuner, 1)  # waits in memory
other.execute("COMMIT")
other.close()
print(json.dumps(crowd(2, lambda n: [calls.call(tuner, n + 2)[:2], tuner.close()][0])))
tuner.close()
"""

SPAWN = """
import json, multiprocessing, sys, warnings
import tests.patience; tests.patience.be_patient()
from tests.faults import calls
def work(n):
    tuner = calls.tuner(store=sys.argv[1])
    found = [calls.call(tuner, problem)[:2] for problem in (0, n, 9)]
    tuner.close()
    return found
if __name__ == "__main__":
    warnings.simplefilter("ignore")
    tuner = calls.tuner(store=sys.argv[1])
    calls.call(tuner, 0)
    with multiprocessing.get_context(sys.argv[2]).Pool(2) as pool:
        print(json.dumps(pool.map(work, range(1, 5))))
    tuner.close()
"""

LOADER = """
import json, sys, torch, warnings
from tests.faults import calls
class Calls(torch.utils.data.Dataset):
    def __len__(self): return 8
    def __getitem__(self, n): return torch.tensor(calls.call(tuner, n)[0])
tuner = calls.tuner(store=sys.argv[1])
calls.call(tuner, 0)
warnings.simplefilter("ignore")
found = torch.cat(list(torch.utils.data.DataLoader(Calls(), batch_size=2, num_workers=2))).tolist()
found += [calls.call(tuner, n)[0] for n in range(10)]
tuner.close()
print(json.dumps(found))
"""


def problems(path: Path) -> list[int]:
    with open_store(str(path)) as store:
        return sorted(sweep.problem["n"] for sweep in store.iter_sweeps(finished=False))


def test_children_forked_after_the_store_was_used_look_up_and_tune_as_their_parent_does(quick_path: Path) -> None:
    found = json.loads(output_of(PATIENT + FORK + AFTER_USE, quick_path))
    assert [held[0] for held in found] == [[2, "memory"]] * 5
    assert {block for held in found for block, _ in held} == {2}
    assert problems(quick_path) == [0, 1, 2, 3, 4, 9]
    check(str(quick_path))


def test_a_child_forked_during_a_write_of_its_parent_can_write(quick_path: Path) -> None:
    found, stored = json.loads(output_of(FORK + DURING_A_WRITE, quick_path))
    assert found == [[2, "sweep"]] * 2
    assert stored == 4
    check(str(quick_path))


def test_a_child_forked_during_a_sweep_of_its_parent_is_not_stuck_and_takes_no_lock_away(quick_path: Path) -> None:
    child, parent = map(json.loads, output_of(PATIENT + FORK + DURING_A_SWEEP, quick_path).splitlines())
    assert child == [[2, "nearest"], [2, "sweep"]]  # the first after a bounded wait
    assert parent == [2, "store"]


def test_a_child_that_outlives_a_killed_sweeper_does_not_keep_its_lock(quick_path: Path) -> None:
    block, source, seconds = json.loads(output_of(PATIENT + FORK + ORPHANED, quick_path))
    assert (block, source) == (2, "sweep")
    assert seconds < 10


def test_what_waits_to_be_written_is_written_by_the_parent_and_by_no_child(quick_path: Path) -> None:
    process = start(FORK + QUEUED, quick_path)
    assert json.loads(process.communicate(timeout=60)[0]) == [[2, "sweep"]] * 2
    assert problems(quick_path) == [0, 1, 2, 3]
    check(str(quick_path))


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_a_pool_of_processes_shares_the_store(method: str, quick_path: Path) -> None:
    script = quick_path.parent / "script.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{SPAWN}")
    code = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    code = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, *sys.argv[1:]]))"
    found = json.loads(output_of(code, script, quick_path, method))
    assert {block for held in found for block, _ in held} == {2}
    assert problems(quick_path) == [0, 1, 2, 3, 4, 9]


def test_workers_of_a_data_loader_share_the_store_with_the_process_that_made_them(quick_path: Path) -> None:
    assert json.loads(output_of(PATIENT + LOADER, quick_path, needs_torch=True)) == [2] * 18
    assert problems(quick_path) == list(range(10))


def test_children_of_a_process_with_a_shared_store_have_connections_of_their_own(
    quick_path: Path,
    forwarder: Forwarder,
    postgresql_url: str,
) -> None:
    code = FORK.replace("store=sys.argv[1]", "store=sys.argv[1], shared=sys.argv[2]") + AFTER_USE
    found = json.loads(output_of(code, quick_path, forwarder.url()))
    assert {block for held in found for block, _ in held} == {2}
    assert problems(quick_path) == [0, 1, 2, 3, 4, 9]
    with open_store(postgresql_url) as there, open_store(str(quick_path)) as here:
        assert len(list(there.iter_sweeps())) > 0
        receive(there, here)  # what did not get there within a second
        assert {one.uid for one in there.iter_sweeps()} == {one.uid for one in here.iter_sweeps()}
