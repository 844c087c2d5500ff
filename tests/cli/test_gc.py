"""`gc`: what it removes, what it leaves, and that it asks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.cli.conftest import Cli, Kernel, put
from tests.cli.test_explain_mark import HASH, tuned
from tests.store.samples import failed, running
from tunedb import settings
from tunedb.core.claim import Claimant, ClaimKey, ClaimState
from tunedb.core.device import INTERPRETER
from tunedb.core.problem import Problem
from tunedb.core.sweep import Mark, Sweep, now
from tunedb.store import Store, open_store


def opened() -> Store:
    """This test's store."""
    return open_store(settings.current().store)


@pytest.fixture
def sweeps(kernels: dict[str, Kernel]) -> dict[str, Sweep]:
    """Sweeps that are stored, by what is with them."""
    pool = Problem.of("pool", rows=1)
    found = {
        "good": tuned(),
        "dead": tuned(kernel_hash="cd" * 32, marks=(Mark("pin", "x"),)),
        "not installed": tuned(problem=Problem.of("elsewhere", n=1), kernel_hash="cd" * 32),
        "expired": failed(problem=pool, kernel_hash=HASH, expires=now() - timedelta(seconds=1)),
        "expired fault": failed(
            status="aborted", complete=False, problem=pool, kernel_hash=HASH, expires=now() - timedelta(seconds=1)
        ),
        "failed": failed(problem=pool, kernel_hash=HASH, finished=now(), expires=now() + timedelta(days=1)),
        "quarantined": tuned(marks=(Mark("quarantine", "x"),)),
    }
    put(*found.values())
    found["abandoned"] = running(tuned(started=now() - timedelta(days=2)))
    found["running"] = running(tuned(started=now(), kernel_hash="cd" * 32))
    with opened() as store:
        for name in ("abandoned", "running"):
            store.start_sweep(found[name])
    return found


def left(sweeps: dict[str, Sweep]) -> set[str]:
    """What is still stored."""
    with opened() as store:
        uids = {sweep.uid for sweep in store.iter_sweeps(finished=False)}
    return {name for name, sweep in sweeps.items() if sweep.uid in uids}


GONE = {"dead": "dead", "expired": "expired", "expired fault": "expired", "abandoned": "abandoned"}


def test_a_dry_run_lists_and_removes_nothing(cli: Cli, sweeps: dict[str, Sweep]) -> None:
    answer = cli("gc", "--dry-run", "--format", "json")
    assert answer.code == 0
    rows: list[dict[str, Any]] = answer.json
    assert {(row["uid"], row["why"]) for row in rows} == {(sweeps[name].uid, why) for name, why in GONE.items()}
    assert "1 sweep of elsewhere, a kernel that is not installed" in answer.err
    assert left(sweeps) == set(sweeps)


def test_what_is_of_no_use_goes_with_its_trials_and_leaves_its_marks(cli: Cli, sweeps: dict[str, Sweep]) -> None:
    answer = cli("gc", "--yes")
    assert answer.code == 0
    assert "4 sweeps removed" in answer.err
    assert left(sweeps) == set(sweeps) - set(GONE)
    with opened() as store:
        assert {uid for uid, _ in store.marks.get_all()} == {sweeps["quarantined"].uid, sweeps["dead"].uid}
    again = cli("gc", "--yes", "--format", "json")
    assert (again.code, again.json) == (0, [])
    assert "Nothing to remove" in again.err


def test_without_a_terminal_it_needs_a_yes(cli: Cli, sweeps: dict[str, Sweep]) -> None:
    answer = cli("gc", "-q")
    assert answer.code == 2
    assert "--yes" in answer.err
    assert left(sweeps) == set(sweeps)


@pytest.mark.parametrize(("said", "code", "gone"), [("y\n", 0, set(GONE)), ("n\n", 1, set()), ("\n", 1, set())])
def test_on_a_terminal_it_asks(
    cli: Cli, sweeps: dict[str, Sweep], monkeypatch: pytest.MonkeyPatch, said: str, code: int, gone: set[str]
) -> None:
    import io
    import sys

    terminal = io.StringIO(said)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    answer = cli("gc")
    assert answer.code == code
    assert "Remove these 4 sweeps" in answer.err
    assert left(sweeps) == set(sweeps) - gone


def test_without_a_store_nothing_is_made(cli: Cli, kernels: dict[str, Kernel], tmp_path: Any) -> None:
    answer = cli("gc", "--yes", "--format", "json")
    assert (answer.code, answer.json) == (0, [])
    assert list(tmp_path.iterdir()) == []


def test_claims_that_ended_long_ago_go_and_others_stay(cli: Cli, kernels: dict[str, Kernel]) -> None:
    put(tuned())
    old, ended, held = (ClaimKey(Problem.of("pool", rows=rows), INTERPRETER, HASH) for rows in (1, 2, 3))
    with opened() as store:
        for key in (old, ended):
            store.claims.end(store.claims.take(key, Claimant("someone")), ClaimState.RELEASED)
            if key == old:
                with store._access.write() as connection:
                    connection.exec_driver_sql("UPDATE claim SET expires = '2020-01-01 00:00:00.000000'")
        store.claims.take(held, Claimant("someone"))
    assert "1 claim that ended more than 30 days ago: to be removed." in cli("gc", "--dry-run").err
    assert "1 claim that ended more than 30 days ago: removed." in cli("gc", "--yes").err
    with opened() as store:
        assert [store.claims.get(key) is None for key in (old, ended, held)] == [True, False, False]
    assert "days ago" not in cli("gc", "--yes").err
