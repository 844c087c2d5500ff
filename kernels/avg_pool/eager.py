"""Tests of which calls the kernel can serve: plain tensors in eager calls, with its dtypes, ranks and windows."""

from __future__ import annotations

import torch
from torch import Tensor

from tunedb.runtime.compat_torch import eager_test
from tunedb.runtime.compat_triton import is_interpreted

from ..geometry import Window
from .jit import avg_pool1d_forward_kernel

INTERPRETED = is_interpreted(avg_pool1d_forward_kernel)  # then the kernels run on CPU tensors
is_ordinary = eager_test(on_cpu=INTERPRETED)
_DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
_INT32 = 2**31


def is_supported(tensor: Tensor, window: Window) -> bool:
    """Say whether the kernel can serve this tensor and window; torch serves or refuses what it can't."""
    return is_supported_kind(tensor, window) and window.output_length(tensor.shape[-1]) >= 1


def is_supported_kind(tensor: Tensor, window: Window) -> bool:
    """Say whether the kernel can serve the tensor's dtype and rank, and the window, whatever the length of rows.

    Traced code can't always decide on a length.
    """
    return (
        tensor.dtype in _DTYPES
        and tensor.dim() in (2, 3)
        and 0 < window.kernel_size < _INT32
        and 0 < window.stride < _INT32
        and 0 <= window.padding <= window.kernel_size // 2
    )
