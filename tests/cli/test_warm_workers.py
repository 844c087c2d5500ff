"""`warm` with several workers: its options, its rows and its progress."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, run_forked
from tests.forked_workers import fork_workers
from tests.planted import KERNEL, NAME, register_lightly
from tests.store.samples import DEVICE
from tunedb import registry
from tunedb.cli.host_progress import TimeLeft
from tunedb.cli.host_tasks import slots_to_use
from tunedb.core.device import INTERPRETER, Device, Placement
from tunedb.core.task import TuningTask
from tunedb.errors import SettingError
from tunedb.fleet.copy_rates import CopyRateRun
from tunedb.fleet.slots import Slot, interpreters, on_slots
from tunedb.store import Store
from tunedb.worker.process import Started, start_process

OTHER = Device("another GPU", "cuda", "sm_1", 1)


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with three problems of the planted kernel, one of which fails; processes know the kernel as well."""
    monkeypatch.setenv("PYTHONPATH", register_lightly(tmp_path / "site"))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    fork_workers(monkeypatch)
    monkeypatch.setattr(registry, "kernel_named", lambda name: KERNEL)
    monkeypatch.setattr(registry, "kernel_names", lambda: [NAME])
    monkeypatch.setattr("tunedb.cli.device.index_to_run_on", lambda: -1)
    problems = [{"b1": 0.001}, {"b1": "wrong"}, {"b1": 0.03, "b2": 0.001}]
    path = tmp_path / "shapes.jsonl"
    path.write_text("".join(json.dumps({"kernel": NAME, **outcomes}) + "\n" for outcomes in problems))
    return path


def test_several_workers_tune_the_lines_of_a_file(cli: Cli, shapes: Path) -> None:
    answer = cli("warm", "--from", shapes, "--workers", 2, "--format", "json")
    assert answer.code == 1
    assert [(row["source"], row["config"]) for row in answer.json] == [
        ("sweep", {"BLOCK": 1}), ("failed", None), ("sweep", {"BLOCK": 2}),
    ]  # fmt: skip
    assert {row["uid"] for row in answer.json} == {row["uid"] for row in cli("ls", "--format", "json").json}
    lines = [line for line in answer.err.splitlines() if line.startswith("[")]
    assert [line.partition("]")[0] for line in lines] == ["[1/3", "[2/3", "[3/3"]
    assert "wrong: 1 of 8 elements is wrong See: tunedb show" in answer.err
    assert re.search(r", about \d+ s left$", lines[0])
    assert "left" not in lines[2]
    again = cli("warm", "--from", shapes, "--workers", 2, "--format", "json")
    assert [row["source"] for row in again.json] == ["stored", "failed", "stored"]


def test_force_tunes_again_what_is_stored(cli: Cli, shapes: Path) -> None:
    shapes.write_text(json.dumps({"kernel": NAME, "b1": 0.001}))
    for _ in range(2):
        answer = cli("warm", "--from", shapes, "--workers", 2, "--format", "json", "--force")
        assert [row["source"] for row in answer.json] == ["sweep"]


def test_copy_rates_of_the_slots_that_had_work_are_measured_and_with_force_again(
    cli: Cli, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, bool]] = []

    class Rates(CopyRateRun):
        def __init__(self, store: Store, *, again: bool) -> None:
            self.again = again

        def measure(self, slot: Slot, ask: Callable[[], str | None]) -> None:
            calls.append((slot.name, self.again))

    unused = Slot("GPU 9", OTHER, 9, 0, {"CUDA_VISIBLE_DEVICES": "9"})
    slots = [*interpreters(1), unused]
    monkeypatch.setattr("tunedb.cli.host_tasks.slots_to_use", lambda *_: slots)
    monkeypatch.setattr("tunedb.fleet.copy_rates.CopyRateRun", Rates)
    shapes.write_text(json.dumps({"kernel": NAME, "b1": 0.001}))
    for words in ((), ("--force",)):
        problem = TuningTask(KERNEL, KERNEL.problem({"b1": 0.001}), Placement(INTERPRETER, -1), {"b1": 0.001})
        monkeypatch.setattr("tunedb.fleet.slots.on_slots", lambda tasks, slots, only=problem: [only])
        assert cli("warm", "--from", shapes, *words).code == 0
    assert list(dict.fromkeys(calls)) == [("interpreter 0", False), ("interpreter 0", True)]


MEETING = """
import os, time
from pathlib import Path
from tests.planted import KERNEL
folder = Path(os.environ["MEETING"])
(folder / str(os.getpid())).touch()
until = time.monotonic() + 60
while len(list(folder.iterdir())) < 3:
    if time.monotonic() > until:
        (folder / "alone").touch()
        break
    time.sleep(0.01)
"""


