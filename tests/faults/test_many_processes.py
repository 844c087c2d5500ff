"""Many processes at once: the first to open a store, and to sweep a problem, and the others that come with them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.faults.parts import PATIENT, output_of, start
from tunedb.store import check, open_store

# Many processes on few cores: how long a call waits for its store is not what is tested.

OPENERS = """
import sys
import alembic.command
from tests.faults.parts import crowd
from tests.store.samples import sweep
from tunedb.store import open_store
count, turns = map(int, sys.argv[2:])
for turn in range(turns):
    path = f"{sys.argv[1]}/{turn}/store.db"
    assert crowd(count, lambda n: open_store(path).put_sweep(sweep(n))) == [True] * count
"""

SWEEPERS = """
import json, random, sys, time
import alembic.command
from tests.faults import calls
from tests.faults.parts import crowd
count, most = map(int, sys.argv[2:])
def work(n):
    tuner = calls.tuner(store=sys.argv[1])
    problems = random.Random(n).sample(range(most), most)
    found = {problem: calls.call(tuner, problem, lambda _: time.sleep(0.01))[:3] for problem in problems}
    tuner.close()
    return found
print(json.dumps(crowd(count, work)))
"""

TOGETHER = """
import json, random, sys, threading
from tests.faults import calls
from tests.faults.parts import crowd
def work(n):
    tuner, found = calls.tuner(store=sys.argv[1]), []
    def thread(seed):
        for problem in random.Random(seed).choices(range(12), k=20):
            found.append((problem, *calls.call(tuner, problem)[:3]))
    threads = [threading.Thread(target=thread, args=(10 * n + k,)) for k in range(4)]
    for one in threads: one.start()
    for one in threads: one.join()
    tuner.close()
    return found
print(json.dumps(crowd(4, work)))
"""


def test_many_processes_open_an_absent_store_and_each_row_is_kept(quick_path: Path, exhaustive: bool) -> None:
    folder_of_all, count, turns = quick_path.parent, *((16, 5) if exhaustive else (8, 2))
    output_of(OPENERS, folder_of_all, count, turns)
    for turn in range(turns):
        folder = folder_of_all / str(turn)
        assert sorted(entry.name for entry in folder.iterdir()) == ["store.db", "store.db.lock"]
        check(str(folder / "store.db"))
        assert len(list(open_store(str(folder / "store.db")).iter_sweeps())) == count


def test_many_processes_sweep_each_problem_once_and_all_hold_the_same_config(
    quick_path: Path, exhaustive: bool
) -> None:
    path, count, most = str(quick_path), *((16, 64) if exhaustive else (8, 16))
    # A trial that had to wait may be logged.
    found = json.loads(start(PATIENT + SWEEPERS, path, count, most).communicate(timeout=120)[0])
    assert [len(held) for held in found] == [most] * count
    assert {block for held in found for block, _, _ in held.values()} == {2}
    swept = [problem for held in found for problem, (_, source, _) in held.items() if source == "sweep"]
    assert sorted(map(int, swept)) == list(range(most))
    stored = list(open_store(path).iter_sweeps(finished=False, with_trials=True))
    assert sorted(sweep.problem["n"] for sweep in stored) == list(range(most))
    assert {(sweep.status, len(sweep.trials)) for sweep in stored} == {("tuned", 3)}


def test_processes_of_several_threads_lose_nothing_and_leave_a_sound_file(quick_path: Path) -> None:
    path = str(quick_path)
    found = json.loads(output_of(PATIENT + TOGETHER, path))
    assert [len(held) for held in found] == [80] * 4
    assert {block for held in found for _, block, _, _ in held} == {2}
    asked = {problem for held in found for problem, _, _, _ in held}
    with open_store(path) as store:
        assert sorted(sweep.problem["n"] for sweep in store.iter_sweeps(finished=False)) == sorted(asked)
        with store._access.read() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
