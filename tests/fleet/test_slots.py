"""The GPUs that a run may use: as CUDA_VISIBLE_DEVICES and `--devices` say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.store.samples import DEVICE
from tunedb.core.device import INTERPRETER, Device
from tunedb.errors import SettingError, SweepError
from tunedb.fleet import slots as module
from tunedb.fleet.gpu_lock import try_gpu
from tunedb.fleet.slots import Slot, gpu_slots, interpreters, probe, select, visible_names
from tunedb.runtime.driver import DriverGpu

OTHER = Device("another GPU", "cuda", "sm_1", 1)
SLOTS = [
    Slot("GPU 0", DEVICE, 0, 0, {"CUDA_VISIBLE_DEVICES": "0"}, ("GPU-aaaa-1",)),
    Slot("GPU 1", DEVICE, 1, 0, {"CUDA_VISIBLE_DEVICES": "1"}, ("GPU-aabb-2",)),
    Slot("GPU 2", OTHER, 2, 0, {"CUDA_VISIBLE_DEVICES": "2"}, ("GPU-cccc-3",)),
]


@pytest.mark.parametrize(
    ("listed", "count", "names"),
    [
        (None, 3, ["0", "1", "2"]),
        ("2, 0", 2, ["2", "0"]),
        ("GPU-aaaa,GPU-bbbb", 2, ["GPU-aaaa", "GPU-bbbb"]),
        ("3,9,1", 1, ["3"]),  # CUDA stops at the first that does not exist
        ("1,1", 1, ["1"]),
        ("MIG-a,MIG-b,0", 1, ["MIG-a", "MIG-b"]),  # of which CUDA shows a process one
    ],
)
def test_a_worker_gets_one_of_the_visible_gpus(listed: str | None, count: int, names: list[str]) -> None:
    assert visible_names(listed, count) == names


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("all", [0, 1, 2]),
        ("0,2", [0, 2]),
        (" 2 , 0 ", [2, 0]),
        ("1,1", [1]),
        ("GPU-aabb-2", [1]),
        ("gpu-c", [2]),
    ],
)
def test_devices_are_named_by_number_or_uuid(text: str, numbers: list[int]) -> None:
    assert select(SLOTS, text) == [SLOTS[number] for number in numbers]


@pytest.mark.parametrize("text", ["3", "-1", "", "0,,1", "GPU-aa", "GPU-dddd", "H100", "0;1"])
def test_a_word_that_names_no_gpu_or_several_is_refused_with_those_that_are_there(text: str) -> None:
    with pytest.raises(SettingError, match=r"--devices: .* Visible: 0 or GPU-aaaa-1 \(.*\), 1 or .*--devices all"):
        select(SLOTS, text)


class Gpus:
    """What torch says of several GPUs."""

    def __init__(self, *devices: Device) -> None:
        self.devices = devices

    def put_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have torch say so."""
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(self.devices))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: self)
        monkeypatch.setattr(module, "gpu", lambda index: self.devices[index])

    uuid = "1234"


