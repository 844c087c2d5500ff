"""`tunedb kernels`: the kernels that are installed and those that the store has, and whether they are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunedb import registry
from tunedb.cli.command import FleetOption, FormatOption, command
from tunedb.cli.opening import reading
from tunedb.cli.output import Format, print_rows
from tunedb.errors import SettingError

if TYPE_CHECKING:
    from tunedb.core.kernel import RegisteredKernel
    from tunedb.store.sql.upkeep import KernelTotals

_COLUMNS = ("kernel", "installed", "problems", "sweeps", "hash", "last_tuned", "note")
_HASH_DIGITS = 12  # in a table


@command("kernels")
def kernels(fleet: FleetOption = False, format: FormatOption = Format.table) -> None:
    """List the installed kernels and those that the store has, by the hash of their code.

    `installed` is `yes` for the code that is installed, `other` for sweeps of other code of an installed kernel, which
    do not answer its calls, `no` if the kernel is not installed, and `unknown` if its hash can't be computed.
    `problems` counts the tuned problems, and `sweeps` their sweeps. Needs no GPU.
    """
    with reading(fleet=fleet) as store:
        totals = [] if store is None else store.upkeep.kernel_totals()
    names = set(registry.kernel_names())
    rows: list[dict[str, Any]] = []
    for name in sorted({*names, *(one.kernel for one in totals)}):
        rows += _rows_of(name, name in names, [one for one in totals if one.kernel == name])
    if format is Format.table:
        rows = [row | {"hash": row["hash"] and row["hash"][:_HASH_DIGITS]} for row in rows]
    print_rows(rows, format, _COLUMNS)


def _rows_of(name: str, is_installed: bool, totals: list[KernelTotals]) -> list[dict[str, Any]]:
    """Return a row for each hash of a kernel, that of the installed code first."""
    own, note = _hash_of(name) if is_installed else (None, None)
    otherwise = "no" if not is_installed else "unknown" if own is None else "other"
    rows = []
    if is_installed and not any(one.kernel_hash == own for one in totals):
        rows.append(_row(name, "yes", own, None, note))
    for one in sorted(totals, key=lambda one: (one.kernel_hash != own, one.kernel_hash)):
        rows.append(_row(name, "yes" if one.kernel_hash == own else otherwise, one.kernel_hash, one, None))
    return rows


def _row(
    name: str, installed: str, kernel_hash: str | None, totals: KernelTotals | None, note: str | None
) -> dict[str, Any]:
    return {
        "kernel": name,
        "installed": installed,
        "problems": 0 if totals is None else totals.problems,
        "sweeps": 0 if totals is None else totals.sweeps,
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
