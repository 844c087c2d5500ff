"""The counts of a fleet on the command line: several hosts' state folders, and one shared store on either engine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Kernel
from tests.cli.test_explain_mark import tuned
from tests.store.conftest import opened
from tests.store.conftest import postgresql_instance as postgresql_instance
from tests.store.conftest import postgresql_server as postgresql_server
from tests.store.conftest import postgresql_url as postgresql_url
from tests.store.samples import DEVICE, NOON, sweep
from tunedb import settings
from tunedb.core.device import INTERPRETER, Device, host
from tunedb.core.problem import Problem
from tunedb.core.sweep import Source, UsageCount, now
from tunedb.store import Store, open_store
from tunedb.store.retention import HOST_GONE


@pytest.fixture(params=["file", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty shared store, which TUNEDB_SHARED names."""
    file = f"sqlite:///{tmp_path}/shared.db"
    url = file if request.param == "file" else request.getfixturevalue("postgresql_url")
    monkeypatch.setenv("TUNEDB_SHARED", url)
    yield from opened(url)


def count(
    name: str, rows: int, times: int = 1, day: int = 0, device: Device = INTERPRETER, source: Source = Source.DEFAULT
) -> UsageCount:
    """So many calls that a host saw, by default a few days ago."""
    moment = now() - timedelta(days=3 - day)
    return UsageCount(Problem.of("pool", rows=rows, kernel_size=1), device, source, times, moment, moment, name)


def sync(cli: Cli, folder: Path, *counts: UsageCount) -> int:
    """Count on a host whose state is in the folder, and sync it; return how many sums were sent."""
    folder.mkdir(exist_ok=True)
    with open_store(str(folder / "tunedb.db")) as store:
        store.add_usage(counts)
    answer = cli("sync", "--store", folder / "tunedb.db", "--format", "json")
    assert answer.code == 0, answer.err
    sent: int = answer.json["counts_sent"]
    return sent


def test_misses_and_stats_of_the_fleet(cli: Cli, shared: Store, kernels: dict[str, Kernel], tmp_path: Path) -> None:
    first = [count("node1", 1, 3), count("node1", 2, 1, day=1), count("node1", 2, 9, source=Source.STORE)]
    assert sync(cli, tmp_path / "a", *first) == 3
    assert sync(cli, tmp_path / "b", count("node2", 1, 4, day=1), count("node2", 3, 5, device=DEVICE)) == 2
    assert sync(cli, tmp_path / "a") == 0
    answer = cli("misses", "--fleet", "--format", "json")
    assert answer.code == 1
    assert [(row["problem"]["rows"], row["count"], row["hosts"]) for row in answer.json] == [
        (1, 7, 2),
        (3, 5, 1),
        (2, 1, 1),
    ]
    assert "tunedb warm --from-misses --fleet" in answer.err
    stats = cli("stats", "--fleet", "--format", "json").json
    assert (stats["hits"], stats["misses"], stats["misses_tuned"]) == (9, 13, 0)
    shared.put_sweeps([sweep(1)])
    assert cli("stats", "--fleet", "--format", "json").json["layers"] == {"shared": 1}
    by_host = cli("stats", "--fleet", "--by", "host", "--format", "json").json
    assert [(row["host"], row["hits"], row["misses"], row["default"]) for row in by_host] == [
        ("node1", 9, 4, 4),
        ("node2", 0, 9, 9),
    ]
    by_all = cli("stats", "--fleet", "--by", "kernel,device,host,day", "--format", "json").json
    assert len(by_all) == 4
    assert {row["device"] for row in by_all} == {DEVICE.name, "interpreter"}
    assert [row["day"] for row in cli("stats", "--fleet", "--by", "day", "--format", "json").json] == [
        count("", 1).day,
        count("", 1, day=1).day,
    ]
    assert cli("stats", "--by", "host", "--format", "json").json == []  # nothing was counted in the local store
    assert "node1" in cli("stats", "--fleet", "--by", "host,day").out


def test_the_fleet_s_misses_are_tuned_here(cli: Cli, shared: Store, kernels: dict[str, Kernel], tmp_path: Path) -> None:
    counts = [count("node1", 1, 3), count("node1", 2, 8, device=DEVICE), count("node1", 3, 9), count("node1", 4)]
    sync(cli, tmp_path / "a", *counts)
    plan = cli("warm", "--from-misses", "--fleet", "--dry-run", "--format", "json")
    assert [row["problem"]["rows"] for row in plan.json] == [3, 1, 4]
    assert not Path(settings.current().store).exists()
    answer = cli("warm", "--from-misses", "--fleet", "--format", "json")
    assert [(row["problem"]["rows"], row["source"]) for row in answer.json] == [
        (3, "sweep"),
        (1, "sweep"),
        (4, "sweep"),
    ]
    assert sync(cli, Path(settings.current().store).parent) == 0
    left = cli("misses", "--fleet", "--format", "json").json
    assert [(row["problem"]["rows"], row["device"]) for row in left] == [(2, DEVICE.name)]
    everything = cli("misses", "--fleet", "--all", "--format", "json")
    assert {row["problem"]["rows"]: row["tuned"] is not None for row in everything.json} == {
        1: True, 2: False, 3: True, 4: True,
    }  # fmt: skip
    assert "Tuned since they were missed: 3." in everything.err
    assert cli("stats", "--fleet", "--format", "json").json["misses_tuned"] == 13


