"""Results of parsing functions, kept for later processes in a file of the cache folder (setting `cache`).

Most of the time of a hash goes into parsing. An entry depends only on texts and Python's version, never on the value of
a global, which is read each time. The file is for speed only: if it is missing, damaged, of another user or of another
version of this code, it is not used, and entries that can't be written are dropped.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunedb import settings
from tunedb._internal import forks, safe_path
from tunedb._internal.bounded import make_room
from tunedb._internal.control import let_pass, suppress
from tunedb._internal.setting_values import OFF
from tunedb._internal.timer import RearmingTimer
from tunedb.core.source_skeleton import Reads

MAX_ENTRIES = 4096  # of each table, about 300 bytes each; the older ones go
MAX_BYTES = 8 << 20
MAX_FILES = 8  # of other versions, and of processes that ended while they wrote
WRITE_AFTER_S = 10.0  # a process may end without notice, so it does not wait for its end

# The files of this folder that decide what an entry's key stands for, and what follows from it.
DECISIVE = ("source_cache", "source_content", "source_skeleton", "source_text")

_Table = dict[str, Any]
_NAMES = ("reads", "hashes")
_PREFIX = "tunedb-source-"  # the folder may be one that holds files of the user's


class SourceCache:
    """The entries of the folder that the setting `cache` names, which is read once. `off`: they stay in memory.

    There are two tables. `reads`: what a text reads from outside, by a digest of the text. `hashes`: the hash of a
    function with all that it calls and reads, by the same with a digest in place of each text.
    """

    def __init__(self, setting: str) -> None:
        self.setting = setting
        self._folder: Path | None = None
        self._stored = _no_tables()
        self._used = _no_tables()
        self._has_new = False  # entries to write
        if setting != OFF:
            self._folder = Path(setting)
            with suppress(OSError, ValueError):
                self._stored = _read(_file_in(_own(self._folder)))

    def get_reads(self, digest: str) -> Reads | None:
        """Return what a text reads from outside, if that is known."""
        entry = self._get("reads", digest)
        try:
            return None if entry is None else Reads.parse(*entry)
        except (AttributeError, TypeError, ValueError) as error:
            let_pass(error)
            return None

    def put_reads(self, digest: str, reads: Reads) -> None:
        """Keep what a text reads from outside."""
        self._put("reads", digest, reads.dump())

    def get_hash(self, digest: str) -> str | None:
        """Return the hash of a function with all that it reaches, if that is known."""
        entry = self._get("hashes", digest)
        return entry if isinstance(entry, str) else None

    def put_hash(self, digest: str, hash: str) -> None:
        """Keep the hash of a function with all that it reaches."""
        self._put("hashes", digest, hash)

    def _get(self, name: str, key: str) -> Any:
        used = self._used[name]
        if key not in used and key in self._stored[name]:
            used[key] = self._stored[name][key]
        return used.get(key)

    def _put(self, name: str, key: str, entry: Any) -> None:
        make_room(self._used[name], MAX_ENTRIES)
        self._used[name][key] = entry
        self._has_new = True
        if self._folder is not None:
            _timer.arm()

    def write(self) -> bool:
        """Write the file if there is anything new, with what other processes have written meanwhile; return False.

        Does nothing if the folder can't be used. The result is what a timer's action returns that is not to run again.
        """
        if self._folder is None or not self._has_new:
            return False
        self._has_new = False
        with suppress(OSError, ValueError, RuntimeError):
            safe_path.make_folders(self._folder)
            file = _file_in(_own(self._folder))
            _write(file, {name: _merged(stored, self._used[name]) for name, stored in _read(file).items()})
        return False


_cache: SourceCache | None = None


def active() -> SourceCache:
    """Return the cache of this process."""
    global _cache
    setting = settings.current().cache
    if _cache is None or _cache.setting != setting:
        _cache = SourceCache(setting)
    return _cache


def _write_active() -> bool:
    return False if _cache is None else _cache.write()


_timer = RearmingTimer(WRITE_AFTER_S, _write_active)
forks.renew_in_child(_timer)
atexit.register(_write_active)


def _no_tables() -> dict[str, _Table]:
    return {name: {} for name in _NAMES}


def _merged(stored: _Table, used: _Table) -> _Table:
    """Return both tables as one, what this process has used last; the first entries go if there are too many."""
    used = used.copy()
    merged = {**{key: entry for key, entry in stored.items() if key not in used}, **used}
    return dict(list(merged.items())[-MAX_ENTRIES:])


def _own(folder: Path) -> Path:
    """Return the folder's real path. Raises OSError if others than this user can make files in it."""
    path = safe_path.resolve(folder)
    status = path.stat()
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise safe_path.UnsafePath(f"others can write in {path}")
    return path


@functools.cache
def _version() -> str:
    """Return a digest of Python's version and of this code. Raises OSError if its files can't be read."""
    digest = hashlib.sha256(sys.version.encode())
    for name in DECISIVE:
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()[:12]


def _file_in(folder: Path) -> Path:
    return folder / f"{_PREFIX}{_version()}"


def _read(path: Path) -> dict[str, _Table]:
    """Return the tables of a file; empty ones if it is missing, damaged, too large or not this user's."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_size > MAX_BYTES:
                return _no_tables()
            digest, _, content = file.read(MAX_BYTES).partition(b"\n")
        if hashlib.sha256(content).hexdigest().encode() != digest:
            return _no_tables()
        tables = json.loads(content)
        return {name: dict(tables[name]) for name in _NAMES}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        let_pass(error)
        return _no_tables()


def _write(path: Path, tables: Mapping[str, _Table]) -> None:
    """Put the tables into a file, all at once: a process that reads it meanwhile gets the old one."""
    content = json.dumps(tables, separators=(",", ":")).encode()
    if len(content) > MAX_BYTES - 100:
        _write(path, {name: dict(list(table.items())[len(table) // 2 + 1 :]) for name, table in tables.items()})
        return
    made = path.with_name(f"{path.name}-{os.getpid()}")
    made.unlink(missing_ok=True)
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    made.replace(path)
    files = sorted(path.parent.glob(f"{_PREFIX}*"), key=lambda file: file.lstat().st_mtime)
    for old in files[:-MAX_FILES]:
        old.unlink(missing_ok=True)
