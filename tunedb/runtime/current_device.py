"""The device that this process runs on, and its environment. Loads torch at the first question about a GPU."""

from __future__ import annotations

import functools
import platform

from tunedb._internal.printable import printable
from tunedb.core.device import INTERPRETER, Device, Environment, Placement
from tunedb.core.task import TuningTask
from tunedb.runtime.clock_method import method_for, own_clock
from tunedb.runtime.driver import kernel_driver_version
from tunedb.runtime.versions import torch_build, triton_version
from tunedb.settings import is_interpreted


@functools.cache
def gpu(index: int) -> Device:
    """Return the GPU of that index, as torch sees it in this process."""
    import torch

    properties = torch.cuda.get_device_properties(index)
    if torch.version.hip is not None:
        backend, arch = "hip", properties.gcnArchName.partition(":")[0]
    else:
        backend, arch = "cuda", f"sm_{properties.major}{properties.minor}"
    info = {
        "memory_bytes": properties.total_memory,
        "l2_bytes": getattr(properties, "L2_cache_size", None),
        "clock_khz": getattr(properties, "clock_rate", None),
        "memory_clock_khz": getattr(properties, "memory_clock_rate", None),
        "shared_bytes": getattr(properties, "shared_memory_per_block_optin", None),
        "registers": getattr(properties, "regs_per_multiprocessor", None),
    }
    reported = {name: value for name, value in info.items() if value is not None}
    return Device(printable(properties.name), backend, arch, properties.multi_processor_count, reported)


def device_of(index: int) -> Device:
    """Return the device of a tensor's `get_device()`: a GPU, or the interpreter for -1, the CPU."""
    return INTERPRETER if index < 0 else gpu(index)


def placement_of(index: int) -> Placement:
    """Return the placement on the device of that index."""
    return Placement(device_of(index), index)


def current_index() -> int | None:
    """Return the index of the current GPU, or -1 if Triton was asked for its interpreter; None without either."""
    if is_interpreted():
        return -1
    import torch

    return torch.cuda.current_device() if torch.cuda.is_available() else None


def environment_of(task: TuningTask) -> Environment | None:
    """Return the environment of the task's calls; None if this process does not have the device."""
    if task.index is None:
        return None
    own = own_clock(task.kernel)
    return environment(task.device.backend, method_for(task.index) if own is None else own.method)


@functools.cache
def environment(backend: str, method: str) -> Environment:
    """Return the environment of this process, on a device with that backend, for that timing method.

    Loads neither torch nor Triton: their files say their versions.
    """
    driver = _driver_version() if backend != "interpreter" else platform.python_version()
    return Environment(triton_version(), torch_build().version, driver, method)


def _driver_version() -> str:
    """Return the kernel driver's version if Linux shows it, else that of the CUDA or HIP that torch was built for."""
    version = kernel_driver_version()
    if version is None:
        build = torch_build()
        return f"cuda {build.cuda}" if build.cuda else f"hip {build.hip}"
    return version
