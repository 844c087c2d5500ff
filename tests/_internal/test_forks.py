"""What a forked child makes again: every function and every living object is asked, whatever another one does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tunedb._internal import forks


def in_a_child(report: Callable[[], bytes]) -> bytes:
    """What the report says in a forked child."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, report())
        os._exit(0)
    os.waitpid(child, 0)
    return os.read(reader, 1000)


class Counter:
    def __init__(self) -> None:
        self.renewed = 0
        forks.renew_in_child(self)

    def renew(self) -> None:
        self.renewed += 1


class Failing(Counter):
    def renew(self) -> None:
        raise RuntimeError("can't start new thread")


def test_a_child_renews_what_lives_and_its_parent_does_not() -> None:
    counter = Counter()
    assert in_a_child(lambda: b"%d" % counter.renewed) == b"1"
    assert counter.renewed == 0


def test_one_that_fails_keeps_no_other_from_being_renewed() -> None:
    things = [Failing(), Counter(), Failing(), Counter()]
    assert in_a_child(lambda: b"%d" % sum(thing.renewed for thing in things)) == b"2"


def test_the_registry_keeps_nothing_alive() -> None:
    before = len(forks._objects)
    counter = Counter()
    assert len(forks._objects) == before + 1
    del counter
    assert len(forks._objects) == before


def test_a_function_is_called_in_the_child() -> None:
    calls: list[int] = []

    @forks.in_child
    def call() -> None:
        calls.append(1)

    try:
        assert in_a_child(lambda: b"%d" % len(calls)) == b"1"
    finally:
        forks._functions.remove(call)


def test_no_other_file_registers_with_the_interpreter() -> None:
    root = Path(forks.__file__).parents[1]
    files = [path for path in sorted(root.rglob("*.py")) if "register_at_fork" in path.read_text()]
    assert [path.name for path in files] == ["forks.py"]
