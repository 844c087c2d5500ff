"""What calls missed and a bundle answers now counts as answered, in every command that counts misses."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import planted
from tests.cli.conftest import Cli, Kernel, put
from tests.cli.test_explain_mark import PROBLEM, tuned
from tests.cli.test_misses_stats import serve
from tests.forked_workers import fork_workers
from tests.planted import register_lightly
from tests.store.bundled import write
from tests.store.samples import DEVICE, NOON, trial
from tunedb import registry, settings
from tunedb.core.device import INTERPRETER, Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Source, Sweep, UsageCount
from tunedb.store import bundles, open_store
from tunedb.store.bundle.sources import BundleSource
from tunedb.store.bundles import BundleLayer

LATER = NOON + timedelta(days=30)
Bundled = Callable[..., None]


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundled:
    """Name a bundle of these sweeps, and no other one, in the settings."""
    numbers = itertools.count()

    def plant(*sweeps: Sweep) -> None:
        monkeypatch.setenv("TUNEDB_BUNDLES", str(write(tmp_path / f"shipped{next(numbers)}.db", sweeps)))
        settings.configure()

    return plant


def problem(rows: int, kernel: str = "pool") -> Problem:
    """A problem of a kernel that may be installed."""
    return Problem.of(kernel, rows=rows, kernel_size=1)


def count(rows: int, source: Source = Source.DEFAULT, hours: int = 0, **changes: Any) -> UsageCount:
    """Three calls of a problem, so many hours after all sweeps ended."""
    moment = LATER + timedelta(hours=hours)
    facts = {"problem": problem(rows), "device": INTERPRETER, "source": source, "count": 3}
    return UsageCount(**{**facts, "first_seen": moment, "last_seen": moment, **changes})


def open_rows(cli: Cli, *words: str) -> list[int]:
    """The rows of the problems that `misses` lists."""
    answer = cli("misses", *words, "--format", "json")
    assert answer.code == (1 if answer.json else 0), answer.err
    return [row["problem"]["rows"] for row in answer.json]


def test_a_miss_that_a_bundle_answers_now_is_none(cli: Cli, kernels: dict[str, Kernel], bundled: Bundled) -> None:
    serve(count(1), count(2))
    assert open_rows(cli) == [1, 2]
    bundled(tuned(problem=problem(1)))
    answer = cli("misses", "--format", "json")
    assert [row["problem"]["rows"] for row in answer.json] == [2]
    assert "Answered by bundles now: 1. List them too: tunedb misses --all" in answer.err
    by_rows = {row["problem"]["rows"]: row for row in cli("misses", "--all", "--format", "json").json}
    assert {rows: (row["tuned"], row["layer"]) for rows, row in by_rows.items()} == {
        1: (None, "bundle"),
        2: (None, None),
    }
    assert by_rows[1]["bundle"].endswith("shipped0.db")
    stats = cli("stats", "--format", "json").json
    assert (stats["misses"], stats["misses_tuned"], stats["misses_bundled"]) == (6, 0, 3)
    assert [row["misses"] for row in cli("devices", "--format", "json").json] == [3]
    plan = cli("warm", "--from-misses", "--dry-run", "--format", "json")
    assert [row["problem"]["rows"] for row in plan.json] == [2]


def test_one_that_was_tuned_here_is_told_apart(cli: Cli, kernels: dict[str, Kernel], bundled: Bundled) -> None:
    serve(count(1), count(2))
    put(tuned(problem=problem(2), finished=LATER + timedelta(hours=1)))
    bundled(tuned(problem=problem(1)), tuned(problem=problem(2)))
    answer = cli("misses", "--all", "--format", "json")
    assert (answer.code, {row["problem"]["rows"]: row["layer"] for row in answer.json}) == (
        0,
        {1: "bundle", 2: "local"},
    )
    assert "Tuned since they were missed: 1. Answered by bundles now: 1." in answer.err


@pytest.mark.parametrize(
    "changes",
    [{"kernel_hash": "cd" * 32}, {"device": DEVICE}, {"device": Device("a twin", "interpreter", "interpreter", 2)},
     {"block": 999}, {"problem": problem(77)}],
    ids=["other code", "other device", "sibling device", "outside the space", "near problem"],
)  # fmt: skip
def test_a_bundle_that_does_not_answer_the_call_leaves_the_miss_open(
    cli: Cli, kernels: dict[str, Kernel], bundled: Bundled, changes: dict[str, Any]
) -> None:
    serve(count(1), count(1, Source.NEAREST), count(1, Source.HINT))
    bundled(tuned(**({"problem": problem(1)} | changes)))
    assert open_rows(cli) == [1, 1, 1]
    assert cli("stats", "--format", "json").json["misses_bundled"] == 0


def test_a_quarantined_answer_is_none(cli: Cli, kernels: dict[str, Kernel], bundled: Bundled) -> None:
    serve(count(1))
    bundled(sweep := tuned(problem=problem(1)))
    assert open_rows(cli) == []
    assert cli("mark", sweep.uid, "quarantine", "--reason", "slow here").code == 0
    assert open_rows(cli) == [1]


def test_a_stale_answer_is_one(cli: Cli, kernels: dict[str, Kernel], bundled: Bundled) -> None:
    from tests.cli.test_guard import OLD

    serve(count(1))
    bundled(tuned(problem=problem(1), environment=OLD))
    assert open_rows(cli) == []


def miss_what_is_shipped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have calls miss a problem that tunedb's own bundle answers; the store has a sweep of another one."""
    file = write(folder / "own.db", [tuned(problem=problem(1))])
    own = BundleSource("pool of tunedb", file, file.read_bytes, is_own=True)
    monkeypatch.setattr(bundles, "_layers", {(): BundleLayer((), lambda: [own])})
    serve(count(1))
    put(tuned(problem=problem(2)))


