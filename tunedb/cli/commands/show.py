"""`tunedb show`: one sweep with its trials."""

from __future__ import annotations

from typing import Any

from tunedb.cli.bundled import all_stored, find_sweep
from tunedb.cli.command import FormatOption, UidArgument, command, is_verbose
from tunedb.cli.limits import Limits
from tunedb.cli.opening import reading, state_row, trial_row
from tunedb.cli.output import Format, print_record, print_table, say_answer
from tunedb.cli.states import States
from tunedb.core.sweep import Sweep, Trial, TrialOutcome, TrialStatus
from tunedb.sweep.race import TIE

_COLUMNS = ("config", "status", "time_us", "p20_us", "p80_us", "samples", "registers", "spills")
BAR_WIDTH = 24  # characters for the slowest trial
MAX_ERROR = 200  # characters of an error in a table; JSON has all of it


@command("show")
def show(uid: UidArgument, format: FormatOption = Format.table) -> None:
    """Show one sweep and the time of each of its configs, the winner first.

    Bars show the times. With -v: why each config lost.
    """
    with reading(announced=False) as store:
        sweep = find_sweep(store, uid)
        state = States().of_one(sweep, all_stored(store).get_problem_sweeps(sweep.problem))
        limits = Limits(store).record(sweep)
    trials = sorted(
        sweep.trials,
        key=lambda trial: (trial.config != sweep.config, trial.time_us is None, trial.time_us or 0.0, trial.config.key),
    )
    record: dict[str, Any] = {
        **state_row(state),
        "kernel_hash": sweep.kernel_hash,
        "environment": {name: getattr(sweep.environment, name) for name in sweep.environment.__slots__},
        "started": sweep.started.isoformat(),
        "expires": sweep.expires and sweep.expires.isoformat(),
        "counts": dict(sweep.counts),
        **limits,
    }
    rows = [trial_row(trial, sweep) for trial in trials]
    if format is not Format.table:
        print_record({**record, "trials": rows}, format)
        return
    print_record(record | {"marks": [f"{mark.kind}: {mark.reason}" for mark in sweep.marks] or None}, format)
    slowest = max((trial.time_us or 0.0 for trial in trials), default=0.0)
    lines = []
    for row, trial in zip(rows, trials, strict=True):
        bar, error = _bar(trial.time_us, slowest), sweep.note_of(trial)[:MAX_ERROR]
        remarks = (bar, why_lost(trial, sweep)[:MAX_ERROR] if is_verbose() else error or None)
        lines.append([*(row[name] for name in _COLUMNS), *remarks])
    say_answer()
    print_table((*_COLUMNS, "", "why" if is_verbose() else "error"), lines)


def why_lost(trial: Trial, sweep: Sweep) -> str:
    """Return why a trial's config is not the sweep's, in words; for the winner, what it won by."""
    note = sweep.note_of(trial)
    if trial.status != TrialStatus.OK or trial.time_us is None:
        return f"{trial.status}: {note}" if note else trial.status
    if trial.outcome == TrialOutcome.DUPLICATE_OF:
        return note
    reasons = [note] if note else []
    if sweep.config is None:
        reasons.append("the sweep has no winner")
    elif trial.config == sweep.config:
        reasons.append(f"won; {sweep.speedup:.3f} times as fast as the default" if sweep.speedup else "won")
    else:
        over = trial.time_us / sweep.time_us - 1 if sweep.time_us else 0.0
        if over > 0:
            reasons.append(f"{'slower' if over > TIE else 'a near-tie'}: {over:.1%} over the winner")
        else:
            reasons.append(f"{abs(over):.1%} under the winner: within the margin, or measured before the race")
    return "; ".join(reasons)


def _bar(time_us: float | None, slowest: float) -> str:
    return "#" * max(1, round(BAR_WIDTH * (time_us / slowest))) if time_us else ""
