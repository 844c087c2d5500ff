"""Workers of a run that are started before its problems are known: they load torch while the run is planned."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from tunedb._internal.control import suppress
from tunedb.fleet.gpu_lock import try_gpu
from tunedb.fleet.slots import Slot
from tunedb.worker.messages import Prepare
from tunedb.worker.process import Started, end_process, start_process, tell


class EarlyWorkers:
    """The processes of workers that no supervisor has yet. The end of the block ends those that none took.

    `folder` has the locks of GPUs, by default as in `try_gpu`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._started: dict[str, Started] = {}
        self._gpus = contextlib.ExitStack()

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
            with suppress(OSError):  # too many processes: whoever needs it tries again, and says so
                self._started[slot.name] = start_process(slot.variables)
                index = slot.index if slot.gpu_name is not None and self._holds(slot.gpu_name) else None
                tell(self._started[slot.name][0], Prepare(tuple(kernels), index))

    def take(self, names: Iterable[str]) -> dict[str, Started]:
        """Return the processes of the slots with these names, and end the others. All GPUs are free again."""
        self._gpus.close()
        taken = {name: self._started.pop(name) for name in names if name in self._started}
        while self._started:
            end_process(self._started.popitem()[1][0], patience=0.0)
        return taken

    def _holds(self, gpu_name: str) -> bool:
        """Hold the GPU from now on if it is free, and return whether it was."""
        with contextlib.ExitStack() as tried:
            is_held = tried.enter_context(try_gpu(gpu_name, self._folder))
            if is_held:
                self._gpus.push(tried.pop_all())
        return is_held
