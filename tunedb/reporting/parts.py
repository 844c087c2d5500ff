"""The parts of a report, whatever its format: views, figures and tables, and values as text with their unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from tunedb._internal.printable import printable

Spec = Mapping[str, Any]  # a picture: a Vega-Lite or a Vega specification


class Kind(StrEnum):
    """The kind of a column's values, which decides how they are written."""

    TEXT = "text"
    TIME = "time"  # microseconds
    RATIO = "ratio"  # how many times
    SHARE = "share"  # from 0 to 1, written as per cent
    COUNT = "count"
    MOMENT = "moment"  # a time of day, in UTC


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its title, with the unit, and the kind of its values."""

    title: str
    kind: Kind = Kind.TEXT

    @property
    def is_number(self) -> bool:
        """Whether its values are aligned by their last digit."""
        return self.kind not in (Kind.TEXT, Kind.MOMENT)


@dataclass(frozen=True, slots=True)
class Table:
    """A table: values as they are, None for what is unknown."""

    id: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]

    def without_empty_columns(self) -> Table:
        """Return the table without the columns that have no value in any row."""
        used = [place for place, _ in enumerate(self.columns) if any(row[place] is not None for row in self.rows)]
        rows = [[row[place] for place in used] for row in self.rows]
        return Table(self.id, self.title, [self.columns[place] for place in used], rows) if self.rows else self

    def texts(self) -> list[list[str]]:
        """Return the rows as people read them."""
        return [
            [text_of(value, column.kind) for value, column in zip(row, self.columns, strict=True)] for row in self.rows
        ]


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture with its table."""

    id: str
    title: str
    description: str  # what a screen reader says
    spec: Spec
    table: Table


@dataclass(frozen=True, slots=True)
class View:
    """A part of the report that answers one question."""

    id: str
    name: str  # in the navigation
    question: str
    answer: str  # a sentence or two
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    groups: Sequence[tuple[str, Sequence[Figure]]] = ()  # figures of which a reader sees one group


def text_of(value: Any, kind: Kind) -> str:
    """Return a value as people read it, without its unit, which the column's title names."""
    if value is None:
        return "-"
    if kind is Kind.TIME:
        return f"{value:,.2f}"
    if kind is Kind.RATIO:
        return f"{value:.2f}"
    if kind is Kind.SHARE:
        return f"{value:.1%}"
    if kind is Kind.COUNT:
        return f"{value:,}"
    if kind is Kind.MOMENT and isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
    return printable(" ".join(str(value).split()))
