"""The job of an executor's worker: sweeps one problem in a child process, and returns the sweep as plain data.

An engine sends `run_job` by its name and a request of JSON's types, and takes back an answer of the same kind.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep, Trial
from tunedb.errors import StoreError, TunedbError
from tunedb.fleet.known import sweeps_in, text_of
from tunedb.fleet.versions import difference, facts_about, facts_of, worker_name
from tunedb.fleet.workplace import workplace

REFUSED = "refused"  # outcome: the worker's versions differ from the client's


def request_of(
    problem: Problem,
    arguments: Mapping[str, Any] | None,
    facts: Mapping[str, str],
    *,
    known: str = "",
    force: bool,
    step: float,
    waited: float | None = None,
) -> dict[str, Any]:
    """Return the request for a problem; `facts` are the client's, see `versions`, and `known` its sweeps as text.

    `waited` says that the problem was tuned elsewhere, and for how many seconds: this time it is waited for.
    """
    return {
        "kernel": problem.kernel, "key": problem.key, "arguments": None if arguments is None else dict(arguments),
        "facts": facts_about(problem.kernel, facts), "known": known, "force": force, "step": step,
        "waited": waited,
    }  # fmt: skip


def run_job(request: dict[str, Any]) -> dict[str, Any]:
    """Sweep the request's problem on a free GPU of this process, in a child process that may crash.

    The answer has the outcome, the sweep as a jsonl export (if it has a winner), the worker's name, and an error.
    """
    problem = Problem(request["key"], request["kernel"])
    worker = worker_name(os.getpid())
    fault = difference(worker, facts_of([problem.kernel]), request["facts"])
    if fault is not None:
        return _answer(REFUSED, worker, error=fault)
    notes = _Notes()
    try:
        with workplace().slot() as (slot, supervisor):
            worker = f"{worker}, {slot.name}"
            supervisor.step = request["step"]
            if request["known"]:
                with suppress(StoreError):  # then it is tuned once more
                    supervisor.store.put_sweeps(sweeps_in(request["known"], problem))
            word, sweep = supervisor.tune(
                problem, request["arguments"], force=request["force"], budget=float("inf"), observer=notes,
                builds_on=() if request["force"] else None, waits=request["waited"] is not None,
                waited=request["waited"] or 0.0,
            )  # fmt: skip
            return _answer(word, worker, sweep, None if sweep is not None and sweep.config else notes.why)
    except TunedbError as error:
        return _answer("aborted", worker, error=str(error))


def _answer(word: str, worker: str, sweep: Sweep | None = None, error: str | None = None) -> dict[str, Any]:
    sweeps = "" if sweep is None else text_of([sweep])
    return {"outcome": word, "worker": worker, "sweeps": sweeps, "error": error}


class _Notes:
    """An observer that keeps why the first config failed."""

    why: str | None = None

    def started(self, sweep: Sweep, candidates: int) -> None:
        """Keep nothing."""

    def trying(self, config: Config) -> None:
        """Keep nothing."""

    def tried(self, trial: Trial, best_us: float | None, default_us: float | None) -> None:  # noqa: ARG002 (protocol)
        """Keep the note of the first failed trial."""
        if self.why is None and (note := trial.note({})):
            self.why = f"{trial.status}: {note}"

    def finished(self, sweep: Sweep) -> None:
        """Keep nothing."""
