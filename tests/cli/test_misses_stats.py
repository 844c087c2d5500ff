"""`misses` and `stats`: what calls were served with."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, put
from tests.conftest import DEVICE as HERE
from tests.conftest import runs_kernels
from tests.store.samples import DEVICE, NOON, failed, running, sweep
from tunedb import settings
from tunedb.core.device import INTERPRETER, Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import UsageCount
from tunedb.store import open_store


def served(
    n: int, source: str = "default", count: int = 1, device: Device = DEVICE, kernel: str = "pool"
) -> UsageCount:
    """Calls of the kernel's n-th problem."""
    return UsageCount(Problem.of(kernel, rows=n), device, source, count, NOON, NOON + timedelta(hours=1))


def serve(*counts: UsageCount) -> None:
    """Put counts into this test's store."""
    with open_store(settings.current().store) as store:
        store.add_usage(counts)


def test_misses_are_listed_by_count(cli: Cli) -> None:
    serve(served(1, count=2), served(2, "nearest", count=5), served(3, "store", count=9))
    answer = cli("misses", "--format", "json")
    assert answer.code == 1
    assert [(row["problem"], row["count"]) for row in answer.json] == [({"rows": 2}, 5), ({"rows": 1}, 2)]
    assert answer.json[0] == {
        "kernel": "pool",
        "problem": {"rows": 2},
        "device": DEVICE.name,
        "arch": "sm_90",
        "served_by": "nearest",
        "count": 5,
        "hosts": 1,
        "loss_us": None,
        "tuned": None,
        "layer": None,
        "bundle": None,
        "first_seen": NOON.isoformat(),
        "last_seen": (NOON + timedelta(hours=1)).isoformat(),
    }
    assert "tunedb warm --from-misses" in answer.err
    assert cli("misses", "-q").err == ""


def test_misses_filter(cli: Cli) -> None:
    serve(served(1), served(2, device=INTERPRETER), served(3, kernel="other"))
    assert len(cli("misses", "--device", "h200", "--format", "json").json) == 2
    assert len(cli("misses", "--kernel", "pool", "--format", "json").json) == 2
    answer = cli("misses", "--kernel", "nothing", "--format", "json")
    assert (answer.code, answer.json) == (0, [])
    assert "No kernel is called 'nothing'." in answer.err
    put(sweep(1))
    assert "Did you mean NVIDIA H200?" in cli("misses", "--device", "h2000").err
    assert cli("misses", "--kernel", "avg_pool1d").err.startswith("No such misses in")  # stored, and never missed
    serve(served(9, kernel="mine.add"))
    assert [row["kernel"] for row in cli("misses", "--kernel", "add", "--format", "json").json] == ["mine.add"]


@pytest.mark.parametrize("format", ["table", "json", "csv"])
def test_without_a_store_there_are_no_misses_and_none_is_made(cli: Cli, format: str, tmp_path: Path) -> None:
    answer = cli("misses", "--format", format)
    assert answer.code == 0
    assert answer.err == f"There is no store at {settings.current().store}.\n"
    assert cli("stats", "--format", format).code == 0
    assert list(tmp_path.iterdir()) == []


def test_stats_count_what_the_store_holds_and_served(cli: Cli, tmp_path: Path) -> None:
    serve(served(1, "nearest"), served(1, "default", 2), served(1, "store", 4), served(1, "stale", 8))
    serve(served(1, "sweep", 16), served(1, "override", 32))
    put(sweep(1), sweep(2, origin="imported"), failed(3, device=INTERPRETER))
    with open_store(settings.current().store) as store:
        store.start_sweep(running(sweep(4)))
    found: dict[str, Any] = cli("stats", "--format", "json").json
    assert found == {
        "store": str(tmp_path / "tunedb.db"),
        "hits": 12,
        "stale": 8,
        "misses": 3,
        "misses_tuned": 0,
        "misses_bundled": 0,
        "served": {"store": 4, "stale": 8, "nearest": 1, "hint": 0, "default": 2, "sweep": 16, "override": 32},
        "sweeps": {"running": 1, "tuned": 2, "failed": 1, "aborted": 0},
        "layers": {"local": 4, "bundle": 0},
        "tuned_sweeps": {"pinned": 0, "quarantined": 0, "stale": 0, "cut_short": 0},
        "imported": 1,
        "seconds": 9.0,
        "problems": 4,
        "devices": 2,
    }
    assert "tuned=2" in cli("stats").out


@runs_kernels
def test_a_call_that_is_served_by_the_default_is_a_miss_until_it_is_tuned(cli: Cli) -> None:
    import torch

    from tunedb.kernels import avg_pool1d

    x = torch.randn(2, 3, 64, device=HERE)
    with settings.using(mode="record"):
        avg_pool1d(x, 4)
    [row] = cli("misses", "--format", "json").json
    assert (row["kernel"], row["served_by"], row["count"]) == ("avg_pool1d", "default", 1)
    assert cli("warm", "--from-misses").code == 0
    assert cli("misses", "--format", "json").json == []
