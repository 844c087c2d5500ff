"""Processes to break things with: many that start at once, and one that runs a piece of code. Loads no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent


def start(code: str, *arguments: object, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """A process that runs the code, with pipes on all sides."""
    words = [sys.executable, "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT, env=env)


def output_of(code: str, *arguments: object, env: Mapping[str, str] | None = None) -> str:
    """What a process that runs the code prints; it must end well, and say nothing on stderr."""
    process = start(code, *arguments, env=env)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, ""), err
    return out


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
