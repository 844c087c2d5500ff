"""The README as a test: short, and what it shows is true of this checkout."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path

import pytest
import triton

import tunedb
from tests import forked
from tests.conftest import runs_interpreter

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
PROGRAM, POOLING = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(folder: Path, *arguments: str, **settings: str) -> str:
    """What a Python process in the interpreter prints, with a store in that folder."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "TRITON_INTERPRET": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TUNEDB_STORE": str(folder / "t.db"),
        **settings,
    }
    done = forked.run(arguments, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 110
    for example, limit in ((PROGRAM, 12), (POOLING, 6)):
        assert len([line for line in example.splitlines() if line]) <= limit


@pytest.fixture(scope="module")
def first_steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder with the README's program, and what two runs of it printed."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "double.py").write_text(PROGRAM)
    return folder, [run(folder, "double.py").strip() for _ in range(2)]


@runs_interpreter
def test_its_program_tunes_once_and_prints_what_it_shows(first_steps: tuple[Path, list[str]]) -> None:
    shown = re.findall(r"^\$ .*python double\.py\n(.*)$", README, re.MULTILINE)
    _, (tuned, looked_up) = first_steps
    varies = re.compile(r"\d+\.\d s$|(?<='BLOCK': )\d+")  # which size wins depends on how busy the machine is
    assert [varies.sub("", line) for line in (tuned, looked_up)] == [varies.sub("", line) for line in shown]
    assert looked_up == re.sub(r"in .* s", "in 0.0 s", tuned)


@runs_interpreter
def test_its_picture_of_show_is_what_show_prints(first_steps: tuple[Path, list[str]]) -> None:
    folder, _ = first_steps
    (uid,) = [line.split(",")[0] for line in run(folder, "-m", "tunedb", "ls", "--format", "csv").splitlines()[1:]]
    printed = run(folder, "-m", "tunedb", "show", uid)
    columns, *rows = re.search(r"^\$ tunedb show .*\n([^`]*)\n```", README, re.MULTILINE)[1].splitlines()  # type: ignore[index]  # it is there
    assert columns.split() == [column for column in printed.splitlines()[-5].split() if column in columns]
    assert len(rows) == 4
    for config in (row.partition("  ")[0] for row in rows):
        assert config in printed


@runs_interpreter
def test_its_pooling_runs(tmp_path: Path) -> None:
    check = "torch.testing.assert_close({}, torch.nn.functional.avg_pool1d(x, 8, 1, 4))\n"
    (tmp_path / "pool.py").write_text(POOLING + check.format("y") + check.format("model(x)"))
    run(tmp_path, "pool.py", TUNEDB_BUDGET="0.2")


def test_its_two_lines_of_the_decorator_are_one_change_with_the_same_arguments() -> None:
    (removed, added) = re.findall(r"```diff\n-@(.*)\n\+@(.*)\n```", README)[0]
    assert removed.replace("triton", "tunedb", 1) == added
    theirs, ours = (list(inspect.signature(module.autotune).parameters) for module in (triton, tunedb))
    assert ours[: len(theirs)] == theirs


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_its_commands_for_a_fresh_checkout_are_targets(command: str) -> None:
    assert command in README
    assert f"\n{command.removeprefix('make ')}: " in (ROOT / "Makefile").read_text()
    if command == "make test":
        assert f"\n{command}\n" in (ROOT / ".ci" / "run").read_text()


def test_its_links_lead_somewhere() -> None:
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#]+)\)", prose)
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []


def test_its_versions_are_the_lower_bounds() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    for package in ("torch", "triton"):
        (bound,) = re.findall(rf'"{package}>=([\d.]+)"', project)
        assert re.search(rf"{package}\s+(is )?{re.escape(bound)} or\s+newer", README, re.IGNORECASE), package
    (python,) = re.findall(r'requires-python = ">=([\d.]+)"', project)
    assert f"Python {python} or newer" in README
