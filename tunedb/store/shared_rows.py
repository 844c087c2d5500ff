"""The rows of a shared store that a process has read: a page of each kernel's newest, and those of single problems."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from tunedb._internal.bounded import make_room
from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import Layer, Sweep
from tunedb.store.remote import RemoteAccess

if TYPE_CHECKING:
    from tunedb.store import Store

PAGE_ROWS = 500  # of a kernel on a device, the newest: reading them takes a tenth of the second that a call waits
MAX_PROBLEMS = 8192  # whose rows are in memory; beyond that the older half is read again

DEVICES_FOR_S = 60.0  # the devices of a kernel are read again after this: as often as the tuner asks for better configs

_T = TypeVar("_T")
_Kernel = tuple[str, str, str]  # kernel, its hash, device digest


@dataclass(frozen=True, slots=True)
class _Page:
    """The newest sweeps of a kernel on a device; all of them if it `is_whole`."""

    is_whole: bool
    sweeps: list[Sweep]
    by_problem: dict[str, list[Sweep]] = field(default_factory=lambda: defaultdict(list))


@dataclass(frozen=True, slots=True)
class _Read:
    """The sweeps of one problem, and the refresh for which they were read, if there was one."""

    refresh: object
    sweeps: list[Sweep]


class SharedRows:
    """The rows that were read. A kernel with few is read as a whole, of others each problem that is asked for.

    `is_usable` says whether the store may be asked; one that is not asked, or gives no answer, has nothing.
    """

    def __init__(
        self,
        reader: RemoteAccess,
        is_usable: Callable[[], bool],
        load: Callable[[], None],
        deadline: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._is_usable = is_usable
        self._load = load
        self._deadline = deadline
        self._pages: dict[_Kernel, _Page] = {}
        self._problems: dict[tuple[_Kernel, str], _Read] = {}
        self._refreshes: dict[tuple[_Kernel, str], object] = {}  # the last one of each: a new object
        self._devices: dict[str, list[Device]] = {}  # by kernel hash
        self._devices_read: dict[str, float] = {}  # when; one that is missing here is read again
        self._monotonic = monotonic

    def of_problem(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the finished sweeps of that identity."""
        kernel = (problem.kernel, kernel_hash, device.digest)
        key = (kernel, problem.key)
        refresh, known = self._refreshes.get(key), self._problems.get(key)
        if known is not None and (refresh is None or known.refresh is refresh):
            return known.sweeps
        if refresh is None:
            page = self._page(kernel, device)
            if page is None:
                return []
            if page.is_whole:
                return page.by_problem.get(problem.key, [])

        def read(store: Store) -> list[Sweep]:
            # On the one thread that reads, so that what was read last is kept. A refresh that comes meanwhile counts:
            # these rows may be older than what it is for.
            answers = self._refreshes.get(key)
            rows = _facts(store.get_sweeps(problem, device, kernel_hash))
            make_room(self._problems, MAX_PROBLEMS)
            self._problems[key] = _Read(answers, rows)
            return rows

        rows = self.ask(read)
        if rows is not None:
            return rows
        if known is not None:  # better some rows than none
            return known.sweeps
        page = self._pages.get(kernel)
        return [] if page is None else page.by_problem.get(problem.key, [])

    def of_kernel(self, kernel: str, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the newest sweeps of a kernel on a device, and those of its problems that were asked for since."""
        key = (kernel, kernel_hash, device.digest)
        page = self._page(key, device)
        asked = [sweep for (of, _), read in list(self._problems.items()) if of == key for sweep in read.sweeps]
        by_uid = {sweep.uid: sweep for sweep in (*([] if page is None else page.sweeps), *asked)}
        return list(by_uid.values())

    def devices(self, kernel_hash: str) -> list[Device]:
        """Return the devices that tuned sweeps of a kernel are of."""
        known = self._devices.get(kernel_hash)
        moment = self._monotonic()
        if known is not None and moment - self._devices_read.get(kernel_hash, -math.inf) < DEVICES_FOR_S:
            return known
        devices = self.ask(lambda store: store.get_devices(kernel_hash))
        if devices is None:
            return known or []  # better some than none
        for held in (self._devices, self._devices_read):
            make_room(held, MAX_PROBLEMS)
        self._devices[kernel_hash], self._devices_read[kernel_hash] = devices, moment
        return devices

    def refresh(self, problem: Problem, device: Device, kernel_hash: str) -> None:
        """Read the rows of that identity, and the devices of its kernel, again when they are next asked for."""
        self._devices_read.pop(kernel_hash, None)
        make_room(self._refreshes, MAX_PROBLEMS)
        self._refreshes[(problem.kernel, kernel_hash, device.digest), problem.key] = object()

    def _page(self, key: _Kernel, device: Device) -> _Page | None:
        page = self._pages.get(key)
        if page is None:
            answer = self.ask(lambda store: store.get_newest(key[0], device, key[1], PAGE_ROWS))
            if answer is None:
                return None
            rows, is_whole = answer
            page = _Page(is_whole, _facts(rows))
            for sweep in page.sweeps:
                page.by_problem[sweep.problem.key].append(sweep)
            self._pages[key] = page
        return page

    def ask(self, work: Callable[[Store], _T]) -> _T | None:
        """Return what a read returns; None if the store does not answer in time, or is left alone."""
        if not self._is_usable():
            return None
        self._load()
        return self._reader.ask(work, self._deadline, self._is_usable)


def _facts(sweeps: list[Sweep]) -> list[Sweep]:
    """Return those that are facts for other machines: another version of tunedb may have sent others."""
    return [dataclasses.replace(sweep, layer=Layer.SHARED) for sweep in sweeps if sweep.leaves_its_store]
