"""`tunedb sync`: the store and a shared one get what the other has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tunedb import settings
from tunedb.cli.command import FormatOption, command
from tunedb.cli.opening import writing
from tunedb.cli.output import Format, print_record
from tunedb.errors import SchemaOlder, SettingError

if TYPE_CHECKING:
    from tunedb.store import Store


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    command(app)(sync)


def sync(
    url: Annotated[
        str | None, typer.Option("--with", metavar="URL", help="The other store, instead of TUNEDB_SHARED.")
    ] = None,
    format: FormatOption = Format.table,
) -> None:
    """Unite the store with a shared one: each gets the finished sweeps, trials and marks that only the other has.

    It can be repeated and interrupted at will. The other store is never made or upgraded by it. Exit code 1 where rows
    were rejected, because they are no sweeps or marks that this version can read; the rest was united.
    """
    from tunedb.store import receive

    found = url or settings.current().shared
    if not found:
        raise SettingError("sync: found no shared store. Name one: --with URL, or TUNEDB_SHARED.")
    with _other(found) as other, writing() as store:
        received, sent = receive(store, other), receive(other, store)
    rejected = received.rejected + sent.rejected
    print_record(
        {
            "with": settings.without_password(found),
            "sent": sent.stored,
            "received": received.stored,
            "known": received.known,
            "marks_sent": sent.marks,
            "marks_received": received.marks,
            "rejected": rejected,
        },
        format,
    )
    if rejected:
        raise typer.Exit(1)


def _other(url: str) -> Store:
    from tunedb.store import open_store

    store = open_store(url, migrate=False, create=False)
    if store is None:
        printable = settings.without_password(url)
        raise SchemaOlder(
            f"Found no store at {printable}, needed one to unite with. Run: tunedb db upgrade --store {printable}"
        )
    return store
