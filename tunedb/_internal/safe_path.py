"""File safety: paths without another user's traps, and folders and files that only this user can use.

Everything that opens, renames, locks or writes a file goes through here. In a sticky folder that others may write, such
as /tmp, anyone can make an entry before we do: a link to a file of ours, a folder that they go on controlling, a store
with rows of their choice. So an entry of such a folder, whatever it is, has to be this user's, root's, or a mount
point, which only root makes. This is stricter than the kernel's `protected_symlinks`, which is about links alone, and
which a path that was resolved before the file was opened goes around.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

from tunedb._internal.control import let_pass

MAX_LINKS = 40  # in one path, as in Linux (path_resolution(7))
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_MOUNTS = Path("/proc/self/mountinfo")


class UnsafePath(PermissionError):
    """A path leads through an entry that another user made in a sticky folder; `strerror` says which one."""


def resolve(path: str | os.PathLike[str]) -> Path:
    """Return the real path, as `Path.resolve` does, of which the last parts need not exist.

    Raises UnsafePath for a path through another user's entry of a sticky folder, OSError for a loop of links.
    """
    parts = str(Path(path).absolute()).split("/")[::-1]  # not os.path.abspath, to which `link/..` is nothing
    here, status, links = "", os.lstat("/"), 0
    while parts:
        name = parts.pop()
        if name in ("", "."):
            continue
        if name == "..":
            here = here.rpartition("/")[0]
            status = os.lstat(here or "/")
            continue
        entry = f"{here}/{name}"
        try:
            entry_status = os.lstat(entry)
        except OSError as error:  # it does not exist or can't be looked at: whatever opens it says so
            let_pass(error)
            return Path(os.path.normpath("/".join([entry, *reversed(parts)])))
        _check_entry(entry, entry_status, status)
        if not stat.S_ISLNK(entry_status.st_mode):
            here, status = entry, entry_status
            continue
        links += 1
        if links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = str(Path(entry).readlink())
        if here.startswith("/proc/") and not Path(here, target).exists():
            return Path("/".join([entry, *reversed(parts)]))  # the kernel's own: /proc/self/fd/1 -> pipe:[4026]
        if target.startswith("/"):
            here, status = "", os.lstat("/")
        parts.extend(reversed(target.split("/")))
    return Path(here or "/")


def check_beside(path: Path, suffixes: tuple[str, ...]) -> None:
    """Raise UnsafePath if a file next to a resolved path, such as its journal, is another user's in a sticky folder."""
    try:
        folder = os.lstat(path.parent)
    except OSError as error:
        let_pass(error)
        return
    if not _is_shared(folder):
        return
    for suffix in suffixes:
        beside = f"{path}{suffix}"
        try:
            status = os.lstat(beside)
        except OSError as error:
            let_pass(error)
            continue
        _check_entry(beside, status, folder)


def make_folders(folder: Path) -> None:
    """Make a folder and its missing parents, each for this user only, whatever the umask."""
    try:
        folder.mkdir(mode=0o700)
    except FileNotFoundError:
        if folder.parent.exists():  # as in /proc, where nothing can be made
            raise
        make_folders(folder.parent)
        make_folders(folder)
        return
    except FileExistsError:
        if not folder.is_dir():
            raise
        return
    _give_mode(folder, 0o700)


def make_file(path: Path) -> None:
    """Make an empty file for this user only, whatever the umask. Raises FileExistsError, for a link as well.

    It is not opened: closing a SQLite file would drop the locks that this process has on it.
    """
    os.mknod(path, 0o600)
    _give_mode(path, 0o600)


def _give_mode(path: Path, mode: int) -> None:
    if stat.S_IMODE(os.lstat(path).st_mode) & 0o777 != mode:  # the umask took away what its owner needs
        path.chmod(mode)


def _check_entry(entry: str, status: os.stat_result, folder: os.stat_result) -> None:
    if not _is_shared(folder) or status.st_uid in (os.geteuid(), 0) or _is_mount_point(entry):
        return
    kind = "link" if stat.S_ISLNK(status.st_mode) else "folder" if stat.S_ISDIR(status.st_mode) else "file"
    why = f"the {kind} {entry} belongs to another user (uid {status.st_uid}), in a folder where everyone can make files"
    raise UnsafePath(errno.EACCES, why)


def _is_shared(folder: os.stat_result) -> bool:
    return bool(folder.st_mode & stat.S_ISVTX and folder.st_mode & _WRITABLE_BY_OTHERS)


def _is_mount_point(entry: str) -> bool:
    try:
        mounts = _MOUNTS.read_bytes()
    except OSError as error:
        let_pass(error)
        return False
    escaped = (line.split(b" ")[4] for line in mounts.splitlines())
    points = (re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), point) for point in escaped)
    return os.fsencode(entry) in points
