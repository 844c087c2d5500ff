"""Tuners on a fake kernel and a fake clock, with a real store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic

from tests.fakes import ENVIRONMENT, FakeClock
from tunedb import settings
from tunedb.core.device import Environment
from tunedb.store import Store
from tunedb.store.guarded import GuardedStore
from tunedb.tuner.tuner import Tuner


class Time:
    """A clock that stands until the test moves it on."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def tuner_on(
    store: Store | GuardedStore,
    tmp_path: Path,
    *,
    time: Callable[[], float] = monotonic,
    environment: Environment = ENVIRONMENT,
    on_better: Callable[[], None] = lambda: None,
    **given: object,
) -> Tuner:
    """Return a tuner that sweeps on the fake clock."""
    return Tuner(
        settings.read(given), store, locks=tmp_path / "locks", clock=FakeClock, environment_of=lambda _: environment,
        monotonic=time, on_better=on_better,
    )  # fmt: skip