def test_a_shared_store_that_is_down_is_an_error_of_the_fleet_s_commands_alone(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEDB_SHARED", "postgresql://me:secret@127.0.0.1:1/x?connect_timeout=1")
    for words in (("misses",), ("stats",), ("stats", "--by", "day"), ("devices",), ("kernels",)):
        assert cli(*words).code == 0
        answer = cli(*words, "--fleet")
        assert (answer.code, answer.out) == (3, "")
        assert "secret" not in answer.err


def test_without_a_shared_store_the_store_itself_is_the_fleet_s(cli: Cli) -> None:
    with open_store(settings.current().store) as store:
        store.add_usage([count("node1", 1), count("node2", 1)])
    [row] = cli("misses", "--fleet", "--format", "json").json
    assert row["hosts"] == 2


def test_gc_adds_up_the_counts_of_hosts_that_are_gone(cli: Cli, kernels: dict[str, Kernel]) -> None:
    long_ago = -HOST_GONE.days
    with open_store(settings.current().store) as store:
        store.add_usage([count("pod1", 1, 2, long_ago), count("pod2", 1, 3, long_ago), count(host(), 1, 4, long_ago)])
    answer = cli("gc", "--dry-run")
    assert "Counts of 2 hosts not seen for 30 days: to be added up." in answer.err
    assert len(cli("stats", "--by", "host", "--format", "json").json) == 3
    assert "Counts of 2 hosts not seen for 30 days: added up." in cli("gc", "--yes").err
    rows = cli("stats", "--by", "host", "--format", "json").json
    assert {row["host"]: row["misses"] for row in rows} == {"(gone hosts)": 5, host(): 4}
    assert "not seen" not in cli("gc", "--yes").err


def test_misses_that_cost_most_come_first(cli: Cli, kernels: dict[str, Kernel]) -> None:
    cheap, dear = Problem.of("pool", rows=100, kernel_size=1), Problem.of("pool", rows=4000, kernel_size=1)
    moment = NOON + timedelta(days=2)

    def miss(problem: Problem, times: int) -> UsageCount:
        return UsageCount(problem, INTERPRETER, Source.DEFAULT, times, moment, moment)

    with open_store(settings.current().store) as store:
        store.put_sweeps(
            [
                tuned(problem=Problem.of("pool", rows=128, kernel_size=1), time_us=9.0, default_time_us=10.0),
                tuned(problem=Problem.of("pool", rows=4096, kernel_size=1), time_us=50.0, default_time_us=90.0),
            ]
        )
        unknown = UsageCount(Problem.of("other", n=1), INTERPRETER, Source.DEFAULT, 3, moment, moment)
        store.add_usage([miss(cheap, 30), miss(dear, 2), unknown])
    rows = cli("misses", "--format", "json").json
    assert [(row["kernel"], row["problem"].get("rows"), row["count"], row["loss_us"]) for row in rows] == [
        ("pool", 4000, 2, 40.0),
        ("other", None, 3, None),  # counts as the median of the known losses, 20.5
        ("pool", 100, 30, 1.0),
    ]
    plan = cli("warm", "--from-misses", "--dry-run", "--format", "json").json
    assert [row["problem"].get("rows") for row in plan] == [4000, None, 100]


def test_the_loss_of_another_device_s_sweeps_is_taken_if_this_one_has_none(cli: Cli) -> None:
    with open_store(settings.current().store) as store:
        store.put_sweep(sweep(1, time_us=5.0, default_time_us=8.0))
        moment = NOON + timedelta(days=400)
        store.add_usage([UsageCount(sweep(2).problem, INTERPRETER, Source.DEFAULT, 1, moment, moment)])
    [row] = cli("misses", "--format", "json").json
    assert row["loss_us"] == 3.0


@pytest.mark.parametrize("names", ["", "x", "kernel,kernel", "kernel,,day", "served_by"])
def test_by_takes_four_names(cli: Cli, names: str) -> None:
    answer = cli("stats", "--by", names)
    assert (answer.code, answer.out) == (2, "")
    assert "kernel, device, host, day" in answer.err


def test_fleet_needs_misses(cli: Cli, kernels: dict[str, Kernel]) -> None:
    assert cli("warm", "--stale", "--fleet").code == 2
