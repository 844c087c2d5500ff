"""Hints in a tuner: tried early in a sweep, served behind what was measured, and never in the strict modes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeKernel, config, task_of
from tests.tuner.tuners import Time, tuner_on
from tunedb.core.device import Device
from tunedb.core.hint import Hint
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import MISSES
from tunedb.errors import MissError, StoreError, TrialError
from tunedb.store import Store, open_store
from tunedb.store.guarded import GuardedStore
from tunedb.tuner.choice_cache import ASK_AGAIN_AFTER_S
from tunedb.tuner.nearest import MAX_DISTANCE
from tunedb.tuner.stored_device import devices_named

SPACE: dict[int, float | str] = {1: 9.0, 2: 8.0, 4: 7.0, 8: 5.0}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store in a file."""
    return open_store(str(tmp_path / "tunedb.db"))


def hint(block: int, device: str = "interpreter", kernel: str = "fake", **facts: Any) -> Hint:
    """A hint for problems with these facts."""
    problem = Problem.of(kernel, **facts)
    return Hint(problem, device, Config.of(BLOCK=block, num_warps=4, maxnreg=None), "json-configs", f"x.json: {facts}")


def served(store: Store, tmp_path: Path, n: int = 100, **about: Any) -> tuple[int, str]:
    """Return the config's BLOCK and the source of a call. By default the tuner may not tune."""
    kernel = FakeKernel(SPACE)
    choice = tuner_on(store, tmp_path, **{"mode": "read", **about}).choose(kernel, kernel.problem(n=n), -1)
    return choice.config["BLOCK"], choice.source


@pytest.mark.parametrize("about", [{"mode": "read"}, {"mode": "record"}, {"mode": "tune", "budget": 0}])
def test_where_tuning_is_not_allowed_the_nearest_hint_serves(
    store: Store, tmp_path: Path, about: dict[str, Any]
) -> None:
    assert served(store, tmp_path, **about) == (1, "default")
    store.hints.put_all([hint(2, n=64), hint(4, n=128), hint(8, n=4096)])
    assert served(store, tmp_path, **about) == (4, "hint")
    assert served(store, tmp_path, n=3000, **about) == (8, "hint")
    assert list(store.iter_sweeps()) == []


def test_a_hint_is_never_served_in_the_strict_modes_or_when_off(store: Store, tmp_path: Path) -> None:
    store.hints.put_all([hint(4, n=100)])
    for mode in ("strict", "strict-compile"):
        with pytest.raises(MissError):
            served(store, tmp_path, mode=mode)
    assert served(store, tmp_path, mode="off") == (1, "default")


def test_what_was_measured_here_comes_first(store: Store, tmp_path: Path) -> None:
    store.hints.put_all([hint(4, n=100)])
    kernel = FakeKernel(SPACE)
    assert tuner_on(store, tmp_path).choose(kernel, kernel.problem(n=101), -1).source == "sweep"
    assert served(store, tmp_path) == (8, "nearest")
    assert served(store, tmp_path, n=2 ** int(MAX_DISTANCE + 8)) == (1, "default")  # too far from either
    assert served(store, tmp_path, n=101) == (8, "store")


@pytest.mark.parametrize(
    "other",
    [
        hint(4, device="nvidia_l4", n=100), hint(4, kernel="other", n=100), hint(4, n=100, dtype="float16"),
        hint(4, n="100"), hint(16, n=100), hint(4, n=100 * 2 ** int(MAX_DISTANCE + 1)), hint(4, dtypes="float16", n=1),
    ],
    ids=["device", "kernel", "fact", "type", "space", "distance", "dtypes"],
)  # fmt: skip
def test_a_hint_of_another_kind_serves_nothing(store: Store, tmp_path: Path, other: Hint) -> None:
    store.hints.put_all([other])
    assert served(store, tmp_path) == (1, "default")


def test_a_hint_that_knows_less_serves_too_behind_one_that_knows_more(store: Store, tmp_path: Path) -> None:
    store.hints.put_all([hint(8)])
    assert served(store, tmp_path) == (8, "hint")
    store.hints.put_all([hint(4, n=100)])
    assert served(store, tmp_path) == (4, "hint")


