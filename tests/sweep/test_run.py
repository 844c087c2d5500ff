"""A sweep, on a fake clock: who wins, what is kept of those who lose, and how it ends when things fail."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import FakeClock, FakeKernel, FakeWorkload, Notebook, config, context, task_of
from tunedb.core.sweep import Sweep
from tunedb.errors import CallerError
from tunedb.runtime.clock import Timing
from tunedb.sweep.race import MARGIN
from tunedb.sweep.run import run_sweep


def sweep(
    times: Mapping[int, float | str],
    *,
    notebook: Notebook | None = None,
    kernel: FakeKernel | None = None,
    noise: Callable[[float], float] = lambda time: time,
    monotonic: Callable[[], float] = time.monotonic,
    **options: float,
) -> Sweep:
    """The finished sweep of a fake kernel with these times."""
    kernel = kernel or FakeKernel(times)
    notebook = notebook or Notebook()
    around = context(notebook, lambda: FakeClock(noise=noise), monotonic)
    return run_sweep(task_of(kernel), around, **options)


def test_the_fastest_config_wins_and_the_defaults_time_is_kept() -> None:
    done = sweep({1: 100.0, 2: 50.0, 4: 70.0})
    assert (done.status, done.config, done.time_us, done.default_time_us) == ("tuned", config(2), 50, 100)
    assert done.speedup == 2
    assert done.complete


def test_every_trial_is_stored_as_it_is_measured() -> None:
    notebook = Notebook()
    seen: list[int] = []
    kernel = FakeKernel(
        {1: 3.0, 2: 2.0, 4: "compile_error", 8: "wrong"}, on_compile=lambda _: seen.append(len(notebook.trials))
    )
    done = sweep({}, kernel=kernel, notebook=notebook)
    assert seen == [0, 1, 2, 3]  # each was recorded before the next was compiled
    assert [trial.status for trial in notebook.puts] == ["ok", "ok", "compile_error", "wrong"]
    assert done.counts == {"ok": 2, "compile_error": 1, "wrong": 1}
    assert [trial.uid for trial in notebook.puts] == [trial.uid for trial in done.trials]
    assert [trial.samples for trial in notebook.puts] == [10, 10, 0, 0]
    assert [trial.samples > 10 for trial in done.trials] == [True, True, False, False]  # as the race left them
    assert notebook.finished_ == [done]


def test_the_default_keeps_its_place_unless_it_is_beaten_by_the_margin() -> None:
    assert sweep({1: 100.0, 2: 100 * (1 - MARGIN) + 0.5}).config == config(1)
    assert sweep({1: 100.0, 2: 100 * (1 - MARGIN) - 0.5}).config == config(2)


def test_exact_equals_resolve_to_the_order_of_the_space() -> None:
    assert sweep({1: 100.0, 2: 50.0, 4: 50.0, 8: 50.0}).config == config(2)


@pytest.mark.parametrize("failure", ["wrong", "compile_error", "out_of_resources", "runtime_error", "timeout"])
def test_a_config_that_fails_never_wins_and_is_a_trial_with_its_reason(failure: str) -> None:
    done = sweep({1: 100.0, 2: failure, 4: 50.0})
    assert done.config == config(4)
    (trial,) = (trial for trial in done.trials if trial.config == config(2))
    assert (trial.status, trial.time_us) == (failure, None)
    assert trial.error


def test_a_default_that_fails_leaves_the_others_in_the_race() -> None:
    done = sweep({1: "out_of_resources", 2: 50.0})
    assert (done.config, done.time_us, done.default_time_us, done.speedup) == (config(2), 50, None, None)


def test_where_all_fail_the_sweep_is_failed_and_expires() -> None:
    done = sweep({1: "compile_error", 2: "wrong"})
    assert (done.status, done.config, done.time_us) == ("failed", None, None)
    assert done.expires is not None
    assert done.finished is not None
    assert done.expires > done.finished


def test_a_lost_device_ends_the_sweep_with_no_winner() -> None:
    kernel = FakeKernel({1: 100.0, 2: "sticky", 4: 50.0})
    done = sweep({}, kernel=kernel)
    assert (done.status, done.config) == ("aborted", None)
    assert kernel.tried == [1, 2]
    assert "illegal memory access" in (done.trials[-1].error or "")


def test_when_the_time_is_spent_the_best_so_far_wins_and_the_sweep_is_cut_short() -> None:
    ticks = iter(range(100))
    done = sweep({1: 100.0, 2: 50.0, 4: 10.0}, budget=1.5, monotonic=lambda: float(next(ticks)))
    assert (done.status, done.complete, done.config) == ("tuned", False, config(2))


def test_a_sweep_without_time_still_tries_the_default() -> None:
    kernel = FakeKernel({1: 100.0, 2: 50.0})
    done = sweep({}, kernel=kernel, budget=0.0)
    assert kernel.tried == [1]
    assert (done.status, done.config, done.complete) == ("tuned", config(1), False)


def test_a_failure_that_was_cut_short_is_no_failure_of_the_problem() -> None:
    done = sweep({1: "wrong", 2: 50.0}, budget=0.0)
    assert (done.status, done.complete, done.expires) == ("aborted", False, None)


@pytest.mark.parametrize("step", ["compile", "check", "launcher"])
def test_a_lost_device_is_told_from_a_failing_config_wherever_it_shows(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(self: FakeWorkload, config: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(FakeWorkload, step, lose)
    done = sweep({1: 9.0, 2: 5.0})
    assert (done.status, len(done.trials)) == ("aborted", 1)
    assert "illegal memory access" in (done.trials[0].error or "")


def test_the_workload_is_freed_however_the_sweep_ends() -> None:
    def interrupt(block: int) -> None:
        if block == 2:
            raise KeyboardInterrupt

    kernel = FakeKernel({1: 1.0, 2: 2.0}, on_compile=interrupt)
    notebook = Notebook()
    with pytest.raises(KeyboardInterrupt):
        sweep({}, kernel=kernel, notebook=notebook)
    assert kernel.closed == 1
    assert [sweep.status for sweep in notebook.finished_] == ["aborted"]  # what it measured can be used again


def test_a_sweep_that_breaks_is_stored_as_aborted() -> None:
    def broken(block: int) -> None:
        if block == 2:
            raise CallerError(ValueError("the reference"))

    notebook = Notebook()
    with pytest.raises(CallerError):
        sweep({}, kernel=FakeKernel({1: 1.0, 2: 2.0}, on_compile=broken), notebook=notebook)
    assert [(done.status, done.expires) for done in notebook.finished_] == [("aborted", None)]


def test_finalists_are_raced_in_turns_so_that_a_drifting_clock_favours_none() -> None:
    samples = 0

    def slower_and_slower(time: float) -> float:
        nonlocal samples
        samples += 1
        return time * (1 + samples / 100)

    # On the drifting clock the first screening flatters the default: only the race can tell.
    assert sweep({1: 100.0, 2: 95.0, 4: 97.0}, noise=slower_and_slower).config == config(2)


@settings(deadline=None)  # a busy machine makes any example slow
@given(
    st.dictionaries(st.integers(1, 40), st.floats(1, 1e4) | st.sampled_from(["wrong", "compile_error"]), min_size=1),
    st.integers(0, 2**32),
)
def test_the_winner_is_right_and_never_far_from_the_best(times: dict[int, float | str], seed: int) -> None:
    source = random.Random(seed)
    done = sweep(times, noise=lambda time: time * source.uniform(1, 1.005))
    right = {block: time for block, time in times.items() if isinstance(time, float)}
    if not right:
        assert done.status == "failed"
        return
    assert done.config is not None
    assert right[done.config["BLOCK"]] <= min(right.values()) * (1 + MARGIN + 0.02)
    default = next(iter(times))
    if default in right:
        assert right[done.config["BLOCK"]] <= right[default] * 1.005


@settings(deadline=None)  # a busy machine makes any example slow
@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=50))
def test_a_timing_lies_within_its_samples(samples: list[float]) -> None:
    timing = Timing.of(samples)
    ordered = sorted(samples)
    tolerance = 1e-9 * ordered[-1]
    assert ordered[0] - tolerance <= timing.p20 <= timing.median <= timing.p80 <= ordered[-1] + tolerance
    assert timing.samples == len(samples)
