"""Screening and the race on simulated devices, whose true times are known: noise, hiccups, drift."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import config
from tests.sweep.landscapes import Landscape, random_landscape
from tunedb.core.problem import Config
from tunedb.errors import StickyDeviceError, TrialError
from tunedb.sweep.race import (
    L2_FLUSH_US,
    MARGIN,
    MAX_RACE_EACH_US,
    MAX_ROUNDS,
    MIN_RACE_US,
    MIN_ROUNDS,
    MIN_STEADY_RACE_US,
    TIE,
    Outcome,
    Race,
    choose,
    interval,
    is_beaten,
)
from tunedb.sweep.screening import Screening

SEEDS = 200  # landscapes per part; two parts


def tune(landscape: Landscape) -> int:
    """The BLOCK that wins on this landscape, as in a sweep."""
    configs = landscape.configs()
    screening, running = Screening(landscape.sample), []
    for one in configs:
        _, is_left = screening.run(one)
        if is_left:
            running.append(one)
    outcome = Race(screening.finalists(running, configs[:1]), configs[0], landscape.sample).run()
    over = {one: standing.over for one, standing in outcome.standings.items()}
    standing = outcome.standings.get(configs[0])
    block: int = choose(over, configs[0], configs, beaten=standing is None or is_beaten(standing))["BLOCK"]
    return block


def quiet(*times: float, drift: Callable[[float], float] = lambda moment: 1.0, noise: float = 0.003) -> Landscape:
    """A landscape without hiccups."""
    return Landscape(dict(enumerate(times)), random.Random(1), noise, 0.0, drift)


def race(landscape: Landscape, blocks: Sequence[int] | None = None) -> Outcome:
    """The race of these blocks, or of all."""
    finalists = landscape.configs() if blocks is None else [config(block) for block in blocks]
    return Race(finalists, config(0), landscape.sample).run()


@pytest.mark.parametrize("part", range(2))
def test_over_four_hundred_landscapes_the_choice_is_near_the_best_and_never_behind_the_default(part: int) -> None:
    regrets, behind = [], []
    for seed in range(part * SEEDS, (part + 1) * SEEDS):
        landscape = random_landscape(seed)
        true = landscape.times[tune(landscape)]
        regrets.append(true / min(landscape.times.values()))
        behind.append(true / landscape.times[0])
    regrets.sort()
    assert regrets[int(0.9 * SEEDS)] <= 1.02
    assert regrets[-1] <= 1.05
    assert max(behind) <= 1.01


@st.composite
def landscapes(draw: st.DrawFn) -> Landscape:
    """Times within a factor of 5, some within a few percent of each other, of kernels from 3 us to half a second."""
    best = 10 ** draw(st.floats(0.5, 5.7))
    spread = draw(st.sampled_from([0.02, 0.1, 0.5, 4.0]))
    shares = draw(st.lists(st.floats(0, 1), min_size=2, max_size=40))
    times = {block: best * (1 + spread * share**2) for block, share in enumerate(shares)}
    source, noise = random.Random(draw(st.integers(0, 2**32))), draw(st.sampled_from([0.002, 0.01, 0.02]))
    slope = draw(st.sampled_from([0.0, 0.1, -0.1]))  # by the end of a second
    return Landscape(times, source, noise, 0.02, lambda moment: 1 + slope * min(1.0, moment / 1e6))


@settings(max_examples=60, derandomize=True, deadline=None)
@given(landscapes())
def test_on_any_landscape_the_choice_is_near_the_best_and_never_behind_the_default(landscape: Landscape) -> None:
    true = landscape.times[tune(landscape)]
    assert true <= 1.05 * min(landscape.times.values())
    assert true <= 1.01 * landscape.times[0]


@pytest.mark.parametrize("time", [100.0, 1e4, 5e4, 3e5])
def test_a_default_that_nothing_beats_keeps_its_place_however_slow_the_kernel_is(time: float) -> None:
    lost = [tune(Landscape({0: time, 1: time}, random.Random(seed), 0.02, 0.0)) for seed in range(40)]
    assert sum(lost) <= 1


@pytest.mark.parametrize("part", range(2))
def test_five_sweeps_of_one_problem_come_out_within_three_percent(part: int) -> None:
    for seed in range(part * 15, (part + 1) * 15):
        chosen = []
        for again in range(5):
            landscape = random_landscape(seed)
            landscape.source = random.Random(1000 * seed + again)
            chosen.append(landscape.times[tune(landscape)])
        assert max(chosen) / min(chosen) <= 1.03, seed


def test_a_clear_winner_is_the_same_config_every_time() -> None:
    for seed in range(50):
        times = {0: 120.0, 1: 108.0, 2: 100.0, 3: 104.0, 4: 180.0}
        assert tune(Landscape(times, random.Random(seed), 0.02, 0.02)) == 2


def test_a_win_needs_the_margin() -> None:
    for seed in range(30):
        noisy = [Landscape({0: 100.0, 1: time}, random.Random(seed), 0.01, 0.02) for time in (98.7, 97.0)]
        assert [tune(landscape) for landscape in noisy] == [0, 1]


def test_near_ties_go_to_the_first_in_order() -> None:
    order = [config(block) for block in range(4)]
    assert (
        choose({order[0]: 1.3, order[3]: 1.0, order[2]: 1 + TIE / 2, order[1]: 1 + 2 * TIE}, order[0], order)
        == (order[2])
    )
    # One that is near the fastest but does not itself beat the default by the margin gets nothing.
    assert choose({order[0]: 1.024, order[1]: 1.008, order[2]: 1.0}, order[0], order) == order[2]
    assert choose({order[0]: 1 / (1 - MARGIN) - 1e-6, order[1]: 1.0}, order[0], order) == order[0]
    assert choose({order[2]: 1.0, order[1]: 1.0}, order[0], order) == order[1]  # the default failed: no say


def drifting(kind: str) -> Callable[[float], float]:
    """A factor over time that would fool whoever times one config after the other."""
    return {
        "heating up": lambda moment: 1 + 0.25 * min(1.0, moment / 4e4),
        "a step": lambda moment: 1.25 if moment > 2e4 else 1.0,
        "cooling down": lambda moment: 1.25 - 0.25 * min(1.0, moment / 4e4),
        "steadily": lambda moment: 1 + moment / 1e5,
    }[kind]


@pytest.mark.parametrize("kind", ["heating up", "a step", "cooling down", "steadily"])
def test_a_drift_favours_nobody(kind: str) -> None:
    outcome = race(quiet(100.0, 97.0, 94.0, 103.0, drift=drifting(kind)))
    true = [100 / 94, 97 / 94, 1.0, 103 / 94]
    for block, standing in outcome.standings.items():
        assert standing.over == pytest.approx(true[block["BLOCK"]], abs=0.006)


@pytest.mark.parametrize("slope", [0.03, -0.03])
def test_a_drift_from_one_long_launch_to_the_next_favours_nobody(slope: float) -> None:
    outcome = race(quiet(5e4, 5e4, drift=lambda moment: math.exp(slope * moment / 5e4)))
    assert all(standing.over == pytest.approx(1.0, abs=MARGIN) for standing in outcome.standings.values())


@pytest.mark.parametrize("count", range(2, 7))
def test_of_two_long_launches_each_comes_first_in_half_of_the_rounds(count: int) -> None:
    launched: list[int] = []

    def sample(one: Config, launches: int) -> list[float]:
        launched.append(one["BLOCK"])
        return [1e5] * launches

    configs = [config(block) for block in range(count)]
    contest = Race(configs, configs[0], sample)
    contest._round(0)  # forth and back: nothing says yet that launches are long
    rounds = []
    for number in range(1, 2 * count + 1):
        launched.clear()
        contest._round(number)
        rounds.append(list(launched))
    for one, other in itertools.combinations(range(count), 2):
        assert sum(order.index(one) < order.index(other) for order in rounds) == count


@pytest.mark.parametrize("kind", ["heating up", "a step", "steadily"])
def test_screening_on_a_device_that_slows_down_rules_out_nobody_who_is_near(kind: str) -> None:
    landscape = quiet(*[100.0] * 20, 92.0, drift=drifting(kind))  # the best one comes last, at the worst moment
    assert tune(landscape) == 20


def test_one_after_the_other_would_have_been_fooled() -> None:
    landscape = quiet(100.0, 92.0, drift=lambda moment: 1.25 if moment > 900 else 1.0)
    first, second = (median(landscape.sample(one, 10)) for one in landscape.configs())
    assert second > first  # the drift hides a config that is 8 % faster; the tests above do not fall for it


def test_a_config_that_is_clearly_out_is_run_for_a_few_samples_only() -> None:
    landscape = quiet(100.0, 1000.0, 140.0, 115.0, 101.0)
    screening = Screening(landscape.sample)
    found = [screening.run(one) for one in landscape.configs()]
    assert [(len(taken), is_left) for taken, is_left in found] == [
        (10, True), (2, False), (3, False), (10, False), (10, True),
    ]  # fmt: skip


def test_one_disturbed_sample_rules_nobody_out() -> None:
    calls: list[Config] = []

    def sample(one: Config, count: int) -> list[float]:
        calls.append(one)
        disturbed = one == config(1) and calls.count(one) == 1
        return [900.0 if disturbed else 90.0 if one == config(1) else 100.0 for _ in range(count)]

    screening = Screening(sample)
    screening.run(config(0))
    assert screening.run(config(1))[1]


def test_a_slow_kernel_is_launched_less_often() -> None:
    landscape = quiet(20_000.0, 20_100.0)
    tune(landscape)
    assert landscape.launches[0] < 60
    assert landscape.now < 5e6  # microseconds in all


def test_those_who_are_certain_to_have_lost_leave_the_race() -> None:
    landscape = quiet(150.0, 100.0, 109.0, 108.0)
    race(landscape)
    assert landscape.launches[1] > 2 * landscape.launches[2]
    assert landscape.launches[1] > 2 * landscape.launches[0]  # the default, too, once it is certain to be beaten


def test_a_race_between_equals_ends() -> None:
    outcome = race(quiet(100.0, 100.0, 100.0, noise=0.05))
    assert outcome.rounds <= MAX_ROUNDS


def test_a_race_that_is_late_ends_after_a_round() -> None:
    landscape = quiet(100.0, 90.0)
    outcome = Race(landscape.configs(), config(0), landscape.sample).run(lambda: True)
    assert (outcome.rounds, outcome.settled) == (1, False)
    assert outcome.standings[config(0)].over == pytest.approx(100 / 90, rel=0.05)


@pytest.mark.parametrize("time", [300.0, 1000.0, 4000.0])
@pytest.mark.parametrize("settling", [2e4, 1.5e5])
def test_a_single_finalist_runs_until_its_figure_is_that_of_a_long_run(time: float, settling: float) -> None:
    landscape = quiet(time, drift=lambda moment: 1 + 0.1 * min(1.0, moment / settling))
    outcome = race(landscape)
    assert outcome.settled
    assert outcome.standings[config(0)].time_us == pytest.approx(1.1 * time, rel=0.05)
    if settling < MIN_STEADY_RACE_US:
        assert landscape.now < 0.75 * MIN_RACE_US


def test_a_race_whose_order_is_clear_and_whose_fastest_is_steady_ends_early() -> None:
    landscape = quiet(100.0, 80.0, 90.0)
    assert race(landscape).settled
    assert landscape.now < 0.5 * MIN_RACE_US
    warming = quiet(100.0, 80.0, 90.0, drift=lambda moment: 1 + 0.2 * min(1.0, moment / MIN_RACE_US))
    assert race(warming).settled
    assert sum(warming.launches.values()) > 1.5 * sum(landscape.launches.values())


def time_of_autotune(times: Sequence[float]) -> float:
    """Microseconds for which triton.autotune runs these configs: `do_bench` with 25 ms to warm up and 100 ms to time.

    One launch, five to estimate the time, then as many as fit; before each but the first and the warm-up the L2 is
    written over.
    """
    total = 0.0
    for time in times:
        timed = time + L2_FLUSH_US
        total += time + 5 * timed + max(1, int(25e3 / timed)) * time + max(1, int(100e3 / timed)) * timed
    return total


@pytest.mark.parametrize("count", [2, 6, 20])
@pytest.mark.parametrize("time", [5.0, 200.0, 5e3, 3e4])
@pytest.mark.parametrize("spread", [0.02, 3.0])
def test_a_sweep_keeps_the_gpu_no_longer_than_triton_autotune_does(count: int, time: float, spread: float) -> None:
    ours = theirs = 0.0
    for seed in range(6):
        source = random.Random(seed)
        times = {block: time * (1 + spread * source.random()) for block in range(count)}
        landscape = Landscape(times, source, 0.005, 0.02)
        tune(landscape)
        ours += landscape.now + L2_FLUSH_US * sum(landscape.launches.values())
        theirs += time_of_autotune(list(times.values()))
    assert ours <= 1.02 * theirs


def test_a_race_ends_in_time_also_if_the_host_is_slower_than_the_gpu() -> None:
    landscape, seconds = quiet(5.0, 5.0, noise=0.05), [0.0]

    def sample(one: Config, count: int) -> list[float]:
        seconds[0] += 2e-3 * count  # the host's, for a launch of 5 us
        return landscape.sample(one, count)

    finalists = landscape.configs()
    Race(finalists, config(0), sample, monotonic=lambda: seconds[0]).run()
    assert seconds[0] < 1e-6 * len(finalists) * MAX_RACE_EACH_US + 0.05


def test_one_that_fails_in_the_race_leaves_it() -> None:
    landscape = quiet(100.0, 90.0, 95.0)

    def sample(one: Config, count: int) -> list[float]:
        if one == config(1) and landscape.launches.get(1, 0) > 20:
            raise TrialError("runtime_error", "it fails now")
        return landscape.sample(one, count)

    outcome = Race(landscape.configs(), config(0), sample).run()
    assert set(outcome.failed) == {config(1)}
    assert set(outcome.standings) == {config(0), config(2)}
    assert outcome.standings[config(2)].over == 1


def test_a_lost_device_ends_the_race() -> None:
    def sample(one: Config, count: int) -> list[float]:
        raise StickyDeviceError("gone")

    with pytest.raises(StickyDeviceError):
        Race([config(0), config(1)], config(0), sample).run()


@settings(max_examples=50)
@given(st.lists(st.floats(0.5, 2), min_size=0, max_size=80))
def test_the_interval_holds_the_median(values: list[float]) -> None:
    low, high = interval(sorted(values))
    if len(values) < MIN_ROUNDS:
        assert (low, high) == (-float("inf"), float("inf"))
    else:
        assert low <= median(values) <= high


def test_the_interval_covers_the_true_median_as_often_as_it_says() -> None:
    source = random.Random(2)
    for count in (6, 11, 40):
        held = 0
        for _ in range(1000):
            low, high = interval(sorted(source.gauss(1, 0.1) for _ in range(count)))
            held += low <= 1 <= high
        assert held >= 930  # of 950
