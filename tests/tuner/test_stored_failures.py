"""A stored failure: it keeps its own host from sweeping for a while, and does nothing else in any mode."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import timedelta
from pathlib import Path

import pytest

from tests.fakes import DEVICE, ENVIRONMENT, FakeKernel, config
from tests.tuner.tuners import Time, tuner_on
from tunedb import MissError
from tunedb.core.device import host
from tunedb.core.sweep import Mark, Sweep, now
from tunedb.store import Store, open_store, receive
from tunedb.store.guarded import GuardedStore
from tunedb.store.layered import LayeredStore
from tunedb.store.ranking import RETRY_AFTER
from tunedb.store.shared import SharedStore

KERNEL = {1: 9.0, 2: 5.0}


def failure(status: str = "failed", **changes: object) -> Sweep:
    """A sweep of the fake kernel that ended so a moment ago, on this host."""
    kernel, end = FakeKernel(KERNEL), now() - timedelta(seconds=1)
    return dataclasses.replace(
        Sweep(
            kernel.problem(), DEVICE, kernel.hash, ENVIRONMENT, status,  # type: ignore[arg-type]  # a word of it
            complete=status == "failed", started=end, finished=end, expires=end + RETRY_AFTER, host=host(),
        ), **changes,
    )  # type: ignore[arg-type]  # fmt: skip


FOREIGN = {
    "another host's": {"host": "another"},
    "imported": {"origin": "imported"},
    "expired": {"expires": now() - timedelta(hours=1)},
    "from the future": {"finished": now() + timedelta(days=99), "expires": now() + timedelta(days=100)},
    "quarantined": {"marks": (Mark("quarantine", "x"),)},
    "of another environment": {"environment": dataclasses.replace(ENVIRONMENT, torch="99")},
}


@pytest.mark.parametrize(("status", "mode"), list(itertools.product(("failed", "aborted"), ("tune", "record", "read"))))
def test_a_call_on_its_host_runs_the_default_and_does_not_sweep(
    status: str, mode: str, store: Store, tmp_path: Path
) -> None:
    store.put_sweep(failure(status))
    kernel = FakeKernel(KERNEL)
    choice = tuner_on(store, tmp_path, mode=mode).choose(kernel, kernel.problem(), -1)
    assert (choice.config, choice.source, choice.failed, kernel.tried) == (config(1), "default", None, [])


@pytest.mark.parametrize(("status", "whose"), list(itertools.product(("failed", "aborted"), FOREIGN)))
def test_any_other_failure_keeps_no_call_from_sweeping(status: str, whose: str, store: Store, tmp_path: Path) -> None:
    store.put_sweep(failure(status, **FOREIGN[whose]))
    kernel = FakeKernel(KERNEL)
    assert tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1).source == "sweep"
    assert kernel.tried == [1, 2]


@pytest.mark.parametrize("status", ["failed", "aborted"])
def test_in_mode_strict_it_is_a_miss_like_any_other(status: str, store: Store, tmp_path: Path) -> None:
    store.put_sweep(failure(status))
    kernel = FakeKernel(KERNEL)
    with pytest.raises(MissError, match="tunedb warm fake"):
        tuner_on(store, tmp_path, mode="strict").choose(kernel, kernel.problem(), -1)


def test_a_default_after_a_failure_is_not_given_up_for_a_near_problems_config(store: Store, tmp_path: Path) -> None:
    """Each config of the space has failed for this problem, that one too."""
    time, better = Time(), []
    kernel = FakeKernel(KERNEL)
    tuner_on(store, tmp_path).choose(kernel, kernel.problem(n=2), -1)
    store.put_sweep(failure())
    tuner = tuner_on(store, tmp_path, time=time, on_better=lambda: better.append(1))
    assert tuner.choose(kernel, kernel.problem(), -1).source == "default"
    time.seconds += 100
    assert (tuner.refresh(), better) == (0, [])


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("status", ["failed", "aborted"])
def test_it_reaches_no_shared_store_and_is_taken_from_none(status: str, store: Store, tmp_path: Path) -> None:
    path = str(tmp_path / "shared.db")
    with open_store(path) as shared:
        layers = LayeredStore(
            GuardedStore("local", lambda: store), SharedStore("shared", lambda: open_store(path), deadline=30.0)
        )
        layers.finish_sweep(failure(status))
        assert layers.local.flush()
        layers.shared.close(30.0)  # type: ignore[union-attr]  # it has one
        assert receive(shared, store).left == 1
        assert list(shared.iter_sweeps()) == []
        shared.put_sweep(failure(status))  # as another version of tunedb might
        sweeps = layers.shared.get_sweeps(FakeKernel(KERNEL).problem(), DEVICE, FakeKernel(KERNEL).hash)  # type: ignore[union-attr]
        assert sweeps == []


def test_only_the_choice_of_the_call_that_swept_has_the_failed_sweep(store: Store, tmp_path: Path) -> None:
    kernel = FakeKernel({1: "wrong", 2: "compile_error"})
    tuner = tuner_on(store, tmp_path)
    heard: list[Sweep] = []
    for _ in range(3):
        tuner.bind(kernel, kernel.problem(), -1, lambda one: one, on_failed=heard.append)
    assert [sweep.status for sweep in heard] == ["failed"]
    assert [trial.error for trial in heard[0].trials] == ["3 of 8 outputs differ", "BLOCK=2 fails"]
