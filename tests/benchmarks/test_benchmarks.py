"""What all benchmarks share: the turns of functions, intervals, and where figures come from. Nothing is timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks import timing


class FakeClock:
    """A clock on which each function takes the microseconds that it returns."""

    def __init__(self) -> None:
        self.order: list[tuple[Any, int]] = []

    def sample(self, launch: Callable[[], Any], count: int) -> list[float]:
        self.order.append((launch(), count))
        return [launch()] * count


def test_a_command_is_kept_without_folders() -> None:
    assert timing._without_folders("copy,eager,some/where/file.py") == "copy,eager,file.py"


def test_a_command_names_a_file_or_a_folder() -> None:
    assert timing._module("some/where/benchmarks/host.py") == "benchmarks.host"
    assert timing._module("some/where/benchmarks/adopt/__main__.py") == "benchmarks.adopt"


def test_functions_take_turns_whose_order_rotates() -> None:
    clock = FakeClock()
    timing.turns({"a": lambda: 1.0, "b": lambda: 2.0}, 2, {"a": 3, "b": 1}, clock)
    assert clock.order == [(1.0, 3), (2.0, 1), (2.0, 1), (1.0, 3)]


def test_a_turn_is_a_few_milliseconds_and_a_slow_function_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "TurnClock", FakeClock)
    functions = {"ours": lambda: 1000.0, "copy": lambda: 10.0, "slow": lambda: 5000.0}
    taken = timing.raced(functions, 15)
    assert {name: len(turns) for name, turns in taken.items()} == {"ours": 15, "copy": 15, "slow": 1}
    assert {name: len(turns[-1]) for name, turns in taken.items()} == {"ours": 3, "copy": 12, "slow": 2}
