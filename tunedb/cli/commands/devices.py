"""`tunedb devices`: the devices that something is stored of, and the current one."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tunedb import registry
from tunedb.cli.bundled import all_stored
from tunedb.cli.command import FleetOption, FormatOption, command
from tunedb.cli.opening import reading
from tunedb.cli.output import Format, print_rows
from tunedb.core.device import Device
from tunedb.tuner.answered_misses import missed_counts

_COLUMNS = ("device", "arch", "multiprocessors", "current", "problems", "sweeps", "bundled", "misses", "last_tuned")


@command("devices")
def devices(fleet: FleetOption = False, format: FormatOption = Format.table) -> None:
    """List the devices that have stored sweeps or counts, and the current one.

    - `problems`, `sweeps`, `bundled`: the tuned problems, their sweeps, and the sweeps that only bundles have.
    - `misses`: problems that no sweep answers yet, each counted once per process. With `--fleet` bundles don't count.

    Needs no GPU.
    """
    from tunedb.cli.device import current_device_if_any

    current = current_device_if_any()
    rows: dict[Device, dict[str, Any]] = {}
    with reading(fleet=fleet) as store:
        stored = all_stored(store, bundles=not fleet)  # other hosts may lack those of this one
        bundled = Counter(sweep.device for sweep in stored.bundled())
        if store is not None:
            misses: Counter[Device] = Counter()
            for miss in missed_counts(stored, registry.installed):
                misses[miss.usage.device] += miss.usage.count if miss.is_open else 0
            for totals in store.upkeep.device_totals():
                rows[totals.device] = {
                    **_facts(totals.device, is_current=totals.device == current),
                    "problems": totals.problems,
                    "sweeps": totals.sweeps,
                    "bundled": bundled[totals.device],
                    "misses": misses[totals.device],
                    "last_tuned": totals.last and totals.last.isoformat(),
                }
    for device in (*sorted(bundled, key=str), *([] if current is None else [current])):
        if device not in rows:
            counts = {"problems": 0, "sweeps": 0, "bundled": bundled[device], "misses": 0, "last_tuned": None}
            rows[device] = {**_facts(device, is_current=device == current), **counts}
    print_rows(rows.values(), format, _COLUMNS)


def _facts(device: Device, *, is_current: bool) -> dict[str, Any]:
    return {
        "device": device.name,
        "backend": device.backend,
        "arch": device.arch,
        "multiprocessors": device.multiprocessors,
        "current": is_current,
    }
