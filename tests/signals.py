"""Signal handlers of a program that raise in the middle of its calls."""

from __future__ import annotations

import contextlib
import signal
import traceback
from collections.abc import Iterator
from types import FrameType

from tests import quick_interpreter

# Python calls these while it frees objects, NumPy the last to learn what a value is; what they raise is dropped.
_DROPS_EXCEPTIONS = ("__del__", "__len__")
_CALLBACKS = ("remove", "_remove")  # of weak references: how their names begin
_HAS_WEAK_REFERENCES = "torch._dynamo.utils"  # whose callbacks are lambdas
# Here an OSError is an answer: that there is no such file, or that a folder is there already.
_ASKS_BY_ERROR = ("genericpath", "posixpath", "pathlib", "pathlib._local", "importlib._bootstrap_external")


class Terminated(Exception):
    """What a program may make of SIGTERM."""


class Late(OSError):
    """A time limit of a program's own, of a kind that a failing disk raises as well."""


KINDS: tuple[type[Exception], ...] = (Terminated, TimeoutError, Late)


def _is_dropping(frame: FrameType) -> bool:
    """Whether what the function raises is dropped, whatever it is."""
    name = frame.f_code.co_name
    is_lambda = name == "<lambda>" and frame.f_globals.get("__name__") == _HAS_WEAK_REFERENCES
    return name in _DROPS_EXCEPTIONS or name.startswith(_CALLBACKS) or is_lambda


def is_out_of_place(frame: FrameType | None) -> bool:
    """Whether what is raised would be dropped, or break what is not tunedb's, for good.

    Python drops it while it frees an object, and in its log handlers; also where these call other functions: a file
    lock that is freed releases itself. Its functions on paths, and its imports, take it for an answer if it is an
    OSError. Triton's interpreter, while it puts its own functions in the place of the language's or takes them back,
    would stop half-way, and later launches of the process would fail.
    """
    while frame is not None:
        module, name = frame.f_globals.get("__name__"), frame.f_code.co_name
        if _is_dropping(frame) or (module, name) == ("logging", "emit"):
            return True
        if module in _ASKS_BY_ERROR or module == quick_interpreter.__name__:
            return True
        if module == "triton.runtime.interpreter" and name.startswith(("_patch", "restore", "set_attr")):
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def handling(kind: type[Exception]) -> Iterator[list[str]]:
    """Have SIGALRM raise an exception of that class; yields where it came, once it did."""
    came: list[str] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if is_out_of_place(frame):
            signal.setitimer(signal.ITIMER_REAL, 1e-3)
            return
        came.append(" < ".join(f"{at.f_code.co_filename}:{at.f_lineno}" for at, _ in traceback.walk_stack(frame)))
        raise kind("of the program")

    before = signal.signal(signal.SIGALRM, stop)
    try:
        yield came
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def raising(kind: type[Exception], after_s: float) -> Iterator[list[str]]:
    """Let a block be interrupted once, and hold that what was raised reached its end."""
    raised = None
    with handling(kind) as came:
        try:
            signal.setitimer(signal.ITIMER_REAL, after_s)
            yield came
            signal.setitimer(signal.ITIMER_REAL, 0)
        except kind as error:
            raised = type(error)
    assert raised is (kind if came else None), f"swallowed {kind.__name__}, at {came}"
