"""Grid functions: which are remembered, and that what is remembered is what they would return."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import triton
from hypothesis import given
from hypothesis import strategies as st

from tunedb.decorator.dispatch.grid_cache import GridCache

PROGRAMS = 7


def of(n: int, m: int = 1) -> Callable[..., Any]:
    return lambda given: (triton.cdiv(n, given["BLOCK"]), max(m, given["m"]))


@given(st.lists(st.tuples(*[st.integers(1, 4)] * 4), min_size=1, max_size=30))
def test_a_remembered_grid_is_what_the_function_returns(calls: list[tuple[int, ...]]) -> None:
    grids = GridCache()
    for n, m, block, other in calls:
        arguments = {"BLOCK": block, "m": other, "n": n}
        assert grids(of(n, m), arguments) == of(n, m)(arguments)


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=30))
def test_what_it_reads_may_depend_on_what_it_read(calls: list[tuple[int, ...]]) -> None:
    def grid(given: Any) -> Any:
        return (given["a"] if given["b"] else given["c"],)

    grids = GridCache()
    for a, b, c in calls:
        assert grids(grid, {"a": a, "b": b, "c": c}) == grid({"a": a, "b": b, "c": c})


def test_a_function_of_ints_is_called_once() -> None:
    grids, calls = GridCache(), []
    for _ in range(3):
        function = of(100)
        assert grids(function, {"BLOCK": 16, "m": 1}) == (7, 1)
        calls.append(len(grids._cached))
    assert calls == [1, 1, 1]
    (known,) = grids._cached.values()
    assert known.grids == {(16, 1): (7, 1)}


def local(triton: Any) -> Callable[..., Any]:
    return lambda given: (triton(given["n"]),)


@pytest.mark.parametrize(
    "function",
    [
        lambda given: (PROGRAMS,),
        lambda given: (given["x"].numel(),),
        lambda given: (sum(given["n"] for _ in range(2)),),
        lambda given, n=3: (n,),
        functools.partial(lambda n, given: (n,), 3),
        local(lambda n: PROGRAMS * n),
        (lambda x: lambda given: (x.shape[0],))(torch.zeros(3)),
        lambda given: [given["n"], float(given["n"])],
    ],
)
def test_a_function_that_may_see_more_is_called_each_time(
    function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    grids = GridCache()
    for n in (1, 2):
        for programs in (7, 8):
            monkeypatch.setitem(globals(), "PROGRAMS", programs)
            arguments = {"n": n, "x": torch.zeros(n)}
            assert grids(function, arguments) == function(arguments)
    assert grids._cached == {}


def by_match(given: Any) -> Any:
    match given:
        case {"n": n, "BLOCK": block}:
            return (-(-n // block),)
    return (0,)


def by_rest(given: Any) -> Any:
    match given:
        case {"n": n, **rest}:
            return (n + len(rest),)
    return (0,)


@pytest.mark.parametrize(
    "function",
    [
        by_match,
        by_rest,
        lambda given: ({**given}["n"],),
        lambda given: ((given | {"m": 1})["n"],),
        lambda given: (7,) if given == {"n": 3, "BLOCK": 16} else (8,),
    ],
)
def test_arguments_that_are_read_without_a_subscript_count(function: Callable[..., Any]) -> None:
    grids = GridCache()
    for _ in range(2):
        for n in (3, 48, 160):
            assert grids(function, {"n": n, "BLOCK": 16}) == function({"n": n, "BLOCK": 16})


@pytest.mark.parametrize("kind", [KeyError, TypeError, ValueError, AttributeError])
def test_a_function_that_raises_is_called_once_for_each_call(kind: type[Exception]) -> None:
    grids, calls = GridCache(), []

    def raising(given: Any) -> Any:
        calls.append(given)
        raise kind("the program's own")

    for count in (1, 2, 3):
        with pytest.raises(kind, match="own"):
            grids(raising, {"n": 1})
        assert len(calls) == count


def test_a_name_of_ours_that_is_another_things_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setitem(globals(), "cdiv", lambda a, b: seen.append(1) or a // b)
    grids = GridCache()
    for _ in range(2):
        assert grids(lambda given: (cdiv(given["n"], 2),), {"n": 8}) == (4,)  # type: ignore[name-defined] # noqa: F821
    assert len(seen) == 2


def test_the_functions_own_error_is_raised() -> None:
    grids = GridCache()
    for _ in range(2):
        with pytest.raises(KeyError, match="BLOCK"):
            grids(of(3), {"m": 1})
