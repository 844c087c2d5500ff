"""A fleet: hosts with state folders of their own and one PostgreSQL, whose processes all call first at once."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.faults.network import Forwarder
from tests.faults.parts import start
from tests.threads import eventually
from tunedb.store import open_store, upgrade

HOSTS = 2
LEASE_S = 1.0
# Many processes on few cores: how long a call waits for its stores is not what is tested.
PROCESS = """
import json, random, sys, time
from tests import patience
patience.be_patient()
from tests.faults import calls
from tests.fakes import FakeKernel
from tunedb.store.shared import flush_shared
from tunedb.store.wait_budget import one_call
store, shared, lease, most, seed = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
tuner = calls.tuner(store=store, shared=shared, lease=lease)
print("ready", flush=True)
sys.stdin.readline()
found = {}
for n in random.Random(seed).sample(range(most), most):
    kernel = FakeKernel(calls.TIMES, on_compile=lambda _: time.sleep(0.01))
    choice = tuner.choose(kernel, kernel.problem(n=n), -1)
    found[n] = [choice.source, choice.sweep and choice.sweep.uid]
print(json.dumps(found), flush=True)
with one_call(60):
    flush_shared()
tuner.close()
"""


class Fleet:
    """Processes on two hosts, and what they are asked for: each of `most` problems, in an order of its own."""

    def __init__(self, folder: Path, url: str, count: int, most: int) -> None:
        self.url = url
        self.most = most
        for host in range(HOSTS):  # as machines that have worked before
            open_store(str(folder / f"host{host}" / "store.db")).close()
        self.processes = [
            start(PROCESS, folder / f"host{n % HOSTS}" / "store.db", url, LEASE_S, most, n) for n in range(count)
        ]

    def go(self) -> None:
        """Have all of them begin at once."""
        for process in self.processes:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
        for process in self.processes:
            process.stdin.write("\n")
            process.stdin.flush()

    def answers(self, *, without: int = 0) -> list[dict[str, Any]]:
        """What each process got for each problem; the first few were killed."""
        found = []
        for process in self.processes[without:]:
            out, err = process.communicate(timeout=240)
            assert process.returncode == 0, err
            found.append(json.loads(out.splitlines()[-1]))
        return found

    def check(self, answers: list[dict[str, Any]]) -> None:
        """Each problem was swept once, and all have the same sweep of it, without a restart."""
        assert [len(held) for held in answers] == [self.most] * len(answers)
        stored = swept_in(self.url)
        assert sorted(stored) == list(range(self.most)), "each is published"
        assert {n: uids for n, uids in stored.items() if len(uids) != 1} == {}, "once"
        differing = {n: held for n in stored if (held := {h[str(n)][1] for h in answers}) != set(stored[n])}
        assert differing == {}, "by all"


def swept_in(url: str) -> Mapping[int, list[str]]:
    """The uids of the shared store's sweeps by problem."""
    found: dict[int, list[str]] = {}
    with open_store(url) as store:
        for sweep in store.iter_sweeps(finished=False):
            found.setdefault(sweep.problem["n"], []).append(sweep.uid)
    return found


def wait_for_sweeps(url: str, count: int) -> None:
    """Wait until so many are in the shared store."""
    with open_store(url) as store:
        assert eventually(lambda: len(list(store.iter_sweeps())) >= count, 120)


@pytest.fixture
def size(exhaustive: bool) -> tuple[int, int]:
    """The number of processes and of problems."""
    return (8, 64) if exhaustive else (4, 12)


@pytest.fixture
def shared_url(postgresql_url: str) -> str:
    """The shared store, without rows."""
    upgrade(postgresql_url)
    return postgresql_url.replace("postgresql://", "postgresql+psycopg://")


def test_all_processes_of_two_hosts_call_at_once_and_have_one_sweep_of_each_problem(
    tmp_path: Path, shared_url: str, size: tuple[int, int]
) -> None:
    fleet = Fleet(tmp_path, shared_url, *size)
    fleet.go()
    answers = fleet.answers()
    fleet.check(answers)
    swept = [n for held in answers for n, (source, _) in held.items() if source == "sweep"]
    assert sorted(map(int, swept)) == list(range(fleet.most))


def test_a_part_of_the_processes_is_killed_and_the_others_have_one_sweep_of_each_problem(
    tmp_path: Path, shared_url: str, size: tuple[int, int]
) -> None:
    killed = 3 if size[0] == 8 else 1
    fleet = Fleet(tmp_path, shared_url, *size)
    fleet.go()
    wait_for_sweeps(shared_url, 2)
    for process in fleet.processes[:killed]:
        process.kill()
        process.communicate()
    fleet.check(fleet.answers(without=killed))


def test_the_server_is_restarted_in_the_middle(
    tmp_path: Path, shared_url: str, size: tuple[int, int], postgresql_instance: Any
) -> None:
    fleet = Fleet(tmp_path, shared_url, *size)
    fleet.go()
    wait_for_sweeps(shared_url, 2)
    postgresql_instance.stop()
    postgresql_instance.ensure_postgres_running()
    fleet.check(fleet.answers())


@contextlib.contextmanager
def cutting(forwarder: Forwarder, url: str) -> Iterator[list[int]]:
    """Cut all connections in the block, whenever another sweep has arrived; yield how many had, each time."""
    done, arrived = threading.Event(), [-1]

    def cut() -> None:
        with open_store(url) as store:  # not by the way that is cut
            while not done.wait(0.05):  # however slow the machine is, something gets through between two cuts
                if (count := len(list(store.iter_sweeps()))) > arrived[-1]:
                    arrived.append(count)
                    forwarder.cut()
                    forwarder.up()

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        yield arrived
    finally:
        done.set()
        thread.join()


def test_a_proxy_cuts_connections_again_and_again(
    tmp_path: Path, shared_url: str, size: tuple[int, int], postgresql_server: str
) -> None:
    with Forwarder(parse_qs(urlsplit(postgresql_server).query)["host"][0]) as forwarder:
        fleet = Fleet(tmp_path, forwarder.url(), *size)
        fleet.url = shared_url
        with cutting(forwarder, shared_url) as cuts:
            fleet.go()
            answers = fleet.answers()
        fleet.check(answers)
        assert len(cuts) > 2  # at least once after the first sweep had arrived


def test_another_host_that_comes_later_sweeps_nothing(tmp_path: Path, shared_url: str) -> None:
    first = Fleet(tmp_path / "first", shared_url, 1, 3)
    first.go()
    first.answers()
    later = Fleet(tmp_path / "later", shared_url, 1, 3)
    later.go()
    answers = later.answers()
    later.check(answers)
    assert {source for source, _ in answers[0].values()} == {"store"}
