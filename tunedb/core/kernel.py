"""What the tuner asks of a kernel: the one protocol behind first-party kernels and decorated ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem


@dataclass(frozen=True, slots=True)
class Resources:
    """What one compiled config takes: registers and spills per thread, bytes of shared memory and threads per block.

    `binary` is a digest of what would run (machine code, grid, and the arguments that are no tensors): configs in which
    it is equal are one and the same. None stands for what is not known, as in the interpreter, and registers before the
    kernel is loaded.
    """

    registers: int | None = None
    spills: int | None = None
    shared_bytes: int | None = None
    threads: int | None = None
    binary: str | None = None


class Workload(Protocol):
    """One problem's tensors on one device, ready for any config: what a sweep compiles, checks and times.

    Each method raises TrialError for a config that can't do it, StickyDeviceError where nothing can run any more.
    A TrialError with the status `pruned` is for a config that is not worth running, with the reason. CallerError ends
    the sweep: a function or an argument of the caller's failed, and no config is to blame.

    One that also has `compile_job(config)`, giving a CompileJob or None, has its configs compiled by other processes,
    where their module is imported: it should need no torch, and do nothing but define kernels.
    """

    def prepare(self, config: Config) -> Resources:
        """Compile the config, without loading it. Called from several threads at once, ahead of the other methods.

        It may still be at it when the workload is closed, and must not keep the workload's memory until it is done.
        """

    def compile(self, config: Config) -> Resources:
        """Compile the config, unless that is done, and load it, without launching it."""

    def check(self, config: Config) -> str | None:
        """Launch on poisoned output and compare with a reference; the reason where the result is wrong, else None."""

    def launcher(self, config: Config) -> Callable[[], object]:
        """A function that launches the compiled config once, without waiting for it, any number of times.

        A kernel that works in place or accumulates has its arguments put back by `check`; a launcher may leave them as
        they become, for times do not depend on them.
        """

    def close(self) -> None:
        """Free what the workload holds."""


class TunableKernel(Protocol):
    """A kernel that can be tuned. RegisteredKernel under the entry point group `tunedb.kernels`.

    One that also has `estimate(problem, config, device) -> float` has its configs tried in that order, the smallest
    first: a guess at the time, in any unit, from bytes, waves and the like. It has no say in which one wins.

    One that also has `clock`, a `tunedb.runtime.clock.Clock` or None, is timed by that one; its method is part of the
    environment of its sweeps.
    """

    @property
    def name(self) -> str:
        """The kernel's name, as in `Problem.kernel`."""

    @property
    def hash(self) -> str:
        """Hash of the kernel's source and its launcher's (`source.kernel_hash`)."""

    def space(self, problem: Problem, device: Device) -> Sequence[Config]:
        """Every legal config, in the order in which near-ties resolve; the default is among them."""

    def default(self, problem: Problem, device: Device) -> Config:
        """The config that a call gets without tuning."""

    def is_alike(self, problem: Problem, other: Problem) -> bool:
        """Whether two problems of this kernel want the same kind of config, so that one may borrow the other's."""

    def workload(self, problem: Problem, index: int) -> Workload:
        """Fresh tensors for the problem on the device of that index (-1: the CPU, for the interpreter)."""


class RegisteredKernel(TunableKernel, Protocol):
    """A tunable that `tunedb warm` can make problems for.

    One that also has `arguments`, `gradient` and `demo` declares them to the command line: see `declaration.py`; the
    gradient is the name of the registered kernel that computes it. Reading them should load neither torch nor Triton.

    One that also has `module_source(sweeps) -> str` can be exported as a self-contained module; without it, not.
    """

    def problem(self, arguments: Mapping[str, Any]) -> Problem:
        """The problem of one line of a shapes file, or of the command line's options.

        Raises SettingError, naming the argument, for what can't be one.
        """