def test_what_tunedb_ships_answers_too(
    cli: Cli, kernels: dict[str, Kernel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    miss_what_is_shipped(tmp_path, monkeypatch)
    assert open_rows(cli) == []
    monkeypatch.setattr(bundles, "_layers", {(): BundleLayer((), list)})
    assert open_rows(cli) == [1]


def test_a_report_counts_a_miss_as_answered_only_if_it_shows_the_answer(
    cli: Cli, kernels: dict[str, Kernel], bundled: Bundled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    miss_what_is_shipped(tmp_path, monkeypatch)
    assert open_rows(cli) == []
    text = cli("report", "--format", "md").out  # what tunedb ships is not in a report
    assert "2 problems: 1 tuned, 1 missed." in text
    assert text.endswith(" | missed | 3 |\n")
    bundled(tuned(problem=problem(1)))
    text = cli("report", "--format", "md").out
    assert "2 problems: 2 tuned." in text
    assert "missed" not in text.partition("## Coverage")[0]
    put(tuned(problem=problem(9), kernel_hash="cd" * 32, finished=LATER))  # the bundle's sweep is obsolete now
    text = cli("report", "--format", "md").out
    assert "3 calls missed." in text
    assert "| pool | rows=1 | interpreter | obsolete | 3 |" in text


def test_which_kernels_are_installed_changes_no_report(
    cli: Cli, kernels: dict[str, Kernel], bundled: Bundled, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(count(1), count(2))
    put(tuned(problem=problem(3)))
    bundled(tuned(problem=problem(1), kernel_hash="cd" * 32), tuned(problem=problem(2)))
    before = cli("report", "-o", "-").out
    assert before.startswith("<!doctype html>")
    kernels.clear()
    assert cli("report", "-o", "-").out == before
    monkeypatch.setattr("tunedb.registry.kernel_names", list)
    assert cli("report", "-o", "-").out == before


def test_of_a_kernel_that_is_not_installed_a_call_that_was_served_since_closes_the_miss(
    cli: Cli, kernels: dict[str, Kernel], bundled: Bundled
) -> None:
    gone = problem(1, "gone")
    serve(count(1, problem=gone))
    bundled(tuned(problem=gone))
    assert open_rows(cli) == [1]  # of which code the call was is not known
    serve(count(1, Source.STALE, hours=1, problem=gone))
    assert open_rows(cli) == []
    serve(count(1, hours=2, problem=gone))  # it was missed again
    assert open_rows(cli) == [1]
    bundled(tuned(problem=gone, finished=LATER + timedelta(hours=3)))
    assert open_rows(cli) == []


def test_a_bundle_of_this_host_answers_nothing_for_the_fleet(
    cli: Cli, kernels: dict[str, Kernel], bundled: Bundled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEDB_SHARED", str(tmp_path / "shared.db"))
    with open_store(str(tmp_path / "shared.db")) as store:
        store.add_usage([count(1, host="node1"), count(2, host="node2")])
    bundled(tuned(problem=problem(1)))
    answer = cli("misses", "--fleet", "--all", "--format", "json")
    assert [(row["problem"]["rows"], row["layer"], row["bundle"]) for row in answer.json] == [
        (1, None, None),
        (2, None, None),
    ]
    assert (answer.code, "Answered by bundles" in answer.err) == (1, False)
    assert open_rows(cli, "--fleet", "--kernel", "pool", "--device", "interpreter") == [1, 2]
    stats = cli("stats", "--fleet", "--format", "json").json
    assert (stats["misses"], stats["misses_bundled"]) == (6, 0)
    assert [row["misses"] for row in cli("devices", "--fleet", "--format", "json").json] == [6]
    plan = cli("warm", "--from-misses", "--fleet", "--dry-run", "--format", "json")
    assert [(row["problem"]["rows"], row["plan"]) for row in plan.json] == [(1, "tune"), (2, "tune")]


@pytest.mark.parametrize("workers", [(), ("--workers", 1)], ids=["this process", "a worker"])
def test_warm_tunes_for_the_fleet_what_a_bundle_of_this_host_answers(
    cli: Cli, bundled: Bundled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: tuple[object, ...]
) -> None:
    monkeypatch.setenv("PYTHONPATH", register_lightly(tmp_path / "site"))
    fork_workers(monkeypatch)
    monkeypatch.setattr(registry, "kernel_named", lambda name: planted.KERNEL)
    monkeypatch.setattr(registry, "kernel_names", lambda: [planted.NAME])
    monkeypatch.setattr("tunedb.cli.device.index_to_run_on", lambda: -1)
    monkeypatch.setenv("TUNEDB_SHARED", str(tmp_path / "shared.db"))
    missed, won = planted.problem_of(b1=0.03, b32=0.001), Config.of(BLOCK=32)
    with open_store(str(tmp_path / "shared.db")) as store:
        store.add_usage([count(1, host="node1", problem=missed)])
        shipped = tuned(problem=missed, kernel_hash=planted.KERNEL.hash, config=won, trials=(trial(config=won),))
        bundled(shipped)
        answer = cli("warm", "--from-misses", "--fleet", *workers, "--format", "json")
        assert [row["source"] for row in answer.json] == ["sweep"], answer.err
        [sweep] = store.iter_sweeps()
    assert (sweep.problem, sweep.config) == (missed, won)
    assert sweep.uid != shipped.uid
    assert settings.current().bundles != ("off",)  # of the command alone


def test_calls_of_a_bundle_s_problem_are_hits(cli: Cli, kernels: dict[str, Kernel], bundled: Bundled) -> None:
    from tunedb.tuner import session

    put(tuned(problem=problem(9)))  # calls that a bundle answers make no store to be counted in
    bundled(tuned())
    settings.configure(mode="record")
    choice = session.active().choose(kernels["pool"], PROBLEM, -1)
    assert (choice.source, choice.layer) == ("store", "bundle")
    assert session.flush()
    stats = cli("stats", "--format", "json").json
    assert (stats["hits"], stats["misses"]) == (1, 0)
