"""The union of two stores: finished sweeps and marks are facts with uids, so order and repeats do not matter."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from tunedb.core.sweep import Mark
from tunedb.store.sql import rows
from tunedb.store.sql.store import Store


@dataclass(frozen=True, slots=True)
class Received:
    """Counts of what a store received from another one: new, known and invalid sweeps; and new marks."""

    stored: int
    known: int
    rejected: int
    marks: int


def receive(into: Store, source: Store) -> Received:
    """Add to a store what it lacks of another one, page by page; the sweeps become `imported` ones.

    If it is interrupted, it can be repeated. Running sweeps and usage counts stay where they are.
    """
    known_marks = set(into.marks.get_all())
    marks = [pair for pair in source.marks.get_all() if pair not in known_marks]
    good = [pair for pair in marks if _is_good(*pair)]
    new_marks = into.marks.put_all(good)
    here, there = into.upkeep.uids(), source.upkeep.uids()
    missing = there - here
    stored = known = 0
    for page in source.get_whole(missing):
        new, old = into.put_sweeps(dataclasses.replace(sweep, origin="imported") for sweep in page)
        stored, known = stored + new, known + old  # known by now: another process was faster
    rejected = len(missing) - stored - known + len(marks) - len(good)
    return Received(stored, len(there & here) + known, rejected, new_marks)


def _is_good(sweep_uid: str, mark: Mark) -> bool:
    try:
        rows.check_uid(sweep_uid)
        rows.check_mark(mark)
    except ValueError:
        return False
    return True
