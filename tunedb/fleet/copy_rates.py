"""The copy rates of a run's GPUs: measured by the workers, each on a GPU on which no other process sweeps."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tunedb._internal.control import let_pass
from tunedb.errors import StoreError
from tunedb.fleet.gpu_lock import try_gpu
from tunedb.fleet.slots import Slot

if TYPE_CHECKING:
    from tunedb.store import Store

_log = logging.getLogger("tunedb")


class CopyRateRun:
    """The copy rates that the store lacks, or all of them `again`: each device is measured once, by one of its slots.

    A GPU on which another process sweeps is left out: the next run measures it. A failure is logged: what was tuned is
    worth more than what it is compared with. `folder` has the locks of GPUs, by default as in `try_gpu`.
    """

    def __init__(self, store: Store, *, again: bool = False, folder: Path | None = None) -> None:
        self._store = store
        self._again = again
        self._folder = folder
        self._taken: set[str] = set()  # devices by digest
        self._guard = threading.Lock()

    def measure(self, slot: Slot, ask: Callable[[], str | None]) -> None:
        """Have the slot's device measured, unless that is done; `ask` does it, and returns why it failed, or None."""
        device = slot.device
        with self._guard:
            if slot.gpu_name is None or device.digest in self._taken:
                return
            self._taken.add(device.digest)
        try:
            if not self._again and device.digest in self._store.copy_rates.get():
                return
            with try_gpu(slot.gpu_name, self._folder) as is_held:
                fault = ask() if is_held else None
        except StoreError as error:
            let_pass(error)
            is_held, fault = True, str(error)
        if not is_held:
            _log.info("%s is used by another process: the next tunedb warm measures its copy rate.", device.name)
            with self._guard:
                self._taken.discard(device.digest)  # its twin may be free
        elif fault is not None:
            _log.warning("The copy rate of %s was not measured: %s", device.name, fault)
