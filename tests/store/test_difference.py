"""What stores answer, judged by their sweeps alone, and the difference between two of them."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import timedelta

import pytest

from tests.store.samples import DEVICE, ENVIRONMENT, NOON, failed, sweep, trial
from tunedb.core.problem import Config
from tunedb.core.sweep import Confirmation, Mark, MarkKind, Sweep, TrialOutcome
from tunedb.store.answers import answers
from tunedb.store.difference import difference

NEWER = dataclasses.replace(ENVIRONMENT, triton="3.9.0")
OTHER = dataclasses.replace(DEVICE, name="NVIDIA H100", multiprocessors=114)


def later(n: int = 1, hours: int = 1, **changes: object) -> Sweep:
    """A sweep that ended hours after the others."""
    return sweep(n, finished=NOON + timedelta(hours=hours), **changes)


def states(*sweeps: Sweep) -> list[str]:
    """The states of the problems, whatever the order in which their sweeps come."""
    every = {tuple(str(one.state) for one in answers(order)) for order in itertools.permutations(sweeps)}
    assert len(every) == 1
    return list(every.pop())


def test_a_sweep_of_an_older_environment_is_stale_until_its_problem_is_tuned_again() -> None:
    assert states(sweep(1)) == ["tuned"]
    assert states(sweep(1), later(2, environment=NEWER)) == ["stale", "tuned"]
    assert states(sweep(1), later(1, environment=NEWER)) == ["tuned"]


def test_environments_are_judged_device_by_device() -> None:
    assert states(sweep(1), later(1, environment=NEWER, device=OTHER)) == ["tuned", "tuned"]


def test_a_sweep_of_an_older_source_is_obsolete() -> None:
    assert states(sweep(1), later(2, kernel_hash="ab" * 32)) == ["obsolete", "tuned"]
    assert states(sweep(1), later(1, kernel_hash="ab" * 32)) == ["tuned"]


def test_quarantined_and_failed_problems_have_no_answer() -> None:
    bad = sweep(1, marks=(Mark(MarkKind.QUARANTINE, "wrong", NOON),))
    assert states(bad) == ["quarantined"]
    assert states(failed(1)) == ["failed"]
    assert states(failed(1), later(2, kernel_hash="ab" * 32)) == ["obsolete", "tuned"]
    assert [one.sweep for one in answers([bad, failed(2)])] == [None, None]


def test_two_devices_are_paired_problem_by_problem() -> None:
    wide = Config.of(BLOCK=256, num_warps=4)
    there = sweep(
        1, device=OTHER, config=wide, time_us=10.0, trials=(trial(128, time_us=15.0), trial(256, time_us=10.0))
    )
    flip, only_a, only_b = difference([sweep(1), sweep(2)], [there, sweep(3, device=OTHER)], across_devices=True)
    assert [str(pair.verdict) for pair in (flip, only_a, only_b)] == ["flip", "only A", "only B"]
    assert flip.ratio == pytest.approx(10.0 / 12.5)
    assert flip.cost_on_b == pytest.approx(1.5)
    assert flip.cost_on_a == pytest.approx(14.0 / 12.5)
    assert (only_a.ratio, only_a.cost_on_b, only_b.cost_on_a) == (None, None, None)


def test_the_same_config_costs_nothing_and_one_that_was_not_measured_is_unknown() -> None:
    (same,) = difference([sweep(1)], [later(1, environment=NEWER, time_us=13.0)])
    assert (str(same.verdict), same.cost_on_a, same.cost_on_b) == ("same", 1.0, 1.0)
    unmeasured = sweep(1, config=Config.of(BLOCK=1024, num_warps=4), trials=(trial(1024),))
    (pair,) = difference([sweep(1)], [unmeasured])
    assert (str(pair.verdict), pair.cost_on_a, pair.cost_on_b) == ("flip", None, None)


def test_a_failed_trial_of_the_other_sides_config_is_no_cost() -> None:
    there = sweep(1, config=Config.of(BLOCK=256, num_warps=4), trials=(trial(128, "wrong"), trial(256)))
    assert difference([sweep(1)], [there])[0].cost_on_b is None


def test_stores_are_paired_device_by_device() -> None:
    pairs = difference([sweep(1), sweep(1, device=OTHER)], [sweep(1)])
    assert sorted(str(pair.verdict) for pair in pairs) == ["only A", "same"]


def test_a_sweep_that_was_confirmed_in_the_newest_environment_is_not_stale() -> None:
    confirmed = dataclasses.replace(sweep(1), confirmations=(Confirmation(NEWER),))
    assert states(confirmed, later(2, environment=NEWER)) == ["tuned", "tuned"]


def test_costs_are_times_of_that_sweep_also_of_equal_binaries() -> None:
    wide, narrow = Config.of(BLOCK=256, num_warps=4), Config.of(BLOCK=64, num_warps=4)
    slow = trial(128, time_us=15.0)
    twin = trial(64, time_us=None, outcome=TrialOutcome.DUPLICATE_OF, reference=slow.uid)
    there = sweep(1, config=wide, time_us=10.0, trials=(slow, trial(256, time_us=10.0), twin))
    assert difference([sweep(1, config=narrow, trials=(trial(64),))], [there])[0].cost_on_b == pytest.approx(1.5)
    earlier = trial(128, time_us=15.0, outcome=TrialOutcome.KNOWN_FROM, reference="ab" * 16)
    there = dataclasses.replace(there, trials=(earlier, trial(256, time_us=10.0)))
    assert difference([sweep(1)], [there])[0].cost_on_b is None
