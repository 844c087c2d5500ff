"""The GPUs of workers that start early: none is left to another process while a worker makes its context there."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import stand_in
from tests.fleet.conftest import tasks_of
from tests.fleet.test_host import Heard
from tests.planted import NAME
from tests.threads import eventually
from tunedb import settings
from tunedb.core.device import INTERPRETER
from tunedb.fleet.early_workers import EarlyWorkers
from tunedb.fleet.gpu_lock import try_gpu
from tunedb.fleet.host import tune_on_host
from tunedb.fleet.queue import TaskQueue
from tunedb.fleet.slots import Slot
from tunedb.fleet.task_run import HostRun
from tunedb.store import Store
from tunedb.worker.messages import Finish, Prepare, Ready, Start
from tunedb.worker.process import end_process, start_process, tell

WAIT_S = 60.0  # ample, also on a busy machine
TORCH = """
import os, time
from pathlib import Path
def synchronize(index):
    folder = Path(os.environ["CONTEXT"])
    (folder / "begun").touch()
    while not (folder / "may end").exists():
        time.sleep(0.01)
    (folder / "made").touch()
cuda = sys.modules["torch.cuda"] = ModuleType("torch.cuda")
cuda.__path__, cuda.__getattr__, cuda.synchronize = [], __getattr__, synchronize
"""


@dataclass(frozen=True)
class Context:
    """The context of a GPU for which an interpreter stands: a worker makes it until it may end."""

    folder: Path

    @property
    def slot(self) -> Slot:
        """The slot of the GPU."""
        variables = {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "0", "CONTEXT": str(self.folder)}
        return Slot("GPU 0", INTERPRETER, -1, -1, variables, uuid=f"GPU of {self.folder}")

    @property
    def is_begun(self) -> bool:
        """Whether the worker makes it."""
        return (self.folder / "begun").exists()

    @property
    def is_made(self) -> bool:
        """Whether it is there."""
        return (self.folder / "made").exists()

    def end(self) -> None:
        """Let the worker be done with it."""
        (self.folder / "may end").touch()

    def is_gpu_free(self) -> bool:
        """Whether another process would get the GPU now."""
        with try_gpu(self.slot.uuid) as is_held:
            return is_held


@pytest.fixture
def context(planted: str, tmp_path: Path) -> Iterator[Context]:
    """The context of a GPU; no worker waits for its end when the test is over."""
    torch = tmp_path / "site" / "torch.py"
    torch.unlink()
    torch.write_text(Path(stand_in.__file__).read_text() + TORCH)
    (folder := tmp_path / "context").mkdir()
    context = Context(folder)
    yield context
    context.end()


def test_a_worker_is_ready_when_the_context_is_made(store: Store, context: Context) -> None:
    child, events = start_process(context.slot.variables)
    tell(child, Prepare((NAME,), 0))
    assert eventually(lambda: context.is_begun, WAIT_S)
    tell(child, Start(-1, 20, settings.current().store, None, 5.0))
    with pytest.raises(queue.Empty):
        events.get(timeout=1.0)
    context.end()
    assert events.get(timeout=WAIT_S) == Ready()
    assert context.is_made
    assert end_process(child, WAIT_S, Finish()) == 0


def test_a_worker_whose_parent_ends_does_not_wait_for_the_context(context: Context) -> None:
    child, _ = start_process(context.slot.variables)
    tell(child, Prepare((), 0))
    tell(child, Start(-1, 20, settings.current().store, None, 5.0))
    assert eventually(lambda: context.is_begun, WAIT_S)
    assert child.stdin is not None
    child.stdin.close()
    child.wait(WAIT_S)
    assert not context.is_made


def test_no_other_process_gets_the_gpu_before_the_context_is_made(store: Store, context: Context) -> None:
    got: list[bool] = []

    def compete() -> None:
        while not context.is_gpu_free():
            time.sleep(0.001)
        got.append(context.is_made)

    with EarlyWorkers() as early:
        early.start([context.slot], 1, [NAME])
        other = threading.Thread(target=compete, daemon=True)
        other.start()
        assert eventually(lambda: context.is_begun, WAIT_S)
        heard = Heard(on_begin=lambda slot, task: context.end())
        outcomes = tune_on_host(
            tasks_of({"b1": 0.001}), [context.slot], HostRun(store, settings.current()), heard, early
        )
    other.join(WAIT_S)
    assert [outcome.word for outcome in outcomes] == ["sweep"]
    assert got == [True]
    assert context.is_gpu_free()


def test_a_worker_for_which_no_task_is_left_ends_and_leaves_the_gpu(
    store: Store, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another slot may have taken the tasks; one that comes after all gets a new worker."""
    monkeypatch.setattr(TaskQueue, "has", lambda *_: False)
    context.end()
    with EarlyWorkers() as early:
        early.start([context.slot], 1, [NAME])
        outcomes = tune_on_host(
            tasks_of({"b1": 0.001}), [context.slot], HostRun(store, settings.current()), Heard(), early
        )
    assert [outcome.word for outcome in outcomes] == ["sweep"]
    assert context.is_gpu_free()


@pytest.mark.parametrize("names", [[], ["GPU 0"]], ids=["no slot", "no time"])
def test_a_run_that_reaches_no_task_leaves_the_gpu(store: Store, context: Context, names: list[str]) -> None:
    with EarlyWorkers() as early:
        early.start([context.slot], 1, [NAME])
        assert not context.is_gpu_free()
        if names:
            run = HostRun(store, settings.current(), budget=0.0)
            assert tune_on_host(tasks_of({"b1": 0.001}), [context.slot], run, Heard(), early) == []
            assert context.is_gpu_free()
    assert context.is_gpu_free()
