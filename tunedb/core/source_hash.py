"""A kernel's hash: what runs, with positions, comments, docstrings and the places of files and modules left out.

Triton's own `cache_key` won't do: it changes with a comment or a line number, and is missing under the interpreter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import FunctionType, MethodType, ModuleType
from typing import Any

from tunedb._internal.control import let_pass
from tunedb.core.source_bytecode import OwnCode
from tunedb.core.source_content import Content, package_of
from tunedb.core.source_text import HashUnavailable
from tunedb.errors import IdentityError

_SHORT = 12  # hexadecimal digits of a function's hash that follow the function's name
_MAX_CACHED_HASHES = 4096  # values whose hash is kept


@dataclass(frozen=True, slots=True)
class Hashed:
    """A hash, and what it saw that can be replaced: Triton allows to replace a text, Python a function's name."""

    hash: str
    seen: tuple[tuple[Callable[[], object], object], ...]

    @property
    def is_current(self) -> bool:
        """Whether all that can be replaced is as it was."""
        return all(read() is before for read, before in self.seen)


def kernel_hash(*roots: Any) -> str:
    """Return the SHA-256 of the meaning of jit functions and launchers, and of all that they call and read.

    The hash covers functions under `triton.jit`, functions and classes of the package of the function that names them,
    and what is bound to them: heuristics, closures, defaults and globals, by content. A function of another package
    counts by its own text, a class by its name. Torch, triton and the standard library count by name, because the
    environment of a sweep has the versions that times depend on.

    Raises HashUnavailable if a value's content is not the same in every process, or if a plain function's file no
    longer holds its text; IdentityError if a root is not a function.
    """
    return hashed(*roots).hash


def hashed(*roots: Any) -> Hashed:
    """Return what `kernel_hash` does, with what it saw that can be replaced."""
    for root in roots:
        if _function(root) is None:
            raise IdentityError(f"Expected a jit function or a Python function, got {root!r}.")
    return _hashed(Content, roots)


def joint_hash(kernel: str, function: Any) -> str:
    """Return a kernel's hash joined with that of a function outside it: of its bytecode and what is bound to it.

    Bytecode, because a lambda's source can't always be found. So the hash also changes with the version of Python. What
    the function calls does not count. Raises HashUnavailable if what is bound to it has no stable content.
    """
    return hashlib.sha256(f"{kernel} {_hashed(OwnCode, (function,)).hash}".encode()).hexdigest()


def _hashed(kind: type[Content], roots: tuple[Any, ...]) -> Hashed:
    content = kind()
    try:
        for root in roots:
            function = _function(root)
            scope = None if function is None else function.__globals__
            module = type(root).__module__ if scope is None else scope.get("__name__", "")
            content.add(root, package_of(str(module), scope))
        return Hashed(content.digest(), tuple(content.seen))
    except HashUnavailable:
        raise
    # Methods of the user's objects run here and may raise anything: the caller must not get that from a hash.
    except Exception as error:
        let_pass(error)
        raise HashUnavailable(f"what it reads has no stable content ({type(error).__name__}: {error}).") from error


class LazyHash:
    """A kernel's hash with that of its reference, computed at the first use, and again if code in it was replaced."""

    def __init__(self, root: Any, reference: Any = None) -> None:
        self._root, self._reference = root, reference
        self._outcome: Hashed | HashUnavailable | None = None

    def get(self) -> str:
        """Return the hash. Raises HashUnavailable every time if it did once: a kernel's calls stay served alike."""
        if self._outcome is None or (isinstance(self._outcome, Hashed) and not self._outcome.is_current):
            try:
                self._outcome = self._made()
            except HashUnavailable as error:
                self._outcome = HashUnavailable(str(error))  # without frames, which hold a caller's tensors
        if isinstance(self._outcome, HashUnavailable):
            raise HashUnavailable(str(self._outcome))
        return self._outcome.hash

    def _made(self) -> Hashed:
        own = _hashed(Content, (self._root,))
        return own if self._reference is None else replace(own, hash=joint_hash(own.hash, self._reference))


_lazy_hashes: dict[int, tuple[Any, LazyHash]] = {}  # by the id of a value, which lives as long as its entry


def short_hash(value: Any) -> str:
    """Return the first digits of the hash of a function or another value that is an argument or a knob.

    Raises HashUnavailable.
    """
    entry = _lazy_hashes.get(id(value))
    if entry is None:
        if len(_lazy_hashes) >= _MAX_CACHED_HASHES:
            _lazy_hashes.clear()
        entry = _lazy_hashes[id(value)] = value, LazyHash(value)
    return entry[1].get()[:_SHORT]


def content_hash(value: Any) -> str:
    """Return the first digits of the hash of a value that is not a function. Raises HashUnavailable."""
    return _hashed(Content, (value,)).hash[:_SHORT]


def _function(value: Any) -> FunctionType | None:
    """Return the Python function behind a jit function or a stack of decorators, itself if it is one, else None."""
    while not isinstance(value, FunctionType):
        if isinstance(value, type | ModuleType):
            return None
        inner = getattr(value, "fn", None) or getattr(value, "__wrapped__", None)
        inner = value.__func__ if isinstance(value, MethodType) else inner
        if inner is None:
            return None
        value = inner
    return value
