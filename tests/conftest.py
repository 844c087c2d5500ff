"""What every test gets: settings of its own, and a visible skip where a GPU is needed."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: its tensors here are tiny, its threads spin
# Hundreds of processes import the same files: the first of them keeps the bytecode, also that of rewritten tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

from tests.compiled_statements import share_statements
from tests.quick_interpreter import make_quick
from tests.schemas import replaying
from tests.threads import lateness
from tunedb import settings
from tunedb.store import Store, open_store

gc.disable()  # until the tests are collected: what is made until then stays

# Kernel tests run in Triton's interpreter, on the CPU, where TRITON_INTERPRET=1 is set; else they need a GPU.
INTERPRETED = settings.is_interpreted()
DEVICE, INDEX = ("cpu", -1) if INTERPRETED else ("cuda", 0)
TRITON, NUMPY = metadata.version("triton"), metadata.version("numpy")
# Triton 3.6's interpreter makes arrays in a way that NumPy 2.4 no longer has.
BROKEN = tuple(map(int, TRITON.split(".")[:2])) < (3, 7) and tuple(map(int, NUMPY.split(".")[:2])) >= (2, 4)
BROKEN_REASON = f"Triton {TRITON}'s interpreter does not run with NumPy {NUMPY}"
runs_interpreter = pytest.mark.skipif(BROKEN, reason=BROKEN_REASON)
runs_kernels = runs_interpreter if INTERPRETED else pytest.mark.gpu

MEMORY = "/dev/shm"
MIN_MEMORY = 2**30  # bytes
WAITS = 10  # for a core, in a call or in a picture that is drawn: of its threads, and of those that it asks
GARBAGE = 20_000, 20, 20  # objects until a collection, which tests that are about garbage ask for themselves
EXAMPLES = 30  # that Hypothesis makes for a test which says no number, 100 with --exhaustive


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option with which a release is tested."""
    parser.addoption("--exhaustive", action="store_true", help="try everything of which tests take a sample")


@pytest.fixture
def exhaustive(pytestconfig: pytest.Config) -> bool:
    """Whether everything is to be tried of which a test takes a sample."""
    return bool(pytestconfig.getoption("--exhaustive"))


@pytest.fixture
def allowance() -> Iterator[Callable[[], float]]:
    """The seconds that a call may take longer because this machine is busy: next to none on a quiet one."""
    with lateness() as late:
        yield lambda: WAITS * late()


def drop_unwritten() -> None:
    """Drop the results that wait for a test's store: they would be tried again, and logged, in the tests after it."""
    from tunedb.store import writer

    for waiting in list(writer._unwritten):
        with waiting._guard:
            waiting._waiting.clear()
        waiting.close()
        writer._unwritten.discard(waiting)


def end_timers() -> None:
    """End what the test left to be done later: in another test it would find no store, and say so there."""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()
            with contextlib.suppress(RuntimeError):  # it is only being started, and will find itself cancelled
                thread.join(1.0)


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A store in the test's own folder, no cache, and no settings from the environment that started the tests."""
    log = logging.getLogger("tunedb")
    level = log.level
    for variable in list(os.environ):
        if variable.startswith("TUNEDB_"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("TUNEDB_STORE", str(tmp_path / "tunedb.db"))
    monkeypatch.setenv("TUNEDB_CACHE", "off")
    settings._change({})
    yield
    for variable in list(os.environ):
        if variable.startswith("TUNEDB_"):  # those that the test set: they may be wrong on purpose
            monkeypatch.delenv(variable)
    settings._change({})
    log.setLevel(level)  # commands set it, and the completion of a shell's words for good
    end_timers()
    drop_unwritten()


@pytest.fixture(autouse=True)
def quick_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make new stores by statements that Alembic said before; tests of schemas have a fixture of this name instead."""
    monkeypatch.setattr("alembic.command.upgrade", replaying())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store in a file, that of the test's settings."""
    return open_store(str(tmp_path / "tunedb.db"))


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time for the store, however busy the machine is."""
    from tests.patience import be_patient

    be_patient(monkeypatch.setattr)


@pytest.fixture
def sticky(tmp_path: Path) -> Path:
    """A folder as /tmp is: everyone may make entries, and remove none but their own."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The records of the logger `tunedb`, from INFO on."""
    caplog.set_level(logging.INFO, logger="tunedb")
    return caplog


@pytest.fixture(scope="session", autouse=True)
def quick_interpreter() -> None:
    """Where kernels are interpreted, leave out what makes no difference."""
    if INTERPRETED:
        make_quick()


def pytest_configure(config: pytest.Config) -> None:
    """Have temporary folders in memory if there is room: thousands of stores would wait for a disk."""
    hypothesis.settings.register_profile("sample", max_examples=EXAMPLES)  # others each time
    if not config.getoption("--exhaustive"):
        hypothesis.settings.load_profile("sample")
    sys.dont_write_bytecode = False
    share_statements()
    if "PYTEST_DEBUG_TEMPROOT" in os.environ or not os.access(MEMORY, os.W_OK):
        return
    volume = os.statvfs(MEMORY)
    may_execute = not volume.f_flag & os.ST_NOEXEC  # tests load what they compile there
    if may_execute and volume.f_bavail * volume.f_frsize > MIN_MEMORY:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = MEMORY


def pytest_collection_finish() -> None:
    """Exempt torch, Triton and the collected tests from garbage collection, which takes a fifth of the time else."""
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the GPU tests, with the reason, where there is no GPU."""
    if not any(item.get_closest_marker("gpu") for item in items):
        return
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU, and torch sees none here"))
