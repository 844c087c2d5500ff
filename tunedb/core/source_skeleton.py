"""The skeleton of a function: the meaning of its text, and the names that the text reads from outside."""

from __future__ import annotations

import ast
import copy
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

Chain = tuple[str, ...]  # the names of `package.module.name`
Import = tuple[str, int, str | None]  # module, level, and the name that is taken from it

# Made once: `isinstance(node, A | B)` makes a type of A and B at each node.
_IMPORTS = ast.Import | ast.ImportFrom
_NAMES = ast.Name | ast.Attribute
_WITH_DOCSTRING = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Reads(NamedTuple):
    """What a function's text reads from outside, in the order of the text."""

    chains: tuple[Chain, ...]
    imports: Mapping[str, Import]  # those inside the function, by the name that they give

    def dump(self) -> list[Any]:
        """Return it as JSON can hold it."""
        return [" ".join(map(".".join, self.chains)), [[name, *wanted] for name, wanted in self.imports.items()]]

    @classmethod
    def parse(cls, chains: str, imports: list[Any]) -> Reads:
        """Return what `dump` was made of. Raises AttributeError, TypeError or ValueError for anything else."""
        return cls(
            tuple(tuple(chain.split(".")) for chain in chains.split()),
            {name: (module, level, member) for name, module, level, member in imports},
        )


class Skeleton(NamedTuple):
    """The meaning of a function's own text, and what the text reads from outside."""

    text: str
    reads: Reads


def skeleton_of(node: ast.AST, names: set[str] | None) -> Skeleton:
    """Return the skeleton of a function. Without `names`, all names count that the text doesn't assign to."""
    decorators: list[ast.expr] = []
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        decorators, node = node.decorator_list, copy.copy(node)
        node.decorator_list = []  # what decorators do is seen in what they made
    parts = _walk(node)
    imports = _imports(parts)
    if names is None:
        stored, read = set(), set()
        for part in itertools.chain(parts, *map(_walk, decorators)):
            if isinstance(part, ast.Name):
                read.add(part.id)
                if isinstance(part.ctx, ast.Store):
                    stored.add(part.id)
            elif isinstance(part, ast.arg):
                stored.add(part.arg)
        names = read - stored
    words: list[str] = []
    _dump(node, words)
    chains = (_chain(part) for part in parts if isinstance(part, _NAMES))
    wanted = names | imports.keys()
    outer = dict.fromkeys(chain for chain in chains if chain and chain[0] in wanted)
    return Skeleton("".join(words), Reads(tuple(outer), imports))


def _walk(node: ast.AST) -> list[ast.AST]:
    """Return what `ast.walk` yields, in its order, in a fraction of its time."""
    parts = [node]
    for part in parts:  # which grows meanwhile
        for name in part._fields:
            value = getattr(part, name, None)
            if isinstance(value, ast.AST):
                parts.append(value)
            elif isinstance(value, list):
                parts += [item for item in value if isinstance(item, ast.AST)]
    return parts


def _chain(node: ast.expr) -> Chain:
    """Return the names of `package.module.name`; empty for an attribute of anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else ()


def _imports(parts: list[ast.AST]) -> dict[str, Import]:
    imports: dict[str, Import] = {}
    for part in parts:
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
        elif isinstance(node, _IMPORTS):
            words.append(f" {[alias.asname or alias.name.rpartition('.')[2] for alias in node.names]}")
        else:
            for name in node._fields:
                value = getattr(node, name, None)
                if isinstance(node, ast.JoinedStr):
                    value = [part for part in node.values if not _is_empty_text(part)]
                if value is None or value == [] or name in ("type_comment", "ctx"):
                    continue
                words.append(f" {name}=")
                if name == "body" and isinstance(node, _WITH_DOCSTRING):
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


def _is_empty_text(part: ast.expr) -> bool:
    """Say whether a part of an f-string is none: Python 3.12.1 ends some format specifications with one."""
    return isinstance(part, ast.Constant) and part.value == ""


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest
    return body
