"""The files around the code agree with what they describe."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
