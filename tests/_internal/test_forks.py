"""Forks: what a child makes again, whatever another one does, and the imports that a fork waits for."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tunedb._internal import forks, importing


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


class Import:
    """An import in another thread that ends when the test says so."""

    def __init__(self, name: str) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=importlib.import_module, args=(name,))

    def wait(self) -> None:
        """Called by the module."""
        self.begun.set()
        self.go_on.wait(30)


@pytest.fixture
def slow_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Import]:
    name = f"slow_module_{os.getpid()}"
    under_way = Import(name)
    Path(tmp_path, f"{name}.py").write_text("import sys\nsys.under_way.wait()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "under_way", under_way, raising=False)
    under_way.thread.start()
    assert under_way.begun.wait(30)
    yield under_way
    under_way.go_on.set()
    under_way.thread.join()
    sys.modules.pop(name)


def test_a_fork_waits_for_an_import_that_calls_need(slow_import: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"slow_module_{os.getpid()}"
    monkeypatch.setattr(importing, "_NEEDED", frozenset({name}))
    assert importing.name_under_way() == name
    timer = threading.Timer(0.1, slow_import.go_on.set)
    timer.start()
    start = time.monotonic()

    def imported() -> bytes:
        signal.alarm(20)
        return importlib.import_module(name).__name__.encode()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking a process with threads
        assert in_a_child(imported) == name.encode()
    assert time.monotonic() - start >= 0.05


def test_a_fork_waits_for_no_other_import(slow_import: Import) -> None:
    assert importing.name_under_way() is None


def test_a_fork_does_not_wait_for_ever(
    slow_import: Import, monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importing, "_NEEDED", frozenset({f"slow_module_{os.getpid()}"}))
    monkeypatch.setattr(importing, "MAX_WAIT_S", 0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking a process with threads
        assert in_a_child(lambda: b"here") == b"here"
    assert "its import of slow_module" in records.text


def test_imports_go_on_in_both_after_a_fork() -> None:
    def report() -> bytes:
        return importlib.import_module("colorsys").__name__.encode()  # nothing else imports it

    assert in_a_child(report) == b"colorsys"
    thread = threading.Thread(target=report)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


def test_an_interrupt_while_a_fork_waits_lets_all_go(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[str] = []
    monkeypatch.setattr(forks, "_before", [lambda: held.append("held")])
    monkeypatch.setattr(forks, "_in_parent", [held.clear])

    def interrupted(self: importing.ImportGate) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(importing.ImportGate, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        forks._hold()
    assert held == []
