"""Documentation as a test: every command has help, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from tunedb.cli import app

ROOT = Path(__file__).parent.parent


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
def test_every_command_has_help(name: str) -> None:
    assert COMMANDS[name].help


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in sorted((ROOT / "docs").glob("*.md")):
        prose = re.sub(r"```.*?```|`[^`]*`", "", document.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#]+)\)", prose):
            assert target.startswith("http") or (document.parent / target).exists(), f"{document.name}: {target}"
