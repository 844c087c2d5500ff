"""A kernel's hash: what its source means, with names, positions, comments and docstrings left out.

Triton's own `cache_key` won't do: it changes with a comment or a line number, and is missing under the interpreter.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from tunedb.errors import IdentityError


def kernel_hash(*roots: Any) -> str:
    """The sha256 over the meaning of jit functions and launchers, and of all that they call and read.

    Followed are: functions under `triton.jit` or in the package of the function that names them, and module
    constants (numbers, strings, dtypes, `tl.constexpr`, tuples of these). Not followed are torch, triton and the
    standard library, which the environment of a sweep names.

    Raises IdentityError where a function's source can't be read.
    """
    found: dict[str, str] = {}
    for root in roots:
        function = _function(root)
        if function is None:
            raise IdentityError(f"{root!r} is no jit function, and no Python function.")
        _visit(function, found)
    text = "\n".join(f"{name} {meaning}" for name, meaning in sorted(found.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _function(value: Any) -> FunctionType | None:
    """The Python function behind a jit function or a stack of decorators, itself if it is one, else None."""
    while not isinstance(value, FunctionType):
        if isinstance(value, type | ModuleType) or not hasattr(value, "fn"):
            return None
        value = value.fn
    return value


def _visit(function: FunctionType, found: dict[str, str]) -> None:
    name = f"{function.__module__}.{function.__qualname__}"
    if name in found:
        return
    tree = _parse(function)
    found[name] = "".join(_meaning(tree))
    scope = function.__globals__ | dict(inspect.getclosurevars(function).nonlocals)
    for reference, value in _references(tree, scope):
        callee = _function(value)
        if callee is not None:
            if not _is_foreign(callee.__module__) and (callee is not value or _package(callee) == _package(function)):
                _visit(callee, found)
        elif isinstance(value, bool | int | float | str | tuple) or type(value).__name__ in ("constexpr", "dtype"):
            found[f"{name}:{reference}"] = repr(getattr(value, "value", value))


def _is_foreign(module: str) -> bool:
    return module.partition(".")[0] in ("torch", "triton")


def _package(function: FunctionType) -> str:
    return ".".join(function.__module__.split(".")[:2])


def _parse(function: FunctionType) -> ast.AST:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError) as error:
        raise IdentityError(
            f"The source of {function.__qualname__} can't be read ({error}). Define the kernel in a file."
        ) from None


def _references(tree: ast.AST, scope: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Global names that the code reads, and attributes of modules that it reads (`geometry.output_length`)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in scope:
            yield node.id, scope[node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = scope.get(node.value.id)
            if isinstance(module, ModuleType) and hasattr(module, node.attr) and not _is_foreign(module.__name__):
                yield f"{node.value.id}.{node.attr}", getattr(module, node.attr)


def _meaning(node: Any) -> Iterator[str]:
    """A dump of the tree that is the same in every Python: empty fields, which versions add, are left out."""
    if isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name, value in ast.iter_fields(node):
            if isinstance(node, ast.Constant):
                if name == "value":
                    yield f" {value!r}"
            elif name == "body" and isinstance(node, ast.FunctionDef | ast.Module):
                yield " body="
                yield from _meaning(_without_docstring(value))
            elif value is not None and value != [] and name not in ("type_comment", "ctx"):
                yield f" {name}="
                yield from _meaning(value)
        yield ")"
    elif isinstance(node, list):
        yield "["
        for item in node:
            yield from _meaning(item)
        yield "]"
    else:
        yield repr(node)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest
    return body
