"""The view *Summary*: how much tuning bought."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunedb._internal.counted import counted
from tunedb.reporting.facts import Facts, geometric_mean, is_timed, speedups
from tunedb.reporting.labels import config_text
from tunedb.reporting.parts import Column, Figure, Kind, Spec, Table, View
from tunedb.store.answers import Answer, AnswerState, PairKey

MAX_COLOURS = 8  # of the palette
MAX_NAMED = 4  # kernels in the sentence about the copy rate


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """The figures of a kernel on a device."""

    kernel: str
    device: str
    states: Counter[str]
    mean: float | None  # geometric mean of the speed-ups
    median: float | None
    best: float | None
    total_speedup: float | None  # the defaults' times over the winners', each added up
    share: float | None  # median of the shares of the device's copy rate
    missed_calls: int
    trials: int
    failed_trials: int

    @property
    def answered(self) -> int:
        """How many problems a sweep answers."""
        return self.states[AnswerState.TUNED] + self.states[AnswerState.STALE]


def group_figures(facts: Facts) -> list[GroupFigures]:
    """Return the figures of each kernel on each device."""
    devices = facts.devices
    return [_figures(kernel, devices[device], answered, facts) for (kernel, device), answered in facts.groups().items()]


def _figures(kernel: str, device: str, answered: Sequence[Answer], facts: Facts) -> GroupFigures:
    gains = speedups(answered)
    timed = [one.sweep for one in answered if one.sweep is not None and one.sweep.speedup]
    shares = [share for one in answered if (share := facts.share_of_limit(one)) is not None]
    trials = [trial for one in answered if one.sweep is not None for trial in one.sweep.trials]
    won = sum(sweep.time_us or 0.0 for sweep in timed)
    return GroupFigures(
        kernel,
        device,
        Counter(one.state for one in answered),
        mean=geometric_mean(gains),
        median=statistics.median(gains) if gains else None,
        best=max(gains, default=None),
        total_speedup=sum(sweep.default_time_us or 0.0 for sweep in timed) / won if won else None,
        share=statistics.median(shares) if shares else None,
        missed_calls=sum(facts.misses.get(one.key, 0) for one in answered),
        trials=len(trials),
        failed_trials=sum(not is_timed(trial) for trial in trials),
    )


def summary_view(facts: Facts) -> View:
    """Return the view."""
    groups = group_figures(facts)
    has_dots = bool(speedups(facts.answers))
    figure = Figure("speedups", "Speed-up of each problem", _DESCRIPTION, _spec(facts), problems_table(facts))
    tables = [groups_table(groups)]
    if not has_dots:  # what was missed or failed is in the table
        tables.append(figure.table)
    return View(
        "summary",
        "Summary",
        "How much did tuning buy?",
        summary_sentence(facts),
        [figure] if has_dots else [],
        tables,
    )


def summary_sentence(facts: Facts) -> str:
    """Return the main figures as a sentence."""
    if not facts.answers:
        return "Nothing is stored."
    states = Counter(answer.state for answer in facts.answers)
    gains = speedups(facts.answers)
    mean = geometric_mean(gains)
    parts = [f"{count} {state}" for state in AnswerState if (count := states[state])]
    several = f", counted on each of {len(facts.devices)} devices" if len(facts.devices) > 1 else ""
    count = len(facts.answers)
    text = f"{count} problem{'' if count == 1 else 's'}{several}: {', '.join(parts)}."
    if mean is not None:
        text += (
            f" The winners are {mean:.2f} times as fast as the defaults (geometric mean of {len(gains)}; "
            f"median {statistics.median(gains):.2f}, most {max(gains):.2f})."
        )
    text += _copy_rate_sentence(facts)
    if calls := sum(facts.misses.values()):
        text += f" {counted(calls, 'call')} missed."
    return text


def _copy_rate_sentence(facts: Facts) -> str:
    """Say how near each kernel comes to the rate of a copy. One figure for all would mix those that compute much in."""
    shares = defaultdict(list)
    for one in facts.answers:
        if (share := facts.share_of_limit(one)) is not None:
            shares[one.problem.kernel].append(share)
    if not shares:
        return ""
    medians = sorted(((statistics.median(of), kernel) for kernel, of in shares.items()), key=lambda pair: -pair[0])
    labels = facts.kernel_labels
    named = "; ".join(f"{labels[kernel]} {share:.0%}" for share, kernel in medians[:MAX_NAMED])
    rest = "" if len(medians) <= MAX_NAMED else f"; {len(medians) - MAX_NAMED} more in the table"
    return f" Of the rate at which the device copies, they reach (medians): {named}{rest}."


def groups_table(groups: Sequence[GroupFigures]) -> Table:
    """Return the figures of the groups as a table."""
    states = [
        state for state in AnswerState if state is AnswerState.TUNED or any(group.states[state] for group in groups)
    ]
    columns = [
        Column("kernel"),
        Column("device"),
        *(Column(state, Kind.COUNT) for state in states),
        Column("speed-up: geometric mean", Kind.RATIO),
        Column("speed-up: median", Kind.RATIO),
        Column("speed-up: most", Kind.RATIO),
        Column("speed-up: of all times added up", Kind.RATIO),
        Column("share of copy rate, median", Kind.SHARE),
        Column("missed calls", Kind.COUNT),
        Column("trials", Kind.COUNT),
        Column("trials without a time", Kind.COUNT),
    ]
    rows = [
        [
            group.kernel,
            group.device,
            *(group.states[state] for state in states),
            group.mean,
            group.median,
            group.best,
            group.total_speedup,
            group.share,
            group.missed_calls if any(one.missed_calls for one in groups) else None,
            group.trials,
            group.failed_trials,
        ]
        for group in groups
    ]
    return Table("groups", "By kernel and device", columns, rows)


def problems_table(facts: Facts) -> Table:
    """Return a row for each problem on each device, those first that tuning made faster by most."""
    labels, devices = facts.labels, facts.devices
    columns = [
        Column("kernel"),
        Column("problem"),
        Column("device"),
        Column("state"),
        Column("config"),
        Column("time (µs)", Kind.TIME),
        Column("default (µs)", Kind.TIME),
        Column("speed-up", Kind.RATIO),
        Column("share of copy rate", Kind.SHARE),
        Column("tuned (UTC)", Kind.MOMENT),
        Column("sweep"),
    ]
    rows = []
    for one in sorted(facts.answers, key=lambda one: (-((one.sweep and one.sweep.speedup) or 0.0), one.key)):
        sweep = one.sweep
        facts_of_problem = [one.problem.kernel, labels(one.problem), devices[one.device.digest], str(one.state)]
        found: list[Any] = [None] * 7
        if sweep is not None:
            found = [config_text(sweep.config), sweep.time_us, sweep.default_time_us, sweep.speedup]
            found += [facts.share_of_limit(one), sweep.finished, sweep.uid[:12]]
        rows.append([*facts_of_problem, *found])
    return Table("problems", "Every problem", columns, rows)


_DESCRIPTION = (
    "Each problem is a dot. Across: problems, those that gained least first. "
    "Upwards: how many times as fast the winner is as the default, both measured in one sweep."
)


def _colours(shown: Sequence[Answer], kernels: Mapping[str, str], devices: Mapping[str, str]) -> dict[PairKey, str]:
    """Return what each dot's colour stands for: kernel and device, or one of them if colours are too few."""
    by_kernel = {one.key: kernels[one.problem.kernel] for one in shown}
    by_device = {one.key: devices[one.device.digest] for one in shown}
    by_both = {key: f"{kernel} on {by_device[key]}" for key, kernel in by_kernel.items()}
    for by in (by_both if len(devices) > 1 else by_kernel, by_kernel, by_device):
        if len(set(by.values())) <= MAX_COLOURS:
            return by
    return dict.fromkeys(by_kernel, "")


