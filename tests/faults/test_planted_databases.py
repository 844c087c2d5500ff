"""SQLite files that hold a program: nothing of it is run, and each is refused with one record and a clear error."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import time
from pathlib import Path
from types import FrameType

import pytest

from tests.faults import calls
from tests.store.samples import sweep
from tunedb import cli
from tunedb.errors import StoreUnavailable
from tunedb.store import check, current, open_store, receive, upgrade
from tunedb.store.sql import sqlite_file
from tunedb.store.sql.engine import locate
from tunedb.store.sql.models import Base
from tunedb.store.sql.schema import VERSION_TABLE

ENDLESS = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT count(*) FROM r"


PROGRAMS: dict[str, str | tuple[str, str, str]] = {
    "a view in the place of a table": f"DROP TABLE sweep; CREATE VIEW sweep AS {ENDLESS}",
    "a view in the place of the revision": f"DROP TABLE tunedb_alembic_version; "
    f"CREATE VIEW tunedb_alembic_version AS SELECT '0002' AS version_num, ({ENDLESS})",
    "a view beside": f"CREATE VIEW other AS {ENDLESS}",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON sweep BEGIN DELETE FROM sweep; END",
    "a trigger on another table": "CREATE TABLE o (x); CREATE TRIGGER t AFTER INSERT ON o BEGIN DELETE FROM sweep; END",
    "a virtual table": "DROP TABLE trial; CREATE VIRTUAL TABLE trial USING fts4(uid)",
    "without rowid": ("mark", "(uid)\n)", "(uid)\n) WITHOUT ROWID"),
    "a generated column": ("sweep", "host TEXT NOT NULL", "host TEXT GENERATED ALWAYS AS (hex(zeroblob(9)))"),
    "a short generated column": ("sweep", "host TEXT NOT NULL", "host TEXT AS ('x')"),
    "a default that is called": ("device", "info TEXT NOT NULL", "info TEXT DEFAULT (hex(randomblob(99)))"),
    "a check that is called": ("sweep", "host TEXT NOT NULL", "host TEXT CHECK (length(hex(zeroblob(99))) > 1)"),
    "a quoted function": ("sweep", "host TEXT NOT NULL", 'host TEXT CHECK ("length"/**/(host) > 1)'),
    "a bracketed function": ("sweep", "host TEXT NOT NULL", "host TEXT CHECK ([length] (host) > 1)"),
    "a pattern": ("sweep", "host TEXT NOT NULL", "host TEXT CHECK (host LIKE '%a%b%c%')"),
    "a key that replaces": ("sweep", "UNIQUE (uid)", "UNIQUE (uid) ON CONFLICT REPLACE"),
    "a very long definition": ("sweep", "host TEXT NOT NULL", f"host TEXT /* {'x' * 20_000} */ CHECK (abs(1) = 1)"),
    "an index of an expression": "CREATE INDEX i ON sweep (length(host))",
    "an index of some rows": "CREATE INDEX i ON sweep (host) WHERE host > 'a'",
    "an index with the name of a table": "DROP TABLE miss; CREATE TABLE o (x); CREATE INDEX miss ON o (x)",
    "a table in capitals": "DROP TABLE sweep; CREATE VIEW SWEEP AS SELECT 1",
}
OTHERS = (
    "CREATE TABLE o (x, y AS (hex(x)), PRIMARY KEY (x)) WITHOUT ROWID",
    "CREATE VIRTUAL TABLE f USING fts4(x)",
    "CREATE INDEX j ON f_content (length(c0x))",
    "CREATE TABLE \"sweep of others\" (x DEFAULT (random()))",
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store in which one problem is tuned."""
    path = tmp_path / "store.db"
    tuner = calls.tuner(store=str(path))
    calls.call(tuner)
    tuner.close()
    return path


def plant(path: Path, program: str | tuple[str, str, str]) -> None:
    """Put the program into the file, as someone can who may write it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if isinstance(program, str):
            connection.executescript(program)
            return
        table, old, new = program
        (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", [table]).fetchone()
        assert old in sql
        connection.execute(f"DROP TABLE {table}")
        connection.execute(sql.replace(old, new))


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_file_that_is_a_program_is_refused_by_all_who_open_it(
    kind: str,
    path: Path,
    tmp_path: Path,
    records: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    exhaustive: bool,
) -> None:
    plant(path, PROGRAMS[kind])
    before, start = path.read_bytes(), time.monotonic()
    for mode in ("tune", "read"):
        tuner = calls.tuner(store=str(path), mode=mode)
        assert calls.call(tuner)[:2] == ((2, "sweep") if mode == "tune" else (1, "default"))
        tuner.close()
    assert [record.levelname for record in records.records if "Refused" in record.getMessage()] == ["WARNING"] * 2
    for work in (open_store, upgrade, current, check):
        with pytest.raises(StoreUnavailable, match=r"Refused .*expected tables of data, got"):
            work(str(path))
    own = tmp_path / "own.db"
    commands = (("db", "check", "--store", path), ("doctor", "--store", path), ("import", path, "--store", own),
                ("sync", "--with", path, "--store", own), ("ls", "--store", path))  # fmt: skip
    turn = list(PROGRAMS).index(kind) % len(commands)  # each command meets four of the programs
    for command in commands if exhaustive else commands[turn : turn + 1]:
        assert cli.run(list(map(str, command))) == 3
        said = capsys.readouterr()
        assert "program" in said.err + said.out
        assert "Traceback" not in said.err
    assert path.read_bytes() == before
    assert time.monotonic() - start < 30  # some of them never end where they are run


def test_a_program_that_is_put_into_the_file_of_a_running_process_is_refused_too(path: Path) -> None:
    store = open_store(str(path))
    assert len(list(store.iter_sweeps())) == 1
    plant(path, PROGRAMS["a trigger"])
    with pytest.raises(StoreUnavailable, match="Refused"):
        store.put_sweep(sweep())


def test_tables_of_other_programs_are_left_alone(path: Path, tmp_path: Path) -> None:
    for statement in OTHERS:
        plant(path, statement)
    check(str(path))
    with open_store(str(path)) as store, open_store(str(tmp_path / "own.db")) as own:
        assert store.put_sweep(sweep())
        assert receive(own, store).stored == 2


def test_every_table_of_ours_is_looked_at() -> None:
    assert {*Base.metadata.tables, VERSION_TABLE} == set(sqlite_file.TABLES)


def test_a_connection_trusts_nothing_of_the_file(path: Path) -> None:
    with locate(str(path)).read() as connection:
        for pragma, value in (("trusted_schema", 0), ("cell_size_check", 1), ("foreign_keys", 1)):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


def test_a_statement_that_never_ends_is_given_up(path: Path) -> None:
    database = locate(str(path))
    database.limit.seconds = 0.1
    for _ in range(2):
        start = time.monotonic()
        with (
            pytest.raises(StoreUnavailable, match=r"interrupted\. A statement took too long"),
            database.read() as connection,
        ):
            connection.exec_driver_sql(ENDLESS)
        assert 0.1 <= time.monotonic() - start < 5
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1


class _Alarm(Exception):
    """What a program's own signal handler raises."""


@pytest.mark.parametrize("error", [KeyboardInterrupt, _Alarm, SystemExit])
def test_what_a_signal_handler_raises_during_a_statement_passes(error: type[BaseException], path: Path) -> None:
    def handle(_number: int, _frame: FrameType | None) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(error), locate(str(path)).read() as connection:
            connection.exec_driver_sql(ENDLESS)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
