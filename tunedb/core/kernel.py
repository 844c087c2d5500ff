"""The tuner's view of kernels: protocols that first-party, decorated and registered kernels fulfil.

Each optional ability has a protocol of its own: a kernel that has the method is used with it, without subclassing
anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep
from tunedb.errors import TunedbError

# What a kernel's code raises for facts that another version of it stored, or that someone wrote into the store.
ODD_FACTS = (TunedbError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError)


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources of one compiled config: registers and spills per thread, shared bytes and threads per block.

    `binary` is a digest of what would run (machine code, grid, and the arguments that are not tensors): two configs
    with the same one are duplicates. None means unknown, as all are in the interpreter, and registers before the kernel
    is loaded.
    """

    registers: int | None = None
    spills: int | None = None
    shared_bytes: int | None = None
    threads: int | None = None
    binary: str | None = None


class Workload(Protocol):
    """One problem's tensors on one device, ready for any config: what a sweep compiles, checks and times.

    Each method raises TrialError for a config that can't do it, StickyDeviceError if nothing can run any more.
    A TrialError with the status `pruned` is for a config that is not worth running, with the reason. CallerError ends
    the sweep: a function or an argument of the caller's failed, and no config is to blame.
    """

    def prepare(self, config: Config) -> Resources:
        """Compile the config, without loading it. Called from several threads at once, ahead of the other methods.

        It may still be running when the workload is closed, and must not keep the workload's memory until it is done.
        """

    def compile(self, config: Config) -> Resources:
        """Compile the config unless that is done, and load it, without launching it."""

    def check(self, config: Config) -> str | None:
        """Launch on poisoned output and compare with a reference; return what is wrong with the result, or None."""

    def launcher(self, config: Config) -> Callable[[], object]:
        """Return a function that launches the compiled config once, without waiting for it.

        It is called any number of times. `check` restores the arguments of a kernel that works in place or accumulates;
        a launcher need not, because times do not depend on their values.
        """

    def close(self) -> None:
        """Free what the workload holds."""


class TunableKernel(Protocol):
    """A kernel that can be tuned."""

    @property
    def name(self) -> str:
        """The kernel's name, as in `Problem.kernel`."""

    @property
    def hash(self) -> str:
        """Hash of the kernel's source and its launcher's (`source.kernel_hash`)."""

    def space(self, problem: Problem, device: Device) -> Sequence[Config]:
        """Return every legal config, in the order in which near-ties resolve; the default is among them."""

    def default(self, problem: Problem, device: Device) -> Config:
        """Return the config that a call gets without tuning."""

    def is_alike(self, problem: Problem, other: Problem) -> bool:
        """Say whether two problems of this kernel need the same kind of config, so that one may use the other's."""

    def workload(self, problem: Problem, index: int) -> Workload:
        """Return new tensors for the problem on the device of that index (-1: the CPU, for the interpreter)."""


@runtime_checkable
class EstimatesTimes(Protocol):
    """A tunable kernel whose configs are tried in the order of an estimate, which does not affect the winner."""

    def estimate(self, problem: Problem, config: Config, device: Device) -> float:
        """Return a guess at the config's time, in any unit, from bytes, waves and the like."""


class RegisteredKernel(TunableKernel, Protocol):
    """A tunable kernel that `tunedb warm` makes problems for, registered under `tunedb.kernels`.

    One that also has `arguments`, `gradient` and `demo` declares them to the command line: see `declaration.py`; the
    gradient is the name of the registered kernel that computes it. Reading them should load neither torch nor Triton.
    """

    def problem(self, arguments: Mapping[str, Any]) -> Problem:
        """Return the problem of one line of a shapes file, or of the command line's options.

        Raises SettingError, naming the argument, for arguments that do not make a problem.
        """


@runtime_checkable
class HasOtherSizes(Protocol):
    """A registered kernel whose problems do not say all that its arguments are made from: a size outside `key`."""

    def other_sizes(self, problem: Problem) -> Sequence[str]:
        """Return the names of what the problem does not say, and this process does not know from making it."""


@runtime_checkable
class StatesBytes(Protocol):
    """A registered kernel that states what any config has to move: its limit is the device's copy rate."""

    def bytes_moved(self, problem: Problem) -> int | None:
        """Return the bytes that have to be read and written once each; None if the problem does not say it."""


@runtime_checkable
class StatesOperations(Protocol):
    """A registered kernel that states the operations of its definition, however a config computes it."""

    def operations(self, problem: Problem) -> int | None:
        """Return the number of operations; None if the problem does not say it."""


@runtime_checkable
class ExportsModule(Protocol):
    """A registered kernel that can be exported as a self-contained module."""

    def module_source(self, sweeps: Sequence[Sweep]) -> str:
        """Return the text of a module that holds the kernel and these sweeps' configs."""
