"""The files of problem locks: who may lock them, and what keeps two processes from locking the same one."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from tunedb._internal.control import let_pass

_log = logging.getLogger("tunedb")
_logged: set[Path] = set()  # folders whose lock files do not keep every process out
SUFFIX = ".locks"  # of a folder of locks, after the name of its store


def share(folder: Path) -> int:
    """Return the mode of a lock file: a store that its group may write is locked by its group too, else by its owner.

    The folder gets the store's group and mode, if it is this user's.
    """
    store = _status(folder.with_name(folder.name.removesuffix(SUFFIX)))
    if store is None or not stat.S_ISREG(store.st_mode):
        return 0o600
    if store.st_nlink > 1:
        _warn(folder, f"the store has {store.st_nlink} hard links, and locks go by its name: use one of them")
    if not store.st_mode & stat.S_IWGRP:
        return 0o600
    status = folder.stat()
    if status.st_uid == os.geteuid() and not status.st_mode & stat.S_IWGRP:
        try:
            os.chown(folder, -1, store.st_gid)
            folder.chmod(0o2770)  # new files get the folder's group
        except OSError as error:  # this user is not in the group: the lock works for its own processes
            let_pass(error)
    return 0o660


def identity(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of the file; None if there is none."""
    status = _status(path)
    return None if status is None else (status.st_dev, status.st_ino)


def check_kept(path: Path, before: tuple[int, int] | None) -> None:
    """Log that a lock file was removed while it was held: another process could lock a new one."""
    if identity(path) != before:
        _warn(path.parent, "a lock file was removed during a sweep")


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError as error:
        let_pass(error)
        return None


def _warn(folder: Path, reason: str) -> None:
    if folder not in _logged:
        _logged.add(folder)
        _log.warning("%s: %s. Two processes may tune the same problem.", folder, reason)
