"""`sync`: two stores get what the other has, and `import` brings marks along."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, put
from tests.store.samples import NOON, sweep
from tunedb.core.sweep import Mark, Sweep
from tunedb.store import Store, open_store


@pytest.fixture
def other(tmp_path: Path) -> Store:
    """A shared store, which has one sweep that the local one has too, and one of its own."""
    return open_store(str(tmp_path / "shared.db"))


def test_sync_unites_and_says_how_many(
    cli: Cli, stored: Sequence[Sweep], other: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    theirs, ours = sweep(7, marks=(Mark("pin", "x", NOON),)), sweep(8)
    put(ours)
    other.put_sweeps([stored[0], theirs])
    other.marks.put(stored[0].uid, Mark("quarantine", "wrong"))
    monkeypatch.setenv("TUNEDB_SHARED", f"sqlite:///{tmp_path}/shared.db")
    first = cli("sync", "--format", "json")
    assert first.code == 0
    assert first.json == {
        "with": f"sqlite:///{tmp_path}/shared.db",
        "sent": 1,
        "received": 1,
        "known": 1,
        "marks_sent": 0,
        "marks_received": 2,
        "counts_sent": 0,
        "rejected": 0,
    }
    again = cli("sync", "--format", "json").json
    assert {name: again[name] for name in again if name != "with"} == {
        "sent": 0, "received": 0, "known": 3, "marks_sent": 0, "marks_received": 0, "counts_sent": 0, "rejected": 0,
    }  # fmt: skip
    everywhere = {stored[0].uid, theirs.uid, ours.uid}
    stays = stored[1].uid  # it failed
    assert {row["uid"] for row in cli("ls", "--format", "json").json} == everywhere | {stays}
    assert set(other.upkeep.uids()) == everywhere
    assert cli("show", theirs.uid, "--format", "json").json["origin"] == "imported"
    shown = cli("show", theirs.uid, "--format", "json").json
    assert len(shown["trials"]) == 3
    assert other.get_sweep(ours.uid).trials == ours.trials


def test_with_beats_the_setting(cli: Cli, stored: Sequence[Sweep], other: Store, tmp_path: Path) -> None:
    answer = cli("sync", "--with", tmp_path / "shared.db", "--format", "json")
    assert (answer.code, answer.json["sent"]) == (0, 1)


def test_a_store_is_united_with_itself_in_peace(cli: Cli, stored: Sequence[Sweep], tmp_path: Path) -> None:
    answer = cli("sync", "--with", tmp_path / "tunedb.db", "--format", "json")
    assert (answer.json["sent"], answer.json["received"], answer.json["known"]) == (0, 0, 1)


def test_no_shared_store_is_a_mistake(cli: Cli) -> None:
    answer = cli("sync")
    assert (answer.code, answer.out) == (2, "")
    assert "TUNEDB_SHARED" in answer.err


def test_a_shared_store_is_never_made_or_migrated(cli: Cli, stored: Sequence[Sweep], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/absent.db"
    answer = cli("sync", "--with", url)
    assert answer.code == 4
    assert f"tunedb db upgrade --store {url}" in answer.err
    assert not (tmp_path / "absent.db").exists()
    open_store(str(tmp_path / "old.db")).close()
    connection = sqlite3.connect(tmp_path / "old.db")
    connection.execute("update tunedb_alembic_version set version_num = '0000'")
    connection.commit()
    connection.close()
    before = (tmp_path / "old.db").read_bytes()
    answer = cli("sync", "--with", tmp_path / "old.db")
    assert answer.code == 4
    assert f"tunedb db upgrade --store sqlite:///{tmp_path}/old.db" in answer.err
    assert (tmp_path / "old.db").read_bytes() == before


def test_a_server_that_is_down_is_one_line_without_the_password(
    cli: Cli, stored: Sequence[Sweep], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEDB_SHARED", "postgresql://me:secret@127.0.0.1:1/x?connect_timeout=1")
    answer = cli("sync", "-v")
    assert (answer.code, answer.out) == (3, "")
    assert "127.0.0.1" in answer.err
    assert "secret" not in answer.err


def test_a_row_that_makes_no_sense_is_counted_and_the_rest_united(cli: Cli, other: Store, tmp_path: Path) -> None:
    bad, good = sweep(1), sweep(2)
    other.put_sweeps([bad, good])
    connection = sqlite3.connect(tmp_path / "shared.db")
    connection.execute("update sweep set config = ? where uid = ?", ['{"a":' * 100_000, bad.uid])
    connection.commit()
    connection.close()
    answer = cli("sync", "--with", tmp_path / "shared.db", "--format", "json")
    assert answer.code == 1
    assert (answer.json["received"], answer.json["rejected"]) == (1, 1)
    assert "can't be read" in answer.err
    assert len(answer.err) < 1000
    assert [row["uid"] for row in cli("ls", "--format", "json").json] == [good.uid]


@pytest.mark.parametrize("source", ["tunedb.db", "marked.jsonl"])
def test_import_brings_marks_along_also_of_known_sweeps(cli: Cli, source: str, tmp_path: Path) -> None:
    one = sweep(1)
    put(one)
    target = tmp_path / "target.db"
    open_store(str(target)).put_sweep(one)
    with open_store(str(tmp_path / "tunedb.db")) as store:
        store.marks.put(one.uid, Mark("quarantine", "wrong"))
    cli("export", "-o", tmp_path / "marked.jsonl")
    answer = cli("import", tmp_path / source, "--store", target, "--format", "json")
    assert (answer.json["stored"], answer.json["known"]) == (0, 1)
    assert open_store(str(target)).get_sweep(one.uid).is_quarantined
