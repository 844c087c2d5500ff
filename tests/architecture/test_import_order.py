"""Imports run downwards only and without circles, and each dependency has its owners: docs/design/architecture.md."""

from __future__ import annotations

import ast
import re

import pytest

from tests.architecture.imports import ROOT, circles, import_graph, imported_names, package, package_graph

# Nine lines, the top one first. A file may import from its own line and from those below it, also inside functions and
# for type checkers.
ORDER = """
cli kernels __init__ __main__
reporting fleet adoption
worker decorator api registry
tuner
sweep
runtime
store
core
errors settings _internal
"""
LINES = [line.split() for line in ORDER.strip().splitlines()]
HEIGHT = {folder: height for height, line in enumerate(reversed(LINES)) for folder in line}

# The places that may import what is expensive to load or changes often.
OWNERS = {
    "sqlalchemy": ("store/sql", "store/doctor", "migrations"),
    "sqlite3": ("store",),
    "alembic": ("store/sql/schema.py", "migrations"),
    "filelock": ("tuner/problem_lock.py", "store/sql/schema.py", "store/doctor/filesystem.py"),
    "typer": ("cli",),
    "rich": ("cli",),
    "triton": ("kernels", "runtime", "decorator", "core/tagged.py"),
}


def folder_of(path: str) -> str:
    """The folder at the top of the package, or the name of a file that lies there."""
    return path.split("/")[0].removesuffix(".py")


def test_every_folder_has_its_place() -> None:
    assert {folder_of(path) for path in package()} - {"migrations"} <= set(HEIGHT)


def test_imports_run_downwards() -> None:
    upwards = [
        f"{path} imports {imported}"
        for path, imports in package_graph().items()
        for imported in imports
        if "migrations" not in (folder_of(path), folder_of(imported))
        and HEIGHT[folder_of(imported)] > HEIGHT[folder_of(path)]
    ]
    assert upwards == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert [sorted(circle) for circle in circles(package_graph())] == []


def test_each_dependency_is_imported_by_its_owners_only() -> None:
    strangers = [
        f"{path} imports {name}"
        for path, tree in package().items()
        for name in imported_names(path, tree)
        if not path.startswith(OWNERS.get(name.split(".")[0], ("",)))
    ]
    assert strangers == []


# Those besides settings.py hand it on to other processes: they run before the settings are worth loading.
READ_THE_ENVIRONMENT = {"settings.py", "_internal/child_environment.py", "adoption/site_hook/sitecustomize.py"}


def test_the_environment_is_read_in_settings_only() -> None:
    readers = {
        path
        for path, tree in package().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    }
    assert readers == READ_THE_ENVIRONMENT


MAY_IMPORT_TOP = re.compile(r"^\s*(?:from|import)\b.*(?<![.\w])(?:kernels|migrations)\b", re.MULTILINE)


def test_the_top_level_folders_are_never_imported_by_their_own_names() -> None:
    everywhere = dict(package())
    for folder in ("tests", "benchmarks", "examples"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            source = path.read_text()
            if MAY_IMPORT_TOP.search(source):  # parsing all of them takes a second
                everywhere[f"{folder}/{path.relative_to(ROOT / folder)}"] = ast.parse(source)
    for path, tree in everywhere.items():
        for name in imported_names(path, tree):
            assert name.split(".")[0] not in ("kernels", "migrations"), f"{path} imports {name}"


def test_migrations_import_no_live_code() -> None:
    for path in package():
        if path.startswith("migrations/versions/"):
            assert not package_graph()[path], path


def test_a_file_says_what_lives_in_it_and_stays_small() -> None:
    for path, tree in package().items():
        source = (ROOT / "tunedb" / path).read_text()
        assert len(source.splitlines()) <= 300, f"{path} is long: are these two files?"
        assert not source.strip() or ast.get_docstring(tree), f"{path}: no sentence says what lives here"


@pytest.mark.parametrize("folder", ["core", "runtime", "decorator"])
def test_a_folder_that_others_import_parts_of_loads_nothing_by_itself(folder: str) -> None:
    assert not [node for node in package()[f"{folder}/__init__.py"].body if not isinstance(node, ast.Expr)]


def test_the_graph_sees_imports_of_every_kind() -> None:
    sources = {
        "tuner/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tunedb.store import b\n",
        "store/__init__.py": "",
        "store/b.py": "def f():\n    from ..sweep.c import x\n",
        "sweep/c.py": "import tunedb.tuner.a\nfrom tunedb.store import nothing_of_its_own\n",
    }
    graph = import_graph({path: ast.parse(source) for path, source in sources.items()})
    assert graph == {
        "tuner/a.py": {"store/b.py"},
        "store/__init__.py": set(),
        "store/b.py": {"sweep/c.py"},
        "sweep/c.py": {"tuner/a.py", "store/__init__.py"},
    }
    assert circles(graph) == [{"tuner/a.py", "store/b.py", "sweep/c.py"}]
