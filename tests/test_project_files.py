"""The files around the code agree with what they describe."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_the_hooks_are_what_make_lint_runs() -> None:
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    commands = re.findall(r"\$\(BIN\)/(.*)", recipe[1])
    hooks = re.findall(r"^ +entry: (.*)", (ROOT / ".pre-commit-config.yaml").read_text(), re.MULTILINE)
    assert hooks == commands


def test_ci_runs_what_a_change_must_pass() -> None:
    assert "run: .ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_ci_makes_sure_of_every_program_without_which_tests_are_skipped() -> None:
    looked_for: set[str] = set()
    for path in Path(__file__).parent.rglob("*.py"):
        if "shutil.which" in (text := path.read_text(encoding="utf-8")):
            looked_for |= set(re.findall(r'shutil\.which\("([\w+-]+)"\)', text))
            for names in re.findall(r"map\(shutil\.which, \(([^)]*)\)", text):
                looked_for |= set(re.findall(r'"([\w+-]+)"', names))
    assert looked_for >= {"pgbouncer", "chromium"}
    ensured = set(re.findall(r"command -v ([\w+-]+)", (ROOT / ".github" / "workflows" / "ci.yml").read_text()))
    assert looked_for <= ensured


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_reads_only_and_pins_its_actions(path: Path) -> None:
    text = path.read_text()
    assert "\npermissions:\n  contents: read\n" in text
    for action in re.findall(r"uses: ([^.\s]\S*)", text):
        assert re.fullmatch(r"[\w./-]+@v\d[\d.]*", action), action


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md"])
def test_links_lead_somewhere(name: str) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text())
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_tests_that_the_makefile_names_are_there() -> None:
    named = re.findall(r"tests/[\w/.]+", (ROOT / "Makefile").read_text())
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here: they would run")
@pytest.mark.parametrize("name", ["autotune", "counters", "main_job", "sweep", "avg_pool1d --sample 1:1", "host"])
def test_a_benchmark_without_a_gpu_ends_with_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module, *words = name.split()
    monkeypatch.setattr("sys.argv", [module, *words])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="needs a GPU"):
        import_module(f"benchmarks.{module}").main()
    assert list(tmp_path.iterdir()) == []
