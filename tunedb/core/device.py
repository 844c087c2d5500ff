"""Devices, where a process has them, and the software that times depend on."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunedb._internal.counted import counted
from tunedb._internal.printable import printable
from tunedb.core.canonical import canonical, digest_of
from tunedb.errors import IdentityError


@dataclass(frozen=True, slots=True)
class Device:
    """A model of GPU. Two devices share tuned configs if these four facts are equal.

    `info` (bytes of memory, of L2 and of shared memory a block, registers, kHz of clocks) is kept for people and for
    limits, and never compared: the memory that one model reports changes with the driver.
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
            raise IdentityError(
                "A device: expected a name and at least one multiprocessor, "
                f"got {self.name!r} and {self.multiprocessors!r}."
            )
        for text in (self.name, self.backend, self.arch):
            if not text.isprintable():  # it is shown in terminals and logs, and stands in exported files
                raise IdentityError(f"A device: expected a name without control characters, got {text!r:.100}.")
        facts = {name: getattr(self, name) for name in ("name", "backend", "arch", "multiprocessors")}
        object.__setattr__(self, "key", canonical(facts))
        object.__setattr__(self, "digest", digest_of(self.key))
        object.__setattr__(self, "info", dict(sorted(self.info.items())))

    def __str__(self) -> str:
        return f"{self.name} ({self.arch}, {counted(self.multiprocessors, 'multiprocessor')})"


# Triton's interpreter runs kernels on the CPU. Its times mean nothing for a GPU, so it is a device of its own.
INTERPRETER = Device("interpreter", "interpreter", "interpreter", 1)


@dataclass(frozen=True, slots=True)
class Placement:
    """A device, and its index in this process: a GPU's, -1 for the interpreter, None for another machine's device."""

    device: Device
    index: int | None

    @property
    def is_here(self) -> bool:
        """Whether this process has the device."""
        return self.index is not None

    @property
    def is_interpreter(self) -> bool:
        """Whether kernels are interpreted on the CPU there."""
        return self.device.backend == INTERPRETER.backend


OWN_BENCHMARK = "do_bench"  # the method of kernels that were decorated with a benchmark function of their own


@dataclass(frozen=True, slots=True)
class Environment:
    """The software that a stored time depends on: the soft tier of a sweep's validity.

    A sweep from another environment is `stale`: it is used at once, counted, and tuned again on request.
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
        return _environment_key(self.triton, self.torch, self.driver, self.method)

    @classmethod
    @functools.lru_cache(maxsize=128)  # the rows of a list are of a few environments
    def from_key(cls, key: str) -> Environment:
        """Return the environment that was stored as `key`, without the fields that this version does not know."""
        stored = json.loads(key)
        return cls(**{name: str(stored.get(name, "")) for name in cls.__slots__})


@functools.lru_cache(maxsize=128, typed=True)
def _environment_key(triton: str, torch: str, driver: str, method: str) -> str:
    return canonical({"triton": triton, "torch": torch, "driver": driver, "method": method})


def host() -> str:
    """Return this machine's name, which is kept with a sweep and never compared."""
    return printable(os.uname().nodename)
