"""The parameters of a kernel, and the arguments of one call of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tunedb.decorator.call.specialization import base_of


@dataclass(frozen=True)
class Parameters:
    """The parameters of a kernel: their names in order, which are constexpr, and the defaults that some have."""

    names: tuple[str, ...]
    constexprs: frozenset[str]
    defaults: Mapping[str, Any]
    is_plain: bool  # all can be given by position and by name
    variadic: str | None = None  # the one that takes the rest of the positional arguments

    @classmethod
    def of(cls, signature: inspect.Signature) -> Parameters:
        """Read the signature of the Python function under a jit function."""
        parameters = signature.parameters
        return cls(
            tuple(parameters),
            frozenset(
                name
                for name, parameter in parameters.items()
                if parameter.annotation is not parameter.empty and "constexpr" in str(parameter.annotation)
            ),
            {
                name: parameter.default
                for name, parameter in parameters.items()
                if parameter.default is not parameter.empty
            },
            all(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in parameters.values()),
            next((name for name, parameter in parameters.items() if parameter.kind is parameter.VAR_POSITIONAL), None),
        )


class Call:
    """One call: its grid, and its arguments as the caller gave them. It is dropped when the call is over."""

    __slots__ = ("args", "grid", "kwargs", "named")

    def __init__(
        self,
        names: Sequence[str],
        grid: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        variadic: str | None = None,
    ) -> None:
        self.grid = grid
        self.args = args
        self.kwargs = kwargs  # without `grid` and `warmup`, which Triton passes along with them
        self.named: dict[str, Any] = dict(zip(names, args, strict=False))
        if variadic is not None:
            place = names.index(variadic)
            self.named = {**dict(zip(names[:place], args, strict=False)), variadic: args[place:]}
        self.named.update(kwargs)

    @property
    def extra(self) -> dict[str, Any]:
        """The keyword arguments as Triton hands them to the user's functions."""
        return {"grid": self.grid, "warmup": False, **self.kwargs}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return every tensor by its argument's name: a descriptor's base, and `name.0` and so on of a tuple."""
        return {place: tensor for name, value in self.named.items() for place, tensor in tensors_of(name, value)}

    def empty_tensors(self) -> tuple[str, ...]:
        """Return the names of the tensors without elements. Such calls are problems of their own."""
        return tuple(name for name, tensor in self.tensors().items() if not tensor.numel())


def tensors_of(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors in one argument."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, tuple | list):
        for place, item in enumerate(value):
            yield from tensors_of(f"{name}.{place}", item)
    else:
        base = base_of(value)
        if base is not None:
            yield name, base


def is_on_host(tensor: torch.Tensor) -> bool:
    """Say whether a tensor lies in the host's memory, which a GPU reaches only if it is pinned."""
    return tensor.is_cpu
