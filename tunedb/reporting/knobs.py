"""The view *Knobs*: which knob matters, and how few configs serve all problems of a kernel on a device."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunedb._internal.counted import counted
from tunedb.core.sweep import Sweep, Trial
from tunedb.reporting.facts import Facts, is_timed
from tunedb.reporting.labels import config_text, knobs_of
from tunedb.reporting.parts import Column, Figure, Kind, Spec, Table, View
from tunedb.store.exchange.cover import Step, cover_curve, losses_of

NEAR = 0.05  # a config serves a problem if it takes at most so much longer than the winner
MAX_KERNELS = 6  # that the sentence names
MAX_CONFIGS = 12  # of the cover curve: what more add is not seen


@dataclass(frozen=True, slots=True)
class Importance:
    """How much of the spread of times a knob explains by itself."""

    knob: str
    share: float
    values: int  # that were tried
    sweeps: int  # in which it differs


def importances(sweeps: Sequence[Sweep]) -> list[Importance]:
    """Return the share of the variance of log time that each knob explains, the most first.

    Sums over sweeps of the squares between the groups of one value, less what groups of this number explain by chance
    (epsilon squared), over the total squares. Times are compared within a sweep only. A knob that differs together with
    another one gets a share of what the other does.
    """
    between: dict[str, float] = defaultdict(float)
    total: dict[str, float] = defaultdict(float)
    values: dict[str, set[str]] = defaultdict(set)
    counts: dict[str, int] = defaultdict(int)
    for sweep in sweeps:
        timed = [trial for trial in sweep.trials if is_timed(trial) and trial.time_us]
        if len(timed) < 3:
            continue
        logs = [math.log(trial.time_us or 1.0) for trial in timed]
        mean = statistics.fmean(logs)
        squares = sum((log - mean) ** 2 for log in logs)
        for knob in knobs_of(trial.config for trial in timed):
            groups = _by_value(timed, logs, knob)
            if len(groups) < 2 or len(groups) == len(timed):
                continue
            explained = sum(len(group) * (statistics.fmean(group) - mean) ** 2 for group in groups.values())
            noise = (squares - explained) / (len(timed) - len(groups))
            between[knob] += explained - (len(groups) - 1) * noise
            total[knob] += squares
            values[knob].update(groups)
            counts[knob] += 1
    shares = [
        Importance(knob, max(0.0, between[knob] / total[knob]) if total[knob] else 0.0, len(values[knob]), counts[knob])
        for knob in counts
    ]
    return sorted(shares, key=lambda one: (-one.share, one.knob))


def _by_value(timed: Sequence[Trial], logs: Sequence[float], knob: str) -> dict[str, list[float]]:
    groups: dict[str, list[float]] = defaultdict(list)
    for trial, log in zip(timed, logs, strict=True):
        groups[repr(trial.config.plain().get(knob))].append(log)
    return groups


def cover(sweeps: Iterable[Sweep]) -> list[Step]:
    """Return the configs that serve most problems, each next one adding the most."""
    return cover_curve(losses_of(sweeps), 1 + NEAR, MAX_CONFIGS)


def knobs_view(facts: Facts) -> View:
    """Return the view, with figures for each kernel on each device."""
    devices, labels = facts.devices, facts.kernel_labels
    groups: list[tuple[str, list[Figure]]] = []
    rows: list[list[Any]] = []
    first: dict[str, list[Importance]] = defaultdict(list)  # of each kernel, the first knob on each device
    for (kernel, device), answered in facts.groups().items():
        sweeps = [one.sweep for one in answered if one.sweep is not None and one.sweep.time_us]
        if not sweeps:
            continue
        name, number = f"{labels[kernel]} on {devices[device]}", len(groups)
        shares, covers = importances(sweeps), cover(sweeps)
        groups.append(
            (name, [_importance_figure(number, name, shares), _cover_figure(number, name, covers, len(sweeps))])
        )
        first[labels[kernel]] += shares[:1]
        rows.append(_row(kernel, devices[device], shares, covers, len(sweeps)))
    answer = _sentence(first) if groups else "Nothing is tuned."
    return View("knobs", "Knobs", "Which knob matters?", answer, tables=[_table(rows)] if rows else [], groups=groups)


def _sentence(first: Mapping[str, Sequence[Importance]]) -> str:
    """Return which knob explains most of the spread of times, kernel by kernel; of many kernels, the clearest."""
    parts = []
    for kernel, knobs in first.items():
        by_name: dict[str, list[float]] = defaultdict(list)
        for one in knobs:
            if one.share > 0:
                by_name[one.knob].append(one.share)
        texts = [f"{knob} ({_range_text(shares)})" for knob, shares in by_name.items()]
        strength = max((share for shares in by_name.values() for share in shares), default=0.0)
        parts.append((-strength, kernel, f"{kernel}: {' or '.join(texts)}" if texts else f"{kernel}: none by itself"))
    shown = [text for *_, text in sorted(parts)[:MAX_KERNELS]]
    more = f"; in the table: {counted(len(parts) - MAX_KERNELS, 'more kernel')}" if len(parts) > MAX_KERNELS else ""
    return f"The knob that explains most of the spread of times: {'; '.join(shown)}{more}."


def _range_text(shares: Sequence[float]) -> str:
    low, high = f"{min(shares):.0%}", f"{max(shares):.0%}"
    return low if low == high else f"{low} to {high}"


def _row(kernel: str, device: str, shares: Sequence[Importance], covers: Sequence[Step], problems: int) -> list[Any]:
    knobs = [f"{one.knob} {one.share:.0%}" for one in shares[:3] if one.share > 0]
    return [
        kernel,
        device,
        " · ".join(knobs) or "none by itself",
        problems,
        covers[0].alone if covers else None,
        len(covers) if covers and covers[-1].covered == problems else None,
    ]


def _table(rows: Sequence[Sequence[Any]]) -> Table:
    columns = [
        Column("kernel"),
        Column("device"),
        Column("share of the spread that each knob explains"),
        Column("problems", Kind.COUNT),
        Column(f"served within {NEAR:.0%} by the best single config", Kind.COUNT),
        Column("configs that serve all", Kind.COUNT),
    ]
    return Table("knobs", "The first knobs of each kernel", columns, rows)


def _importance_figure(number: int, name: str, shares: Sequence[Importance]) -> Figure:
    columns = [
        Column("knob"),
        Column("variance explained", Kind.SHARE),
        Column("values tried", Kind.COUNT),
        Column("sweeps", Kind.COUNT),
    ]
    rows = [[one.knob, one.share, one.values, one.sweeps] for one in shares]
    spec: Spec = {
        "data": {"values": [{"knob": one.knob, "share": round(one.share, 4)} for one in shares]},
        "width": "container",
        "height": 26 * len(shares) or 26,
        "encoding": {"y": {"field": "knob", "type": "nominal", "sort": None, "title": None}},
        "layer": [
            {
                "mark": {"type": "bar", "tooltip": True},
                "encoding": {
                    "x": {
                        "field": "share",
                        "type": "quantitative",
                        "title": "share of the spread of times",
                        "axis": {"format": ".0%", "values": [0, 0.2, 0.4, 0.6, 0.8, 1]},
                        "scale": {"domain": [0, 1.12], "nice": False},  # with room for the last bar's number
                    },
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 4},
                "encoding": {
                    "x": {"field": "share", "type": "quantitative"},
                    "text": {"field": "share", "format": ".0%"},
                },
            },
        ],
    }
    description = (
        f"{name}: a bar for each knob, as long as the share of the spread of times (the variance of log time) that it "
        "explains by itself. Together they may exceed 100%: knobs that change together explain the same."
    )
    return Figure(
        f"importance-{number}",
        "How much each knob explains",
        description,
        spec,
        Table(f"importance-{number}", "Knobs", columns, rows),
    )


def _cover_figure(number: int, name: str, covers: Sequence[Step], problems: int) -> Figure:
    columns = [
        Column("configs", Kind.COUNT),
        Column("the one added"),
        Column("problems it serves", Kind.COUNT),
        Column("served together", Kind.COUNT),
        Column("share", Kind.SHARE),
        Column("times the winner's time", Kind.RATIO),
    ]
    rows: list[list[Any]] = [
        [place, config_text(one.config), one.alone, one.covered, one.covered / problems, one.loss]
        for place, one in enumerate(covers, 1)
    ]
    values: list[dict[str, Any]] = [
        {"configs": row[0], "config": row[1], "alone": row[2], "share": round(row[4], 4)} for row in rows
    ]
    spec: Spec = {
        "data": {"values": values},
        "width": "container",
        "height": 220,
        "mark": {"type": "line", "point": {"size": 60}, "interpolate": "linear", "tooltip": True},
        "encoding": {
            "x": {
                "field": "configs",
                "type": "quantitative",
                "title": "number of configs",
                "axis": {"tickMinStep": 1, "format": "d"},
                "scale": {"domainMin": 1, "nice": False, "zero": False},
            },
            "y": {
                "field": "share",
                "type": "quantitative",
                "title": f"problems within {NEAR:.0%} of their winner",
                "axis": {"format": ".0%"},
                "scale": {"domain": [0, 1]},
            },
            "tooltip": [
                {"field": "config", "title": "the one added"},
                {"field": "alone", "title": "problems it serves"},
                {"field": "share", "title": "served together", "format": ".1%"},
            ],
        },
    }
    description = (
        f"{name}: how many of {problems} problems have a config within {NEAR:.0%} of their winner, "
        "by the number of configs."
    )
    return Figure(
        f"cover-{number}",
        "How few configs serve all problems",
        description,
        spec,
        Table(f"cover-{number}", "Configs, each adding the most", columns, rows),
    )