def _spec(facts: Facts) -> Spec:
    labels, devices, kernels = facts.labels, facts.devices, facts.kernel_labels
    shown = [one for one in facts.answers if one.sweep is not None and one.sweep.speedup]
    shown.sort(key=lambda one: (one.sweep is not None and one.sweep.speedup, one.key))
    several = len(devices) > 1
    groups = _colours(shown, kernels, devices)
    colours = set(groups.values())
    values = [
        {
            "rank": rank,
            "speedup": round(one.sweep.speedup or 0.0, 4),
            "group": groups[one.key],
            "kernel": kernels[one.problem.kernel] + (f" on {devices[one.device.digest]}" if several else ""),
            "state": str(one.state),
            "problem": labels(one.problem),
            "time": round(one.sweep.time_us or 0.0, 3),
            "sweep": one.sweep.uid[:12],
        }
        for rank, one in enumerate(shown, 1)
        if one.sweep is not None
    ]
    return {
        "data": {"values": values},
        "width": "container",
        "height": 260,
        "layer": [
            {
                "data": {"values": [{"one": 1}]},
                "mark": {"type": "rule", "strokeDash": [4, 4]},
                "encoding": {"y": {"field": "one", "type": "quantitative"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 45, "opacity": 0.85, "cursor": "pointer"},
                "encoding": {
                    "x": {
                        "field": "rank",
                        "type": "quantitative",
                        "title": "problems, by speed-up",
                        "axis": {"tickMinStep": 1, "tickCount": 10, "format": "d"},
                        "scale": {"zero": False, "nice": False, "padding": 8},
                    },
                    "y": {
                        "field": "speedup",
                        "type": "quantitative",
                        "title": "times as fast as the default",
                        "scale": {"type": "log", "nice": False, "padding": 8},
                        "axis": {"tickCount": 6, "format": "~r"},
                    },
                    "color": {
                        "field": "group",
                        "type": "nominal",
                        "title": None,
                        "legend": {"labelLimit": 420} if len(colours) > 1 else None,
                    },
                    "shape": {
                        "field": "state",
                        "type": "nominal",
                        "title": None,
                        "legend": {} if any(value["state"] == "stale" for value in values) else None,
                        "scale": {"domain": ["tuned", "stale"], "range": ["circle", "triangle-up"]},
                    },
                    "tooltip": [
                        {"field": "kernel"},
                        {"field": "problem"},
                        {"field": "speedup", "title": "times as fast", "format": ".3f"},
                        {"field": "time", "title": "time (µs)", "format": ",.2f"},
                        {"field": "state"},
                    ],
                },
            },
        ],
    }
