"""`tunedb path`: where the store is."""

from __future__ import annotations

from tunedb import settings
from tunedb.cli.command import FormatOption, command, is_verbose
from tunedb.cli.output import Format, print_record, print_rows, say_answer


@command("path")
def path(format: FormatOption = Format.table) -> None:
    """Print where the store is.

    With -v: each setting, its value, and where the value came from.
    """
    rows = settings.as_rows(settings.current())
    if is_verbose():
        print_rows(rows, format, ("setting", "value", "source"))
        return
    store = next(row["value"] for row in rows if row["setting"] == "TUNEDB_STORE")
    if format is Format.table:
        say_answer(store)
    else:
        print_record({"store": store}, format)
