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
from tunedb.core.claim import ClaimKey, ClaimState
from tunedb.store import open_store, upgrade

pytestmark = pytest.mark.usefixtures("planted")


@pytest.fixture
def shared_url(postgresql_url: str) -> str:
    """The shared store, without rows."""
    upgrade(postgresql_url)
    return postgresql_url.replace("postgresql://", "postgresql+psycopg://")


def warm(folder: Path, host: str, shared: str, shapes: Path) -> forked.Program:
    """Start the command on a host with a state folder of its own."""
    command = ["-m", "tunedb", "warm", "--from", shapes, "--workers", "2", "--format", "json"]
    environment = os.environ | {"TUNEDB_STORE": str(folder / host / "tunedb.db"), "TUNEDB_SHARED": shared}
    return forked.Program(command, env=environment)


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
