"""Rows from records, and the check that a record can be kept. The way back is in `records`."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from tunedb.core.canonical import canonical, parse_json
from tunedb.core.device import Device, Environment
from tunedb.core.hint import Hint
from tunedb.core.problem import Problem
from tunedb.core.sweep import (
    REFERRING,
    Confirmation,
    Mark,
    MarkKind,
    Sweep,
    SweepStatus,
    Trial,
    TrialOutcome,
    TrialStatus,
)

ORIGINS = ("local", "imported")
HOST_ORIGINS = ("local", "imported", "gone")  # of counts
MAX_TEXT = 2**16  # characters of a text; a problem or a config of a hundred facts takes less than a tenth
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_UID = re.compile(r"[0-9a-f]{32}")
_ERROR_CHARS = 4000  # a compiler may print megabytes
_LAST_MARK = 9000  # the last year of a mark's time: another mark must be able to follow it
TIMES = ("time_us", "p20_us", "p80_us", "compile_s")
NUMBERS = ("samples", "registers", "spills", "shared_bytes")


def time_from_text(value: object) -> object:
    """Return the time that SQLite keeps as text; what can't be read as one comes back as it is."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return value
    return value if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def text_from_time(moment: datetime) -> str:
    """Return a time as SQLite keeps it, which sorts as times do."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def require(holds: bool, value: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"expected {expected}, got {value!r:.100}")


def _check_time(name: str, value: float | None) -> None:
    if value is not None:
        good = isinstance(value, int | float) and type(value) is not bool and math.isfinite(value) and value >= 0
        require(good, value, f"a finite {name} that is not negative")


def _check_line(name: str, value: object) -> None:
    if not (type(value) is str and value.isprintable()):  # NUL and lone surrogates, which databases refuse, are not
        require(False, value, f"a {name} that is text without control characters")
    check_length(name, str(value))


def _check_member(name: str, kind: type[StrEnum], value: object) -> None:
    if not (isinstance(value, str) and value in kind._value2member_map_):
        require(False, value, f"{name} of {', '.join(kind)}")


def check_length(name: str, text: str) -> None:
    if len(text) > MAX_TEXT:  # the message is made for this alone: rows are many
        require(False, text, f"a {name} of at most {MAX_TEXT} characters")


def check_moment(moment: object) -> None:
    good = isinstance(moment, datetime) and moment.tzinfo is not None
    require(good, moment, "a time with a time zone")


def is_uid(uid: object) -> bool:
    """Say whether it is a uid."""
    return isinstance(uid, str) and _UID.fullmatch(uid) is not None


def check_host(name: object) -> None:
    """Raise ValueError unless it is a host's name that every engine gives back as it is."""
    _check_line("host", name)


def check_day(day: object) -> None:
    """Raise ValueError unless it is a day as counts have it."""
    require(isinstance(day, str) and _DAY.fullmatch(day) is not None, day, "a day such as 2026-08-22")


def check_uid(uid: object) -> None:
    """Raise ValueError unless it is a uid."""
    require(is_uid(uid), uid, "a uid of 32 hexadecimal digits")


def check_trial(trial: Trial) -> None:
    """Raise ValueError if a database would refuse the trial, or would not give it back as it is."""
    check_uid(trial.uid)
    check_length("config", trial.config.key)
    _check_member("a status", TrialStatus, trial.status)
    _check_member("an outcome", TrialOutcome, trial.outcome)
    if trial.outcome in REFERRING:
        check_uid(trial.reference)
    else:
        require(trial.reference is None, trial.reference, f"no reference of a trial that is {trial.outcome}")
    for name in TIMES:
        _check_time(name, getattr(trial, name))
    for name in NUMBERS:
        value = getattr(trial, name)
        good = (type(value) is int and 0 <= value < 2**31) or (value is None and name != "samples")
        require(good, value, f"{name} that are a number from 0 to 2147483647")


def check_mark(mark: Mark) -> None:
    """Raise ValueError if a database would refuse the mark, or would not give it back as it is."""
    check_uid(mark.uid)
    _check_member("a mark", MarkKind, mark.kind)
    _check_line("reason", mark.reason)
    require(len(mark.reason) <= _ERROR_CHARS, mark.reason, f"a reason of at most {_ERROR_CHARS} characters")
    check_moment(mark.time)
    require(mark.time.year <= _LAST_MARK, mark.time, f"a mark before the year {_LAST_MARK + 1}")


def check_confirmation(confirmation: Confirmation) -> None:
    """Raise ValueError if a database would refuse the confirmation, or would not give it back as it is."""
    check_uid(confirmation.uid)
    check_environment(confirmation.environment)
    _check_time("time_us", confirmation.time_us)
    _check_time("default_time_us", confirmation.default_time_us)
    check_moment(confirmation.time)


