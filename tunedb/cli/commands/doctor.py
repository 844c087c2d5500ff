"""`tunedb doctor`: what is wrong with the settings and the stores, each finding with what mends it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import typer

from tunedb import settings
from tunedb.cli.command import FormatOption, command
from tunedb.cli.output import Format, print_rows

if TYPE_CHECKING:
    from tunedb.store.doctor.finding import Finding

_COLUMNS = ("check", "status", "found", "mend")


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    command(app, configured=False)(doctor)


def doctor(store: str | None, format: FormatOption = Format.table) -> None:
    """Look for what is wrong with the store, the shared store and the settings, and say what mends it.

    Changes nothing. JSON is an array with an object for each check: its status is ok, warn, bad or skipped. Exit code
    0 where none is warn or bad; 3 where the store can't be opened, 4 where its schema is not the one that is needed, as
    of every command on that store; else 1.
    """
    findings = list(_examine({} if store is None else {"store": store}))
    print_rows([dataclasses.asdict(finding) for finding in findings], format, _COLUMNS)
    raise typer.Exit(_code(findings))


def _examine(told: dict[str, str]) -> Iterator[Finding]:
    from tunedb.store.doctor.examine import examine, examine_shared
    from tunedb.store.doctor.filesystem import sweep_locks
    from tunedb.store.doctor.finding import Finding

    used, faults = settings.read_usable(told)
    for error in faults:
        variable, _, found = str(error).partition(": ")
        yield Finding("settings", "bad", f"{variable}: {found}", f"Set another value, or: unset {variable}")
    if not faults:
        yield Finding("settings", "ok", "each can be used")
    yield from examine(used.store, hashes=hashes_of)
    yield sweep_locks(partial(settings.lock_folder, used))
    yield from examine_shared(used.shared)


def hashes_of(kernels: Iterable[str]) -> dict[str, str]:
    """The hashes of the kernels that are installed and have one. Raises ImportError, or SettingError, if one fails."""
    from tunedb.api import kernel_named, kernel_names
    from tunedb.tuner.unhashed import fault_of

    installed = kernel_names()
    found = {name: kernel_named(name) for name in kernels if name in installed}
    return {name: kernel.hash for name, kernel in found.items() if fault_of(kernel) is None}


def _code(findings: list[Finding]) -> int:
    from tunedb.cli import DONE, FOUND, SCHEMA, UNAVAILABLE

    statuses = {finding.check: finding.status for finding in findings}
    if statuses["store"] == "bad":
        return UNAVAILABLE
    if statuses.get("schema", "ok") != "ok":
        return SCHEMA
    return FOUND if {"warn", "bad"} & set(statuses.values()) else DONE
