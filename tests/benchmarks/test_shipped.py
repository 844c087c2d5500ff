"""The making of the bundle in the wheel: what is kept of each kind of GPU, what is left out, and the same bytes."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks import shipped
from tests.store.bundled import uid, write
from tests.store.samples import NOON, sweep, trial
from tunedb.cli.tasks import make_tuner
from tunedb.core.device import INTERPRETER, Device, Environment
from tunedb.core.sweep import Confirmation, Sweep
from tunedb.kernels.avg_pool import BACKWARD, FORWARD
from tunedb.store import open_store

LINES: list[dict[str, Any]] = [
    {"id": "a", "shape": [2, 4, 64], "kernel_size": 4},
    {"id": "b", "shape": [2, 4, 96], "kernel_size": 3, "stride": 1, "dtype": "float16"},
]
H100 = Device("NVIDIA H100 80GB HBM3", "cuda", "sm_90", 132)
H200 = Device("NVIDIA H200", "cuda", "sm_90", 132)
OLD, NEW = (Environment(triton, "2.11", "580", "events-2") for triton in ("3.6.0", "3.9.0"))


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """The arguments that name a small list, a bundle and a store in the test's folder."""
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return [f"--{name}={tmp_path / file}" for name, file in
            (("list", "list.jsonl"), ("bundle", "b.db"), ("store", "s.db"))]  # fmt: skip


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch) -> list[Sweep]:
    """What the next run finds on its GPU: these sweeps."""
    found: list[Sweep] = []

    def tune(_: Any, store: Path, bundle: Path, seconds: float, *, force: bool) -> None:
        with open_store(str(store)) as opened:
            opened.put_sweeps(found)

    monkeypatch.setattr(shipped, "tune", tune)
    return found


def found_on(device: Device, number: int, line: int = 0, **changes: Any) -> Sweep:
    """A sweep of the list's forward problem on a device."""
    problem = FORWARD.problem(LINES[line])
    config = FORWARD.space(problem, device)[-1]
    values = {
        "problem": problem, "device": device, "environment": OLD, "config": config, "kernel_hash": FORWARD.hash,
        "trials": (trial(1, config=config, uid=uid(1000 + number)),), "uid": uid(number), "finished": NOON,
    }  # fmt: skip
    return sweep(number, **{**values, **changes})


def rows(tmp_path: Path) -> set[str]:
    return {row.uid for row in shipped.in_bundle(tmp_path / "b.db")}