def test_workers_load_the_kernel_while_the_command_does(shapes: Path, tmp_path: Path) -> None:
    """The kernel's module waits until all three processes load it."""
    (folder := tmp_path / "meeting").mkdir()
    site = tmp_path / "site"
    (site / "meeting.py").write_text(MEETING)
    (site / "planted-1.0.dist-info" / "entry_points.txt").write_text(f"[tunedb.kernels]\n{NAME} = meeting:KERNEL\n")
    words = ("-m", "tunedb", "warm", "--from", shapes, "--workers", 2)
    answer = run_forked(*words, MEETING=str(folder))
    assert answer.code == 1, answer.err  # one of the problems fails
    names = [path.name for path in folder.iterdir()]
    assert (len(names), "alone" in names) == (3, False)


@pytest.mark.parametrize(("more", "code"), [("", 2), ("--dry-run", 2), ("", 1), ("--dry-run", 0)])
def test_no_worker_outlives_the_command_and_plans_need_none(
    cli: Cli, shapes: Path, monkeypatch: pytest.MonkeyPatch, more: str, code: int
) -> None:
    started: list[Started] = []

    def start(variables: Mapping[str, str]) -> Started:
        started.append(start_process(variables))
        return started[-1]

    monkeypatch.setattr("tunedb.fleet.early_workers.start_process", start)
    if code == 2:
        shapes.write_text(shapes.read_text() + json.dumps({"kernel": NAME, "b1": []}))
    answer = cli("warm", "--from", shapes, "--workers", 2, *more.split())
    assert (answer.code, "line 4" in answer.err) == (code, code == 2)
    assert [child.poll() is not None for child, _ in started] == ([] if more else [True, True])


def test_a_spent_budget_is_exit_code_1_and_says_what_is_left(cli: Cli, shapes: Path) -> None:
    answer = cli("warm", "--from", shapes, "--workers", 1, "--budget", 0)
    assert answer.code == 1
    assert "The budget is spent: 3 problems left." in answer.err


def test_progress_of_all_workers_is_one_display_on_a_terminal(
    cli: Cli, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    answer = cli("warm", "--from", shapes, "--workers", 2)
    assert answer.code == 1
    for text in ("2 workers", "interpreter 0", "interpreter 1", "3/3"):
        assert text in answer.err
    assert "tuning:" not in answer.err


def test_quiet_says_nothing(cli: Cli, shapes: Path) -> None:
    shapes.write_text(json.dumps({"kernel": NAME, "b1": 0.001}))
    assert cli("warm", "--from", shapes, "--workers", 2, "-q").err == ""


def test_options_that_do_not_fit_the_host_are_refused(cli: Cli, shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = cli("warm", "--from", shapes, "--devices", "all")
    assert (answer.code, answer.err) == (
        2, "tunedb: --devices: no GPU is used. To tune in several interpreters: --workers 2\n",
    )  # fmt: skip
    assert cli("warm", "--from", shapes, "--workers", 0).code == 2
    with pytest.raises(SettingError, match="--workers: expected no GPU"):
        slots_to_use(0, None, 2)


def test_every_gpu_is_used_unless_some_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    slots = [Slot(f"GPU {number}", DEVICE, number, 0) for number in range(3)]
    monkeypatch.setattr("tunedb.fleet.slots.gpu_slots", lambda: slots)
    assert slots_to_use(0, None, None) == slots
    assert slots_to_use(0, "1", None) == [slots[1]]
    monkeypatch.setattr("tunedb.fleet.slots.gpu_slots", lambda: slots[:1])
    assert slots_to_use(0, None, None) == [dataclasses.replace(slots[0], name="")]
    assert slots_to_use(-1, None, None) == []


def test_a_problem_is_tuned_once_for_each_model_of_gpu() -> None:
    task = TuningTask(KERNEL, KERNEL.problem({}), Placement(INTERPRETER, -1), {"n": 1})
    slots = [Slot("GPU 0", DEVICE, 0, 0), Slot("GPU 1", OTHER, 1, 0), Slot("GPU 2", DEVICE, 2, 0)]
    tasks = on_slots([task], slots)
    assert [(each.device, each.index, each.arguments) for each in tasks] == [
        (OTHER, 1, {"n": 1}), (DEVICE, 0, {"n": 1}),
    ]  # fmt: skip


def test_the_time_left_is_that_of_what_is_left_at_the_pace_so_far() -> None:
    keys = [("kernel", "hash", str(number), "device") for number in range(4)]
    left = TimeLeft(dict(zip(keys, (10.0, 10.0, 20.0, 400.0), strict=True)), slots=2)
    assert left.text() == "about 4 min left"  # as expected, while nothing was measured
    left.done(keys[0], 20.0)
    assert left.text() == "about 8 min left"  # 430 s of two slots' work, twice as long as expected
    left.done(keys[3], 800.0)
    assert left.text() == "about 30 s left"
    left.done(keys[1], 20.0)
    left.done(keys[2], 20.0)
    assert left.text() == ""


def test_what_is_stored_already_does_not_count_as_quick() -> None:
    keys = [("kernel", "hash", str(number), "device") for number in range(3)]
    left = TimeLeft(dict.fromkeys(keys, 30.0), slots=1)
    left.done(keys[0], None)
    assert left.text() == "about 60 s left"
    left.done(keys[1], 60.0)
    assert left.text() == "about 60 s left"
