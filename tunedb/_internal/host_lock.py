"""Locks among the processes of this user on this host: files in a folder that all share, whatever store they have.

A lock goes with the process that holds it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from pathlib import Path

from tunedb._internal import safe_path
from tunedb._internal.control import let_pass


def digest_of(text: str) -> str:
    """Return a name for a lock file from any text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def shared_folder() -> Path:
    """Return the folder of the lock files."""
    return Path(tempfile.gettempdir(), f"tunedb-{os.getuid()}.locks")


def open_lock(path: Path) -> int:
    """Open a lock file, and make it and its folder if they are not there; return the descriptor.

    Raises OSError, or ValueError for a path that can't be encoded.
    """
    safe_path.make_folders(safe_path.resolve(path.parent))
    return os.open(safe_path.resolve(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Take the lock if it is free; return whether it is held. A file system without locks keeps nobody out."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        let_pass(error)
    return True
