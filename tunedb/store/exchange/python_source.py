"""Winners as Python source: a table of `triton.Config`, which needs no tunedb to be read."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep, now
from tunedb.errors import SettingError, TunedbError
from tunedb.store.ranking import ended, ranked

_log = logging.getLogger("tunedb")
_HEAD = '''\
"""Tuned configs, exported by tunedb: CONFIGS[kernel, device name, problem], the problem as canonical JSON."""

import json

import triton


def config_of(kernel, device, **facts):
    """Return the config of the only problem of a kernel with these facts: config_of("k", "NVIDIA H200", n=1024).

    A dtype is torch's or its name. Raises LookupError, with the problems that there are, if none or several fit.
    """
    problems = {problem: config for (*owner, problem), config in CONFIGS.items() if owner == [kernel, device]}
    fitting = {text: config for text, config in problems.items() if _has(json.loads(text), facts)}
    if len(fitting) != 1:
        listed = sorted(fitting or problems)
        raise LookupError(f"{len(fitting)} problems of {kernel} on {device} have {facts}: {listed}")
    return next(iter(fitting.values()))


def _has(problem, facts):
    return all(name in problem and _plain(problem[name]) == _plain(fact) for name, fact in facts.items())


def _plain(fact):
    if isinstance(fact, dict) and set(fact) == {"dtype"}:
        fact = fact["dtype"]
    is_number = fact is None or isinstance(fact, (bool, int, float))
    return (type(fact), fact) if is_number else str(fact).removeprefix("torch.")


CONFIGS = {
'''


def python_source(sweeps: Sequence[Sweep]) -> tuple[str, int]:
    """Return a module with the winners as `triton.Config`, and how many there are. It imports only triton.

    A config that can't be written as source is left out, with a log record. Raises SettingError if two devices have one
    name.
    """
    table: dict[tuple[str, str, str], str] = {}
    devices = {sweep.device for sweep in sweeps}
    if len({device.name for device in devices}) < len(devices):
        names = "; ".join(sorted(map(str, devices)))
        raise SettingError(f"Several devices have one name. Name one with --device: {names}.")
    for sweep in latest_winners(sweeps):
        assert sweep.config is not None  # a winner has one
        try:
            table[sweep.problem.kernel, sweep.device.name, sweep.problem.key] = _triton_config(sweep.config)
        except TunedbError as error:
            _log.warning("Sweep %s is left out: %s", sweep.uid, str(error))
    lines = [f"    {key!r}: {config},\n" for key, config in sorted(table.items())]
    return "".join([_HEAD, *lines, "}\n"]), len(lines)


def latest_winners(sweeps: Iterable[Sweep]) -> list[Sweep]:
    """Return the winner of each problem and device; of several kernel hashes, that of the one tuned last."""
    groups: dict[tuple[str, str, str], list[Sweep]] = defaultdict(list)
    for sweep in sweeps:
        groups[sweep.problem.kernel, sweep.problem.key, sweep.device.key].append(sweep)
    winners = []
    for _, group in sorted(groups.items()):
        moment = now()
        best_first = [sweep for sweep, _ in ranked(group, None, now=moment)]
        if best_first:
            latest = max(best_first, key=lambda sweep: (ended(sweep, moment), sweep.uid)).kernel_hash
            winners.append(next(sweep for sweep in best_first if sweep.kernel_hash == latest))
    return winners


def _triton_config(config: Config) -> str:
    if not all(map(_is_literal, config.values())):
        raise SettingError(f"{config}: a dtype, infinity or NaN can't be written as source. Use --format jsonl.")
    options = "".join(f", {name}={value!r}" for name, value in config.options.items())
    return f"triton.Config({config.constants!r}{options})"


def _is_literal(value: Any) -> bool:
    return type(value).__name__ != "dtype" and (type(value) is not float or math.isfinite(value))
