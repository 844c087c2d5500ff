"""The workplace of an executor's process: its GPUs, each with a supervised child that is kept between jobs."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tunedb import settings
from tunedb.errors import SettingError, StoreError
from tunedb.fleet.gpu_lock import try_gpu
from tunedb.fleet.slots import Slot, gpu_slots, interpreters
from tunedb.settings import Settings
from tunedb.store import at_end
from tunedb.worker.supervisor import MAX_RELEASE_S, Interrupted, Supervisor

if TYPE_CHECKING:
    from tunedb.store import Store

IDLE_S = 30.0  # after the last job a child is kept so long: a new one takes seconds to start, an old one holds memory
END_S = MAX_RELEASE_S + 1.0  # in which the jobs that run at the end of the process notice that they are interrupted
POLL_S = 0.1  # between two looks for a GPU that another process has

_log = logging.getLogger("tunedb")
_guard = threading.Lock()
_current: Workplace | None = None


def workplace() -> Workplace:
    """Return this process's workplace, under its present settings."""
    global _current
    current = settings.current()
    with _guard:
        if _current is None or _current.owner != os.getpid() or _current.settings != current:
            if _current is not None and _current.owner == os.getpid():
                _current.close()
            _current = Workplace(current)
            at_end.arm()
        return _current


def interrupt_jobs() -> None:
    """End the sweeps of jobs that run in this very process, as those of a thread pool do."""
    if _current is not None and _current.owner == os.getpid():
        _current.interrupt()


def _end() -> None:
    """End the workplace with its process: its children give back what they have claimed, and send what waits.

    This takes longer than the two seconds that `at_end` gives to stores: a child may wait for a slow shared store.
    """
    if _current is not None and _current.owner == os.getpid():
        _current.end()


at_end.register(_end)


class Workplace:
    """The GPUs of this process, or its interpreter, each of which one job at a time uses."""

    def __init__(self, current: Settings) -> None:
        self.owner = os.getpid()
        self.settings = current
        self._lock = threading.Lock()
        self._slots: list[Slot] | None = None  # of GPUs; empty: interpreters, as many as jobs ask for at a time
        self._busy: set[str] = set()
        self._supervisors: dict[str, Supervisor] = {}
        self._store: tuple[Store, str] | None = None  # and its path or URL
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._timer: threading.Timer | None = None

    @contextlib.contextmanager
    def slot(self) -> Iterator[tuple[Slot, Supervisor]]:
        """Use a free GPU and its child; waits for one that another job, also of another process, uses."""
        with contextlib.ExitStack() as leaving:
            while (slot := self._take(leaving)) is None:
                time.sleep(POLL_S)
            supervisor = self._supervisor(slot)
            try:
                yield slot, supervisor
            except Interrupted as error:
                supervisor.__exit__(Interrupted, error, None)  # stores its sweep as aborted
                raise

    def _take(self, leaving: contextlib.ExitStack) -> Slot | None:
        with self._lock:
            if self._slots is None:
                self._slots = [] if settings.is_interpreted() else gpu_slots()
                if not self._slots and not settings.is_interpreted():
                    raise SettingError("No GPU was found. Set TRITON_INTERPRET=1 to run on the CPU.")
            if self._timer is not None:
                self._timer.cancel()
            slots = self._slots or interpreters(len(self._busy) + 1)
            # Those with a child first: other processes have theirs on other GPUs.
            for slot in sorted(slots, key=lambda slot: slot.name not in self._supervisors):
                if slot.name in self._busy:
                    continue
                if slot.gpu_name is not None:
                    with contextlib.ExitStack() as held:
                        if not held.enter_context(try_gpu(slot.gpu_name)):
                            continue
                        leaving.push(held.pop_all())
                self._busy.add(slot.name)
                leaving.callback(self._leave, slot)
                return slot
        return None

    def _leave(self, slot: Slot) -> None:
        with self._lock:
            self._busy.discard(slot.name)
            if not self._busy:
                self._timer = threading.Timer(IDLE_S, self._rest)
                self._timer.daemon = True
                self._timer.start()

    def _supervisor(self, slot: Slot) -> Supervisor:
        with self._lock:
            if slot.name not in self._supervisors:
                store, where = self._open()
                self._supervisors[slot.name] = Supervisor(
                    store, replace(self.settings, store=where), slot.index, variables=slot.variables,
                    workers=len(self._slots or ()),
                )  # fmt: skip
            return self._supervisors[slot.name]

    def _open(self) -> tuple[Store, str]:
        """Open this process's own store; a temporary one if that can't be used: the client stores the results too."""
        from tunedb.store import open_store

        if self._store is None:
            try:
                self._store = open_store(self.settings.store), self.settings.store
            except StoreError as error:
                _log.warning("%s A temporary store is used instead.", str(error))
                self._folder = tempfile.TemporaryDirectory(prefix="tunedb-")
                where = str(Path(self._folder.name) / "tunedb.db")
                self._store = open_store(where), where
        return self._store

    def _rest(self) -> None:
        with self._lock:
            if self._busy:
                return
            for supervisor in self._supervisors.values():
                supervisor.begin_to_finish()
            for supervisor in self._supervisors.values():
                supervisor.__exit__(None, None, None)
            self._supervisors.clear()

    def interrupt(self) -> None:
        """End the children of the jobs that run: each raises Interrupted."""
        with self._lock:
            for name in self._busy & set(self._supervisors):
                self._supervisors.pop(name).interrupt()

    def end(self) -> None:
        """End the children, also those whose jobs still run on other threads, and close the store."""
        self.interrupt()
        deadline = time.monotonic() + END_S
        while self._busy and time.monotonic() < deadline:
            time.sleep(POLL_S / 2)
        self.close()

    def close(self) -> None:
        """End the children, and close the store."""
        if self._timer is not None:
            self._timer.cancel()
        self._rest()
        if self._store is not None:
            self._store[0].close()
        if self._folder is not None:
            self._folder.cleanup()
