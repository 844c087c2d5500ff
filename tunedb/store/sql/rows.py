"""Rows from records, records from rows, and the check that a record can be kept."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tunedb.core.canonical import canonical, parse_json
from tunedb.core.device import Device, Environment
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import REFERRING, Mark, MarkKind, Sweep, SweepStatus, Trial, TrialOutcome, TrialStatus
from tunedb.errors import StoreError
from tunedb.store.sql.models import ORIGINS

_UID = re.compile(r"[0-9a-f]{32}")
_ERROR_CHARS = 4000  # a compiler may print megabytes
_TIMES = ("time_us", "p20_us", "p80_us", "compile_s")
_NUMBERS = ("samples", "registers", "spills", "shared_bytes")


def _require(holds: bool, value: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"expected {expected}, got {value!r:.100}")


def _check_time(name: str, value: float | None) -> None:
    if value is not None:
        good = isinstance(value, int | float) and type(value) is not bool and math.isfinite(value) and value >= 0
        _require(good, value, f"a finite {name} that is not negative")


def _check_text(name: str, value: object) -> None:
    # Databases refuse these two; the others pass.
    good = type(value) is str and "\0" not in value and not any(0xD800 <= ord(char) < 0xE000 for char in value)
    _require(good, value, f"a {name} that is text without NUL and lone surrogates")


def check_uid(uid: str | None) -> None:
    """Raise ValueError unless it is a uid."""
    _require(isinstance(uid, str) and _UID.fullmatch(uid) is not None, uid, "a uid of 32 hexadecimal digits")


def check_trial(trial: Trial) -> None:
    """Raise ValueError if a database would refuse the trial, or would not give it back as it is."""
    check_uid(trial.uid)
    _require(trial.status in tuple(TrialStatus), trial.status, f"a status of {', '.join(TrialStatus)}")
    _require(trial.outcome in tuple(TrialOutcome), trial.outcome, f"an outcome of {', '.join(TrialOutcome)}")
    if trial.outcome in REFERRING:
        check_uid(trial.reference)
    else:
        _require(trial.reference is None, trial.reference, f"no reference of a trial that is {trial.outcome}")
    for name in _TIMES:
        _check_time(name, getattr(trial, name))
    for name in _NUMBERS:
        value = getattr(trial, name)
        good = (type(value) is int and 0 <= value < 2**31) or (value is None and name != "samples")
        _require(good, value, f"{name} that are a number from 0 to 2147483647")


def check_mark(mark: Mark) -> None:
    """Raise ValueError if a database would refuse the mark, or would not give it back as it is."""
    check_uid(mark.uid)
    _require(mark.kind in tuple(MarkKind), mark.kind, f"a mark of {', '.join(MarkKind)}")
    _check_text("reason", mark.reason)
    _require(len(mark.reason) <= _ERROR_CHARS, mark.reason, f"a reason of at most {_ERROR_CHARS} characters")
    _require(isinstance(mark.time, datetime) and mark.time.tzinfo is not None, mark.time, "a time with a time zone")


def check_sweep(sweep: Sweep) -> None:
    """Raise ValueError if a database would refuse the sweep, or would not give it back as it is."""
    check_uid(sweep.uid)
    _require(sweep.status in tuple(SweepStatus), sweep.status, f"a status of {', '.join(SweepStatus)}")
    _require(sweep.origin in ORIGINS, sweep.origin, f"an origin of {', '.join(ORIGINS)}")
    _require(type(sweep.complete) is bool, sweep.complete, "complete as True or False")
    tuned = sweep.status == "tuned"
    _require(
        tuned == (sweep.config is not None), sweep.config, f"{'a' if tuned else 'no'} config in a {sweep.status} sweep"
    )
    running = sweep.status == "running"
    _require(running == (sweep.finished is None), sweep.finished, f"{'no' if running else 'a'} time of finish")
    for moment in (sweep.started, sweep.finished, sweep.expires):
        good = moment is None or (isinstance(moment, datetime) and moment.tzinfo is not None)
        _require(good, moment, "a time with a time zone")
    _check_time("time_us", sweep.time_us)
    _check_time("default_time_us", sweep.default_time_us)
    _check_text("kernel hash", sweep.kernel_hash)
    _require(0 < len(sweep.kernel_hash) <= 64, sweep.kernel_hash, "a kernel hash of at most 64 characters")
    _check_text("host", sweep.host)
    _require(sweep.device.multiprocessors < 2**31, sweep.device, "fewer multiprocessors")
    canonical(sweep.device.info)  # these raise IdentityError, a ValueError
    _ = sweep.environment.key
    for trial in sweep.trials:
        check_trial(trial)
    for mark in sweep.marks:
        check_mark(mark)
    _require(len({trial.uid for trial in sweep.trials}) == len(sweep.trials), sweep.uid, "each trial only once")


def counts_of(trials: Sequence[Trial]) -> dict[str, int]:
    """Return the number of trials by status."""
    return dict(sorted(Counter(str(trial.status) for trial in trials).items()))


def device_values(device: Device) -> dict[str, Any]:
    return {
        "digest": device.digest,
        "name": device.name,
        "backend": device.backend,
        "arch": device.arch,
        "multiprocessors": device.multiprocessors,
        "info": canonical(device.info),
    }


def problem_values(problem: Problem) -> dict[str, Any]:
    return {"kernel": problem.kernel, "key": problem.key, "digest": problem.digest}


def sweep_values(sweep: Sweep) -> dict[str, Any]:
    """Return the columns of a sweep, without the counts, the problem and the device."""
    return {
        "uid": sweep.uid,
        "kernel_hash": sweep.kernel_hash,
        "environment": sweep.environment.key,
        "status": str(sweep.status),
        "complete": sweep.complete,
        "config": None if sweep.config is None else sweep.config.key,
        "time_us": sweep.time_us,
        "default_time_us": sweep.default_time_us,
        "started": sweep.started,
        "finished": sweep.finished,
        "expires": sweep.expires,
        "origin": sweep.origin,
        "host": sweep.host,
    }


def clean_error(text: str | None) -> str | None:
    """Return a compiler's or driver's error text, shortened and made fit for a database."""
    if text is None:
        return None
    clipped = text[:_ERROR_CHARS].replace("\0", "\N{REPLACEMENT CHARACTER}")
    return clipped.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def trial_values(trial: Trial) -> dict[str, Any]:
    """Return the columns of a trial, without the sweep."""
    values = {name: getattr(trial, name) for name in ("uid", "reference", *_TIMES, *_NUMBERS)}
    words = {"status": str(trial.status), "outcome": str(trial.outcome), "error": clean_error(trial.error)}
    return {**values, **words, "config": trial.config.key}


def mark_values(mark: Mark) -> dict[str, Any]:
    """Return the columns of a mark, without the sweep."""
    return {"uid": mark.uid, "kind": str(mark.kind), "reason": mark.reason, "time": mark.time}


def to_mark(row: sa.Row[*tuple[Any, ...]]) -> Mark:
    return Mark(MarkKind(row.kind), row.reason, row.time, row.uid)


def to_trial(row: sa.Row[*tuple[Any, ...]]) -> Trial:
    values = {name: getattr(row, name) for name in ("uid", "error", "reference", *_TIMES, *_NUMBERS)}
    return Trial(config=Config(row.config), status=TrialStatus(row.status), outcome=TrialOutcome(row.outcome), **values)


def to_sweep(
    row: sa.Row[*tuple[Any, ...]],
    trials: Sequence[sa.Row[*tuple[Any, ...]]] = (),
    marks: Sequence[sa.Row[*tuple[Any, ...]]] = (),
    *,
    problem: Problem | None = None,
    device: Device | None = None,
) -> Sweep:
    """Return the record of a row of `sweep`, whose columns also give problem and device unless they are passed.

    Raises StoreError if this version can't read the row.
    """
    try:
        sweep = Sweep(
            problem=problem or Problem(row.key, row.kernel),
            device=device or Device(row.name, row.backend, row.arch, row.multiprocessors, parse_json(row.info)),
            kernel_hash=row.kernel_hash,
            environment=Environment.from_key(row.environment),
            status=SweepStatus(row.status),
            complete=row.complete,
            config=None if row.config is None else Config(row.config),
            time_us=row.time_us,
            default_time_us=row.default_time_us,
            started=row.started,
            finished=row.finished,
            expires=row.expires,
            trials=tuple(to_trial(trial) for trial in trials),
            counts=parse_json(row.counts),
            marks=tuple(to_mark(mark) for mark in marks),
            origin=row.origin,
            host=row.host,
            uid=row.uid,
        )
        check_sweep(sweep)
        _require(isinstance(sweep.counts, dict), sweep.counts, "trials by status")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:  # IdentityError is a ValueError
        uid = repr(str(row.uid)[:32])[1:-1]  # untrusted: short, and without a terminal's control codes
        raise StoreError(f"Sweep {uid} can't be read: {error!s:.200}. Run: tunedb db check") from error
    return sweep
