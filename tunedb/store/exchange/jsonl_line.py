"""One tuned sweep as one line of canonical JSON, and back: export writes it, import reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from tunedb.core.canonical import parse_json
from tunedb.core.device import Device, Environment
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Confirmation, Mark, MarkKind, Sweep, SweepStatus, Trial, TrialOutcome, TrialStatus
from tunedb.store.sql.rows import check_sweep, check_winner, clean_error, counts_of

Kinds = Mapping[str, tuple[type, ...]]
_NONE = type(None)
_Word = TypeVar("_Word", bound=StrEnum)
_ENVIRONMENT: Kinds = dict.fromkeys(Environment.__slots__, (str,))
_DEVICE: Kinds = {"name": (str,), "backend": (str,), "arch": (str,), "multiprocessors": (int,), "info": (dict,)}
_TRIAL: Kinds = {
    "uid": (str,),
    "config": (dict,),
    "status": (str,),
    "time_us": (float, _NONE),
    "p20_us": (float, _NONE),
    "p80_us": (float, _NONE),
    "samples": (int,),
    "compile_s": (float, _NONE),
    "registers": (int, _NONE),
    "spills": (int, _NONE),
    "shared_bytes": (int, _NONE),
    "error": (str, _NONE),
    "outcome": (str,),
    "reference": (str, _NONE),
}
_SWEEP: Kinds = {
    "uid": (str,),
    "kernel": (str,),
    "problem": (dict,),
    "device": (dict,),
    "kernel_hash": (str,),
    "environment": (dict,),
    "status": (str,),
    "complete": (bool,),
    "config": (dict, _NONE),
    "time_us": (float, _NONE),
    "default_time_us": (float, _NONE),
    "started": (str,),
    "finished": (str,),
    "expires": (str, _NONE),
    "host": (str,),
    "trials": (list,),
    "marks": (list,),
}
_CONFIRMATION: Kinds = {
    "uid": (str,),
    "environment": (dict,),
    "time_us": (float, _NONE),
    "default_time_us": (float, _NONE),
    "time": (str,),
}
_MARK: Kinds = {"uid": (str,), "kind": (str,), "reason": (str,), "time": (str,)}


def to_line(sweep: Sweep) -> str:
    """Return the sweep's line. Raises ValueError for a sweep that is not tuned or came without its trials."""
    return json_line(_to_plain(sweep))


def parse_line(text: str) -> dict[str, Any]:
    """Return the fields of a line. Raises ValueError for any text that is not of the form that `to_line` writes."""
    fields: dict[str, Any] = parse_json(text)
    confirmations = fields.get("confirmations", []) if type(fields) is dict else []
    needed = {**_SWEEP, "confirmations": (list,)} if confirmations else _SWEEP  # the field is left out if there is none
    check_fields(fields, needed, "sweep")
    for confirmation in confirmations:
        check_fields(confirmation, _CONFIRMATION, "confirmation")
        check_fields(confirmation["environment"], _ENVIRONMENT, "environment of a confirmation")
    check_fields(fields["device"], _DEVICE, "device")
    check_fields(fields["environment"], _ENVIRONMENT, "environment")
    for trial in fields["trials"]:
        check_fields(trial, _TRIAL, "trial")
    for mark in fields["marks"]:
        check_fields(mark, _MARK, "mark")
    check_canonical(fields, text)
    return fields


def from_plain(fields: Mapping[str, Any]) -> Sweep:
    """Return the sweep of these fields, as an `imported` one. Raises ValueError if `to_line` would not write it."""
    if fields["status"] != SweepStatus.TUNED:
        raise ValueError(
            f"expected a sweep that is tuned, got one that is {fields['status']!r:.40}: "
            "a sweep without a winner stays in the store of the machine that made it"
        )
    sweep = _from_plain(fields)
    check_sweep(sweep)
    check_winner(sweep)
    for trial in sweep.trials:
        if trial.error != clean_error(trial.error):
            raise ValueError("an error's text is too long, or holds a NUL or a lone surrogate")
    check_canonical(_to_plain(sweep), json_line(fields))
    return sweep


def check_fields(fields: Any, kinds: Kinds, what: str) -> None:
    """Raise ValueError unless the fields are those of `kinds`, each of a type that is allowed there."""
    if type(fields) is not dict:
        raise ValueError(f"the {what}: expected an object, got a JSON {type(fields).__name__}")
    for problem, names in (("unknown", set(fields) - set(kinds)), ("missing", set(kinds) - set(fields))):
        if names:
            raise ValueError(f"{problem} field in the {what}: {', '.join(sorted(names)):.200}")
    for name, allowed in kinds.items():
        if type(fields[name]) not in allowed:
            expected = " or ".join("null" if kind is _NONE else kind.__name__ for kind in allowed)
            raise ValueError(f"{what}: {name}: expected {expected}, got {type(fields[name]).__name__}")


def check_canonical(plain: Mapping[str, Any], text: str) -> None:
    if json_line(plain) != text:
        raise ValueError("not in canonical form: keys and trials sorted, compact, ASCII, one LF at the end")


