"""`warm`: on a fake kernel in this process, and on the real one in the interpreter, in processes of their own."""

from __future__ import annotations

import dataclasses
import json
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import forked
from tests.cli.conftest import Cli, Kernel
from tunedb import registry, settings
from tunedb.core.problem import Problem

SHAPE = ("--shape", "2,3,4", "--kernel-size", "2")


def warm(cli: Cli, *arguments: object, code: int = 0) -> list[dict[str, Any]]:
    """The rows that `warm` prints."""
    answer = cli("warm", *arguments, "--format", "json")
    assert answer.code == code, answer.err
    rows: list[dict[str, Any]] = answer.json
    return rows


def test_a_kernel_is_tuned_with_its_gradient(cli: Cli, kernels: dict[str, Kernel]) -> None:
    rows = warm(cli, "pool", *SHAPE)
    assert [(row["kernel"], row["source"]) for row in rows] == [("pool", "sweep"), ("pool_backward", "sweep")]
    assert rows[0]["problem"] == {"rows": 2, "kernel_size": 2}
    assert {row["uid"] for row in rows} == {row["uid"] for row in cli("ls", "--format", "json").json}
    assert [row["kernel"] for row in warm(cli, "other", *SHAPE)] == ["other"]


def test_the_problem_that_takes_longest_comes_first(cli: Cli, kernels: dict[str, Kernel]) -> None:
    kernels["pool"].times = {128: 9.0}
    kernels["pool_backward"].times = {128: 9.0, 256: 5.0}
    answer = cli("warm", "pool", *SHAPE, "--format", "json")
    assert [line.split()[2] for line in answer.err.splitlines() if "sweep: " in line] == ["pool_backward", "pool"]
    assert [row["kernel"] for row in answer.json] == ["pool", "pool_backward"]  # as they were asked for


def test_forward_only_leaves_the_gradient_out(cli: Cli, kernels: dict[str, Kernel]) -> None:
    assert [row["kernel"] for row in warm(cli, "pool", *SHAPE, "--forward-only")] == ["pool"]


def test_what_is_stored_is_skipped_unless_forced(cli: Cli, kernels: dict[str, Kernel]) -> None:
    first = warm(cli, "pool", *SHAPE)
    again = warm(cli, "pool", *SHAPE)
    assert [row["source"] for row in again] == ["stored", "stored"]
    assert [row["uid"] for row in again] == [row["uid"] for row in first]
    assert [row["source"] for row in warm(cli, "pool", *SHAPE, "--force")] == ["sweep", "sweep"]
    assert kernels["pool"].tried == [128, 256] * 2


def test_a_list_goes_on_where_it_stopped(cli: Cli, kernels: dict[str, Kernel], tmp_path: Path) -> None:
    lines = [
        {"shape": [1, 1, 1], "kernel": "pool", "kernel_size": 2},
        {"shape": [2, 1, 1], "kernel": "other"},
        {"shape": [2, 9, 9], "kernel": "other"},  # the same problem
    ]
    path = tmp_path / "shapes.jsonl"
    path.write_text(f"{json.dumps(lines[0])}\n\n")
    warm(cli, "--from", path)
    path.write_text("\n".join(json.dumps(line) for line in lines))
    answer = cli("warm", "--from", path)
    assert answer.code == 0
    assert sorted(line.split()[1] for line in answer.err.splitlines() if line.startswith("[")) == [
        "stored:", "stored:", "sweep:", "tuning:",
    ]  # fmt: skip


def test_the_lines_of_a_file_are_of_the_kernel_that_is_named(
    cli: Cli, kernels: dict[str, Kernel], tmp_path: Path
) -> None:
    path = tmp_path / "shapes.jsonl"
    path.write_text('{"shape": [2, 1, 1]}\n{"shape": [3, 1, 1], "kernel": "pool"}\n')
    rows = warm(cli, "other", "--from", path, "--forward-only")
    assert [row["kernel"] for row in rows] == ["other", "pool"]
    assert cli("warm", "other", "--from", path, "--stale").code == 2
    assert cli("warm", "nothing", "--from", path).err == "tunedb: No kernel is called 'nothing'.\n"


