"""The reference is complete: every command, setting, mode, table and public name; links and files lead somewhere."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
import typer

import tunedb
import tunedb.kernels
from docs import generate
from tunedb import settings
from tunedb.cli import app
from tunedb.store import Store

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_generated" not in page.parts)
GUIDE = "".join(page.read_text() for page in [DOCS / "quickstart.md", *(DOCS / "guide").glob("*.md")])


def commands(group: typer.core.TyperGroup, prefix: str = "tunedb") -> list[tuple[str, typer.core.TyperCommand]]:
    """Return every command with its full name."""
    listed = []
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            listed += commands(command, f"{prefix} {name}")
        else:
            listed.append((f"{prefix} {name}", command))
    return listed


COMMANDS = dict(commands(typer.main.get_group(app)))


@pytest.fixture(scope="module")
def reference() -> str:
    """The generated page of the commands."""
    return generate.commands()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_is_in_the_reference(name: str, reference: str) -> None:
    assert COMMANDS[name].help
    (section,) = re.findall(rf"^#+ `{name}`\n\n(.*)", reference, re.MULTILINE)
    assert section.split()[:3] == COMMANDS[name].help.split()[:3]


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"tunedb db current"}))
def test_every_command_is_used_in_a_guide(name: str) -> None:
    assert re.search(rf"\b{name}\b", GUIDE)


def test_every_setting_is_in_the_reference_with_meaning_and_default() -> None:
    rows = [line.strip("| \n").split(" | ") for line in generate.settings_table().splitlines()[2:]]
    assert [row[0] for row in rows] == [f"`{variable}`" for variable, *_ in settings._PARSERS.values()]
    assert all(len(row) == 3 and all(row) for row in rows)
    assert all(variable == f"TUNEDB_{name.upper()}" for name, (variable, *_) in settings._PARSERS.items())


@pytest.mark.parametrize("mode", settings.MODES)
def test_every_mode_is_explained(mode: str) -> None:
    assert f"\n| `{mode}` | " in (DOCS / "reference" / "settings.md").read_text()


def test_every_table_and_column_of_a_store_is_in_the_reference(store: Store) -> None:
    connection = sqlite3.connect(settings.current().store)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    columns = {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in tables}
    connection.close()
    del columns["tunedb_alembic_version"]
    sections = re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", generate.tables(), re.MULTILINE | re.DOTALL)
    assert {name: re.findall(r"^\| `(\w+)` ", text, re.MULTILINE) for name, text in sections} == columns


@pytest.mark.parametrize("module", [tunedb, tunedb.kernels])
def test_every_public_name_is_in_the_reference(module: object) -> None:
    page = (DOCS / "reference" / "python-api.md").read_text()
    names = [name for name in module.__all__ if not hasattr(tunedb.errors, name)]  # type: ignore[attr-defined]
    assert [name for name in names if f":: {module.__name__}.{name}\n" not in page] == []  # type: ignore[attr-defined]
    assert ".. automodule:: tunedb.errors\n" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_every_link_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", prose):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_every_file_that_a_page_names_is_there() -> None:
    named = {(page.name, path) for page in PAGES for path in re.findall(r"`([\w./]+/\w+\.py)`", page.read_text())}
    assert [one for one in sorted(named) if not any((top / one[1]).exists() for top in (ROOT, ROOT / "tunedb"))] == []
