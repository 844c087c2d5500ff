"""What commands read from the store: opening it without changing it, devices by name, sweeps as rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tunedb import settings
from tunedb.cli.problem_options import as_options
from tunedb.core.device import Device
from tunedb.core.sweep import Sweep, Trial
from tunedb.errors import SchemaMismatch, SettingError, TunedbError

if TYPE_CHECKING:
    from tunedb.cli.tasks import Task
    from tunedb.core.task import TuningTask
    from tunedb.store import Store


@contextlib.contextmanager
def reading() -> Iterator[Store | None]:
    """The store as it is, or None where there is none: asking makes no store, upgrades none and replaces none."""
    from tunedb.store import open_store

    store = open_store(settings.current().store, migrate=False, create=False)
    if store is None:
        yield None
        return
    with store:
        yield store


@contextlib.contextmanager
def existing() -> Iterator[Store]:
    """The store as it is, to read and to write. Raises TunedbError where there is none."""
    with reading() as store:
        if store is None:
            raise TunedbError(f"Nothing is stored in {settings.without_password(settings.current().store)} yet.")
        yield store


@contextlib.contextmanager
def writing() -> Iterator[Store]:
    """The store, made or upgraded where it needs to be.

    A file that is no store, or a damaged one, stays as it is: it may have been named by mistake.
    """
    from tunedb.store import open_store

    named = settings.current().store
    if named in ("sqlite://", "sqlite:///:memory:", ":memory:"):
        raise SettingError(f"Found {named}, needed a store that outlives this command: a path or a URL.")
    if not named.startswith("postgresql"):
        with contextlib.suppress(SchemaMismatch):  # which the second opening mends, or tells of
            there = open_store(named, migrate=False, create=False)  # raises for a file that is no store
            if there is not None:
                there.close()
    with open_store(named) as store:
        yield store


def devices_named(devices: Iterable[Device], name: str) -> list[Device]:
    """The devices of that name, else those of the only name that it is a part of; case does not matter in a part.

    The architecture and the multiprocessors that `str` of a device gives can be part of it too. Raises SettingError
    where it is a part of several names.
    """
    known = sorted(set(devices), key=str)
    exact = [device for device in known if name in (device.name, str(device))]
    if exact:
        return exact
    partly = [device for device in known if name.casefold() in str(device).casefold()]
    if len({device.name for device in partly}) > 1:
        raise SettingError(f"--device: {name!r} fits {listed(partly)}. Give the whole name of one.")
    return partly


def listed(devices: Iterable[Device]) -> str:
    """The devices, for a message."""
    return "; ".join(sorted(map(str, devices))) or "none"


def sweeps_of(
    store: Store | None, *, kernel: str | None, device: str | None, with_trials: bool = False
) -> Iterator[Sweep]:
    """The finished sweeps of a kernel and a device, in the store's order; all of them where neither is given."""
    if store is None:
        return
    if device is None:
        yield from store.iter_sweeps(kernel=kernel, with_trials=with_trials)
        return
    wanted = devices_named(store.get_devices(), device)
    for name in {found.name for found in wanted}:  # one, at the most
        for sweep in store.iter_sweeps(kernel=kernel, device_name=name, with_trials=with_trials):
            if sweep.device in wanted:
                yield sweep


def nothing_stored(
    task: Task, case: TuningTask | None, device: str | None, arguments: Mapping[str, Any]
) -> TunedbError:
    """The error where no stored sweep answers a question, with the command that mends it."""
    kernel = task.kernel.name
    return TunedbError(
        f"Nothing is stored for {kernel} ({task.problem}) on {device if case is None else case.device}. "
        f"Run there: tunedb warm {kernel} {as_options(arguments)}"
    )


def sweep_row(sweep: Sweep) -> dict[str, Any]:
    """A sweep as `tunedb ls` prints it."""
    return {
        "uid": sweep.uid,
        "kernel": sweep.problem.kernel,
        "problem": sweep.problem.plain(),
        "device": sweep.device.name,
        "arch": sweep.device.arch,
        "config": None if sweep.config is None else sweep.config.plain(),
        "time_us": sweep.time_us,
        "default_time_us": sweep.default_time_us,
        "speedup": sweep.speedup,
        "status": sweep.status,
        "complete": sweep.complete,
        "finished": sweep.finished and sweep.finished.isoformat(),
        "origin": sweep.origin,
        "host": sweep.host,
    }


def trial_row(trial: Trial, sweep: Sweep) -> dict[str, Any]:
    """A trial as `tunedb show` prints it."""
    return {
        "config": trial.config.plain(),
        "status": trial.status,
        "time_us": trial.time_us,
        "p20_us": trial.p20_us,
        "p80_us": trial.p80_us,
        "samples": trial.samples,
        "compile_s": trial.compile_s,
        "registers": trial.registers,
        "spills": trial.spills,
        "shared_bytes": trial.shared_bytes,
        "outcome": trial.outcome,
        "reference": trial.reference,
        "error": sweep.note_of(trial) or None,
    }
