"""`warm --dry-run`: what would be tuned, on what, and for how long by former sweeps."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Kernel, put
from tests.cli.test_explain_mark import tuned
from tests.fakes import config
from tests.store.samples import DEVICE, ENVIRONMENT, NOON, trial
from tunedb import settings
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.store import open_store


def plan(cli: Cli, *words: object) -> list[tuple[Any, ...]]:
    answer = cli("warm", *words, "--dry-run", "--format", "json")
    assert answer.code == 0, answer.err
    assert "Nothing was tuned." in answer.err
    return [(row["kernel"], row["problem"]["rows"], row["plan"], row["seconds"], row["by"]) for row in answer.json]


def swept(rows: int, seconds: float, **changes: Any) -> Sweep:
    """A sweep of two configs, all there are, that took so many seconds."""
    values = {
        "problem": Problem.of("pool", rows=rows, kernel_size=1),
        "started": NOON - timedelta(seconds=seconds),
        "finished": NOON,
        "trials": (trial(config=config(128)), trial(config=config(256))),
    }
    return tuned(**{**values, **changes})


def shapes(folder: Path, *rows: int) -> Path:
    path = folder / "shapes.jsonl"
    path.write_text("".join(json.dumps({"shape": [each, 1, 1], "kernel": "pool"}) + "\n" for each in rows))
    return path


def test_without_former_sweeps_the_time_is_unknown_and_no_store_is_made(cli: Cli, kernels: dict[str, Kernel]) -> None:
    words = ("pool", "--shape", "2,3,4", "--kernel-size", "2")
    assert plan(cli, *words) == [("pool", 2, "tune", None, None), ("pool_backward", 2, "tune", None, None)]
    assert plan(cli, *words, "--forward-only") == [("pool", 2, "tune", None, None)]
    assert not Path(settings.current().store).exists()
    assert kernels["pool"].tried == []


def test_what_is_stored_is_said_and_the_rest_takes_as_long_as_former_sweeps(
    cli: Cli, kernels: dict[str, Kernel], tmp_path: Path
) -> None:
    put(
        swept(1, 6.0),
        swept(2, 10.0, environment=ENVIRONMENT),  # stale: it answers
        swept(3, 30.0, kernel_hash="cd" * 32),  # of other code: it does not
        swept(5, 99.0, device=DEVICE),  # another device's time says nothing
    )
    file = shapes(tmp_path, 1, 2, 3, 4, 5)
    usual = (pytest.approx(10.0), "other sweeps of the kernel")  # the median, of 3, 5 and 15 s a config, of two configs
    assert plan(cli, "--from", file, "--forward-only") == [
        ("pool", 1, "stored", None, None),
        ("pool", 2, "stored", None, None),
        ("pool", 3, "tune", 30.0, "its last sweep"),
        ("pool", 4, "tune", *usual),
        ("pool", 5, "tune", *usual),
    ]
    answer = cli("warm", "--from", file, "--forward-only", "--dry-run")
    assert "To tune: 3 of 5, for about 50 s by former sweeps. Nothing was tuned." in answer.err
    assert [row[1:3] for row in plan(cli, "--from", file, "--forward-only", "--force")] == [
        (rows, "tune") for rows in (1, 2, 3, 4, 5)
    ]
    assert plan(cli, "--stale") == [("pool", 2, "tune", 10.0, "its last sweep")]
    assert kernels["pool"].tried == []


def test_configs_that_came_into_the_space_are_tuned(cli: Cli, kernels: dict[str, Kernel], tmp_path: Path) -> None:
    put(swept(1, 6.0))
    kernels["pool"] = Kernel({128: 1.0, 256: 1.0, 512: 1.0}, name="pool")
    assert plan(cli, "--from", shapes(tmp_path, 1)) == [
        ("pool", 1, "tune", 9.0, "other sweeps of the kernel")  # with the default and the best of before: three
    ]


def test_of_several_sweeps_of_a_problem_the_last_one_counts(
    cli: Cli, kernels: dict[str, Kernel], tmp_path: Path
) -> None:
    later = NOON + timedelta(days=1)
    put(
        swept(1, 6.0),
        swept(1, 8.0, started=later, finished=later + timedelta(seconds=8)),
        swept(1, 1.0, started=later + timedelta(days=1), finished=later + timedelta(days=2), complete=False),
    )
    words = ("--from", shapes(tmp_path, 1), "--force", "--forward-only")
    assert plan(cli, *words) == [("pool", 1, "tune", 8.0, "its last sweep")]


def test_nothing_to_do_is_said(cli: Cli, kernels: dict[str, Kernel]) -> None:
    for words in (("--from-misses",), ("--stale",), ("--incomplete",)):
        assert plan(cli, *words) == []


@pytest.mark.parametrize("has_store", [False, True])
def test_what_another_host_tuned_and_shares_is_not_to_be_tuned(
    cli: Cli, kernels: dict[str, Kernel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_store: bool
) -> None:
    shared = f"sqlite:///{tmp_path / 'shared.db'}"
    with open_store(shared) as store:
        store.put_sweeps([swept(1, 6.0)])
    if has_store:
        put(swept(2, 6.0))
    monkeypatch.setenv("TUNEDB_SHARED", shared)
    file = shapes(tmp_path, 1, 3)
    assert [row[2] for row in plan(cli, "--from", file, "--forward-only")] == ["stored", "tune"]
    assert Path(settings.current().store).exists() == has_store
