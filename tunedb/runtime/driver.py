"""The visible GPUs as CUDA's driver library reports them: for processes that run nothing, and need not load torch."""

from __future__ import annotations

import ctypes
import functools
import uuid
from dataclasses import dataclass
from pathlib import Path

from tunedb._internal.control import let_pass
from tunedb._internal.printable import printable
from tunedb.core.device import Device
from tunedb.runtime.versions import torch_build

# Of NVIDIA, of AMD, and of both under Windows: what a machine without a GPU lacks.
_DRIVERS = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
_LIBRARY = "libcuda.so.1"
_SUCCESS, _NO_DEVICE = 0, 100  # CUDA_SUCCESS, CUDA_ERROR_NO_DEVICE
_MULTIPROCESSORS, _MAJOR, _MINOR = 16, 75, 76  # of CUdevice_attribute
_MAX_NAME, _UUID_BYTES = 256, 16


class DriverSilent(Exception):
    """The driver library does not say which GPU torch will use: torch has to be asked."""


def has_driver() -> bool:
    """Return whether this machine has the driver of a GPU. Loads nothing."""
    return any(Path(path).exists() for path in _DRIVERS)


def kernel_driver_version() -> str | None:
    """Return the version of NVIDIA's kernel driver; None if Linux does not show one."""
    try:
        words = Path(_DRIVERS[0]).read_text().split()
        return next(word for word in words if word[0].isdigit() and word.count(".") >= 1)
    except (OSError, StopIteration) as error:
        let_pass(error)
        return None


@dataclass(frozen=True, slots=True)
class DriverGpu:
    """A GPU, without facts that are never compared, and its UUID as torch writes it; empty if none is reported."""

    device: Device
    uuid: str


def first_gpu() -> Device | None:
    """Return the GPU that torch calls 0; None if torch will have none. Raises what `visible_gpus` raises."""
    gpus = visible_gpus()
    return gpus[0].device if gpus else None


@functools.cache
def visible_gpus() -> tuple[DriverGpu, ...]:
    """Return the GPUs that torch numbers from 0; none if torch will have none.

    Raises DriverSilent if only torch knows, ModuleNotFoundError if torch is not installed.
    """
    build = torch_build()
    if build.hip is not None:
        raise DriverSilent("HIP's devices are asked through torch.")
    if build.cuda is None or not has_driver():
        return ()
    try:
        driver = ctypes.CDLL(_LIBRARY)
        status = driver.cuInit(0)
        if status == _NO_DEVICE:
            return ()
        _check(status)
        count = _number(driver.cuDeviceGetCount)
        # A driver that is older than what torch was built for serves no torch.
        if count and _number(driver.cuDriverGetVersion) // 1000 < int(build.cuda.partition(".")[0]):
            raise DriverSilent("The driver may be too old for this torch.")
        return tuple(_gpu(driver, number) for number in range(count))
    except (OSError, AttributeError, ValueError) as error:  # no such library, or function; an odd version
        let_pass(error)
        raise DriverSilent(str(error)) from None


def _gpu(driver: ctypes.CDLL, number: int) -> DriverGpu:
    device = _number(driver.cuDeviceGet, number)
    name = ctypes.create_string_buffer(_MAX_NAME)
    _check(driver.cuDeviceGetName(name, _MAX_NAME, device))
    units, major, minor = (
        _number(driver.cuDeviceGetAttribute, attribute, device) for attribute in (_MULTIPROCESSORS, _MAJOR, _MINOR)
    )
    words = ctypes.create_string_buffer(_UUID_BYTES)
    # Not its second version, unless a driver has only that: of a MIG instance torch reports the whole GPU's UUID, too.
    get_uuid = getattr(driver, "cuDeviceGetUuid", None) or getattr(driver, "cuDeviceGetUuid_v2", None)
    is_known = get_uuid is not None and get_uuid(words, device) == _SUCCESS
    return DriverGpu(
        Device(printable(name.value.decode(errors="replace")), "cuda", f"sm_{major}{minor}", units),
        f"GPU-{uuid.UUID(bytes=words.raw)}" if is_known else "",
    )


def _number(function: object, *arguments: int) -> int:
    """Return the int that a function of the library writes to its first argument."""
    value = ctypes.c_int()
    _check(function(ctypes.byref(value), *arguments))  # type: ignore[operator]  # a function of a C library
    return value.value


def _check(status: int) -> None:
    if status != _SUCCESS:
        raise DriverSilent(f"CUDA's driver answered {status}.")
