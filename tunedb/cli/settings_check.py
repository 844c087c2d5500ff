"""Checks of `tunedb doctor` on the settings: values, names of variables, and overrides."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from tunedb import registry, settings
from tunedb.core.device import INTERPRETER, Device
from tunedb.core.problem import Problem
from tunedb.errors import SettingError, TunedbError
from tunedb.store.doctor.finding import Finding

_CHECK = "settings"


def check_settings(used: settings.Settings, faults: list[SettingError]) -> Iterator[Finding]:
    """Yield what is wrong with the settings, or that each can be used. `faults` are those of reading them."""
    wrong = [_fault(fault) for fault in faults]
    wrong += [_unknown(name) for name in settings.unknown_variables()]
    wrong += _overrides(used)
    yield from wrong or [Finding(_CHECK, "ok", "each can be used")]


def _fault(error: SettingError) -> Finding:
    variable, _, fault = str(error).partition(": ")
    return Finding(_CHECK, "bad", f"{variable}: {fault}", f"Set another value, or: unset {variable}")


def _unknown(variable: str) -> Finding:
    like = get_close_matches(variable, settings.VARIABLES, n=1, cutoff=0.7)
    hint = f"Did you mean {like[0]}? Else: unset {variable}" if like else f"unset {variable}"
    return Finding(_CHECK, "warn", f"{variable} is not a setting of tunedb, and does nothing", hint)


def _overrides(used: settings.Settings) -> list[Finding]:
    fix = "Set another value, or: unset TUNEDB_OVERRIDE"
    if not used.override:
        return []
    stored = dict(_stored_problems(used.store, used.override))
    names = registry.kernel_names()
    findings = []
    for name, knobs in used.override.items():
        if name not in names and name not in stored:
            like = get_close_matches(name, [*names, *stored], n=1)
            hint = f"; did you mean {like[0]}?" if like else ""
            found = f"TUNEDB_OVERRIDE names {name!r}, a kernel that is neither installed nor stored{hint}"
            findings.append(Finding(_CHECK, "warn", found, fix))
        elif name in names:
            try:
                _check_knobs(name, knobs, stored.get(name))
            except (SettingError, ImportError) as error:
                findings.append(Finding(_CHECK, "bad", str(error), fix))
    return findings


def _check_knobs(name: str, knobs: Any, stored: tuple[Problem, Device] | None) -> None:
    """Raise SettingError for knobs that the kernel lacks, as a call would. Needs a problem of it."""
    from tunedb.tuner.override import overridden

    kernel = registry.kernel_named(name)
    if stored is None:
        demo = getattr(kernel, "demo", None)  # optional, as in `registry`
        try:
            stored = kernel.problem({} if demo is None else demo.arguments(None)), INTERPRETER
        except SettingError:
            return
    try:
        overridden(kernel.default(*stored), knobs)
    except SettingError as error:
        raise SettingError(f"TUNEDB_OVERRIDE: {name}: {error}") from None


def _stored_problems(url: str, kernels: Any) -> Iterator[tuple[str, tuple[Problem, Device]]]:
    """Yield for each kernel that is stored a problem of it, on a device. Nothing of a store that can't be read."""
    from tunedb.store import open_store

    with contextlib.suppress(TunedbError):  # which the checks of the store report
        store = open_store(url, migrate=False, create=False)
        if store is None:
            return
        with store:
            for name in kernels:
                for sweep in store.iter_sweeps(kernel=name):
                    yield name, (sweep.problem, sweep.device)
                    break
