"""The tests' own signals: none is raised where Python would drop it."""

from __future__ import annotations

import io
import logging
import time
import weakref
from collections.abc import Callable

import pytest

from tests.signals import Terminated, raising


def spend() -> None:
    """Take 20 ms, in another function than the one that Python calls."""
    end = time.monotonic() + 0.02
    while time.monotonic() < end:
        pass


class Held:
    """What has work to do when it is freed, as a file lock has."""

    def __del__(self) -> None:
        spend()


class Slow(io.StringIO):
    """A log file that takes its time."""

    def write(self, text: str) -> int:
        """Take it."""
        spend()
        return super().write(text)


def free() -> None:
    """Free an object that has work to do."""
    held = Held()
    del held


def forget() -> None:
    """Free an object of which a weak reference's callback has work to do."""

    def remove(_: object) -> None:
        spend()

    held = type("Plain", (), {})()
    reference = weakref.ref(held, remove)
    del held
    assert reference() is None


def log() -> None:
    """Log to a file that takes its time."""
    logger = logging.Logger("tests")
    logger.addHandler(logging.StreamHandler(Slow()))
    logger.warning("slowly")


@pytest.mark.parametrize("work", [free, forget, log])
def test_a_signal_waits_while_python_would_drop_what_it_raises(work: Callable[[], None]) -> None:
    with raising(Terminated, 0.005) as came:
        work()
        spend()
    assert len(came) == 1
