"""The worker: a process that sweeps on a GPU, so that a kernel that hangs or crashes ends only this process.

    python -m tunedb.worker.child FD

It reads messages from stdin, at first `Prepare` if its parent still plans, then `Start`, then tasks, and writes events
to the file descriptor FD. If stdin ends, its parent is gone: it ends too, even in the middle of a task, but gives back
its claim and sends what waits.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Collection
from types import FrameType
from typing import IO, TYPE_CHECKING

from tunedb import settings
from tunedb._internal import interrupts
from tunedb._internal.control import let_pass
from tunedb.core.problem import Config
from tunedb.core.sweep import Source, Sweep, Trial
from tunedb.core.task import TuningTask
from tunedb.errors import CallerError, SettingError, StickyDeviceError
from tunedb.registry import kernel_named
from tunedb.runtime.compile_job import preload_aside
from tunedb.runtime.compile_pool import limit_workers, one_compile_worker
from tunedb.runtime.current_device import device_of, placement_of
from tunedb.store import at_end, wait_budget
from tunedb.store.shared import CLOSE_S, flush_shared
from tunedb.store.stored import stored_with
from tunedb.store.wait_budget import one_call
from tunedb.sweep.observer import Observer, suspect_of
from tunedb.tuner.lock_folder import lock_folder
from tunedb.tuner.tuning_result import Skipped, Swept
from tunedb.tuner.verification import verify
from tunedb.worker.inbox import Inbox
from tunedb.worker.messages import (
    FINISH_S,
    CopyRateMeasured,
    DeviceLost,
    Event,
    Finish,
    MeasureCopyRate,
    Prepare,
    Ready,
    Request,
    Start,
    SweepStarted,
    Tried,
    Trying,
    Tune,
    Tuned,
    Verified,
    encode,
)
from tunedb.worker.preparation import prepare

if TYPE_CHECKING:
    from tunedb.store import Store
    from tunedb.tuner.tuner import Tuner

STORES_S = 60.0  # for which a task waits for its stores in all, where a call waits two seconds

_log = logging.getLogger("tunedb")


def tune_task(
    tuner: Tuner,
    task: TuningTask,
    *,
    force: bool,
    budget: float,
    observer: Observer,
    builds_on: Collection[str] | None = None,
    waits: bool = True,
    waited: float = 0.0,
) -> tuple[str, Sweep | None]:
    """Tune a task; return how it ended and the sweep: `sweep`, `stored`, `failed`, `aborted`, `busy`, `out of memory`.

    `busy` means that another process tunes the problem; it is waited for if this one `waits`. Raises what
    `Tuner.tune_ahead` raises; but too little memory is an outcome, and so, with a log record, is a problem that the
    kernel or the user's own code can't handle.
    """
    import torch

    from tunedb.runtime.failures import reason_of_one

    try:
        with one_call(STORES_S):
            result = tuner.tune_ahead(
                task, force=force, builds_on=builds_on, budget=budget, observer=observer, waits=waits, waited=waited
            )
    except (torch.OutOfMemoryError, MemoryError):
        return "out of memory", None
    except (CallerError, SettingError) as error:  # the other problems of a list can be tuned all the same
        _log.error("%s could not be tuned. %s", task, str(error))
        return "aborted", None
    except Exception as error:  # the kernel's own code, which made no tensors for example, may raise anything
        let_pass(error)
        _log.error("%s could not be tuned. %s", task, reason_of_one(error))
        return "aborted", None
    if isinstance(result, Skipped):
        return "busy" if result.is_claimed else "failed", None
    if isinstance(result, Swept) and result.sweep.config is None:  # also if what was stored before serves on
        return result.sweep.status, result.sweep
    assert result.choice is not None
    is_new = isinstance(result, Swept) and result.choice.source == Source.SWEEP
    return "sweep" if is_new else "stored", result.choice.sweep


class EventWriter:
    """An observer that writes what it observes to the supervisor."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def put(self, event: Event) -> None:
        """Write one event, at once."""
        try:
            self._file.write(encode(event))
            self._file.flush()
        except BrokenPipeError:  # nobody supervises this process any more: no reason to call the sweep a failure
            os.kill(os.getpid(), signal.SIGTERM)

    def started(self, sweep: Sweep, candidates: int) -> None:
        """Write that the sweep started."""
        self.put(SweepStarted(sweep.uid, candidates))

    def trying(self, config: Config) -> None:
        """Write which config is about to be tried: the suspect if this process ends."""
        self.put(Trying(config))

    def tried(self, trial: Trial, best_us: float | None, default_us: float | None) -> None:
        """Write the trial, with the best time and the default's so far."""
        self.put(Tried(trial, best_us, default_us))

    def finished(self, sweep: Sweep) -> None:
        """Write nothing: the answer to the task implies it."""


