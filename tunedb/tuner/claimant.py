"""This process as a claimant of problems: its name, and the place under whose lock file it claims."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

from tunedb._internal.control import let_pass
from tunedb.core.claim import Claimant
from tunedb.core.device import host
from tunedb.core.sweep import new_uid

MAX_HOST = 200  # characters of a host's name


def new_owner() -> str:
    """Return a new name for a claimant: its host and process, for people, and a uid."""
    return f"{host()[:MAX_HOST]} {os.getpid()} {new_uid()[:12]}"


def claimant(owner: str, lock_file: tuple[int, int] | None, lease: float) -> Claimant:
    """Return a claimant that holds the lock file with this device and inode, if there is one.

    Its place is made of them and of the boot of the system's kernel: hosts may have one name, containers one path, and
    two machines a file on one network file system.
    """
    boot = _boot()
    if lock_file is None or boot is None:
        return Claimant(owner, None, lease)
    words = f"{boot} {lock_file[0]} {lock_file[1]}"
    return Claimant(owner, hashlib.sha256(words.encode()).hexdigest()[:32], lease)


@functools.cache
def _boot() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (OSError, ValueError) as error:  # not on Linux: the lease of a process that was killed has to run out
        let_pass(error)
        return None