@pytest.mark.parametrize(
    ("registered", "said"),
    [
        ("tests.nowhere:KERNEL", "which can't be loaded (ModuleNotFoundError: No module named 'tests.nowhere')"),
        ("tests.cli.test_warm:NOWHERE", "which can't be loaded (AttributeError: module"),
        ("tests.cli.test_warm:SHAPE", "a tuple; expected what kernel.registered(arguments) returns"),
    ],
)
@pytest.mark.parametrize("command", ["warm", "lookup", "explain"])
def test_a_package_that_registers_what_is_no_kernel_is_named(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str, registered: str, said: str
) -> None:
    found = EntryPoints([EntryPoint("mine", registered, registry.GROUP)])
    monkeypatch.setattr(registry, "entry_points", lambda **asked: found.select(**asked))
    monkeypatch.setattr("tunedb.cli.device.index_to_run_on", lambda: -1)
    answer = cli(command, "mine", "--arg", "n=1")
    assert answer.code == 2
    assert f"mine: its package registers {registered}, {said}" in answer.err


def test_a_problem_that_ends_without_a_config_says_why(cli: Cli, kernels: dict[str, Kernel]) -> None:
    kernels["other"].times = {128: "wrong", 256: "compile_error"}
    answer = cli("warm", "other", "--shape", "1,1,1")
    assert answer.code == 1
    assert "failed: other (kernel_size=1, rows=1). wrong: " in answer.err
    assert "See: tunedb show " in answer.err


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"shape": [1, 1, 1]', "Expected JSON"),
        ("[1]", "expected a JSON object, got [1]"),
        ('{"shape": [1], "shape": [2]}', "twice"),
        ('{"kernel": "pool"}', "shape"),
        ('{"kernel": "nothing", "shape": [1]}', "nothing"),
        ('{"kernel": "pool", "shape": [NaN]}', "NaN"),
    ],
)
def test_a_bad_line_is_named_before_anything_is_tuned(
    cli: Cli, kernels: dict[str, Kernel], tmp_path: Path, line: str, reason: str
) -> None:
    path = tmp_path / "shapes.jsonl"
    path.write_text(f'{{"kernel": "pool", "shape": [1, 1, 1]}}\n{line}\n')
    answer = cli("warm", "--from", path)
    assert answer.code == 2
    assert answer.err.startswith(f"tunedb: {path} line 2: ")
    assert reason in answer.err
    assert kernels["pool"].tried == []
    assert list(tmp_path.iterdir()) == [path]


def test_a_problem_without_a_config_is_exit_code_1(cli: Cli, kernels: dict[str, Kernel]) -> None:
    kernels["pool"].times = {128: "compile_error"}
    rows = warm(cli, "pool", *SHAPE, code=1)
    assert [(row["source"], row["config"] is None) for row in rows] == [("failed", True), ("sweep", False)]


def test_a_lost_device_ends_the_list(cli: Cli, kernels: dict[str, Kernel]) -> None:
    kernels["pool_backward"].times = {128: "sticky", 256: 5.0}
    kernels["pool"].times = {128: 9.0}  # fewer configs: it comes later
    rows = warm(cli, "pool", *SHAPE, code=1)
    assert [(row["kernel"], row["source"]) for row in rows] == [("pool_backward", "aborted")]


