"""Processes to break things with: many that start at once, and one that runs a piece of code. Loads no torch."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests import forked

ROOT = Path(__file__).parent.parent.parent
# Before a program that is not about how long a call waits.
PATIENT = "import tests.patience; tests.patience.be_patient()\n"


@functools.cache
def stand_ins() -> str:
    """A folder in which torch and Triton are `tests/stand_in.py`: nothing is computed here, and torch takes 1.5 s."""
    folder = tempfile.mkdtemp(prefix="tunedb-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Path(folder).chmod(0o755)  # some programs become another user
    for name in ("torch", "triton"):
        shutil.copy(ROOT / "tests" / "stand_in.py", Path(folder, f"{name}.py"))
    return folder


def with_stand_ins(env: Mapping[str, str] | None) -> dict[str, str]:
    """The environment, this process's if there is none, with stand-ins for torch and Triton."""
    env = dict(os.environ if env is None else env)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [stand_ins(), env.get("PYTHONPATH")]))
    return env


def start(
    code: str, *arguments: object, env: Mapping[str, str] | None = None, needs_torch: bool = False
) -> forked.Program:
    """A process that runs the code, with pipes on all sides; its kernels are made up, and so are torch and Triton.

    It is forked from one that has imported SQLAlchemy and the like, and what of tunedb needs no torch.
    """
    words = ["-c", code, *arguments]
    if needs_torch:
        return forked.Program(words, env=env, cwd=ROOT, libraries=forked.WITH_TORCH)
    return forked.Program(words, env=with_stand_ins(env), cwd=ROOT, libraries=forked.WITH_TUNEDB)


def start_anew(code: str, *arguments: object, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """A process as of `start`, in which nothing is imported yet: for tests of imports and of Python's options."""
    words = [sys.executable, "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT, env=with_stand_ins(env))


def output_of(
    code: str,
    *arguments: object,
    env: Mapping[str, str] | None = None,
    needs_torch: bool = False,
    is_anew: bool = False,
) -> str:
    """What a process that runs the code prints; it must end well, and say nothing on stderr."""
    process: forked.Program | subprocess.Popen[str]
    if is_anew:
        process = start_anew(code, *arguments, env=env)
    else:
        process = start(code, *arguments, env=env, needs_torch=needs_torch)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, ""), err
    return out


def write_all() -> None:
    """Write what a busy machine may not have written when calls returned: `os._exit` loses it."""
    from tunedb.store.wait_budget import one_call
    from tunedb.store.writer import flush_writers

    with one_call(30):
        flush_writers()


def crowd(count: int, work: Callable[[int], object]) -> list[Any]:
    """What `work(n)` gives in each of `count` processes that begin at the same moment.

    They are forked, so that each need not import all of it again: call this in a process made by `start`, before it
    has opened anything.
    """
    gate, opener = os.pipe()
    answers = []
    for n in range(count):
        answer, end = os.pipe()
        if os.fork() == 0:
            status = 1
            try:
                os.close(opener)
                os.read(gate, 1)
                text = json.dumps(work(n))
                write_all()
                with os.fdopen(end, "w") as file:
                    file.write(text)
                status = 0
            finally:  # a child must never run on into the parent's tests, whatever happened
                if status:
                    traceback.print_exc()
                os._exit(status)
        os.close(end)
        answers.append(answer)
    os.close(opener)
    texts = []
    for answer in answers:
        with os.fdopen(answer) as file:
            texts.append(file.read())
    for _ in range(count):
        os.wait()
    return [json.loads(text) for text in texts]
