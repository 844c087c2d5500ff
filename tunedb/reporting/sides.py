"""The two sides of a comparison, from the names that people type: places of sweeps, devices, or environments."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tunedb.core.device import Device, Environment
from tunedb.core.sweep import Sweep
from tunedb.errors import SettingError, TunedbError
from tunedb.reporting.facts import Comparison
from tunedb.reporting.labels import device_texts
from tunedb.reporting.places import Held, held_by, is_missing_file, is_place, printable_place, read_place
from tunedb.store.difference import difference
from tunedb.store.local import path_of
from tunedb.store.stored import Stored
from tunedb.tuner.stored_device import devices_named
from tunedb.tuner.stored_names import check_stored, no_device

if TYPE_CHECKING:
    from tunedb.store.sql.copy_rates import CopyRate

VERSIONS = Environment.__slots__  # what a side may name versions of: triton=3.8.0,torch=2.13.0
_WITHIN = "Name another one. To compare two devices or environments of one store, name these, with --store."


class Kind(StrEnum):
    """What the name of a side says."""

    STORE = "store"  # or a bundle, or an exported file
    DEVICE = "device"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: its name and its finished sweeps, with their trials."""

    name: str
    kind: Kind
    sweeps: Sequence[Sweep]
    copy_rates: Mapping[str, CopyRate] = field(default_factory=dict)


def kind_of(text: str) -> Kind:
    """Return the kind of a side that is named like this. Raises SettingError for a file that is not there."""
    if is_place(text):
        return Kind.STORE
    if "=" in text:
        return Kind.ENVIRONMENT
    if is_missing_file(text):
        raise SettingError(f"There is no file {text}.")
    return Kind.DEVICE


def common_kind(a: str, b: str) -> Kind:
    """Return the kind of both sides. Raises SettingError if they are of two kinds."""
    kinds = {kind_of(a), kind_of(b)}
    if len(kinds) > 1:
        raise SettingError(
            "Expected two stores (or bundles, or exported files), two devices or two environments such as "
            f"triton=3.8.0, got a {' and a '.join(sorted(kinds))}: {printable_place(a)} and {printable_place(b)}. "
            "A device is named as tunedb devices lists it."
        )
    return kinds.pop()


def sides_of_places(a: str, b: str, *, kernels: Sequence[str] = (), device: str | None = None) -> tuple[Side, Side]:
    """Return two sides that are stores, bundles or exported files: what each has of these kernels, on a device or all.

    A kernel may be named without its module. Raises SettingError for names that nothing on the sides has and for one
    place twice, TunedbError for a side on which nothing is tuned, and StoreError for a place that can't be read.
    """
    held = [read_place(text, kernels) for text in (a, b)]
    check_stored(kernels, {name for one in held for name in one.kernels}, " on either side")
    if _is_same_place(a, b):
        raise _equal("stores, bundles or exported files", printable_place(a), _WITHIN)
    names = _place_names(a, b)
    sides = [Side(name, Kind.STORE, one.sweeps, one.copy_rates) for name, one in zip(names, held, strict=True)]
    _check_tuned(sides, held)
    return _on_device(sides, device, {one for place in held for one in place.devices})


def sides_of_stored(
    a: str, b: str, stored: Stored, *, kernels: Sequence[str] = (), device: str | None = None
) -> tuple[Side, Side]:
    """Return two devices or two environments of what is stored as sides, with what each has of these kernels.

    `device` limits two environments; two devices are not limited by a third. Raises SettingError for names that nothing
    stored has, and for one device or environment twice.
    """
    here = held_by(stored, kernels)
    check_stored(kernels, here.kernels)
    if common_kind(a, b) is Kind.DEVICE:
        one, other = (_device(here, text) for text in (a, b))
        if one == other:
            raise _equal("devices", str(one), f"Stored devices: {', '.join(sorted(map(str, set(here.devices))))}.")
        return _sides_of_devices(here.sweeps, one, other)
    if _versions(a) == _versions(b):
        raise _equal("environments", a, f"Stored: {_known_versions(here.sweeps, _versions(a))}.")
    sides = [Side(text, Kind.ENVIRONMENT, _of_versions(here.sweeps, text)) for text in (a, b)]
    return _on_device(sides, device, here.devices)


def compared(a: Side, b: Side) -> Comparison:
    """Return the comparison of two sides of one kind."""
    return Comparison(a.name, b.name, difference(a.sweeps, b.sweeps, across_devices=a.kind is Kind.DEVICE))


