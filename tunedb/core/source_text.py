"""The text of a function, taken only if it is the text of what runs.

A jit function is what Triton compiles: the text that it kept when the function was decorated, patched or not. A plain
function is its code object: the text in its file counts if compiling it gives that code, and not otherwise.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import linecache
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

from tunedb._internal.control import let_pass
from tunedb.core import source_cache
from tunedb.core.jit_function import compiled_text
from tunedb.core.source_skeleton import Skeleton, skeleton_of
from tunedb.errors import IdentityError

_MAX_CACHED_TEXTS = 4096  # in memory


class HashUnavailable(IdentityError):
    """A kernel, or a function passed to it, has no stable hash, so an edited version would look the same."""


class Source:
    """A function's own text, which is parsed if no earlier process has.

    `digest` is that of all that the skeleton follows from.
    """

    __slots__ = ("_parse", "_skeleton", "digest", "reads")

    def __init__(self, digest: str, parse: Callable[[], Skeleton]) -> None:
        self.digest = digest
        self._parse = parse
        self._skeleton: Skeleton | None = None
        known = source_cache.active().get_reads(digest)
        self.reads = self._parsed().reads if known is None else known
        if known is None:
            source_cache.active().put_reads(digest, self.reads)

    @property
    def text(self) -> str:
        """The text of the skeleton."""
        return self._parsed().text

    def _parsed(self) -> Skeleton:
        if self._skeleton is None:
            self._skeleton = self._parse()
        return self._skeleton


def source_of_jit(jit: Any) -> Source:
    """Return the source of what Triton compiles or, in the interpreter, runs. Raises HashUnavailable."""
    text = compiled_text(jit)
    return _source_in_file(jit.fn, with_names=False) if text is None else _source_of_text(text)


def source_of_plain(function: FunctionType) -> Source:
    """Return the source of a plain function. Raises HashUnavailable if its file doesn't hold the text of its code."""
    return _source_in_file(function, with_names=True)


@functools.lru_cache(maxsize=_MAX_CACHED_TEXTS)
def _source_of_text(text: str) -> Source:
    return Source(_digest("jit", text), functools.partial(_parsed_text, text))


def _parsed_text(text: str) -> Skeleton:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise HashUnavailable(f"the text of a jit function can't be parsed ({error}).") from None
    return skeleton_of(tree.body[0], None)


# --- Plain Python. ---

_in_files: dict[tuple[CodeType, str, bool], Source] = {}  # two equal code objects may be of two files


def _source_in_file(function: FunctionType, *, with_names: bool) -> Source:
    """Return the source of a function that counts as its file's text; with the names that its code looks up outside."""
    code = function.__code__
    key = code, code.co_filename, with_names
    source = _in_files.get(key)
    if source is None:
        text, digest = _text_of_file(code.co_filename, function.__globals__)
        if len(_in_files) >= _MAX_CACHED_TEXTS:
            _in_files.clear()
        digest = _digest("file", digest, code.co_name, code.co_firstlineno, code.co_linetable, _shape(code), with_names)
        source = _in_files[key] = Source(digest, functools.partial(_parsed_in_file, text, code, with_names))
    return source


def _parsed_in_file(text: str, code: CodeType, with_names: bool) -> Skeleton:
    return skeleton_of(_node_of(text, code), _outer_names(code) if with_names else None)


def _digest(*facts: Any) -> str:
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogatepass")).hexdigest()


def _node_of(text: str, code: CodeType) -> ast.AST:
    """Return the syntax tree of a code's text in the text of its file."""
    nodes, codes = _parsed_file(code.co_filename, text)
    place = code.co_name, code.co_firstlineno
    if any(_shape(compiled) == _shape(code) for compiled in codes.get(place, ())):
        matches = nodes[place] if len(nodes[place]) == 1 else [node for node in nodes[place] if _holds(node, code)]
        if matches:
            return matches[-1]  # of lambdas in lambdas the innermost
    raise HashUnavailable(
        f"the source of {code.co_qualname} can't be read as it runs: {code.co_filename} does not hold its text, "
        "or not any more. Define the kernel in a file, with all that it calls, and restart the program after an edit."
    )


_Place = tuple[str, int]  # name and first line
_File = tuple[dict[_Place, list[ast.AST]], dict[_Place, list[CodeType]]]

_texts: dict[str, tuple[list[str], str, str]] = {}  # by path: the lines, their text and its digest
_files: dict[str, tuple[str, _File]] = {}


def _text_of_file(path: str, scope: dict[str, Any]) -> tuple[str, str]:
    """Return a file's text as it is now, and its digest."""
    linecache.checkcache(path)
    lines = linecache.getlines(path, scope)
    known = _texts.get(path)
    if known is None or known[0] is not lines:  # `linecache` makes another list if the file has changed
        if len(_texts) >= _MAX_CACHED_TEXTS:
            _texts.clear()
        text = "".join(lines)
        known = _texts[path] = lines, text, _digest(text)
    return known[1], known[2]


def _parsed_file(path: str, text: str) -> _File:
    """Return a file's functions and lambdas, and the code that its text, imports included, compiles to."""
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
        return "frozenset", *sorted(repr(_shape_of(item)) for item in constant)
    return type(constant), repr(constant)  # 1, True and 1.0 are equal, and 0.0 and -0.0


def _outer_names(code: CodeType) -> set[str]:
    """Return the names that a code looks up as globals or in its closure, and those of attributes."""
    return {*code.co_names, *code.co_freevars, *(name for inner in _inside(code) for name in inner.co_names)}