def run(tuner: Tuner, store: Store, index: int, message: Request, events: EventWriter) -> bool:
    """Do what one message asks for and write the answer; return whether the device is still usable."""
    if isinstance(message, MeasureCopyRate):
        return _measure_copy_rate(store, index, events)
    kernel, problem = kernel_named(message.problem.kernel), message.problem
    _log.disabled = False  # a module that configures logging may disable all loggers
    if isinstance(message, Tune) and message.arguments is not None:
        problem = kernel.problem(message.arguments)  # a kernel may need more than the problem says
    task = TuningTask(kernel, problem, placement_of(index))
    limit_workers(message.compiles)
    if isinstance(message, Tune):
        outcome, sweep = tune_task(
            tuner, task, force=message.force, builds_on=message.builds_on, budget=message.budget, observer=events,
            waits=message.waits, waited=message.waited,
        )  # fmt: skip
        is_lost = sweep is not None and suspect_of(sweep) is not None
        events.put(Tuned(outcome, None if sweep is None else sweep.uid, is_lost))
        return not is_lost
    try:
        sweep = stored_with(store, tuner.settings.bundles).find(message.uid)
        verification = verify(tuner, task, sweep, events, rivals=message.rivals)
    except StickyDeviceError as error:
        events.put(DeviceLost(str(error)))
        return False
    events.put(Verified(verification))
    return True


def _measure_copy_rate(store: Store, index: int, events: EventWriter) -> bool:
    from tunedb.runtime.copying import measured_rate
    from tunedb.runtime.failures import is_sticky
    from tunedb.store.sql.copy_rates import CopyRate

    fault = None
    try:
        store.copy_rates.put(device_of(index), CopyRate(measured_rate(index)))
    except Exception as error:  # torch, the driver and the store each raise errors of their own
        let_pass(error)
        fault = str(error)
        if is_sticky(error):
            events.put(DeviceLost(fault))
            return False
    events.put(CopyRateMeasured(fault))
    return True


def _finish(seconds: float) -> bool:
    """Send what waits for a shared store, and log what could not be sent; return whether all was sent in time."""
    with one_call(seconds):
        flush_shared()
        at_end.end()
        return wait_budget.current().left > 0


def _raise_terminated(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one must not come in the way of what the first one leaves to do
    raise interrupts.Terminated


def _log_on_stderr() -> None:
    """Have what this worker logs go to stderr, whatever handlers the modules of kernels set, now or later."""
    logging.basicConfig(format="%(message)s")
    _log.addHandler(logging.StreamHandler())
    _log.propagate = False


def main() -> None:
    """Do what the messages on stdin ask for, one after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent as well, which ends this process
    _log_on_stderr()
    if not settings.is_interpreted():
        preload_aside()  # the first look into Triton's cache needs it
    inbox, events = Inbox(), EventWriter(os.fdopen(int(sys.argv[1]), "w"))
    start, context = inbox.get(), None
    if isinstance(start, Prepare):
        context = prepare(start)
        start = inbox.get()
    assert isinstance(start, Start)
    _log.disabled = False  # as in `run`: the modules may be loaded by now
    _log.setLevel(start.log_level)
    settings.configure(store=start.store, shared=start.shared, bundles=start.bundles, lock_timeout=start.lock_timeout)
    from tunedb.store import open_store
    from tunedb.tuner.session import with_shared
    from tunedb.tuner.tuner import Tuner

    current = settings.current()
    store = open_store(current.store, migrate=False)
    stores = with_shared(store, current)
    tuner = Tuner(current, stores, locks=lock_folder(current), supervised=True, owner=start.owner)
    if context is not None:
        context.join()  # it would spoil the times of another process, to which the GPU may be left after `Ready`
    try:
        signal.signal(signal.SIGTERM, _raise_terminated)  # not before: an exception would not stop an import of torch
        inbox.is_at_work = True
        events.put(Ready())
        with one_compile_worker():
            while not isinstance(message := inbox.get(), Finish) and run(tuner, store, start.index, message, events):
                pass
        is_sent = _finish(FINISH_S)
    except interrupts.Terminated:  # what it held of its problem is given back
        inbox.is_ending.set()
        _finish(FINISH_S if inbox.is_orphan else CLOSE_S)  # nobody waits for an orphan
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    os._exit(0 if is_sent else 1)  # Python's own end may hang on what is left of the device


if __name__ == "__main__":
    main()
