"""`tunedb doctor`: faults of the settings and the stores, and how to fix them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import typer

from tunedb import registry, settings
from tunedb.cli.command import FormatOption, command
from tunedb.cli.exit_codes import DONE, FOUND, SCHEMA, UNAVAILABLE
from tunedb.cli.output import Format, print_rows
from tunedb.tuner.lock_folder import lock_folder

if TYPE_CHECKING:
    from tunedb.store.doctor.finding import Finding

_COLUMNS = ("check", "status", "found", "fix")


@command("doctor", configured=False)
def doctor(store: str | None, format: FormatOption = Format.table) -> None:
    """Check the store, the shared store, the bundles and the settings, and say how to fix what is wrong.

    Changes nothing. JSON is an array with an object for each check, whose status is ok, warn, bad or skipped. Exit
    code 0 if no status is warn or bad; 3 if the store can't be opened; 4 if this version needs another schema; else 1.
    """
    findings = list(_examine({} if store is None else {"store": store}))
    print_rows([dataclasses.asdict(finding) for finding in findings], format, _COLUMNS)
    raise typer.Exit(_code(findings))


def _examine(overrides: dict[str, str]) -> Iterator[Finding]:
    from tunedb.cli.settings_check import check_settings
    from tunedb.store.bundles import BundleLayer
    from tunedb.store.doctor.bundles import examine_bundles
    from tunedb.store.doctor.examine import examine, examine_shared
    from tunedb.store.doctor.filesystem import sweep_locks

    used, faults = settings.read_usable(overrides)
    yield from check_settings(used, faults)
    writable = used.mode != "read" and not used.is_strict
    bundles = BundleLayer(used.bundles)
    has_bundles = not writable and bool(bundles.opened()) and bundles.is_known_to_have_any
    yield from examine(used.store, hashes=hashes_of, writable=writable, has_bundles=has_bundles)
    yield sweep_locks(partial(lock_folder, used))
    yield from examine_shared(used.shared)
    yield from examine_bundles(bundles)


def hashes_of(kernels: Iterable[str]) -> dict[str, str]:
    """Return the hashes of the installed kernels that have one. Raises ImportError or SettingError if one fails."""
    from tunedb.tuner.unhashed import fault_of

    names = set(kernels) & set(registry.kernel_names())
    hashed = [kernel for name in sorted(names) if fault_of(kernel := registry.kernel_named(name)) is None]
    return {kernel.name: kernel.hash for kernel in hashed}


def _code(findings: list[Finding]) -> int:
    by_check = {finding.check: finding.status for finding in findings}  # of `settings` one of several
    if by_check["store"] == "bad":
        return UNAVAILABLE
    if by_check.get("schema", "ok") != "ok":
        return SCHEMA
    return FOUND if {"warn", "bad"} & {finding.status for finding in findings} else DONE
