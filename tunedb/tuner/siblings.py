"""Sibling devices: winners of other GPUs of the same backend are hints by themselves, nearest architecture first."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from enum import IntEnum
from operator import itemgetter
from typing import NamedTuple

from tunedb._internal.bounded import make_room
from tunedb.core.device import Device, Environment
from tunedb.core.hint import Hint
from tunedb.core.known_devices import device_label
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep, now
from tunedb.core.task import TuningTask
from tunedb.store.interface import SweepStore
from tunedb.store.ranking import winners
from tunedb.tuner.borrowing import Borrowing
from tunedb.tuner.choice_cache import ASK_AGAIN_AFTER_S, ChoiceCache
from tunedb.tuner.nearest import MAX_DISTANCE, distance

TOOL = "sibling"  # what found such a hint
MAX_DEVICES = 4  # the nearest, whose sweeps are read: one query each
MAX_SWEEPS = (
    250  # of each of them, the newest, among which near problems are sought: as many in all as of one's own device
)
MAX_ASKED = 8192  # problems of siblings whose time of asking is known; beyond that the older half is asked again

_ARCH = re.compile(r"(sm_|gfx)([0-9]+[0-9a-f]?)[a-z]*")
_MINOR_DIGITS = {"sm_": 1, "gfx": 2}  # sm_90 is 9.0; gfx942 is 9.4.2


class Nearness(IntEnum):
    """How near two devices of one backend are."""

    ARCH = 0  # the same architecture, such as H100 and H200
    MAJOR = 1  # the same major version of it, such as L4 and A100
    BACKEND = 2  # the same backend only


# Of devices, and of problems: only the very same problem's winner of the same architecture serves. Others race early in
# a sweep. One pair was measured, an H100 and an H200, both with 132 multiprocessors: it takes 1.00 and 1.01 times as
# long as the own winner, at worst 1.22, the default 1.04 and 1.05. On other pairs of one architecture it serves by
# judgement. A near problem's helps with softmax and layer norm, but costs matrix products more than the default does,
# and poolings gain nothing (`python -m benchmarks.siblings`). Farther devices were not measured.
SERVES_WITHIN = Nearness.ARCH
SERVES_DISTANCE = 0.0


class _Sibling(NamedTuple):
    """A device of the same backend, and how near it is."""

    nearness: Nearness
    device: Device


class _Known(NamedTuple):
    """A winner of a sibling."""

    sibling: _Sibling
    sweep: Sweep
    config: Config


def nearness(device: Device, other: Device) -> Nearness | None:
    """Return how near another device is; None if its configs mean nothing here, or if it is the same device."""
    if device == other or device.backend != other.backend:
        return None
    if device.arch == other.arch:
        return Nearness.ARCH
    major = _major(device.arch)
    return Nearness.MAJOR if major is not None and major == _major(other.arch) else Nearness.BACKEND


def by_nearness(device: Device, others: list[Device]) -> list[_Sibling]:
    """Return the siblings of a device, the nearest first: by architecture, then by their multiprocessors."""

    def order(sibling: _Sibling) -> tuple[int, int, float, str]:
        near, other = sibling
        majors = _major(device.arch), _major(other.arch)
        apart = 0 if None in majors else abs(majors[0] - majors[1])  # type: ignore[operator]  # neither is None
        return near, apart, abs(math.log2(device.multiprocessors / other.multiprocessors)), other.key

    found = ((nearness(device, other), other) for other in dict.fromkeys(others))
    return sorted((_Sibling(near, other) for near, other in found if near is not None), key=order)


def _major(arch: str) -> int | None:
    match = _ARCH.fullmatch(arch)
    digits = match[2][: -_MINOR_DIGITS[match[1]]] if match else ""
    return int(digits) if digits.isdecimal() else None


class Siblings(Borrowing):
    """The winners of a task's kernel on sibling devices.

    A call asks for the very same problem's only; a sweep, which takes seconds, also for those of near problems, which
    are read once in a while. `within` and `max_distance` say how far away a device and a problem may be whose winner
    serves a call.
    """

    what = "winners of other devices"

    def __init__(
        self,
        store: SweepStore,
        cache: ChoiceCache,
        environment_of: Callable[[TuningTask], Environment | None],
        monotonic: Callable[[], float],
        *,
        within: Nearness = SERVES_WITHIN,
        max_distance: float = SERVES_DISTANCE,
    ) -> None:
        super().__init__(store, cache, environment_of, monotonic)
        self._within = within
        self._max_distance = max_distance
        self._devices: dict[tuple[str, str], tuple[float, list[_Sibling]]] = {}  # with the time of reading
        self._asked: dict[tuple[Problem, str, str], float] = {}
        self._recent: dict[tuple[str, str, str], tuple[float, list[_Known]]] = {}

    def _nearest_first(self, task: TuningTask, *, serves: bool) -> Iterator[tuple[Hint, Config]]:
        """Yield the winners of the very same problem by device; then those of near problems, by device and distance."""
        max_distance, within = (self._max_distance, self._within) if serves else (MAX_DISTANCE, Nearness.BACKEND)
        siblings = [sibling for sibling in self._siblings(task) if sibling.nearness <= within]
        known = [
            winner for sibling in siblings for winner in self._winners(task, sibling, self._sweeps_of(task, sibling))
        ]
        if max_distance > 0:
            places = {sibling.device: place for place, sibling in enumerate(siblings)}
            near = [
                (places[other.sibling.device], far, other)
                for other in self._of_kernel(task)
                if other.sibling.device in places
                and (far := distance(task.problem, other.sweep.problem)) is not None
                and 0 < far <= max_distance
                and task.kernel.is_alike(task.problem, other.sweep.problem)  # a kernel only gets its own facts
            ]
            known += [other for *_, other in sorted(near, key=itemgetter(0, 1))]
        if known:
            space = set(task.kernel.space(task.problem, task.device))
            yield from ((_hint(one.sweep, one.config), one.config) for one in known if one.config in space)

    def _sweeps_of(self, task: TuningTask, sibling: _Sibling) -> list[Sweep]:
        """Return a sibling's sweeps of the task's problem, which a shared store is asked for again after a while."""
        problem, device, kernel_hash = task.problem, sibling.device, task.kernel.hash
        key, moment = (problem, device.digest, kernel_hash), self._monotonic()
        asked_at = self._asked.get(key)
        if asked_at is not None and moment - asked_at >= ASK_AGAIN_AFTER_S:
            self._store.refresh(problem, device, kernel_hash)
        if asked_at is None or moment - asked_at >= ASK_AGAIN_AFTER_S:
            make_room(self._asked, MAX_ASKED)
            self._asked[key] = moment
        return self._store.get_sweeps(problem, device, kernel_hash)

    def _siblings(self, task: TuningTask) -> list[_Sibling]:
        key = task.kernel.hash, task.device.digest
        read_at, found = self._devices.get(key, (float("-inf"), []))
        if self._monotonic() - read_at >= ASK_AGAIN_AFTER_S:
            found = by_nearness(task.device, self._store.get_devices(task.kernel.hash))[:MAX_DEVICES]
            self._devices[key] = self._monotonic(), found
        return found

    def _of_kernel(self, task: TuningTask) -> list[_Known]:
        key = task.kernel.name, task.kernel.hash, task.device.digest
        read_at, known = self._recent.get(key, (float("-inf"), []))
        if self._monotonic() - read_at >= ASK_AGAIN_AFTER_S:
            known = []
            for sibling in self._siblings(task):
                newest = self._store.get_kernel_sweeps(key[0], sibling.device, key[1], MAX_SWEEPS)
                known += self._winners(task, sibling, newest)
            self._recent[key] = self._monotonic(), known
        return known

    def _winners(self, task: TuningTask, sibling: _Sibling, sweeps: list[Sweep]) -> list[_Known]:
        best = winners(sweeps, self._environment_of(task), now())
        return [_Known(sibling, sweep, sweep.config) for sweep, _ in best if sweep.config is not None]


def _hint(sweep: Sweep, config: Config) -> Hint:
    place = f"a sweep on {sweep.device.name} ({sweep.uid[:12]})"
    return Hint(sweep.problem, device_label(sweep.device.name), config, TOOL, place)
