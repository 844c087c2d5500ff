"""Sibling devices: winners of other GPUs of the same backend are hints by themselves, nearest architecture first."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple

from tunedb._internal.control import let_pass
from tunedb.core.device import Device, Environment
from tunedb.core.hint import Hint
from tunedb.core.known_devices import device_label
from tunedb.core.problem import Config
from tunedb.core.sweep import Source, Sweep, now
from tunedb.core.task import Choice, TuningTask
from tunedb.store.interface import SweepStore
from tunedb.store.ranking import winners
from tunedb.tuner.choice_cache import ASK_AGAIN_AFTER_S, ChoiceCache
from tunedb.tuner.nearest import MAX_DISTANCE, MAX_SWEEPS, distance

TOOL = "sibling"  # what found such a hint
MAX_DEVICES = 4  # the nearest, whose sweeps are read: one query each
MAX_LIKELY = 3  # configs of siblings that a sweep tries first: as many as of near problems

_ARCH = re.compile(r"(sm_|gfx)([0-9]+[0-9a-f]?)[a-z]*")
_MINOR_DIGITS = {"sm_": 1, "gfx": 2}  # sm_90 is 9.0; gfx942 is 9.4.2
_log = logging.getLogger("tunedb")


class Nearness(IntEnum):
    """How near two devices of one backend are."""

    ARCH = 0  # the same architecture, such as H100 and H200
    MAJOR = 1  # the same major version of it, such as L4 and A100
    BACKEND = 2  # the same backend only


# By judgement: winners of farther devices race early in a sweep, but serve no call. `python -m benchmarks.siblings`
# measures what they cost.
SERVES_WITHIN = Nearness.ARCH
SERVES_DISTANCE = 0.0  # of the problems: only the very same problem's winner serves


class _Known(NamedTuple):
    """A winner of a sibling, with the place of its device among the siblings."""

    nearness: Nearness
    place: int
    sweep: Sweep


def nearness(device: Device, other: Device) -> Nearness | None:
    """Return how near another device is; None if its configs mean nothing here, or if it is the same device."""
    if device == other or device.backend != other.backend:
        return None
    if device.arch == other.arch:
        return Nearness.ARCH
    major = _major(device.arch)
    return Nearness.MAJOR if major is not None and major == _major(other.arch) else Nearness.BACKEND


def by_nearness(device: Device, others: list[Device]) -> list[tuple[Nearness, Device]]:
    """Return the siblings of a device, the nearest first: by architecture, then by their multiprocessors."""

    def order(sibling: tuple[Nearness, Device]) -> tuple[int, int, float, str]:
        near, other = sibling
        majors = _major(device.arch), _major(other.arch)
        apart = 0 if None in majors else abs(majors[0] - majors[1])  # type: ignore[operator]  # neither is None
        return near, apart, abs(math.log2(device.multiprocessors / other.multiprocessors)), other.key

    found = ((nearness(device, other), other) for other in dict.fromkeys(others))
    return sorted(((near, other) for near, other in found if near is not None), key=order)


def _major(arch: str) -> int | None:
    match = _ARCH.fullmatch(arch)
    digits = match[2][: -_MINOR_DIGITS[match[1]]] if match else ""
    return int(digits) if digits.isdecimal() else None


class Siblings:
    """The winners of a task's kernel on sibling devices. They are read once in a while, not for each miss.

    `within` and `max_distance` say how far away a device and a problem may be whose winner serves a call.
    """

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
        self._store = store
        self._cache = cache
        self._environment_of = environment_of
        self._monotonic = monotonic
        self._within = within
        self._max_distance = max_distance
        self._recent: dict[tuple[str, str, str], tuple[float, list[_Known]]] = {}  # with the time of reading

    def choice(self, task: TuningTask) -> Choice | None:
        """Return the config of the nearest sibling near enough to serve, if it is legal and was not wrong here."""
        environment, wrong = self._environment_of(task), None
        for known, far in self._usable(task):
            config = known.sweep.config
            if config is None or known.nearness > self._within or far > self._max_distance:
                continue
            if wrong is None:
                wrong = () if environment is None else self._store.get_wrong_configs(
                    task.problem, task.device, task.kernel.hash, environment
                )  # fmt: skip
            if config not in wrong and not self._cache.is_rejected(task, config):
                return Choice(config, Source.HINT, hint=_hint(known.sweep, config))
        return None

    def likely_configs(self, task: TuningTask) -> list[Config]:
        """Return the configs of the nearest siblings that are in the space, each once: a sweep tries them early."""
        configs = (known.sweep.config for known, _ in self._usable(task))
        return list(dict.fromkeys(config for config in configs if config is not None))[:MAX_LIKELY]

    def _usable(self, task: TuningTask) -> list[tuple[_Known, float]]:
        try:
            return list(self._nearest_first(task))
        # The kernel's own code may fail on facts of older rows: that is not the caller's doing.
        except Exception as error:
            let_pass(error)
            _log.warning(
                "%s: winners of other devices can't be used (%s: %s).",
                task.kernel.name, type(error).__name__, str(error),
            )  # fmt: skip
            return []

    def _nearest_first(self, task: TuningTask) -> Iterator[tuple[_Known, float]]:
        """Yield winners with the distance of their problem: those of the very same problem first, by device.

        Then those of near problems, by device and distance.
        """
        near = []
        for known in self._of_kernel(task):
            far = distance(task.problem, known.sweep.problem)
            if far is not None and far <= MAX_DISTANCE:
                near.append((known, far))
        if not near:
            return
        space = set(task.kernel.space(task.problem, task.device))
        for known, far in sorted(near, key=lambda pair: (pair[1] > 0, pair[0].place, pair[1])):
            if known.sweep.config in space and (
                far == 0 or task.kernel.is_alike(task.problem, known.sweep.problem)
            ):  # checked last: a kernel only gets problems with its own facts
                yield known, far

    def _of_kernel(self, task: TuningTask) -> list[_Known]:
        name, kernel_hash = task.kernel.name, task.kernel.hash
        key = name, kernel_hash, task.device.digest
        read_at, winning = self._recent.get(key, (float("-inf"), []))
        if self._monotonic() - read_at >= ASK_AGAIN_AFTER_S:
            devices = by_nearness(task.device, self._store.get_devices(kernel_hash))[:MAX_DEVICES]
            environment, moment = self._environment_of(task), now()
            winning = [
                _Known(near, place, sweep)
                for place, (near, device) in enumerate(devices)
                for sweep, _ in winners(
                    self._store.get_kernel_sweeps(name, device, kernel_hash, MAX_SWEEPS), environment, moment
                )
            ]
            self._recent[key] = self._monotonic(), winning
        return winning


def _hint(sweep: Sweep, config: Config) -> Hint:
    place = f"a sweep on {sweep.device.name} ({sweep.uid[:12]})"
    return Hint(sweep.problem, device_label(sweep.device.name), config, TOOL, place)