def test_too_little_memory_is_one_problems_end(
    cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    def workload(problem: Problem, index: int) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(kernels["pool"], "workload", workload, raising=False)
    rows = warm(cli, "pool", *SHAPE, code=1)
    assert [row["source"] for row in rows] == ["out of memory", "sweep"]


@pytest.mark.parametrize("error", [RuntimeError("can't allocate\nmemory"), TypeError("Overflow"), KeyError("rows")])
def test_a_kernel_that_makes_no_arguments_is_one_problems_end(
    error: Exception, cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    def workload(problem: Problem, index: int) -> None:
        raise error

    monkeypatch.setattr(kernels["pool"], "workload", workload, raising=False)
    answer = cli("warm", "pool", *SHAPE, "--format", "json")
    assert answer.code == 1
    assert [row["source"] for row in answer.json] == ["aborted", "sweep"]
    assert f"could not be tuned. {type(error).__name__}: " in answer.err


def test_a_problem_that_another_process_tunes_is_busy(
    cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunedb.core.device import INTERPRETER
    from tunedb.tuner.lock_folder import lock_folder
    from tunedb.tuner.problem_lock import lock_problem

    monkeypatch.setenv("TUNEDB_LOCK_TIMEOUT", "0.1")
    problem = kernels["other"].problem({"shape": [2], "kernel_size": 2})
    with lock_problem(lock_folder(settings.current()), problem, INTERPRETER, 1):
        assert [row["source"] for row in warm(cli, "other", *SHAPE, code=1)] == ["busy"]


def test_an_interrupt_keeps_what_was_tuned(cli: Cli, kernels: dict[str, Kernel]) -> None:
    def interrupt(block: int) -> None:
        raise KeyboardInterrupt

    kernels["pool_backward"].on_compile = interrupt
    answer = cli("warm", "pool", *SHAPE)
    assert answer.code == 130
    assert answer.err.endswith("Interrupted. What was tuned is stored: run the same command again to continue.\n")
    first, second = cli("ls", "--format", "json").json
    assert [row["kernel"] for row in (first, second)] == ["pool", "pool_backward"]
    assert (first["status"], second["status"] in ("running", "aborted")) == ("tuned", True)
    kernels["pool_backward"].on_compile = lambda block: None
    assert [row["kernel"] for row in warm(cli, "--incomplete")] == ["pool_backward"]
    assert warm(cli, "--incomplete") == []


def test_progress_is_lines_off_a_terminal_and_none_when_quiet(cli: Cli, kernels: dict[str, Kernel]) -> None:
    loud = cli("warm", "other", *SHAPE)
    assert "[1/1] tuning: other (kernel_size=2, rows=2), 2 candidates" in loud.err
    assert "interpreter" in loud.err
    quiet = cli("warm", "other", *SHAPE, "--force", "-q")
    assert quiet.err == ""
    assert len(quiet.out.splitlines()) == 2


def test_progress_is_a_bar_on_a_terminal(cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    answer = cli("warm", "other", *SHAPE)
    assert answer.code == 0
    assert "[1/1] sweep: other" in answer.err
    assert "tuning:" not in answer.err


def test_the_sweep_is_stored_with_its_trials(cli: Cli, kernels: dict[str, Kernel]) -> None:
    [row] = warm(cli, "other", *SHAPE)
    shown = cli("show", row["uid"], "--format", "json").json
    assert sorted(trial["config"]["BLOCK"] for trial in shown["trials"]) == [128, 256]
    assert dataclasses.asdict(settings.current())["store"].endswith("tunedb.db")


# In the interpreter the demo's own problem takes a minute on a busy machine.
SMALL_DEMO = """
import sys
from tunedb.cli import run
from tunedb.kernels.avg_pool import demo
demo.INTERPRETER_SHAPE = (1, 2, 256)
sys.exit(run(["demo", "--format", "json"]))
"""


def test_the_demo_runs_the_main_job(cli: Cli) -> None:
    ran = forked.run(["-c", SMALL_DEMO])
    assert ran.returncode == 0, ran.stderr
    record = json.loads(ran.stdout)
    assert record["second_source"] == "store"
    assert record["second_config"] == record["config"]
    assert record["equals_torch"] is True
    assert "shape [1, 2, 256]" in ran.stderr
    assert [row["uid"] for row in cli("ls", "--format", "json").json] == [record["uid"]]
