"""The cores of this host, which all its workers share, of whatever process: each worker that runs holds a lock file."""

from __future__ import annotations

import os
from pathlib import Path

from tunedb._internal.control import let_pass
from tunedb._internal.host_lock import digest_of, open_lock, shared_folder, try_lock
from tunedb.core.device import host

MAX_COUNTED = 64  # workers of a host; more of them are not counted


class Presence:
    """A worker's presence among those of this host, from `begin` to `end`. It ends with the process as well."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    def begin(self) -> None:
        """Count from now on. Without lock files nobody is counted."""
        self.end()
        for path in _paths(self._folder or shared_folder()):
            try:
                descriptor = open_lock(path)
            except (OSError, ValueError) as error:
                let_pass(error)
                return
            if try_lock(descriptor):
                self._descriptor = descriptor
                return
            os.close(descriptor)

    def end(self) -> None:
        """Count no more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def count_workers(folder: Path | None = None) -> int:
    """Return how many workers of this user run on this host now."""
    count = 0
    for path in _paths(folder or shared_folder()):
        if not path.exists():  # the lowest free number is taken: there is none beyond
            break
        try:
            descriptor = open_lock(path)
        except (OSError, ValueError) as error:
            let_pass(error)
            break
        count += not try_lock(descriptor, shared=True)
        os.close(descriptor)
    return count


def core_share(workers: int) -> int:
    """Return how many configs each of so many workers compiles at a time: all use the host's cores once together."""
    return max(1, len(os.sched_getaffinity(0)) // max(1, workers))


def _paths(folder: Path) -> list[Path]:
    return [folder / f"worker-{digest_of(host())}-{number}.lock" for number in range(MAX_COUNTED)]
