"""The visible GPUs as the driver library reports them, with a library that answers as the test says."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tunedb.core.device import Device
from tunedb.runtime import current_device, driver
from tunedb.runtime.versions import TorchBuild

FACTS = {16: 132, 75: 9, 76: 0}


class Library:
    """The functions of libcuda that are asked. Each returns a status."""

    def __init__(self, *, devices: int = 1, version: int = 12080, init: int = 0, name: bytes = b"NVIDIA H200") -> None:
        def writes(value: Callable[..., int]) -> Callable[..., int]:
            def function(place: Any, *arguments: int) -> int:
                place._obj.value = value(*arguments)
                return 0

            return function

        self.cuInit = lambda flags: init
        self.cuDeviceGetCount = writes(lambda: devices)
        self.cuDriverGetVersion = writes(lambda: version)
        self.cuDeviceGet = writes(lambda ordinal: 40 + ordinal)
        self.cuDeviceGetAttribute = writes(lambda attribute, device: FACTS[attribute])
        self.cuDeviceGetUuid = self._write_uuid
        self.cuDeviceGetName = lambda place, length, device: setattr(place, "value", name) or 0

    def _write_uuid(self, place: Any, device: int) -> int:
        place.raw = bytes(range(15)) + bytes([device])
        return 0


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Device | None]]:
    """Return what is reported with this library and this torch."""

    def reported(library: Any = None, cuda: str | None = "12.8", hip: str | None = None) -> Device | None:
        def load(name: str) -> Any:
            if library is None:
                raise OSError("no such library")
            return library

        monkeypatch.setattr(driver, "has_driver", lambda: True)
        monkeypatch.setattr(driver, "torch_build", lambda: TorchBuild("2.13.0", cuda, hip))
        monkeypatch.setattr(ctypes, "CDLL", load)
        driver.visible_gpus.cache_clear()
        return driver.first_gpu()

    yield reported
    driver.visible_gpus.cache_clear()


def test_the_facts_are_those_that_identify_a_device(gpu: Callable[..., Device | None]) -> None:
    assert gpu(Library()) == Device("NVIDIA H200", "cuda", "sm_90", 132)


def test_each_gpu_has_the_uuid_that_torch_writes(gpu: Callable[..., Device | None]) -> None:
    gpu(Library(devices=2))
    expected = [f"GPU-00010203-0405-0607-0809-0a0b0c0d0e{device}" for device in ("28", "29")]
    assert [found.uuid for found in driver.visible_gpus()] == expected
    renamed = Library()
    renamed.cuDeviceGetUuid_v2 = vars(renamed).pop("cuDeviceGetUuid")  # as a library may have only the new name
    assert gpu(renamed) is not None
    assert driver.visible_gpus()[0].uuid == expected[0]
    nameless = Library()
    nameless.cuDeviceGetUuid = lambda place, device: 1
    assert gpu(nameless) is not None
    assert driver.visible_gpus()[0].uuid == ""


@pytest.mark.gpu
def test_the_driver_and_torch_say_the_same() -> None:
    import torch

    driver.visible_gpus.cache_clear()
    uuids = [f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in range(torch.cuda.device_count())]
    seen = [current_device.gpu(index) for index in range(torch.cuda.device_count())]
    assert [(gpu.device, gpu.uuid) for gpu in driver.visible_gpus()] == list(zip(seen, uuids, strict=True))


def test_there_is_none_without_a_device_or_with_a_torch_for_the_cpu(gpu: Callable[..., Device | None]) -> None:
    assert gpu(Library(devices=0)) is None
    assert gpu(Library(init=100)) is None
    assert gpu(Library(), cuda=None) is None


@pytest.mark.parametrize(
    ("library", "build"),
    [
        (None, {}),  # no library
        (Library(init=999), {}),
        (Library(version=11080), {}),  # older than what torch needs
        (Library(), {"cuda": None, "hip": "6.2"}),
        (Library(), {"cuda": "odd"}),
        (object(), {}),  # a library without these functions
    ],
)
def test_torch_is_asked_if_the_driver_can_not_tell(
    gpu: Callable[..., Device | None], library: Any, build: dict[str, Any]
) -> None:
    with pytest.raises(driver.DriverSilent):
        gpu(library, **build)
