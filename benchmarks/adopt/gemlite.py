"""Operations of GemLite: a linear layer of 8-bit weights, with the three kernels that its batch sizes take."""

from __future__ import annotations

from benchmarks.adopt.operations import Call, Make, Operation

SIZE = 1024


def vector(make: Make) -> Call:
    """One row."""
    return _linear(make, 1)


def few_rows(make: Make) -> Call:
    """16 rows."""
    return _linear(make, 16)


def matrix(make: Make) -> Call:
    """256 rows."""
    return _linear(make, 256)


def _linear(make: Make, rows: int) -> Call:
    import torch
    from gemlite.helper import A16W8

    weight = make(SIZE, SIZE, grad=False, dtype=torch.float16)
    layer = A16W8(device=str(weight.device), dtype=torch.float16).from_weights(weight)
    x = make(rows, SIZE, grad=False, dtype=torch.float16)
    return lambda: layer(x)


OPERATIONS: dict[str, Operation] = {operation.__name__: operation for operation in (vector, few_rows, matrix)}
