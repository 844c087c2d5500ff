"""Observers, which hear how a sweep proceeds, and recorders, which keep its trials."""

from __future__ import annotations

import logging
from typing import Protocol

from tunedb._internal.counted import counted
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep, Trial, TrialOutcome

_log = logging.getLogger("tunedb")


class Recorder(Protocol):
    """A keeper of trials as they are measured, and of the sweep when it is finished."""

    def start_sweep(self, sweep: Sweep) -> None:
        """Keep a sweep that has started."""

    def put_trial(self, sweep_uid: str, trial: Trial) -> None:
        """Keep a trial that is done, in case the process ends before the sweep."""

    def finish_sweep(self, sweep: Sweep) -> None:
        """Keep the finished sweep with its trials, whose values the race may have changed since they were put."""


class Observer(Protocol):
    """An observer of a sweep's progress: a progress bar, or the log."""

    def started(self, sweep: Sweep, candidates: int) -> None:
        """Hear that the sweep starts."""

    def trying(self, config: Config) -> None:
        """Hear that a config is about to be compiled, checked or run: it is the suspect if the process ends now."""

    def tried(self, trial: Trial, best_us: float | None, default_us: float | None) -> None:
        """Hear of each trial once it is made, with the best time and the default's so far."""

    def finished(self, sweep: Sweep) -> None:
        """Hear that the sweep is done."""


class LogObserver:
    """An observer that logs one line before a sweep inside a call, and one after it."""

    def started(self, sweep: Sweep, candidates: int) -> None:
        """Log what is about to be tuned."""
        problem, many = sweep.problem, counted(candidates, "candidate")
        _log.info("Tuning %s (%s) on %s: %s.", problem.kernel, problem, sweep.device, many)

    def trying(self, config: Config) -> None:
        """Do nothing: a call logs no trials."""

    def tried(self, trial: Trial, best_us: float | None, default_us: float | None) -> None:
        """Do nothing: a call logs no trials."""

    def finished(self, sweep: Sweep) -> None:
        """Log how the sweep ended."""
        name = sweep.problem.kernel
        if sweep.status == "tuned":
            times = f"{sweep.time_us:.1f} us"
            if sweep.default_time_us is not None:
                times += f", the default {sweep.default_time_us:.1f} us"
            _log.info("Tuned %s: %s takes %s.", name, sweep.config, times)
        elif sweep.status == "failed":
            _log.warning("Tuning %s failed: every candidate failed. See: tunedb show %s", name, sweep.uid)
        elif suspect := suspect_of(sweep):
            _log.error(
                "Tuning %s lost the device at %s: %s Restart the process: the next sweep leaves that config out.",
                name, suspect.config, sweep.note_of(suspect),
            )  # fmt: skip
        elif sweep.expires is not None:
            cause = next((trial.error for trial in reversed(sweep.trials) if trial.error), "")
            _log.error("Tuning %s was given up. %s See: tunedb doctor", name, cause)
        else:
            is_any_right = any(trial.status == "ok" for trial in sweep.trials)
            before = "the config in use had raced: it stays in use" if is_any_right else "any candidate was right"
            _log.error("Tuning %s was cut short before %s.", name, before)


def suspect_of(sweep: Sweep) -> Trial | None:
    """Return the trial at which an aborted sweep lost its device or its process, if that is how it ended."""
    if sweep.status != "aborted":
        return None
    return next((trial for trial in sweep.trials if trial.outcome == TrialOutcome.LOST_DEVICE), None)
