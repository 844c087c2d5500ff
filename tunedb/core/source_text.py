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

from tunedb.errors import IdentityError

Chain = tuple[str, ...]  # the names of `package.module.name`
Import = tuple[str, int, str | None]  # module, level, and the name that is taken from it

_MOST = 4096  # skeletons that are kept


class HashUnavailable(IdentityError):
    """Nothing stable tells a kernel, or a function that is given to it, from an edited one."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The meaning of a function's own text, and what the text reads from outside, in the order of the text."""

    text: str
    chains: tuple[Chain, ...]
    imports: Mapping[str, Import]  # those inside the function, by the name that they give


# --- What Triton keeps. These names are private or have changed between its versions. ---


def is_jit(value: Any) -> bool:
    """Whether this is a function under `triton.jit`, compiled or interpreted."""
    return hasattr(value, "add_pre_run_hook") and isinstance(getattr(value, "fn", None), FunctionType)


def compiled_text(jit: Any) -> str | None:
    """The text that Triton compiles; None in its interpreter, which reads the file."""
    found = getattr(jit, "src", None) or getattr(jit, "_src", None)
    return found if isinstance(found, str) else None


def options_of(jit: Any) -> dict[str, Any]:
    """The options of the decorator that change what is compiled."""
    given = getattr(jit, "kwargs", None)
    given = given if isinstance(given, dict) else vars(jit)
    names = ("version", "do_not_specialize", "do_not_specialize_on_alignment", "debug", "noinline")
    return {name: given[name] for name in names if given.get(name)}


def skeleton_of_jit(jit: Any) -> Skeleton:
    """The skeleton of what Triton compiles or, in the interpreter, runs. Raises HashUnavailable."""
    text = compiled_text(jit)
    if text is not None:
        return _skeleton_of_text(text)
    node, _ = _node_of(jit.fn)
    return _skeleton(node, None)


@functools.lru_cache(maxsize=_MOST)
def _skeleton_of_text(text: str) -> Skeleton:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise HashUnavailable(f"the text of a jit function can't be parsed ({error}).") from None
    return _skeleton(tree.body[0], None)


# --- Plain Python. ---

_plain: dict[tuple[CodeType, str], Skeleton] = {}  # two equal code objects may be of two files


def skeleton_of_plain(function: FunctionType) -> Skeleton:
    """The skeleton of a plain function. Raises HashUnavailable if its file doesn't hold the text of its code."""
    code = function.__code__
    key = code, code.co_filename
    found = _plain.get(key)
    if found is None:
        node, names = _node_of(function)
        if len(_plain) >= _MOST:
            _plain.clear()
        found = _plain[key] = _skeleton(node, names)
    return found


def _node_of(function: FunctionType) -> tuple[ast.AST, set[str]]:
    """The syntax tree of a function's text, and the names that its code looks up outside."""
    code = function.__code__
    nodes, codes = _file(code.co_filename, function.__globals__)
    place = code.co_name, code.co_firstlineno
    if any(_shape(one) == _shape(code) for one in codes.get(place, ())):
        found = nodes[place] if len(nodes[place]) == 1 else [node for node in nodes[place] if _holds(node, code)]
        if found:
            return found[-1], _outer_names(code)  # of lambdas in lambdas the innermost
    raise HashUnavailable(
        f"the source of {function.__qualname__} can't be read as it runs: {code.co_filename} does not hold its text, "
        "or not any more. Define the kernel in a file, with all that it calls, and restart the program after an edit."
    )


_Place = tuple[str, int]  # name and first line
_File = tuple[dict[_Place, list[ast.AST]], dict[_Place, list[CodeType]]]

_files: dict[str, tuple[str, _File]] = {}


def _file(path: str, scope: dict[str, Any]) -> _File:
    """The functions and lambdas of a file, and the code that its text gives: one depends on the file's imports, too."""
    linecache.checkcache(path)
    text = "".join(linecache.getlines(path, scope))
    known = _files.get(path)
    if known is not None and known[0] == text:
        return known[1]
    nodes: dict[_Place, list[ast.AST]] = {}
    codes: dict[_Place, list[CodeType]] = {}
    try:
        tree = ast.parse(text)
        whole = compile(tree, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):  # half saved
        pass
    else:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
                nodes.setdefault((node.name, first), []).append(node)
            elif isinstance(node, ast.Lambda):
                nodes.setdefault(("<lambda>", node.lineno), []).append(node)
        for code in _inside(whole):
            codes.setdefault((code.co_name, code.co_firstlineno), []).append(code)
    if len(_files) >= _MOST:
        _files.clear()
    _files[path] = text, (nodes, codes)
    return nodes, codes


def _holds(node: Any, code: CodeType) -> bool:
    """Whether a lambda, one of several in a line, is where the code's instructions come from."""
    begin, end = (node.body.lineno, node.body.col_offset), (node.body.end_lineno, node.body.end_col_offset)
    places = [
        ((line, column), (last, end_column))
        for line, last, column, end_column in code.co_positions()
        if None not in (line, last, column, end_column) and (line, column) != (last, end_column)
    ]
    return bool(places) and all(begin <= first and last <= end for first, last in places)


def _inside(code: CodeType) -> Iterator[CodeType]:
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield one
            yield from _inside(one)


def _shape(code: CodeType) -> tuple[Any, ...]:
    """All of a code object but where it stands."""
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
    """The names that a code looks up as globals or in its closure, and those of attributes."""
    return {*code.co_names, *code.co_freevars, *(name for one in _inside(code) for name in one.co_names)}


# --- Skeletons. ---


def _skeleton(node: ast.AST, names: set[str] | None) -> Skeleton:
    """The skeleton of a function. Without `names`, every name counts that the text doesn't assign to."""
    imports = _imports(node)
    if names is None:
        stored = {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
        stored |= {one.arg for one in ast.walk(node) if isinstance(one, ast.arg)}
        names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)} - stored
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        node = copy.copy(node)
        node.decorator_list = []  # what decorators do is seen in what they made
    words: list[str] = []
    _dump(node, words)
    found = (_chain(one) for one in ast.walk(node) if isinstance(one, ast.Name | ast.Attribute))
    wanted = names | imports.keys()
    return Skeleton("".join(words), tuple(dict.fromkeys(one for one in found if one and one[0] in wanted)), imports)


def _chain(node: ast.expr) -> Chain:
    """The names of `package.module.name`; none for an attribute of anything but names."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else ()


def _imports(node: ast.AST) -> dict[str, Import]:
    found: dict[str, Import] = {}
    for one in ast.walk(node):
        if isinstance(one, ast.Import):
            for alias in one.names:
                top = alias.name if alias.asname else alias.name.partition(".")[0]
                found[alias.asname or top] = top, 0, None
        elif isinstance(one, ast.ImportFrom):
            for alias in one.names:
                found[alias.asname or alias.name] = one.module or "", one.level, alias.name
    return found


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
