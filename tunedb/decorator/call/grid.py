"""The grid of a call, and whether a launch has anything to do: a launch of nothing measures nothing."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import triton

from tunedb._internal.control import let_pass
from tunedb.decorator.call.arguments import Call, Parameters

Heuristics = Sequence[tuple[str, Callable[..., Any]]]


def launches_nothing(
    call: Call, configs: Iterable[triton.Config], parameters: Parameters, heuristics: Heuristics
) -> bool:
    """Say whether a call computes nothing: no tensor has an element, or no config has a program to run.

    Raises what the grid function and the heuristics raise.
    """
    tensors = call.tensors().values()
    if tensors and not any(tensor.numel() for tensor in tensors):
        return True
    return all(has_no_programs(call, config, parameters, heuristics) for config in configs)


def has_no_programs(call: Call, config: triton.Config, parameters: Parameters, heuristics: Heuristics) -> bool:
    """Say whether the call's grid is empty with this config. Raises what the grid function and the heuristics raise."""
    grid = call.grid
    if callable(grid):
        seen = {**call.named, **call.extra, **config.all_kwargs()}
        for name, function in heuristics:
            seen[name] = function(seen)
        arguments = {name: seen[name] for name in parameters.names if name in seen}
        arguments = {**parameters.defaults, **arguments}
        if len(arguments) < len(parameters.names):
            return False  # an argument is missing, which the launch reports
        grid = grid(arguments)
    try:
        return math.prod(map(operator.index, grid)) <= 0
    except TypeError as error:  # it is no tuple of ints, which the launch reports
        let_pass(error)
        return False
