"""The schema: one path to it, and nothing half done."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import tunedb.migrations
from tests import forked
from tests.store.assets import make
from tests.store.revisions import HEAD, LATER, later_version
from tests.store.samples import failed, sweep
from tunedb.errors import SchemaMismatch, SchemaNewer, SchemaOlder, StoreError
from tunedb.store import check, current, open_store, upgrade
from tunedb.store.sql import schema
from tunedb.store.sql.engine import locate
from tunedb.store.sql.models import Base


@pytest.fixture(autouse=True)
def quick_schemas() -> None:
    """Alembic makes every store here."""


def second_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str = "pass") -> None:
    """From now on a second revision is the newest, which renames a column too."""
    later_version(tmp_path, monkeypatch, last, rename=("host", "machine"))


def objects(url: str) -> dict[str, Any]:
    """Everything in the database: the DDL on SQLite, tables and columns on PostgreSQL."""
    with locate(url).read() as connection:
        if connection.dialect.name == "sqlite":
            rows = connection.exec_driver_sql("SELECT type || ' ' || name, sql FROM sqlite_master")
        else:
            rows = connection.exec_driver_sql(
                "SELECT table_name || '.' || column_name, data_type FROM information_schema.columns "
                "WHERE table_schema = 'tunedb'"
            )
        return {str(name): value for name, value in rows}


def differences(url: str) -> list[Any]:
    """What Alembic would change, with nothing filtered out."""
    with locate(url).read() as connection:
        options = {"version_table": schema.VERSION_TABLE, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)  # type: ignore[no-any-return]


def test_the_head_that_the_library_knows_is_alembic_s_only_head() -> None:
    with locate("sqlite://").read() as connection:
        scripts = ScriptDirectory.from_config(schema.alembic_config(connection))
    assert scripts.get_heads() == [schema.HEAD]
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert revisions == [f"{number:04d}" for number in range(len(revisions) + 1, 1, -1)]  # they are compared as text


def test_upgrading_from_nothing_gives_what_the_models_say(stored_url: str) -> None:
    assert upgrade(stored_url) is None
    assert current(stored_url) == schema.HEAD
    check(stored_url)
    assert differences(stored_url) == []


def test_upgrading_from_nothing_gives_the_same_ddl_as_create_all(file_url: str, tmp_path: Path) -> None:
    upgrade(file_url)
    other = f"sqlite:///{tmp_path}/created.db"
    engine = sa.create_engine(other)
    Base.metadata.create_all(engine)
    engine.dispose()
    upgraded, created = objects(file_url), objects(other)
    assert {name: parts(sql) for name, sql in upgraded.items() if schema.VERSION_TABLE not in name} == {
        name: parts(sql) for name, sql in created.items()
    }


def parts(sql: str | None) -> list[str]:
    """The columns and constraints of a table's DDL in any order: SQLite appends a column that a later revision adds."""
    inside = (sql or "").partition("(")[2].rpartition(")")[0]
    return sorted(" ".join(part.split()) for part in re.split(r",(?![^(]*\))", inside))


def test_up_down_up_ends_where_it_began(stored_url: str) -> None:
    upgrade(stored_url)
    first = objects(stored_url)
    with schema.transaction(locate(stored_url)) as connection:
        command.downgrade(schema.alembic_config(connection), "base")
    assert not any("sweep" in name for name in objects(stored_url))
    assert current(stored_url) is None
    assert upgrade(stored_url) is None
    assert objects(stored_url) == first


def test_upgrading_twice_changes_nothing(stored_url: str) -> None:
    upgrade(stored_url)
    first = objects(stored_url)
    assert upgrade(stored_url) == schema.HEAD
    assert objects(stored_url) == first


