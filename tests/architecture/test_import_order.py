"""The house of docs/design/architecture.md: imports run downwards only, and each dependency has its owners."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Nine lines, one for each floor, the top one first. A file may import from its own line and from those below it, also
# inside functions. The names that follow a folder's are files that still have to move into it.
ORDER = """
cli kernels __init__ __main__
reporting fleet adoption
worker decorator api registry | supervisor decorated warming buckets
tuner | override answers lending nearest memory ledger lock process verifying unhashed
sweep | attempt race prior limits observer
runtime | compiled bound recipe compiler ahead bench offline
store | shelf shared layers
core | problem device records tunable source source_text source_content source_values
errors settings _internal | lazy switching
"""
LINES = [line.replace("|", " ").split() for line in ORDER.split("\n") if line]
HEIGHT = {room: height for height, line in enumerate(reversed(LINES)) for room in line}

OWNERS = {
    "sqlalchemy": ("store", "migrations"),
    "alembic": ("store/schema.py", "store/sql/schema.py", "migrations"),
    "filelock": ("lock.py", "tuner/problem_lock.py", "store"),
    "typer": ("cli",),
    "rich": ("cli",),
    "triton": (
        "kernels",
        "compiled.py",
        "bound.py",
        "runtime",
        "decorated",
        "decorator",
        "device.py",
        "core/device.py",
        "offline.py",
        "problem.py",
        "core/problem.py",
        "recipe.py",
    ),
}


def files() -> Iterator[tuple[str, ast.Module]]:
    """Every file of the package by its path within it, such as `store/engine.py`; links are followed once."""
    for folder, prefix in (("tunedb", ""), ("kernels", "kernels/"), ("migrations", "migrations/")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT / folder)
            if folder == "tunedb" and inside.parts[0] in ("kernels", "migrations"):
                continue  # the links
            yield f"{prefix}{inside}", ast.parse(path.read_text())


FILES = dict(files())


def imports(tree: ast.Module) -> Iterator[str]:
    """Every module that the code imports, at its top or later; those for type checkers alone left out."""
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path: str) -> str:
    return path.split("/")[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES)
def test_imports_run_downwards(path: str) -> None:
    room = room_of(path)
    for name in imports(FILES[path]):
        parts = name.split(".")
        if parts[0] != "tunedb" or len(parts) == 1 or room == "migrations":
            continue
        imported = parts[1] if parts[1] in HEIGHT else "__init__"
        assert HEIGHT[imported] <= HEIGHT[room], f"{path} imports {name}"


def test_every_room_has_its_place() -> None:
    assert {room_of(path) for path in FILES} - {"migrations"} <= set(HEIGHT)


@pytest.mark.parametrize("path", FILES)
def test_each_dependency_is_imported_by_its_owners_only(path: str) -> None:
    for name in imports(FILES[path]):
        owners = OWNERS.get(name.split(".")[0])
        assert owners is None or path.startswith(owners), f"{path} imports {name}"


@pytest.mark.parametrize("path", FILES)
def test_the_environment_is_read_in_settings_only(path: str) -> None:
    for node in ast.walk(FILES[path]):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") and path != "settings.py":
            raise AssertionError(f"{path}:{node.lineno} reads the environment")


def test_the_top_level_folders_are_never_imported_by_their_own_names() -> None:
    everywhere = dict(FILES)
    for folder in ("tests", "benchmarks", "examples"):
        everywhere |= {str(path): ast.parse(path.read_text()) for path in sorted((ROOT / folder).rglob("*.py"))}
    for path, tree in everywhere.items():
        for name in imports(tree):
            assert name.split(".")[0] not in ("kernels", "migrations"), f"{path} imports {name}"


def test_migrations_import_no_live_code() -> None:
    for path, tree in FILES.items():
        if path.startswith("migrations/versions/"):
            assert all(not name.startswith("tunedb") for name in imports(tree)), path


@pytest.mark.parametrize("path", FILES)
def test_a_file_says_what_lives_in_it_and_stays_small(path: str) -> None:
    source = next(iter(sorted((ROOT / "tunedb").glob(path)))).read_text()
    assert len(source.splitlines()) <= 300, "two rooms behind one door?"
    assert not source.strip() or ast.get_docstring(FILES[path]), "no sentence says what lives here"


def test_the_layer_test_sees_a_violation() -> None:
    tree = ast.parse("import tunedb.tuner.tuner\nfrom tunedb import store\ndef f():\n    from tunedb.cli import main\n")
    assert list(imports(tree)) == ["tunedb.tuner.tuner", "tunedb.store", "tunedb.cli.main"]
    assert HEIGHT["tuner"] > HEIGHT["store"]
