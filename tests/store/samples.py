"""Sweeps to store: one made by hand, and hypothesis strategies for all that may be stored."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from tunedb._internal.printable import printable
from tunedb.core.device import Device, Environment
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import FINISHED, REFERRING, Sweep, Trial, TrialOutcome, TrialStatus
from tunedb.store.sql.rows import counts_of

NOON = datetime(2026, 8, 22, 12, 0, 0, 123456, tzinfo=UTC)
DEVICE = Device("NVIDIA H200", "cuda", "sm_90", 132, {"memory_bytes": 150_000_000_000})
ENVIRONMENT = Environment("3.8.0", "2.13.0", "580.65.06", "1")
HASH = "c0ffee" + "0" * 58


def trial(block: int = 128, status: str = "ok", **changes: Any) -> Trial:
    """A trial of one config."""
    values: dict[str, Any] = {"time_us": 12.5, "p20_us": 12.25, "p80_us": 13.0, "samples": 50, "registers": 32}
    return Trial(**{"config": Config.of(BLOCK=block, num_warps=4), "status": status, **values, **changes})


def sweep(n: int = 1, **changes: Any) -> Sweep:
    """A tuned sweep with three trials, unless told otherwise; its counts are those of its trials."""
    trials = changes.pop("trials", (trial(128), trial(256, time_us=14.0), trial(512, "compile_error", error="no")))
    values: dict[str, Any] = {
        "problem": Problem.of("avg_pool1d", n=n, padding=None, scale=0.5, dtype_name="float32"),
        "device": DEVICE,
        "kernel_hash": HASH,
        "environment": ENVIRONMENT,
        "status": "tuned",
        "config": Config.of(BLOCK=128, num_warps=4),
        "time_us": 12.5,
        "default_time_us": 20.0,
        "started": NOON,
        "finished": NOON + timedelta(seconds=3),
        "host": "node7",
        "trials": tuple(sorted(trials, key=lambda one: one.uid)),
        "counts": counts_of(trials),
    }
    return Sweep(**{**values, **changes})


def failed(n: int = 1, **changes: Any) -> Sweep:
    """A failed sweep that expires a day later."""
    values = {"status": "failed", "config": None, "time_us": None, "expires": NOON + timedelta(days=1)}
    return sweep(n, **{**values, **changes})


def running(done: Sweep) -> Sweep:
    """What a sweep was before it was done."""
    before: dict[str, Any] = {"status": "running", "config": None, "time_us": None, "default_time_us": None}
    return dataclasses.replace(done, **before, finished=None, expires=None, trials=(), counts={})


def without_trials(done: Sweep) -> Sweep:
    """What a listing gives."""
    return dataclasses.replace(done, trials=())


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_LINES = _TEXT.map(printable)
_NAMES = _LINES.filter(bool)
_INT64 = st.integers(-(2**63), 2**63 - 1)
_VALUES = st.none() | st.booleans() | _INT64 | st.floats(allow_nan=False, allow_infinity=False) | _TEXT
_FACTS = st.dictionaries(_NAMES.filter(lambda name: name != "self"), _VALUES, max_size=4)
_UIDS = st.uuids().map(lambda uid: uid.hex)
_TIMES = st.none() | st.floats(0, allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0)
_COUNTS = st.integers(0, 2**31 - 1)
_MOMENTS = st.datetimes(timezones=st.just(UTC))
CONFIGS = _FACTS.map(lambda knobs: Config.of(**knobs))
PROBLEMS = st.builds(
    lambda kernel, facts: Problem.of(kernel, **facts), st.from_regex(r"[a-z_]{1,9}", fullmatch=True), _FACTS
)
DEVICES = st.builds(Device, _NAMES, _LINES, _LINES, st.integers(1, 2**31 - 1), _FACTS)
ENVIRONMENTS = st.builds(Environment, _LINES, _LINES, _LINES, _LINES)
_OUTCOMES = st.sampled_from(TrialOutcome).flatmap(
    lambda outcome: st.tuples(st.just(outcome), _UIDS if outcome in REFERRING else st.none())
)
TRIALS = st.builds(
    lambda about, **values: Trial(outcome=about[0], reference=about[1], **values),
    _OUTCOMES,
    config=CONFIGS,
    status=st.sampled_from(TrialStatus),
    time_us=_TIMES,
    p20_us=_TIMES,
    p80_us=_TIMES,
    samples=_COUNTS,
    compile_s=_TIMES,
    registers=st.none() | _COUNTS,
    spills=st.none() | _COUNTS,
    shared_bytes=st.none() | _COUNTS,
    error=st.none() | _TEXT,
    uid=_UIDS,
)


@st.composite
def sweeps(draw: st.DrawFn) -> Sweep:
    """Any finished sweep."""
    status = draw(st.sampled_from(FINISHED))
    trials = draw(st.lists(TRIALS, min_size=status == "tuned", max_size=3, unique_by=lambda one: one.uid))
    config = None
    if status == "tuned":
        trials[0] = dataclasses.replace(trials[0], status=TrialStatus.OK)
        config = trials[0].config
        trials = [one for one in trials if one.config != config or one.status == "ok"]
    return Sweep(
        problem=draw(PROBLEMS),
        device=draw(DEVICES),
        kernel_hash=draw(st.text("0123456789abcdef", min_size=1, max_size=64)),
        environment=draw(ENVIRONMENTS),
        status=status,
        complete=draw(st.booleans()),
        config=config,
        time_us=draw(_TIMES),
        default_time_us=draw(_TIMES),
        started=draw(_MOMENTS),
        finished=draw(_MOMENTS),
        expires=draw(st.none() | _MOMENTS),
        trials=tuple(sorted(trials, key=lambda one: one.uid)),
        counts=counts_of(trials),
        host=draw(_LINES),
        uid=draw(_UIDS),
    )
