"""Tables and records on a terminal, fitted to its width: shared facts are said once, and no word is broken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tunedb.cli.cells import cell

_GAP = 2  # blanks between two columns
_SHORT = 12  # characters of a text that is not broken at its blanks either
_INDENT = 4  # of what stands below a row or a name


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], file: TextIO) -> None:
    """Print rows to a terminal, below the facts that all of them share.

    If they don't fit next to each other, what has several words (a problem, a config, a reason) stands below its row.
    """
    console = _console(file)
    shared, columns, rows = _without_shared(columns, rows)
    if shared:
        _print_block(shared, console)
        console.print()
    widths = _widths([_least(texts) for texts in _texts(columns, rows)], columns, rows, console.width)
    if widths is not None:
        console.print(_table(columns, rows, dict(enumerate(widths))))
        return
    below: list[int] = []
    for place in _by_words(rows):
        below.append(place)
        full = {
            place: max(map(cell_len, texts)) for place, texts in enumerate(_texts(columns, rows)) if place not in below
        }
        if sum(full.values()) + _GAP * (len(full) - 1) <= console.width:
            _print_with_details(columns, rows, _table(columns, rows, full), sorted(below), console)
            return
    for row in rows:  # even the short columns are too many
        _print_block(zip(columns, row, strict=True), console)
        console.print()


def print_record(record: Mapping[str, Any], file: TextIO) -> None:
    """Print a record to a terminal: a line for each field, and more for a value that is long."""
    _print_block(record.items(), _console(file))


def _console(file: TextIO) -> Console:
    return Console(file=file, markup=False, emoji=False, highlight=False, soft_wrap=False)


def _without_shared(
    columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> tuple[list[tuple[str, str]], list[str], list[list[Any]]]:
    """Return what all rows share, by column, and the rest: of a mapping the entries that all have, else the value."""
    shared: list[tuple[str, str]] = []
    kept: list[tuple[str, list[Any]]] = []
    for name, values in zip(columns, map(list, zip(*rows, strict=True)), strict=True):
        if len(rows) < 2 or name in ("uid", ""):
            kept.append((name, values))
        elif all(isinstance(value, Mapping) for value in values):
            same = {key: part for key, part in values[0].items() if all(_has(value, key, part) for value in values)}
            if same:
                shared.append((name, cell(name, same)))
            if any(len(value) > len(same) for value in values):
                rest = [{key: part for key, part in value.items() if key not in same} for value in values]
                kept.append((name, rest))
        elif all(value == values[0] and type(value) is type(values[0]) for value in values):
            if values[0] not in (None, "", [], ()):
                shared.append((name, cell(name, values[0])))
        else:
            kept.append((name, values))
    if not kept:  # rows that are alike in all
        kept = [(name, list(column)) for name, column in zip(columns, zip(*rows, strict=True), strict=True)]
        shared = []
    return shared, [name for name, _ in kept], [list(row) for row in zip(*(values for _, values in kept), strict=True)]


def _has(value: Mapping[str, Any], key: str, part: Any) -> bool:
    return key in value and type(value[key]) is type(part) and value[key] == part


def _by_words(rows: Sequence[Sequence[Any]]) -> list[int]:
    """Return the columns that can stand below a row: those of several words, the longest first."""
    lengths = {
        place: max((cell_len(cell("", value)) for value in column), default=0)
        for place, column in enumerate(zip(*rows, strict=True))
        if any(isinstance(value, Mapping) or len(cell("", value).split()) > 1 for value in column)
    }
    return sorted(lengths, key=lambda place: -lengths[place])


def _texts(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    """Return the texts of each column, its name too."""
    cells = [[cell(name, value) for name, value in zip(columns, row, strict=True)] for row in rows]
    return [list(column) for column in zip(columns, *cells, strict=True)]


def _least(texts: Iterable[str]) -> int:
    """Return the least width of a column: that of its longest word, and of a text that is short."""
    return max(cell_len(part) for text in texts for part in ([text] if cell_len(text) <= _SHORT else text.split()))


def _widths(
    least: Sequence[int], columns: Sequence[str], rows: Sequence[Sequence[Any]], width: int
) -> list[int] | None:
    """Return widths that break no word, those whole first that lack least; None if the columns don't fit."""
    spare = width - sum(least) - _GAP * (len(least) - 1)
    if spare < 0:
        return None
    widths = list(least)
    lacking = [max(map(cell_len, texts)) - least[place] for place, texts in enumerate(_texts(columns, rows))]
    for place in sorted(range(len(widths)), key=lambda place: lacking[place]):
        added = min(lacking[place], spare)
        widths[place] += added
        spare -= added
    return widths


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]], widths: Mapping[int, int]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP - 1, 0, 0), show_edge=False)
    for place, width in widths.items():
        values = [row[place] for row in rows]
        numbers = all(value is None or _is_number(value) for value in values) and any(map(_is_number, values))
        table.add_column(Text(columns[place]), justify="right" if numbers else "left", width=width)
    for row in rows:
        table.add_row(*(Text(cell(columns[place], row[place])) for place in widths))
    return table


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _print_with_details(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], table: Table, below: Sequence[int], console: Console
) -> None:
    lines = console.render_lines(table, console.options, pad=False)
    head = len(lines) - len(rows)
    for line in lines[:head]:
        console.print(Text.assemble(*((segment.text, segment.style or "") for segment in line)))
    for row, line in zip(rows, lines[head:], strict=True):
        console.print(Text.assemble(*((segment.text, segment.style or "") for segment in line)))
        for place in below:
            text = cell(columns[place], row[place])
            if text not in ("", "-"):
                console.print(Padding(_named(columns[place], text, console, _INDENT), (0, 0, 0, _INDENT)))


def _print_block(fields: Any, console: Console) -> None:
    """Print fields below each other, their values next to the names where the longest word fits."""
    pairs = [(str(name), cell("", value)) for name, value in fields]
    width = max((cell_len(name) for name, _ in pairs), default=0) + _GAP
    for name, text in pairs:
        console.print(_named(name.ljust(width - _GAP), text, console))


def _named(name: str, text: str, console: Console, indent: int = 0) -> Any:
    """Return a name with its text next to it, or below it if a word of the text is too long for that."""
    longest = max(map(cell_len, text.split()), default=0)
    if cell_len(name) + _GAP + longest <= console.width - indent:
        grid = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(Text(name, style="dim"), Text(text))
        return grid
    # The terminal breaks what is longer than its lines: it can then be copied as one word.
    value = Text(f"{' ' * _INDENT}{text}", no_wrap=longest + _INDENT > console.width, overflow="ignore")
    grid = Table.grid()
    grid.add_row(Text(name, style="dim"))
    grid.add_row(value)
    return grid
