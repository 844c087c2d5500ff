"""Workers of a run that are started before its problems are known: they load torch while the run is planned."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tunedb._internal.control import suppress
from tunedb.fleet.gpu_lock import try_gpu
from tunedb.fleet.slots import Slot
from tunedb.worker.messages import Prepare
from tunedb.worker.process import Started, end_process, start_process, tell


@dataclass(slots=True)
class EarlyWorker:
    """A process that is started, and the lock of the GPU whose context it may be making; None if it makes none.

    The lock is to be closed when the process is ready or has ended, and not before.
    """

    process: Started
    gpu: contextlib.ExitStack | None = None

    def end(self) -> None:
        """End the process, and free the GPU."""
        end_process(self.process[0], patience=0.0)
        if self.gpu is not None:
            self.gpu.close()


class EarlyWorkers:
    """The processes of workers that no supervisor has yet. The end of the block ends those that none took.

    `folder` has the locks of GPUs, by default as in `try_gpu`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._started: dict[str, EarlyWorker] = {}

    def __enter__(self) -> EarlyWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.take(())

    def start(self, slots: Sequence[Slot], problems: int, kernels: Iterable[str]) -> None:
        """Start a worker for each slot that so many problems will need, and let it load these kernels.

        It makes the context of its GPU, too, unless another process sweeps there, whose times that would spoil.
        """
        started: Counter[str] = Counter()
        for slot in slots:
            started[slot.device.digest] += 1
            if started[slot.device.digest] > problems:
                continue
            # There may be too many processes. The run starts a worker when it needs one, and says if that fails too.
            with suppress(OSError):
                worker = self._started[slot.name] = EarlyWorker(start_process(slot.variables))
                worker.gpu = None if slot.gpu_name is None else self._lock(slot.gpu_name)
                tell(worker.process[0], Prepare(tuple(kernels), None if worker.gpu is None else slot.index))

    def take(self, names: Iterable[str]) -> dict[str, EarlyWorker]:
        """Return the workers of the slots with these names, each with the lock of its GPU, and end the others."""
        taken = {name: self._started.pop(name) for name in names if name in self._started}
        while self._started:
            self._started.popitem()[1].end()
        return taken

    def _lock(self, gpu_name: str) -> contextlib.ExitStack | None:
        """Hold the GPU from now on if it is free; return what holds it."""
        with contextlib.ExitStack() as tried:
            return tried.pop_all() if tried.enter_context(try_gpu(gpu_name, self._folder)) else None
