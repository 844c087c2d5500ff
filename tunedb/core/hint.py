"""Hints: configs that another tool found, for some facts of a kernel's problems on a device that it only names."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tunedb.core.problem import LAUNCH_OPTIONS, Config, Problem

DTYPES = "dtypes"  # the fact that holds the dtypes of all arguments, whichever they are: "float16,float16"
# What Triton's Config has for an option that its file leaves out, and what says nothing about a config.
_USUAL: Mapping[str, Any] = {"num_warps": 4, "num_stages": 3, "num_ctas": 1}
_WITHOUT_MEANING = ("pre_hook", "ir_override")  # if they are None


@dataclass(frozen=True, slots=True)
class Hint:
    """A config without evidence: it may race early and serve where nothing was measured, but is never a fact.

    `problem` holds only the facts that its tool knew. `evidence` is canonical JSON about where it came from: versions,
    and times as the tool measured them.
    """

    problem: Problem
    device: str  # a label, as `core.known_devices.device_label` gives it
    config: Config
    tool: str  # such as "vllm"
    place: str  # the file and the key in it
    evidence: str = "{}"
    arrived: datetime | None = None  # when the store took it

    @property
    def digest(self) -> str:
        """The identity: the same hint again is a duplicate, wherever it was read."""
        parts = (self.problem.kernel, self.problem.key, self.device, self.config.key, self.tool)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def short_facts(problem: Problem) -> dict[str, Any]:
    """Return a problem's facts with each dtype as its short name, also where a hint has it as text."""
    return {name: _short(value) for name, value in problem.plain().items()}


def facts_to_compare(hint: Mapping[str, Any], problem: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the facts of a hint that are to be compared with a problem's; None if the problem lacks one of them.

    Both are `short_facts`. The dtypes of all arguments, if the hint has them, are compared here: None if they differ.
    """
    if DTYPES in hint and DTYPES not in problem:
        if _dtypes(str(hint[DTYPES]).split(",")) != _dtypes_of(problem):
            return None
        hint = {name: value for name, value in hint.items() if name != DTYPES}
    return hint if hint.keys() <= problem.keys() else None


class Candidates:
    """The configs of a search space, to be found by what a hint's config means."""

    def __init__(self, space: Iterable[Config]) -> None:
        self._by_meaning: dict[frozenset[Any], Config] = {}
        for config in space:
            self._by_meaning.setdefault(_meaning(config), config)

    def find(self, config: Config) -> Config | None:
        """Return the config of the space with these knobs; an option that one of them leaves out is Triton's own."""
        return self._by_meaning.get(_meaning(config))


def _meaning(config: Config) -> frozenset[tuple[str, str, Any]]:
    told = {name: _short(value) for name, value in config.plain().items() if not _says_nothing(name, value)}
    return frozenset((name, type(value).__name__, value) for name, value in {**_USUAL, **told}.items())


def _says_nothing(name: str, value: Any) -> bool:
    return value is None and (name in LAUNCH_OPTIONS or name in _WITHOUT_MEANING)


def _short(value: Any) -> Any:
    return value.removeprefix("torch.") if isinstance(value, str) else value


def _dtypes_of(facts: Mapping[str, Any]) -> Counter[str]:
    return _dtypes(str(value) for name, value in facts.items() if name.endswith(".dtype"))


def _dtypes(names: Iterable[str]) -> Counter[str]:
    return Counter(name.strip().removeprefix("torch.") for name in names)
