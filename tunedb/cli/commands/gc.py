"""`tunedb gc`: the only command that removes sweeps, hints and claims. It also adds up counts of lost hosts."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Annotated

import typer

from tunedb import registry, settings
from tunedb._internal.counted import counted
from tunedb._internal.redact import without_password
from tunedb.cli.command import FormatOption, command, log
from tunedb.cli.opening import reading, sweep_row
from tunedb.cli.output import Format, print_rows
from tunedb.cli.store_words import store_option
from tunedb.core.device import host
from tunedb.core.sweep import now
from tunedb.errors import SettingError

_COLUMNS = ("uid", "kernel", "problem", "device", "status", "why")


@command("gc")
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed, and remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    hints: Annotated[
        str | None, typer.Option("--hints", metavar="KERNEL", help="Remove this kernel's hints, and nothing else.")
    ] = None,
    format: FormatOption = Format.table,
) -> None:
    """Remove obsolete sweeps, with their trials and marks, after asking.

    A sweep is obsolete if its kernel is installed and the code has changed since, if it failed and that has expired, or
    if it has been running for more than a day. Sweeps of a kernel that is not installed are kept. What a shared store
    still holds comes back with the next sync: run gc there too, with --store URL.

    Also adds up, under one name, the counts of other hosts (such as pods) that were not seen for 30 days, and removes
    claims of problems that ended more than 30 days ago.
    """
    if hints is not None:
        _remove_hints(hints, format, dry_run=dry_run, yes=yes)
        return
    from tunedb.store import garbage
    from tunedb.store.retention import CLAIM_GONE, HOST_GONE
    from tunedb.tuner.unhashed import fault_of

    counts: Counter[str] = Counter()  # of sweeps by kernel
    hashes: dict[str, str] = {}
    obsolete, moment = [], now()
    with reading() as store:
        for sweep in () if store is None else store.iter_sweeps(finished=False):
            name = sweep.problem.kernel
            if name not in counts:
                kernel = registry.installed([name]).get(name)
                if kernel is not None and fault_of(kernel) is None:
                    hashes[name] = kernel.hash
            counts[name] += 1
            why = garbage(sweep, hashes, moment)
            if why is not None:
                obsolete.append((sweep, why))
        print_rows([sweep_row(sweep) | {"why": why} for sweep, why in obsolete], format, _COLUMNS)
        for name in sorted(set(counts) - set(hashes)):
            many = counted(counts[name], "sweep")
            log.info("Kept: %s of %s, a kernel that is not installed or has no hash.", many, name)
        if store is None:
            return
        if not obsolete:
            log.info("Nothing to remove from %s.", store.url)
        elif not dry_run:
            if not yes:
                _ask(f"{counted(len(obsolete), 'sweep')}, with trials and marks")
            removed = store.upkeep.remove(sweep for sweep, _ in obsolete)
            log.info("%s removed from %s.", counted(removed, "sweep"), store.url)
        if gone := store.usage.hosts.gone(moment - HOST_GONE, host()):
            if not dry_run:
                store.usage.hosts.merge_gone(moment - HOST_GONE, host())
            what = "to be added up" if dry_run else "added up"
            log.info("Counts of %s not seen for %d days: %s.", counted(len(gone), "host"), HOST_GONE.days, what)
        if claims := store.claims.count_old(CLAIM_GONE):
            if not dry_run:
                store.claims.remove_old(CLAIM_GONE)
            what = "to be removed" if dry_run else "removed"
            log.info("%s that ended more than %d days ago: %s.", counted(claims, "claim"), CLAIM_GONE.days, what)


def _remove_hints(kernel: str, format: Format, *, dry_run: bool, yes: bool) -> None:
    """Remove the hints of a kernel, after asking; print how many there are by device."""
    with reading() as store:
        totals = {} if store is None else store.hints.totals()
        rows = [
            {"kernel": name, "device": device, "hints": count}
            for (name, device), count in sorted(totals.items())
            if name == kernel
        ]
        print_rows(rows, format, ("kernel", "device", "hints"))
        if store is None or not rows:
            log.info("There are no hints for %s.", kernel)
        elif not dry_run:
            if not yes:
                _ask(f"hints of {kernel}")
            log.info("%s removed from %s.", counted(store.hints.remove(kernel), "hint"), store.url)


def _ask(what: str) -> None:
    if not sys.stdin.isatty():
        raise SettingError(
            "gc: can't ask, because stdin is not a terminal. "
            f"See what would be removed: tunedb gc --dry-run{store_option()}. "
            f"Then remove it: tunedb gc --yes{store_option()}"
        )
    url = without_password(settings.current().store)
    if not typer.confirm(f"Remove these {what} from {url}?", err=True):
        raise typer.Exit(1)
