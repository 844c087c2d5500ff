"""`tunedb devices`: the devices that the store knows, and the current one."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tunedb.cli.command import FleetOption, FormatOption, command
from tunedb.cli.opening import reading
from tunedb.cli.output import Format, print_rows
from tunedb.core.device import Device
from tunedb.core.sweep import MISSES

_COLUMNS = ("device", "arch", "multiprocessors", "current", "problems", "sweeps", "misses", "last_tuned")


@command("devices")
def devices(fleet: FleetOption = False, format: FormatOption = Format.table) -> None:
    """List the devices that the store has sweeps or counts of, and the current one.

    `problems` counts the tuned problems, and `sweeps` their sweeps. `misses` counts problems that no sweep
    answers yet, each once per process. Needs no GPU.
    """
    from tunedb.cli.device import current_device_if_any

    current = current_device_if_any()
    rows: dict[Device, dict[str, Any]] = {}
    with reading(fleet=fleet) as store:
        if store is not None:
            misses: Counter[Device] = Counter()
            for usage in store.usage.get(MISSES):
                misses[usage.device] += usage.count
            for totals in store.upkeep.device_totals():
                rows[totals.device] = {
                    **_facts(totals.device, is_current=totals.device == current),
                    "problems": totals.problems,
                    "sweeps": totals.sweeps,
                    "misses": misses[totals.device],
                    "last_tuned": totals.last and totals.last.isoformat(),
                }
    if current is not None and current not in rows:
        nothing = {"problems": 0, "sweeps": 0, "misses": 0, "last_tuned": None}
        rows[current] = {**_facts(current, is_current=True), **nothing}
    print_rows(rows.values(), format, _COLUMNS)


def _facts(device: Device, *, is_current: bool) -> dict[str, Any]:
    return {
        "device": device.name,
        "backend": device.backend,
        "arch": device.arch,
        "multiprocessors": device.multiprocessors,
        "current": is_current,
    }
