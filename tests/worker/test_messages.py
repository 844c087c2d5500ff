"""Messages between a supervisor and its worker: each comes out of its line as it went in."""

from __future__ import annotations

import math

import pytest

from tests.fakes import config
from tests.store.samples import trial
from tunedb.core.problem import Problem
from tunedb.core.verification import Verification
from tunedb.worker.messages import (
    CopyRateMeasured,
    DeviceLost,
    MeasureCopyRate,
    Prepare,
    Ready,
    Start,
    SweepStarted,
    Tried,
    Trying,
    Tune,
    Tuned,
    Verified,
    Verify,
    decode,
    encode,
)

PROBLEM = Problem.of("fake", n=1, dtype="float32")


@pytest.mark.parametrize(
    "message",
    [
        Prepare(("avg_pool1d", "mine.add"), 0),
        Start(0, 20, "/a b/tunedb.db", None, 60.0),
        Tune(PROBLEM, None, force=False, budget=math.inf),
        Tune(PROBLEM, {"shape": [1, 2], "ceil_mode": True}, force=True, budget=0.5),
        Verify(PROBLEM, "ab" * 16),
        MeasureCopyRate(),
        Ready(),
        SweepStarted("ab" * 16, 18),
        Trying(config(64)),
        Tried(trial(64), 5.0, None),
        Tuned("stored", "ab" * 16, is_device_lost=False),
        Tuned("busy", None, is_device_lost=False),
        Verified(Verification("moved", "+9.0% of the stored time", 5.0, 6.0)),
        CopyRateMeasured(None),
        CopyRateMeasured("12 MiB are free"),
        DeviceLost("an illegal memory access\nwas encountered"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_is_one_line_and_comes_out_as_it_went_in(message: object) -> None:
    line = encode(message)  # type: ignore[arg-type]  # each is one of the messages
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert decode(line) == message


def test_a_line_that_was_cut_off_is_a_value_error() -> None:
    line = encode(Trying(config(64)))
    with pytest.raises(ValueError, match=r"."):
        decode(line[: len(line) // 2])
