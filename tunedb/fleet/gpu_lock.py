"""The lock of a GPU: of the processes of a host that take part in a run, one at a time sweeps on it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tunedb._internal import safe_path
from tunedb._internal.control import let_pass
from tunedb.core.device import host


@contextlib.contextmanager
def try_gpu(name: str, folder: Path | None = None) -> Iterator[bool]:
    """Hold the lock of the GPU with that name on this host, if it is free now; yields whether it is held.

    Its file is in a folder that all processes of this user share, whatever store they have. The lock goes with the
    process. A folder that can hold no lock file keeps nobody from the GPU.
    """
    digest = hashlib.sha256(f"{host()}\0{name}".encode()).hexdigest()[:12]
    folder = folder or Path(tempfile.gettempdir(), f"tunedb-{os.getuid()}.locks")
    path = folder / f"gpu-{digest}.lock"
    try:
        safe_path.make_folders(safe_path.resolve(folder))
        descriptor = os.open(safe_path.resolve(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (OSError, ValueError) as error:
        let_pass(error)
        yield True
        return
    try:
        yield _try(descriptor)
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a file system without locks
        let_pass(error)
    return True
