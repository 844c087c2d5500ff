"""The hooks that `reset_to_zero` and `restore_value` stand for, if the user gave none."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tunedb.decorator.call.specialization import base_of
from tunedb.runtime.bits import as_numbers


class ArgumentGuards:
    """The two hooks around each launch of a sweep. An argument may be None. Threads have copies of their own."""

    def __init__(self, reset: Sequence[str], restore: Sequence[str]) -> None:
        self._reset = reset
        self._restore = restore
        self._by_thread = threading.local()  # several threads may tune at once

    def before(self, kwargs: Mapping[str, Any], reset_only: bool = False) -> None:
        """Set the arguments of `reset_to_zero` to zero, and copy those of `restore_value`."""
        for name in self._reset:
            if kwargs[name] is not None:
                _memory(kwargs[name]).zero_()
        if not reset_only:
            values = ((name, kwargs[name]) for name in self._restore)
            self._by_thread.copies = {name: _memory(value).clone() for name, value in values if value is not None}

    def after(self, kwargs: Mapping[str, Any], exception: Exception | None) -> None:  # noqa: ARG002 - Triton's form
        """Restore the arguments that `before` copied."""
        copies, self._by_thread.copies = getattr(self._by_thread, "copies", {}), {}
        for name, value in copies.items():
            _memory(kwargs[name]).copy_(value)


def _memory(value: Any) -> Any:
    """Return an argument's tensor in a form that torch can copy; anything else unchanged, as Triton does."""
    tensor = value if isinstance(value, torch.Tensor) else base_of(value)
    return value if tensor is None else as_numbers(tensor)
