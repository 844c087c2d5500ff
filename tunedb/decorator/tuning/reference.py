"""The user's reference: which arguments it gets, and what it says a launch must leave in them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from tunedb._internal.control import let_pass
from tunedb.decorator.call.arguments import Call
from tunedb.errors import SettingError
from tunedb.runtime.bits import as_numbers, is_number


def expected_results(reference: Callable[..., object], call: Call) -> dict[str, torch.Tensor]:
    """Return what a launch must leave in the call's tensors, by their names, with the tensors' dtypes.

    Raises SettingError if the reference returns anything but a mapping of tensors with these names and shapes.
    """
    results = reference(**_arguments_for(reference, call))
    tensors = call.tensors()
    if not isinstance(results, Mapping) or not results or not set(results) <= set(tensors):
        got = type(results).__name__ + ("" if isinstance(results, torch.Tensor) else f" {results}")
        raise SettingError(
            f"reference: expected a dict of tensors by argument, such as {{{next(iter(tensors), 'y')!r}: ...}}, got "
            f"{got}. The call's tensors are {', '.join(tensors)}."
        )
    for name, result in results.items():
        if not isinstance(result, torch.Tensor) or result.shape != tensors[name].shape:
            shape = tuple(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
            raise SettingError(
                f"reference: {name}: expected a tensor of shape {tuple(tensors[name].shape)}, got {shape}."
            )
    # Copies: the function may write into an argument and return it.
    return {name: _copy_like(name, result.detach(), tensors[name]) for name, result in results.items()}


def _copy_like(name: str, result: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy of a result with a tensor's dtype; of a dtype that torch does not compute with, its bits."""
    if not is_number(tensor.dtype) and as_numbers(result).dtype == as_numbers(tensor).dtype:
        return as_numbers(result).to(tensor.device, copy=True)
    try:
        return result.to(tensor.device, tensor.dtype, copy=True)
    # What torch raises for a dtype that it can't convert: also NotImplementedError, which is a RuntimeError.
    except RuntimeError as error:
        let_pass(error)
        raise SettingError(
            f"reference: {name}: expected a tensor of {tensor.dtype}, or its bits as {as_numbers(tensor).dtype}, got "
            f"{result.dtype}, which torch can't convert."
        ) from error


def _arguments_for(reference: Callable[..., object], call: Call) -> dict[str, Any]:
    """Return those of the call's arguments that the function has parameters for."""
    parameters = inspect.signature(reference).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return call.named
    by_name = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY)]
    missing = [p.name for p in by_name if p.name not in call.named and p.default is p.empty]
    if missing:
        raise SettingError(f"reference: the call has no argument {missing[0]}. It has {', '.join(call.named)}.")
    return {p.name: call.named[p.name] for p in by_name if p.name in call.named}
