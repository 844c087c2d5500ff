"""A shared store as a call uses it: a few rows are read within a second, and from then on are in memory.

Threads of its own talk to it, so that a server that hangs costs a call one second, once.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from tunedb._internal import forks
from tunedb._internal.control import let_pass
from tunedb._internal.redact import without_password, without_passwords
from tunedb.core.claim import Claim, Claimant
from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.errors import StoreReadOnly
from tunedb.store import at_end, wait_budget
from tunedb.store.breaker import Breaker
from tunedb.store.catch_up import CatchUp
from tunedb.store.claim_keeper import Publication, Settled
from tunedb.store.remote import RemoteAccess
from tunedb.store.shared_claims import SharedClaims
from tunedb.store.shared_publication import SharedPublication
from tunedb.store.shared_rows import SharedRows
from tunedb.store.unsent import Send, UnsentSweeps

if TYPE_CHECKING:
    from tunedb.store import Store
    from tunedb.store.sql.hosts import HostSum

DEADLINE_S = 1.0  # a call waits this long for rows that it needs, for a claim, and for its sweep to arrive
SEND_S = 10.0  # a sweep is sent again and again for this long if its connection is cut: a server that restarts
CLOSE_S = 2.0  # the end of a process waits this long for what is still to be written
MAX_UNSENT = 256  # sweeps on their way to a server that is slow or away; beyond that they stay in the local store

_log = logging.getLogger("tunedb")
_all: weakref.WeakSet[SharedStore] = weakref.WeakSet()


class SharedStore:
    """One shared store, from which finished sweeps are read and to which they are written.

    A call never makes it or migrates it; each cause of a failure is logged once. Writes that are refused hide no row
    from reads, whose failure stops both for a while. If its role may only read, nothing is sent and nothing claimed; if
    it may not claim, its sweeps are sent all the same. A standby is tried again later. Sweeps that it did not take are
    sent after the next write that it takes. At the end they are tried once more, even if it failed a moment ago. `load`
    imports what `opener` needs, on the caller's thread: that is no wait for a store.
    """

    def __init__(
        self,
        url: str,
        opener: Callable[[], Store],
        *,
        load: Callable[[], None] = lambda: None,
        writable: bool = True,
        deadline: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = without_password(url)
        self.deadline = DEADLINE_S if deadline is None else deadline
        self._writable, self._may_claim = writable, True
        self._reads, self._writes = Breaker(monotonic), Breaker(monotonic)
        self._count_writes = Breaker(monotonic)  # apart: a role may write sweeps, and no counts
        self._causes: set[str] = set()
        self._unsent = UnsentSweeps(MAX_UNSENT)
        reader = RemoteAccess("tunedb-shared", opener, self._fail_read, monotonic)
        self._sender = RemoteAccess("tunedb-sender", opener, self._fail_write, monotonic)
        claims = RemoteAccess("tunedb-claims", opener, self._fail_claim, monotonic)
        self._counts = RemoteAccess("tunedb-counts", opener, self._fail_counts, monotonic)
        self._rows = SharedRows(reader, lambda: not self._reads.is_open, load, self.deadline, monotonic)
        self._accesses = (reader, self._sender, claims, self._counts)
        self.claims = SharedClaims(claims, self._takes_claims, load, self.deadline, self.publish)
        self.renew()
        _all.add(self)
        forks.renew_in_child(self)

    def renew(self) -> None:
        """Count again in a forked child: the parent sends its own sweeps."""
        self._unsent.renew()

    def takes_writes(self) -> bool:
        """Say whether something may be written: the store is not left alone, and is not known to be read only."""
        return self._writable and not self._reads.is_open and not self._writes.is_open

    def _takes_claims(self) -> bool:
        return self._may_claim and self.takes_writes()

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the finished sweeps of that identity, as they were when they were first read or last refreshed."""
        return self._rows.of_problem(problem, device, kernel_hash)

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the newest sweeps of a kernel on a device; empty if the store does not answer in time."""
        return self._rows.of_kernel(kernel, device, kernel_hash)

    def get_devices(self, kernel_hash: str) -> list[Device]:
        """Return the devices that tuned sweeps of a kernel are of, as they were a minute ago at most."""
        return self._rows.devices(kernel_hash)

    def refresh(self, problem: Problem, device: Device, kernel_hash: str) -> None:
        """Read the rows of that identity again when they are next asked for."""
        self._rows.refresh(problem, device, kernel_hash)

    def get_whole(self, uid: str) -> list[Sweep]:
        """Return the sweep of this uid with its trials; empty if it is no winner, or the store does not answer."""
        pages = self._rows.ask(lambda store: list(store.get_whole([uid])))
        return [sweep for page in pages or () for sweep in page if sweep.leaves_its_store]

    def finish_sweep(self, sweep: Sweep) -> None:
        """Write a sweep that has a winner in the background, and not at all if the store fails.

        A sweep that is not written is sent later, as `publish` does; in the end, `tunedb sync` unites the two stores.
        """

        def send(store: Store) -> bool:
            store.put_sweep(sweep)
            return True

        self._send(send, sweep, self.deadline)

    def publish(
        self, sweep: Sweep, claim: Claim | None, claimant: Claimant, *, is_first: bool, settled: Settled
    ) -> Publication:
        """Write a sweep under its claim: see `ClaimKeeper.publish`. A call waits a second for it, of its budget.

        If the store does not take it now, `settled` hears UNKNOWN, and later once more, if it is sent in the end.
        """
        publication = SharedPublication(
            sweep, claim, claimant, is_first=is_first, settled=settled,
            may_claim=lambda: self._may_claim, refuse_claims=self._refuse_claims,
        )  # fmt: skip
        job = None
        try:
            job = self._send(publication.send, sweep, SEND_S, publication.report)
            if job is not None:
                wait_budget.current().wait(job, self.deadline)
        finally:
            result = publication.leave()
        if job is None:
            publication.report()
        return result

    def _send(
        self, send: Send, sweep: Sweep, again_s: float, ended: Callable[[], object] = lambda: None
    ) -> wait_budget.Waitable | None:
        if not (self._writable and sweep.leaves_its_store):
            return None
        self._unsent.count()
        if self._sender.unfinished() >= MAX_UNSENT:
            return None
        self._unsent.keep(sweep.uid, send)
        if not self.takes_writes():
            return None

        def send_it(store: Store) -> None:
            self._unsent.send(store, sweep.uid)
            if self._sender.runs_here() and self._sender.unfinished() == 1:  # else after those on their way
                self._send_waiting()

        return self._sender.submit(send_it, again_s, lambda: self._writable and not self._writes.is_open, ended)

    def _send_waiting(self, *, at_end: bool = False) -> CatchUp | None:
        """Begin to send what the store did not take before; at the end also if it failed a moment ago, but once."""
        if not (self._writable and self._unsent.uids() and (at_end or self.takes_writes())):
            return None
        is_wanted = (lambda: self._writable) if at_end else self.takes_writes
        catch_up = CatchUp(self._unsent, self._sender, is_wanted, 0.0 if at_end else self.deadline)
        catch_up.start()
        return catch_up

    def take_counts(self, read: Callable[[], list[HostSum]]) -> None:
        """Write what `read` returns, what hosts counted, in the background; not at all if the store fails.

        They are sums: what is not written now comes with a later change of the same count, or with `tunedb sync`.
        """

        def send(store: Store) -> None:
            try:
                sums = read()
            # Of the local store, which logs its own failures, and is no fault of this one.
            except Exception as error:
                let_pass(error)
                return
            store.usage.hosts.take(sums)
            if self._counts.runs_here() and not self._sender.unfinished():
                self._send_waiting()

        if self._takes_counts() and self._counts.unfinished() < MAX_UNSENT:
            self._counts.submit(send, self.deadline, self._takes_counts)

    def _takes_counts(self) -> bool:
        return self.takes_writes() and not self._count_writes.is_open

    def flush(self, *, at_end: bool = False) -> bool:
        """Send what waits, within the call's budget; return whether all was sent.

        At the end of the process this is tried once even if the store failed a moment ago.
        """
        with wait_budget.one_call():
            catch_up = self._send_waiting(at_end=at_end)
            for access in self._accesses[1:]:
                access.flush()
            if catch_up is not None:
                wait_budget.current().wait(catch_up)
        return not self._unsent.number

    def close(self, wait: float = CLOSE_S) -> None:
        """Send what waits, and wait at most `wait` seconds for it."""
        with wait_budget.one_call(wait):
            self.flush(at_end=True)

    def report(self) -> None:
        """Log how many finished sweeps are only in the local store, at the end of the process."""
        if self._writable and self._unsent.number:
            _log.warning(
                "Finished sweeps that were not sent to %s and are in the local store only: %d. Run: tunedb sync",
                self.url, self._unsent.number,
            )  # fmt: skip

    def _fail_read(self, error: Exception | None) -> None:
        self._rest(error, self._reads, self._writes)

    def _fail_write(self, error: Exception | None) -> None:
        if not isinstance(error, StoreReadOnly):
            self._rest(error, self._writes)
        elif error.is_temporary:
            self._wait_for_writes(error)
        else:
            self._become_reader(error)

    def _fail_claim(self, error: Exception | None) -> None:
        if error is None:
            self._rest(error, self._reads, self._writes)
        elif isinstance(error, StoreReadOnly) and not error.is_temporary:
            self._refuse_claims(error)
        else:
            self._fail_write(error)

    def _fail_counts(self, error: Exception | None) -> None:
        self._count_writes.trip()  # no warning: nothing is lost, `tunedb sync` sends the sums, and says what fails
        _log.info("Counts were not sent to %s. %s", self.url, without_passwords(str(error or "It did not answer.")))

    def _become_reader(self, error: Exception) -> None:
        if self._writable:
            self._writable = False
            self._unsent.give_up()
            _log.info("Shared store %s is only read: it takes no writes. %s", self.url, without_passwords(str(error)))

    def _refuse_claims(self, error: Exception) -> None:
        if self._may_claim:
            self._may_claim = False
            _log.info("Shared store %s takes no claims. %s", self.url, without_passwords(str(error)))

    def _wait_for_writes(self, error: Exception) -> None:
        self._writes.trip()
        if "standby" not in self._causes:
            self._causes.add("standby")
            _log.info("Shared store %s takes no writes at present. %s", self.url, without_passwords(str(error)))

    def _rest(self, error: Exception | None, *breakers: Breaker) -> None:
        for breaker in breakers:
            breaker.trip()
        cause = "late" if error is None else type(error).__name__
        text = f"no answer within {self.deadline:g} s" if error is None else f"{cause}: {error}"
        if cause not in self._causes:
            self._causes.add(cause)
            _log.warning(
                "Shared store %s can't be used; calls go on with the local one. %s See: tunedb doctor",
                self.url, without_passwords(text),
            )  # fmt: skip


def flush_shared() -> bool:
    """Wait within the call's budget for what is being sent to shared stores; return whether all was sent."""
    sent = [shared.flush() for shared in list(_all)]
    return all(sent)


def _end() -> None:
    stores = list(_all)
    for shared in stores:
        shared.flush(at_end=True)
    for shared in stores:
        shared.report()


at_end.register(_end)
