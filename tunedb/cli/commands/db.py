"""`tunedb db`: the store's schema, and copies of the store."""

from __future__ import annotations

from typing import Annotated

import typer

from tunedb import settings
from tunedb._internal.redact import without_password
from tunedb.cli.command import FormatOption, command
from tunedb.cli.output import Format, print_record


@command("db current")
def current(format: FormatOption = Format.table) -> None:
    """Print the schema's revision (none if there is no store), and the one that this version needs."""
    from tunedb.store.sql import schema

    url = settings.current().store
    _print(format, revision=schema.current(url), needed=schema.HEAD)


@command("db check")
def check(format: FormatOption = Format.table) -> None:
    """Check that the store has the schema that this version needs.

    Exit code 4 if it does not.
    """
    from tunedb.store.sql import schema

    schema.check(settings.current().store)
    _print(format, revision=schema.HEAD, needed=schema.HEAD)


@command("db upgrade")
def upgrade(format: FormatOption = Format.table) -> None:
    """Upgrade the store to the schema that this version needs.

    Creates the store if there is none.
    """
    from tunedb.store.sql import schema

    before = schema.upgrade(settings.current().store)
    _print(format, before=before, revision=schema.HEAD, needed=schema.HEAD)


@command("db backup")
def backup(
    target: Annotated[str | None, typer.Argument(help="A new file; by default one next to the store.")] = None,
    format: FormatOption = Format.table,
) -> None:
    """Copy the store to a new file, while others use it.

    SQLite only. The copy is checked, and is a store itself: --store reads it. An upgrade of an older store makes such
    a copy first.
    """
    from tunedb.store.sql import backup

    made = backup.backup(settings.current().store, target)
    _print(format, backup=str(made))


def _print(format: Format, **facts: str | None) -> None:
    print_record({"store": without_password(settings.current().store), **facts}, format)
