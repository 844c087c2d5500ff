"""Copy rates of this host's GPUs: measured once, while nobody else sweeps there, and again if asked for."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.samples import DEVICE
from tunedb.fleet.copy_rates import measure_copy_rates
from tunedb.fleet.gpu_lock import try_gpu
from tunedb.fleet.slots import Slot, interpreters
from tunedb.store import Store, open_store

OTHER = dataclasses.replace(DEVICE, name="NVIDIA H100")
FIRST, TWIN, THIRD = (
    Slot(f"GPU {number}", device, number, 0, {"CUDA_VISIBLE_DEVICES": str(number)}, uuid=f"GPU-{number}")
    for number, device in enumerate((DEVICE, DEVICE, OTHER))
)
UNSEEN = dataclasses.replace(THIRD, here=None)  # only a process of its own sees it


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of this test."""
    with open_store(str(tmp_path / "t.db")) as opened:
        yield opened


class Meter:
    """Measures a rate that follows from the index and from how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, index: int) -> float:
        self.asked.append(index)
        return 1e12 * (1 + index) + len(self.asked)


def test_each_device_is_measured_once_and_again_if_asked_for(store: Store, tmp_path: Path) -> None:
    meter, slots = Meter(), [FIRST, TWIN, *interpreters(2), UNSEEN, THIRD]
    assert measure_copy_rates(store, slots, measure=meter, folder=tmp_path) == [DEVICE, OTHER]
    assert measure_copy_rates(store, slots, measure=meter, folder=tmp_path) == []
    assert meter.asked == [0, 2]
    before = store.copy_rates.get()
    assert measure_copy_rates(store, [FIRST], measure=meter, folder=tmp_path, again=True) == [DEVICE]
    after = store.copy_rates.get()
    assert after[DEVICE.digest].bytes_per_s == before[DEVICE.digest].bytes_per_s + 2
    assert after[OTHER.digest] == before[OTHER.digest]


def test_a_gpu_on_which_another_process_sweeps_is_measured_by_the_next_run(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    meter = Meter()
    with try_gpu("GPU-0", tmp_path) as held, caplog.at_level(logging.INFO, "tunedb"):
        assert held
        assert measure_copy_rates(store, [FIRST], measure=meter, folder=tmp_path) == []
        assert f"{DEVICE.name} is used by another process" in caplog.text
        assert measure_copy_rates(store, [FIRST, TWIN], measure=meter, folder=tmp_path) == [DEVICE]  # on its twin
        assert measure_copy_rates(store, [FIRST], measure=meter, folder=tmp_path, again=True) == []
    assert meter.asked == [1]
    assert measure_copy_rates(store, [FIRST], measure=meter, folder=tmp_path, again=True) == [DEVICE]


def test_the_gpu_is_held_while_it_is_measured(store: Store, tmp_path: Path) -> None:
    free = []

    def measure(index: int) -> float:
        with try_gpu(f"GPU-{index}", tmp_path) as held:
            free.append(held)
        return 1e12

    assert measure_copy_rates(store, [FIRST], measure=measure, folder=tmp_path) == [DEVICE]
    with try_gpu("GPU-0", tmp_path) as held:
        assert (free, held) == ([False], True)


def test_a_failure_to_measure_is_logged_and_other_gpus_are_measured(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail_at_first(index: int) -> float:
        if index == 0:
            raise RuntimeError("12 MiB are free")
        return 1e12

    with caplog.at_level(logging.WARNING, "tunedb"):
        assert measure_copy_rates(store, [FIRST, THIRD], measure=fail_at_first, folder=tmp_path) == [OTHER]
    assert set(store.copy_rates.get()) == {OTHER.digest}
    assert f"The copy rate of {DEVICE.name} was not measured: 12 MiB are free" in caplog.text
