"""The two sides of a comparison, from the names that people type: stores, devices, or versions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tunedb._internal.redact import without_password
from tunedb.core.device import Device, Environment
from tunedb.core.sweep import Sweep
from tunedb.errors import SettingError
from tunedb.reporting.facts import Comparison
from tunedb.reporting.labels import device_texts
from tunedb.store.difference import difference
from tunedb.tuner.stored_device import devices_named

VERSIONS = Environment.__slots__  # what a side may give versions of: triton=3.8.0,torch=2.13.0
Reader = Callable[[str], Sequence[Sweep]]  # the sweeps of a store, by its path or URL


def comparison(sweeps: Sequence[Sweep], a: str, b: str, read: Reader) -> Comparison:
    """Return the comparison of two sides: both paths or URLs of stores, names of devices, or versions.

    Devices and versions are those of `sweeps`. Raises SettingError for a name that is none of these, or if the two are
    of different kinds.
    """
    if is_store(a) and is_store(b):
        return Comparison(_store_name(a), _store_name(b), difference(read(a), read(b)))
    if "=" in a and "=" in b:
        return Comparison(a, b, difference(*(_of_versions(sweeps, side) for side in (a, b))))
    if any(is_store(side) or "=" in side for side in (a, b)):
        raise SettingError(
            f"--compare: expected two stores, two devices, or two versions such as triton=3.8.0; got {a!r} and {b!r}."
        )
    return of_devices(sweeps, *(_device(sweeps, side) for side in (a, b)))


def is_store(side: str) -> bool:
    """Say whether a side names a store: a URL, or a file that is there."""
    return "://" in side or Path(side).is_file()


def of_devices(sweeps: Sequence[Sweep], a: Device, b: Device) -> Comparison:
    """Return the comparison of two devices."""
    texts = device_texts([a, b])
    sides = ([one for one in sweeps if one.device == device] for device in (a, b))
    return Comparison(texts[a.digest], texts[b.digest], difference(*sides, across_devices=True))


def natural_comparison(sweeps: Sequence[Sweep]) -> Comparison | None:
    """Return the comparison of the two devices with the most problems in common; None with one device."""
    problems: dict[Device, set[tuple[str, str]]] = {}
    for sweep in sweeps:
        problems.setdefault(sweep.device, set()).add((sweep.problem.kernel, sweep.problem.key))
    pairs = itertools.combinations(sorted(problems, key=str), 2)
    best = max(pairs, key=lambda pair: len(problems[pair[0]] & problems[pair[1]]), default=None)
    return None if best is None else of_devices(sweeps, *best)


def _device(sweeps: Iterable[Sweep], name: str) -> Device:
    stored = {sweep.device for sweep in sweeps}
    found = devices_named(stored, name, option="--compare")
    if len(found) != 1:
        names = "; ".join(sorted(map(str, found or stored))) or "none"
        raise SettingError(f"--compare: expected a store, a device or versions, got {name!r}. Stored devices: {names}.")
    return found[0]


def _of_versions(sweeps: Iterable[Sweep], text: str) -> list[Sweep]:
    wanted = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
    if not wanted or not set(wanted) <= set(VERSIONS):
        raise SettingError(f"--compare: expected versions of {', '.join(VERSIONS)}, got {text!r}.")
    sweeps = list(sweeps)

    def fits(environment: Environment) -> bool:
        return all(getattr(environment, name) == wanted[name] for name in wanted)

    of_side = [one for one in sweeps if any(map(fits, one.environments))]
    if not of_side:
        stored = sorted({getattr(one.environment, name) for one in sweeps for name in wanted})
        raise SettingError(f"--compare: no sweep has {text}. Stored: {', '.join(stored) or 'nothing'}.")
    return of_side


def _store_name(text: str) -> str:
    return without_password(text) if "://" in text else Path(text).name
