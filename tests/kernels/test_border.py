"""No error of the operating system, of a thread or of an import reaches a kernel's caller, whatever call meets it.

The test finds out itself which functions outside of Python a first call reaches, and has each of them fail in turn.
"""

from __future__ import annotations

import errno
import random
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import CodeType, FrameType, ModuleType

import pytest
import torch
import triton
from torch.nn import functional as F  # noqa: N812 - torch's own habit

import tunedb
from tests.conftest import INTERPRETED
from tests.decorator.kernels import add_one, grid_of, tuned
from tunedb.kernels import avg_pool1d

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="on a GPU the driver's calls would fail as well")

PACKAGE = str(Path(tunedb.__file__).parent)
FOREIGN = tuple(str(Path(str(module.__file__)).parent) for module in (torch, triton))
# The modules behind os, tempfile, threading, sqlite3, socket, subprocess, multiprocessing and the lock files.
OUTSIDE = {
    "posix", "io", "_io", "fcntl", "_socket", "socket", "_sqlite3", "sqlite3", "_posixsubprocess", "select",
    "pwd", "grp", "_multiprocessing", "mmap",
}  # fmt: skip
ERRORS: tuple[Callable[[], Exception], ...] = (
    lambda: OSError(errno.ENOSPC, "No space left on device"),
    lambda: PermissionError(errno.EACCES, "Permission denied"),
    lambda: FileNotFoundError(errno.ENOENT, "No usable temporary directory found"),
    lambda: OSError(errno.EMFILE, "Too many open files"),
    lambda: OSError(errno.EIO, "Input/output error"),
    lambda: RuntimeError("can't start new thread"),
    lambda: ImportError("sys.meta_path is None, Python is likely shutting down"),
    lambda: UnicodeEncodeError("ascii", "\xfc", 0, 1, "ordinal not in range(128)"),
    lambda: ValueError("embedded null byte"),
    lambda: KeyError("getpwuid(): uid not found: 12345"),
    MemoryError,
)
Place = tuple[str, CodeType]  # the name of a function outside, and the function of tunedb that led there


class Outside:
    """A profile function that notes every call to the outside, and raises in place of the first at one place."""

    def __init__(self, place: Place | None = None, error: Callable[[], Exception] = OSError) -> None:
        self.place, self.error = place, error
        self.seen: dict[Place, None] = {}
        self.has_failed = False

    def __call__(self, frame: FrameType, event: str, function: object) -> None:
        if event != "c_call" or (name := _name(function)) is None or (ours := _ours(frame)) is None:
            return
        self.seen[name, ours] = None
        if (name, ours) == self.place and not self.has_failed:
            self.has_failed = True
            raise self.error()

    def watch(self, call: Callable[[], None]) -> None:
        """Make a call, on whose threads it looks as well."""
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            call()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


def _name(function: object) -> str | None:
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__name__", "")
    if owner is None or isinstance(owner, ModuleType):
        module = getattr(function, "__module__", None)
        if module == "_thread":
            return f"{module}.{name}" if name == "start_new_thread" else None  # a lock can't fail
    else:
        kind = owner if isinstance(owner, type) else type(owner)
        module, name = kind.__module__, f"{kind.__name__}.{name}"
    return f"{module}.{name}" if module in OUTSIDE else None


def _ours(frame: FrameType | None) -> CodeType | None:
    """Return the function of tunedb that led to a call; None if Triton or torch did: those errors are the caller's."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(FOREIGN):
            return None
        if frame.f_code.co_filename.startswith(PACKAGE):
            return frame.f_code
        frame = frame.f_back
    return None


def pool() -> None:
    x = torch.randn(2, 3, 33)
    torch.testing.assert_close(avg_pool1d(x, 4, 2, 1), F.avg_pool1d(x, 4, 2, 1))


def pool_backward() -> None:
    x, expected = (torch.ones(2, 3, 33, requires_grad=True) for _ in range(2))
    avg_pool1d(x, 4, 2, 1).square().sum().backward()
    F.avg_pool1d(expected, 4, 2, 1).square().sum().backward()
    torch.testing.assert_close(x.grad, expected.grad)


KERNEL = tuned(add_one, name="border")


def decorated() -> None:
    x, y = torch.randn(100), torch.zeros(100)
    KERNEL[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 1)


@pytest.fixture
def renewed(tmp_path: Path) -> Callable[[str], None]:
    """Begin again, as a new process would, on a store that is not there yet."""
    numbers = count()
    return lambda mode: tunedb.configure(mode=mode, store=tmp_path / f"{next(numbers)}.db", budget=0.01)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # also what `__del__` calls fails
@pytest.mark.parametrize("mode", ["tune", "record", "read", "off"])
@pytest.mark.parametrize(("call", "most"), [(decorated, 6), (pool, 3), (pool_backward, 2)])
def test_a_call_is_right_whichever_function_outside_fails(
    call: Callable[[], None], most: int, mode: str, renewed: Callable[[str], None], exhaustive: bool
) -> None:
    renewed(mode)
    call()  # imports, which are the subject of another test
    renewed(mode)
    outside = Outside()
    outside.watch(call)
    places = list(outside.seen)
    assert len(places) >= 5
    generator = random.Random(f"{mode} {call.__name__}")
    for place in places if exhaustive else generator.sample(places, min(most, len(places))):
        for error in ERRORS if exhaustive else [generator.choice(ERRORS)]:
            renewed(mode)
            failing = Outside(place, error)
            name, ours = place
            try:
                failing.watch(call)
            except Exception as reached:
                pytest.fail(f"{type(reached).__name__} of {name}, in {ours.co_qualname}, reached the caller: {reached}")
