"""Stored sweeps and reports for notebooks and programs: `tunedb.sweeps` and `tunedb.report`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tunedb import settings
from tunedb._internal.counted import counted
from tunedb.core.notebook import html_table
from tunedb.core.sweep import Sweep
from tunedb.reporting.document import Report, make_report, make_report_of_places
from tunedb.reporting.facts import read_sweeps
from tunedb.reporting.sides import Kind, common_kind
from tunedb.store.stored import Stored, stored_with
from tunedb.tuner.stored_device import devices_named

MAX_ROWS = 60  # of sweeps that a notebook shows: a frame has them all


class Sweeps(tuple[Sweep, ...]):
    """Stored sweeps, as `tunedb.sweeps` returns them: a tuple that notebooks show as a table."""

    __slots__ = ()

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat row for each sweep: `pandas.DataFrame(sweeps.rows())`.

        The facts of the problem are columns such as `problem.rows`, the knobs of the winner such as `config.BLOCK`.
        """
        return [
            {
                "uid": sweep.uid,
                "kernel": sweep.problem.kernel,
                "device": sweep.device.name,
                "status": str(sweep.status),
                "time_us": sweep.time_us,
                "default_time_us": sweep.default_time_us,
                "speedup": sweep.speedup,
                "complete": sweep.complete,
                "pinned": sweep.is_pinned,
                "quarantined": sweep.is_quarantined,
                "layer": str(sweep.layer),
                "trials": sum(sweep.counts.values()),
                "finished": sweep.finished,
                **{f"environment.{name}": getattr(sweep.environment, name) for name in sweep.environment.__slots__},
                **{f"problem.{name}": value for name, value in sweep.problem.plain().items()},
                **{f"config.{name}": value for name, value in (sweep.config or {}).items()},
            }
            for sweep in self
        ]

    def trial_rows(self) -> list[dict[str, Any]]:
        """Return a flat row for each trial of each sweep: `pandas.DataFrame(sweeps.trial_rows())`."""
        return [
            {
                "sweep": sweep.uid,
                "kernel": sweep.problem.kernel,
                "device": sweep.device.name,
                "status": str(trial.status),
                "is_winner": trial.config == sweep.config,
                "time_us": trial.time_us,
                "p20_us": trial.p20_us,
                "p80_us": trial.p80_us,
                "samples": trial.samples,
                "compile_s": trial.compile_s,
                "registers": trial.registers,
                "spills": trial.spills,
                "shared_bytes": trial.shared_bytes,
                "note": sweep.note_of(trial) or None,
                **{f"problem.{name}": value for name, value in sweep.problem.plain().items()},
                **{f"config.{name}": value for name, value in trial.config.plain().items()},
            }
            for sweep in self
            for trial in sweep.trials
        ]

    def __repr__(self) -> str:
        lines = "".join(f"\n  {sweep!r}" for sweep in self[:MAX_ROWS])
        more = f"\n  and {len(self) - MAX_ROWS} more" if len(self) > MAX_ROWS else ""
        return f"{counted(len(self), 'sweep')}{':' if self else ''}{lines}{more}"

    def _repr_html_(self) -> str:
        """Return a table of the sweeps, for notebooks."""
        rows = [
            (sweep.uid[:12], sweep.problem.kernel, sweep.problem, sweep.device.name, sweep.status, sweep.config,
             sweep.time_us, sweep.default_time_us, sweep.speedup)
            for sweep in self[:MAX_ROWS]
        ]  # fmt: skip
        columns = ("uid", "kernel", "problem", "device", "status", "config", "time (µs)", "default (µs)", "speed-up")
        more = f"<p>And {len(self) - MAX_ROWS} more.</p>" if len(self) > MAX_ROWS else ""
        return html_table(columns, rows) + more


def sweeps(kernel: str | Sequence[str] | None = None, device: str | None = None) -> Sweeps:
    """Return the finished sweeps of the local store and of bundles with their trials, of some kernels on a device.

    `device` is the name of a stored one, or a part of it that fits no other. Empty if nothing is stored. Raises
    SettingError for a name that fits several devices, and StoreError if the store can't be read.
    """
    with _stored() as stored:
        wanted = None if device is None else devices_named(stored.upkeep.devices(), device)
        return Sweeps(read_sweeps(stored, _names(kernel), wanted))


def report(
    kernel: str | Sequence[str] | None = None,
    device: str | None = None,
    *,
    compare: tuple[str, str] | None = None,
) -> Report:
    """Return a report of the local store and of bundles, as `tunedb report` writes it: a notebook shows its page.

    `compare` names two stored devices or two environments, such as `("triton=3.6.0", "triton=3.8.0")`; or two stores
    (paths or URLs), bundles or exported files, which the report is then of, in place of the local store. Raises as
    `tunedb.sweeps` does, and SettingError for a kernel or a device that nothing stored has.
    """
    if compare is not None and common_kind(*compare) is Kind.STORE:
        return make_report_of_places(compare, _names(kernel), device)
    with _stored() as stored:
        return make_report(stored, _names(kernel), device, compare)


@contextlib.contextmanager
def _stored() -> Iterator[Stored]:
    """Open the local store as it is, if there is one, with all that this process has tuned, and the bundles."""
    from tunedb.store import open_store

    tuning = sys.modules.get("tunedb.tuner.session")  # loads torch, and is loaded where something was tuned
    if tuning is not None:
        tuning.flush()
    store = open_store(settings.current().store, migrate=False, create=False)
    with store or contextlib.nullcontext():
        yield stored_with(store, settings.current().bundles)


def _names(kernel: str | Iterable[str] | None) -> tuple[str, ...]:
    if kernel is None:
        return ()
    return (kernel,) if isinstance(kernel, str) else tuple(kernel)
