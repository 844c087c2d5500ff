"""The store as commands see it: opened without changes, its sweeps, and sweeps as rows."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tunedb import registry, settings
from tunedb.cli.cells import duration
from tunedb.cli.command import log
from tunedb.cli.names import devices_of_list, kernel_of_list
from tunedb.cli.problem_options import as_options
from tunedb.cli.states import SweepState
from tunedb.cli.store_words import printable_store, store_option, store_url
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep, Trial
from tunedb.errors import SchemaMismatch, SettingError, TunedbError
from tunedb.store.interface import SweepLists

if TYPE_CHECKING:
    from tunedb.store import Store
    from tunedb.store.reading import ReadStore

_IN_MEMORY = ("sqlite://", "sqlite:///:memory:", ":memory:")


@contextlib.contextmanager
def reading(*, announced: bool = True, fleet: bool = False) -> Iterator[Store | None]:
    """Open the store as it is; None if there is none, which is said if `announced`. Makes and changes nothing.

    With `fleet` it is the shared store, which hosts send their counts to; the local one if no shared one is named.
    """
    from tunedb.store import open_store

    store = open_store(store_url(fleet=fleet), migrate=False, create=False)
    if store is None:
        if announced:
            log.info("There is no store at %s.", printable_store(fleet=fleet))
        yield None
        return
    with store:
        yield store


@contextlib.contextmanager
def reading_lists(*, announced: bool = True, fleet: bool = False) -> Iterator[Store | ReadStore | None]:
    """Open the store as `reading` does, for look-ups and lists. A SQLite file is read without SQLAlchemy."""
    from tunedb.store.reading import open_to_read

    store = open_to_read(store_url(fleet=fleet))
    if store is None:
        if announced:
            log.info("There is no store at %s.", printable_store(fleet=fleet))
        yield None
        return
    with store:
        yield store


def whole_store(store: Store | ReadStore | None) -> Store | None:
    """Return the store with all methods, which loads SQLAlchemy."""
    return None if store is None else store.whole


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
    store: SweepLists | None,
    *,
    kernel: str | None,
    device: str | None,
    with_trials: bool = False,
    finished: bool = True,
    announced: bool = True,
) -> Iterator[Sweep]:
    """Yield the sweeps of a kernel and a device, or all of them, ordered; running ones too if not `finished`.

    A name that nothing stored has gets a hint if that is `announced`.
    """
    if store is None:
        return
    if kernel is not None:
        kernel = kernel_of_list(store, kernel, announced=announced)
    if device is None:
        yield from store.iter_sweeps(kernel=kernel, finished=finished, with_trials=with_trials)
        return
    wanted = devices_of_list(store, device, announced=announced)
    for name in {device.name for device in wanted}:  # at most one
        for sweep in store.iter_sweeps(kernel=kernel, device_name=name, finished=finished, with_trials=with_trials):
            if sweep.device in wanted:
                yield sweep


def say_unfinished(count: int) -> None:
    """Say what sweeps are that are stored as running, and how to finish those whose process is gone."""
    if count:
        log.info(
            "%d running: swept at this moment, or interrupted. To finish these: tunedb warm --incomplete%s",
            count, store_option(),
        )  # fmt: skip


def no_store(note: str = "") -> TunedbError:
    """Return the error for a command that needs a store that is not there, with a note on what else there is."""
    how = note or "To tune a kernel: tunedb warm KERNEL --help"
    return TunedbError(f"There is no store at {printable_store()}. {how}")


def nothing_stored(
    problem: Problem, device: object, arguments: Mapping[str, Any], passed_over: str = ""
) -> TunedbError:
    """Return the error for a problem that nothing usable is stored for on a device, with the command that tunes it.

    passed_over: a note on sweeps that are stored and can't be used.
    """
    kernel, what = problem.kernel, "Nothing that can be used is" if passed_over else "Nothing is"
    return TunedbError(
        f"{what} stored for {kernel} ({problem}) on {device} in {printable_store()}. {passed_over}"
        f"{' ' if passed_over else ''}Run there: {typed_again('warm', kernel, arguments)}"
    )


def passed_over_note(sweeps: Sequence[Sweep], kernel: str, arguments: Mapping[str, Any], device: str | None) -> str:
    """Return a sentence about sweeps that were passed over, with the command that says why; empty without any."""
    if not sweeps:
        return ""
    many = f"{len(sweeps)} stored sweep{' of this problem was' if len(sweeps) == 1 else 's of this problem were'}"
    return f"{many} passed over. To see why: {typed_again('explain', kernel, arguments, device)}"


def typed_again(command: str, kernel: str, arguments: Mapping[str, Any], device: str | None = None) -> str:
    """Return a command about a kernel's problem, quoted for a shell, with the store that this command was given."""
    declared = registry.arguments_of(registry.kernel_named(kernel)) if kernel in registry.kernel_names() else ()
    words = [f"tunedb {command} {shlex.quote(kernel)}", as_options(arguments, declared)]
    if device is not None:
        words.append(f"--device {shlex.quote(device)}")
    return " ".join(filter(None, words)) + store_option()


def state_row(state: SweepState) -> dict[str, Any]:
    """Return a sweep with its state, as `tunedb ls` prints it. `age` and `notes` are for people."""
    sweep = state.sweep
    return sweep_row(sweep) | {
        "answers": state.answers,
        "stale": state.stale,
        "pinned": sweep.is_pinned,
        "quarantined": sweep.is_quarantined,
        "marks": [{"kind": mark.kind, "reason": mark.reason, "time": mark.time.isoformat()} for mark in sweep.marks],
    }


def for_people(state: SweepState, moment: datetime) -> dict[str, Any]:
    """Return what a table says of a sweep in words: how long ago it ended, and its notes."""
    finished = state.sweep.finished
    age = None if finished is None else duration((moment - finished).total_seconds())
    return {"age": age, "notes": state.notes()}


def sweep_row(sweep: Sweep) -> dict[str, Any]:
    """Return what a sweep says by itself."""
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
