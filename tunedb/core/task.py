"""Tuning tasks and choices: what a call asks for, and what it gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunedb.core.device import Device, Placement
from tunedb.core.hint import Hint
from tunedb.core.kernel import TunableKernel
from tunedb.core.notebook import shortened
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import MISSES, Layer, Source, Sweep

TaskKey = tuple[str, str, str, str]  # kernel's name, kernel hash, problem's key, device's digest


@dataclass(frozen=True, slots=True)
class Choice:
    """The config that a call gets, and its source: memory, store, stale, nearest, hint, default, sweep or override."""

    config: Config
    source: Source
    sweep: Sweep | None = None  # the sweep behind it, for `nearest` another problem's; None for default and override
    failed: Sweep | None = None  # the sweep of this very call, if every config failed in it
    hint: Hint | None = None  # the hint behind it, for the source `hint`

    @property
    def is_weak(self) -> bool:
        """Whether a better answer may appear in the store: of a default, another problem's config, and a hint."""
        return self.source in MISSES

    @property
    def layer(self) -> Layer | None:
        """The store that its sweep came from: local, shared or bundle; None without a sweep."""
        return None if self.sweep is None else self.sweep.layer

    def __repr__(self) -> str:
        sweep = "" if self.sweep is None else f", sweep={self.sweep.uid[:12]}, layer={self.sweep.layer}"
        return f"Choice({shortened(str(self.config))}, source={self.source}{sweep}{', failed' if self.failed else ''})"


@dataclass(frozen=True, slots=True)
class TuningTask:
    """A kernel's problem and a placement: what a call asks for, and what a sweep tunes."""

    kernel: TunableKernel
    problem: Problem
    placement: Placement
    # The arguments that the problem was made from. They can hold more than it does; a worker makes it from them again.
    arguments: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def device(self) -> Device:
        """The device."""
        return self.placement.device

    @property
    def index(self) -> int | None:
        """The device's index in this process: see `Placement`."""
        return self.placement.index

    @property
    def key(self) -> TaskKey:
        """The facts that identify the task."""
        return self.kernel.name, self.kernel.hash, self.problem.key, self.device.digest

    def __str__(self) -> str:
        return f"{self.kernel.name} ({self.problem}) on {self.device}"
