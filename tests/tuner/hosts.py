"""Hosts of one shared store: each a state folder of its own, and a tuner with fake times."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import ENVIRONMENT, FakeClock, FakeKernel, task_of
from tunedb import settings
from tunedb.core.claim import Claimant, ClaimKey
from tunedb.core.task import Choice
from tunedb.store import open_store
from tunedb.store.guarded import GuardedStore
from tunedb.store.layered import LayeredStore
from tunedb.store.shared import SharedStore
from tunedb.tuner.tuner import Tuner


@pytest.fixture
def shared_path(tmp_path: Path) -> str:
    """The shared store, which is there."""
    path = str(tmp_path / "shared.db")
    open_store(path).close()
    return path


class Host:
    """A host: a state folder of its own, and the shared store."""

    def __init__(self, folder: Path, shared: str | None, name: str, *, lease: float = 60.0, **given: object) -> None:
        self.folder = folder / name
        self.url = str(self.folder / "store.db")
        local = GuardedStore(self.url, lambda: open_store(self.url))
        remote = None if shared is None else SharedStore(shared, lambda: open_store(shared), deadline=60.0)
        self.store = LayeredStore(local, remote)
        self.better = 0
        self.claimant = Claimant(name)
        self.tuner = Tuner(
            settings.read(given), self.store, locks=self.folder / "locks", clock=FakeClock,
            environment_of=lambda _: ENVIRONMENT, lease=lease, on_better=self._count,
        )  # fmt: skip

    def _count(self) -> None:
        self.better += 1

    def call(self, kernel: FakeKernel, n: int = 1) -> Choice:
        """A call of the kernel."""
        return self.tuner.choose(kernel, kernel.problem(n=n), -1)

    def sweeps(self) -> list[tuple[str, str]]:
        """The uid and status of each sweep in the local store."""
        self.store.local.flush()
        with open_store(self.url) as store:
            return [(sweep.uid, str(sweep.status)) for sweep in store.iter_sweeps(finished=False)]


def key_of(kernel: FakeKernel, n: int = 1) -> ClaimKey:
    """The key of a problem of the kernel."""
    return ClaimKey.of(task_of(kernel, n=n))


def uid_of(choice: Choice) -> str:
    """The uid of the sweep behind a choice."""
    assert choice.sweep is not None
    return choice.sweep.uid


def in_thread(work: Callable[[], object]) -> Callable[[], object]:
    """Do the work on a thread; return what waits for it and gives what it returned."""
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()

    def join() -> object:
        thread.join(60)
        return results[0]

    return join


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
