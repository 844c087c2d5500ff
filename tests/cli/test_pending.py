"""`warm --from-misses` and `warm --stale`: what the store says is worth tuning."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.cli.conftest import Cli, Kernel, put
from tests.cli.test_explain_mark import PROBLEM, tuned
from tests.cli.test_misses_stats import serve, served
from tests.store.samples import DEVICE, ENVIRONMENT, NOON, running
from tunedb import settings
from tunedb.core.device import INTERPRETER, host
from tunedb.core.problem import Problem
from tunedb.core.sweep import Mark, now
from tunedb.store import open_store
from tunedb.tuner.lock_folder import lock_folder
from tunedb.tuner.problem_lock import lock_problem


def warm(cli: Cli, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    """The rows that `warm` prints."""
    answer = cli("warm", *arguments, "--format", "json")
    assert answer.code == code, answer.err
    rows: list[dict[str, Any]] = answer.json
    return rows


def test_misses_of_the_device_that_is_here_are_tuned_the_most_frequent_first(
    cli: Cli, kernels: dict[str, Kernel]
) -> None:
    kernels["pool"].times = {128: 1.0}
    serve(
        served(1, "nearest", 2, INTERPRETER),
        served(2, "default", 3, INTERPRETER),
        served(1, "default", 2, INTERPRETER),  # four in all
        served(3, "default", 9, DEVICE),
        served(4, "default", 9, INTERPRETER, "elsewhere"),
        served(5, "default", 1, INTERPRETER, "pool_backward"),
    )
    answer = cli("warm", "--from-misses", "--format", "json")
    assert [(row["kernel"], row["problem"]["rows"]) for row in answer.json] == [
        ("pool", 1), ("pool", 2), ("pool_backward", 5),
    ]  # fmt: skip
    assert "elsewhere (rows=4) is left out" in answer.err
    ended = [line.partition(" (")[0].split()[-1] for line in answer.err.splitlines() if "sweep: " in line]
    assert ended == ["pool", "pool", "pool_backward"]  # although the last one takes longest
    left = cli("misses", "--format", "json").json
    assert {(row["kernel"], row["device"]) for row in left} == {("pool", DEVICE.name), ("elsewhere", "interpreter")}
    answer = cli("warm", "--from-misses", "--format", "json")
    assert answer.json == []
    assert "No misses to tune on the current device: 1 left out, as said above." in answer.err


def test_forward_only_leaves_gradients_out(cli: Cli, kernels: dict[str, Kernel]) -> None:
    serve(served(1, device=INTERPRETER), served(1, device=INTERPRETER, kernel="pool_backward"))
    assert [row["kernel"] for row in warm(cli, "--from-misses", "--forward-only")] == ["pool"]


def test_a_miss_that_the_kernel_makes_no_sense_of_is_left_out(
    cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    def space(problem: Problem, device: object) -> None:
        raise KeyError("columns")

    monkeypatch.setattr(kernels["pool"], "space", space, raising=False)
    serve(served(1, device=INTERPRETER), served(1, device=INTERPRETER, kernel="other"))
    assert [row["kernel"] for row in warm(cli, "--from-misses")] == ["other"]


def test_what_is_stale_here_is_tuned_again(cli: Cli, kernels: dict[str, Kernel]) -> None:
    other = Problem.of("other", rows=1, kernel_size=1)
    valid = Problem.of("pool", rows=5, kernel_size=1)
    stale = tuned(environment=ENVIRONMENT)
    put(
        stale,
        tuned(problem=other, environment=ENVIRONMENT),
        tuned(problem=valid),
        tuned(problem=valid, environment=ENVIRONMENT),
        tuned(9, problem=Problem.of("pool", rows=6, kernel_size=1), environment=ENVIRONMENT, device=DEVICE),
        tuned(9, problem=Problem.of("pool", rows=7, kernel_size=1), environment=ENVIRONMENT, kernel_hash="cd" * 32),
        tuned(9, problem=Problem.of("elsewhere", n=1), environment=ENVIRONMENT),
    )
    [row] = warm(cli, "pool", "--stale")
    assert (row["problem"], row["source"]) == (PROBLEM.plain(), "sweep")
    assert row["uid"] != stale.uid
    assert [row["kernel"] for row in warm(cli, "--stale")] == ["other"]
    answer = cli("warm", "--stale", "--format", "json")
    assert (answer.code, answer.json) == (0, [])
    assert "Nothing stale" in answer.err
    found = cli("lookup", "pool", "--shape", "2,3,4", "--kernel-size", "2", "--format", "json").json
    assert (found["uid"], found["source"]) == (row["uid"], "store")


def test_a_pinned_answer_stays_stale(cli: Cli, kernels: dict[str, Kernel]) -> None:
    put(tuned(environment=ENVIRONMENT, marks=(Mark("pin", "known good", NOON),)))
    answer = cli("warm", "--stale", "--format", "json")
    assert (answer.code, answer.json) == (0, [])
    assert "stale and pinned" in answer.err


def test_a_sweep_whose_process_is_gone_is_seen_and_finished(cli: Cli, kernels: dict[str, Kernel]) -> None:
    begun = [
        running(tuned(problem=Problem.of("pool", rows=rows, kernel_size=1), host=where, started=when))
        for rows, where, when in [
            (1, host(), now()),
            (2, host(), now()),
            (3, "elsewhere", now()),
            (4, "elsewhere", now() - timedelta(days=2)),
        ]
    ]
    with open_store(settings.current().store) as store:
        for sweep in begun:
            store.start_sweep(sweep)
    rows = cli("ls", "--format", "json")
    assert [row["status"] for row in rows.json] == ["running"] * 4
    assert "4 running: swept at this moment, or interrupted. To finish these: tunedb warm --incomplete" in rows.err
    assert "warm --incomplete" in cli("stats").err
    with lock_problem(lock_folder(settings.current()), begun[1].problem, INTERPRETER, 0):
        answer = cli("warm", "--incomplete", "--format", "json")
    assert [row["problem"]["rows"] for row in answer.json] == [1, 4]
    assert "(kernel_size=1, rows=2) is left out: another process is tuning it" in answer.err
    assert "(kernel_size=1, rows=3) is left out: it may still be running on elsewhere" in answer.err


def test_a_problem_that_was_tuned_with_sizes_that_are_not_stored_is_not_timed_with_others(
    cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels["pool"], "other_sizes", lambda problem: ["batch"], raising=False)
    put(tuned(environment=ENVIRONMENT))
    said = (
        "is left out: with which batch it was tuned is not stored. Tune it with these: tunedb warm pool --force --arg"
    )
    for command in (("warm", "--stale"), ("verify",)):
        answer = cli(*command, "--format", "json")
        assert (answer.code, answer.json) == (0, [])
        assert said in answer.err
    serve(served(3, device=INTERPRETER))
    assert [row["problem"]["rows"] for row in warm(cli, "--from-misses")] == [3]


@pytest.mark.parametrize(
    "arguments",
    [
        ("pool", "--from-misses"),
        ("--from-misses", "--stale"),
        ("--from", "x.jsonl", "--stale"),
        ("--from", "x.jsonl", "--from-misses"),
        ("--stale", "--shape", "1,2,3"),
        ("pool", "--stale", "--kernel-size", "2"),
        ("--from-misses", "--shape", "1,2,3"),
        ("nothing", "--stale"),
    ],
)
def test_what_to_tune_is_said_in_one_way(cli: Cli, kernels: dict[str, Kernel], arguments: tuple[str, ...]) -> None:
    answer = cli("warm", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
