"""What a program raises in a signal handler during a call: it passes at once, and leaves store and locks sound."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.faults import calls
from tests.signals import KINDS, raising
from tunedb.store import open_store

MOMENTS = 30


def test_an_exception_of_a_signal_handler_passes_at_any_moment_of_a_first_call_and_blames_nothing(
    quick_path: Path, records: pytest.LogCaptureFixture
) -> None:
    tuner = calls.tuner(store=str(quick_path))
    calls.call(tuner, 1000)
    generator, count, seconds = random.Random(0), 0, 1.0  # seconds that an uninterrupted call takes, at most
    for n in range(MOMENTS):
        kind = KINDS[n % len(KINDS)]
        with raising(kind, seconds * generator.uniform(0.01, 1.0)) as came:
            seconds_now = calls.call(tuner, n)[3]
        if came:
            count += 1
        else:
            seconds = min(seconds, seconds_now)
        start = time.monotonic()
        block, source, tried, _ = calls.call(tuner, n)
        assert block == 2, (came, kind)
        assert source in ("sweep", "store", "memory"), (came, kind)
        assert not (source == "sweep" and tried == []), (came, kind)
        assert time.monotonic() - start < 5, f"waited for a lock: {came}"
    assert count > MOMENTS // 4  # the others came after the call
    tuner.close()
    assert [record.getMessage() for record in records.records if record.levelname == "WARNING"] == []
    with open_store(str(quick_path)) as store:
        sweeps = list(store.iter_sweeps(with_trials=True, finished=False))
    assert [trial.error for sweep in sweeps for trial in sweep.trials if trial.error] == []
    assert {sweep.status for sweep in sweeps} <= {"tuned", "aborted", "running"}
    assert {sweep.problem["n"] for sweep in sweeps if sweep.status == "tuned"} >= set(range(MOMENTS))
