"""`tunedb verify --stale`: what still holds becomes valid here, what turned over is tuned again, most used first."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest

from tests.cli.conftest import Cli, Kernel, put
from tests.cli.test_explain_mark import PROBLEM, here, tuned
from tests.cli.test_verify import SHAPE, marks, verify
from tests.cli.test_verify import fake_clock as fake_clock
from tests.fakes import FakeWorkload, config
from tests.store.samples import trial
from tunedb import settings
from tunedb.cli import guard
from tunedb.core.device import INTERPRETER
from tunedb.core.kernel import Resources
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Source, Sweep, UsageCount, now
from tunedb.store import open_store
from tunedb.tuner import verification

OLD = dataclasses.replace(here(), triton="1.0")


def stale(block: int, times: dict[int, float], problem: Problem = PROBLEM) -> Sweep:
    """A sweep of another environment that `block` won, with these trials."""
    trials = tuple(trial(config=config(size), time_us=time) for size, time in times.items())
    return tuned(0, block, environment=OLD, problem=problem, time_us=times[block], trials=trials)


def lookup(cli: Cli) -> Any:
    return cli("lookup", "pool", *SHAPE, "--format", "json").json


def test_a_winner_that_still_holds_becomes_valid_and_is_not_swept_again(cli: Cli, kernels: dict[str, Kernel]) -> None:
    kernels["pool"].times = {128: 100.0, 256: 50.0, 512: 70.0, 64: 1.0}  # 64 is new in the space since
    stored = stale(256, {128: 100.0, 256: 50.0, 512: 70.0})
    put(stored)
    assert lookup(cli)["source"] == "stale"
    [row] = verify(cli, "--stale")
    assert (row["uid"], row["verdict"], row["action"], row["tuned"]) == (stored.uid, "holds", "confirmed", None)
    assert sorted(kernels["pool"].tried) == [128, 256, 512]  # the default, the winner and the runner-up, no more
    found = lookup(cli)
    assert (found["source"], found["uid"]) == ("store", stored.uid)
    assert verify(cli, "--stale") == []
    [warmed] = cli("warm", "pool", *SHAPE, "--forward-only", "--format", "json").json
    assert (warmed["source"], warmed["uid"]) == ("stored", stored.uid)
    with open_store(settings.current().store) as store:
        [(uid, confirmation)] = store.confirmations.get_all()
    assert (uid, confirmation.environment, confirmation.time_us) == (stored.uid, here(), 50)


def test_those_that_race_are_compiled_at_once(
    cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels["pool"].times = times = {128: 100.0, 256: 50.0, 512: 70.0}
    put(stale(256, times))
    monkeypatch.setattr(verification, "workers", lambda: 4)  # also on a machine with one core
    all_compile = threading.Barrier(len(times), timeout=10)
    prepare = FakeWorkload.prepare

    def together(self: FakeWorkload, of: Config) -> Resources:
        all_compile.wait()  # breaks if one is compiled after the other
        return prepare(self, of)

    monkeypatch.setattr(FakeWorkload, "prepare", together)
    [row] = verify(cli, "--stale")
    assert (row["verdict"], row["action"]) == ("holds", "confirmed")


def test_without_rivals_each_is_compiled_at_its_turn(
    cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels["pool"].times = {128: 100.0, 256: 50.0}
    cli("warm", "pool", *SHAPE, "--forward-only")
    threads = []
    prepare = FakeWorkload.prepare

    def noted(self: FakeWorkload, of: Config) -> Resources:
        threads.append(threading.current_thread())
        return prepare(self, of)

    monkeypatch.setattr(FakeWorkload, "prepare", noted)
    verify(cli)
    assert threads == [threading.current_thread()] * 2  # a compiler that crashes can be told from the winner


@pytest.mark.parametrize(
    ("times", "verdict", "code", "best"),
    [
        ({128: 100.0, 256: 80.0, 512: 60.0}, "overtaken", 0, 512),
        ({128: 70.0, 256: 80.0, 512: 75.0}, "beaten", 1, 128),
        ({128: 100.0, 256: "wrong", 512: 60.0}, "wrong", 1, 512),
        ({128: 100.0, 256: "compile_error", 512: 60.0}, "fails", 1, 512),
    ],
)
def test_one_that_turned_over_is_tuned_again_and_stays_for_other_environments(
    cli: Cli, kernels: dict[str, Kernel], times: dict[int, float | str], verdict: str, code: int, best: int
) -> None:
    stored = stale(256, {128: 100.0, 256: 50.0, 512: 70.0})
    put(stored)
    kernels["pool"].times = times
    [row] = verify(cli, "--stale", code=code)
    assert (row["uid"], row["verdict"], row["action"]) == (stored.uid, verdict, "tuned")
    assert row["tuned"] == {"BLOCK": best}
    found = lookup(cli)
    assert (found["source"], found["config"]) == ("store", {"BLOCK": best})
    assert marks(stored.uid) == []


def test_the_most_used_come_first_and_the_budget_leaves_the_rest(cli: Cli, kernels: dict[str, Kernel]) -> None:
    kernels["pool"].times = {128: 100.0, 256: 50.0}
    problems = [PROBLEM, *(Problem.of("pool", rows=n, kernel_size=2) for n in (5, 6))]
    put(*(stale(256, {128: 100.0, 256: 50.0}, problem) for problem in problems))
    with open_store(settings.current().store) as store:
        moment = now()
        store.add_usage([
            UsageCount(problem, INTERPRETER, Source.STALE, count, moment, moment)
            for problem, count in zip(problems, (2, 1, 9), strict=True)
        ])  # fmt: skip
    rows = verify(cli, "--stale", "--budget", "0")
    assert [row["action"] for row in rows] == ["left", "left", "left"]
    rows = verify(cli, "--stale")
    assert [row["problem"]["rows"] for row in rows] == [6, 2, 5]
    assert {row["action"] for row in rows} == {"confirmed"}


def test_what_is_cut_short_is_left_and_calls_keep_the_stale_winner(
    cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels["pool"].times = {128: 90.0, 256: 80.0, 512: 60.0}
    put(stale(256, {128: 100.0, 256: 50.0, 512: 70.0}))
    tune = guard.tune_task
    monkeypatch.setattr(guard, "tune_task", lambda *of, **given: tune(*of, **(given | {"budget": 1e-9})))
    [row] = verify(cli, "--stale")
    assert (row["verdict"], row["action"], row["tuned"]) == ("overtaken", "left", None)
    assert (lookup(cli)["source"], lookup(cli)["config"]) == ("stale", {"BLOCK": 256})


def test_one_that_raced_and_lost_is_left_unfinished_but_its_better_one_serves(
    cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels["pool"].times = {128: 90.0, 256: 80.0, 512: 60.0}
    put(stale(256, {128: 100.0, 256: 50.0, 512: 70.0}))
    tune = guard.tune_task

    def cut_short(*of: Any, **given: Any) -> Any:
        outcome, sweep = tune(*of, **given)
        return outcome, dataclasses.replace(sweep, complete=False)

    monkeypatch.setattr(guard, "tune_task", cut_short)
    [row] = verify(cli, "--stale")
    assert (row["action"], row["tuned"]) == ("left", {"BLOCK": 512})


def test_a_confirmation_travels_with_sync_and_is_explained(cli: Cli, kernels: dict[str, Kernel], tmp_path: Any) -> None:
    kernels["pool"].times = {128: 100.0, 256: 50.0}
    put(stale(256, {128: 100.0, 256: 50.0}))
    verify(cli, "--stale")
    other = tmp_path / "other.db"
    open_store(str(other)).close()
    assert cli("sync", "--with", other).code == 0
    answer = cli("lookup", "pool", *SHAPE, "--format", "json", "--store", other)
    assert answer.json["source"] == "store"
    [entry] = cli("explain", "pool", *SHAPE, "--format", "json").json
    assert (entry["source"], "confirmed in this environment" in entry["why"]) == ("store", True)


@pytest.mark.parametrize("is_known", [False, True])
def test_a_confirmation_travels_in_an_exported_file(
    cli: Cli, kernels: dict[str, Kernel], tmp_path: Any, is_known: bool
) -> None:
    kernels["pool"].times = {128: 100.0, 256: 50.0}
    put(stored := stale(256, {128: 100.0, 256: 50.0}))
    verify(cli, "--stale")
    assert cli("export", "-o", tmp_path / "out.jsonl").code == 0
    other = tmp_path / "other.db"
    with open_store(str(other)) as store:
        if is_known:
            store.put_sweep(stored)
    assert cli("import", tmp_path / "out.jsonl", "--store", other).code == 0
    answer = cli("lookup", "pool", *SHAPE, "--format", "json", "--store", other)
    assert (answer.json["source"], answer.json["uid"]) == ("store", stored.uid)
    assert cli("export", "-o", tmp_path / "again.jsonl", "--store", other).code == 0
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()


@pytest.mark.parametrize("words", [(), ("--all",)])
def test_a_confirmation_travels_in_a_bundle_and_one_of_a_bundle_s_winner_in_the_next_bundle(
    cli: Cli, kernels: dict[str, Kernel], tmp_path: Any, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    kernels["pool"].times = {128: 100.0, 256: 50.0}
    put(stored := stale(256, {128: 100.0, 256: 50.0}))
    assert cli("export", "--format", "bundle", *words, "-o", tmp_path / "old.db").code == 0
    verify(cli, "--stale")
    assert cli("export", "--format", "bundle", *words, "-o", tmp_path / "new.db").code == 0

    def served_by(bundle: str, store: str) -> Any:
        monkeypatch.setenv("TUNEDB_BUNDLES", str(tmp_path / bundle))
        answer = cli("lookup", "pool", *SHAPE, "--format", "json", "--store", tmp_path / store)
        assert answer.json["uid"] == stored.uid
        return answer.json["source"]

    assert [served_by("old.db", "none.db"), served_by("new.db", "none.db")] == ["stale", "store"]
    monkeypatch.setenv("TUNEDB_BUNDLES", str(tmp_path / "old.db"))  # confirmed where only the bundle has the sweep
    mine = tmp_path / "mine.db"
    open_store(str(mine)).close()
    assert cli("verify", "--stale", "--bundles", "--store", mine).code == 0
    made = cli("export", "--format", "bundle", "--bundles", *words, "-o", tmp_path / "third.db", "--store", mine)
    assert made.code == 0, made.err
    assert served_by("third.db", "none.db") == "store"


def test_what_is_not_stale_is_left_alone(cli: Cli, kernels: dict[str, Kernel]) -> None:
    put(tuned())
    answer = cli("verify", "--stale", "--format", "json")
    assert (answer.code, answer.json) == (0, [])
    assert "Nothing is stale on the current device." in answer.err
    assert cli("verify", "--budget", "5").code == 2
