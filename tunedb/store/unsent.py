"""Finished sweeps that a shared store has not taken yet, each with the way to send it, until it takes them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from tunedb.errors import StoreUnavailable

if TYPE_CHECKING:
    from tunedb.store import Store

Send = Callable[["Store"], bool]  # whether no more is to be done: False of a sweep that is to be sent again later


class UnsentSweeps:
    """The sweeps of this process that are to be sent, by uid. More than `most` are only counted, the oldest first.

    Calls keep sweeps here while another thread sends them. What is not sent is in the local store, so `tunedb sync` can
    send it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.renew()

    def renew(self) -> None:
        """Forget all in a forked child: the parent sends its own sweeps."""
        self._guard = threading.RLock()  # a signal's handler may keep a sweep in the middle of a `keep`
        self._finished = 0
        self._settled = 0
        self._waiting: OrderedDict[str, Send] = OrderedDict()

    @property
    def number(self) -> int:
        """How many sweeps were not sent, also if they will not be."""
        return self._finished - self._settled

    def count(self) -> None:
        """Count one more."""
        with self._guard:
            self._finished += 1

    def keep(self, uid: str, send: Send) -> None:
        """Keep a sweep that was counted."""
        with self._guard:
            while len(self._waiting) >= self._most:
                self._waiting.popitem(last=False)
            self._waiting[uid] = send

    def give_up(self) -> None:
        """Keep none: the store will never take them."""
        with self._guard:
            self._waiting.clear()

    def uids(self) -> list[str]:
        """Return the uids of the sweeps that are kept, the oldest first."""
        with self._guard:
            return list(self._waiting)

    def waits(self, uid: str) -> bool:
        """Say whether this sweep is kept."""
        return uid in self._waiting

    def send(self, store: Store, uid: str) -> None:
        """Send a sweep, unless it was sent. It is kept if the store is away, and not if the store refuses its rows."""
        with self._guard:
            send = self._waiting.pop(uid, None)
        if send is None:
            return
        try:
            is_settled = send(store)
        except StoreUnavailable:
            self._keep_again(uid, send)
            raise
        if not is_settled:
            self._keep_again(uid, send)
            return
        with self._guard:
            self._settled += 1

    def _keep_again(self, uid: str, send: Send) -> None:
        with self._guard:
            if len(self._waiting) < self._most:  # else it is the oldest
                self._waiting[uid] = send
                self._waiting.move_to_end(uid, last=False)
