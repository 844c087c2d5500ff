"""A store that a signal handler's exception interrupts: it passes, and the accesses after it are served."""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType

import pytest

from tests.fakes import DEVICE
from tests.signals import Terminated, is_out_of_place
from tests.store.samples import running
from tests.sweep.test_run import sweep
from tunedb.core.sweep import Sweep
from tunedb.store import open_store
from tunedb.store.guarded import GuardedStore


def handle(number: int, frame: FrameType | None) -> None:
    raise Terminated


class Moments:
    """When Python runs signal handlers, on this thread: as functions begin, and as C functions end.

    Each moment of the store's code, known by its place and those of its callers, is interrupted once.
    """

    def __init__(self) -> None:
        self.seen: set[tuple[object, ...]] = set()
        self.last: tuple[object, ...] | None = None

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """Interrupt a block at the next moment that it has not been interrupted at."""
        self.last = None
        sys.setprofile(self._raise_once)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _raise_once(self, frame: FrameType, event: str, arg: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if event not in ("call", "c_return") or not module.startswith(("tunedb.store", "threading")):
            return
        stack = list(itertools.islice(traceback.walk_stack(frame), 4))
        # What interrupts the start of a thread may leave a thread that never ends: Python's own fault.
        is_starting = any(at.f_code.co_name == "start" and at.f_globals["__name__"] == "threading" for at, _ in stack)
        if is_starting or is_out_of_place(frame):
            return
        moment = (event, getattr(arg, "__qualname__", ""), *(f"{at.f_code.co_filename}:{line}" for at, line in stack))
        if moment not in self.seen:
            self.seen.add(moment)
            self.last = moment
            sys.setprofile(None)
            handle(signal.SIGALRM, frame)


@pytest.fixture
def moments() -> Iterator[Moments]:
    """Moments whose exceptions are known as a signal handler's."""
    before = signal.signal(signal.SIGALRM, handle)
    yield Moments()
    signal.signal(signal.SIGALRM, before)


def keep(store: GuardedStore, done: Sweep) -> None:
    """Write a sweep as a call does."""
    store.start_sweep(running(done))
    for trial in done.trials:
        store.put_trial(done.uid, trial)
    store.finish_sweep(done)
    store.wait_until_written(done.uid)


def flush(store: GuardedStore, _: Sweep) -> None:
    """Write what waits."""
    store.flush()


def look_up(store: GuardedStore, done: Sweep) -> None:
    """Look up a sweep, found or not."""
    store.get_sweeps(done.problem, DEVICE, done.kernel_hash)


@pytest.mark.parametrize("access", [keep, look_up, flush])
def test_accesses_after_one_that_was_interrupted_at_any_moment_are_served(
    tmp_path: Path, records: pytest.LogCaptureFixture, moments: Moments, access: Callable[[GuardedStore, Sweep], None]
) -> None:
    url = str(tmp_path / "t.db")
    store, uids, first = GuardedStore(url, lambda: open_store(url)), [], sweep({1: 9.0, 2: 5.0})
    while not uids or moments.last is not None:
        done = replace(first, uid=f"{len(uids):032x}")
        keep(store, done)
        uids.append(done.uid)
        with contextlib.suppress(Terminated), moments.interrupting():
            access(store, done)
        start = time.monotonic()
        look_up(store, done)
        assert store.flush(), moments.last
        assert time.monotonic() - start < 1, f"waited for a lock: {moments.last}"
    assert len(moments.seen) > 10
    assert [record.getMessage() for record in records.records] == []
    with open_store(url) as opened:
        assert {found.uid for found in opened.iter_sweeps(with_trials=False)} >= set(uids)