def test_each_visible_gpu_is_a_slot_whose_worker_sees_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    Gpus(DEVICE, OTHER).put_in(monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [(slot.name, slot.device, slot.here, slot.index, slot.variables, slot.words) for slot in gpu_slots()] == [
        ("GPU 0", DEVICE, 0, 0, {"CUDA_VISIBLE_DEVICES": "0"}, ("GPU-1234",)),
        ("GPU 1", OTHER, 1, 0, {"CUDA_VISIBLE_DEVICES": "1"}, ("GPU-1234",)),
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-77")
    assert [(slot.variables["CUDA_VISIBLE_DEVICES"], slot.words) for slot in gpu_slots()] == [
        ("5", ("GPU-1234",)),
        ("GPU-77", ("GPU-77",)),
    ]
    Gpus().put_in(monkeypatch)
    assert gpu_slots() == []


def test_the_driver_says_which_gpus_there_are_unless_torch_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = (DriverGpu(DEVICE, "GPU-1234"), DriverGpu(OTHER, ""))
    monkeypatch.setattr("tunedb.runtime.driver.visible_gpus", lambda: gpus)
    Gpus(DEVICE).put_in(monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert len(gpu_slots()) == 1
    monkeypatch.delitem(sys.modules, "torch")
    assert [(slot.device, slot.here, slot.variables, slot.words, slot.uuid) for slot in gpu_slots()] == [
        (DEVICE, 0, {"CUDA_VISIBLE_DEVICES": "0"}, ("GPU-1234",), "GPU-1234"),
        (OTHER, 1, {"CUDA_VISIBLE_DEVICES": "1"}, (), ""),
    ]
    monkeypatch.setattr("tunedb.runtime.driver.visible_gpus", lambda: ())
    assert gpu_slots() == []
    assert "torch" not in sys.modules


def test_a_gpu_that_a_forked_process_can_not_ask_about_is_asked_about_by_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(index: int) -> Device:
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")

    Gpus(DEVICE).put_in(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(module, "gpu", fail)
    monkeypatch.setattr(module, "probe", lambda variables: OTHER)
    [slot] = gpu_slots()
    assert (slot.device, slot.here, slot.variables) == (OTHER, 0, {"CUDA_VISIBLE_DEVICES": "3"})


def test_a_mig_instance_that_this_process_does_not_see_is_asked_for_by_a_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Gpus(DEVICE).put_in(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a,MIG-b")
    asked: list[Any] = []
    monkeypatch.setattr(module, "probe", lambda variables: asked.append(variables) or OTHER)
    first, second = gpu_slots()
    assert (first.device, first.here, second.device, second.here) == (DEVICE, 0, OTHER, None)
    assert asked == [{"CUDA_VISIBLE_DEVICES": "MIG-b"}]
    assert select([first, second], "MIG-b") == [second]


def test_a_process_says_what_its_gpu_is_or_why_there_is_none() -> None:
    facts = {"name": "a GPU", "backend": "cuda", "arch": "sm_1", "multiprocessors": 7, "info": {"l2_bytes": 5}}

    def answer(code: int, out: str, error: str = "") -> Any:
        return lambda *words, **options: subprocess.CompletedProcess(words, code, out, error)

    device = probe({"CUDA_VISIBLE_DEVICES": "MIG-b"}, answer(0, json.dumps(facts)))
    assert (device, device.info) == (Device("a GPU", "cuda", "sm_1", 7), {"l2_bytes": 5})
    with pytest.raises(SweepError, match="The GPU MIG-b can't be used: RuntimeError: no"):
        probe({"CUDA_VISIBLE_DEVICES": "MIG-b"}, answer(1, "", "Traceback\nRuntimeError: no\n"))


def test_interpreters_are_slots_of_their_own() -> None:
    assert [(slot.device, slot.index) for slot in interpreters(2)] == [(INTERPRETER, -1)] * 2
    assert len({slot.name for slot in interpreters(3)}) == 3


def test_one_process_of_a_host_at_a_time_has_a_gpu(tmp_path: Path) -> None:
    with try_gpu("0", tmp_path) as first, try_gpu("0", tmp_path) as second, try_gpu("GPU-1", tmp_path) as other:
        assert (first, second, other) == (True, False, True)
    with try_gpu("0", tmp_path) as again:
        assert again
    (tmp_path / "file").touch()
    with try_gpu("0", tmp_path / "file") as unlocked:  # no lock file can be there: nobody is kept from the GPU
        assert unlocked


def test_a_process_that_ends_leaves_its_gpu(tmp_path: Path) -> None:
    program = "import sys, time; from pathlib import Path; from tunedb.fleet.gpu_lock import try_gpu\n"
    program += "with try_gpu('0', Path(sys.argv[1])) as held: print(held, flush=True); time.sleep(600)"
    holder = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    with try_gpu("0", tmp_path) as held:
        assert not held
    holder.kill()
    holder.communicate()
    with try_gpu("0", tmp_path) as held:
        assert held


@pytest.mark.parametrize(
    ("visible", "uuid", "name"),
    [
        ("0", "GPU-aaaa-1", "GPU-aaaa-1"),  # each process under a launcher may call its own GPU 0
        ("GPU-aaaa", "GPU-aaaa-1", "GPU-aaaa-1"),
        ("0", "", "0"),
        ("MIG-b", "GPU-aaaa-1", "MIG-b"),
    ],
)
def test_a_gpu_has_one_name_whatever_a_process_calls_it(visible: str, uuid: str, name: str) -> None:
    assert Slot("GPU 0", DEVICE, 0, 0, {"CUDA_VISIBLE_DEVICES": visible}, uuid=uuid).gpu_name == name


def test_an_interpreter_is_no_gpu() -> None:
    assert interpreters(1)[0].gpu_name is None
