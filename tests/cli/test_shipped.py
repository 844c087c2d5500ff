"""What tunedb itself ships: it answers calls, and is left out of lists, counts and files unless it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import tunedb
from tests.cli.conftest import Cli, Kernel, put
from tests.cli.test_bundle import OTHER, PROBLEM, tuned
from tests.cli.test_explain_mark import PROBLEM as POOL
from tests.cli.test_explain_mark import here
from tests.cli.test_guard import stale
from tests.cli.test_verify import fake_clock as fake_clock
from tests.cli.test_verify import verify
from tests.store.bundled import uid, write
from tests.store.samples import sweep
from tunedb import settings
from tunedb.cli import completion
from tunedb.core.device import INTERPRETER
from tunedb.core.problem import Problem
from tunedb.core.sweep import Source, Sweep, UsageCount, now
from tunedb.store import bundles, open_store
from tunedb.store.bundle.sources import BundleSource
from tunedb.store.bundles import BundleLayer

Ship = Callable[..., None]


@pytest.fixture
def ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ship:
    """Make these sweeps what tunedb ships. The interpreter is the current device."""
    monkeypatch.setattr("tunedb.cli.device.current_index", lambda: -1)

    def plant(*sweeps: Sweep) -> None:
        file = write(tmp_path / "own.db", sweeps)
        own = BundleSource("avg_pool1d of tunedb", file, file.read_bytes, is_own=True)
        monkeypatch.setattr(bundles, "_layers", {(): BundleLayer((), lambda: [own])})
        settings.configure()

    return plant


def uids(cli: Cli, *words: str) -> list[str]:
    """The uids that `ls` lists."""
    return [row["uid"] for row in cli("ls", *words, "--format", "json").json]


def test_lists_and_counts_are_without_it(cli: Cli, ship: Ship) -> None:
    ship(own := tuned(OTHER))
    put(mine := sweep(4))
    assert uids(cli) == [mine.uid]
    assert uids(cli, "--layer", "bundle") == []
    assert set(uids(cli, "--shipped")) == {mine.uid, own.uid}
    assert uids(cli, "--shipped", "--layer", "bundle") == [own.uid]
    assert [one.uid for one in tunedb.sweeps()] == [mine.uid]
    assert {row["bundled"] for row in cli("kernels", "--format", "json").json} == {0}
    assert OTHER.name not in {row["device"] for row in cli("devices", "--format", "json").json}
    assert cli("stats", "--format", "json").json["layers"] == {"local": 1, "bundle": 0}
    assert completion.devices("L") == []
    assert completion.uids(own.uid[:4]) == []


@pytest.mark.parametrize("words", [("--fleet",), ("--layer", "local")])
def test_it_is_not_asked_for_where_no_bundle_is_listed(cli: Cli, ship: Ship, words: tuple[str, ...]) -> None:
    ship(tuned())
    answer = cli("ls", "--shipped", *words)
    assert (answer.code, "--shipped lists a bundle" in answer.err) == (2, True)


def test_a_list_names_the_answer_although_that_is_not_listed(cli: Cli, ship: Ship) -> None:
    ship(valid := tuned(environment=here()))
    put(old := tuned(), other := tuned(OTHER))
    rows = {row["uid"]: row["answers"] for row in cli("ls", "--format", "json").json}
    assert rows == {old.uid: False, other.uid: True}
    assert cli("show", old.uid, "--format", "json").json["answers"] is False
    assert cli("lookup", *PROBLEM, "--format", "json").json["uid"] == valid.uid
    assert cli("mark", valid.uid, "quarantine", "--reason", "slow").code == 0
    rows = {row["uid"]: row["answers"] for row in cli("ls", "--format", "json").json}
    assert rows == {old.uid: True, other.uid: True}


def test_a_uid_is_the_stores_before_it_is_one_that_tunedb_ships(cli: Cli, ship: Ship) -> None:
    ship(tuned(uid=uid(17)), tuned(OTHER, uid=uid(18)))
    answer = cli("show", uid(17)[:-1])
    assert answer.code == 1
    assert "Run: tunedb ls --shipped" in answer.err
    assert cli("show", uid(17), "--format", "json").json["uid"] == uid(17)
    put(mine := sweep(4, uid=uid(16)))
    assert cli("show", uid(17)[:-1], "--format", "json").json["uid"] == mine.uid
    assert cli("show", uid(17), "--format", "json").json["layer"] == "bundle"


def test_a_newcomer_has_no_store(cli: Cli, ship: Ship) -> None:
    ship(tuned())
    for words in (("show", "ffff"), ("mark", "ffff", "pin", "--reason", "x"), ("verify",)):
        assert "There is no store at" in cli(*words).err
    assert not Path(settings.current().store).exists()


def test_it_is_exported_on_request(cli: Cli, ship: Ship, tmp_path: Path) -> None:
    ship(tuned())
    words = ("export", "--format", "python", "-o", tmp_path / "configs.py")
    for options, said in (
        ((), "add --bundles --shipped to export them"),
        (("--bundles",), "add --bundles --shipped to export them"),
        (("--shipped",), "--shipped is for --bundles"),
    ):
        answer = cli(*words, *options)
        assert (answer.code > 0, said in answer.err, (tmp_path / "configs.py").exists()) == (True, True, False)
    assert cli(*words, "--bundles", "--shipped").code == 0
    assert "avg_pool1d" in (tmp_path / "configs.py").read_text()


def test_kernels_are_compiled_for_a_gpu_that_it_has(
    cli: Cli, ship: Ship, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(tuned(OTHER))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("tunedb.cli.precompile_list.current_index", lambda: -1)
    asked = ("precompile", "--device", "L4", "--dry-run", "--format", "json")
    assert cli(*asked).json == []
    assert {row["kernel"] for row in cli(*asked, "--shipped").json} == {"avg_pool1d"}


def test_what_calls_got_of_it_is_verified(cli: Cli, ship: Ship, kernels: dict[str, Kernel]) -> None:
    kernels["pool"].times = {128: 100.0, 256: 50.0}
    other = Problem.of("pool", rows=5, kernel_size=2)
    ship(*(stale(256, {128: 100.0, 256: 50.0}, problem) for problem in (POOL, other)))
    with open_store(settings.current().store) as store:
        store.add_usage([UsageCount(POOL, INTERPRETER, Source.STALE, 3, now(), now())])
    assert [row["problem"]["rows"] for row in verify(cli)] == [2]
    assert [row["problem"]["rows"] for row in verify(cli, "--bundles")] == [2, 5]
