"""Sweeps that did not get through, on every engine; and trials that change while their sweep is running."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from tests.store.samples import DEVICE, HASH, NOON, running, sweep, trial
from tunedb.core.device import host
from tunedb.core.sweep import Sweep
from tunedb.store import Store


def test_running_aborted_and_cut_short_sweeps_are_unfinished_the_newest_first(store: Store) -> None:
    started = {
        name: {"started": NOON + timedelta(hours=n)} for n, name in enumerate(("running", "aborted", "cut", "done"))
    }
    here = {"host": host()}
    live = sweep(**started["running"], **here)
    store.start_sweep(running(live))
    store.put_trial(live.uid, live.trials[0])
    aborted = sweep(**started["aborted"], **here, status="aborted", complete=False, config=None, time_us=None)
    cut = sweep(**started["cut"], **here, complete=False)
    others = [
        sweep(**started["done"], **here), sweep(2, **here, complete=False),
        sweep(**here, complete=False, kernel_hash="other"), sweep(complete=False, host="another host"),
        sweep(**here, complete=False, origin="imported"),
    ]  # fmt: skip
    store.put_sweeps([aborted, cut, *others])
    found = store.get_unfinished(live.problem, DEVICE, HASH, live.environment)
    assert [one.uid for one in found] == [cut.uid, aborted.uid, live.uid]
    assert [one.trials for one in found] == [cut.trials, aborted.trials, live.trials[:1]]
    assert [one.uid for one in store.get_unfinished(live.problem, DEVICE, HASH, live.environment, 1)] == [cut.uid]
    newer = dataclasses.replace(live.environment, triton="99.0")
    store.put_sweeps([sweep(**here, complete=False, environment=newer)])
    assert store.get_unfinished(live.problem, DEVICE, HASH, live.environment) == found  # no room is taken by others'


def raced(done: Sweep) -> Sweep:
    """The sweep with its first trial as a race left it."""
    first, *others = done.trials
    return dataclasses.replace(
        done, trials=(dataclasses.replace(first, time_us=11.0, p20_us=10.5, p80_us=11.5, samples=300), *others)
    )


@pytest.mark.parametrize("kept", [1, 3])
def test_a_trial_that_was_kept_on_the_way_takes_the_values_it_ended_with(store: Store, kept: int) -> None:
    done = sweep(trials=(trial(128), trial(256), trial(512, "wrong", time_us=None, error="no")))
    store.start_sweep(running(done))
    for one in done.trials[:kept]:
        store.put_trial(done.uid, one)
    ended = raced(done)
    store.finish_sweep(ended)
    found = store.get_sweep(done.uid)
    assert found.trials == ended.trials
    assert found.counts == {"ok": 2, "wrong": 1}
    store.finish_sweep(done)  # it is a fact now
    assert store.get_sweep(done.uid).trials == ended.trials


def test_a_trial_that_the_finished_sweep_does_not_name_stays(store: Store) -> None:
    done = sweep()
    store.start_sweep(running(done))
    store.put_trial(done.uid, done.trials[0])
    store.finish_sweep(dataclasses.replace(done, trials=done.trials[1:]))
    assert store.get_sweep(done.uid).trials == done.trials
