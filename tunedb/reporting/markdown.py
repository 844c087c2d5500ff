"""A report's summary as Markdown, to paste into an issue or a pull request."""

from __future__ import annotations

from collections.abc import Sequence

from tunedb._internal.counted import counted
from tunedb.reporting.parts import Table, View

MAX_ROWS = 20  # of a table: an issue is not a place for more


def markdown(title: str, intro: Sequence[str], views: Sequence[View]) -> str:
    """Return the answers of the views, with the tables that stand by themselves."""
    blocks = [f"# {title}", *map(_escaped, intro)]
    for view in views:
        blocks += [f"## {view.question}", _escaped(view.answer)]
        for table in view.tables:
            if table.rows:
                blocks += [f"**{_escaped(table.title)}**", _table(table)]
    return "\n\n".join(blocks) + "\n"


def _table(table: Table) -> str:
    table = table.without_empty_columns()
    lines = [
        [column.title for column in table.columns],
        ["---:" if column.is_number else "---" for column in table.columns],
        *table.texts()[:MAX_ROWS],
    ]
    text = "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)
    left = len(table.rows) - MAX_ROWS
    return text if left <= 0 else f"{text}\n\n{counted(left, 'more row')}."


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is: it may come from someone else's store."""
    for sign in "\\`*_[]<>|":
        text = text.replace(sign, f"\\{sign}")
    return text
