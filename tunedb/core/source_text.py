"""The text of a function, taken only if it is the text of what runs.

A jit function is what Triton compiles: the text that it kept when the function was decorated, patched or not. A plain
function is its code object: the text in its file counts if compiling it gives that code, and not otherwise.
"""

from __future__ import annotations

import ast
import copy
import functools
import linecache
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from tunedb._internal.control import let_pass
from tunedb.core.jit_function import compiled_text
from tunedb.errors import IdentityError

Chain = tuple[str, ...]  # the names of `package.module.name`
Import = tuple[str, int, str | None]  # module, level, and the name that is taken from it

_MAX_CACHED_TEXTS = 4096  # skeletons that are kept


class HashUnavailable(IdentityError):
    """A kernel, or a function passed to it, has no stable hash, so an edited version would look the same."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The meaning of a function's own text, and what the text reads from outside, in the order of the text."""

    text: str
    chains: tuple[Chain, ...]
    imports: Mapping[str, Import]  # those inside the function, by the name that they give


def skeleton_of_jit(jit: Any) -> Skeleton:
    """Return the skeleton of what Triton compiles or, in the interpreter, runs. Raises HashUnavailable."""
    text = compiled_text(jit)
    if text is not None:
        return _skeleton_of_text(text)
    node, _ = _node_of(jit.fn)
    return _skeleton(node, None)


@functools.lru_cache(maxsize=_MAX_CACHED_TEXTS)
def _skeleton_of_text(text: str) -> Skeleton:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise HashUnavailable(f"the text of a jit function can't be parsed ({error}).") from None
    return _skeleton(tree.body[0], None)


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
        skeleton = _plain[key] = _skeleton(node, names)
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


# --- Skeletons. ---


def _skeleton(node: ast.AST, names: set[str] | None) -> Skeleton:
    """Return the skeleton of a function. Without `names`, all names count that the text doesn't assign to."""
    imports = _imports(node)
    if names is None:
        stored = {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
        stored |= {part.arg for part in ast.walk(node) if isinstance(part, ast.arg)}
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} - stored
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        node = copy.copy(node)
        node.decorator_list = []  # what decorators do is seen in what they made
    words: list[str] = []
    _dump(node, words)
    chains = (_chain(part) for part in ast.walk(node) if isinstance(part, ast.Name | ast.Attribute))
    wanted = names | imports.keys()
    outer = dict.fromkeys(chain for chain in chains if chain and chain[0] in wanted)
    return Skeleton("".join(words), tuple(outer), imports)


def _chain(node: ast.expr) -> Chain:
    """Return the names of `package.module.name`; empty for an attribute of anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else ()


def _imports(node: ast.AST) -> dict[str, Import]:
    imports: dict[str, Import] = {}
    for part in ast.walk(node):
        if isinstance(part, ast.Import):
            for alias in part.names:
                top = alias.name if alias.asname else alias.name.partition(".")[0]
                imports[alias.asname or top] = top, 0, None
        elif isinstance(part, ast.ImportFrom):
            for alias in part.names:
                imports[alias.asname or alias.name] = part.module or "", part.level, alias.name
    return imports


def _dump(node: Any, words: list[str]) -> None:
    """Add a dump of the tree that is the same in every Python: empty fields, which versions add, are left out.

    So are docstrings, and which module an import inside a function names: what is taken from it counts.
    """
    if isinstance(node, ast.AST):
        words.append(f"({type(node).__name__}")
        if isinstance(node, ast.Constant):
            words.append(f" {node.value!r}")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            words.append(f" {[alias.asname or alias.name.rpartition('.')[2] for alias in node.names]}")
        else:
            for name in node._fields:
                value = getattr(node, name, None)
                if value is None or value == [] or name in ("type_comment", "ctx"):
                    continue
                words.append(f" {name}=")
                if name == "body" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    value = _without_docstring(value)
                _dump(value, words)
        words.append(")")
    elif isinstance(node, list):
        words.append("[")
        for item in node:
            _dump(item, words)
        words.append("]")
    else:
        words.append(repr(node))


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest
    return body
