"""Children forked while another thread is within its first call, at any moment of it: each answers its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.parts import output_of
from tunedb._internal.importing import MAX_WAIT_S

BOUND_S = 100  # seconds until a child counts as stuck: it makes one call

START = f"""
import json, logging, os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore")  # a fork beside threads is what is tested
from tests.faults import calls

logging.getLogger("tunedb").addHandler(logging.NullHandler())  # a store that is busy for long is no failure here
# filelock's handlers miss a fork that its own import begins before, and say so after it; it works all the same.
told = sys.__unraisablehook__
sys.unraisablehook = lambda ignored: None if isinstance(ignored.exc_value, KeyError) else told(ignored)
main = threading.main_thread()
idle, now, statuses = threading.Event(), threading.Event(), []

def pause(seconds, patience):
    # Called in the other thread: it stops for a moment if the main thread is ready to fork, or soon is. That one may
    # itself be waiting for this one.
    if idle.wait(patience):
        idle.clear()
        now.set()
        time.sleep(seconds)

def fork_until(done, answer):
    # Fork at each pause until the other thread is done; a child that does not answer in time is killed by its alarm.
    while True:
        now.clear()
        idle.set()
        while not now.wait(0.01):
            if not done.is_alive():
                return
        child = os.fork()
        if child == 0:
            signal.alarm({BOUND_S})
            status = 1
            try:
                status = 0 if answer(len(statuses)) == 2 else 3
            finally:
                os._exit(status)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

IMPORTS = """
import importlib.abc
from tunedb import api

skipped = iter(range(int(sys.argv[2])))

class Pausing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if threading.current_thread() is not main and next(skipped, None) is None:
            pause(0.05, 0)

sys.meta_path.insert(0, Pausing())
first = threading.Thread(target=lambda: calls.call(calls.tuner(store=sys.argv[1]), 0))
assert "sqlalchemy" not in sys.modules
first.start()
fork_until(first, lambda n: calls.call(calls.tuner(store=sys.argv[1]), 100 + n)[0])
print(json.dumps(statuses))
"""

# A fork that begins while another thread is within the import of filelock, whose own handlers then stop that import.
FILELOCK = """
import importlib.abc

class Pausing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        has_handlers = hasattr(sys.modules.get("filelock._core._fork"), "__all__")  # it is at its end
        if threading.current_thread() is not main and has_handlers and name.startswith("filelock."):
            pause(0.1, 0)

sys.meta_path.insert(0, Pausing())
first = threading.Thread(target=lambda: calls.call(calls.tuner(store=sys.argv[1]), 0))
first.start()
start = time.monotonic()
fork_until(first, lambda n: calls.call(calls.tuner(store=sys.argv[1]), 100 + n)[0])
print(json.dumps([statuses, time.monotonic() - start]))
"""

# Every so many calls of a function of ours in the other thread, which makes a first call, now that all is imported.
MOMENTS = """
calls.call(calls.tuner(store=sys.argv[1]), 0)
EVERY = int(sys.argv[2])
count = 0

def trace(frame, event, argument):
    global count
    path = frame.f_code.co_filename
    if "/tunedb/" in path and "/sweep/" not in path and "/core/" not in path:  # these two have no locks
        count += 1
        if count % EVERY == 0:
            pause(0.01, 0.6)

def work():
    tuner = calls.tuner(store=sys.argv[1])
    calls.call(tuner, 1)
    calls.call(tuner, 1)
    tuner.close()

threading.settrace(trace)
first = threading.Thread(target=work)
first.start()
threading.settrace(None)
fork_until(first, lambda n: calls.call(calls.tuner(store=sys.argv[1]), 100 + n)[0])
print(json.dumps(statuses))
"""

AGAIN = """
tuner = calls.tuner(store=sys.argv[1])
calls.call(tuner, 0)

def forked(work):
    reader, writer = os.pipe()
    child, _ = os.forkpty() if sys.argv[2] == "forkpty" else (os.fork(), None)
    if child == 0:
        signal.alarm(20)
        os.write(writer, json.dumps(work()).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    return json.loads(os.read(reader, 1000))

def twice():
    return [calls.call(tuner, 1)[0], forked(lambda: [calls.call(tuner, 0)[0], calls.call(tuner, 2)[0]])]

print(json.dumps(forked(twice)))
"""


@pytest.mark.parametrize("skipped", [0, 150])  # modules, after which the first fork comes
def test_a_child_forked_while_a_first_call_imports_answers_its_own(skipped: int, quick_path: Path) -> None:
    statuses = json.loads(output_of(START + IMPORTS, quick_path, skipped, is_anew=True))
    assert len(statuses) >= 1
    assert set(statuses) == {0}


def test_a_child_forked_while_a_first_call_imports_filelock_answers_its_own(quick_path: Path) -> None:
    statuses, seconds = json.loads(output_of(START + FILELOCK, quick_path, is_anew=True))
    assert statuses
    assert set(statuses) == {0}
    assert seconds < MAX_WAIT_S


def test_a_child_forked_at_any_moment_of_a_first_call_answers_its_own(quick_path: Path) -> None:
    statuses = json.loads(output_of(START + MOMENTS, quick_path, 67))
    assert len(statuses) >= 4
    assert set(statuses) == {0}


@pytest.mark.parametrize("function", ["fork", "forkpty"])
def test_a_child_of_a_child_answers_its_calls(function: str, quick_path: Path) -> None:
    assert json.loads(output_of(START + AGAIN, quick_path, function)) == [2, [2, 2]]
