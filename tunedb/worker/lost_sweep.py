"""A sweep whose worker ended in the middle: stored as aborted, with a trial of the config that is to blame."""

from __future__ import annotations

import dataclasses

from tunedb.core.sweep import Sweep, SweepStatus, Trial, TrialOutcome, TrialStatus, now
from tunedb.store import Store
from tunedb.sweep.observer import Observer
from tunedb.worker.death import Death


def record_death(store: Store, death: Death, observer: Observer) -> Sweep | None:
    """Abort the sweep whose worker ended. A suspect that is to blame gets a trial, so that the next sweep skips it.

    A sweep that was finished stays as it is. Returns None if the worker ended before any trial.
    """
    if death.sweep_uid is None:
        return None
    sweep = store.get_sweep(death.sweep_uid)
    if sweep.status == "running":
        if death.suspect is None:
            return None
        trials = {trial.config: trial for trial in sweep.trials}
        if death.status is not None:
            trial = Trial(
                death.suspect, TrialStatus(death.status), error=death.reason, outcome=TrialOutcome.LOST_DEVICE
            )
            if death.suspect in trials:  # it died in the race
                trial = dataclasses.replace(trial, uid=trials[death.suspect].uid)
            trials[death.suspect] = trial
            store.put_trial(sweep.uid, trial)
            observer.tried(trial, None, None)
        sweep = abort(store, dataclasses.replace(sweep, trials=tuple(trials.values())))
    observer.finished(sweep)
    return sweep


def abort(store: Store, sweep: Sweep) -> Sweep:
    """Store a running sweep as aborted, with its trials, which the store counts. A finished one stays as it is."""
    if sweep.status == SweepStatus.RUNNING:
        sweep = dataclasses.replace(sweep, status=SweepStatus.ABORTED, complete=False, finished=now())
        store.finish_sweep(sweep)
    return sweep
