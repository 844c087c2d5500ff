"""The benchmark of the guard after an upgrade: what is planted, and what `verify --stale` finds of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import upgrade
from tests.cli.conftest import Cli, Kernel
from tests.cli.conftest import cli as cli
from tests.cli.conftest import kernels as kernels
from tests.cli.test_explain_mark import here, tuned
from tests.cli.test_verify import fake_clock as fake_clock
from tests.fakes import config
from tests.store.samples import trial
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.store import open_store

TIMES = {128: 100.0, 256: 50.0, 512: 51.0, 64: 70.0}
COUNT = 7


def true(n: int, times: dict[int, float] = TIMES, **changes: Any) -> Sweep:
    """A sweep of the fake kernel with the times that its clock has."""
    trials = tuple(trial(config=config(block), time_us=time) for block, time in times.items())
    problem = Problem.of("pool", rows=n, kernel_size=2)
    return tuned(0, 256, problem=problem, time_us=50.0, trials=trials, environment=here(), **changes)


class Run:
    """Runs tunedb in this process: `warm` stores the true sweeps, `verify` is the command itself."""

    def __init__(self, cli: Cli, cut_off: bool = False, cut_short: int | None = None) -> None:
        self.cli, self.cut_off, self.cut_short = cli, cut_off, cut_short
        self.ran: list[tuple[str, str | None]] = []
        self.compiled: list[str] = []

    def __call__(self, words: list[str], *, env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        command, store = words[3:], env["TUNEDB_STORE"]
        self.ran.append((command[0], env.get("PYTHONPATH")))
        self.compiled.append(env.get("TRITON_CACHE_DIR", ""))
        assert env["TUNEDB_BUNDLES"] == "off"
        if command[0] == "warm":
            sweeps = [true(n, complete=n != self.cut_short) for n in range(COUNT - self.cut_off)]
            with open_store(store) as opened:
                opened.put_sweeps(sweeps)
            rows = [{"config": sweep.config and sweep.config.plain()} for sweep in sweeps]
            return subprocess.CompletedProcess(words, int(self.cut_off), json.dumps(rows))
        answer = self.cli(*command, "--store", store)
        return subprocess.CompletedProcess(words, answer.code, answer.out)


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernels: dict[str, Kernel]) -> list[str]:
    """The arguments that name a folder of the test's own, for a small list."""
    kernels["pool"].times = dict(TIMES)
    monkeypatch.setattr(upgrade, "pooling", lambda _: [("pool", {"shape": [n, 4]}) for n in range(COUNT)])
    return ["--folder", str(tmp_path / "upgrade"), "--json", str(tmp_path / "out.json")]


def test_planted_inversions_are_found_and_nothing_else(words: list[str], cli: Cli, tmp_path: Path) -> None:
    run = Run(cli)
    upgrade.main(words, run)
    held = json.loads((tmp_path / "out.json").read_text())
    figures = held["summary"]
    assert (held["is_planted"], held["before"], figures["problems"]) == (True, [upgrade.FORGED], COUNT)
    assert figures["inversions_above_5_percent"] == figures["found"] == 3  # of seven, every third
    assert (figures["others_that_turned_over"], figures["confirmed"], figures["reached"]) == (0, 4, COUNT)
    assert figures["worst_loss_before"] >= 0.4
    assert figures["worst_loss_after"] <= 0.02
    assert figures["verify_s"] >= 0
    assert (figures["share_of_a_full_retune"] is None, figures["no_share_because"]) == (False, None)
    upgrade.main(words, run)
    assert [command for command, _ in run.ran] == ["warm", "verify"]  # each part once
    assert len(set(run.compiled)) == 2  # verify finds nothing that tuning compiled: its seconds count in full


def test_a_tuning_that_was_cut_off_goes_on(words: list[str], cli: Cli, tmp_path: Path) -> None:
    run = Run(cli, cut_off=True)
    with pytest.raises(SystemExit, match="tune: 6 of 7 problems are done"):
        upgrade.main(words, run)
    run.cut_off = False
    upgrade.main(words, run)
    assert [command for command, _ in run.ran] == ["warm", "warm", "verify"]
    state = json.loads((tmp_path / "upgrade" / "state.json").read_text())
    assert state["tune"]["is_done"] is True


