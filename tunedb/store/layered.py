"""The local store, the shared one and bundles as one: read together, the local one written first."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from tunedb.core.device import Device, Environment
from tunedb.core.hint import Hint
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Layer, Sweep, Trial, UsageCount
from tunedb.store.bundles import BundleLayer
from tunedb.store.claim_keeper import ClaimKeeper
from tunedb.store.empty import EmptyStore
from tunedb.store.guarded import GuardedStore
from tunedb.store.interface import SweepStore
from tunedb.store.shared import SharedStore

if TYPE_CHECKING:
    from tunedb.store import Store
    from tunedb.store.reading import ReadStore


class LayeredStore(SweepStore):
    """The local store, which is always there, a shared one, and bundles. For a command the local one is the store
    itself.

    Whether a sweep is local or shared has no influence on whether it wins, so that all machines that share a store
    agree. Sweeps of bundles rank behind them (`store.ranking`).
    """

    def __init__(
        self,
        local: GuardedStore | Store | ReadStore | EmptyStore,
        shared: SharedStore | None = None,
        bundles: BundleLayer | None = None,
    ) -> None:
        self.local = local
        self.shared = shared
        self.bundles = bundles

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the finished sweeps of that identity in every layer."""
        others = [] if self.bundles is None else self.bundles.get_sweeps(problem, device, kernel_hash)
        is_needed = not (others and self._has_no_local)
        sweeps = self.local.get_sweeps(problem, device, kernel_hash) if is_needed else []
        if self.shared is not None:
            others = [*self.shared.get_sweeps(problem, device, kernel_hash), *others]
        return united([*sweeps, *(self._with_local_marks(others) if is_needed else others)]) if others else sweeps

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str, most: int | None = None) -> list[Sweep]:
        """Return the finished sweeps of a kernel on a device in every layer; at most `most` of a store or a bundle."""
        others = [] if self.bundles is None else self.bundles.get_kernel_sweeps(kernel, device, kernel_hash, most)
        is_needed = not (others and self._has_no_local)
        sweeps = self.local.get_kernel_sweeps(kernel, device, kernel_hash, most) if is_needed else []
        if self.shared is not None:
            others = [*self.shared.get_kernel_sweeps(kernel, device, kernel_hash), *others]
        return united([*sweeps, *(self._with_local_marks(others) if is_needed else others)]) if others else sweeps

    @property
    def _has_no_local(self) -> bool:
        """Whether no local store exists: a call that a bundle answers does not make one."""
        return isinstance(self.local, GuardedStore) and self.local.is_absent

    def get_unfinished(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment
    ) -> list[Sweep]:
        """Return the local store's unfinished sweeps: a shared store has none."""
        return self.local.get_unfinished(problem, device, kernel_hash, environment)

    def get_wrong_configs(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment
    ) -> Collection[Config]:
        """Return the configs that a sweep of the local store found wrong."""
        return self.local.get_wrong_configs(problem, device, kernel_hash, environment)

    def get_tried_keys(self, sweep_uid: str) -> Collection[str]:
        """Return the keys of the configs that a sweep of the local store tried."""
        return self.local.get_tried_keys(sweep_uid)

    def get_whole(self, sweep_uids: Collection[str]) -> Iterator[list[Sweep]]:
        """Yield the sweeps with these uids that the local store has, with their trials."""
        return self.local.get_whole(sweep_uids)

    def get_devices(self, kernel_hash: str) -> list[Device]:
        """Return the devices that tuned sweeps of a kernel are of, in every layer."""
        layers = [layer for layer in (self.shared, self.bundles) if layer is not None]
        others = [device for layer in layers for device in layer.get_devices(kernel_hash)]
        stored = [] if others and self._has_no_local else self.local.get_devices(kernel_hash)
        return list(dict.fromkeys([*stored, *others]))

    def get_hints(self, kernel: str, device: str) -> list[Hint]:
        """Return the hints of the local store: hints stay where they were imported."""
        return self.local.get_hints(kernel, device)

    def _with_local_marks(self, sweeps: list[Sweep]) -> list[Sweep]:
        """Return sweeps of other layers with the marks and confirmations that the local store has of them."""
        if not sweeps:
            return []
        uids = [sweep.uid for sweep in sweeps]
        marks, confirmed = self.local.get_marks_of(uids), self.local.get_confirmations_of(uids)
        return [
            dataclasses.replace(
                sweep,
                marks=(*sweep.marks, *marks.get(sweep.uid, ())),
                confirmations=(*sweep.confirmations, *confirmed.get(sweep.uid, ())),
            )
            if sweep.uid in marks or sweep.uid in confirmed
            else sweep
            for sweep in sweeps
        ]

    def start_sweep(self, sweep: Sweep) -> None:
        """Keep a running sweep in the local store: only finished sweeps leave it."""
        self.local.start_sweep(sweep)

    def put_trial(self, sweep_uid: str, trial: Trial) -> None:
        """Keep a trial in the local store."""
        self.local.put_trial(sweep_uid, trial)

    def finish_sweep(self, sweep: Sweep) -> None:
        """Have the sweep written to the local store, and to the shared one if it works."""
        self.local.finish_sweep(sweep)
        if self.shared is not None:
            self.shared.finish_sweep(sweep)

    @property
    def claim_keepers(self) -> Sequence[ClaimKeeper]:
        """The claims of the shared store, and those of the local one, which count while the shared one is away."""
        return (*(() if self.shared is None else (self.shared.claims,)), *self.local.claim_keepers)

    def refresh(self, problem: Problem, device: Device, kernel_hash: str) -> None:
        """Read the rows of the shared store again when they are next asked for."""
        if self.shared is not None:
            self.shared.refresh(problem, device, kernel_hash)

    def withdraw(self, sweep_uid: str, reason: str) -> None:
        """Quarantine a sweep in the local store, as the shared one does not have it."""
        self.local.withdraw(sweep_uid, reason)

    def copy_here(self, sweep: Sweep) -> None:
        """Copy a sweep of the shared store to the local one, so that this machine's commands find it there."""
        if self.shared is None or sweep.layer is Layer.BUNDLE:
            return
        here = self.local.get_sweeps(sweep.problem, sweep.device, sweep.kernel_hash)
        if sweep.uid not in {stored.uid for stored in here}:
            for whole in self.shared.get_whole(sweep.uid):
                self.local.finish_sweep(dataclasses.replace(whole, origin="imported"))

    def wait_until_written(self, sweep_uid: str) -> bool:
        """Wait a while for a finished sweep to be written to the local store; return whether it is."""
        return self.local.wait_until_written(sweep_uid)

    def is_settled(self, sweep_uid: str) -> bool:
        """Say whether a sweep is written to the local store, or will not be soon."""
        return self.local.is_settled(sweep_uid)

    def add_usage(self, counts: Iterable[UsageCount]) -> None:
        """Add to the usage counts of the local store, whose sums then go to the shared one, as far as it works."""
        counts = list(counts)
        self.local.add_usage(counts)
        if self.shared is not None and counts:
            since = min(usage.first_seen for usage in counts)
            self.shared.take_counts(lambda: self.local.get_own_counts(since))

    def close(self) -> None:
        """Close the local store. The shared one stays open: the process uses it under later settings as well."""
        self.local.close()


def united(sweeps: Iterable[Sweep]) -> list[Sweep]:
    """Return each sweep once, with the marks and confirmations of all its copies."""
    copies: dict[str, list[Sweep]] = defaultdict(list)
    for sweep in sweeps:
        copies[sweep.uid].append(sweep)
    united_sweeps = []
    for first, *others in copies.values():
        marks = {mark.uid: mark for copy in (first, *others) for mark in copy.marks}
        confirmed = {one.uid: one for copy in (first, *others) for one in copy.confirmations}
        united_sweeps.append(
            dataclasses.replace(first, marks=tuple(marks.values()), confirmations=tuple(confirmed.values()))
            if others
            else first
        )
    return united_sweeps
