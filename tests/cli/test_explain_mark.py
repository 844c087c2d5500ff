"""`explain` and `mark`: what answers a call and why, and how a person changes it."""

from __future__ import annotations

import csv
import dataclasses
import io
from datetime import timedelta
from typing import Any

import pytest

from tests.cli.conftest import Cli, Kernel, put
from tests.fakes import config
from tests.store.samples import DEVICE, NOON, failed, sweep, trial
from tunedb import settings
from tunedb.core.device import INTERPRETER, Environment, host
from tunedb.core.problem import Problem
from tunedb.core.sweep import Mark, Sweep, now
from tunedb.runtime.clock import method_for
from tunedb.runtime.current_device import environment
from tunedb.store import open_store

ASKED = ("pool", "--shape", "2,3,4", "--kernel-size", "2")
PROBLEM = Problem.of("pool", rows=2, kernel_size=2)
HASH = "ab" * 32  # of the fake kernels


def here() -> Environment:
    """The environment of this process."""
    return environment("interpreter", method_for(-1))


def tuned(day: int = 0, block: int = 128, **changes: Any) -> Sweep:
    """A sweep of the asked problem that answers; on a later day."""
    values: dict[str, Any] = {
        "problem": PROBLEM,
        "device": INTERPRETER,
        "kernel_hash": HASH,
        "environment": here(),
        "config": config(block),
        "finished": NOON + timedelta(days=day),
        "trials": (trial(config=changes.get("config") or config(block)), trial(512, "compile_error", error="no")),
    }
    return sweep(**{**values, **changes})


