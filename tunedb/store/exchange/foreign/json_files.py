"""Winners as the files that vLLM, SGLang and Hugging Face's kernels read: one for each name that a layout gives.

The layout is such a name, with fields in braces: `E={E},N={N},device_name={device},dtype={dtype}.json`. What one of
these tools does differently is in the layout, or an option.
"""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep
from tunedb.errors import SettingError
from tunedb.store.exchange.foreign.json_configs import TRITON_VERSION

_log = logging.getLogger("tunedb")
_FIELD = re.compile(r"\{([^{}]+)\}")
_BLANKS = re.compile(r"[\s/]+")
_ABOUT = ("device", "triton", "kernel")  # fields of a layout that are no facts of a problem
_INDENT = 4


@dataclass(frozen=True, slots=True)
class Layout:
    """How winners become files.

    name: the name of a file, with facts of the problem, `device`, `triton` (a version such as 3_6_0) and `kernel` in
    braces. A part between commas whose fact is None is left out, as vLLM leaves `dtype` out.
    rows: the fact that is the key within a file.
    names: new names of facts and knobs; one with an empty new name is left out.
    folds_h200: whether every H200 is written NVIDIA_H200, as vLLM does for mixtures of experts.
    with_version: whether a file holds the version of Triton, which SGLang does not expect there.
    """

    name: str
    rows: str
    names: Mapping[str, str] = field(default_factory=dict)
    folds_h200: bool = False
    with_version: bool = False

    def __post_init__(self) -> None:
        path = PurePosixPath(self.name)
        if not self.name.endswith(".json") or path.is_absolute() or ".." in path.parts:
            raise SettingError(f"--layout: expected a relative path that ends in .json, got {self.name!r:.200}.")
        if "{" in _FIELD.sub("", self.name) or "}" in _FIELD.sub("", self.name):
            raise SettingError(f"--layout: expected fields such as {{device}}, got {self.name!r:.200}.")

    def path(self, sweep: Sweep) -> str:
        """Return the path of the file that a winner belongs to. Raises SettingError for a fact that it lacks."""
        facts = {**self.facts(sweep), **self._about(sweep)}
        folder, separator, name = self.name.rpartition("/")
        parts = [part for part in re.split(r",(?![^\[]*\])", name.removesuffix(".json")) if not _is_absent(part, facts)]
        return f"{self._filled(folder, facts)}{separator}{self._filled(','.join(parts), facts)}.json"

    def facts(self, sweep: Sweep) -> dict[str, Any]:
        """Return the facts of a winner's problem by their new names."""
        named = ((self.names.get(name, name), value) for name, value in sweep.problem.plain().items())
        return {name: value for name, value in named if name}

    def row(self, sweep: Sweep) -> int:
        """Return the key of a winner within its file. Raises SettingError if it is not a whole number."""
        facts = self.facts(sweep)
        value = facts.get(self.rows)
        if type(value) is not int:
            raise SettingError(
                f"--rows: expected a fact that is a whole number, got {self.rows}={value!r:.40}. "
                f"{sweep.problem.kernel} has: {', '.join(facts)}."
            )
        return value

    def knobs(self, config: Config) -> dict[str, Any]:
        """Return a config's knobs by their new names."""
        named = ((self.names.get(name, name), value) for name, value in config.items())
        return {name: value for name, value in named if name}

    def _about(self, sweep: Sweep) -> dict[str, str]:
        name = sweep.device.name
        device = "NVIDIA_H200" if self.folds_h200 and "H200" in _BLANKS.split(name) else _BLANKS.sub("_", name)
        triton = re.sub(r"[^0-9]+", "_", sweep.environment.triton.partition("+")[0]).strip("_")
        return {"device": device, "triton": triton, "kernel": sweep.problem.kernel}

    def _filled(self, text: str, facts: Mapping[str, Any]) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name not in facts:
                raise SettingError(
                    f"--layout: no fact of {facts['kernel']} is called {name}. There are: {', '.join(facts)}. "
                    "To export one kernel alone: --kernel NAME"
                )
            return re.sub(r"[/\\\x00-\x1f]+|^\.+", "_", str(facts[name]))  # a fact may come from anyone's store

        return _FIELD.sub(value, text)


def json_files(winners: Iterable[Sweep], layout: Layout) -> tuple[dict[str, str], int]:
    """Return the text of each file by its path, and how many winners are in them.

    Of winners that the layout can't tell apart the one that was tuned last is taken, and the facts that it leaves out
    are logged. Raises SettingError if several devices or kernels would share a file.
    """
    files: defaultdict[str, dict[int, Sweep]] = defaultdict(dict)
    hidden: set[str] = set()
    for sweep in sorted(winners, key=lambda sweep: (sweep.finished, sweep.uid)):
        if sweep.config is None or not _is_plain(sweep):
            continue
        rows, row = files[layout.path(sweep)], layout.row(sweep)
        for other in rows.values():
            _check_alike(sweep, other)
        if row in rows:
            hidden |= _differing(sweep, rows[row])
        rows[row] = sweep
    if hidden:
        _log.warning("The layout leaves out %s: of problems that differ in it, the one tuned last is taken.",
                     ", ".join(sorted(hidden)))  # fmt: skip
    texts = {path: _text(rows, layout) for path, rows in sorted(files.items())}
    return texts, sum(map(len, files.values()))


def _text(rows: Mapping[int, Sweep], layout: Layout) -> str:
    content: dict[str, Any] = {}
    if layout.with_version:
        content[TRITON_VERSION] = max(rows.values(), key=lambda sweep: (sweep.finished, sweep.uid)).environment.triton
    for row, sweep in sorted(rows.items()):
        assert sweep.config is not None  # a winner has one
        content[str(row)] = layout.knobs(sweep.config)
    return json.dumps(content, indent=_INDENT, allow_nan=False) + "\n"


def _is_absent(part: str, facts: Mapping[str, Any]) -> bool:
    names = _FIELD.findall(part)
    return bool(names) and all(name in facts and facts[name] is None for name in names)


def _is_plain(sweep: Sweep) -> bool:
    """Say whether JSON holds every knob of a winner; if not, log that it is left out."""
    values = () if sweep.config is None else sweep.config.values()
    try:
        json.dumps(list(values), allow_nan=False)
    except (TypeError, ValueError):
        _log.warning("Sweep %s is left out: JSON can't hold %s.", sweep.uid, sweep.config)
        return False
    return True


def _check_alike(sweep: Sweep, other: Sweep) -> None:
    if sweep.device != other.device:
        raise SettingError(
            f"{sweep.device} and {other.device} would share a file. Name one with --device, or put {{device}} into "
            "the layout."
        )
    if sweep.problem.kernel != other.problem.kernel:
        raise SettingError(
            f"{sweep.problem.kernel} and {other.problem.kernel} would share a file. Name one with --kernel."
        )


def _differing(sweep: Sweep, other: Sweep) -> set[str]:
    facts, others = sweep.problem.plain(), other.problem.plain()
    return {name for name in {*facts, *others} if facts.get(name) != others.get(name)}
