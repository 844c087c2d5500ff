"""Which calls the kernel can serve: plain tensors in plain eager calls, and the dtypes, ranks and windows it has."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from tunedb.runtime.compat_triton import is_interpreted

from ..geometry import Window
from .jit import avg_pool1d_forward_kernel

INTERPRETED = is_interpreted(avg_pool1d_forward_kernel)  # then the kernels run on CPU tensors
_DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
_INT32 = 2**31

# Looked up once: a call makes these tests in about a microsecond.
function_modes = torch._C._len_torch_function_stack
dispatch_modes = torch._C._len_torch_dispatch_stack
functorch_level = torch._C._functorch.peek_interpreter_stack
tracing_state = torch._C._get_tracing_state
_Parameter = torch.nn.Parameter


def is_ordinary(tensor: Any) -> bool:
    """Whether this is a plain tensor in a plain eager call, which a launch by address can serve.

    A dual tensor, for one, has an address and a plain type: a launch would lose its tangent without a word.
    """
    kind = type(tensor)
    return (
        (kind is Tensor or kind is _Parameter)
        and (tensor.is_cpu if INTERPRETED else tensor.is_cuda)
        and (not function_modes() or _is_default_device())
        and not dispatch_modes()
        and functorch_level() is None
        and forward_ad._current_level < 0
        and not tensor.is_neg()
        and tracing_state() is None
    )


def _is_default_device() -> bool:
    """Whether the torch-function modes are all `torch.set_default_device`'s, which has no say in a call like ours."""
    return all(isinstance(mode, DeviceContext) for mode in _get_current_function_mode_stack())


def is_supported(tensor: Tensor, window: Window) -> bool:
    """Whether the kernel can serve this tensor and window; what it can't, torch's own serves or refuses."""
    return is_of_our_kind(tensor, window) and window.output_length(tensor.shape[-1]) >= 1


def is_of_our_kind(tensor: Tensor, window: Window) -> bool:
    """`is_supported`, but for the length, on which traced code can't always decide."""
    return (
        tensor.dtype in _DTYPES
        and tensor.dim() in (2, 3)
        and 0 < window.kernel_size < _INT32
        and 0 < window.stride < _INT32
        and 0 <= window.padding <= window.kernel_size // 2
    )
