"""The process in which the command line sweeps on a GPU: a kernel that hangs or crashes takes only that one along.

    python -m tunedb.worker.child FD

It reads JSON lines from stdin, first what it is told (store, device, log level), then tasks; and writes events as
JSON lines to the file descriptor FD. Where stdin ends, its parent is gone, and so it goes, whatever it does.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import queue
import signal
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

from tunedb import settings
from tunedb.api import kernel_named
from tunedb.core.device import device_of
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep, Trial
from tunedb.errors import CallerError, SettingError, StickyDeviceError
from tunedb.sweep.observer import Observer, suspect_of
from tunedb.tuner.choice_cache import TuningTask
from tunedb.tuner.verification import verify

if TYPE_CHECKING:
    from tunedb.tuner.tuner import Tuner


_log = logging.getLogger("tunedb")


class Witness:
    """An observer that passes on what it is told, and keeps the finished sweep."""

    def __init__(self, observer: Observer) -> None:
        self.outcome: Sweep | None = None
        self._observer = observer
        self.started, self.trying, self.tried = observer.started, observer.trying, observer.tried

    def finished(self, sweep: Sweep) -> None:
        """Keep it, and pass it on."""
        self.outcome = sweep
        self._observer.finished(sweep)


def tune_case(
    tuner: Tuner, case: TuningTask, *, force: bool, budget: float, observer: Observer
) -> tuple[str, Sweep | None]:
    """Tune a case, and how it ended: `sweep`, `stored`, `failed`, `aborted`, `busy` or `out of memory`, and the sweep.

    `busy` is a problem that another process tunes. Raises what `Tuner.warm` raises, but for too little memory, and for
    a problem of which the kernel can make no tensors, or on which what the user wrote fails: these are logged.
    """
    import torch

    witness = Witness(observer)
    try:
        choice = tuner.warm(case, force=force, budget=budget, observer=witness)
    except (torch.OutOfMemoryError, MemoryError):
        return "out of memory", witness.outcome
    except (CallerError, SettingError) as error:  # the others of a list can be tuned all the same
        _log.error("%s could not be tuned. %s", case, error)
        return "aborted", None
    if choice is None:
        return ("busy", None) if witness.outcome is None else (witness.outcome.status, witness.outcome)
    return "sweep" if choice.source == "sweep" else "stored", choice.sweep


class Events:
    """Writes events for the parent; as an observer, those of a sweep."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def put(self, event: str, **facts: Any) -> None:
        """Write one event, at once."""
        self._file.write(json.dumps({"event": event, **facts}) + "\n")
        self._file.flush()

    def started(self, sweep: Sweep, candidates: int) -> None:
        """See `tunedb.sweep.observer.Observer`."""
        self.put("started", uid=sweep.uid, candidates=candidates)

    def trying(self, config: Config) -> None:
        """See `tunedb.sweep.observer.Observer`."""
        self.put("trying", config=config.key)

    def tried(self, trial: Trial, best_us: float | None, default_us: float | None) -> None:
        """See `tunedb.sweep.observer.Observer`."""
        facts = {field.name: getattr(trial, field.name) for field in dataclasses.fields(trial)}
        self.put("tried", trial=facts | {"config": trial.config.key}, best_us=best_us, default_us=default_us)

    def finished(self, sweep: Sweep) -> None:
        """See `tunedb.sweep.observer.Observer`: the answer to the task tells it."""


def run(tuner: Tuner, index: int, task: dict[str, Any], events: Events) -> bool:
    """Do one task and tell how it ended; whether the device is still there."""
    kernel = kernel_named(task["kernel"])
    problem = Problem(task["problem"], kernel.name)
    if task.get("arguments") is not None:
        problem = kernel.problem(task["arguments"])
    case = TuningTask(kernel, problem, device_of(index), index)
    if task["do"] == "verify":
        try:
            found = verify(tuner, case, tuner.store.get_sweep(task["uid"]), events)  # type: ignore[union-attr]
        except StickyDeviceError as error:
            events.put("lost", reason=str(error))
            return False
        events.put("done", finding=dataclasses.asdict(found))
        return True
    budget = math.inf if task["budget"] is None else task["budget"]
    source, sweep = tune_case(tuner, case, force=task["force"], budget=budget, observer=events)
    is_lost = sweep is not None and suspect_of(sweep) is not None
    events.put("done", source=source, uid=sweep and sweep.uid, lost=is_lost)
    return not is_lost


def main() -> None:
    """Do what stdin says, one task after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent as well, which ends this process
    events = Events(os.fdopen(int(sys.argv[1]), "w"))
    told = json.loads(sys.stdin.readline())
    logging.basicConfig(format="%(message)s")
    logging.getLogger("tunedb").setLevel(told["log_level"])
    settings.configure(**told["settings"])
    tasks: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            tasks.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    from tunedb.store import open_store
    from tunedb.tuner.tuner import Tuner

    current = settings.current()
    tuner = Tuner(current, open_store(current.store, migrate=False), locks=settings.lock_folder(current))
    events.put("ready")
    while run(tuner, told["index"], tasks.get(), events):
        pass
    os._exit(1)  # what is left of the device may hang an orderly end


if __name__ == "__main__":
    main()
