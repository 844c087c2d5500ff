"""What the packages' operations have in common: their inputs, a call with its gradient, and which of them are taken."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Call = Callable[[], Any]  # returns a tensor
DISTRIBUTIONS = {"fla": "fla-core", "liger": "liger-kernel", "gemlite": "gemlite"}


class Make:
    """Makes an operation's inputs: the same values in each process."""

    def __init__(self, device: str = "cuda") -> None:
        import torch

        self._device, self._generator = device, torch.Generator(device).manual_seed(0)

    def __call__(self, *shape: int, grad: bool = True, dtype: Any = None) -> Any:
        """Return a tensor of normal values, bfloat16 unless another dtype is given."""
        import torch

        values = torch.randn(*shape, generator=self._generator, device=self._device)
        return values.to(dtype or torch.bfloat16).requires_grad_(grad)

    def gate(self, *shape: int) -> Any:
        """Return a tensor of logarithms of numbers between 0 and 1."""
        import torch

        values = torch.randn(*shape, generator=self._generator, device=self._device)
        return torch.nn.functional.logsigmoid(values).to(torch.bfloat16).requires_grad_(True)


Operation = Callable[[Make], Call]


def operations(package: str) -> dict[str, Operation]:
    """Return a package's operations by name, in the order in which they are taken."""
    found: dict[str, Operation] = importlib.import_module(f"benchmarks.adopt.{package}").OPERATIONS
    return found


def forward_and_backward(call: Call) -> Any:
    """Make the call, and its gradient if it has one. Return the result."""
    import torch

    result = call()
    if result.requires_grad:
        result.backward(torch.ones_like(result))
    return result.detach()


def taken(kernels: Mapping[str, Sequence[str]], at_least: int) -> tuple[list[str], int]:
    """Return the operations to take until they call that many different kernels, and how many they call."""
    names: list[str] = []
    called: set[str] = set()
    for name, of_operation in kernels.items():
        if len(called) >= at_least:
            break
        names.append(name)
        called |= set(of_operation)
    return names, len(called)


def spread(configs: Sequence[Any], count: int) -> list[Any]:
    """Return that many of the configs, evenly spaced, the first one and the last one among them."""
    if not count or len(configs) <= count:
        return list(configs)
    return [configs[number * (len(configs) - 1) // max(count - 1, 1)] for number in range(count)]
