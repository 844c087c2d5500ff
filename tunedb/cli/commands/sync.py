"""`tunedb sync`: exchange with a shared store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tunedb import settings
from tunedb._internal.redact import without_password
from tunedb.cli.command import FormatOption, command
from tunedb.cli.opening import writing
from tunedb.cli.output import Format, print_record
from tunedb.errors import SchemaOlder, SettingError

if TYPE_CHECKING:
    from tunedb.store import Store


@command("sync", interrupted="What was exchanged is stored: run the same command again to continue.")
def sync(
    url: Annotated[
        str | None, typer.Option("--with", metavar="URL", help="The other store, instead of TUNEDB_SHARED.")
    ] = None,
    format: FormatOption = Format.table,
) -> None:
    """Exchange tuned sweeps and marks with a shared store, in both directions.

    Each store gets the tuned sweeps, with their trials, and the marks that it lacks. Sweeps that failed or were aborted
    stay where they are: they concern the machine that made them. The other store also gets the counts of hits and
    misses, as sums for each host (`tunedb misses --fleet`); it sends none back.

    The command can be repeated, and interrupted at any time. It never creates or upgrades the other store. Exit code 1
    if rows were rejected, because this version can't read them as sweeps or marks; all other rows were exchanged.
    """
    from tunedb.store import receive
    from tunedb.store.exchange.sync import send_counts

    shared = url or settings.current().shared
    if not shared:
        raise SettingError("sync: no shared store is set. Name one: --with URL, or TUNEDB_SHARED.")
    with _other(shared) as other, writing() as store:
        received, sent = receive(store, other), receive(other, store)
        counts = send_counts(store, other)
    rejected = received.rejected + sent.rejected
    print_record(
        {
            "with": without_password(shared),
            "sent": sent.stored,
            "received": received.stored,
            "known": received.known,
            "marks_sent": sent.marks,
            "marks_received": received.marks,
            "counts_sent": counts,
            "rejected": rejected,
        },
        format,
    )
    if rejected:
        raise typer.Exit(1)


def _other(url: str) -> Store:
    from tunedb.store import open_store
    from tunedb.store.sql.advice import on_store

    store = open_store(url, migrate=False, create=False)
    if store is None:
        printable = without_password(url)
        raise SchemaOlder(
            f"There is no store at {printable} to exchange with. Run: {on_store('tunedb db upgrade', printable)}"
        )
    return store
