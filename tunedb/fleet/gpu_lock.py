"""The lock of a GPU: of the processes of a host that take part in a run, one at a time sweeps on it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tunedb._internal.control import let_pass
from tunedb._internal.host_lock import digest_of, open_lock, shared_folder, try_lock
from tunedb.core.device import host


@contextlib.contextmanager
def try_gpu(name: str, folder: Path | None = None) -> Iterator[bool]:
    """Hold the lock of the GPU with that name on this host, if it is free now; yields whether it is held.

    Its file is in a folder that all processes of this user share, whatever store they have. The lock goes with the
    process. A folder that can hold no lock file keeps nobody from the GPU.
    """
    words = f"{host()}\0{name}"
    path = (folder or shared_folder()) / f"gpu-{digest_of(words)}.lock"
    try:
        descriptor = open_lock(path)
    except (OSError, ValueError) as error:
        let_pass(error)
        yield True
        return
    try:
        yield try_lock(descriptor)
    finally:
        os.close(descriptor)
