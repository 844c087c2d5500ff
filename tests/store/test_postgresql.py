"""PostgreSQL behind a pooler, and the schema that our tables are in."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.faults.network import Pooler
from tests.store.samples import sweep
from tunedb.errors import SchemaMismatch, SchemaOlder, StoreBusy
from tunedb.store import check, current, open_store, upgrade
from tunedb.store.sql import schema
from tunedb.store.sql.engine import locate
from tunedb.store.sql.models import Base


@pytest.fixture
def pooler(postgresql_url: str) -> Iterator[Pooler]:
    """A pooler before the empty database."""
    with Pooler(postgresql_url.partition("host=")[2]) as listener:
        yield listener


def schemas(url: str) -> set[str]:
    """The schemas that have a table of ours."""
    with locate(url).read() as connection:
        rows = connection.exec_driver_sql("SELECT schemaname FROM pg_tables WHERE tablename IN ('sweep', 'trial')")
        return {str(row[0]) for row in rows}


def test_a_pooler_that_drops_options_changes_neither_the_schema_nor_the_time_limits(
    pooler: Pooler, postgresql_url: str
) -> None:
    assert upgrade(pooler.url()) is None
    check(pooler.url())
    assert schemas(postgresql_url) == {"tunedb"}
    with open_store(pooler.url()) as store:
        assert store.put_sweep(sweep())
        assert [one.uid for one in store.iter_sweeps()] == list(store.upkeep.uids())
    with pytest.raises(StoreBusy, match="statement timeout"), locate(pooler.url(), busy_timeout=0.05).read() as slow:
        slow.exec_driver_sql("SELECT pg_sleep(9)")
    with locate(postgresql_url).write() as first:
        first.exec_driver_sql("LOCK TABLE sweep")
        with pytest.raises(StoreBusy, match="lock timeout"), locate(pooler.url(), busy_timeout=0.05).write() as second:
            second.exec_driver_sql("SELECT count(*) FROM sweep")
    assert pooler.connections > 0


def test_no_setting_outlives_its_transaction(postgresql_url: str) -> None:
    """Behind a pooler the next transaction of the same session may be another program's."""
    with locate(postgresql_url).read() as connection:
        asked = "SELECT current_setting('search_path'), current_setting('lock_timeout')"
        ours = connection.exec_driver_sql(asked).one()
        connection.rollback()
        assert ours == ("tunedb", "30s")
        assert connection.exec_driver_sql(asked).one() != ours


def test_tables_in_another_schema_are_named_with_the_command_that_moves_them(postgresql_url: str) -> None:
    upgrade(postgresql_url)
    with open_store(postgresql_url) as store:
        store.put_sweep(sweep())
    with locate(postgresql_url).write() as connection:
        for table in (*Base.metadata.tables, schema.VERSION_TABLE):
            connection.exec_driver_sql(f"ALTER TABLE {table} SET SCHEMA public")
    for touch in (check, open_store, upgrade):
        with pytest.raises(SchemaMismatch, match=r"found them in schema public.* Run: psql -c '") as raised:
            touch(postgresql_url)
        assert not isinstance(raised.value, SchemaOlder)  # an upgrade would make empty tables
    command = str(raised.value).partition("Run: psql -c ")[2]
    statements = subprocess.run(["bash", "-c", f"echo {command}"], capture_output=True, text=True, check=True).stdout
    with locate(postgresql_url).write() as connection:
        connection.exec_driver_sql(statements)
    check(postgresql_url)
    assert current(postgresql_url) == schema.HEAD
    with open_store(postgresql_url) as store:
        assert len(store.upkeep.uids()) == 1
