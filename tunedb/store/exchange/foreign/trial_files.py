"""All trials of sweeps in two formats of Kernel Tuner's community: its cache files, and T4 results.

Times are milliseconds there. A sweep has no moment for each trial, so all of them bear the one when it ended.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tunedb.core.sweep import Sweep, Trial, TrialOutcome, TrialStatus
from tunedb.errors import SettingError
from tunedb.store.exchange.foreign.kernel_tuner import PROBLEM

SCHEMA_VERSION = "1.0.0"  # of T4
_CACHE_WORDS: Mapping[str, str] = {
    TrialStatus.WRONG: "InvalidConfig",
    TrialStatus.COMPILE_ERROR: "CompilationFailedConfig",
    TrialStatus.OUT_OF_RESOURCES: "RuntimeFailedConfig",
    TrialStatus.RUNTIME_ERROR: "RuntimeFailedConfig",
    TrialStatus.TIMEOUT: "RuntimeFailedConfig",
    TrialStatus.PRUNED: "InvalidConfig",
}
_INVALIDITY: Mapping[str, str] = {
    TrialStatus.OK: "correct",
    TrialStatus.WRONG: "correctness",
    TrialStatus.COMPILE_ERROR: "compile",
    TrialStatus.OUT_OF_RESOURCES: "runtime",
    TrialStatus.RUNTIME_ERROR: "runtime",
    TrialStatus.TIMEOUT: "timeout",
    TrialStatus.PRUNED: "constraints",
}


def trial_files(sweeps: Iterable[Sweep], text_of: Callable[[Sweep], str]) -> dict[str, str]:
    """Return the text of a file for each sweep by its name, such as `matmul-NVIDIA_H200-1f3a9c0d2b4e.json`.

    Raises SettingError if two devices have one name.
    """
    files: dict[str, Sweep] = {}
    for sweep in sweeps:
        other = files.setdefault(_name(sweep), sweep)
        if other is not sweep:
            raise SettingError(f"{sweep.device} and {other.device} would share a file. Name one with --device.")
    return {name: text_of(sweep) for name, sweep in files.items()}


def cache_text(sweep: Sweep) -> str:
    """Return a sweep with its trials as one of Kernel Tuner's cache files, with the problem's facts next to them."""
    names = _knob_names(sweep)
    entries = {}
    for trial in _each_config_once(sweep):
        knobs = [trial.config.plain().get(name) for name in names]
        entries[",".join(map(str, knobs))] = {**dict(zip(names, knobs, strict=True)), **_cache_times(trial, sweep)}
    values = {name: _distinct(trial.config.plain().get(name) for trial in sweep.trials) for name in names}
    facts = sweep.problem.plain()
    return _json(
        {
            "device_name": sweep.device.name,
            "kernel_name": sweep.problem.kernel,
            "problem_size": [value for value in facts.values() if type(value) is int],
            "tune_params_keys": names,
            "tune_params": values,
            "objective": "time",
            PROBLEM: facts,
            "cache": entries,
        }
    )


def t4_text(sweep: Sweep) -> str:
    """Return a sweep with its trials as T4 results."""
    return _json(
        {
            "schema_version": SCHEMA_VERSION,
            "metadata": {
                "timeunit": "milliseconds",
                "kernel": sweep.problem.kernel,
                "problem": sweep.problem.plain(),
                "device": sweep.device.name,
                "environment": {name: getattr(sweep.environment, name) for name in sweep.environment.__slots__},
            },
            "results": [_t4_result(trial, sweep) for trial in _each_config_once(sweep)],
        }
    )


def _t4_result(trial: Trial, sweep: Sweep) -> dict[str, Any]:
    is_ok = trial.status == TrialStatus.OK
    compiled = _ms(trial.compile_s, 1e3) or 0.0
    # T4's schema calls it `compilation_time`, Kernel Tuner's writer and readers `compilation`.
    times = {"compilation_time": compiled, "compilation": compiled, "runtimes": _runtimes(trial)}
    units = {"registers": "registers", "spills": "registers", "shared_bytes": "bytes"}
    measured = [
        {"name": name, "value": value, "unit": unit}
        for name, unit in units.items()
        if (value := getattr(trial, name)) is not None
    ]
    time = _ms(trial.time_us)
    if is_ok and time is not None:
        measured.insert(0, {"name": "time", "value": time, "unit": "milliseconds"})
    return {
        "timestamp": _moment(sweep),
        "configuration": trial.config.plain(),
        "objectives": ["time"],
        "times": {
            **times,
            "framework": 0.0,
            "search_algorithm": 0.0,
            "validation": 0.0,
            "benchmark": sum(_runtimes(trial)),
        },
        "invalidity": _INVALIDITY[trial.status],
        "correctness": 0 if trial.status == TrialStatus.WRONG else 1,
        "measurements": measured,
    }


def _cache_times(trial: Trial, sweep: Sweep) -> dict[str, Any]:
    time = _ms(trial.time_us)
    is_timed = trial.status == TrialStatus.OK and time is not None
    word = _CACHE_WORDS.get(trial.status, "InvalidConfig")
    return {
        "time": time if is_timed else word,
        "times": _runtimes(trial) if is_timed else [],
        "compile_time": _ms(trial.compile_s, 1e3) or 0.0,
        "verification_time": 0.0,
        "benchmark_time": sum(_runtimes(trial)),
        "strategy_time": 0.0,
        "framework_time": 0.0,
        "timestamp": _moment(sweep),
    }


def _each_config_once(sweep: Sweep) -> list[Trial]:
    """Return the trials of a sweep, of each config one; a duplicate of another binary has the time of that one."""
    by_uid = {trial.uid: trial for trial in sweep.trials}
    once: dict[str, Trial] = {}
    for trial in sorted(sweep.trials, key=lambda trial: (trial.status != TrialStatus.OK, trial.config.key, trial.uid)):
        once.setdefault(trial.config.key, timed_trial(trial, by_uid))
    return [once[key] for key in sorted(once)]


def timed_trial(trial: Trial, by_uid: Mapping[str, Trial]) -> Trial:
    """Return the trial, or the one whose binary it shares, with this one's config."""
    twin = by_uid.get(trial.reference or "") if trial.outcome == TrialOutcome.DUPLICATE_OF else None
    return trial if twin is None else dataclasses.replace(twin, config=trial.config)


def _runtimes(trial: Trial) -> list[float]:
    """Return the 20th percentile, the median and the 80th percentile in milliseconds, as far as they are known."""
    return [ms for time in (trial.p20_us, trial.time_us, trial.p80_us) if (ms := _ms(time)) is not None]


def _ms(time: float | None, factor: float = 1e-3) -> float | None:
    return None if time is None else round(time * factor, 9)


def _moment(sweep: Sweep) -> str:
    return sweep.started.isoformat() if sweep.finished is None else sweep.finished.isoformat()


def _knob_names(sweep: Sweep) -> list[str]:
    return sorted({name for trial in sweep.trials for name in trial.config})


def _distinct(values: Iterable[Any]) -> list[Any]:
    return sorted(set(values), key=lambda value: (type(value).__name__, value if value is not None else 0))


def _name(sweep: Sweep) -> str:
    plain = re.sub(r"[^A-Za-z0-9_.]+", "_", f"{sweep.device.name}")
    return f"{sweep.problem.kernel}-{plain}-{sweep.problem.digest[:12]}.json"


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
