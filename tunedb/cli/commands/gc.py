"""`tunedb gc`: the only way in which a store loses sweeps."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Annotated

import typer

from tunedb import settings
from tunedb.cli.command import FormatOption, command, log
from tunedb.cli.opening import reading, sweep_row
from tunedb.cli.output import Format, print_rows
from tunedb.core.sweep import now
from tunedb.errors import SettingError

_COLUMNS = ("uid", "kernel", "problem", "device", "status", "why")


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    command(app)(gc)


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would go, and remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    format: FormatOption = Format.table,
) -> None:
    """Remove sweeps that are of no use any more, with their trials and marks, after asking.

    Those are the dead ones, whose kernel is installed with another source by now; failures that have expired; and
    sweeps that have been running for more than a day. A kernel that is not installed keeps its sweeps. What another
    store still holds comes back with the next sync: run it there too, with --store URL.
    """
    from tunedb.cli.tasks import installed
    from tunedb.store import garbage
    from tunedb.tuner.unhashed import fault_of

    counts: Counter[str] = Counter()  # of sweeps by kernel
    hashes: dict[str, str] = {}
    found, moment = [], now()
    with reading() as store:
        for sweep in () if store is None else store.iter_sweeps(finished=False):
            name = sweep.problem.kernel
            if name not in counts:
                hashes |= {known: one.hash for known, one in installed([name]).items() if fault_of(one) is None}
            counts[name] += 1
            why = garbage(sweep, hashes, moment)
            if why is not None:
                found.append((sweep, why))
        print_rows([sweep_row(sweep) | {"why": why} for sweep, why in found], format, _COLUMNS)
        for name in sorted(set(counts) - set(hashes)):
            log.info("Left alone: %d sweeps of %s, a kernel that is not installed, or has no hash.", counts[name], name)
        if store is None or not found:
            log.info("Nothing to remove.")
        elif not dry_run:
            if not yes:
                _ask(len(found))
            removed = store.remove_sweeps(sweep for sweep, _ in found)
            log.info("%d sweeps removed from %s.", removed, store.url)


def _ask(count: int) -> None:
    if not sys.stdin.isatty():
        raise SettingError("gc: found no terminal to ask on. See what would go: tunedb gc --dry-run. Then add --yes.")
    url = settings.without_password(settings.current().store)
    if not typer.confirm(f"Remove these {count} sweeps, their trials and their marks from {url}?", err=True):
        raise typer.Exit(1)
