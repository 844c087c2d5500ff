"""A store that does not exist, for commands that other layers may answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from tunedb.core.device import Device, Environment
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Confirmation, Mark, Sweep, Trial, UsageCount
from tunedb.store.claim_keeper import ClaimKeeper
from tunedb.store.interface import SweepStore

if TYPE_CHECKING:
    from tunedb.store.sql.hosts import HostSum


class EmptyStore(SweepStore):
    """A store that has nothing, and keeps nothing."""

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:  # noqa: ARG002
        """Return no sweep."""
        return []

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str, most: int | None = None) -> list[Sweep]:  # noqa: ARG002
        """Return no sweep."""
        return []

    def get_unfinished(
        self,
        problem: Problem,  # noqa: ARG002
        device: Device,  # noqa: ARG002
        kernel_hash: str,  # noqa: ARG002
        environment: Environment,  # noqa: ARG002
    ) -> list[Sweep]:
        """Return no sweep."""
        return []

    def get_wrong_configs(
        self,
        problem: Problem,  # noqa: ARG002
        device: Device,  # noqa: ARG002
        kernel_hash: str,  # noqa: ARG002
        environment: Environment,  # noqa: ARG002
    ) -> Collection[Config]:
        """Return no config."""
        return ()

    def get_tried_keys(self, sweep_uid: str) -> Collection[str]:  # noqa: ARG002
        """Return no key."""
        return ()

    def get_confirmations_of(self, sweep_uids: Sequence[str]) -> dict[str, list[Confirmation]]:  # noqa: ARG002
        """Return no confirmation."""
        return {}

    def get_marks_of(self, sweep_uids: Sequence[str]) -> dict[str, list[Mark]]:  # noqa: ARG002
        """Return no mark."""
        return {}

    def get_own_counts(self, since: datetime) -> list[HostSum]:  # noqa: ARG002
        """Return no count."""
        return []

    def get_whole(self, sweep_uids: Collection[str]) -> Iterator[list[Sweep]]:  # noqa: ARG002
        """Yield nothing."""
        return iter(())

    def start_sweep(self, sweep: Sweep) -> None:
        """Keep nothing."""

    def put_trial(self, sweep_uid: str, trial: Trial) -> None:
        """Keep nothing."""

    def finish_sweep(self, sweep: Sweep) -> None:
        """Keep nothing."""

    @property
    def claim_keepers(self) -> Sequence[ClaimKeeper]:
        """Nowhere."""
        return ()

    def add_usage(self, counts: Iterable[UsageCount]) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Do nothing."""
