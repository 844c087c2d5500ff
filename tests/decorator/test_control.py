"""What a program raises in a signal handler during a decorated kernel's first call: its tensors are as before."""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import time
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
import torch

import tunedb
from tests.conftest import DEVICE, INTERPRETED, runs_kernels
from tests.decorator.kernels import add_in_place, configs, grid_of, tuned
from tests.decorator.test_store import stored
from tests.signals import KINDS, Terminated, handling, raising
from tunedb.store import Store

N = 100
PACKAGE = str(Path(tunedb.__file__).parent)
STORE = f"{PACKAGE}/store"  # tests/faults/test_control.py has its moments


@pytest.fixture(autouse=True)
def unlimited() -> None:
    """A budget that all the sweeps of a test fit into."""
    tunedb.configure(budget=1e6)


class Call:
    """A first call of a kernel that adds one in place, on a problem of its own."""

    where = ""  # it was interrupted

    def __init__(self, number: int, **options: Any) -> None:
        self.n = N + number
        self.x = torch.arange(float(self.n), device=DEVICE)
        self.before = self.x.clone()
        self.kernel = tuned(add_in_place, configs=configs(16, 64), reference=lambda x: {"x": x + 1}, **options)

    def __call__(self) -> None:
        self.kernel[grid_of(self.n)](self.x, self.n)

    def check_interrupted(self, store: Store) -> None:
        """The sweep has left nothing behind; the launch of the call itself may have run, or a part of it."""
        is_tuned = any(sweep.problem["n"] == self.n for sweep in stored(store) if sweep.status == "tuned")
        as_before, as_after = self.x == self.before, self.x == self.before + 1
        assert bool((as_before | as_after if is_tuned else as_before).all())
        assert torch.is_grad_enabled()
        assert sys.getswitchinterval() == pytest.approx(0.005)

    def check_next(self, store: Store) -> None:
        """The next call waits for nothing, tunes, and is right."""
        self.x.copy_(self.before)
        start = time.monotonic()
        self()
        assert time.monotonic() - start < 30  # a lock that was left would take TUNEDB_LOCK_TIMEOUT
        torch.testing.assert_close(self.x, self.before + 1)
        of_this = [sweep for sweep in stored(store) if sweep.problem["n"] == self.n]
        assert "tuned" in [sweep.status for sweep in of_this], self.where


def check_moments(store: Store, count: int, **options: Any) -> None:
    """Interrupt first calls at random moments, and hold what must be so after each."""
    generator, state = random.Random(0), torch.get_rng_state()
    Call(999, **options)()
    interrupted, seconds = 0, 1.0  # that an uninterrupted call takes, at most
    for number in range(count):
        call, kind = Call(number, **options), KINDS[number % len(KINDS)]
        start = time.monotonic()
        with raising(kind, seconds * generator.uniform(0.01, 1.0)) as came:
            call()
        if came:
            interrupted += 1
            call.check_interrupted(store)
        else:
            seconds = min(seconds, time.monotonic() - start)
        call.check_next(store)
    assert interrupted > count // 4  # the others came after the call
    assert torch.equal(torch.get_rng_state(), state)
    sweeps = list(store.iter_sweeps(with_trials=True, finished=False))
    assert [trial.error for sweep in sweeps for trial in sweep.trials if trial.error] == []


@pytest.mark.skipif(not INTERPRETED, reason="the test below is that of a GPU")
def test_an_exception_of_a_signal_handler_passes_at_any_moment_and_restores_the_tensors(store: Store) -> None:
    check_moments(store, 12)


@pytest.mark.gpu
@pytest.mark.skipif(INTERPRETED, reason="needs a GPU: the interpreter has none")
def test_on_a_gpu_an_exception_of_a_signal_handler_passes_at_any_moment_and_restores_the_tensors(store: Store) -> None:
    check_moments(store, 12)
    torch.cuda.synchronize()


class Interruption:
    """A profile function that sends a signal where a function of tunedb is entered for the first time."""

    def __init__(self, place: CodeType | None = None) -> None:
        self.place = place
        self.seen: dict[CodeType, None] = {}

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(PACKAGE) and not file.startswith(STORE):
            if frame.f_code is self.place:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGALRM)
            self.seen[frame.f_code] = None


def profiled(call: Call, profile: Interruption) -> None:
    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(before)


@runs_kernels
@pytest.mark.skipif(not INTERPRETED, reason="the functions of tunedb are the same on a GPU")
def test_an_exception_passes_from_functions_of_tunedb_that_a_first_call_enters(store: Store, exhaustive: bool) -> None:
    Call(0)()
    entered = Interruption()
    profiled(Call(1), entered)
    assert len(entered.seen) > 100
    for number, place in enumerate(list(entered.seen)[:: 1 if exhaustive else 24]):
        call = Call(2 + number)
        where = f"{place.co_filename.removeprefix(PACKAGE)}: {place.co_qualname}"
        with handling(Terminated) as came, contextlib.suppress(Terminated):
            profiled(call, Interruption(place))
            assert not came, f"swallowed in {where}"
        call.where = where
        if came:
            call.check_interrupted(store)
        call.check_next(store)
