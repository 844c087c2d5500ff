"""Connections to SQLite, on which nothing that is stored in a file is run.

A SQLite file can hold a program: views, triggers, virtual tables, and expressions in generated columns, defaults,
checks and indexes. A file that has one in the place of our data is refused, each time that it is connected to.
"""

from __future__ import annotations

import itertools
import math
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tunedb._internal import safe_path
from tunedb._internal.control import let_pass, suppress
from tunedb.errors import StoreUnavailable
from tunedb.store.bundle.file_format import APPLICATION_ID

TABLES = (
    "device",
    "problem",
    "sweep",
    "trial",
    "mark",
    "miss",
    "host",
    "claim",
    "confirmation",
    "hint",
    "copy_rate",
    "tunedb_alembic_version",
)
BESIDE = ("-journal", "-wal", "-shm")  # the files that SQLite opens with a database
MAX_SQL = 10_000  # characters of a table's definition; ours have at most 2,000
MAX_CHECKED = 100  # files whose definitions are remembered as sound
STATEMENT_S = 10.0  # for which SQLite may compute a statement, at least; a call has gone on long before
STEPS = 20_000  # instructions of SQLite's machine between two looks at the clock, less than a millisecond

_checked: dict[Path, tuple[int, int, int]] = {}  # device, inode and schema version of the files that were sound

_QUERY = (
    "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE type NOT IN ('table', 'index') "
    f"OR lower(name) IN {TABLES} OR lower(tbl_name) IN {TABLES}"
)
_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|$)|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[^\W\d][\w$]*|\S""", re.DOTALL
)
_PROGRAM = {  # words that stand in no table or index of ours
    *("as", "generated", "without", "virtual", "conflict", "select", "where", "like", "glob", "match", "regexp"),
    *("raise", "collate", "using"),
}
_BEFORE_PARENTHESIS = {"varchar", "char", "check", "unique", "key", "in", "and", "or", "not", "on", *TABLES}


class StatementLimit(threading.local):
    """The time that a statement may take in a thread, and what a signal handler raised while it ran."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.deadline = math.inf
        self.raised: BaseException | None = None

    def begin(self, *_: object) -> None:
        """Begin a statement."""
        self.deadline, self.raised = time.monotonic() + self.seconds, None

    def raise_signals(self) -> None:
        """Raise what a signal handler raised while the last statement ran: SQLite was only stopped for it."""
        raised, self.raised = self.raised, None
        if raised is not None:
            let_pass(raised)
            raise raised from None

    def watch(self) -> Iterator[bool]:
        """Say, each time that SQLite asks, whether to give the statement up.

        Python runs signal handlers while SQLite asks, and sqlite3 drops what they raise. In a function that would
        happen before its first line; a generator goes on inside of its `try`.
        """
        is_over = False
        while True:
            try:
                yield is_over
                is_over = time.monotonic() > self.deadline
            except GeneratorExit:  # the connection is closed
                return
            except BaseException as error:  # kept for the caller, whatever it is: Ctrl-C, an alarm's exception
                self.raised, is_over = error, True


def library_version() -> str:
    """Return the version of the SQLite that Python uses."""
    return sqlite3.sqlite_version


def connect(
    target: Path | str, busy_timeout: float, limit: StatementLimit, *, read_only: bool = False
) -> sqlite3.Connection:
    """Connect to a database file that exists, or to `:memory:`.

    Raises sqlite3.Error, StoreUnavailable for a file that is a program, and UnsafePath.
    """
    if isinstance(target, Path):
        safe_path.resolve(target)
        safe_path.check_beside(target, BESIDE)
        # mode=rw, as SQLite would otherwise make a file, without our permissions and schema, if the file was removed.
        uri = f"{target.as_uri()}?mode={'ro' if read_only else 'rw'}"
    else:
        uri = target
    # isolation_level=None: the driver begins nothing by itself, and the PRAGMAs run outside of any transaction.
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA busy_timeout={int(busy_timeout * 1000)}")
        connection.execute("PRAGMA foreign_keys=ON")
        # A transaction that outgrows the cache would lock out every reader until it ends.
        connection.execute("PRAGMA cache_spill=OFF")
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        if sys.version_info >= (3, 12):
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False)
        connection.text_factory = _text  # a text that is not UTF-8 would fail the whole query
        connection.set_progress_handler(limit.watch().__next__, STEPS)
        if isinstance(target, Path):
            limit.begin()
            _check_once(connection, target)
    # Raised again. Whatever it is, an interrupt too, nobody else could close the connection.
    except BaseException:
        connection.close()
        raise
    return connection


def _text(stored: bytes) -> str:
    return stored.decode(errors="surrogateescape")  # lone surrogates, which the check of a row refuses


def _check_once(connection: sqlite3.Connection, path: Path) -> None:
    """Check what the file defines, unless it is as it was checked last: SQLite counts the changes of its definitions.

    Someone who writes into the file could set that number back, but could write our tables' rows as well.
    """
    (version,) = connection.execute("PRAGMA schema_version").fetchone()
    with suppress(OSError):  # it was removed just now
        status = path.stat()
        state = (status.st_dev, status.st_ino, version)
        if _checked.get(path) != state:
            _check_objects(connection, path)
            if len(_checked) >= MAX_CHECKED:
                _checked.clear()
            _checked[path] = state


def _check_objects(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,):
        raise StoreUnavailable(
            f"Refused sqlite:///{path}: it is a bundle, which is read only, and no store. Name it in TUNEDB_BUNDLES."
        )
    for kind, name, table, sql in connection.execute(_QUERY):
        if kind in ("view", "trigger"):
            found = f"the {kind} {name!r:.80}"
        elif kind == "index" and sql is None and str(table).lower() in TABLES:  # of a key
            continue
        elif str(table).lower() not in TABLES or (kind == "table") != (table == name) or not _is_data(str(sql)):
            found = f"{name!r:.80}, which is not the {kind} of that name that tunedb makes"
        else:
            continue
        raise StoreUnavailable(
            f"Refused sqlite:///{path}: expected tables of data, got {found}: a SQLite file can run its author's "
            "program. Name another store in TUNEDB_STORE."
        )


def _is_data(sql: str) -> bool:
    """Return whether a table or an index has no word of a program in it, and calls no function."""
    if len(sql) > MAX_SQL:
        return False
    tokens = [token for token in _TOKEN.findall(sql) if not token.startswith(("--", "/*", "'"))]
    if not _PROGRAM.isdisjoint(token.lower() for token in tokens):
        return False
    called = (token for token, after in itertools.pairwise(tokens) if after == "(" and re.match(r"[\w\"`\]\[]", token))
    return all(name.strip('"`[]').lower() in _BEFORE_PARENTHESIS for name in called)
