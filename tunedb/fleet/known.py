"""What client and worker tell each other of their stores: sweeps as the text of a jsonl export."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.errors import ImportRejected

if TYPE_CHECKING:
    from tunedb.store import Store

MAX_KNOWN = 3  # sweeps of a problem on one device: the newest; a complete one is nearly always among them


def known_sweeps(store: Store, problem: Problem, kernel_hash: str) -> str:
    """Return the newest tuned sweeps of a problem on each device, so that a worker need not tune it again."""
    by_device: dict[str, list[str]] = {}
    for sweep in store.get_problem_sweeps(problem):  # the oldest first
        if sweep.kernel_hash == kernel_hash and sweep.leaves_its_store and not sweep.is_quarantined:
            by_device.setdefault(sweep.device.digest, []).append(sweep.uid)
    uids = [uid for device_uids in by_device.values() for uid in device_uids[-MAX_KNOWN:]]
    return text_of(sweep for page in store.get_whole(uids) for sweep in page) if uids else ""


def text_of(sweeps: Iterable[Sweep]) -> str:
    """Return the text of those sweeps, read with their trials, that are facts for other machines; empty without any."""
    from tunedb.store.exchange import jsonl

    text = io.StringIO()
    return text.getvalue() if jsonl.dump(sweeps, text) else ""


def sweeps_in(text: str, problem: Problem) -> list[Sweep]:
    """Return the sweeps of a text. Raises ImportRejected if it can't be read, or is of another problem."""
    from tunedb.store.exchange import jsonl

    sweeps = jsonl.load(io.BytesIO(text.encode()), strict=True).sweeps if text else ()
    if any(sweep.problem != problem for sweep in sweeps):
        raise ImportRejected("expected sweeps of one problem, got that of another one")
    return list(sweeps)
