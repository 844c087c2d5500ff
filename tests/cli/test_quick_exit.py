"""The quick end of the program: all that counts is done before it, and only freeing objects is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import run_apart, run_forked
from tests.planted import NAME, register_lightly

PROGRAM = """
import atexit, sys, threading, time
from tunedb.cli.quick_exit import exit_quickly

class Freed:
    def __del__(self):
        print("freed", flush=True)

kept = Freed()
atexit.register(print, "handler")

def late():
    while not is_ending():
        time.sleep(0.001)
    print("thread")

def is_ending():
    return not threading.main_thread().is_alive()

threading.Thread(target=late).start()
print("said")
exit_quickly(3)
"""


def test_threads_end_handlers_are_called_and_all_is_said(tmp_path: Path) -> None:
    answer = run_apart("-c", PROGRAM)
    assert (answer.code, answer.out.split(), answer.err) == (3, ["said", "thread", "handler"], "")


def test_a_python_without_these_functions_ends_as_usual() -> None:
    answer = run_apart("-c", f"import threading; del threading._shutdown\n{PROGRAM.replace('.start()', '')}")
    assert answer.code == 3
    assert answer.out.split()[:2] == ["said", "handler"]


@pytest.mark.parametrize(("outcome", "code"), [(0.001, 0), ("wrong", 1)])
def test_warm_ends_so_and_has_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: float | str, code: int
) -> None:
    """The kernel's module has an object that says when it is freed."""
    monkeypatch.setenv("PYTHONPATH", register_lightly(site := tmp_path / "site"))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    (site / "told.py").write_text(
        "import atexit\nfrom tests.planted import KERNEL\n"
        "class Freed:\n    def __del__(self, print=print): print('freed')\n"
        "kept = Freed()\natexit.register(print, 'handler')\n"
    )
    (site / "planted-1.0.dist-info" / "entry_points.txt").write_text(f"[tunedb.kernels]\n{NAME} = told:KERNEL\n")
    (shapes := tmp_path / "shapes.jsonl").write_text(json.dumps({"kernel": NAME, "b1": outcome}))
    answer = run_forked("-m", "tunedb", "warm", "--from", shapes, "--workers", 1, "--format", "json", "-q")
    assert answer.code == code
    assert answer.out.rstrip().endswith("handler")
