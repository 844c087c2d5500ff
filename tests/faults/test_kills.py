"""Processes that are killed in the middle of their work: what they acknowledged is there, and nobody is stuck."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import calls
from tests.faults.parts import PATIENT, output_of, start
from tests.store.samples import sweep
from tunedb.store import check, current, open_store, upgrade

# One process forks the writers and kills them, so that two hundred need not import SQLAlchemy two hundred times.
KILLS = """
import json, os, random, select, signal, sys, time
from tests.store.samples import running, sweep
from tunedb.store import open_store
path, kills = sys.argv[1], int(sys.argv[2])
open_store(path).close()

def write(n, end):
    store = open_store(path)
    while True:
        done = sweep(n, host="h" * random.randrange(3000))
        store.start_sweep(running(done))
        for trial in done.trials:
            store.put_trial(done.uid, trial)
        store.finish_sweep(done)
        os.write(end, f"{done.uid}\\n".encode())

random.seed(1)
acknowledged, ends = [], []
for n in range(kills):
    answer, end = os.pipe()
    child = os.fork()
    if child == 0:
        random.seed(n)
        write(n, end)
    os.close(end)
    ends.append((child, answer))
    if len(ends) < 2:  # two are writing at any time
        continue
    if n % 2:  # every other one has written, however slow the machine
        select.select([ends[0][1]], [], [], 5)
    time.sleep(random.random() * 0.05)
    child, answer = ends.pop(0)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(answer) as file:
        acknowledged += file.read().split()
os.kill(ends[0][0], signal.SIGKILL)
os.waitpid(ends[0][0], 0)
with os.fdopen(ends[0][1]) as file:
    acknowledged += file.read().split()
print(json.dumps(acknowledged))
"""

SWEEPER = """
import sys, time
from tests.faults import calls
tuner = calls.tuner(store=sys.argv[1])
def compile(block):
    if block == 4:
        while tuner.store.local.writer._thread.unfinished():  # a sweep does not wait for its trials to be written
            time.sleep(0.01)
        print("sweeping", flush=True)
        time.sleep(60)
calls.call(tuner, 1, compile)
"""

WAITERS = """
import json, sys
from tests.faults import calls
from tests.faults.parts import crowd
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps(crowd(4, lambda n: calls.call(calls.tuner(store=sys.argv[1])))))
"""

UPGRADER = """
import sys, time
from alembic import command
from tunedb.store.sql import schema
from tunedb.store.sql.engine import locate
with schema.transaction(locate(sys.argv[1])) as connection:
    command.upgrade(schema.alembic_config(connection), "head")
    print("upgraded", flush=True)
    time.sleep(60)
"""


def test_killed_writers_lose_nothing_that_was_acknowledged_and_tear_nothing(
    quick_path: Path, exhaustive: bool, allowance: Callable[[], float]
) -> None:
    path, kills = quick_path, 200 if exhaustive else 30
    acknowledged = json.loads(output_of(KILLS, path, kills))
    begun = time.monotonic()
    with open_store(str(path), busy_timeout=2) as store:
        assert store.put_sweep(sweep(-1))  # no lock is left
        assert time.monotonic() - begun < 2 + allowance()
        stored = {one.uid: one for one in store.iter_sweeps(finished=False, with_trials=True)}
        with store._access.read() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    assert len(acknowledged) > kills / 3
    assert {stored[uid].status for uid in acknowledged} == {"tuned"}
    for one in stored.values():
        if one.status == "tuned":
            assert (len(one.trials), sum(one.counts.values()), one.config is not None) == (3, 3, True)
        else:
            assert (one.status, one.counts, one.config) == ("running", {}, None)
    assert not list(path.parent.glob("*.corrupt-*"))
    check(str(path))


def test_a_waiter_takes_over_from_a_killed_sweeper_and_the_others_read_what_it_found(quick_path: Path) -> None:
    path = quick_path
    waiters, sweeper = start(PATIENT + WAITERS, path), start(PATIENT + SWEEPER, path)
    assert (waiters.stdout.readline(), sweeper.stdout.readline()) == ("ready\n", "sweeping\n")
    waiters.stdin.write("go\n")
    waiters.stdin.flush()
    time.sleep(0.5)
    assert waiters.poll() is None
    sweeper.send_signal(signal.SIGKILL)
    sweeper.communicate()
    found = json.loads(waiters.communicate(timeout=30)[0])
    assert sorted(source for _, source, _, _ in found) == ["store", "store", "store", "sweep"]
    assert {block for block, _, _, _ in found} == {2}
    assert max(seconds for *_, seconds in found) < 10
    with open_store(str(path)) as store:
        killed, done = sorted(store.iter_sweeps(finished=False, with_trials=True), key=lambda one: one.status)
    assert (killed.status, {trial.config["BLOCK"] for trial in killed.trials}) == ("running", {1, 2})
    assert (done.status, len(done.trials)) == ("tuned", 3)


def test_a_stopped_sweeper_keeps_nobody_waiting_for_longer_than_the_lock_s_timeout(
    tmp_path: Path, allowance: Callable[[], float]
) -> None:
    path = tmp_path / "store.db"
    sweeper = start(PATIENT + SWEEPER, path)
    assert sweeper.stdout.readline() == "sweeping\n"
    sweeper.send_signal(signal.SIGSTOP)
    try:
        block, source, tried, seconds = calls.call(calls.tuner(store=str(path), lock_timeout=0.3))
        assert (block, source, tried) == (1, "default", [])
        assert seconds < 2 + allowance()
    finally:
        sweeper.kill()
        sweeper.communicate()


def test_an_upgrade_that_was_killed_has_changed_nothing_and_the_next_one_goes_through(stored_url: str) -> None:
    upgrader = start(UPGRADER, stored_url)
    assert upgrader.stdout.readline() == "upgraded\n"
    upgrader.kill()
    upgrader.communicate()
    assert current(stored_url) is None
    assert upgrade(stored_url) is None
    check(stored_url)


@pytest.mark.parametrize("moment", ["before the file is made", "before its schema is made", "within the first write"])
def test_a_first_opening_that_was_killed_leaves_a_store_that_opens(moment: str, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "store.db"
    path.parent.mkdir()
    Path(f"{path}.lock").touch()
    if moment != "before the file is made":
        path.touch()
    if moment == "within the first write":
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("PRAGMA cache_spill=1")
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE device (id INTEGER)")
        journal = Path(f"{path}-journal").read_bytes()
        other.execute("ROLLBACK")
        other.close()
        Path(f"{path}-journal").write_bytes(journal)
    with open_store(str(path), busy_timeout=1) as store:
        assert store.put_sweep(sweep())
    check(str(path))


def test_the_lock_file_of_a_process_that_is_gone_stands_in_nobody_s_way(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    names: list[str] = []
    first, second = calls.tuner(store=str(path)), calls.tuner(store=str(path), lock_timeout=0)
    folder = first.locks
    calls.call(first, 1, lambda _: names.extend(entry.name for entry in folder.iterdir()))
    Path(f"{path}.lock").write_text("12345\n")  # whatever they hold: the lock is the system's, not the file's
    (folder / names[0]).write_text("12345\n")
    path.unlink()
    assert calls.call(second)[:2] == (2, "sweep")
