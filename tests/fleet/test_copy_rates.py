"""Copy rates of a run's GPUs: measured once, while nobody else sweeps there, by workers that have no task."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fleet.conftest import tasks_of
from tests.fleet.test_host import Heard
from tests.store.samples import DEVICE
from tunedb import settings
from tunedb.errors import StoreUnavailable
from tunedb.fleet.copy_rates import CopyRateRun
from tunedb.fleet.gpu_lock import try_gpu
from tunedb.fleet.host import tune_on_host
from tunedb.fleet.slots import Slot, interpreters
from tunedb.fleet.task_run import HostRun
from tunedb.store import Store
from tunedb.store.sql.copy_rates import CopyRate

OTHER = dataclasses.replace(DEVICE, name="NVIDIA H100")
FIRST, TWIN, THIRD = (
    Slot(f"GPU {number}", device, number, 0, {"CUDA_VISIBLE_DEVICES": str(number)}, uuid=f"GPU-{number}")
    for number, device in enumerate((DEVICE, DEVICE, OTHER))
)


class Meter:
    """Measures a rate in the place of workers, and stores it as they do."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder
        self.asked: list[str] = []
        self.on_ask: Callable[[Slot], str | None] = lambda slot: None

    def run(self, *slots: Slot, again: bool = False) -> list[str]:
        """Have the slots measured in one run; return the names of those that were."""
        before = len(self.asked)
        rates = CopyRateRun(self.store, again=again, folder=self.folder)
        for slot in (*slots, *slots):  # each is asked whenever it has no task

            def ask(slot: Slot = slot) -> str | None:
                self.asked.append(slot.name)
                fault = self.on_ask(slot)
                if fault is None:
                    self.store.copy_rates.put(slot.device, CopyRate(1e12 + len(self.asked)))
                return fault

            rates.measure(slot, ask)
        return self.asked[before:]


@pytest.fixture
def meter(store: Store, tmp_path: Path) -> Meter:
    """A meter of this test's store."""
    return Meter(store, tmp_path)


def test_each_device_is_measured_once_and_again_if_asked_for(meter: Meter) -> None:
    assert meter.run(FIRST, TWIN, *interpreters(2), THIRD) == ["GPU 0", "GPU 2"]
    assert meter.run(FIRST, TWIN, THIRD) == []
    assert meter.run(TWIN, FIRST, again=True) == ["GPU 1"]


def test_a_gpu_on_which_another_process_sweeps_is_measured_by_the_next_run(
    meter: Meter, tmp_path: Path, records: pytest.LogCaptureFixture
) -> None:
    with try_gpu("GPU-0", tmp_path) as held:
        assert held
        assert meter.run(FIRST) == []
        assert f"{DEVICE.name} is used by another process" in records.text
        assert meter.run(FIRST, TWIN) == ["GPU 1"]  # its twin
        assert meter.run(FIRST, again=True) == []
    assert meter.run(FIRST, again=True) == ["GPU 0"]


def test_the_gpu_is_held_while_it_is_measured(meter: Meter, tmp_path: Path) -> None:
    free = []

    def look(slot: Slot) -> None:
        with try_gpu(slot.uuid, tmp_path) as held:
            free.append(held)

    meter.on_ask = look
    assert meter.run(FIRST) == ["GPU 0"]
    with try_gpu("GPU-0", tmp_path) as held:
        assert (free, held) == ([False], True)


def test_a_failure_to_measure_is_logged_and_other_gpus_are_measured(
    meter: Meter, store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter.on_ask = lambda slot: "12 MiB are free" if slot is FIRST else None
    with caplog.at_level(logging.WARNING, "tunedb"):
        assert meter.run(FIRST, THIRD) == ["GPU 0", "GPU 2"]
    assert set(store.copy_rates.get()) == {OTHER.digest}
    assert f"The copy rate of {DEVICE.name} was not measured: 12 MiB are free" in caplog.text

    def fail() -> None:
        raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(store.copy_rates, "get", fail)
    assert meter.run(TWIN) == []
    assert f"The copy rate of {DEVICE.name} was not measured: the disk is gone" in caplog.text


@pytest.mark.usefixtures("planted")
def test_a_worker_without_a_task_measures_while_another_one_still_has_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interpreters stand for GPUs; the second one is in use until the copy rate was measured."""
    measured = threading.Event()

    class Rates(CopyRateRun):
        def measure(self, slot: Slot, ask: Callable[[], str | None]) -> None:
            asked.append(slot.name)
            measured.set()

    asked: list[str] = []
    monkeypatch.setattr(
        "tunedb.fleet.host.try_gpu", lambda name: contextlib.nullcontext(name == "0" or measured.is_set())
    )
    slots = [
        dataclasses.replace(slot, variables={**slot.variables, "CUDA_VISIBLE_DEVICES": str(number)})
        for number, slot in enumerate(interpreters(2))
    ]
    run = HostRun(store, settings.current(), budget=100.0, copy_rates=Rates(store))
    outcomes = tune_on_host(tasks_of({"b1": 0.001}, {"b2": 0.001}), slots, run, Heard())
    assert [outcome.word for outcome in outcomes] == ["sweep", "sweep"]
    assert asked[0] == "interpreter 0"


@pytest.mark.usefixtures("planted")
def test_nothing_is_measured_by_a_slot_that_had_no_task(store: Store) -> None:
    asked: list[str] = []

    class Rates(CopyRateRun):
        def measure(self, slot: Slot, ask: Callable[[], str | None]) -> None:
            asked.append(slot.name)

    run = HostRun(store, settings.current(), budget=0.0, copy_rates=Rates(store))
    assert tune_on_host(tasks_of({"b1": 0.001}), interpreters(1), run, Heard()) == []
    assert asked == []
