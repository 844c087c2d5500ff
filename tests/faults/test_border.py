"""What a process lacks (a folder, a thread, a package, its own end ahead) costs no call its config."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from tests.fakes import DEVICE
from tests.faults import calls
from tests.faults.parts import output_of, start_anew
from tunedb.tuner import border

WITHOUT_A_PACKAGE = """
import json, sys
sys.modules[sys.argv[2]] = None
from tests.faults import calls
tuner = calls.tuner(store=sys.argv[1])
print(json.dumps([calls.call(tuner, n)[:2] for n in range(2)]))
tuner.close()
"""

AT_THE_END = """
import atexit, json, os, sys, threading
from tests.faults import calls
from tunedb.tuner.border import guarded

def call(where, n, path=sys.argv[1], calls=calls, json=json, os=os):
    tuner = calls.tuner(store=path)
    os.write(1, (json.dumps([where, *calls.call(tuner, n)[:2]]) + "\\n").encode())
    tuner.close()

class Left:
    def __init__(self):
        self.call = call

    def __del__(self, guarded=guarded, os=os, json=json):
        answer = guarded("fake", lambda: self.call("__del__", 3), lambda: "the default")
        os.write(1, json.dumps(["__del__", answer, ""]).encode())

def late():
    threading.main_thread().join()
    call("a thread", 1)

atexit.register(call, "atexit", 2)
threading.Thread(target=late).start()
left = Left()
"""

NOWHERE = {
    "the root folder": "/", "a loop of links": "LOOP/store.db", "a path that is too long": "x/" * 3000,
    "a name that is too long": "x" * 300, "a device": "/dev/null", "not a folder": "/dev/null/store.db",
    "no such user": "~nobody-of-that-name/store.db", "the system's": "/proc/store.db",
}  # fmt: skip


@pytest.mark.parametrize("kind", NOWHERE)
@pytest.mark.parametrize("mode", ["tune", "off"])
def test_a_store_that_can_be_nowhere_costs_no_call_its_config(
    kind: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "gettempdir", no_folder)
    monkeypatch.delenv("HOME", raising=False)
    tuner = calls.tuner(store=NOWHERE[kind].replace("LOOP", f"{tmp_path}/loop"), mode=mode)
    assert [calls.call(tuner, n)[:2] for n in range(2)] == [(2, "sweep") if mode == "tune" else (1, "default")] * 2
    tuner.close()
    warnings = [record.getMessage() for record in records.records if record.levelname == "WARNING"]
    assert len(warnings) == len(set(warnings))


def no_folder() -> NoReturn:
    raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")


def test_a_store_in_memory_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tuner = calls.tuner(store=":memory:")
    assert calls.call(tuner)[:2] == (2, "sweep")
    sweeps = tuner.store.get_kernel_sweeps("fake", DEVICE, "ab" * 32)
    tuner.close()
    assert len(sweeps) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_without_a_new_thread_a_call_tunes_and_stores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refused(self: threading.Thread) -> None:
        raise error

    monkeypatch.setattr(threading.Thread, "start", refused)
    tuner = calls.tuner(store=str(tmp_path / "store.db"), shared=f"sqlite:///{tmp_path}/shared.db")
    assert [calls.call(tuner, n)[:2] for n in range(2)] == [(2, "sweep")] * 2
    tuner.close()
    assert calls.call(calls.tuner(store=str(tmp_path / "store.db")), 1)[:2] == (2, "store")


class RaisingHandler(logging.Handler):
    """A program's own handler, with a fault."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("the handler's fault")


def test_a_logging_handler_that_raises_costs_no_call_its_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(border, "_logged", set())
    log, handler = logging.getLogger("tunedb"), RaisingHandler()

    def work() -> str:
        log.warning("says something")
        return "tuned"

    log.addHandler(handler)
    try:
        assert border.guarded("fake", work, lambda: "the default") == "the default"
    finally:
        log.removeHandler(handler)


@pytest.mark.parametrize("package", ["sqlalchemy", "alembic", "platformdirs", "sqlite3", "fcntl"])
def test_without_a_package_a_call_gets_its_config(package: str, tmp_path: Path) -> None:
    out, err = start_anew(WITHOUT_A_PACKAGE, tmp_path / "store.db", package).communicate(timeout=60)
    assert json.loads(out or "[]") == [[2, "sweep"]] * 2, err


def test_calls_at_the_end_of_a_process_are_served_and_tuned_where_python_still_can(tmp_path: Path) -> None:
    lines = map(json.loads, output_of(AT_THE_END, tmp_path / "store.db", is_anew=True).splitlines())
    answers = {where: (block, source) for where, block, source in lines}
    assert answers["a thread"] == (2, "sweep")
    assert answers["atexit"] == (2, "sweep")
    assert answers["__del__"] == ("the default", "")


def test_a_locale_of_ascii_costs_no_call_its_config(tmp_path: Path) -> None:
    env = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    env["TUNEDB_STORE"] = str(tmp_path / "ünïcode" / "store.db")
    code = """
import json, sys
from tests.faults import calls
tuner = calls.tuner()
print(json.dumps([calls.call(tuner, n)[:2] for n in range(2)]))
"""
    out, err = start_anew(code, env=env).communicate(timeout=60)
    assert json.loads(out or "[]") == [[2, "sweep"]] * 2, err