def test_a_hint_for_which_the_config_was_wrong_here_or_does_not_launch_is_passed_over(
    store: Store, tmp_path: Path
) -> None:
    wrong = FakeKernel({1: 9.0, 2: 8.0, 4: "wrong", 8: 5.0})
    tuner_on(store, tmp_path).choose(wrong, wrong.problem(n=100), -1)
    (sweep,) = store.iter_sweeps()
    assert store.get_wrong_configs(sweep.problem, sweep.device, sweep.kernel_hash, sweep.environment) == {config(4)}
    store.hints.put_all([hint(2, n=90), hint(4, n=100)])
    tuner = tuner_on(store, tmp_path, mode="read")
    task = task_of(wrong, n=100)
    choice = tuner.lookup.hints.choice(task)
    assert choice is not None
    assert choice.config == config(2)
    tuner.cache.reject(task, config(2))
    assert tuner.lookup.hints.choice(task) is None


def test_one_that_does_not_launch_is_followed_by_the_next(store: Store, tmp_path: Path) -> None:
    store.hints.put_all([hint(2, n=90), hint(4, n=100)])
    kernel = FakeKernel(SPACE)

    def load(chosen: Config) -> int:
        if chosen["BLOCK"] == 4:
            raise TrialError("out_of_resources", "no")
        return int(chosen["BLOCK"])

    choice, block = tuner_on(store, tmp_path, mode="read").bind(kernel, kernel.problem(n=100), -1, load)
    assert (choice.source, block) == ("hint", 2)
    assert choice.hint is not None
    assert choice.hint.place == "x.json: {'n': 90}"


def test_a_sweep_tries_hints_right_after_the_default(store: Store, tmp_path: Path) -> None:
    store.hints.put_all([hint(16, n=100), hint(8, n=100), hint(4, n=64)])
    kernel = FakeKernel(SPACE)
    choice = tuner_on(store, tmp_path).choose(kernel, kernel.problem(n=100), -1)
    assert (choice.source, choice.config) == ("sweep", config(8))
    assert kernel.tried[:3] == [1, 8, 4]


def test_a_config_that_only_a_hint_knew_is_no_evidence_and_loses_if_it_is_slower(store: Store, tmp_path: Path) -> None:
    store.hints.put_all([hint(2, n=100)])
    kernel = FakeKernel({1: 5.0, 2: 9.0})
    assert tuner_on(store, tmp_path).choose(kernel, kernel.problem(n=100), -1).config == config(1)


def test_calls_that_a_hint_served_are_misses_and_ask_again(store: Store, tmp_path: Path) -> None:
    time, kernel = Time(), FakeKernel(SPACE)
    tuner = tuner_on(store, tmp_path, mode="record", time=time)
    assert tuner.choose(kernel, kernel.problem(n=100), -1).source == "default"
    store.hints.put_all([hint(4, n=100)])
    time.seconds += ASK_AGAIN_AFTER_S + 1
    assert tuner.refresh() == 1
    assert tuner.choose(kernel, kernel.problem(n=100), -1).source == "hint"
    time.seconds += ASK_AGAIN_AFTER_S + 1
    assert tuner.refresh() == 0  # nothing better
    tuner.usage.flush()
    assert {str(one.usage.source) for one in store.usage.served(MISSES)} == {"default", "hint"}
    tuner.close()


def test_a_prediction_for_another_machine_s_device_knows_hints_too(store: Store, tmp_path: Path) -> None:
    store.hints.put_all([hint(4, n=100)])
    assert tuner_on(store, tmp_path).predict(task_of(FakeKernel(SPACE), n=100)).source == "hint"


def test_a_kernel_that_fails_on_a_hint_and_a_store_that_fails_give_the_default(
    tmp_path: Path, store: Store, records: pytest.LogCaptureFixture
) -> None:
    class Failing(FakeKernel):
        """A kernel whose space fails once."""

        def space(self, problem: Problem, device: Any) -> Any:
            """Fail if it is asked from where hints are."""
            if self.hash == "ff" * 32:
                raise KeyError("n")
            return super().space(problem, device)

    store.hints.put_all([hint(4, n=100)])
    kernel = Failing(SPACE, hash="ff" * 32)
    assert tuner_on(store, tmp_path, mode="read").choose(kernel, kernel.problem(n=100), -1).source == "default"
    assert "its hints can't be used (KeyError" in records.text

    def away() -> Store:
        raise StoreError("it is away")

    assert served(GuardedStore("x.db", away), tmp_path) == (1, "default")  # type: ignore[arg-type]


def test_a_stored_device_may_be_named_by_another_tool_s_label() -> None:
    sxm, pcie = Device("NVIDIA H100 80GB HBM3", "cuda", "sm_90", 132), Device("NVIDIA H100 PCIe", "cuda", "sm_90", 114)
    assert devices_named([sxm, pcie], "NVIDIA_H100_80GB_HBM3") == [sxm]
    assert devices_named([sxm, pcie], "nvidia-h100-pcie") == [pcie]
    assert devices_named([sxm, pcie], "NVIDIA_H200") == []
