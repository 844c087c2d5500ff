"""`tunedb warm` on two hosts with one shared store: claims divide the work, and both have every config in the end."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.fleet.conftest import Outcomes, tasks_of, write_shapes
from tests.planted import HANG_WHILE
from tests.threads import eventually
from tunedb.core.claim import Claimant, ClaimKey, ClaimState
from tunedb.store import open_store, upgrade

pytestmark = pytest.mark.usefixtures("planted")


@pytest.fixture
def shared_url(postgresql_url: str) -> str:
    """The shared store, without rows."""
    upgrade(postgresql_url)
    return postgresql_url.replace("postgresql://", "postgresql+psycopg://")


def warm(folder: Path, host: str, shared: str | None, shapes: Path, workers: int | None = 2) -> forked.Program:
    """Start the command on a host with a state folder of its own; without workers in its own process."""
    command: list[object] = ["-m", "tunedb", "warm", "--from", shapes, "--format", "json"]
    if workers is not None:
        command += ["--workers", workers]
    environment = os.environ | {"TUNEDB_STORE": str(folder / host / "tunedb.db"), "TUNEDB_SHARED": shared or ""}
    return forked.Program(command, env=environment, libraries=forked.WITH_TUNEDB)


def rows_of(ran: forked.Program) -> list[dict[str, Any]]:
    """The rows of a command that ended well."""
    out, err = ran.communicate(timeout=240)
    assert ran.returncode == 0, err
    rows: list[dict[str, Any]] = json.loads(out)
    return rows


def test_two_hosts_sweep_each_problem_once_and_both_get_its_config(tmp_path: Path, shared_url: str) -> None:
    problems: list[Outcomes] = [{f"b{2**n}": 0.001, "b1024": 0.002} for n in range(8)]
    shapes = write_shapes(tmp_path / "shapes.jsonl", problems)
    hosts = [warm(tmp_path, host, shared_url, shapes) for host in ("one", "two")]
    first, second = map(rows_of, hosts)
    assert [row["uid"] for row in first] == [row["uid"] for row in second]
    sources = [{one["source"], two["source"]} for one, two in zip(first, second, strict=True)]
    assert sources == [{"sweep", "stored"}] * len(problems)
    with open_store(shared_url) as shared:
        assert sorted(sweep.uid for sweep in shared.iter_sweeps()) == sorted(row["uid"] for row in first)


def test_an_interrupted_host_gives_its_problem_to_the_other_at_once(tmp_path: Path, shared_url: str) -> None:
    (hangs := tmp_path / "hangs").touch()
    problem: Outcomes = {"b1": 0.001, "b2": f"{HANG_WHILE}{hangs}"}
    shapes = write_shapes(tmp_path / "shapes.jsonl", [problem])
    [task] = tasks_of(problem)
    first = warm(tmp_path, "one", shared_url, shapes)
    with open_store(shared_url) as shared:

        def state() -> ClaimState | None:
            claim = shared.claims.get(ClaimKey.of(task))
            return None if claim is None else claim.state

        local = tmp_path / "one" / "tunedb.db"
        assert eventually(lambda: state() == ClaimState.HELD and local.exists(), 120)
        with open_store(str(local)) as store:
            tried = lambda: any(sweep.trials for sweep in store.iter_sweeps(finished=False, with_trials=True))  # noqa: E731
            assert eventually(tried, 120)
        first.send_signal(signal.SIGINT)
        _, err = first.communicate(timeout=120)
        assert first.returncode == 130, err
        assert state() == ClaimState.RELEASED
    hangs.unlink()
    [row] = rows_of(warm(tmp_path, "two", shared_url, shapes))
    assert row["source"] == "sweep"


@pytest.mark.parametrize(("shares", "workers"), [("a server", 1), ("a file", None)])
def test_one_worker_goes_on_with_what_nobody_tunes_while_another_process_is_at_the_longest(
    tmp_path: Path, request: pytest.FixtureRequest, shares: str, workers: int | None
) -> None:
    """As on a host with one GPU."""
    shared = request.getfixturevalue("shared_url") if shares == "a server" else None
    hosts = ("one", "two") if shared else ("one", "one")
    (hangs := tmp_path / "hangs").touch()
    longest: Outcomes = {"b1": 0.001, "b2": f"{HANG_WHILE}{hangs}", "b4": 0.001, "b8": 0.001}
    others: list[Outcomes] = [{"b16": 0.001}, {"b16": 0.001, "b32": 0.002}, {"b64": 0.001}]
    shapes = write_shapes(tmp_path / "shapes.jsonl", [others[0], longest, *others[1:]])
    first = warm(tmp_path, hosts[0], shared, shapes, workers)
    local = tmp_path / hosts[0] / "tunedb.db"
    assert eventually(local.exists, 120)
    with open_store(str(local)) as store, open_store(shared or str(local)) as common:
        tried = lambda: any(sweep.trials for sweep in store.iter_sweeps(finished=False, with_trials=True))  # noqa: E731
        assert eventually(tried, 120)
        assert list(store.iter_sweeps()) == [], "the longest comes first"
        second = warm(tmp_path, hosts[1], shared, shapes, workers)
        assert eventually(lambda: len(list(common.iter_sweeps())) == len(others), 120)
        assert first.poll() is None
        hangs.unlink()
        first.send_signal(signal.SIGINT)  # it is in the config that hangs
        _, err = first.communicate(timeout=120)
        assert first.returncode == 130, err
        rows = rows_of(second)
        assert [row["source"] for row in rows] == ["sweep"] * 4
        tuned = [sweep.problem for sweep in common.iter_sweeps() if sweep.config is not None]
    assert len(tuned) == len(set(tuned)) == 4


def test_hosts_do_not_try_one_after_the_other_what_fails(tmp_path: Path, shared_url: str) -> None:
    """A host that has passed over a problem hears that its sweep failed meanwhile, and leaves it."""
    (hangs := tmp_path / "hangs").touch()
    fails: Outcomes = {"b1": "wrong", "b2": f"{HANG_WHILE}{hangs}", "b4": "wrong"}
    shapes = write_shapes(tmp_path / "shapes.jsonl", [fails, {"b8": 0.001}])
    [task, _] = tasks_of(fails, {"b8": 0.001})
    claimant = Claimant("another host")
    with open_store(shared_url) as shared:
        claim = shared.claims.take(ClaimKey.of(task), claimant)
        host = warm(tmp_path, "one", shared_url, shapes, 1)
        assert eventually(lambda: list(shared.iter_sweeps()), 120)  # so the other problem is done
        shared.claims.end(claim, ClaimState.FAILED)
        out, err = host.communicate(timeout=120)
        assert [row["source"] for row in json.loads(out)] == ["failed", "sweep"], err
        state = shared.claims.get(ClaimKey.of(task))
        assert state is not None
        assert state.owner == claimant.owner