def natural_comparison(sweeps: Sequence[Sweep]) -> Comparison | None:
    """Return the comparison of the two devices with the most problems in common; None with one device."""
    problems: dict[Device, set[tuple[str, str]]] = {}
    for sweep in sweeps:
        problems.setdefault(sweep.device, set()).add((sweep.problem.kernel, sweep.problem.key))
    pairs = itertools.combinations(sorted(problems, key=str), 2)
    best = max(pairs, key=lambda pair: len(problems[pair[0]] & problems[pair[1]]), default=None)
    return None if best is None else compared(*_sides_of_devices(sweeps, *best))


def _sides_of_devices(sweeps: Sequence[Sweep], a: Device, b: Device) -> tuple[Side, Side]:
    texts = device_texts([a, b])
    one, other = (
        Side(texts[device.digest], Kind.DEVICE, [sweep for sweep in sweeps if sweep.device == device])
        for device in (a, b)
    )
    return one, other


def _place_names(a: str, b: str) -> list[str]:
    """Return the places as a report names them: files without their folders, or with as many as tell them apart."""
    parts = [(printable_place(text),) if "://" in text else Path(text).parts for text in (a, b)]
    lengths = range(1, max(map(len, parts)) + 1)
    tails = ([str(Path(*one[-length:])) if len(one) > 1 else one[0] for one in parts] for length in lengths)
    return next((names for names in tails if names[0] != names[1]), ["/".join(one) for one in parts])


def _check_tuned(sides: Iterable[Side], held: Iterable[Held]) -> None:
    """Raise TunedbError for a place where nothing is tuned at all: what is asked for may be on one side alone."""
    for side, place in zip(sides, held, strict=True):
        if not place.kernels or (place.sweeps and not any(sweep.leaves_its_store for sweep in place.sweeps)):
            raise TunedbError(f"Nothing is tuned in {side.name}.")


def _device(held: Held, name: str) -> Device:
    """Return the device of that name. Of all that are stored: that of another kernel is not taken for one of these.

    Of several with that name, those count of which sweeps were read: a row that can't be read hides no other.
    """
    found = devices_named(held.devices, name, option="Device")
    if not found:
        raise SettingError(no_device(name, held.devices))
    read = {sweep.device for sweep in held.sweeps}
    found = [device for device in found if device in read] or found
    if len(found) > 1:
        raise SettingError(f"{name!r} fits several devices: {'; '.join(sorted(map(str, found)))}. Name one in full.")
    return found[0]


def _of_versions(sweeps: Iterable[Sweep], text: str) -> list[Sweep]:
    wanted, sweeps = _versions(text), list(sweeps)

    def fits(environment: Environment) -> bool:
        return all(getattr(environment, name) == value for name, value in wanted.items())

    of_side = [sweep for sweep in sweeps if any(map(fits, sweep.environments))]
    if not any(sweep.leaves_its_store for sweep in of_side):
        raise SettingError(f"Nothing is tuned with {text}. Stored: {_known_versions(sweeps, wanted)}.")
    return of_side


def _versions(text: str) -> dict[str, str]:
    """Return the versions that an environment is named by. Raises SettingError for names that none has."""
    wanted = dict(part.partition("=")[::2] for part in text.split(","))
    if not set(wanted) <= set(VERSIONS):
        raise SettingError(f"Expected some of {', '.join(f'{name}=...' for name in VERSIONS)}, got {text!r}.")
    return wanted


def _known_versions(sweeps: Iterable[Sweep], names: Iterable[str]) -> str:
    names = list(names)
    known = {f"{name}={getattr(one, name)}" for sweep in sweeps for one in sweep.environments for name in names}
    return ", ".join(sorted(known)) or "nothing"


def _equal(kind: str, name: str, hint: str) -> SettingError:
    """Return the error for two sides that are one."""
    return SettingError(f"Expected two different {kind}, got {name} twice. {hint}")


def _is_same_place(a: str, b: str) -> bool:
    """Say whether two places are one: the same text, or the same file by two names."""
    return a == b or ((path := path_of(a)) is not None and path == path_of(b))


def _on_device(sides: Sequence[Side], device: str | None, stored: Collection[Device]) -> tuple[Side, Side]:
    a, b = sides
    if device is None:
        return a, b
    wanted = devices_named(stored, device)
    if not wanted:
        raise SettingError(no_device(device, stored))
    one, other = (replace(side, sweeps=[sweep for sweep in side.sweeps if sweep.device in wanted]) for side in sides)
    return one, other
