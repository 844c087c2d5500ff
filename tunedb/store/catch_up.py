"""The sending of sweeps that a shared store did not take: one after the other, so that others come in between."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from tunedb._internal.gate import Gate
from tunedb.store import wait_budget
from tunedb.store.remote import RemoteAccess
from tunedb.store.unsent import UnsentSweeps

if TYPE_CHECKING:
    from tunedb.store import Store


class CatchUp:
    """One round of the sweeps that wait now, until the store fails. Each is sent once, by an access of its own.

    Each access is submitted at the end of the one before, behind what was submitted meanwhile: a publication, or a
    fork, waits for one sweep, not for all. An access is tried again for `again_s` seconds, and not made unless
    `is_wanted`.
    """

    def __init__(
        self, unsent: UnsentSweeps, access: RemoteAccess, is_wanted: Callable[[], bool], again_s: float
    ) -> None:
        self._unsent = unsent
        self._access = access
        self._is_wanted = is_wanted
        self._again_s = again_s
        self._uids = deque(unsent.uids())
        self._is_sent = False  # the present one
        self._is_inline = False  # no thread could be started: the present one was sent on the caller's
        self._ended = Gate()

    def start(self) -> None:
        """Begin. If no thread can be started, it is done here, within the call's budget."""
        until = time.monotonic() + wait_budget.current().left
        self._submit_next()
        while self._is_inline and time.monotonic() < until:
            self._submit_next()
        if self._is_inline:
            self._end()

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the round; return whether it has ended."""
        return self._ended.wait(seconds)

    def _submit_next(self) -> None:
        self._is_sent = self._is_inline = False
        while self._uids and not self._unsent.waits(self._uids[0]):  # it was sent meanwhile
            self._uids.popleft()
        if self._uids:
            self._access.submit(self._send, self._again_s, self._is_wanted, self._go_on)
        else:
            self._end()

    def _send(self, store: Store) -> None:
        self._unsent.send(store, self._uids[0])
        self._is_sent = True

    def _go_on(self) -> None:
        self._uids.popleft()
        if not self._is_sent:
            self._end()
        elif self._access.runs_here():
            self._submit_next()
        else:  # a submission from here would be made within this one, and so on
            self._is_inline = True

    def _end(self) -> None:
        if not self._ended.is_open:
            self._ended.open()
