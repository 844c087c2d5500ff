"""Checks of a SQLite store's surroundings: file system, permissions, free space, files set aside, locks."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from tunedb.store.doctor.finding import Finding, Verdict, check, ok, warn

MIN_FREE = 100 * 2**20  # bytes; a guess, with room for sweeps and a backup
PATIENCE_S = 2.0  # opening a store takes milliseconds, upgrading one rarely more than this
MOUNTS = Path("/proc/self/mountinfo")
# As mountinfo calls them, those of FUSE by their subtype. On many of them locks fail, and with them SQLite.
NETWORK = re.compile(
    "9p|afs|beegfs|ceph|ceph-fuse|cifs|coda|davfs2?|gcsfuse|glusterfs|gpfs|juicefs|lustre|mfs|ncpfs|nfs4?|ocfs2|"
    "orangefs|panfs|pvfs2|rclone|s3fs|smb[23]|smbfs|sshfs|vboxsf|wekafs"
)


def surroundings(path: Path) -> list[Finding]:
    """Return the findings about the surroundings of the store at that path, which need not exist."""
    folder = next((parent for parent in path.parents if os.access(parent, os.F_OK)), Path("/"))
    return [
        file_system(folder),
        permissions(path),
        free_space(folder),
        set_aside(path),
        opening(Path(f"{path}.lock")),
    ]


@check("file system")
def file_system(folder: Path) -> Verdict:
    """Report whether SQLite's locks work on the folder's file system."""
    if not MOUNTS.exists():
        return Verdict("skipped", "this system does not say")
    kind = file_system_of(folder, MOUNTS.read_text(errors="surrogateescape"))
    if NETWORK.fullmatch(kind.removeprefix("fuse.")):
        return warn(
            f"{folder} is on a network file system ({kind}), where locks may fail and SQLite may lose data",
            "Name a file on a local disk in TUNEDB_STORE; share by TUNEDB_SHARED, or by export and import",
        )
    return ok(kind)


def file_system_of(folder: Path, mounts: str) -> str:
    """Return the type of the file system that the folder is on, by the text of a mountinfo."""
    deepest, kind = -1, "unknown"
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        escaped = before.split(" ")[4]
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), escaped))
        if folder.is_relative_to(point) and len(point.parts) >= deepest:
            deepest, kind = len(point.parts), after.split(" ")[0]
    return kind


@check("permissions")
def permissions(path: Path) -> Verdict:
    """Report whether only this user can use the file and its folder."""
    wrong, fix = [], []
    for place, needed in ((path.parent, 0o700), (path, 0o600)):
        if not place.exists() or (place == path and not place.is_file()):  # never advise to change those of a device
            continue
        status = place.stat()
        mode = stat.S_IMODE(status.st_mode)
        is_sticky = bool(mode & stat.S_ISVTX)
        # Of folders, only those that were made for stores: the mode of others is not our business.
        is_ours = place == path or (place.name == "tunedb" and status.st_uid == os.getuid() and not is_sticky)
        if is_ours and (mode & 0o077 or mode & needed != needed):
            wrong.append(f"{place} has mode {mode:04o}, expected {needed:04o}")
            fix.append(f"chmod {needed:o} {shlex.quote(str(place))}")
        elif not is_ours and mode & 0o022 and not is_sticky:
            wrong.append(f"others can replace files in {place} (mode {mode:04o})")
            fix.append("name a store in a folder of your own in TUNEDB_STORE")
        elif not os.access(place, os.R_OK | os.W_OK):
            wrong.append(f"{place} can't be written by this user")
            fix.append("name another store in TUNEDB_STORE")
    if wrong:
        return warn("; ".join(wrong), " && ".join(fix))
    return ok("only this user has access" if path.parent.exists() else f"{path.parent} will be made for this user only")


@check("free space")
def free_space(folder: Path) -> Verdict:
    """Report whether there is enough free space."""
    free = shutil.disk_usage(folder).free
    room = f"{free // 2**20} MiB free in {folder}"
    return ok(room) if free >= MIN_FREE else warn(room, "Free space there, or name another store in TUNEDB_STORE")


@check("set aside")
def set_aside(path: Path) -> Verdict:
    """Report whether there are damaged files next to the store."""
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    damaged = sorted(
        name
        for name in names
        if name.startswith(f"{path.name}.corrupt-") and not name.endswith(("-wal", "-shm", "-journal"))
    )
    if not damaged:
        return ok("no damaged file")
    places = " ".join(shlex.quote(str(path.with_name(name))) for name in damaged)
    return warn(
        f"{len(damaged)} damaged, the last {damaged[-1]}",
        f"Save what you need (sqlite3 FILE .recover), then: rm {places}",
    )


@check("opening lock")
def opening(path: Path) -> Verdict:
    """Report whether the lock for creating and upgrading a store is free, or soon will be."""
    if is_held(path, PATIENCE_S):
        return warn(
            f"{path} has been held for more than {PATIENCE_S:g} s",
            f"Wait for the process that opens or upgrades the store, or end it: fuser {shlex.quote(str(path))}",
        )
    return ok("free")


@check("sweep locks")
def sweep_locks(folder: Callable[[], Path]) -> Verdict:
    """Report how many locks of problems are held. Free ones are harmless, and stay for the next sweep."""
    held = [is_held(path) for path in folder().glob("*.lock")]
    return ok(f"{sum(held)} held by sweeps that are under way, {held.count(False)} free")


def is_held(path: Path, patience: float = 0.0) -> bool:
    """Report whether a process holds the lock file for `patience` seconds from now on. Does not make the file."""
    from filelock import FileLock, Timeout

    if not path.exists():
        return False
    lock = FileLock(path, is_singleton=False)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        return True
    lock.release()
    return False
