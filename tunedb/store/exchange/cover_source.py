"""A cover as Python source: its configs, the problems that each serves, and `choose`, which needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tunedb._internal.counted import counted
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep
from tunedb.errors import SettingError
from tunedb.store.exchange.cover import Cover, cover, losses_of

_HEAD = '''\
"""Configs of {kernel} on {device}, exported by tunedb: {count} for {problems}.

Expected loss over each problem's best config, as its own sweep measured them: {mean:.3f} times on average (geometric
mean), {worst:.3f} at most; asked for: {limit:g}.
{how}
"""

import math

'''
_CHOOSE = '''

def choose(**key):
    """Return the config for a problem: that of the stored problem with these facts, else of the nearest one.

    Facts that all problems share (SHARED) need not be given. Raises TypeError if another one is missing, or unknown.
    """
    unknown = sorted(set(key) - set(FACTS) - set(SHARED))
    missing = [name for name in FACTS if name not in key]
    if unknown or missing:
        raise TypeError(f"expected the facts {', '.join(FACTS)}; unknown: {unknown}, missing: {missing}")
    for name, value in SHARED.items():
        if name in key and _plain(key[name]) != value:
            raise LookupError(f"all problems have {name}={value!r}, got {key[name]!r}")
    wanted = tuple(_plain(key[name]) for name in FACTS)
    _, config = min(PROBLEMS, key=lambda problem: _distance(wanted, problem[0]))
    return dict(CONFIGS[config])


def _distance(wanted, facts):
    """Sum the powers of two between sizes; a fact without a size that differs counts more than any of them."""
    return sum(map(_apart, wanted, facts))


def _apart(value, other):
    if type(value) is int and type(other) is int and value >= 0 and other >= 0:
        return abs(math.log2(value + 1) - math.log2(other + 1))
    return 0.0 if type(value) is type(other) and value == other else 1000.0


def _plain(value):
    is_plain = value is None or isinstance(value, (bool, int, float, str))
    return value if is_plain else str(value).removeprefix("torch.")
'''


def cover_source(winners: Sequence[Sweep], limit: float) -> tuple[str, Cover]:
    """Return a module with the fewest configs that serve the problems of these winners, which come with their trials.

    They have to be of one kernel and one device. Raises SettingError if not, and for a limit below 1.
    """
    if not (math.isfinite(limit) and limit >= 1):
        raise SettingError(f"--cover: expected a factor of at least 1, such as 1.05, got {limit:g}.")
    for what, names in (
        ("kernel", {sweep.problem.kernel for sweep in winners}),
        ("device", {str(sweep.device) for sweep in winners}),
    ):
        if len(names) > 1:
            raise SettingError(f"A cover is of one {what}. Name it with --{what}: {'; '.join(sorted(names))}.")
    losses = losses_of(winners)
    if not losses:
        raise SettingError(
            "No stored problem has times of its own trials to find a cover with. A bundle has those of its winners "
            "alone, unless it was exported with --all."
        )
    covered = cover(losses, limit)
    short = sum(sweep.problem in losses and not sweep.complete for sweep in winners)
    if not covered.is_exact:
        how = "They were found greedily: fewer may do."
    elif short:
        how = f"Fewer may do: {short} of the sweeps were cut short, before they had tried every config."
    else:
        how = "No fewer configs would do, of those that each problem's sweep timed."
    many = counted(len(losses), "problem")
    head = _HEAD.format(
        kernel=winners[0].problem.kernel, device=winners[0].device.name.replace('"', "'").replace("\\", "/"),
        count=len(covered.configs), problems=many, mean=covered.mean_loss, worst=covered.worst_loss,
        limit=limit, how=how,
    )  # fmt: skip
    return head + _tables(covered) + _CHOOSE, covered


def _tables(covered: Cover) -> str:
    plain = {problem: problem.plain() for problem in covered.chosen}
    names = sorted({name for facts in plain.values() for name in facts})
    absent = object()
    shared: dict[str, Any] = {}
    for name in names:
        values = [facts.get(name, absent) for facts in plain.values()]
        if all(type(value) is type(values[0]) and value == values[0] for value in values):
            shared[name] = values[0]
    varying = [name for name in names if name not in shared]
    lines = [
        f"SHARED = {shared!r}  # facts that all problems have\n",
        f"FACTS = {tuple(varying)!r}\n",
        "\nCONFIGS = [\n",
    ]
    lines += [f"    {_knobs(config)!r},\n" for config in covered.configs]
    lines.append("]\n\nPROBLEMS = [  # the facts, the config's place in CONFIGS, and the loss it has there\n")
    for place, config in enumerate(covered.configs):
        of_config = sorted((problem for problem, one in covered.chosen.items() if one == config), key=_order(plain))
        for problem in of_config:
            facts = tuple(plain[problem].get(name) for name in varying)
            lines.append(f"    ({facts!r}, {place}),  # {covered.losses[problem]:.3f}\n")
    lines.append("]\n")
    return "".join(lines)


def _order(plain: dict[Problem, dict[str, Any]]) -> Any:
    return lambda problem: [(type(value).__name__, str(value).rjust(20)) for value in plain[problem].values()]


def _knobs(config: Config) -> dict[str, Any]:
    return {
        name: value if isinstance(value, bool | int | float | str) or value is None else str(value)
        for name, value in config.plain().items()
    }
