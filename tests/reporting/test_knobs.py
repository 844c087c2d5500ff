"""Which knob matters, and how few configs serve all problems."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.store.samples import sweep, trial
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep, Trial, TrialOutcome
from tunedb.reporting.facts import facts_of
from tunedb.reporting.knobs import NEAR, cover, importances, knobs_view


def landscape(n: int, time: Callable[[int, int], float], blocks: range = range(1, 5)) -> Sweep:
    """A sweep of all pairs of BLOCK and WARPS with these times."""
    trials = [
        Trial(Config.of(BLOCK=block, WARPS=warps), "ok", time(block, warps))  # type: ignore[arg-type]
        for block, warps in itertools.product(blocks, (1, 2, 4))
    ]
    best = min(trials, key=lambda one: one.time_us or 0.0)
    return sweep(n, trials=tuple(trials), config=best.config, time_us=best.time_us)


def test_a_knob_that_decides_alone_explains_everything_and_the_other_nothing() -> None:
    shares = {one.knob: one.share for one in importances([landscape(1, lambda block, warps: 10.0 * block)])}
    assert shares["BLOCK"] == pytest.approx(1.0)
    assert shares["WARPS"] == 0.0


def test_two_knobs_share_what_both_decide() -> None:
    more, less = importances([landscape(1, lambda block, warps: 2.0**block * 2.0 ** (0.7 * warps))])
    assert (more.knob, less.knob) == ("BLOCK", "WARPS")
    assert more.share > less.share > 0.1
    assert more.share + less.share <= 1.0


def test_how_long_a_problem_takes_plays_no_part() -> None:
    short, long = (landscape(n, lambda block, warps, n=n: 1000.0**n * block) for n in (0, 1))  # type: ignore[misc]
    assert {one.knob: one.share for one in importances([short, long])}["WARPS"] == 0.0


def test_a_knob_with_a_value_for_each_config_explains_nothing() -> None:
    trials = tuple(Trial(Config.of(SEED=n), "ok", 10.0 + n) for n in range(6))  # type: ignore[arg-type]
    assert importances([sweep(1, trials=trials, config=trials[0].config, time_us=10.0)]) == []


def test_nothing_is_explained_by_too_few_trials() -> None:
    assert importances([]) == []
    assert importances([sweep(1, trials=())]) == []


def test_the_cover_curve_adds_the_config_that_serves_most() -> None:
    often = [landscape(n, lambda block, warps: 10.0 + 5 * abs(block - 1) + warps) for n in range(3)]
    rare = [landscape(n, lambda block, warps: 10.0 + 5 * abs(block - 3) + warps) for n in range(3, 5)]
    first, second = cover([*often, *rare])
    assert (first.config, first.alone, first.covered) == (Config.of(BLOCK=1, WARPS=1), 3, 3)
    assert (second.config, second.alone, second.covered) == (Config.of(BLOCK=3, WARPS=1), 2, 5)
    assert second.loss == 1.0


def test_a_config_serves_a_problem_if_it_is_near_its_winner() -> None:
    (only,) = cover([landscape(1, lambda block, warps: 10.0 * (1 + NEAR * 0.9 * (block + warps - 2)))])
    assert only.alone == 1
    near = cover([landscape(n, lambda block, warps, n=n: 10.0 + (0.4 if block != n else 0.0)) for n in (1, 2)])  # type: ignore[misc]
    assert len(near) == 1


def test_no_sweep_has_no_cover() -> None:
    assert cover([]) == []


def test_sweeps_whose_times_are_all_of_earlier_ones_have_no_cover() -> None:
    known = trial(128, outcome=TrialOutcome.KNOWN_FROM, reference="ab" * 16)
    assert cover([sweep(1, trials=(known,))]) == []


def test_the_view_names_the_first_knob_of_each_kernel_and_what_one_config_serves() -> None:
    view = knobs_view(facts_of([landscape(n, lambda block, warps: 10.0 * block) for n in (1, 2)], {}, {}))
    assert view.answer == "The knob that explains most of the spread of times: avg_pool1d: BLOCK (100%)."
    (table,) = view.tables
    assert table.texts() == [["avg_pool1d", "NVIDIA H200", "BLOCK 100%", "2", "2", "1"]]
    assert knobs_view(facts_of([], {}, {})).answer == "Nothing is tuned."
    alone = sweep(1, trials=(trial(128),))
    assert knobs_view(facts_of([alone], {}, {})).answer.endswith("avg_pool1d: none by itself.")