def explain(cli: Cli, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    """The rows that `explain` prints for the asked problem."""
    answer = cli("explain", *ASKED, *arguments, "--format", "json")
    assert answer.code == code, answer.err
    rows: list[dict[str, Any]] = answer.json
    return rows


def words(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Of each row the verdict and why."""
    return [(row["verdict"], row["why"]) for row in rows]


def test_every_candidate_has_its_reason_the_best_first(cli: Cli, kernels: dict[str, Kernel]) -> None:
    soft = dataclasses.replace(here(), triton="3.0.0", torch="2.0.0")
    put(
        tuned(4, complete=False),
        tuned(5, environment=soft),
        tuned(1),
        tuned(2, block=256),
        tuned(6, block=999),
        tuned(7, expires=NOON),
        tuned(8, marks=[Mark("quarantine", "wrong on odd rows", NOON)]),
        tuned(9, kernel_hash="cd" * 32),
        tuned(9, device=DEVICE),
        failed(problem=PROBLEM, device=INTERPRETER, kernel_hash=HASH, finished=NOON),
        sweep(problem=Problem.of("pool", rows=9, kernel_size=2)),
    )
    rows = explain(cli)
    assert words(rows)[:4] == [
        ("chosen", "newest"),
        ("in reserve", "older"),
        ("in reserve", "cut short"),
        (
            "in reserve",
            f"stale; torch: expected {here().torch}, got 2.0.0; triton: expected {here().triton}, got 3.0.0",
        ),
    ]
    assert [row["source"] for row in rows] == ["store", "store", "store", "stale"] + [None] * 6
    assert {row["verdict"] for row in rows[4:]} == {"passed over"}
    assert {row["why"] for row in rows[4:]} == {
        "its config is outside today's search space",
        "expired",
        "quarantined: wrong on odd rows",
        "kernel_hash: expected abababababab, got cdcdcdcdcdcd",
        f"device: expected {INTERPRETER}, got {DEVICE}",
        "failed: 1 compile_error, 2 ok",
    }
    assert rows[3]["differs"]["triton"] == {"found": "3.0.0", "needed": here().triton}


def test_explain_says_that_a_failure_of_this_machine_keeps_calls_from_tuning(
    cli: Cli, kernels: dict[str, Kernel]
) -> None:
    here_and_there = {
        name: failed(
            problem=PROBLEM, device=INTERPRETER, kernel_hash=HASH, host=name, finished=now(),
            expires=now() + timedelta(hours=1),
        )
        for name in (host(), "another")
    }  # fmt: skip
    put(*here_and_there.values())
    why = {row["uid"]: row["why"] for row in explain(cli, code=1)}
    blocks = "no call on this machine tunes it again before it expires"
    assert {name: blocks in why[sweep.uid] for name, sweep in here_and_there.items()} == {
        host(): True,
        "another": False,
    }


def test_explain_and_lookup_name_the_same_sweep(cli: Cli, kernels: dict[str, Kernel]) -> None:
    put(tuned(1), tuned(2, block=999), tuned(3, complete=False), tuned(0))
    looked_up = cli("lookup", *ASKED, "--format", "json").json
    assert explain(cli)[0]["uid"] == looked_up["uid"]


def test_explain_prints_tables_and_csv(cli: Cli, kernels: dict[str, Kernel]) -> None:
    put(tuned(1), tuned(2))
    table = cli("explain", *ASKED)
    assert table.code == 0
    assert [line.split()[1] for line in table.out.splitlines()] == ["verdict", "chosen", "in"]
    rows = list(csv.DictReader(io.StringIO(cli("explain", *ASKED, "--format", "csv").out)))
    assert [row["why"] for row in rows] == ["newest", "older"]


def test_where_nothing_answers_the_nearest_entries_say_what_differs(cli: Cli, kernels: dict[str, Kernel]) -> None:
    near, far = (Problem.of("pool", rows=rows, kernel_size=2) for rows in (3, 40))
    other = Problem.of("pool", rows=2, kernel_size="2")
    put(
        tuned(problem=far),
        tuned(problem=near),
        tuned(problem=near, device=DEVICE, uid="1" * 32),
        tuned(problem=other),
        failed(problem=PROBLEM, device=INTERPRETER, kernel_hash=HASH),
    )
    rows = explain(cli, code=1)
    assert [row["verdict"] for row in rows] == ["passed over", "nearest", "near", "near", "near"]
    assert [row["differs"] for row in rows[1:]] == [
        {"rows": {"found": 3, "needed": 2}},
        {"rows": {"found": 40, "needed": 2}},
        {"kernel_size": {"found": "2", "needed": 2}},
        {"rows": {"found": 3, "needed": 2}, "device": {"found": str(DEVICE), "needed": str(INTERPRETER)}},
    ]
    assert rows[1]["why"] == "rows: expected 2, got 3"
    answer = cli("explain", *ASKED)
    assert "Nothing that can be used is stored for pool (kernel_size=2, rows=2)" in answer.err
    assert "tunedb warm pool --shape 2,3,4 --kernel-size 2" in answer.err


def test_an_empty_store_explains_nothing_and_stays_away(cli: Cli, kernels: dict[str, Kernel], tmp_path: Any) -> None:
    assert explain(cli, code=1) == []
    assert list(tmp_path.iterdir()) == []


def test_on_a_device_that_is_not_here_nothing_is_stale(cli: Cli, kernels: dict[str, Kernel]) -> None:
    put(tuned(1, device=DEVICE, environment=Environment("1", "1", "1", "1")), tuned(2, device=DEVICE))
    assert words(explain(cli, "--device", "h200")) == [("chosen", "newest"), ("in reserve", "older")]
    assert explain(cli, "--device", "4090", code=1) == []


def test_quarantining_the_winner_revives_the_one_before(cli: Cli, kernels: dict[str, Kernel]) -> None:
    old, new = tuned(1, 128), tuned(2, 256)
    put(old, new)

    def wins() -> tuple[str, dict[str, int]]:
        found = cli("lookup", *ASKED, "--format", "json").json
        return found["uid"], found["config"]

    assert wins() == (new.uid, {"BLOCK": 256})
    answer = cli("mark", new.uid[:16], "quarantine", "--reason", "it spills", "--format", "json")
    assert answer.code == 0
    assert answer.json == {
        "uid": new.uid,
        "mark": "quarantine",
        "reason": "it spills",
        "kernel": "pool",
        "problem": {"rows": 2, "kernel_size": 2},
        "device": "interpreter",
        "wins": old.uid,
        "config": {"BLOCK": 128},
        "source": "store",
    }
    assert wins() == (old.uid, {"BLOCK": 128})
    assert words(explain(cli)) == [("chosen", "the only one"), ("passed over", "quarantined: it spills")]
    assert cli("mark", new.uid, "release", "--reason", "it was the driver", "--format", "json").json["wins"] == new.uid
    assert wins()[0] == new.uid
    for sweep_ in (new, old):
        cli("mark", sweep_.uid, "quarantine", "--reason", "x")
    assert cli("lookup", *ASKED).code == 1


def test_a_pin_wins_until_it_is_taken_back(cli: Cli, kernels: dict[str, Kernel]) -> None:
    old, new = tuned(1), tuned(2)
    put(old, new)
    assert cli("mark", old.uid, "pin", "--reason", "known good", "--format", "json").json["wins"] == old.uid
    assert words(explain(cli)) == [("chosen", "pinned: known good"), ("in reserve", "not pinned")]
    assert cli("mark", old.uid, "unpin", "--reason", "enough", "--format", "json").json["wins"] == new.uid


def test_a_mark_of_a_kernel_that_is_not_here_goes_by_rank(cli: Cli, kernels: dict[str, Kernel]) -> None:
    elsewhere = Problem.of("elsewhere", n=1)
    old, new = tuned(1, problem=elsewhere), tuned(2, problem=elsewhere)
    put(old, new)
    answer = cli("mark", new.uid, "quarantine", "--reason", "x", "--format", "json")
    assert (answer.code, answer.json["wins"]) == (0, old.uid)
    assert "No elsewhere is installed" in answer.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("ab" * 8, "pin", "--reason", "x"), 1, "There is no store at"),
        (("ab", "pin"), 2, "reason"),
        (("ab", "pin", "--reason", " "), 2, "reason"),
        (("ab", "praise", "--reason", "x"), 2, "praise"),
    ],
)
def test_a_mark_that_can_not_be_made_is_one_line(cli: Cli, arguments: tuple[str, ...], code: int, words: str) -> None:
    answer = cli("mark", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert words in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(("reason", "uid"), [("x" * 5000, None), ("\ud800", None), ("x", "f00")])
def test_a_mark_that_is_refused_leaves_nothing(
    cli: Cli, kernels: dict[str, Kernel], reason: str, uid: str | None
) -> None:
    put(one := tuned(uid="e" * 32))
    answer = cli("mark", uid or one.uid, "pin", "--reason", reason)
    assert answer.code == (2 if uid is None else 1)
    assert answer.err.count("\n") == 1
    with open_store(settings.current().store) as store:
        assert store.marks.get_all() == []


def test_a_kernel_that_is_not_installed_is_known_by_what_is_stored(
    cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEDB_BUNDLES", "off")  # tunedb ships sweeps of that name
    settings.configure()
    done = [sweep(n, device=INTERPRETER) for n in (1, 2)]
    put(*done)
    uid = done[0].uid
    [found] = cli("explain", "avg_pool1d", "--arg", "n=1", "--format", "json").json
    assert (found["uid"], found["verdict"]) == (uid, "chosen")
    assert cli("lookup", "avg_pool1d", "--arg", "n=1", "--format", "json").json["uid"] == uid
    for given, code, words in (
        (("--arg", "n=9"), 1, "no stored problem has"),
        ((), 2, "2 of its problems are stored. Name one by: n=1 or 2"),
    ):
        refused = cli("explain", "avg_pool1d", *given)
        assert (refused.code, words in refused.err, "n=" in refused.err) == (code, True, True)
    assert cli("explain", "nothing", "--arg", "n=1").code == 2
