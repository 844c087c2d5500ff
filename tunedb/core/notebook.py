"""Records as notebooks show them: short texts, and small HTML tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

MAX_TEXT = 100  # characters of a config or a problem in a record's text, which then fits two lines of a terminal


def shortened(text: str, most: int = MAX_TEXT) -> str:
    """Return the text, cut off after so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def html_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return an HTML table. Everything in it is shown as text: it may come from someone else's store."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(_text(value))}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
