"""The view *Problem*: why a problem's config won, from all trials of its sweep."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tunedb._internal.counted import counted
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep, Trial, TrialOutcome
from tunedb.reporting.facts import Facts, is_timed
from tunedb.reporting.labels import config_text, environment_text, knobs_of, knobs_text
from tunedb.store.answers import Answer
from tunedb.sweep.race import MARGIN, TIE

MAX_ERROR = 160  # characters of a failure's reason in the page
MAX_DEFAULTS = 3  # configs that are named where several may be the default
DIGITS = 3  # of a microsecond
NEAR_LIMIT = 2.5  # a limit that the winner is further from is not drawn: the race would be squeezed

# The fields of a trial in the page, in the order of its row. Times are in microseconds.
FIELDS = ("config", "status", "time", "low", "high", "samples", "compile", "registers", "spills", "shared", "note")


def in_order(sweep: Sweep) -> list[Trial]:
    """Return a sweep's trials: the winner, then the fastest first, then those without a time."""
    return sorted(
        sweep.trials,
        key=lambda one: (one.config != sweep.config, not is_timed(one), one.time_us or 0.0, one.config.key, one.uid),
    )


def default_of(sweep: Sweep) -> int | None:
    """Return the place in `in_order` of the default's trial; None if that is unknown."""
    places = _default_places(sweep, in_order(sweep))
    return places[0] if len(places) == 1 else None


def _default_places(sweep: Sweep, trials: Sequence[Trial]) -> list[int]:
    """Return the places of the trials that may be the default's: the winner's, or all others that took its time."""
    if trials and trials[0].config == sweep.config and _is_same(sweep.time_us, sweep.default_time_us):
        return [0]
    return [
        place
        for place, one in enumerate(trials)
        if is_timed(one) and _is_same(one.time_us, sweep.default_time_us)
        if one.outcome != TrialOutcome.DUPLICATE_OF and one.config != sweep.config
    ]


def winning_sentence(sweep: Sweep, limit_us: float | None = None) -> str:
    """Return why the config won, in a sentence or two. `limit_us` is the time of copying the bytes that it moves."""
    trials = in_order(sweep)
    timed = [one for one in trials if is_timed(one)]
    if sweep.config is None or sweep.time_us is None:
        return f"None of {counted(len(trials), 'config')} won: {failures_text(sweep) or 'no trial is stored'}."
    varied = knobs_of(trial.config for trial in trials) if trials else ()
    text = f"{knobs_text(sweep.config, varied)} takes {sweep.time_us:,.2f} µs"
    if sweep.speedup is not None:
        text += _over_default(sweep, sweep.speedup, trials)
    others = [one for one in timed if one.config != sweep.config and one.outcome != TrialOutcome.DUPLICATE_OF]
    if others and sweep.time_us:
        over = (others[0].time_us or 0.0) / sweep.time_us - 1
        text += f"; {_next_best(others[0], sweep, over)}"
    failed = failures_text(sweep)
    tried = "One config was tried" if len(trials) == 1 else f"{len(trials)} configs were tried"
    text = f"{text}. {tried}{f'; without a time: {failed}' if failed else ', all with a time'}."
    if limit_us is not None and sweep.time_us:
        share = limit_us / sweep.time_us
        text += f" A copy of the bytes that it has to move takes {limit_us:,.2f} µs, {share:.0%} of its time."
    return text


def _over_default(sweep: Sweep, speedup: float, trials: Sequence[Trial]) -> str:
    """Return how the winner compares with the default, whose config is named: or those that it may be."""
    if _is_same(sweep.time_us, sweep.default_time_us):
        return " and is the default"
    times = f"{speedup:.2f} times as fast"
    names = [_differing(trials[place], sweep) for place in _default_places(sweep, trials)]
    if len(names) > MAX_DEFAULTS:
        names = [*names[: MAX_DEFAULTS - 1], f"one of {len(names) - MAX_DEFAULTS + 1} others"]
    named = " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return f", {'as fast' if times.startswith('1.00 ') else times} as the default{f' ({named})' if named else ''}"


def _next_best(trial: Trial, sweep: Sweep, over: float) -> str:
    """Return how the next best compares with the winner, and why it did not win if it was faster."""
    name, share = _differing(trial, sweep), f"{abs(over):.1%}"
    is_as_long = share == "0.0%"
    if over > 0:
        near = f", within the {TIE:.0%} that counts as equal" if over <= TIE else ""
        return f"the next best ({name}) takes {'as long' if is_as_long else f'{share} longer{near}'}"
    took = f"{name} {'took as long' if is_as_long else f'was {share} faster'}"
    if _is_same(sweep.time_us, sweep.default_time_us):
        if is_as_long:
            return f"{took}, and the default keeps its place"
        if over >= -MARGIN:
            return f"{took}, within the {MARGIN:.0%} that the default keeps its place by"
        return f"{took}, but not for certain: the default keeps its place"
    if is_as_long:
        return f"{took}, and the first in the search space wins"
    if over < -TIE:  # in one race, no config beats the winner by more
        return f"{took}, but was not timed next to the winner"
    return f"{took}: within {TIE:.0%}, which counts as equal, and the first in the search space wins"


