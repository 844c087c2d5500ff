"""The store's interface for a tuner, whether it is one database, a guarded one or several layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Protocol

from tunedb.core.device import Device, Environment
from tunedb.core.hint import Hint
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep, Trial, UsageCount
from tunedb.store.claim_keeper import ClaimKeeper


class SweepStore(ABC):
    """A place where sweeps are kept.

    Threads: every method may be called from several threads at once.
    Forks: a store may be used in a forked child; no connection, lock or queue of the parent is used there.
    Time: an access waits for other writers as long as the store's busy timeout says, and has no other limit. A guarded
    and a shared store do their accesses on threads of their own: a call waits for all of them together within its
    `WaitBudget`, two seconds, whatever a store does. One that failed is then left alone for a while.
    Errors: a database raises StoreError; a guarded or layered store raises nothing, and answers as if it were empty.
    Ownership: the code that opened the store closes it. Records are immutable and need no closing; a finished sweep
    never changes.
    """

    @abstractmethod
    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the finished sweeps of that problem, device and kernel: without trials, with their counts."""

    @abstractmethod
    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str, most: int | None = None) -> list[Sweep]:
        """Return the finished sweeps of all problems of a kernel on a device, the newest first, at most `most`.

        Without trials, with their counts.
        """

    @abstractmethod
    def get_unfinished(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment
    ) -> list[Sweep]:
        """Return this host's own unfinished sweeps of this problem with their trials, the newest first.

        Unfinished are running sweeps (their process may be gone), aborted ones and those that were cut short.
        """

    @abstractmethod
    def get_wrong_configs(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment
    ) -> Collection[Config]:
        """Return the configs whose result was wrong when a sweep of this store last tried them in this environment."""

    @abstractmethod
    def get_tried_keys(self, sweep_uid: str) -> Collection[str]:
        """Return the keys of the configs that a sweep of this store tried, for any of its trials."""

    @abstractmethod
    def get_whole(self, sweep_uids: Collection[str]) -> Iterator[list[Sweep]]:
        """Yield the sweeps with these uids and their trials, page by page; those that can't be read are left out."""

    def get_devices(self, kernel_hash: str) -> list[Device]:  # noqa: ARG002 (a store need not say)
        """Return the devices that tuned sweeps of a kernel are of, by the kernel's hash."""
        return []

    def get_hints(self, kernel: str, device: str) -> list[Hint]:  # noqa: ARG002 (a store need not have any)
        """Return the newest hints of a kernel on the device with that label, without their evidence.

        A kernel with a module in its name has those of its function's name too.
        """
        return []

    @abstractmethod
    def start_sweep(self, sweep: Sweep) -> None:
        """Keep a running sweep, so that its trials can be kept as they are measured."""

    @abstractmethod
    def put_trial(self, sweep_uid: str, trial: Trial) -> None:
        """Keep a trial of a running sweep; it replaces an earlier trial with its uid."""

    @abstractmethod
    def finish_sweep(self, sweep: Sweep) -> None:
        """Give a running sweep its outcome and its trials, as they ended. A finished one stays as it is."""

    @property
    @abstractmethod
    def claim_keepers(self) -> Sequence[ClaimKeeper]:
        """Where problems are claimed: the first that answers has the claim, the last keeps this process's sweeps."""

    def refresh(self, problem: Problem, device: Device, kernel_hash: str) -> None:  # noqa: B027 (a store need not)
        """Forget what is in memory of that identity's sweeps: another process may have published one."""

    def withdraw(self, sweep_uid: str, reason: str) -> None:  # noqa: B027 (for stores that queue)
        """Quarantine a sweep that was kept before it was known that another process had tuned it as well."""

    def copy_here(self, sweep: Sweep) -> None:  # noqa: B027 (for stores of several layers)
        """Copy a sweep that a look-up found to the local store, with its trials, unless it is there."""

    def wait_until_written(self, sweep_uid: str) -> bool:  # noqa: ARG002 (for stores that queue)
        """Wait a while for a finished sweep that waits in memory; return whether it is written.

        True of a store that writes at once, and raises if it can't.
        """
        return True

    def is_settled(self, sweep_uid: str) -> bool:  # noqa: ARG002 (for stores that queue)
        """Say whether a finished sweep is written, or will not be soon. Does not wait."""
        return True

    @abstractmethod
    def add_usage(self, counts: Iterable[UsageCount]) -> None:
        """Add to the usage counts."""

    @abstractmethod
    def close(self) -> None:
        """Write what waits, and close the connections."""


class SweptNames(Protocol):
    """What a database, or several as one, has sweeps of."""

    def devices(self, kernel: str | None = None) -> list[Device]:
        """Return the devices that finished sweeps are of: those of a kernel, or of all."""

    def kernels(self) -> list[str]:
        """Return the names of the kernels that tuned sweeps are of, sorted."""

    def problems(self, kernel: str) -> list[Problem]:
        """Return the problems of a kernel that finished sweeps are of, sorted."""

    def tried_configs(self, kernel: str) -> list[Config]:
        """Return the configs that sweeps of a kernel tried, and their winners, each once."""


class SweepLists(Protocol):
    """What commands list of one database, or of several as one."""

    @property
    def upkeep(self) -> SweptNames:
        """What it has sweeps of."""

    def get_problem_sweeps(self, problem: Problem) -> list[Sweep]:
        """Return the finished sweeps of that problem on any device, of any kernel hash, without trials."""

    def iter_sweeps(
        self,
        *,
        kernel: str | None = None,
        device_name: str | None = None,
        finished: bool = True,
        with_trials: bool = False,
        latest: int | None = None,
    ) -> Iterator[Sweep]:
        """Yield the sweeps by kernel, problem, device, time of finish and uid; running ones only without `finished`.

        With `latest`, only as many as that, those that came last.
        """