def test_a_later_run_on_another_gpu_completes_the_file(
    paths: list[str], tuned: list[Sweep], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned[:] = [found_on(H100, 1)]
    shipped.main(paths)
    tuned[:] = [found_on(H200, 2), found_on(H200, 3, line=1)]
    shipped.main([*paths[:2], f"--store={tmp_path / 'other.db'}"])
    assert rows(tmp_path) == {uid(1), uid(2), uid(3)}
    printed = capsys.readouterr().out
    assert (
        "NVIDIA H100 80GB HBM3 (sm_90, 132 multiprocessors): 1 of 4 (Triton 3.6.0, torch 2.11, driver 580)" in printed
    )
    assert "NVIDIA H200 (sm_90, 132 multiprocessors): 2 of 4" in printed


def test_the_same_results_give_the_same_bytes_in_whatever_order_they_came(
    paths: list[str], tuned: list[Sweep], tmp_path: Path
) -> None:
    made = []
    for order in ((1, 2, 3), (3, 1, 2)):
        (tmp_path / "b.db").unlink(missing_ok=True)
        for number in order:
            tuned[:] = [found_on((H100, H200)[number % 2], number, line=number // 2)]
            shipped.main([*paths[:2], f"--store={tmp_path / f'{order}{number}.db'}"])
        made.append((tmp_path / "b.db").read_bytes())
        shipped.main(paths)
        assert (tmp_path / "b.db").read_bytes() == made[-1]
    assert made[0] == made[1]


def test_one_winner_is_kept_for_each_problem_and_device_of_the_newest_versions(
    paths: list[str], tuned: list[Sweep], tmp_path: Path
) -> None:
    write(tmp_path / "b.db", [found_on(H100, 1)])
    later, cut_short = NOON + timedelta(days=1), NOON + timedelta(days=2)
    tuned[:] = [found_on(H100, 2, environment=NEW, finished=later),
                found_on(H100, 3, environment=NEW, finished=cut_short, complete=False)]  # fmt: skip
    shipped.main(paths)
    assert rows(tmp_path) == {uid(2)}


def test_what_was_confirmed_with_newer_versions_is_shipped_for_these_too(
    paths: list[str], tuned: list[Sweep], tmp_path: Path
) -> None:
    write(tmp_path / "b.db", [held := found_on(H100, 1)])
    confirmation = Confirmation(NEW, 1.0, 2.0, NOON + timedelta(days=2), uid(9))
    tuned[:] = [dataclasses.replace(held, confirmations=(confirmation,)),
                found_on(H100, 2, environment=NEW, finished=NOON - timedelta(days=1), complete=False)]  # fmt: skip
    for _ in range(2):
        shipped.main(paths)
        (found,) = shipped.in_bundle(tmp_path / "b.db")
        assert (found.uid, found.confirmations) == (uid(1), (confirmation,))
        tuned.clear()
        (tmp_path / "s.db").unlink()


def test_what_was_cut_short_is_not_shipped_and_a_later_run_tunes_it_again(
    paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunedb.cli.device.index_to_run_on", lambda: -1)
    short = found_on(INTERPRETER, 1, complete=False)
    whole = found_on(INTERPRETER, 2, line=1)
    gradient = BACKWARD.problem(LINES[0])
    config = BACKWARD.space(gradient, INTERPRETER)[-1]
    bundled = found_on(INTERPRETER, 3, problem=gradient, kernel_hash=BACKWARD.hash, complete=False, config=config,
                       trials=(trial(1, config=config),))  # fmt: skip
    write(tmp_path / "b.db", [bundled])
    asked: list[list[str]] = []
    results = [[short, whole], [found_on(INTERPRETER, 4, finished=NOON + timedelta(days=1))], []]

    def tune(tasks: Any, store: Any, slots: Any, **options: Any) -> None:
        """Note the arguments of the tasks that the store does not answer, and store the next results."""
        tuner = make_tuner(store)
        open_tasks = [task for task in tasks if tuner.look_up(task) is None]
        asked.append([f"{task.kernel.name} {task.arguments['id']}" for task in open_tasks])
        store.put_sweeps(results.pop(0))

    monkeypatch.setattr("tunedb.cli.host_tasks.tune", tune)
    for expected in ({2}, {2, 4}, {2, 4}):
        shipped.main(paths)
        assert rows(tmp_path) == {uid(number) for number in expected}
    gradients = ["avg_pool1d_backward a", "avg_pool1d_backward b"]
    assert [sorted(names) for names in asked] == [
        ["avg_pool1d a", "avg_pool1d b", *gradients], ["avg_pool1d a", *gradients], gradients,
    ]  # fmt: skip


def test_a_complete_one_of_older_versions_is_kept_until_newer_versions_have_one(
    paths: list[str], tuned: list[Sweep], tmp_path: Path
) -> None:
    write(tmp_path / "b.db", [found_on(H100, 1)])
    tuned[:] = [found_on(H100, 2, environment=NEW, finished=NOON + timedelta(days=1), complete=False)]
    shipped.main(paths)
    assert rows(tmp_path) == {uid(1)}


def test_what_other_code_or_another_list_made_and_what_failed_is_left_out(
    paths: list[str], tuned: list[Sweep], tmp_path: Path
) -> None:
    other = FORWARD.problem({"shape": [9, 4, 64], "kernel_size": 4})
    failed = found_on(H100, 3, line=1, config=None, status="failed", time_us=None, trials=())
    write(tmp_path / "b.db", [found_on(H200, 4, kernel_hash="ff" * 32), found_on(H200, 5, line=1)])
    tuned[:] = [found_on(H100, 1), found_on(H100, 2, problem=other), failed]
    shipped.main(paths)
    assert rows(tmp_path) == {uid(1), uid(5)}


def test_the_table_changes_nothing(paths: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shipped.main([*paths, "--table"])
    assert capsys.readouterr().out == "The bundle has no rows.\n0 bytes\n"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".db"] == []


def test_each_problem_of_a_list_is_followed_by_its_gradient(paths: list[str], tmp_path: Path) -> None:
    found = shipped.listed(tmp_path / "list.jsonl")
    assert [problem for problem, _ in found] == [k.problem(line) for line in LINES for k in (FORWARD, BACKWARD)]
