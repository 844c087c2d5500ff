"""The device that a kernel runs on, and the software that times depend on."""

from __future__ import annotations

import functools
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunedb.core.problem import canonical, digest_of
from tunedb.errors import IdentityError


@dataclass(frozen=True, slots=True)
class Device:
    """One model of GPU. Two devices share tuned configs where these four facts are equal.

    `info` (bytes of memory, of L2 and of shared memory a block, registers, kHz of clocks) is kept for people and for
    limits, and never compared: the reported memory of one and the same model moves with the driver.
    """

    name: str  # as the driver reports it, such as "NVIDIA GeForce RTX 4090"
    backend: str  # "cuda", "hip" or "interpreter"
    arch: str  # such as "sm_89"
    multiprocessors: int
    info: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    key: str = field(init=False, compare=False, repr=False)
    digest: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.name or type(self.multiprocessors) is not int or self.multiprocessors < 1:
            raise IdentityError(f"{self.name!r} with {self.multiprocessors!r} multiprocessors is no device.")
        facts = {name: getattr(self, name) for name in ("name", "backend", "arch", "multiprocessors")}
        object.__setattr__(self, "key", canonical(facts))
        object.__setattr__(self, "digest", digest_of(self.key))
        object.__setattr__(self, "info", dict(sorted(self.info.items())))

    def __str__(self) -> str:
        return f"{self.name} ({self.arch}, {self.multiprocessors} multiprocessors)"


# Triton's interpreter runs kernels on the CPU. Its times mean nothing for a GPU, so it is a device of its own.
INTERPRETER = Device("interpreter", "interpreter", "interpreter", 1)


@functools.cache
def gpu(index: int) -> Device:
    """The GPU of that index, as torch sees it in this process."""
    import torch

    found = torch.cuda.get_device_properties(index)
    if torch.version.hip is not None:
        backend, arch = "hip", found.gcnArchName.partition(":")[0]
    else:
        backend, arch = "cuda", f"sm_{found.major}{found.minor}"
    info = {
        "memory_bytes": found.total_memory,
        "l2_bytes": getattr(found, "L2_cache_size", None),
        "clock_khz": getattr(found, "clock_rate", None),
        "memory_clock_khz": getattr(found, "memory_clock_rate", None),
        "shared_bytes": getattr(found, "shared_memory_per_block_optin", None),
        "registers": getattr(found, "regs_per_multiprocessor", None),
    }
    return Device(
        found.name, backend, arch, found.multi_processor_count, {k: v for k, v in info.items() if v is not None}
    )


def device_of(index: int) -> Device:
    """The device of a tensor's `get_device()`: a GPU, or the interpreter for -1, the CPU."""
    return INTERPRETER if index < 0 else gpu(index)


OWN_BENCHMARK = "do_bench"  # the method of kernels that were decorated with a benchmark function of their own


@dataclass(frozen=True, slots=True)
class Environment:
    """What a stored time depends on besides the device: the soft tier of a sweep's validity.

    A sweep from another environment is `stale`: used at once, counted, and tuned again when asked to.
    """

    triton: str
    torch: str
    driver: str
    method: str  # the version of tunedb's clock (`runtime.clock`), or OWN_BENCHMARK

    @property
    def has_own_benchmark(self) -> bool:
        """Whether times come from a benchmark function of the kernel's author, and not from tunedb's clock."""
        return self.method == OWN_BENCHMARK

    @property
    def key(self) -> str:
        """Canonical JSON."""
        return canonical({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def from_key(cls, key: str) -> Environment:
        """The environment that was stored as `key`; a field that this version does not know is passed over."""
        stored = json.loads(key)
        return cls(**{name: str(stored.get(name, "")) for name in cls.__slots__})


@functools.cache
def environment(backend: str, method: str) -> Environment:
    """The environment of this process, on a device with that backend, for that timing method."""
    import torch
    import triton  # not by their distributions' names, which differ among nightlies and ROCm's builds

    driver = _driver_version() if backend != "interpreter" else platform.python_version()
    return Environment(triton.__version__, str(torch.__version__), driver, method)


def _driver_version() -> str:
    """The kernel driver's version where Linux shows it, else that of the CUDA or HIP that torch was built for."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text().split()
        return next(word for word in words if word[0].isdigit() and word.count(".") >= 1)
    except (OSError, StopIteration):
        import torch

        return f"cuda {torch.version.cuda}" if torch.version.cuda else f"hip {torch.version.hip}"


def host() -> str:
    """This machine's name: kept beside a sweep, never compared."""
    return os.uname().nodename
