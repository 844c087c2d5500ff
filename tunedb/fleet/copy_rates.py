"""Measures the copy rates of this host's GPUs for a store, each while no other process sweeps on it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tunedb._internal.control import let_pass
from tunedb.core.device import Device
from tunedb.fleet.gpu_lock import try_gpu
from tunedb.fleet.slots import Slot

if TYPE_CHECKING:
    from tunedb.store import Store

_log = logging.getLogger("tunedb")


def measure_copy_rates(
    store: Store,
    slots: Iterable[Slot],
    *,
    again: bool = False,
    measure: Callable[[int], float] | None = None,
    folder: Path | None = None,
) -> list[Device]:
    """Measure the devices of these slots that have no rate in the store, or all of them `again`; return the measured.

    A GPU on which another process sweeps is left out: the next run measures it. A failure is logged: what was tuned is
    worth more than what it is compared with. `folder` has the locks of GPUs, by default as in `try_gpu`.
    """
    measured: list[Device] = []
    for slot in slots:
        if slot.gpu_name is None or slot.here is None or slot.device in measured:
            continue
        name = slot.device.name
        try:
            if not again and slot.device.digest in store.copy_rates.get():
                continue
            with try_gpu(slot.gpu_name, folder) as is_held:
                if not is_held:
                    _log.info("%s is used by another process: the next tunedb warm measures its copy rate.", name)
                    continue
                _keep(store, slot.device, (measure or _measured_rate)(slot.here))
            measured.append(slot.device)
        except Exception as error:  # torch, the driver and the store each raise errors of their own
            let_pass(error)
            _log.warning("The copy rate of %s was not measured: %s", name, str(error))
    return measured


def _measured_rate(index: int) -> float:
    from tunedb.runtime.copying import measured_rate  # loads torch

    return measured_rate(index)


def _keep(store: Store, device: Device, bytes_per_s: float) -> None:
    from tunedb.store.sql.copy_rates import CopyRate

    store.copy_rates.put(device, CopyRate(bytes_per_s))
