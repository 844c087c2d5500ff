"""The local and the shared store as one: read together, the local one written first."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

from tunedb.core.device import Device, Environment
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep, Trial, UsageCount
from tunedb.store.guarded import GuardedStore
from tunedb.store.shared import SharedStore


class LayeredStore:
    """What the tuner asks for sweeps and hands them to: the local store, which is always there, and a shared one.

    Which layer a sweep came from has no say in which one wins.
    """

    def __init__(self, local: GuardedStore, shared: SharedStore | None = None) -> None:
        self.local = local
        self.shared = shared

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """The finished sweeps of that identity in either layer."""
        found = self.local.get_sweeps(problem, device, kernel_hash)
        if self.shared is None:
            return found
        return united([*found, *self._as_marked_here(self.shared.get_sweeps(problem, device, kernel_hash))])

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str, most: int | None = None) -> list[Sweep]:
        """The finished sweeps of all problems of a kernel on a device in either layer, `most` of the local one."""
        found = self.local.get_kernel_sweeps(kernel, device, kernel_hash, most)
        if self.shared is None:
            return found
        return united([*found, *self._as_marked_here(self.shared.get_kernel_sweeps(kernel, device, kernel_hash))])

    def get_unfinished(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment
    ) -> list[Sweep]:
        """Of the local store: a shared one gets finished sweeps only."""
        return self.local.get_unfinished(problem, device, kernel_hash, environment)

    def get_whole(self, sweep_uids: Collection[str]) -> Iterator[list[Sweep]]:
        """Those of the sweeps that the local store has, with their trials."""
        return self.local.get_whole(sweep_uids)

    def _as_marked_here(self, sweeps: list[Sweep]) -> list[Sweep]:
        """Sweeps of the shared store with the marks that the local one has of them, be they here or not."""
        marks = self.local.get_marks_of([sweep.uid for sweep in sweeps]) if sweeps else {}
        return [
            dataclasses.replace(sweep, marks=(*sweep.marks, *marks[sweep.uid])) if sweep.uid in marks else sweep
            for sweep in sweeps
        ]

    def start_sweep(self, sweep: Sweep) -> None:
        """To the local store: only finished sweeps leave it."""
        self.local.start_sweep(sweep)

    def put_trial(self, sweep_uid: str, trial: Trial) -> None:
        """To the local store."""
        self.local.put_trial(sweep_uid, trial)

    def finish_sweep(self, sweep: Sweep) -> None:
        """To the local store, and then to the shared one, as best it can."""
        self.local.finish_sweep(sweep)
        if self.shared is not None:
            self.shared.finish_sweep(sweep)

    def is_written(self, sweep_uid: str, *, try_again: bool = False) -> bool:
        """See `GuardedStore.is_written`, of the local store."""
        return self.local.is_written(sweep_uid, try_again=try_again)

    def add_served(self, served: list[UsageCount]) -> None:
        """To the local store: counts stay where they are."""
        self.local.add_served(served)

    def close(self) -> None:
        """Write what waits here. The shared store is the process's: it stays open for the settings that come."""
        self.local.close()


def united(sweeps: Iterable[Sweep]) -> list[Sweep]:
    """Each sweep once, with the marks that any of its copies has."""
    copies: dict[str, list[Sweep]] = defaultdict(list)
    for sweep in sweeps:
        copies[sweep.uid].append(sweep)
    found = []
    for first, *others in copies.values():
        marks = {mark.uid: mark for copy in (first, *others) for mark in copy.marks}
        found.append(dataclasses.replace(first, marks=tuple(marks.values())) if others else first)
    return found