def test_a_failing_revision_leaves_nothing_behind(
    stored_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        second_revision(tmp_path, patch, last='op.execute("SELECT * FROM nowhere")')
        with pytest.raises(StoreError, match="nowhere"):
            upgrade(stored_url)
    assert not any("sweep" in name for name in objects(stored_url))  # the first revision went as well
    upgrade(stored_url)
    first = objects(stored_url)
    second_revision(tmp_path / "again", monkeypatch, last='op.execute("SELECT * FROM nowhere")')
    with pytest.raises(StoreError, match="nowhere"):
        upgrade(stored_url)
    assert objects(stored_url) == first
    assert current(stored_url) == HEAD


def test_an_older_store_is_upgraded_with_its_rows(
    stored_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(stored_url)
    with open_store(stored_url) as store:
        store.put_sweeps([sweep(1), failed(2)])
    second_revision(tmp_path, monkeypatch)
    with pytest.raises(
        SchemaOlder, match=rf"Schema {HEAD} in .* is older than {LATER}, which .*tunedb.* needs\. Run: tunedb"
    ):
        open_store(stored_url, migrate=False)
    with pytest.raises(SchemaOlder):
        check(stored_url)
    assert current(stored_url) == HEAD
    assert upgrade(stored_url) == HEAD
    with locate(stored_url).read() as connection:
        counts = [connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar() for name in ("sweep", "trial")]
    assert counts == [2, 6]  # with foreign keys on, rebuilding `sweep` would have deleted the trials


def test_opening_upgrades_a_file_and_leaves_a_shared_database_to_the_command(
    stored_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(stored_url)
    second_revision(tmp_path, monkeypatch)
    if stored_url.startswith("sqlite"):
        open_store(stored_url)
        assert current(stored_url) == LATER
    else:
        with pytest.raises(SchemaOlder, match="Run: tunedb db upgrade"):
            open_store(stored_url)
        assert current(stored_url) == HEAD


def test_foreign_keys_hold_again_after_an_upgrade_in_memory() -> None:
    with open_store("sqlite://") as store, store._access.read() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


@pytest.mark.parametrize("work", [open_store, upgrade, check])
def test_a_store_of_a_newer_library_is_left_alone(work: Any, stored_url: str) -> None:
    upgrade(stored_url)
    with locate(stored_url).write() as connection:
        connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '0009'")
    first = objects(stored_url)
    with pytest.raises(
        SchemaNewer, match=rf"Schema 0009 in .* is newer than {HEAD}, .* Run: pip install --upgrade tunedb"
    ):
        work(stored_url)
    assert (objects(stored_url), current(stored_url)) == (first, "0009")


def test_check_tells_what_differs_from_the_models(stored_url: str) -> None:
    upgrade(stored_url)
    with locate(stored_url).write() as connection:
        connection.exec_driver_sql("DROP INDEX ix_mark_sweep_uid")
    with pytest.raises(SchemaMismatch, match="add_index"):
        check(stored_url)


def test_other_people_s_tables_in_the_same_database_are_no_drift(stored_url: str) -> None:
    if stored_url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(stored_url.removeprefix("sqlite:///"))) as other:
            other.execute("CREATE TABLE alembic_version (version_num TEXT)")
    upgrade(stored_url)
    check(stored_url)


def test_asking_about_an_absent_store_does_not_make_one(file_url: str, tmp_path: Path) -> None:
    assert current(file_url) is None
    assert open_store(file_url, create=False) is None
    with pytest.raises(SchemaOlder, match="Found no schema"):
        check(file_url)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_shared_database_is_no_store_until_it_is_upgraded(postgresql_url: str) -> None:
    assert current(postgresql_url) is None
    assert open_store(postgresql_url, create=False) is None
    with pytest.raises(SchemaOlder, match=rf"Found no schema in .*, expected {HEAD}\. Run: tunedb db upgrade"):
        open_store(postgresql_url)
    assert objects(postgresql_url) == {}


def test_revisions_import_nothing_but_alembic_and_sqlalchemy() -> None:
    for path in (Path(tunedb.migrations.__file__).parent / "versions").glob("0*.py"):
        imports = [line for line in path.read_text().splitlines() if line.startswith(("import ", "from "))]
        assert imports == ["import sqlalchemy as sa", "from alembic import op"], path


REPOSITORY = Path(tunedb.migrations.__file__).resolve().parent.parent


@pytest.mark.skipif(
    not (REPOSITORY / "pyproject.toml").is_file(),
    reason="an installed tunedb has no pyproject.toml, where Alembic's command finds its settings",
)
def test_developers_can_use_the_alembic_command(file_url: str) -> None:
    for words in (["upgrade", "head"], ["check"], ["downgrade", "base"], ["upgrade", "head"], ["current"]):
        told = ["-m", "alembic", "-x", f"url={file_url}", *words]
        done = forked.run(told, cwd=REPOSITORY, libraries=forked.LIBRARIES)
        assert done.returncode == 0, done.stderr
    assert f"{HEAD} (head)" in done.stdout
    assert current(file_url) == schema.HEAD


def test_a_revision_that_nobody_wrote_is_a_mismatch_and_no_stack_trace(file_url: str) -> None:
    upgrade(file_url)
    with locate(file_url).write() as connection:
        connection.exec_driver_sql("UPDATE tunedb_alembic_version SET version_num = '0000'")
    with pytest.raises(SchemaMismatch, match="Found schema 0000"):
        upgrade(file_url)


def unreleased(folder: Path) -> Path:
    """A copy of a file that a version before the first release wrote."""
    return shutil.copy(make.FOLDER / "unreleased_0001.db", folder / "old store.db")


def test_a_file_of_an_unreleased_schema_is_named_and_stays_as_it_is(tmp_path: Path) -> None:
    path = unreleased(tmp_path)
    before = path.read_bytes()
    for touch in (open_store, upgrade, check):
        with pytest.raises(SchemaMismatch, match=rf"Found schema 0001 .* expected {HEAD}.* Run: mv '.*'") as raised:
            touch(str(path))
        assert not isinstance(raised.value, SchemaOlder)  # whose message names an upgrade, which would fail
        assert path.read_bytes() == before
    assert sorted(path.parent.glob("*.backup-*")) == []


def test_the_command_for_a_file_of_an_unreleased_schema_makes_room_for_a_new_one(tmp_path: Path) -> None:
    path = unreleased(tmp_path)
    with pytest.raises(SchemaMismatch) as raised:
        open_store(str(path))
    subprocess.run(["bash", "-c", str(raised.value).partition("Run: ")[2]], check=True)
    with open_store(str(path)) as store:
        assert not store.upkeep.uids()
    assert Path(f"{path}.unreleased").is_file()
