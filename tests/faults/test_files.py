"""Files that are damaged, full, forbidden or oddly named: a call gets its config all the same, and one record tells."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import calls
from tests.faults.parts import output_of, start
from tests.store.test_damage import DAMAGE, hot_journal
from tunedb.store import check, open_store


def zeroed_in_the_middle(good: bytes) -> bytes:
    """All but the first four pages are zero."""
    return good[: 4 * 4096] + bytes(len(good) - 4 * 4096)


WHOLE_CALL: dict[str, Callable[[bytes], bytes]] = {**DAMAGE, "zeroed in the middle": zeroed_in_the_middle}

TOGETHER = """
import tests.patience; tests.patience.be_patient()
import json, sys
import alembic.command
from tests.faults import calls
from tests.faults.parts import crowd
def work(n):
    tuner = calls.tuner(store=sys.argv[1])
    found = calls.call(tuner, n)[:2]
    tuner.close()
    return found
print(json.dumps(crowd(4, work)))
"""

FULL = """
import tests.patience; tests.patience.be_patient()
import json, logging, resource, sys
from tests.faults import calls
logging.basicConfig(format="%(levelname)s %(message)s")
calls.call(calls.tuner(store=sys.argv[1]), 0)
tuner = calls.tuner(store=sys.argv[1])
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
found = [calls.call(tuner, n)[:2] for n in range(4)]
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
tuner.close()
print(json.dumps(found))
"""

AS_SOMEONE_ELSE = """
import tests.patience; tests.patience.be_patient()
import json, logging, os, sys
import alembic.command, filelock, platformdirs, sqlalchemy.dialects.sqlite
import tunedb.store.sql.store, tunedb.tuner.problem_lock
from tests.faults import calls
logging.basicConfig(format="%(levelname)s %(message)s")
os.setgid(65534), os.setuid(65534)
tuner = calls.tuner(store=sys.argv[1])
found = [calls.call(tuner, n)[:2] for n in range(3)]
tuner.close()
print(json.dumps(found))
"""

AT_HOME = """
import tests.patience; tests.patience.be_patient()
import json, logging, os, sys
import alembic.command, filelock, platformdirs, sqlalchemy.dialects.sqlite
import tunedb.store.sql.store, tunedb.tuner.problem_lock
from tests.faults import calls
logging.basicConfig(format="%(levelname)s %(message)s")
if sys.argv[1] != "0":
    os.setuid(int(sys.argv[1]))
given = {"store": sys.argv[2]} if len(sys.argv) > 2 else {}
tuner = calls.tuner(**given)
found = [calls.call(tuner, n)[:2] for n in range(2)]
tuner.close()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def tuned_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a store in which twenty problems are tuned."""
    path = tmp_path_factory.mktemp("tuned") / "store.db"
    tuner = calls.tuner(store=str(path))
    for n in range(20):
        calls.call(tuner, n)
    tuner.close()
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path, tuned_store: bytes) -> Path:
    """A store of the test's own in which twenty problems are tuned."""
    path = tmp_path / "store.db"
    path.write_bytes(tuned_store)
    path.chmod(0o600)
    return path


def aside(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.glob("*.corrupt-*") if not entry.name.endswith("-journal"))


def tuned(path: Path) -> set[int]:
    with open_store(str(path)) as store:
        return {sweep.problem["n"] for sweep in store.iter_sweeps()}


