"""The union of two stores: tuned sweeps and marks are facts with uids, so order and repeats do not matter.

Sweeps without a winner stay in their store: what failed is a fact about one machine. Usage counts go one way, from the
stores of hosts to the shared one, as sums of which the greater holds.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime

from tunedb.core.device import host
from tunedb.core.sweep import Sweep, SweepStatus, now
from tunedb.store.retention import HOST_GONE
from tunedb.store.sql import rows
from tunedb.store.sql.store import Store


@dataclass(frozen=True, slots=True)
class Received:
    """Counts of what a store received from another one: new, known and invalid sweeps; and new marks.

    `left` are the sweeps that stay in the other store, because they have no winner.
    """

    stored: int
    known: int
    rejected: int
    marks: int
    left: int = 0


def receive(into: Store, source: Store) -> Received:
    """Add to a store what it lacks of another one, page by page; the sweeps become `imported` ones.

    If it is interrupted, it can be repeated. Running sweeps stay where they are; for usage counts see `send_counts`.
    """
    known_marks, marks = set(into.marks.get_all()), source.marks.get_all()
    new_marks = into.marks.put_all(pair for pair in marks if pair not in known_marks)
    known_confirmations = set(into.confirmations.get_all())
    into.confirmations.put_all(pair for pair in source.confirmations.get_all() if pair not in known_confirmations)
    here, finished = set(into.upkeep.uids()), source.upkeep.uids()
    there = {uid for uid, status in finished.items() if status == SweepStatus.TUNED}
    missing = there - here
    stored = known = 0
    for page in source.get_whole(missing):
        good = [dataclasses.replace(sweep, origin="imported") for sweep in page if _is_good(sweep)]
        new, old = into.put_sweeps(good)
        stored, known = stored + new, known + old  # known by now: another process was faster
    rejected = len(missing) - stored - known + source.marks.count() - len(marks)
    return Received(stored, len(there & here) + known, rejected, new_marks, len(finished) - len(there))


def send_counts(source: Store, into: Store, moment: datetime | None = None) -> int:
    """Send what the hosts of a store counted to another one; return how many sums are new there, or greater.

    It can be repeated, in any order with other stores. Sums of merged hosts stay where they were merged. There, hosts
    that were not seen for long before `moment`, by default now, are merged too: pods would fill the table.
    """
    changed = into.usage.hosts.take(one for one in source.usage.sums() if one.is_sendable)
    into.usage.hosts.merge_gone((moment or now()) - HOST_GONE, host())
    return changed


def _is_good(sweep: Sweep) -> bool:
    try:
        rows.check_winner(sweep)
    except ValueError:
        return False
    return sweep.leaves_its_store
