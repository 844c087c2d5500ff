"""Borrowing a config where tuning is not allowed: from the nearest problem, if it is near, and never as measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import FakeKernel, config, task_of
from tests.tuner.tuners import tuner_on
from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.errors import MissError
from tunedb.kernels.avg_pool import FORWARD
from tunedb.store import open_store
from tunedb.tuner.choice_cache import ASK_AGAIN_AFTER_S
from tunedb.tuner.nearest import MAX_DISTANCE, MAX_SWEEPS, distance

extents = st.integers(0, 2**40)


@given(extents, extents, extents)
def test_the_distance_is_a_metric_of_sizes(a: int, b: int, c: int) -> None:
    one, other, third = (Problem.of("k", n=n, dtype=torch.float32) for n in (a, b, c))
    here, back = distance(one, other), distance(other, one)
    assert here is not None
    assert here == back
    assert (here == 0) == (a == b)
    far, near = distance(one, third), distance(other, third)
    assert far is not None
    assert near is not None
    assert far <= here + near + 1e-9


def test_twice_the_size_is_one_apart_whatever_the_size() -> None:
    for n in (63, 1023, 2**20 - 1):
        assert distance(Problem.of("k", n=n), Problem.of("k", n=2 * n + 1)) == pytest.approx(1)


@pytest.mark.parametrize(
    "other",
    [
        Problem.of("other", n=1, dtype=torch.float32, layout="rows", flag=True),
        Problem.of("k", n=1, dtype=torch.float16, layout="rows", flag=True),
        Problem.of("k", n=1, dtype=torch.float32, layout="general", flag=True),
        Problem.of("k", n=1, dtype=torch.float32, layout="rows", flag=False),
        Problem.of("k", n=1, dtype=torch.float32, layout="rows"),
        Problem.of("k", n=1, dtype=torch.float32, layout="rows", flag=1),
    ],
    ids=["kernel", "dtype", "layout", "switch", "facts", "type"],
)
def test_problems_that_differ_in_more_than_size_are_not_near(other: Problem) -> None:
    assert distance(Problem.of("k", n=1, dtype=torch.float32, layout="rows", flag=True), other) is None


def tuned(tmp_path: Path, times: dict[int, dict[int, float]]) -> None:
    """A store with a sweep of the fake kernel for each n, with these times."""
    store = open_store(str(tmp_path / "tunedb.db"))
    for n, blocks in times.items():
        kernel = FakeKernel(blocks)
        tuner_on(store, tmp_path).choose(kernel, kernel.problem(n=n), -1)


def test_the_nearest_tuned_problem_lends_its_config(tmp_path: Path) -> None:
    tuned(tmp_path, {100: {1: 9.0, 2: 5.0}, 1000: {1: 9.0, 4: 5.0}})
    kernel = FakeKernel({1: 9.0, 2: 5.0, 4: 5.0})
    store = open_store(str(tmp_path / "tunedb.db"))
    reader = tuner_on(store, tmp_path, mode="read")
    for n, block in ((120, 2), (700, 4)):
        choice = reader.choose(kernel, kernel.problem(n=n), -1)
        assert (choice.config, choice.source) == (config(block), "nearest")
    assert len(list(store.iter_sweeps())) == 2  # a borrowed config is never stored as measured


def test_beyond_the_cut_off_the_default_is_as_good(tmp_path: Path) -> None:
    tuned(tmp_path, {0: {1: 9.0, 2: 5.0}})
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    reader = tuner_on(open_store(str(tmp_path / "tunedb.db")), tmp_path, mode="read")
    assert reader.choose(kernel, kernel.problem(n=2 ** int(MAX_DISTANCE) - 1), -1).source == "nearest"
    assert reader.choose(kernel, kernel.problem(n=2 ** int(MAX_DISTANCE) + 9), -1).source == "default"


def test_a_config_that_is_illegal_here_is_not_borrowed(tmp_path: Path) -> None:
    tuned(tmp_path, {100: {1: 9.0, 2: 5.0}, 1000: {1: 9.0, 4: 5.0}})
    kernel = FakeKernel({1: 9.0, 4: 5.0})
    reader = tuner_on(open_store(str(tmp_path / "tunedb.db")), tmp_path, mode="read")
    assert reader.choose(kernel, kernel.problem(n=120), -1).config == config(4)


def test_strict_takes_nothing_borrowed_and_off_neither(tmp_path: Path) -> None:
    tuned(tmp_path, {100: {1: 9.0, 2: 5.0}})
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    store = open_store(str(tmp_path / "tunedb.db"))
    with pytest.raises(MissError):
        tuner_on(store, tmp_path, mode="strict").choose(kernel, kernel.problem(n=120), -1)
    assert tuner_on(store, tmp_path, mode="off").choose(kernel, kernel.problem(n=120), -1).source == "default"


def test_a_borrowed_config_gives_way_after_a_minute_to_the_problems_own(tmp_path: Path) -> None:
    tuned(tmp_path, {2**20: {1: 9.0, 2: 5.0}})
    kernel = FakeKernel({1: 9.0, 2: 5.0, 4: 3.0})
    seconds = [0.0]
    store = open_store(str(tmp_path / "tunedb.db"))
    reader = tuner_on(store, tmp_path, mode="record", time=lambda: seconds[0])
    assert reader.choose(kernel, kernel.problem(), -1).source == "default"  # n=1 is too far from 2**20
    assert reader.choose(kernel, kernel.problem(n=2**20 + 5), -1).source == "nearest"
    tuner_on(store, tmp_path).choose(kernel, kernel.problem(n=2**20 + 5), -1)
    tuner_on(store, tmp_path).warm(task_of(kernel))
    seconds[0] = ASK_AGAIN_AFTER_S
    assert reader.refresh() == 2
    assert reader.choose(kernel, kernel.problem(n=2**20 + 5), -1).config == config(4)
    reader.close()


def test_a_default_gives_way_after_a_minute_to_a_neighbours_config(tmp_path: Path) -> None:
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    seconds = [0.0]
    store = open_store(str(tmp_path / "tunedb.db"))
    reader = tuner_on(store, tmp_path, mode="record", time=lambda: seconds[0])
    assert reader.choose(kernel, kernel.problem(n=120), -1).source == "default"
    tuned(tmp_path, {100: {1: 9.0, 2: 5.0}})
    seconds[0] = ASK_AGAIN_AFTER_S
    assert reader.refresh() == 1
    assert reader.choose(kernel, kernel.problem(n=120), -1).source == "nearest"
    seconds[0] *= 2
    assert reader.refresh() == 0  # and stays as it is
    reader.close()


def test_pooling_lends_among_windows_that_overlap_alike() -> None:
    def problem(**changed: object) -> Problem:
        return FORWARD.problem({"shape": (8, 64, 4096), "kernel_size": 8, "stride": 1, "padding": 4} | changed)

    assert FORWARD.is_alike(problem(), problem(kernel_size=25, padding=12))
    assert not FORWARD.is_alike(problem(), problem(kernel_size=64, padding=12))  # looped over, not unrolled
    assert not FORWARD.is_alike(problem(), problem(stride=2))
    assert not FORWARD.is_alike(problem(stride=2), problem(stride=8))


def test_a_kernel_that_can_not_compare_problems_costs_no_call_its_config(
    tmp_path: Path, records: pytest.LogCaptureFixture
) -> None:
    class Faulty(FakeKernel):
        def is_alike(self, problem: object, other: object) -> bool:
            raise KeyError("rows")

    tuned(tmp_path, {100: {1: 9.0, 2: 5.0}})
    kernel = Faulty({1: 9.0, 2: 5.0})
    reader = tuner_on(open_store(str(tmp_path / "tunedb.db")), tmp_path, mode="read")
    assert reader.choose(kernel, kernel.problem(n=120), -1).source == "default"
    assert "the nearest problem can't be used" in records.text


def test_what_is_in_store_is_read_once_and_not_for_each_miss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned(tmp_path, {100: {1: 9.0, 2: 5.0}})
    store = open_store(str(tmp_path / "tunedb.db"))
    asked: list[int | None] = []
    real = store.get_kernel_sweeps

    def watched(kernel: str, device: Device, kernel_hash: str, most: int | None = None) -> list[Sweep]:
        asked.append(most)
        return real(kernel, device, kernel_hash, most)

    monkeypatch.setattr(store, "get_kernel_sweeps", watched)
    kernel, reader = FakeKernel({1: 9.0, 2: 5.0}), tuner_on(store, tmp_path, mode="read")
    for n in range(101, 111):
        assert reader.choose(kernel, kernel.problem(n=n), -1).source == "nearest"
    assert asked == [MAX_SWEEPS]
