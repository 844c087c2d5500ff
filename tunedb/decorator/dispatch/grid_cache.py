"""A cache of grids that are functions: `lambda given: (triton.cdiv(n, given["BLOCK"]),)` costs microseconds to call.

A grid function is cached if it depends only on the ints in its closure and on the arguments that it reads: all else
that its code names is `triton.cdiv` and the like. Any other function is called each time, as Triton does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import triton

from tunedb._internal.bounded import make_room

MAX_CLOSURES = 4096  # Chosen, not measured: with more than that, the older half is dropped

# The globals and attributes that the code of a cached function may name, and what they must be.
_PURE = {
    "triton": triton, "math": math, "min": min, "max": max,
    "cdiv": triton.cdiv, "next_power_of_2": triton.next_power_of_2, "ceil": math.ceil,
}  # fmt: skip


class GridCache:
    """The grids of one kernel's calls. Code objects are kept alive, so that their ids stay unique."""

    def __init__(self) -> None:
        self._uncached: dict[int, CodeType] = {}  # the code of functions that are called each time
        self._cached: dict[Any, _CachedGrids] = {}  # by code and closure

    def __call__(self, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        """Return what `function(arguments)` returns."""
        try:
            place = id(function.__code__)
            if place not in self._uncached:
                cached = self._cached[(place, *[cell.cell_contents for cell in function.__closure__ or ()])]
                return cached.grids[cached.values(arguments)]
        except (AttributeError, KeyError, TypeError, ValueError):  # another kind of callable, or a new call
            return self._first(function, arguments)
        return function(arguments)  # outside: what it raises is the caller's, and it is called once

    def _first(self, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        if not isinstance(function, FunctionType):
            return function(arguments)
        code = function.__code__
        if not _is_pure(function):
            make_room(self._uncached, MAX_CLOSURES)
            self._uncached[id(code)] = code
            return function(arguments)
        recording = _RecordingArguments(arguments)
        try:
            grid = function(recording)
        except (AttributeError, TypeError):  # it does what only a dict can do; if the error is its own, it comes again
            self._uncached[id(code)] = code
            return function(arguments)
        names = tuple(recording.read)
        key = (id(code), *[cell.cell_contents for cell in function.__closure__ or ()])
        cached = self._cached.get(key)
        if cached is None:
            cached = _CachedGrids(names, itemgetter(*names) if names else _nothing, {}, code)
        # Which arguments it reads may depend on their values: then it has to be called each time.
        if cached.names != names or not all(
            type(value) is int for value in (*grid, *(arguments[name] for name in names))
        ):
            self._uncached[id(code)] = code
            return grid
        make_room(self._cached, MAX_CLOSURES)
        make_room(cached.grids, MAX_CLOSURES)
        cached.grids[cached.values(arguments)] = grid
        self._cached[key] = cached
        return grid


class _CachedGrids(NamedTuple):
    """The arguments that a function reads, the function that gets their values, and the grids by these values."""

    names: tuple[str, ...]
    values: Callable[[Mapping[str, Any]], Any]
    grids: dict[Any, Any]
    code: CodeType


class _RecordingArguments(Mapping[str, Any]):
    """The arguments of a call; records which of them are read.

    No dict: `match` and `{**arguments}` read one without its methods.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._arguments = arguments
        self.read: dict[str, None] = {}

    def __getitem__(self, name: str) -> Any:
        self.read[name] = None
        return self._arguments[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arguments)

    def __len__(self) -> int:
        return len(self._arguments)


def _nothing(arguments: Mapping[str, Any]) -> tuple[()]:  # noqa: ARG001 - stands for an itemgetter
    return ()


def _is_pure(function: FunctionType) -> bool:
    code = function.__code__
    if function.__defaults__ or function.__kwdefaults__ or code.co_argcount != 1 or code.co_kwonlyargcount:
        return False
    if any(isinstance(const, CodeType) for const in code.co_consts):
        return False
    if any(type(cell.cell_contents) is not int for cell in function.__closure__ or ()):
        return False
    scope = function.__globals__
    return all(name in _PURE and scope.get(name, _PURE[name]) is _PURE[name] for name in code.co_names)