def test_what_the_budget_does_not_reach_is_not_found(words: list[str], cli: Cli, tmp_path: Path) -> None:
    upgrade.main([*words, "--budget", "0"], Run(cli))
    figures = json.loads((tmp_path / "out.json").read_text())["summary"]
    assert (figures["inversions_above_5_percent"], figures["found"], figures["reached"]) == (3, 0, 0)
    assert figures["worst_loss_after"] == figures["worst_loss_before"]
    assert figures["share_of_a_full_retune"] is None  # of work that was not done
    assert figures["no_share_because"] == "7 of 7 problems were left"


def test_without_a_part_that_was_left_there_is_no_share() -> None:
    row = {"verdict": "overtaken", "action": "tuned", "loss": 0.1, "loss_after": 0.0}
    assert upgrade.summary([row, row], 1.0, 4.0)["share_of_a_full_retune"] == 0.25
    for other in ({"action": "left"}, {"action": "left", "verdict": "not reached"}):
        figures = upgrade.summary([row, {**row, **other}], 1.0, 4.0)
        assert (figures["share_of_a_full_retune"], figures["no_share_because"]) == (None, "1 of 2 problems were left")


def test_a_problem_that_was_cut_short_is_tuned_again(words: list[str], cli: Cli, tmp_path: Path) -> None:
    run = Run(cli, cut_short=4)
    with pytest.raises(SystemExit, match="tune: 6 of 7 problems are done"):
        upgrade.main(words, run)
    run.cut_short = None
    with open_store(str(tmp_path / "upgrade" / "b.db")) as store:
        assert not any(sweep.is_quarantined for sweep in store.iter_sweeps())
    upgrade.main(words, run)
    assert [command for command, _ in run.ran] == ["warm", "warm", "verify"]
    with open_store(str(tmp_path / "upgrade" / "b.db")) as store:
        marked = [(sweep.problem, sweep.complete) for sweep in store.iter_sweeps() if sweep.is_quarantined]
    assert marked == [(Problem.of("pool", rows=4, kernel_size=2), False)]
    assert all(sweep.complete for sweep in upgrade.sweeps_in(tmp_path / "upgrade" / "b.db").values())
    assert json.loads((tmp_path / "out.json").read_text())["summary"]["problems"] == COUNT


def test_another_triton_goes_first_on_the_path_of_one_tuning_only(words: list[str], cli: Cli, tmp_path: Path) -> None:
    run = Run(cli)
    upgrade.main([*words, "--triton", str(tmp_path / "triton")], run)
    assert [command for command, _ in run.ran] == ["warm", "warm", "verify"]
    assert str(tmp_path / "triton") in (run.ran[0][1] or "")
    assert str(tmp_path / "triton") not in (run.ran[1][1] or "")
    held = json.loads((tmp_path / "out.json").read_text())
    assert (held["is_planted"], held["summary"]["inversions_above_5_percent"]) == (False, 0)


def test_only_a_config_that_was_slower_by_more_than_5_percent_is_planted() -> None:
    close = [true(n, {128: 52.0, 256: 50.0}) for n in range(3)]
    assert {sweep.config for sweep in upgrade.planted(close)} == {config(256)}
    made = upgrade.planted([true(n) for n in range(3)])
    assert [sweep.environment.triton for sweep in made] == [upgrade.FORGED] * 3
    turned = [sweep for sweep in made if sweep.config != config(256)]
    assert len(turned) == 1
    assert {t.config: t.time_us for t in turned[0].trials}[turned[0].config] == 50.0  # type: ignore[index]
    assert turned[0].config in (config(128), config(64))
    assert [sweep.config for sweep in upgrade.planted([true(n) for n in range(3)])] == [s.config for s in made]


def test_a_command_that_fails_ends_the_benchmark(words: list[str]) -> None:
    def fails(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 3, "")

    with pytest.raises(SystemExit, match="tunedb warm ended with exit code 3"):
        upgrade.main(words, fails)
