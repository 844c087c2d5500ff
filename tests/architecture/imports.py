"""Reads which file of the package imports which, from their source: nothing is imported."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


@functools.cache
def package() -> dict[str, ast.Module]:
    """Every file of the package by its path within it, such as `store/sql/engine.py`."""
    files = {}
    for folder, prefix in (("tunedb", ""), ("kernels", "kernels/"), ("migrations", "migrations/")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT / folder)
            if folder == "tunedb" and inside.parts[0] in ("kernels", "migrations"):
                continue  # links to the two folders that follow
            files[f"{prefix}{inside}"] = ast.parse(path.read_text())
    return files


def module_of(path: str) -> str:
    """The dotted name of a file: `store/__init__.py` is `tunedb.store`."""
    parts = ["tunedb", *path.removesuffix(".py").split("/")]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(path: str, tree: ast.Module) -> Iterator[str]:
    """Every name that the code imports, in full: at its top, in functions and for type checkers."""
    package = module_of(path).split(".")
    if not path.endswith("__init__.py"):
        package = package[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def import_graph(files: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """The files that each file imports. `from tunedb.store import x` is of `store/x.py` if that file exists."""
    paths = {module_of(path): path for path in files}
    graph: dict[str, set[str]] = {path: set() for path in files}
    for path, tree in files.items():
        for name in imported_names(path, tree):
            imported = paths.get(name) or paths.get(name.rpartition(".")[0])
            if imported is not None and imported != path:
                graph[path].add(imported)
    return graph


@functools.cache
def package_graph() -> dict[str, set[str]]:
    """The files of the package that each of them imports."""
    return import_graph(package())


def circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """The largest sets of files in which each one leads to every other (strongly connected components)."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen, waiting = set(), list(graph[start])
        while waiting:
            path = waiting.pop()
            if path not in seen:
                seen.add(path)
                waiting += graph[path]
        reached[start] = seen
    found: list[set[str]] = []
    for path in graph:
        if path in reached[path] and not any(path in circle for circle in found):
            found.append({other for other in reached[path] if path in reached[other]})
    return found
