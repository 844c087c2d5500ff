"""What a process remembers of its choices, which configs do not launch in it, and what to ask the store again."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from tunedb.core.device import Device
from tunedb.core.kernel import TunableKernel
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import MISSES, Sweep

ASK_AGAIN = 60.0  # seconds after which what got a default is looked up again, off the launch path

_Key = tuple[str, str, str, str]

_log = logging.getLogger("tunedb")


@dataclass(frozen=True, slots=True)
class Choice:
    """The config that a call gets, and its source: memory, store, stale, nearest, default, sweep or override."""

    config: Config
    source: str
    sweep: Sweep | None = None  # the sweep behind it, for `nearest` another problem's; None for default and override
    failed: bool = False  # whether the problem was tuned, and every config failed

    @property
    def is_weak(self) -> bool:
        """Whether a better answer may appear in the store: true of a default, and of another problem's config."""
        return self.source in MISSES


@dataclass(frozen=True, slots=True)
class TuningTask:
    """A kernel's problem on a device. `index` is the device's in this process, or None where it is not here."""

    kernel: TunableKernel
    problem: Problem
    device: Device
    index: int | None

    @property
    def key(self) -> _Key:
        """What makes two cases the same."""
        return self.kernel.name, self.kernel.hash, self.problem.key, self.device.digest

    def __str__(self) -> str:
        return f"{self.kernel.name} ({self.problem}) on {self.device}"


_memories: weakref.WeakSet[ChoiceCache] = weakref.WeakSet()


class ChoiceCache:
    """Choices by case. A weak one is due again after a while: then `on_due` runs, on a timer's thread."""

    def __init__(self, on_due: Callable[[], object], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._on_due = on_due
        self._monotonic = monotonic
        self._choices: dict[_Key, Choice] = {}
        self._rejected: defaultdict[_Key, set[Config]] = defaultdict(set)
        self._weak: dict[_Key, tuple[TuningTask, float]] = {}
        self._timer: threading.Timer | None = None
        self._closed = False
        _memories.add(self)

    def get(self, case: TuningTask) -> Choice | None:
        """The choice that was made for this case, as it was made."""
        return self._choices.get(case.key)

    def put(self, case: TuningTask, choice: Choice, *, ask_again: bool) -> None:
        """Remember a choice; a weak one, with `ask_again`, until the store has a better one."""
        self._choices[case.key] = choice
        self._weak.pop(case.key, None)
        if choice.is_weak and ask_again and not self._closed:
            self._weak[case.key] = case, self._monotonic()
            if self._timer is None or not self._timer.is_alive():
                self._arm()

    def forget(self, case: TuningTask) -> None:
        """Have the next call decide anew."""
        self._choices.pop(case.key, None)
        self._weak.pop(case.key, None)

    def reject(self, case: TuningTask, config: Config) -> bool:
        """Never choose this config again in this process, because it does not launch; False where that was known."""
        if self.is_rejected(case, config):
            return False
        self._rejected[case.key].add(config)
        self.forget(case)
        return True

    def is_rejected(self, case: TuningTask, config: Config) -> bool:
        """Whether the config does not launch in this process."""
        return config in self._rejected.get(case.key, ())

    def has_rejected(self, case: TuningTask) -> bool:
        """Whether any config of the case does not launch in this process."""
        return bool(self._rejected.get(case.key))

    def due(self) -> list[TuningTask]:
        """The cases that have had a weak choice for a while; each is due again after another while."""
        now = self._monotonic()
        found = [case for case, since in list(self._weak.values()) if now - since >= ASK_AGAIN]
        for case in found:
            self._weak[case.key] = case, now
        return found

    def close(self) -> None:
        """Stop the timer, for good."""
        self._closed = True
        self._weak.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        self._timer = threading.Timer(ASK_AGAIN, self._run)
        self._timer.daemon = True
        self._timer.start()

    def _renew(self) -> None:
        if self._timer is not None and not self._closed:
            self._arm()

    def _run(self) -> None:
        try:
            self._on_due()
        # On a timer's thread nobody else could handle it. It is told in full, and the store is asked again later.
        except Exception:
            _log.exception("Asking the store again failed; it is tried again in a while.")
        if self._weak and not self._closed:
            self._arm()


def _renew_all() -> None:
    for memory in list(_memories):
        memory._renew()  # in a forked child: the timer stayed with the parent


os.register_at_fork(after_in_child=_renew_all)
