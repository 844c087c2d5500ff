"""A kernel's hash: what its source means, with positions, comments and docstrings left out.

Triton's own `cache_key` won't do: it changes with a comment or a line number, and is missing under the interpreter.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

from tunedb.errors import IdentityError

_FOREIGN = ("torch", "triton", "numpy")


def kernel_hash(*roots: Any) -> str:
    """The sha256 over the meaning of jit functions and launchers, and of all that they call and read.

    Followed are functions under `triton.jit`, functions and classes of the package of the function that names them,
    and module constants: numbers, strings, dtypes, `tl.constexpr`, and lists, tuples, sets and dicts of these. Not
    followed are torch, triton and the standard library: the environment of a sweep names those that times depend on.

    Raises IdentityError where a source can't be read.
    """
    visit = _Visit()
    for root in roots:
        function = _function(root)
        if function is None:
            raise IdentityError(f"{root!r} is no jit function, and no Python function.")
        visit.code(function)
    text = "\n".join(sorted(visit.found))
    return hashlib.sha256(text.encode()).hexdigest()


def joint_hash(found: str, function: Any) -> str:
    """A kernel's hash joined with a function that is no part of it: by its bytecode, defaults, and under wrappers.

    A lambda's source can't be told from its line. So it moves with the version of Python, too; what the function calls
    and closes over is not in it.
    """
    return hashlib.sha256(f"{found} {_told(function)}".encode()).hexdigest()


def _told(function: Any, above: tuple[int, ...] = ()) -> str:
    """What is known of a function, or of an object that is called like one, without its address; `above` it are those
    in whose parts it was met.
    """
    if id(function) in above:
        return "itself"
    above = (*above, id(function))
    if isinstance(function, functools.partial):
        return f"{_told(function.func, above)} {_written((function.args, function.keywords), above)}"
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if code is not None:
        return f"{_bytecode(code)} {_written((function.__defaults__, function.__kwdefaults__), above)}"
    kind, told = type(function), repr(function)
    methods = (getattr(getattr(kind, name, None), "__code__", None) for name in ("__call__", "forward"))
    codes = " ".join(_bytecode(code) for code in methods if code is not None)
    state = _written(getattr(function, "__dict__", {}), above) if " at 0x" in told else told
    return f"{kind.__module__}.{kind.__qualname__} {codes} {state}"


def _bytecode(code: CodeType) -> str:
    constants = [_bytecode(one) if isinstance(one, CodeType) else _written(one) for one in code.co_consts]
    return f"{code.co_names} {constants} {code.co_code.hex()}"


def _written(value: Any, above: tuple[int, ...] = ()) -> str:
    """A value as it is written in every process: sets have another order in each, and objects another address."""
    if id(value) in above:
        return "itself"
    above = (*above, id(value))
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(_written(one, above) for one in value))}}}"
    if isinstance(value, tuple | list):
        return f"({', '.join(_written(one, above) for one in value)})"
    if isinstance(value, dict):
        pairs = (f"{_written(name, above)}: {_written(one, above)}" for name, one in value.items())
        return f"{{{', '.join(sorted(pairs))}}}"
    if callable(value) and not isinstance(value, type):
        return _told(value, above[:-1])
    told = repr(value)
    return f"{type(value).__module__}.{type(value).__qualname__}" if " at 0x" in told else told


def _function(value: Any) -> FunctionType | None:
    """The Python function behind a jit function or a stack of decorators, itself if it is one, else None."""
    while not isinstance(value, FunctionType):
        if isinstance(value, type | ModuleType):
            return None
        inner = getattr(value, "fn", None) or getattr(value, "__wrapped__", None) or getattr(value, "__func__", None)
        if inner is None:
            return None
        value = inner
    found = inspect.unwrap(value)
    return found if isinstance(found, FunctionType) else None


class _Visit:
    """What was found so far: a line for each function, class and constant."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._seen: set[int] = set()

    def code(self, code: FunctionType | type) -> None:
        """Add a function or a class, and all that it names."""
        if id(code) in self._seen:
            return
        self._seen.add(id(code))
        name = f"{code.__module__}.{code.__qualname__}"
        tree = _parse(code)
        words: list[str] = []
        _meaning(tree, words)
        self.found.append(f"{name} {''.join(words)}")
        for reference, value in _references(tree, _scope(code)):
            callee = _function(value)
            if callee is not None:
                if not _is_foreign(callee) and (callee is not value or _package(callee) == _package(code)):
                    self.code(callee)
            elif isinstance(value, type):
                if _package(value) == _package(code):
                    with contextlib.suppress(IdentityError):  # one that was made, not written
                        self.code(value)
            else:
                constant = _constant(value)
                if constant is not None:
                    self.found.append(f"{name}:{reference} {constant}")