@pytest.mark.parametrize("kind", WHOLE_CALL)
def test_a_call_on_a_damaged_file_gets_its_config_and_the_file_is_set_aside(
    kind: str, path: Path, records: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(WHOLE_CALL[kind](path.read_bytes()))
    tuner = calls.tuner(store=str(path))
    assert [calls.call(tuner, n)[0] for n in (0, 100)] == [2, 2]
    tuner.close()
    assert len(aside(path)) == 1
    assert {0, 100} <= tuned(path)
    check(str(path))
    told = [record for record in records.records if record.levelname == "WARNING"]
    assert 1 <= len(told) <= 2  # what was found, and that it was set aside


@pytest.mark.parametrize("kind", ["absent", "zero length", "dangling link"])
def test_a_call_on_a_file_that_is_not_there_yet_makes_it(
    kind: str, tmp_path: Path, records: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store.db"
    if kind == "zero length":
        path.touch()
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "elsewhere" / "real.db")
    tuner = calls.tuner(store=str(path))
    assert calls.call(tuner)[:2] == (2, "sweep")
    tuner.close()
    assert tuned(path) == {1}
    assert path.is_symlink() == (kind == "dangling link")
    assert [record for record in records.records if record.levelname == "WARNING"] == []


def test_a_call_on_a_folder_in_the_place_of_the_file_gets_its_config_and_one_record_tells(
    tmp_path: Path, records: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "store.db").mkdir()
    tuner = calls.tuner(store=str(tmp_path / "store.db"))
    assert [calls.call(tuner, n)[:2] for n in range(3)] == [(2, "sweep")] * 3
    tuner.close()
    (told,) = (record.getMessage() for record in records.records if record.levelname == "WARNING")
    assert "got a folder" in told
    assert list((tmp_path / "store.db").iterdir()) == []


@pytest.mark.parametrize("kind", ["no database", "half written"])
def test_many_processes_that_call_on_a_damaged_file_with_a_hot_journal_set_it_aside_once(kind: str, path: Path) -> None:
    journal = hot_journal(path)
    if kind == "no database":
        path.write_bytes(b"no database" * 1000)
    Path(f"{path}-journal").write_bytes(journal)
    found = json.loads(start(TOGETHER, path).communicate(timeout=60)[0])
    assert [block for block, _ in found] == [2] * 4
    assert len(aside(path)) == (kind == "no database")
    assert set(range(4)) <= tuned(path)
    assert (set(range(20)) <= tuned(path)) == (kind == "half written")
    assert not Path(f"{path}-journal").exists()
    check(str(path))


def test_on_a_full_disk_calls_go_on_and_what_they_tuned_is_written_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    process = start(FULL, path)
    out, err = process.communicate(timeout=60)
    assert json.loads(out) == [[2, "store"], [2, "sweep"], [2, "sweep"], [2, "sweep"]], err
    assert len(err.splitlines()) == 1
    assert "can't be used" in err
    assert tuned(path) == {0, 1, 2, 3}
    check(str(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else, whom permissions bind")
@pytest.mark.parametrize("kind", ["read-only file", "read-only folder", "no folder may be made"])
def test_without_the_right_to_write_known_problems_are_answered_and_others_tuned_in_memory(kind: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "store.db"
        tuner = calls.tuner(store=str(path))
        calls.call(tuner, 0)
        tuner.close()
        path.chmod(0o444)
        folder.chmod(0o777 if kind == "read-only file" else 0o555)
        if kind == "no folder may be made":
            path = folder / "absent" / "store.db"
        process = start(AS_SOMEONE_ELSE, path)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        first = "sweep" if kind == "no folder may be made" else "store"
        assert json.loads(out) == [[2, first], [2, "sweep"], [2, "sweep"]]
        told = err.splitlines()
        assert sum("can't be used" in line for line in told) == 1
        assert "are lost: " in told.pop()  # how many results
        assert len(told) <= 2  # the other says that there are no lock files
        folder.chmod(0o755)


@pytest.mark.parametrize("home", ["/proc/nowhere", "/dev/null", ""])
def test_without_a_home_folder_that_can_be_written_calls_work_and_one_record_tells(home: str, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "TUNEDB_"))}
    env["HOME"] = home or str(tmp_path / "made")
    process = start(AT_HOME, 0, env=env)
    out, err = process.communicate(timeout=60)
    assert json.loads(out) == [[2, "sweep"], [2, "sweep"]], err
    assert sum("can't be used" in line for line in err.splitlines()) == (1 if home else 0), err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else")
@pytest.mark.parametrize("arguments", [(12345,), (12345, "~/store.db"), (12345, "~nobody-of-that-name/store.db")])
def test_a_user_without_a_home_folder_gets_configs_and_one_record(arguments: tuple[object, ...]) -> None:
    env = {name: value for name, value in os.environ.items() if name == "PATH"}
    process = start(AT_HOME, *arguments, env=env)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out) == [[2, "sweep"], [2, "sweep"]]
    assert sum("can't be used" in line for line in err.splitlines()) == 1, err


@pytest.mark.parametrize("path", ["a\0b/store.db", "\ud800/store.db"])
def test_a_path_that_can_be_none_costs_no_call_its_config(path: str, records: pytest.LogCaptureFixture) -> None:
    tuner = calls.tuner(store=path)
    assert calls.call(tuner)[:2] == (2, "sweep")
    tuner.close()
    assert "Expected a path" in records.text


def test_a_working_folder_that_was_removed_costs_no_call_its_config() -> None:
    code = """
import tests.patience; tests.patience.be_patient()
import json, os, tempfile
from tests.faults import calls
folder = tempfile.mkdtemp()
os.chdir(folder)
os.rmdir(folder)
print(json.dumps(calls.call(calls.tuner(store="store.db"))[:2]))
"""
    assert json.loads(start(code).communicate(timeout=60)[0]) == [2, "sweep"]


@pytest.mark.parametrize("name", ["with space.db", "a'b\"c.db", "#?%41.db", "ünïcode-漢字.db", "a;b&c=d.db"])
def test_a_call_on_an_oddly_named_file_stores_in_that_file(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name / "folder"
    for source in ("sweep", "store"):
        tuner = calls.tuner(store=str(folder / name))
        assert calls.call(tuner)[:2] == (2, source)
        tuner.close()
    assert (folder / name).is_file()
    assert {entry.name for entry in tmp_path.iterdir()} == {name}
    assert all(entry.name.startswith(name) for entry in folder.iterdir() if entry.name != "locks")


def test_a_store_that_may_not_be_written_and_is_absent_is_logged_once_and_read_when_it_is_there(
    tmp_path: Path, records: pytest.LogCaptureFixture
) -> None:
    tuner = calls.tuner(store=str(tmp_path / "store.db"), mode="read")
    assert calls.call(tuner)[:2] == (1, "default")
    other = calls.tuner(store=str(tmp_path / "store.db"))
    calls.call(other, 2)
    assert calls.call(tuner, 2)[:2] == (2, "store")  # once it is there it is read
    tuner.close()
    other.close()
    [record] = [record for record in records.records if record.levelname == "WARNING"]
    assert record.getMessage().startswith(f"There is no store at {tmp_path}/store.db")


def test_a_second_disk_that_fills_up_while_the_store_is_made_leaves_no_half_made_one(tmp_path: Path) -> None:
    code = """
import resource, sys
import alembic.command
from tunedb.errors import StoreUnavailable
from tunedb.store import open_store
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
for size in (0, 1000, 5000, 20000, 40000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        open_store(sys.argv[1])
        print("made")
    except StoreUnavailable:
        pass
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
open_store(sys.argv[1])
"""
    assert output_of(code, tmp_path / "store.db") == ""
    check(str(tmp_path / "store.db"))
    assert aside(tmp_path / "store.db") == []
