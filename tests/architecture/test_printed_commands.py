"""A command that is printed to be typed next names the store that it is about."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.architecture.imports import package

# Commands that work on a store. Not `path` and `doctor`, which say which store is set and what is wrong with it.
COMMAND = re.compile(
    r"tunedb (?:warm|lookup|explain|ls|show|report|diff|mark|misses|stats|devices|export|import|sync|verify|gc"
    r"|db \w+)\b"
)
# Beginnings of printed commands, in messages: "Run: tunedb ls", "tunedb gc --yes".
PRINTED = re.compile(rf"(?:^|: |: see |Then remove it: |&& ){COMMAND.pattern}")
NAMED = ("store_option", "about", "on_store", "_typed_again", "typed_again", "store_words")
ANY_STORE = re.compile(r"--store |--help|--format bundle|TARGET")


def _texts(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Yield the texts that a function may print, with the statement that each is in."""
    for statement in ast.walk(tree):
        if not isinstance(statement, ast.Assign | ast.AugAssign | ast.Expr | ast.Raise | ast.Return | ast.Yield):
            continue
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a docstring
        for node in ast.walk(statement):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield statement, node.value


def _faults(paths: tuple[str, ...]) -> list[str]:
    faults = []
    for path, tree in package().items():
        if not path.startswith(paths) or path == "cli/examples.py":
            continue
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef):
                continue
            for statement, text in _texts(function):
                names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
                if PRINTED.search(text) and not ANY_STORE.search(text) and not names & set(NAMED):
                    faults.append(f"{path}:{statement.lineno}: {text.strip()}")  # type: ignore[attr-defined]
    return faults


def test_commands_in_messages_of_the_command_line_and_of_a_store_name_the_store() -> None:
    assert _faults(("cli/", "store/sql/", "store/doctor/", "store/stored.py", "store/bundle")) == []


def test_the_test_sees_a_command_without_its_store() -> None:
    statements = ("raise E(f'No. Run: tunedb ls')", "log.info('See: tunedb show %s', uid)", "return 'tunedb gc'")
    for statement in statements:
        (found,) = [text for _, text in _texts(ast.parse(statement)) if PRINTED.search(text)]
        assert not ANY_STORE.search(found)
