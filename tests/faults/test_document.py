"""The page about reliability: each test that it names is there, and each test of this folder is named."""

from __future__ import annotations

import ast
import functools
import re

from tests.faults.parts import ROOT

PAGE = (ROOT / "docs" / "design" / "reliability.md").read_text()


@functools.cache
def defined_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {f"{path}::{node.name}" for node in tree.body if getattr(node, "name", "").startswith("test_")}


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 50
    assert [f"{path}::{name}" for path, name in named if f"{path}::{name}" not in defined_in(path)] == []


def test_the_page_leaves_no_file_of_faults_out() -> None:
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "faults").glob("test_*.py")}
    assert {path for path in files if path not in PAGE} == set()


def test_nothing_else_on_the_page_looks_like_a_test() -> None:
    assert PAGE.count("::") == len(re.findall(r"`tests/[\w/]+\.py::test_\w+`", PAGE))
