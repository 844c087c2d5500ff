"""Covers: no problem above the factor, as few configs as can be, and a file that chooses without tunedb."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.conftest import run_apart
from tests.store.samples import sweep, trial
from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Layer, Sweep, TrialOutcome, TrialStatus
from tunedb.errors import SettingError
from tunedb.store.exchange import cover as covers
from tunedb.store.exchange.cover import cover, losses_of
from tunedb.store.exchange.cover_source import cover_source

LOSSES = st.lists(st.lists(st.floats(1.0, 1.4), min_size=6, max_size=6), min_size=1, max_size=9)


def config(block: int) -> Config:
    return Config.of(BLOCK=block, num_warps=4)


def swept(times: dict[int, float], **facts: Any) -> Sweep:
    """A sweep of a problem with these facts, and times by BLOCK."""
    best = min(times, key=times.__getitem__)
    trials = tuple(trial(config=config(block), time_us=time) for block, time in times.items())
    return sweep(problem=Problem.of("k", **facts), config=config(best), time_us=times[best], trials=trials)


def module_of(text: str) -> ModuleType:
    module = ModuleType("cover")
    exec(compile(text, "cover.py", "exec"), vars(module))
    return module


@given(LOSSES, st.sampled_from([1.0, 1.05, 1.3]))
def test_a_cover_is_within_the_factor_and_no_fewer_configs_would_do(rows: list[list[float]], limit: float) -> None:
    losses = {
        Problem.of("k", n=n): {config(place): 1.0 if place == n % 6 else loss for place, loss in enumerate(row)}
        for n, row in enumerate(rows)
    }
    covered = cover(losses, limit)
    assert covered.worst_loss <= limit
    assert covered.is_exact
    fewer = itertools.combinations(map(config, range(6)), len(covered.configs) - 1)
    assert not any(
        all(min((times[one] for one in some), default=9) <= limit for times in losses.values()) for some in fewer
    )


@given(LOSSES)
def test_of_as_many_configs_those_with_the_smallest_greatest_loss_are_taken(rows: list[list[float]]) -> None:
    losses = {
        Problem.of("k", n=n): {config(place): 1.0 if place == n % 6 else loss for place, loss in enumerate(row)}
        for n, row in enumerate(rows)
    }
    covered = cover(losses, 1.3)
    as_many = itertools.combinations(map(config, range(6)), len(covered.configs))
    assert covered.worst_loss == min(
        max(min(times[one] for one in some) for times in losses.values()) for some in as_many
    )


def test_one_config_within_the_factor_serves_all_and_of_its_own_set_each_problem_gets_the_best() -> None:
    sweeps = [swept({1: 10.0, 2: 10.4, 4: 30.0}, n=1), swept({1: 30.0, 2: 20.6, 4: 20.0}, n=2)]
    assert cover(losses_of(sweeps), 1.05).configs == [config(2)]
    two = cover(losses_of(sweeps), 1.01)
    assert {problem["n"]: one["BLOCK"] for problem, one in two.chosen.items()} == {1: 1, 2: 4}
    assert (two.worst_loss, two.mean_loss) == (1.0, 1.0)


def test_beyond_what_can_be_tried_a_cover_is_greedy_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each config serves two neighbours on a circle: nothing is certain, so sets have to be tried.
    losses = {
        Problem.of("k", n=n): {config(place): 1.0 if n in (place, (place + 1) % 6) else 2.0 for place in range(6)}
        for n in range(6)
    }
    for tried, is_exact in ((1, False), (100, True)):
        monkeypatch.setattr(covers, "MAX_TRIED_SETS", tried)
        covered = cover(losses, 1.05)
        assert (covered.is_exact, covered.worst_loss) == (is_exact, 1.0)
        assert len(covered.configs) >= 3
    assert len(covered.configs) == 3


def test_only_times_of_the_sweep_itself_count() -> None:
    first = trial(config=config(1), time_us=10.0)
    duplicate = {"outcome": TrialOutcome.DUPLICATE_OF, "reference": first.uid}
    trials = (
        first,
        trial(config=config(2), time_us=1.0, outcome=TrialOutcome.KNOWN_FROM, reference="ab" * 16),
        trial(config=config(4), time_us=None, status=TrialStatus.PRUNED, **duplicate),
        trial(config=config(8), time_us=5.0, status=TrialStatus.WRONG),
    )  # fmt: skip
    losses = losses_of([sweep(problem=Problem.of("k", n=1), config=config(1), time_us=10.0, trials=trials)])
    assert losses == {Problem.of("k", n=1): {config(1): 1.0, config(4): 1.0}}
    assert losses_of([sweep(trials=())]) == {}


def test_the_file_chooses_for_stored_problems_and_for_the_nearest() -> None:
    sweeps = [
        swept({1: 10.0, 2: 30.0}, n=64, dtype=torch.float16, layout="rows"),
        swept({1: 10.2, 2: 10.0}, n=128, dtype=torch.float16, layout="rows"),
        swept({1: 50.0, 2: 10.0}, n=4096, dtype=torch.float16, layout="rows"),
        swept({1: 50.0, 2: 10.0}, n=64, dtype=torch.float32, layout="rows"),
    ]
    text, covered = cover_source(sweeps, 1.05)
    assert len(covered.configs) == 2
    chooser = module_of(text)
    assert chooser.SHARED == {"layout": "rows"}
    assert chooser.choose(n=64, dtype=torch.float16) == {"BLOCK": 1, "num_warps": 4}
    assert chooser.choose(n=128, dtype="float16")["BLOCK"] == 2  # the better one of the two that are there
    assert chooser.choose(n=64, dtype="torch.float32", layout="rows")["BLOCK"] == 2
    assert chooser.choose(n=70, dtype="float16")["BLOCK"] == 1
    assert chooser.choose(n=10**6, dtype="float16")["BLOCK"] == 2
    for wrong, error in (({"n": 1}, TypeError), ({"n": 1, "dtype": "x", "m": 1}, TypeError)):
        with pytest.raises(error, match="expected the facts dtype, n"):
            chooser.choose(**wrong)
    with pytest.raises(LookupError, match="all problems have layout='rows'"):
        chooser.choose(n=1, dtype="float16", layout="general")
    chooser.choose(n=64, dtype="float16")["BLOCK"] = 9  # the caller's own copy
    assert chooser.choose(n=64, dtype="float16")["BLOCK"] == 1


def test_the_file_needs_no_tunedb_and_names_its_loss(tmp_path: Path) -> None:
    text, _ = cover_source([swept({1: 10.0, 2: 10.3}, n=1), swept({1: 30.0, 2: 10.0}, n=2)], 1.05)
    assert "Configs of k on NVIDIA H200" in text
    assert "1.015 times on average (geometric\nmean), 1.030 at most; asked for: 1.05.\nNo fewer configs would" in text
    (tmp_path / "chooser.py").write_text(text)
    program = "import sys, chooser; print(chooser.choose(n=2)); print({'tunedb', 'torch', 'triton'} & set(sys.modules))"
    answer = run_apart("-S", "-c", program, PYTHONPATH=str(tmp_path))
    assert answer.out == "{'BLOCK': 2, 'num_warps': 4}\nset()\n", answer.err


def winner_alone(done: Sweep) -> Sweep:
    """The sweep as a bundle of winners has it: its own trial, and the counts of all."""
    own = tuple(trial for trial in done.trials if trial.config == done.config)
    return dataclasses.replace(done, trials=own, layer=Layer.BUNDLE)


def test_sweeps_without_their_other_trials_are_left_out_and_nothing_is_claimed_of_them() -> None:
    whole = [swept({1: 10.0, 2: 10.3}, n=1), swept({1: 30.0, 2: 10.0}, n=2)]
    bare = winner_alone(swept({4: 10.0, 2: 10.1}, n=3))
    text, covered = cover_source([*whole, bare], 1.05)
    assert {problem["n"] for problem in covered.losses} == {1, 2}
    assert covered.configs == [config(2)]
    assert "1 for 2 problems" in text
    with pytest.raises(SettingError, match=r"exported with --all"):
        cover_source(list(map(winner_alone, whole)), 1.05)
    alone = winner_alone(swept({4: 10.0}, n=3))  # of a space of one config, nothing is missing
    assert len(cover_source([*whole, alone], 1.05)[1].losses) == 3


def test_if_sweeps_were_cut_short_fewer_configs_may_do() -> None:
    short = dataclasses.replace(swept({1: 30.0, 2: 10.0}, n=2), complete=False)
    text, covered = cover_source([swept({1: 10.0, 2: 30.0}, n=1), short], 1.05)
    assert len(covered.configs) == 2
    assert "Fewer may do: 1 of the sweeps were cut short" in text
    assert "No fewer" not in text
    module_of(text)


@pytest.mark.parametrize(
    ("sweeps", "limit", "message"),
    [
        ([swept({1: 1.0}, n=1)], 0.99, "expected a factor of at least 1"),
        ([swept({1: 1.0}, n=1)], float("nan"), "expected a factor of at least 1"),
        ([sweep(trials=())], 1.05, "has times of its own trials"),
        ([swept({1: 1.0}, n=1), sweep()], 1.05, "A cover is of one kernel. Name it with --kernel: avg_pool1d; k"),
        ([sweep(), sweep(device=Device("NVIDIA L4", "cuda", "sm_89", 58))], 1.05, "Name it with --device: NVIDIA H200"),
    ],
)
def test_what_has_no_cover_is_said(sweeps: list[Sweep], limit: float, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        cover_source(sweeps, limit)
