"""A log record holds no exception: a handler may keep records, and an exception keeps the tensors of its frames."""

from __future__ import annotations

import ast

from tests.architecture.imports import package

# Of work on a thread of its own, or around a fork: none of these frames is a call's.
ALLOWED = {(path, "exception") for path in ("_internal/forks.py", "_internal/timer.py", "store/store_thread.py")}


def test_a_log_record_gets_the_text_of_an_error_and_not_the_error() -> None:
    faults = []
    for path, tree in package().items():
        for handler in ast.walk(tree):
            if not isinstance(handler, ast.ExceptHandler):
                continue
            for call in ast.walk(handler):
                if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                    continue
                if ast.unparse(call.func.value) not in ("_log", "log", "logger"):
                    continue
                is_kept = any(isinstance(argument, ast.Name) and argument.id == handler.name for argument in call.args)
                is_traced = call.func.attr == "exception" or any(word.arg == "exc_info" for word in call.keywords)
                if is_kept or (is_traced and (path, call.func.attr) not in ALLOWED):
                    faults.append(f"{path}:{call.lineno}: log str({handler.name})")
    assert faults == []