def _is_same(time_us: float | None, other_us: float | None) -> bool:
    """Say whether two times are one: a sweep computes the default's twice, and may round it differently."""
    return time_us is not None and other_us is not None and math.isclose(time_us, other_us, rel_tol=1e-9)


def _differing(trial: Trial, sweep: Sweep) -> str:
    """Return the knobs of a trial that differ from the winner's."""
    knobs = knobs_of([trial.config, sweep.config or trial.config])
    return ", ".join(f"{knob}={trial.config.plain().get(knob, '-')}" for knob in knobs)


def failures_text(sweep: Sweep) -> str:
    """Return how many trials have no time, by status."""
    counts = Counter(str(one.status) for one in sweep.trials if not is_timed(one))
    return ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sorted(counts.items()))


def failures(sweep: Sweep) -> list[tuple[str, str, int, str]]:
    """Return the trials without a time by status and reason: status, reason, how many, and one of their configs."""
    grouped: dict[tuple[str, str], list[Trial]] = {}
    for trial in in_order(sweep):
        if not is_timed(trial):
            grouped.setdefault((str(trial.status), note_text(sweep, trial) or "no reason is stored"), []).append(trial)
    rows = [
        (status, reason, len(trials), config_text(trials[0].config) or "")
        for (status, reason), trials in grouped.items()
    ]
    return sorted(rows, key=lambda row: (-row[2], row))


def note_text(sweep: Sweep, trial: Trial) -> str:
    """Return what a trial's status does not say, on one line."""
    note = " ".join(sweep.note_of(trial).split())
    return note if len(note) <= MAX_ERROR else f"{note[:MAX_ERROR]}…"


def page_data(facts: Facts) -> dict[str, Any]:
    """Return all sweeps that answer, or that failed last, with their trials, as the page's script reads them."""
    labels, devices = facts.labels, facts.devices
    configs: dict[str, int] = {}
    problems = []
    for answer, sweep in shown_sweeps(facts):
        trials = in_order(sweep)
        knobs = knobs_of(trial.config for trial in trials)
        limit = facts.limits_us.get(answer.key)
        is_near = limit is not None and (sweep.time_us or 0.0) <= NEAR_LIMIT * limit
        problems.append(
            {
                "kernel": answer.problem.kernel,
                "label": labels(answer.problem),
                "device": devices[answer.device.digest],
                "state": str(answer.state),
                "uid": sweep.uid[:12],
                "sentence": winning_sentence(sweep, limit),
                "environment": environment_text(sweep.environment),
                "finished": sweep.finished and f"{sweep.finished:%Y-%m-%d %H:%M} UTC",
                "complete": sweep.complete,
                "won": sweep.config is not None,
                "default": _rounded(sweep.default_time_us),
                "default_row": default_of(sweep),
                "limit": _rounded(limit if is_near else None),
                "knobs": knobs,
                "failures": failures(sweep),
                "trials": [_row(sweep, trial, configs) for trial in trials],
            }
        )
    gains = [sweep.speedup or 0.0 for _, sweep in shown_sweeps(facts)]
    first = gains.index(max(gains)) if gains else 0  # what is shown at first: where tuning bought most
    return {
        "first": first,
        "fields": FIELDS,
        "configs": [{name: str(value) for name, value in Config(key).plain().items()} for key in configs],
        "problems": problems,
    }


def shown_sweeps(facts: Facts) -> Iterator[tuple[Answer, Sweep]]:
    """Yield each answer with the sweep that is shown of it: the one that answers, else the newest."""
    for answer in facts.answers:
        if answer.sweep is not None:
            yield answer, answer.sweep
        elif answer.sweeps:
            yield answer, answer.sweeps[-1]


def _row(sweep: Sweep, trial: Trial, configs: dict[str, int]) -> list[Any]:
    return [
        configs.setdefault(trial.config.key, len(configs)),
        str(trial.status),
        _rounded(trial.time_us if is_timed(trial) else None),
        _rounded(trial.p20_us),
        _rounded(trial.p80_us),
        trial.samples,
        _rounded(trial.compile_s),
        trial.registers,
        trial.spills,
        trial.shared_bytes,
        note_text(sweep, trial),
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
