"""How sweeps that a shared store did not take are sent: one after the other, and once more when a process ends."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import OrderedDict

import pytest

from tests.store.samples import sweep
from tests.store.test_unsent import CLAIMANT, Process, standby
from tests.threads import errors_at_once
from tunedb.core.sweep import Sweep
from tunedb.errors import StoreError, StoreUnavailable
from tunedb.store import shared as module
from tunedb.store.shared import MAX_UNSENT
from tunedb.store.unsent import Send, UnsentSweeps


class Outage(Process):
    """A process whose sweeps wait, and whose server is back."""

    def __init__(self, count: int, error: StoreError | None = None) -> None:
        super().__init__()
        self.sweeps = [sweep(n) for n in range(count)]
        self.server.fault = lambda uid: error or standby()
        self.finish(*self.sweeps)
        self.server.tries = 0
        self.server.fault = lambda uid: None

    @property
    def uids(self) -> list[str]:
        """The uids of the sweeps that wait."""
        return [done.uid for done in self.sweeps]


class Yielding(OrderedDict[str, Send]):
    """A dictionary that lets other threads run wherever its length is asked for."""

    def __len__(self) -> int:
        found = super().__len__()
        time.sleep(1e-5)
        return found


def test_a_sweep_that_is_published_meanwhile_is_sent_before_those_that_wait_longer() -> None:
    process, fresh, published = Outage(20), sweep(100), list[Sweep]()

    def publish(_: str) -> None:
        if not published:  # while the first one is sent
            published.append(fresh)
            process.store.finish_sweep(fresh)

    process.server.fault = publish
    process.rest()
    assert process.store.flush()
    assert process.server.sent == [process.uids[0], fresh.uid, *process.uids[1:]]


def test_however_long_all_of_them_take_the_thread_that_sends_them_does_not_hang() -> None:
    process, hung = Outage(10), list[bool]()

    def take_long(_: str) -> None:
        hung.append(process.store._sender._thread.hangs())
        process.seconds += 10.0

    process.rest()
    process.server.fault = take_long
    assert process.store.flush()
    assert (len(hung), any(hung)) == (10, False)


def test_a_fork_waits_for_one_of_them_not_for_all() -> None:
    process, forked, begun = Outage(40), threading.Event(), threading.Event()

    def take_long(_: str) -> None:
        begun.set()
        forked.wait(0.2)

    process.server.fault = take_long
    process.rest()
    process.store.finish_sweep(sweep(100))
    assert begun.wait(10)
    child = os.fork()
    if child == 0:
        os._exit(0)
    sent = len(process.server.sent)
    forked.set()
    assert os.waitpid(child, 0)[1] == 0
    assert sent < 8, "a fork waits two seconds, so for ten of them if they are one access"
    process.settle()
    assert process.store.flush()


def test_calls_keep_sweeps_while_others_are_sent() -> None:
    unsent, kept = UnsentSweeps(2), 200
    unsent._waiting = Yielding()

    def work(thread: int) -> None:
        for n in range(kept):
            if thread:
                unsent.count()
                unsent.keep(f"{thread} {n % 5}", lambda store: bool(store))
            else:
                for uid in unsent.uids():
                    unsent.send(None, uid)  # type: ignore[arg-type]

    assert errors_at_once(3, work) == []
    assert len(unsent.uids()) == 2
    assert unsent.number == 2 * kept


def test_a_child_that_is_forked_while_a_sweep_is_kept_keeps_its_own() -> None:
    unsent, held, done = UnsentSweeps(2), threading.Event(), threading.Event()

    def hold() -> None:
        with unsent._guard:
            held.set()
            done.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    process = Process()
    process.store._unsent = unsent
    child = os.fork()
    if child == 0:
        unsent.keep("of the child", lambda _: True)
        os._exit(0 if unsent.uids() == ["of the child"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    done.set()
    holder.join()


@pytest.mark.parametrize("error", [standby(), StoreUnavailable("connection refused")], ids=["standby", "away"])
@pytest.mark.parametrize("way", ["close", "end"])
def test_at_its_end_a_process_sends_all_although_the_server_failed_a_moment_ago(
    error: StoreError, way: str, monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture
) -> None:
    process = Outage(30, error)
    assert not process.store.flush()
    assert process.server.tries == 0, "a call leaves it alone"
    if way == "close":
        process.store.close()
        process.store.report()
    else:
        monkeypatch.setattr(module, "_all", weakref.WeakSet([process.store]))
        module._end()
    assert process.server.sent == process.uids
    assert "not sent" not in records.text


def test_a_server_that_is_still_away_at_the_end_is_tried_once() -> None:
    process = Outage(30)
    process.server.fault = lambda uid: StoreUnavailable("connection refused")
    process.store.close()
    assert (process.server.tries, process.server.sent) == (1, [])


def test_the_end_waits_for_a_server_that_hangs_as_long_as_it_may_and_no_longer() -> None:
    process, over = Outage(3), threading.Event()

    def hang(_: str) -> None:
        over.wait(30)

    process.server.fault = hang
    process.store.close(wait=0.1)
    assert process.server.sent == []
    over.set()
    process.settle()
    assert process.server.sent == process.uids


def test_if_no_thread_can_be_started_the_end_sends_them_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Outage(MAX_UNSENT)

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    process.store._sender._thread.renew()  # its thread has ended
    monkeypatch.setattr(threading.Thread, "start", start)
    process.store.close(wait=60)
    assert process.server.sent == process.uids


def test_if_no_thread_can_be_started_a_call_sends_its_own_sweep_only(monkeypatch: pytest.MonkeyPatch) -> None:
    process, fresh = Outage(20), sweep(100)
    process.rest()

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    process.store._sender._thread.renew()  # its thread has ended
    monkeypatch.setattr(threading.Thread, "start", start)
    process.store.publish(fresh, None, CLAIMANT, is_first=True, settled=lambda _: None)
    assert process.server.sent == [fresh.uid]