def check_environment(environment: Environment) -> None:
    """Raise ValueError if a database would refuse the environment, or would not give it back as it is."""
    for name in environment.__slots__:
        _check_line(name, getattr(environment, name))
    check_length("environment", environment.key)  # raises IdentityError, a ValueError, for what is not text


def check_hint(hint: Hint) -> None:
    """Raise ValueError if a database would refuse the hint, or would not give it back as it is."""
    for name in ("device", "tool", "place"):
        _check_line(name, getattr(hint, name))
    require(0 < len(hint.tool) <= 32, hint.tool, "a tool's name of at most 32 characters")
    check_length("problem", hint.problem.key)
    check_length("config", hint.config.key)
    good = hint.evidence.isascii() and isinstance(parse_json(hint.evidence), dict)  # raises IdentityError, a ValueError
    require(good, hint.evidence, "evidence as JSON")
    check_length("evidence", hint.evidence)


def check_facts(problem: Problem, device: Device) -> None:
    """Raise ValueError if a database would refuse the problem or the device, or would not give it back as it is."""
    check_length("problem", problem.key)
    for name in ("name", "backend", "arch"):
        _check_line(f"device's {name}", getattr(device, name))
    require(device.multiprocessors < 2**31, device, "fewer multiprocessors")
    check_length("device's info", canonical(device.info))  # raises IdentityError, a ValueError


def check_sweep(sweep: Sweep) -> None:
    """Raise ValueError if a database would refuse the sweep, or would not give it back as it is."""
    check_uid(sweep.uid)
    _check_member("a status", SweepStatus, sweep.status)
    require(sweep.origin in ORIGINS, sweep.origin, f"an origin of {', '.join(ORIGINS)}")
    require(type(sweep.complete) is bool, sweep.complete, "complete as True or False")
    tuned = sweep.status == "tuned"
    require(
        tuned == (sweep.config is not None), sweep.config, f"{'a' if tuned else 'no'} config in a {sweep.status} sweep"
    )
    running = sweep.status == "running"
    require(running == (sweep.finished is None), sweep.finished, f"{'no' if running else 'a'} time of finish")
    check_moment(sweep.started)
    for moment in (sweep.finished, sweep.expires, sweep.arrived):
        if moment is not None:
            check_moment(moment)
    _check_time("time_us", sweep.time_us)
    _check_time("default_time_us", sweep.default_time_us)
    _check_line("kernel hash", sweep.kernel_hash)
    require(0 < len(sweep.kernel_hash) <= 64, sweep.kernel_hash, "a kernel hash of at most 64 characters")
    _check_line("host", sweep.host)
    check_facts(sweep.problem, sweep.device)
    check_environment(sweep.environment)
    if sweep.config is not None:
        check_length("config", sweep.config.key)
    for trial in sweep.trials:
        check_trial(trial)
    for mark in sweep.marks:
        check_mark(mark)
    for confirmation in sweep.confirmations:
        check_confirmation(confirmation)
    require(len({trial.uid for trial in sweep.trials}) == len(sweep.trials), sweep.uid, "each trial only once")


def check_winner(sweep: Sweep) -> None:
    """Raise ValueError if the sweep's own trials do not say that its config computes the right result."""
    statuses = {trial.status for trial in sweep.trials if trial.config == sweep.config}
    good = sweep.config is None or (TrialStatus.OK in statuses and TrialStatus.WRONG not in statuses)
    require(good, sorted(statuses), f"a trial that is {TrialStatus.OK} of the config that won")


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
    values = {name: getattr(trial, name) for name in ("uid", "reference", *TIMES, *NUMBERS)}
    words = {"status": str(trial.status), "outcome": str(trial.outcome), "error": clean_error(trial.error)}
    return {**values, **words, "config": trial.config.key}


def confirmation_values(confirmation: Confirmation) -> dict[str, Any]:
    """Return the columns of a confirmation, without the sweep."""
    values = {name: getattr(confirmation, name) for name in ("uid", "time_us", "default_time_us", "time")}
    return {**values, "environment": confirmation.environment.key}


def mark_values(mark: Mark) -> dict[str, Any]:
    """Return the columns of a mark, without the sweep."""
    return {"uid": mark.uid, "kind": str(mark.kind), "reason": mark.reason, "time": mark.time}


def hint_values(hint: Hint) -> dict[str, Any]:
    """Return the columns of a hint, but for the time of its arrival."""
    values = {name: getattr(hint, name) for name in ("digest", "device", "tool", "place", "evidence")}
    return {**values, "kernel": hint.problem.kernel, "key": hint.problem.key, "config": hint.config.key}