def _package(code: FunctionType | type) -> str:
    """The package that the code belongs to; the kernels that come with tunedb are one of their own."""
    module = code.__module__
    return "tunedb.kernels" if module.startswith("tunedb.kernels.") else module.partition(".")[0]


def _is_foreign(code: FunctionType | type) -> bool:
    return _package(code) in _FOREIGN


def _scope(code: FunctionType | type) -> dict[str, Any]:
    """The names that the code can see outside of itself."""
    if isinstance(code, type):
        return dict(vars(inspect.getmodule(code) or object()))
    return code.__globals__ | dict(inspect.getclosurevars(code).nonlocals)


def _parse(code: FunctionType | type) -> ast.AST:
    """The syntax tree, without `@autotune(...)`: a list of configs says nothing about what a kernel does."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                node.decorator_list = [one for one in node.decorator_list if not _is_autotune(one)]
        return tree
    except (OSError, TypeError, SyntaxError) as error:
        raise IdentityError(
            f"The source of {code.__qualname__} can't be read ({error}). Define the kernel in a file."
        ) from None


def _is_autotune(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and ast.unparse(decorator.func).rpartition(".")[2] == "autotune"


def _references(tree: ast.AST, scope: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each name of the scope that the code reads, and each chain of attributes of modules (`package.module.name`)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in scope:
            yield node.id, scope[node.id]
        elif isinstance(node, ast.Attribute):
            chain = _chain(node)
            value = _resolved(chain, scope) if chain else None
            if value is not None:
                yield ".".join(chain), value


def _chain(node: ast.expr) -> list[str]:
    """The names of `package.module.name`; none of an attribute of anything but names."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else []


def _resolved(chain: list[str], scope: Mapping[str, Any]) -> Any:
    value = scope.get(chain[0])
    for name in chain[1:]:
        if not isinstance(value, ModuleType) or value.__name__.partition(".")[0] in _FOREIGN:
            return None
        value = getattr(value, name, None)
    return value


def _constant(value: Any) -> str | None:
    """The constant as text that is the same in every process; None for what is no constant."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    kind = type(value).__name__
    if kind == "constexpr":
        return _constant(value.value)
    if kind == "dtype":
        return str(value)
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        return _constant(value.item()) if getattr(value, "ndim", 0) == 0 else None
    if isinstance(value, Mapping):
        pairs = [(_constant(key), _constant(item)) for key, item in value.items()]
        known = [f"{key}: {item}" for key, item in pairs if key is not None and item is not None]
        return f"{{{', '.join(known)}}}" if len(known) == len(pairs) else None
    if isinstance(value, tuple | list | set | frozenset):
        items = [_constant(item) for item in value]
        found = [item for item in items if item is not None]
        found = sorted(found) if isinstance(value, set | frozenset) else found
        return f"{kind}({', '.join(found)})" if len(found) == len(items) else None
    return None


def _meaning(node: Any, words: list[str]) -> None:
    """Add a dump of the tree that is the same in every Python: empty fields, which versions add, are left out."""
    if isinstance(node, ast.AST):
        words.append(f"({type(node).__name__}")
        if isinstance(node, ast.Constant):
            words.append(f" {node.value!r}")
        else:
            for name in node._fields:
                value = getattr(node, name, None)
                if value is None or value == [] or name in ("type_comment", "ctx"):
                    continue
                words.append(f" {name}=")
                if name == "body" and isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                    value = _without_docstring(value)
                _meaning(value, words)
        words.append(")")
    elif isinstance(node, list):
        words.append("[")
        for item in node:
            _meaning(item, words)
        words.append("]")
    else:
        words.append(repr(node))


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest
    return body
