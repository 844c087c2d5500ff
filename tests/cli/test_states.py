"""The state of stored sweeps in `ls`, `show`, `lookup`, `stats` and JSON, and the filters of `ls`."""

from __future__ import annotations

import dataclasses
import shlex
from datetime import timedelta

import pytest

from tests.cli.conftest import Cli, put
from tests.cli.test_ls_show_lookup_path import PROBLEM, tuned
from tests.store.samples import DEVICE, failed, sweep
from tunedb import settings
from tunedb.cli.cells import duration
from tunedb.core.device import INTERPRETER, OWN_BENCHMARK, Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import Mark, MarkKind, Sweep, now
from tunedb.runtime.clock_method import method_for
from tunedb.runtime.current_device import environment

AWAY = Device("NVIDIA L4", "cuda", "sm_89", 58)
PIN = (Mark(MarkKind.PIN, "by hand"),)
BAD = (Mark(MarkKind.QUARANTINE, "wrong"),)


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The current device is the interpreter."""
    monkeypatch.setattr("tunedb.cli.device.current_index", lambda: -1)


def later(one: Sweep, seconds: int, **changes: object) -> Sweep:
    """A sweep that ended so much later."""
    assert one.finished is not None
    return dataclasses.replace(one, finished=one.finished + timedelta(seconds=seconds), **changes)  # type: ignore[arg-type]


def rows(cli: Cli, *words: object) -> dict[str, dict[str, object]]:
    """The rows of `ls` by uid."""
    return {row["uid"]: row for row in cli("ls", *words, "--format", "json").json}


def test_one_sweep_of_a_problem_answers_and_the_others_say_why_not(cli: Cli) -> None:
    here = environment("interpreter", method_for(-1))
    old, cut = tuned(uid="1" * 32), later(tuned(uid="2" * 32, environment=here), 10, complete=False)
    bad = later(tuned(uid="3" * 32, environment=here, marks=BAD), 20)
    away = tuned(AWAY, uid="4" * 32)
    put(old, cut, bad, away)
    listed = rows(cli)
    fields = ("answers", "stale", "quarantined", "complete")
    assert {uid[0]: tuple(row[name] for name in fields) for uid, row in listed.items()} == {
        "1": (False, True, False, True),
        "2": (True, False, False, False),
        "3": (False, False, True, True),
        "4": (True, None, False, True),
    }  # fmt: skip
    table = {line.split()[0][0]: line for line in cli("ls").out.splitlines()[1:]}
    assert "stale" in table["1"]
    assert "cut short" in table["2"]
    assert "quarantined" in table["3"]
    assert rows(cli, "--stale").keys() == {"1" * 32}
    shown = cli("show", "3" * 6, "--format", "json").json
    assert (shown["answers"], shown["quarantined"], shown["marks"][0]["reason"]) == (False, True, "wrong")
    assert "quarantine: wrong" in cli("show", "3" * 6).out
    states = cli("stats", "--format", "json").json["tuned_sweeps"]
    assert states == {"pinned": 0, "quarantined": 1, "stale": 1, "cut_short": 1}


def test_a_pinned_sweep_answers_before_a_newer_one(cli: Cli) -> None:
    put(tuned(uid="1" * 32, marks=PIN), later(tuned(uid="2" * 32), 10))
    assert {uid[0]: (row["answers"], row["pinned"]) for uid, row in rows(cli).items()} == {
        "1": (True, True), "2": (False, False),
    }  # fmt: skip


def test_a_kernels_own_benchmark_does_not_make_its_sweeps_stale(cli: Cli) -> None:
    own = dataclasses.replace(environment("interpreter", method_for(-1)), method=OWN_BENCHMARK)
    put(sweep(device=INTERPRETER, environment=own))
    assert next(iter(rows(cli).values()))["stale"] is False


def test_each_code_of_a_kernel_has_its_own_answer(cli: Cli) -> None:
    put(sweep(uid="1" * 32), later(sweep(uid="2" * 32, kernel_hash="d" * 64), 5), later(sweep(uid="3" * 32), 9))
    assert {uid[0]: row["answers"] for uid, row in rows(cli).items()} == {"1": False, "2": True, "3": True}


@pytest.mark.parametrize(
    ("words", "uids"),
    [
        (["--where", "n=2"], "2"),
        (["--where", "n=2,scale=0.5"], "2"),
        (["--where", "n=2 dtype_name=fp32"], "2"),
        (["--where", "padding=None"], "12"),
        (["--where", "dtype=torch.float16"], "3"),
        (["--where", "dtype=half,causal=True"], "3"),
        (["--where", "n=9"], ""),
        (["--where", "other=1"], ""),
        (["--where", "n=true"], ""),
        (["--status", "failed"], "2"),
        (["--sort", "age"], "132"),
        (["--sort", "speedup", "--limit", "1"], "3"),
        (["--sort", "time_us", "--limit", "1"], "1"),
        (["--sort", "status"], "213"),
        (["--sort", "device"], "123"),
        (["--kernel", "attention"], "3"),
        (["--kernel", "mine.attention", "--limit", "5"], "3"),
    ],
)
def test_ls_filters_and_sorts(cli: Cli, words: list[str], uids: str) -> None:
    attention = Problem.of("mine.attention", n=2**40, dtype="float16", causal=True)
    put(
        later(sweep(1, uid="1" * 32), 100),
        failed(2, uid="2" * 32, default_time_us=None),
        later(sweep(problem=attention, uid="3" * 32, time_us=5.0), 50),
    )
    assert "".join(uid[0] for uid in rows(cli, *words)) == uids


@pytest.mark.parametrize("where", ["n", "=2", "n=1,n=2", "n=NaN"])
def test_a_where_that_can_not_be_read_is_usage(cli: Cli, where: str) -> None:
    put(sweep())
    answer = cli("ls", "--where", where)
    assert (answer.code, answer.out) == (2, "")
    assert "--where" in answer.err


def test_lookup_counts_what_was_passed_over_and_names_the_command(cli: Cli) -> None:
    store = settings.current().store
    put(tuned(), dataclasses.replace(tuned(), kernel_hash="d" * 64), later(tuned(marks=BAD), 5), tuned(AWAY))
    answer = cli("lookup", *PROBLEM, "--format", "json")
    assert answer.json["passed_over"] == 2
    assert "2 stored sweeps of this problem were passed over. To see why: tunedb explain avg_pool1d" in answer.err
    assert cli("lookup", *PROBLEM, "-q").err == ""
    answer = cli("lookup", *PROBLEM, "--store", store)
    words = shlex.split(answer.err.partition("To see why: ")[2])
    assert words[-2:] == ["--store", store]
    assert cli(*words[1:]).code == 0


def test_lookup_of_what_was_passed_over_says_so(cli: Cli) -> None:
    put(tuned(marks=BAD))
    answer = cli("lookup", *PROBLEM)
    assert answer.code == 1
    assert "1 stored sweep of this problem was passed over" in answer.err
    assert "Run there: tunedb warm avg_pool1d --shape 2,4,64 --kernel-size 4" in answer.err


def test_a_stored_kernels_dtype_is_taken_by_any_of_its_names(cli: Cli) -> None:
    put(sweep(problem=Problem.of("mine.attention", dtype="float16", n=3), device=DEVICE))
    for dtype in ("fp16", "float16", "torch.float16", "half"):
        assert cli("lookup", "attention", "--arg", f"dtype={dtype}", "--device", "h200").code == 0
    assert cli("lookup", "attention", "--arg", "dtype=float32", "--device", "h200").code == 1


def test_a_command_about_a_store_with_a_password_leaves_it_to_the_user(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunedb.cli.store_words import store_option

    with settings.using(store="postgresql://me:secret@host/x"):
        assert store_option() == ' --store "$URL"'
    assert store_option() == ""


def test_an_age_has_its_largest_unit() -> None:
    seconds = {"0s": -5, "59s": 59.9, "1m": 60, "59m": 3599, "1h": 3600, "23h": 86399, "40d": 40 * 86400 + 7}
    assert {text: duration(value) for text, value in seconds.items()} == {text: text for text in seconds}
    assert now() is not None
