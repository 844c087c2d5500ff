"""A broad `except` in the path of a call lets pass what the program itself raises, in a signal handler say."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.imports import package

# What a handler may well raise, and what is raised for many other reasons.
BROAD = {"Exception", "BaseException", "OSError", "RuntimeError", "ValueError", "TimeoutError"}
# The command line and its workers; and stores, which calls access on threads of their own.
ELSEWHERE = ("cli/", "worker/", "store/", "_internal/interrupts.py", "tuner/pending.py")
# Signal handlers run on the main thread only.
REASONS = {
    ("_internal/forks.py", "_call_all"): "os.fork drops what its hooks raise",
    ("_internal/timer.py", "_run"): "on a thread of its own",
    ("adoption/program.py", "start_quickly"): "before the program begins",
    ("adoption/site_hook/sitecustomize.py", "_call"): "may run where tunedb, and its let_pass, is missing",
    ("fleet/host.py", "_work"): "on a thread of its own, which hands it to the main thread",
    ("core/source_values.py", "cells_of"): "only an empty cell is read",
    ("_internal/setting_values.py", "parse_seconds"): "only a text is read",
    ("decorator/dispatch/grid_cache.py", "__call__"): "of calls that are answered from a plan; it calls again",
    ("core/tagged.py", "untagged"): "only a text is read",
    ("runtime/compile_worker.py", "_serve"): "in the compile worker",
    ("runtime/compile_worker.py", "_compile"): "in a fork of the compile worker",
    ("runtime/compile_worker.py", "main"): "in the compile worker",
    ("runtime/compile_worker.py", "answer"): "in the compile worker",
    ("runtime/compile_worker.py", "_prctl"): "in the compile worker",
    ("runtime/compile_worker.py", "_read"): "on a thread of its own",
    ("runtime/compile_worker.py", "compile"): "on a thread of the compile pool",
}


def broad_handlers(
    tree: ast.AST, function: str = ""
) -> Iterator[tuple[str, ast.Call | ast.ExceptHandler, list[ast.stmt], str]]:
    """Each broad `except` or `contextlib.suppress`: its function, itself, its body, and the name of the exception."""
    for node in ast.iter_child_nodes(tree):
        inside = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else function
        if isinstance(node, ast.ExceptHandler) and names_of(node.type) & BROAD:
            yield inside, node, node.body, node.name or ""
        if isinstance(node, ast.Call) and BROAD & suppressed(node):
            yield inside, node, [], ""
        yield from broad_handlers(node, inside)


def suppressed(call: ast.Call) -> set[str]:
    """The names of the exceptions that `contextlib.suppress` gets."""
    is_suppress = isinstance(call.func, ast.Attribute) and ast.unparse(call.func) == "contextlib.suppress"
    return {name for argument in call.args for name in names_of(argument)} if is_suppress else set()


def names_of(kinds: ast.expr | None) -> set[str]:
    """The names of the exceptions that an `except` catches; without any it is as broad as can be."""
    return {"BaseException"} if kinds is None else set(ast.unparse(kinds).strip("()").split(", "))


def lets_pass(body: list[ast.stmt], name: str) -> bool:
    """Whether a handler begins with `let_pass(error)`, or raises in any case: then the next one decides."""
    if not body:
        return False
    begins = ast.unparse(body[0]).removeprefix("control.") == f"let_pass({name})"
    return begins or isinstance(body[-1], ast.Raise)


def test_every_broad_except_of_a_call_lets_pass_what_the_program_raises() -> None:
    used, faults = set(), []
    for path, tree in package().items():
        if path.startswith(ELSEWHERE):
            continue
        for function, node, body, name in broad_handlers(tree):
            if lets_pass(body, name):
                continue
            if (path, function) in REASONS:
                used.add((path, function))
            else:
                faults.append(f"{path}:{node.lineno} in {function}: begin it with let_pass(error)")
    assert faults == []
    assert used == set(REASONS), "these have no broad except any more"
