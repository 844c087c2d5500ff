"""Finished sweeps that a shared store did not take: they are sent once it takes writes again, or are counted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from tests.store.samples import sweep
from tests.threads import eventually
from tunedb.core.claim import Claimant
from tunedb.core.sweep import Sweep
from tunedb.errors import StoreError, StoreReadOnly, StoreUnavailable
from tunedb.store import shared as module
from tunedb.store.breaker import RETRY_AFTER_S
from tunedb.store.claim_keeper import Publication
from tunedb.store.shared import SharedStore

CLAIMANT = Claimant("here 1 ab", None, 60.0)


def standby() -> StoreReadOnly:
    """The error of a server that takes no writes at present."""
    error = StoreReadOnly("cannot execute INSERT in a read-only transaction")
    error.is_temporary = True
    return error


class Server:
    """A shared store that takes sweeps, or raises what `fault` returns for one."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.tries = 0
        self.fault: Callable[[str], StoreError | None] = lambda uid: None
        self.usage = self.hosts = self

    def put_sweep(self, done: Sweep) -> None:
        self.tries += 1
        if (error := self.fault(done.uid)) is not None:
            raise error
        self.sent.append(done.uid)

    def publish(self, done: Sweep, *_: object, **__: object) -> Publication:
        self.put_sweep(done)
        return Publication.OVERTAKEN

    publish_late = publish

    def take(self, sums: object) -> None:
        """Take counts."""


class Process:
    """A server, the shared store of a process that uses it, and the process's clock."""

    def __init__(self) -> None:
        self.server, self.seconds = Server(), 0.0
        server = cast(Any, self.server)
        self.store = SharedStore("remote", lambda: server, deadline=0.05, monotonic=lambda: self.seconds)

    def finish(self, *sweeps: Sweep) -> None:
        """Have sweeps sent, one after the other, whose fate is known when this returns."""
        for done in sweeps:
            self.store.finish_sweep(done)
            self.settle()

    def settle(self) -> None:
        """Wait for what is being sent."""
        assert eventually(lambda: not any(access.unfinished() for access in self.store._accesses))

    def rest(self) -> None:
        """Let the time pass for which a store that failed is left alone."""
        self.seconds += RETRY_AFTER_S + 1


@pytest.fixture
def process() -> Iterator[Process]:
    """A process with a shared store."""
    made = Process()
    yield made
    made.settle()


@pytest.mark.parametrize("error", [standby(), StoreUnavailable("connection refused")], ids=["standby", "away"])
@pytest.mark.parametrize("trigger", ["sweep", "counts", "flush"])
def test_what_it_did_not_take_is_sent_with_the_next_write_that_it_takes(
    process: Process, error: StoreError, trigger: str, records: pytest.LogCaptureFixture
) -> None:
    sweeps = [sweep(n) for n in range(5)]
    process.server.fault = lambda uid: error
    process.finish(*sweeps[:2])  # one is refused, one is not even tried
    process.rest()
    process.finish(sweeps[2])
    process.server.fault = lambda uid: None
    process.finish(sweeps[3])  # the store is still left alone
    assert process.server.sent == []
    process.rest()
    if trigger == "sweep":
        process.finish(sweeps[4])
    elif trigger == "counts":
        process.store.take_counts(list)
    else:
        assert process.store.flush()
    process.settle()
    expected = sweeps if trigger == "sweep" else sweeps[:4]
    assert sorted(process.server.sent) == sorted(done.uid for done in expected)
    assert process.store.flush()
    process.store.report()
    assert "not sent" not in records.text


def test_an_outage_in_the_middle_of_sending_again_loses_nothing_and_sends_nothing_twice(process: Process) -> None:
    sweeps = [sweep(n) for n in range(6)]
    process.server.fault = lambda uid: standby()
    process.finish(*sweeps[:5])
    process.rest()
    process.server.fault = lambda uid: standby() if len(process.server.sent) == 3 else None
    process.finish(sweeps[5])
    assert len(process.server.sent) == 3
    assert not process.store.flush()
    process.rest()
    process.server.fault = lambda uid: None
    assert process.store.flush()
    assert sorted(process.server.sent) == sorted(done.uid for done in sweeps)


def test_a_sweep_whose_rows_are_refused_is_tried_once_and_keeps_none_of_the_others(
    process: Process, records: pytest.LogCaptureFixture
) -> None:
    sweeps = [sweep(n) for n in range(4)]
    process.server.fault = lambda uid: StoreUnavailable("away")
    process.finish(*sweeps[:3])
    refused = sweeps[1].uid
    process.server.fault = lambda uid: StoreError("refused a row") if uid == refused else None
    for _ in range(4):
        process.rest()
        process.store.flush()
    process.rest()
    process.finish(sweeps[3])
    assert sorted(process.server.sent) == sorted(done.uid for done in sweeps if done.uid != refused)
    tries = process.server.tries
    process.rest()
    assert not process.store.flush()
    assert process.server.tries == tries
    process.store.report()
    assert "in the local store only: 1. Run: tunedb sync" in records.text


def test_more_than_a_bound_is_only_counted_and_the_newest_are_sent(
    monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_UNSENT", 3)
    process = Process()
    sweeps = [sweep(n) for n in range(6)]
    process.server.fault = lambda uid: standby()
    process.finish(*sweeps[:5])
    process.server.fault = lambda uid: None
    process.rest()
    process.finish(sweeps[5])
    assert sorted(process.server.sent) == sorted(done.uid for done in sweeps[3:])
    process.store.report()
    assert "in the local store only: 3. Run: tunedb sync" in records.text


def test_a_store_that_turns_out_to_be_read_only_is_asked_no_more(process: Process) -> None:
    process.server.fault = lambda uid: standby()
    process.finish(sweep(0))
    process.rest()
    process.server.fault = lambda uid: StoreReadOnly("permission denied")
    process.store.flush()
    tries = process.server.tries
    process.rest()
    process.server.fault = lambda uid: None
    process.store.flush()
    process.finish(sweep(1))
    assert (process.server.tries, process.server.sent) == (tries, [])


def test_who_published_hears_late_what_became_of_the_sweep(process: Process) -> None:
    heard: list[Publication] = []
    process.server.fault = lambda uid: standby()
    now = process.store.publish(sweep(0), None, CLAIMANT, is_first=True, settled=heard.append)
    process.settle()
    assert (now, heard) == (Publication.UNKNOWN, [Publication.UNKNOWN])
    process.rest()
    process.server.fault = lambda uid: None
    assert process.store.flush()
    assert heard == [Publication.UNKNOWN, Publication.OVERTAKEN]


def test_a_forked_child_leaves_them_to_its_parent(process: Process) -> None:
    process.server.fault = lambda uid: standby()
    process.finish(sweep(0))
    process.rest()
    process.server.fault = lambda uid: None
    child = os.fork()
    if child == 0:
        os._exit(0 if process.store.flush() and not process.server.sent else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert process.store.flush()
    assert len(process.server.sent) == 1
