"""The store as commands see it: opened without changes, its sweeps, and sweeps as rows."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tunedb import registry, settings
from tunedb._internal.redact import without_password
from tunedb.cli.command import log
from tunedb.cli.problem_options import as_options
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep, Trial
from tunedb.errors import SchemaMismatch, SettingError, TunedbError
from tunedb.tuner.stored_device import devices_named

if TYPE_CHECKING:
    from tunedb.store import Store

_IN_MEMORY = ("sqlite://", "sqlite:///:memory:", ":memory:")


@contextlib.contextmanager
def reading(*, announced: bool = True, fleet: bool = False) -> Iterator[Store | None]:
    """Open the store as it is; None if there is none, which is said if `announced`. Makes and changes nothing.

    With `fleet` it is the shared store, which hosts send their counts to; the local one if no shared one is named.
    """
    from tunedb.store import open_store

    store = open_store(_url(fleet=fleet), migrate=False, create=False)
    if store is None:
        if announced:
            log.info("There is no store at %s.", printable_store(fleet=fleet))
        yield None
        return
    with store:
        yield store


def _url(*, fleet: bool) -> str:
    current = settings.current()
    is_named = current.sources["store"] == "argument"  # --store
    return current.shared if fleet and current.shared and not is_named else current.store


def printable_store(*, fleet: bool = False) -> str:
    """Return where the store is, for a message."""
    return without_password(_url(fleet=fleet))


@contextlib.contextmanager
def existing() -> Iterator[Store]:
    """Open the store as it is, to read and to write. Raises TunedbError if there is none."""
    with reading(announced=False) as store:
        if store is None:
            raise no_store()
        yield store


@contextlib.contextmanager
def writing() -> Iterator[Store]:
    """Open the store, creating or upgrading it if needed.

    A file that is not a store, or a damaged one, stays as it is: it may have been named by mistake.
    """
    from tunedb.store import open_store

    url = settings.current().store
    if url in _IN_MEMORY:
        raise SettingError(f"Expected a store that outlives this command, a path or a URL; got {url}.")
    if not url.startswith("postgresql"):
        with contextlib.suppress(SchemaMismatch):  # which the second opening fixes or reports
            store = open_store(url, migrate=False, create=False)  # raises for a file that is not a store
            if store is not None:
                store.close()
    with open_store(url) as store:
        yield store


def sweeps_of(
    store: Store | None, *, kernel: str | None, device: str | None, with_trials: bool = False, finished: bool = True
) -> Iterator[Sweep]:
    """Yield the sweeps of a kernel and a device, or all of them, ordered; running ones too if not `finished`."""
    if store is None:
        return
    if device is None:
        yield from store.iter_sweeps(kernel=kernel, finished=finished, with_trials=with_trials)
        return
    wanted = devices_named(store.upkeep.devices(), device)
    for name in {device.name for device in wanted}:  # at most one
        for sweep in store.iter_sweeps(kernel=kernel, device_name=name, finished=finished, with_trials=with_trials):
            if sweep.device in wanted:
                yield sweep


def say_unfinished(count: int) -> None:
    """Say what sweeps are that are stored as running, and how to finish those whose process is gone."""
    if count:
        log.info("%d running: swept at this moment, or interrupted. To finish these: tunedb warm --incomplete", count)


def no_store() -> TunedbError:
    """Return the error for a command that needs a store that is not there."""
    return TunedbError(f"There is no store at {printable_store()}. To tune a kernel: tunedb warm KERNEL --help")


def nothing_stored(problem: Problem, device: object, arguments: Mapping[str, Any]) -> TunedbError:
    """Return the error for a problem that nothing is stored for on a device, with the command that tunes it."""
    kernel = problem.kernel
    declared = registry.arguments_of(registry.kernel_named(kernel)) if kernel in registry.kernel_names() else ()
    options = as_options(arguments, declared)
    where = ""
    if settings.current().sources["store"] == "argument" and "***" not in printable_store():
        where = f" --store {shlex.quote(printable_store())}"
    return TunedbError(
        f"Nothing is stored for {kernel} ({problem}) on {device} in {printable_store()}. "
        f"Run there: tunedb warm {kernel} {options}{where}"
    )


def sweep_row(sweep: Sweep) -> dict[str, Any]:
    """Return a sweep as `tunedb ls` prints it."""
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
        "layer": sweep.layer,
        "bundle": sweep.bundle or None,
    }


def trial_row(trial: Trial, sweep: Sweep) -> dict[str, Any]:
    """Return a trial as `tunedb show` prints it."""
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