def json_line(plain: Mapping[str, Any]) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"


def _to_plain(sweep: Sweep) -> dict[str, Any]:
    """Return the sweep as JSON, without the origin, which the importer sets, and the counts, which the trials give."""
    if not sweep.leaves_its_store or sweep.finished is None:
        raise ValueError(f"expected a sweep that is tuned, got {sweep.uid}, which is {sweep.status}")
    if sweep.counts and not sweep.trials:
        raise ValueError(f"expected a sweep with its trials, got {sweep.uid} without them")
    unique = {one.uid: one for one in sweep.confirmations}
    confirmations = sorted(unique.values(), key=lambda one: (one.time, one.uid))
    return {
        **({"confirmations": list(map(_confirmation_to_plain, confirmations))} if confirmations else {}),
        "uid": sweep.uid,
        "kernel": sweep.problem.kernel,
        "problem": json.loads(sweep.problem.key),
        "device": {name: getattr(sweep.device, name) for name in _DEVICE},
        "kernel_hash": sweep.kernel_hash,
        "environment": _environment_to_plain(sweep.environment),
        "status": sweep.status,
        "complete": sweep.complete,
        "config": None if sweep.config is None else json.loads(sweep.config.key),
        "time_us": _float(sweep.time_us),
        "default_time_us": _float(sweep.default_time_us),
        "started": _time(sweep.started),
        "finished": _time(sweep.finished),
        "expires": None if sweep.expires is None else _time(sweep.expires),
        "host": sweep.host,
        "trials": [_trial_to_plain(trial) for trial in sorted(sweep.trials, key=lambda trial: trial.uid)],
        "marks": [_mark_to_plain(mark) for mark in sorted(sweep.marks, key=lambda mark: (mark.time, mark.uid))],
    }


def _trial_to_plain(trial: Trial) -> dict[str, Any]:
    plain = {name: getattr(trial, name) for name in _TRIAL}
    times = {name: _float(value) for name, value in plain.items() if float in _TRIAL[name]}
    return {**plain, **times, "config": json.loads(trial.config.key)}


def _environment_to_plain(environment: Environment) -> dict[str, str]:
    return {name: getattr(environment, name) for name in _ENVIRONMENT}


def _confirmation_to_plain(confirmation: Confirmation) -> dict[str, Any]:
    return {
        "uid": confirmation.uid,
        "environment": _environment_to_plain(confirmation.environment),
        "time_us": _float(confirmation.time_us),
        "default_time_us": _float(confirmation.default_time_us),
        "time": _time(confirmation.time),
    }


def _mark_to_plain(mark: Mark) -> dict[str, Any]:
    return {"uid": mark.uid, "kind": mark.kind, "reason": mark.reason, "time": _time(mark.time)}


def _from_plain(plain: Mapping[str, Any]) -> Sweep:
    trials = tuple(_trial_from_plain(trial) for trial in plain["trials"])
    return Sweep(
        **{name: plain[name] for name in ("uid", "kernel_hash", "complete", "host")},
        status=SweepStatus(plain["status"]),
        problem=Problem(_key(plain["problem"]), plain["kernel"]),
        device=Device(**plain["device"]),
        environment=Environment(**plain["environment"]),
        config=None if plain["config"] is None else _config(plain["config"]),
        time_us=plain["time_us"],
        default_time_us=plain["default_time_us"],
        started=_moment(plain["started"]),
        finished=_moment(plain["finished"]),
        expires=None if plain["expires"] is None else _moment(plain["expires"]),
        trials=trials,
        counts=counts_of(trials),
        marks=tuple(
            Mark(**{**mark, "kind": _word(MarkKind, mark["kind"], "a mark"), "time": _moment(mark["time"])})
            for mark in plain["marks"]
        ),
        confirmations=tuple(
            Confirmation(**{**one, "environment": Environment(**one["environment"]), "time": _moment(one["time"])})
            for one in plain.get("confirmations", ())
        ),
        origin="imported",
    )


def _trial_from_plain(plain: Mapping[str, Any]) -> Trial:
    words = {
        "status": _word(TrialStatus, plain["status"], "a status"),
        "outcome": _word(TrialOutcome, plain["outcome"], "an outcome"),
    }
    return Trial(**{**plain, **words, "config": _config(plain["config"])})


def _word(words: type[_Word], text: str, what: str) -> _Word:
    try:
        return words(text)
    except ValueError:
        raise ValueError(f"expected {what} of {', '.join(words)}, got {text!r:.100}") from None


def _key(plain: Mapping[str, Any]) -> str:
    return json_line(plain).rstrip("\n")


def _config(plain: Mapping[str, Any]) -> Config:
    return Config(_key(plain))


def _float(value: float | None) -> float | None:
    return None if value is None else float(value) + 0.0  # 5 as 5.0 and -0.0 as 0.0, which is what comes from a store


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() != timedelta(0):
        raise ValueError(f"expected a time in UTC, got {text!r:.40}")
    return moment
