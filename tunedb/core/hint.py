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


def facts_of(hint: Problem, problem: Problem) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the facts of a hint, and those of a problem by the same names; None if the hint is of another kind.

    It is if the problem lacks one of the facts, or if the dtypes of its arguments are others. A dtype is its short name
    on both sides.
    """
    if hint.kernel != problem.kernel:
        return None
    plain, facts, others = problem.plain(), {}, {}
    for name, value in hint.plain().items():
        if name == DTYPES and name not in plain:
            if _dtypes(str(value).split(",")) != _dtypes(_dtypes_of(plain)):
                return None
        elif name not in plain:
            return None
        else:
            facts[name], others[name] = _short(value), _short(plain[name])
    return facts, others


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


def _dtypes_of(plain: Mapping[str, Any]) -> list[str]:
    return [str(value) for name, value in plain.items() if name.endswith(".dtype")]


def _dtypes(names: Iterable[str]) -> Counter[str]:
    return Counter(name.strip().removeprefix("torch.") for name in names)
