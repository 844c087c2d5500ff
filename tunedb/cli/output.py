"""What commands print on stdout: rows and single records, as a table for people, JSON, or CSV."""

from __future__ import annotations

import csv
import enum
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

Row = Mapping[str, Any]
_WIDTH = 100_000
SHORT_UID = 12  # digits of a uid in a table: `tunedb show` takes the beginning of one


class Format(enum.StrEnum):
    """The formats of an answer."""

    table = enum.auto()
    json = enum.auto()
    csv = enum.auto()


def print_rows(rows: Sequence[Row], format: Format, columns: Sequence[str]) -> None:
    """Print rows: `columns` of them as a table, all of them as a JSON array or as CSV."""
    if format is Format.json:
        print(json.dumps(rows, indent=2, allow_nan=False))
    elif format is Format.csv:
        _print_csv(rows, rows[0] if rows else columns)
    elif rows:
        print_table(columns, [[row[name] for name in columns] for row in rows])


def print_record(record: Row, format: Format) -> None:
    """Print one record: a line per field, a JSON object, or CSV with one row."""
    if format is Format.json:
        print(json.dumps(record, indent=2, allow_nan=False))
    elif format is Format.csv:
        _print_csv([record], record)
    else:
        table = Table.grid(padding=(0, 2))
        for name, value in record.items():
            table.add_row(name, cell("", value))
        _print(table)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table for people. Each row is one line, however narrow the terminal: nothing is cut off."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name)
    for row in rows:
        table.add_row(*(cell(name, value) for name, value in zip(columns, row, strict=True)))
    _print(table)


def cell(column: str, value: Any) -> str:
    """One value as people read it."""
    if value is None:
        return "-"
    if column == "uid":
        return str(value)[:SHORT_UID]
    if isinstance(value, Mapping):
        return one_line(" ".join(f"{name}={part}" for name, part in value.items()))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2f}" if isinstance(value, float) else one_line(str(value))


def one_line(text: str) -> str:
    """The text on one line, without what would steer a terminal: it may come from someone else's store."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in " ".join(text.split()))


def _print_csv(rows: Sequence[Row], columns: Row | Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(_csv_value(row[name]) for name in columns)


def _csv_value(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, Mapping | list | bool) else value


def _print(table: Table) -> None:
    console = Console(file=sys.stdout, width=_WIDTH, markup=False, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())
