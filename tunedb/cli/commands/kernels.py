"""`tunedb kernels`: the kernels that are installed and those that the store has, and whether they are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tunedb import registry
from tunedb.cli.bundled import all_stored
from tunedb.cli.command import FleetOption, FormatOption, command
from tunedb.cli.opening import reading
from tunedb.cli.output import Format, print_rows
from tunedb.errors import SettingError

if TYPE_CHECKING:
    from tunedb.core.kernel import RegisteredKernel
    from tunedb.store.sql.upkeep import KernelTotals

_COLUMNS = ("kernel", "installed", "problems", "sweeps", "bundled", "hash", "last_tuned", "note")
_HASH_DIGITS = 12  # in a table


@command("kernels")
def kernels(fleet: FleetOption = False, format: FormatOption = Format.table) -> None:
    """List the installed kernels and the stored ones, by the hash of their code.

    - `installed`: `yes` for the code that is installed; `other` for other code of an installed kernel, whose sweeps do
      not answer its calls; `no` if the kernel is not installed; `unknown` if its hash can't be computed.
    - `problems`, `sweeps`, `bundled`: the tuned problems, their sweeps, and the sweeps that only bundles have.

    Needs no GPU.
    """
    with reading(fleet=fleet) as store:
        stored = [] if store is None else store.upkeep.kernel_totals()
        bundled = Counter(
            (sweep.problem.kernel, sweep.kernel_hash) for sweep in all_stored(store, bundles=not fleet).bundled()
        )
    totals = {(one.kernel, one.kernel_hash): one for one in stored}
    installed = set(registry.kernel_names())
    rows: list[dict[str, Any]] = []
    for name in sorted({*installed, *(kernel for kernel, _ in (*totals, *bundled))}):
        rows += _rows_of(name, name in installed, totals, bundled)
    if format is Format.table:
        rows = [row | {"hash": row["hash"] and row["hash"][:_HASH_DIGITS]} for row in rows]
    print_rows(rows, format, _COLUMNS)


def _rows_of(
    name: str,
    is_installed: bool,
    totals: Mapping[tuple[str, str], KernelTotals],
    bundled: Mapping[tuple[str, str], int],
) -> list[dict[str, Any]]:
    """Return a row for each hash of a kernel, that of the installed code first."""
    own, note = _hash_of(name) if is_installed else (None, None)
    otherwise = "no" if not is_installed else "unknown" if own is None else "other"
    hashes = {kernel_hash for kernel, kernel_hash in (*totals, *bundled) if kernel == name}
    rows = []
    if is_installed and own not in hashes:
        rows.append(_row(name, "yes", own, None, 0, note))
    for one in sorted(hashes, key=lambda one: (one != own, one)):
        key = name, one
        rows.append(_row(name, "yes" if one == own else otherwise, one, totals.get(key), bundled.get(key, 0), None))
    return rows


def _row(
    name: str, installed: str, kernel_hash: str | None, totals: KernelTotals | None, bundled: int, note: str | None
) -> dict[str, Any]:
    return {
        "kernel": name,
        "installed": installed,
        "problems": 0 if totals is None else totals.problems,
        "sweeps": 0 if totals is None else totals.sweeps,
        "bundled": bundled,
        "hash": kernel_hash,
        "last_tuned": None if totals is None else totals.last.isoformat(),
        "note": note,
    }


def _hash_of(name: str) -> tuple[str | None, str | None]:
    """Return the hash of an installed kernel, or None and why it has none."""
    from tunedb.tuner.unhashed import fault_of

    try:
        kernel: RegisteredKernel = registry.kernel_named(name)
    except (ImportError, SettingError) as error:
        return None, f"can't be loaded: {error}"
    fault = fault_of(kernel)
    return (kernel.hash, None) if fault is None else (None, f"has no hash: {fault}")
