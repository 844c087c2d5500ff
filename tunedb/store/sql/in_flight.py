"""Connections that a thread is using, so that another one can give up an access that hangs."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Protocol

from tunedb._internal import forks


class HasDescriptor(Protocol):
    """A driver's connection that has a socket."""

    def fileno(self) -> int:
        """Return the socket's descriptor."""


_guard = threading.Lock()
_by_thread: defaultdict[int, list[HasDescriptor]] = defaultdict(list)


@forks.in_child
def _renew() -> None:
    global _guard
    _guard = threading.Lock()  # another thread of the parent may hold the old one
    _by_thread.clear()


@contextlib.contextmanager
def in_flight(connection: HasDescriptor) -> Iterator[None]:
    """Let other threads give up what this thread does with the connection in the block."""
    thread = threading.get_ident()
    with _guard:
        _by_thread[thread].append(connection)
    try:
        yield
    finally:
        with _guard:
            _by_thread[thread].remove(connection)
            if not _by_thread[thread]:
                del _by_thread[thread]


def give_up(thread: int) -> None:
    """Shut the connections that a thread is using: its access fails at once, and the next one makes a new connection.

    The driver waits without a limit for a server, or for something on the way to it, that has fallen silent.
    """
    with _guard:  # so that no descriptor is closed, and used again for something else, meanwhile
        for connection in _by_thread.get(thread, ()):
            with contextlib.suppress(OSError, ValueError), socket.socket(fileno=os.dup(connection.fileno())) as ours:
                ours.shutdown(socket.SHUT_RDWR)
