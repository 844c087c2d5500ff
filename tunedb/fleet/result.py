"""The result of one problem of many, as `tunedb.warm_many` returns it."""

from __future__ import annotations

from dataclasses import dataclass

from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep


@dataclass(frozen=True, slots=True)
class WarmResult:
    """The result of one problem: how it ended, where, and the sweep behind it.

    `outcome` is `sweep` or `stored` if there is a config. Else it is `failed` (no config works), `aborted`, `busy` (it
    was still being tuned elsewhere), `out of memory`, `refused` (the worker's versions differ from the client's) or
    `lost` (the executor gave no result, or no GPU is left for it); then `error` says why.
    """

    problem: Problem
    outcome: str
    sweep: Sweep | None = None
    worker: str = ""
    error: str | None = None

    @property
    def config(self) -> Config | None:
        """The config that calls of the problem get from now on; None if there is none."""
        return None if self.sweep is None else self.sweep.config
