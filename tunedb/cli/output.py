"""The output of commands on stdout: rows and single records, as a table for people, JSON, or CSV."""

from __future__ import annotations

import contextlib
import csv
import enum
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from tunedb._internal.printable import printable
from tunedb.cli.cells import cell

Row = Mapping[str, Any]
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # after blanks as well: some programs leave these out

_answer: TextIO | None = None  # stdout, while `sys.stdout` is something else


@contextlib.contextmanager
def only_answers_on_stdout() -> Iterator[None]:
    """Have what anybody else prints, such as a kernel's package when it is imported, go to stderr."""
    global _answer
    before = (_answer, sys.stdout)
    _answer, sys.stdout = stdout(), sys.stderr
    try:
        yield
    finally:
        _answer, sys.stdout = before


def stdout() -> TextIO:
    """Return the file that answers are printed to."""
    return sys.stdout if _answer is None else _answer


def say_answer(*words: object, sep: str = " ", end: str = "\n") -> None:
    """Print a part of the answer."""
    print(*words, sep=sep, end=end, file=stdout())


class Format(enum.StrEnum):
    """The formats of an answer."""

    table = enum.auto()
    json = enum.auto()
    csv = enum.auto()


def print_rows(rows: Iterable[Row], format: Format, columns: Sequence[str]) -> int:
    """Print rows: `columns` of them as a table, all of them as a JSON array or as CSV. Returns how many.

    JSON and CSV are printed row by row; a table only when its last row, and so its widths, are known.
    """
    if format is Format.table:
        return print_table(columns, ([row[name] for name in columns] for row in rows))
    count = 0
    for row in rows:
        if format is Format.csv:
            _print_csv([row], row, with_head=not count)
        else:
            text = json.dumps(row, indent=2, allow_nan=False).replace("\n", "\n  ")
            say_answer("[" if not count else ",", f"\n  {text}", sep="", end="")
        count += 1
    if format is Format.csv:
        if not count:
            _print_csv([], columns)
    else:
        say_answer("\n]" if count else "[]")
    return count


def print_record(record: Row, format: Format) -> None:
    """Print one record: a line per field, a JSON object, or CSV with one row."""
    if format is Format.json:
        say_answer(json.dumps(record, indent=2, allow_nan=False))
    elif format is Format.csv:
        _print_csv([record], record)
    else:
        _print_fields(record)


def _print_fields(record: Row) -> None:
    if stdout().isatty():
        from tunedb.cli import tables

        tables.print_record(record, stdout())
    else:
        _print_lines([(name, cell("", value)) for name, value in record.items()])


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Print a table for people: fitted on a terminal, elsewhere with one line a row. Returns the number of rows."""
    rows = list(rows)
    if not rows:
        return 0
    if stdout().isatty():
        from tunedb.cli import tables

        tables.print_table(columns, rows, stdout())
    else:
        _print_lines(
            [columns, *([cell(name, value) for name, value in zip(columns, row, strict=True)] for row in rows)]
        )
    return len(rows)


def _print_lines(lines: Sequence[Sequence[str]]) -> None:
    """Print lines of columns, as wide as they are: for programs that read lines."""
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (text + " " * (width - _width(text)) for text, width in zip(line, widths, strict=True))
        say_answer("  ".join(padded).rstrip())


def _width(text: str) -> int:
    """Return the columns that a terminal gives a text without control characters; rich is loaded for few of them."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _print_csv(rows: Sequence[Row], columns: Row | Sequence[str], *, with_head: bool = True) -> None:
    writer = csv.writer(stdout(), lineterminator="\n")
    if with_head:
        writer.writerow(columns)
    for row in rows:
        writer.writerow(_csv_value(row[name]) for name in columns)


def _csv_value(value: Any) -> Any:
    """Return a value as a cell, on one line, with its control characters escaped.

    A spreadsheet takes a text that begins with one of FORMULA for a formula, in quotes as well: an apostrophe before
    it keeps it a text. Numbers stay as they are. A program that needs the text itself takes JSON.
    """
    if isinstance(value, Mapping | list | bool):
        return json.dumps(value)
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if value.lstrip().startswith(FORMULA) else text
