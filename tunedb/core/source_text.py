"""The text of a function, taken only if it is the text of what runs.

A jit function is what Triton compiles: the text that it kept when the function was decorated, patched or not. A plain
function is its code object: the text in its file counts if compiling it gives that code, and not otherwise.
"""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from tunedb._internal.control import let_pass
from tunedb.core.jit_function import compiled_text
from tunedb.core.source_skeleton import Skeleton, skeleton_of
from tunedb.errors import IdentityError

_MAX_CACHED_TEXTS = 4096  # skeletons that are kept


class HashUnavailable(IdentityError):
    """A kernel, or a function passed to it, has no stable hash, so an edited version would look the same."""


def skeleton_of_jit(jit: Any) -> Skeleton:
    """Return the skeleton of what Triton compiles or, in the interpreter, runs. Raises HashUnavailable."""
    text = compiled_text(jit)
    if text is not None:
        return _skeleton_of_text(text)
    node, _ = _node_of(jit.fn)
    return skeleton_of(node, None)


@functools.lru_cache(maxsize=_MAX_CACHED_TEXTS)
def _skeleton_of_text(text: str) -> Skeleton:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise HashUnavailable(f"the text of a jit function can't be parsed ({error}).") from None
    return skeleton_of(tree.body[0], None)


# --- Plain Python. ---

_plain: dict[tuple[CodeType, str], Skeleton] = {}  # two equal code objects may be of two files


def skeleton_of_plain(function: FunctionType) -> Skeleton:
    """Return the skeleton of a plain function. Raises HashUnavailable if its file doesn't hold the text of its code."""
    code = function.__code__
    key = code, code.co_filename
    skeleton = _plain.get(key)
    if skeleton is None:
        node, names = _node_of(function)
        if len(_plain) >= _MAX_CACHED_TEXTS:
            _plain.clear()
        skeleton = _plain[key] = skeleton_of(node, names)
    return skeleton


def _node_of(function: FunctionType) -> tuple[ast.AST, set[str]]:
    """Return the syntax tree of a function's text, and the names that its code looks up outside."""
    code = function.__code__
    nodes, codes = _file(code.co_filename, function.__globals__)
    place = code.co_name, code.co_firstlineno
    if any(_shape(compiled) == _shape(code) for compiled in codes.get(place, ())):
        matches = nodes[place] if len(nodes[place]) == 1 else [node for node in nodes[place] if _holds(node, code)]
        if matches:
            return matches[-1], _outer_names(code)  # of lambdas in lambdas the innermost
    raise HashUnavailable(
        f"the source of {function.__qualname__} can't be read as it runs: {code.co_filename} does not hold its text, "
        "or not any more. Define the kernel in a file, with all that it calls, and restart the program after an edit."
    )


_Place = tuple[str, int]  # name and first line
_File = tuple[dict[_Place, list[ast.AST]], dict[_Place, list[CodeType]]]

_files: dict[str, tuple[str, _File]] = {}


def _file(path: str, scope: dict[str, Any]) -> _File:
    """Return a file's functions and lambdas, and the code that its text, imports included, compiles to."""
    linecache.checkcache(path)
    text = "".join(linecache.getlines(path, scope))
    parsed = _files.get(path)
    if parsed is not None and parsed[0] == text:
        return parsed[1]
    nodes: dict[_Place, list[ast.AST]] = {}
    codes: dict[_Place, list[CodeType]] = {}
    try:
        tree = ast.parse(text)
        whole = compile(tree, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError) as error:  # half saved
        let_pass(error)
    else:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                nodes.setdefault((node.name, first), []).append(node)
            elif isinstance(node, ast.Lambda):
                nodes.setdefault(("<lambda>", node.lineno), []).append(node)
        for code in _inside(whole):
            codes.setdefault((code.co_name, code.co_firstlineno), []).append(code)
    if len(_files) >= _MAX_CACHED_TEXTS:
        _files.clear()
    _files[path] = text, (nodes, codes)
    return nodes, codes


def _holds(node: Any, code: CodeType) -> bool:
    """Say whether the code's instructions come from this lambda, one of several on a line."""
    begin, end = (node.body.lineno, node.body.col_offset), (node.body.end_lineno, node.body.end_col_offset)
    places = [
        ((line, column), (last, end_column))
        for line, last, column, end_column in code.co_positions()
        if None not in (line, last, column, end_column) and (line, column) != (last, end_column)
    ]
    return bool(places) and all(begin <= first and last <= end for first, last in places)


def _inside(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _inside(constant)


def _shape(code: CodeType) -> tuple[Any, ...]:
    """Return all of a code object except its position."""
    return (
        code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_argcount,
        code.co_posonlyargcount, code.co_kwonlyargcount, code.co_exceptiontable, _shape_of(code.co_consts),
    )  # fmt: skip


def _shape_of(constant: Any) -> Any:
    if isinstance(constant, CodeType):
        return _shape(constant)
    if isinstance(constant, tuple):
        return "tuple", *map(_shape_of, constant)
    if isinstance(constant, frozenset):
        return frozenset(map(_shape_of, constant))
    return type(constant), repr(constant)  # 1, True and 1.0 are equal, and 0.0 and -0.0


def _outer_names(code: CodeType) -> set[str]:
    """Return the names that a code looks up as globals or in its closure, and those of attributes."""
    return {*code.co_names, *code.co_freevars, *(name for inner in _inside(code) for name in inner.co_names)}
