"""Stores of other versions, and of other programs: nothing is dropped, and a call gets its config all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import calls
from tests.store.revisions import HEAD, LATER, later_version
from tunedb.store import check, current, open_store, upgrade
from tunedb.store.sql import schema
from tunedb.store.sql.engine import locate

pytestmark = pytest.mark.usefixtures("patience")

FOREIGN = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
    "INSERT INTO alembic_version VALUES ('deadbeef1234')",
    "CREATE TABLE trials (id INTEGER PRIMARY KEY, state TEXT)",
    "INSERT INTO trials VALUES (1, 'COMPLETE')",
)


@pytest.fixture(autouse=True)
def quick_schemas() -> None:
    """Alembic makes every store here."""


def called(path: Path, *problems: int, **given: object) -> list[tuple[int, str]]:
    """What the calls of one process get."""
    tuner = calls.tuner(store=str(path), **given)
    found = [calls.call(tuner, n)[:2] for n in problems]
    tuner.close()
    return found


def stored(path: Path) -> list[int]:
    with locate(str(path)).read() as connection:
        rows = connection.exec_driver_sql("SELECT key FROM problem JOIN sweep ON sweep.problem_id = problem.id")
        return sorted(int(row[0].removeprefix('{"n":').removesuffix("}")) for row in rows)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of this version with two problems."""
    path = tmp_path / "folder" / "store.db"
    called(path, 0, 1)
    return path


def test_a_store_of_a_newer_version_is_left_as_it_is_and_calls_go_on(
    path: Path, records: pytest.LogCaptureFixture
) -> None:
    with locate(str(path)).write() as connection:
        connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
    before = path.read_bytes()
    assert called(path, 0, 2) == [(2, "sweep")] * 2
    assert path.read_bytes() == before
    (told,) = (record.getMessage() for record in records.records if record.levelname == "WARNING")
    assert "Schema 9999" in told
    assert f"newer than {HEAD}" in told
    assert "pip install --upgrade tunedb" in told


def test_a_store_of_an_older_version_is_upgraded_by_its_first_call_and_answers_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later_version(tmp_path, monkeypatch)
    assert called(path, 0, 2) == [(2, "store"), (2, "sweep")]
    assert current(str(path)) == LATER
    assert stored(path) == [0, 1, 2]


@pytest.mark.parametrize("mode", ["read", "strict"])
def test_a_process_that_may_not_write_upgrades_nothing(
    mode: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()
    later_version(tmp_path, monkeypatch)
    if mode == "read":
        assert called(path, 0, mode=mode)[0][0] in (1, 2)
    else:
        tuner = calls.tuner(store=str(path), mode=mode)
        with pytest.raises(LookupError):
            calls.call(tuner, 5)
        tuner.close()
    assert (path.read_bytes(), current(str(path))) == (before, HEAD)


def test_a_revision_that_fails_half_way_leaves_the_store_as_it_was_and_calls_go_on(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        later_version(tmp_path, patch, last='op.execute("SELECT * FROM nowhere")')
        assert called(path, 0, 2) == [(2, "sweep")] * 2
        assert current(str(path)) == HEAD
    assert sum("nowhere" in record.getMessage() for record in records.records) == 1
    check(str(path))
    assert called(path, 0, 1) == [(2, "store")] * 2
    assert stored(path) == [0, 1]


def test_two_versions_that_use_one_file_in_turn_lose_no_row(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        later_version(tmp_path, patch)
        assert called(path, 0, 10) == [(2, "store"), (2, "sweep")]
    assert called(path, 0, 20) == [(2, "sweep")] * 2  # the earlier version can't read it, and leaves it alone
    assert (current(str(path)), stored(path)) == (LATER, [0, 1, 10])
    later_version(tmp_path / "again", monkeypatch)
    assert called(path, 0, 1, 10) == [(2, "store")] * 3
    assert stored(path) == [0, 1, 10]
    assert list(path.parent.glob("*.corrupt-*")) == []


def test_the_tables_of_another_program_that_uses_alembic_stay_as_they_are(stored_url: str) -> None:
    if stored_url.startswith("sqlite"):
        Path(stored_url.removeprefix("sqlite:///")).touch()
    with locate(stored_url).write() as connection:
        if not connection.dialect.name.startswith("sqlite"):
            connection.exec_driver_sql("SET search_path TO public")
            for table in ("alembic_version", "trials"):
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
        for statement in FOREIGN:
            connection.exec_driver_sql(statement)
    assert upgrade(stored_url) is None
    check(stored_url)
    tuner = calls.tuner(store=stored_url)
    assert calls.call(tuner)[:2] == (2, "sweep")
    tuner.close()
    with open_store(stored_url) as store, store._access.read() as connection:
        prefix = "" if stored_url.startswith("sqlite") else "public."
        version = connection.exec_driver_sql(f"SELECT version_num FROM {prefix}alembic_version").scalars().all()
        assert version == ["deadbeef1234"]
        assert connection.exec_driver_sql(f"SELECT state FROM {prefix}trials").scalars().all() == ["COMPLETE"]
