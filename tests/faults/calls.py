"""Calls as a program makes them, on the real store and locks; only the kernel, its clock and the time are made up."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.fakes import ENVIRONMENT, FakeClock, FakeKernel
from tunedb import settings
from tunedb.core.claim import LEASE_S
from tunedb.store.layered import LayeredStore
from tunedb.tuner import session
from tunedb.tuner.tuner import Tuner

TIMES = {1: 9.0, 2: 5.0, 4: 7.0}  # of the fake kernel; the default is the first


def tuner(layers: LayeredStore | None = None, lease: float = LEASE_S, **given: object) -> Tuner:
    """A tuner for these settings, wired as in a program but for `layers`, whose sweeps run on the fake clock."""
    wired = session.make_tuner(settings.read(given))
    return Tuner(
        wired.settings, layers or wired.store, locks=wired.locks, clock=FakeClock, environment_of=lambda _: ENVIRONMENT,
        lease=lease,
    )  # fmt: skip


def call(
    found: Tuner, n: int = 1, on_compile: Callable[[int], None] = lambda _: None
) -> tuple[int, str, list[int], float]:
    """One call with problem `n`: its BLOCK, where that came from, which blocks were tried, and how long it took."""
    kernel = FakeKernel(TIMES, on_compile=on_compile)
    start = time.monotonic()
    choice = found.choose(kernel, kernel.problem(n=n), -1)
    return choice.config["BLOCK"], choice.source, kernel.tried, time.monotonic() - start
