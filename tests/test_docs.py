"""Documentation as a test: every command and every setting stands in the README, and what it shows runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from tunedb import settings
from tunedb.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def commands(group: typer.core.TyperGroup, prefix: str = "tunedb") -> list[tuple[str, typer.core.TyperCommand]]:
    """Every command with its full name."""
    found = []
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found += commands(command, f"{prefix} {name}")
        else:
            found.append((f"{prefix} {name}", command))
    return found


COMMANDS = dict(commands(typer.main.get_group(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_stands_in_the_readme(name: str) -> None:
    assert COMMANDS[name].help
    *group, last = name.split()
    said = name in README or (f"{' '.join(group)} " in README and f"`{last}`" in README)
    assert said, f"{name} is not in README.md"


@pytest.mark.parametrize("variable", [variable for variable, *_ in settings._PARSERS.values()])
def test_every_setting_stands_in_the_readme(variable: str) -> None:
    assert f"`{variable}`" in README


@pytest.mark.parametrize("mode", settings.MODES)
def test_every_mode_stands_in_the_readme(mode: str) -> None:
    assert f"`{mode}`" in README


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        prose = re.sub(r"```.*?```|`[^`]*`", "", document.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#]+)\)", prose):
            assert target.startswith("http") or (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_example_of_the_readme_is_python() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    compile(example, "README.md", "exec")
    assert len(example.splitlines()) <= 15
