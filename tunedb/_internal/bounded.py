"""Bounds of tables that would grow with each kind of call that a process makes."""

from __future__ import annotations

from typing import Any


def make_room(table: dict[Any, Any], most: int) -> list[Any]:
    """Drop the older half of a table that has `most` entries, and return what was dropped.

    Called before an entry is added, so that nothing is paid where entries are read. Half at once, so that a program
    with a few more kinds than that does not drop one at each call.
    """
    if len(table) < most:
        return []
    return [table.pop(key, None) for key in list(table)[: max(most // 2, 1)]]
