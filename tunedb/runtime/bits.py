"""Tensors of dtypes that torch does not compute with, such as packed 4-bit floats, seen as integers of their size."""

from __future__ import annotations

import torch

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes
_NUMBERS = frozenset({
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex128, torch.complex64, torch.complex32,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
})  # fmt: skip


def is_number(dtype: torch.dtype) -> bool:
    """Say whether torch computes with a dtype: not with packed ones, nor with quantized ones and bare bits."""
    return dtype in _NUMBERS or (str(dtype).startswith("torch.float8") and "e8m0" not in str(dtype))


def as_numbers(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor that can be copied and compared: itself, or a view of its memory as integers of the same size.

    Unsigned integers of more than 8 bits are seen as signed ones, because some versions of torch compare no others.
    """
    dtype = tensor.dtype
    return tensor if is_number(dtype) else tensor.view(_INTEGERS[dtype.itemsize])
