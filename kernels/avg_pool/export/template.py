"""The part of the exported module that exists for it alone: the choice of a config, the wrapper and `ModelNew`.

`module.py` copies it, with all that it calls: it uses torch, nn, triton, and functions and constants of this folder.
"""

from __future__ import annotations

import torch
import torch.nn as nn
import triton

from ...geometry import cdiv, output_length, power_of_2_from
from ..algorithms import algorithms, can_run, tiles_of
from ..algorithms.case import MAX_UNROLLED_WINDOW, WIDEST_ALIGNMENT, Case
from ..jit import avg_pool1d_forward_kernel
from ..launch import INT32_END, case_of, described, empty_pooled, simplified
from ..strides import alignment_of, collapsed, layout_of, view_of

MULTIPROCESSORS = 132  # of the device that the configs are for; 0 for the interpreter
TUNED: list[tuple[torch.dtype, str, tuple[int, ...], tuple[str, int, int, dict[str, int]]]] = []
LAUNCHES: dict[object, tuple[tuple[int, int, int], tuple[int, ...], dict[str, object]]] = {}  # by kind of call


def launch_of(
    x: torch.Tensor, y: torch.Tensor, kernel_size: int, stride: int, padding: int
) -> tuple[tuple[int, int, int], tuple[int, ...], dict[str, object]]:
    """Describe the launch that pools x into y: its grid, the numbers after the tensors, and what goes by name."""
    window, itemsize = (kernel_size, stride, padding), x.element_size()
    view = collapsed(view_of(x.shape, x.stride()))
    layout = layout_of(view)
    alignment = alignment_of(view, x.data_ptr(), itemsize, layout)
    case = Case(False, layout, itemsize, *view[0], y.shape[-1], *window, alignment=alignment)
    algorithm, block, per_program, options = choose(x.dtype, case, alignment)
    views = view_of(x.shape, x.stride()), view_of(y.shape, y.stride())
    source, target, tile = simplified(*views, x.shape[-1], window, (algorithm, block, per_program))
    addresses = x.data_ptr(), y.data_ptr()
    case = case_of(source, target, addresses, window, itemsize, False)
    programs, numbers, constants = described(source, target, addresses, case, tile, "window")
    return (programs, 1, 1), numbers, {**constants, **options, "enable_fp_fusion": True}


def choose(dtype: torch.dtype, case: Case, alignment: int) -> tuple[str, int, int, dict[str, int]]:
    """Return the config of the nearest tuned problem among those that can run, or the default."""
    facts = (case.batch, case.rows, case.length, case.kernel_size, case.stride, case.padding, alignment)
    best, config = float("inf"), default(case)
    for tuned_dtype, tuned_layout, tuned, (algorithm, block, per_program, options) in TUNED:
        distance = distance_between(facts, tuned)
        if (
            (tuned_dtype, tuned_layout) == (dtype, case.layout)
            and can_run(algorithm, block, case)
            and (tuned[3] <= MAX_UNROLLED_WINDOW) == (case.kernel_size <= MAX_UNROLLED_WINDOW)
            and block <= max(power_of_2_from(case.out_length), case.group)
            and per_program <= case.rows
            and case.batch * cdiv(case.rows, per_program) * cdiv(case.out_length, block) < INT32_END
            and distance < best
        ):
            best, config = distance, (algorithm, block, per_program, options)
    return config


def distance_between(facts: tuple[int, ...], others: tuple[int, ...]) -> float:
    """Return the product of the ratios of two problems' numbers; 1 for the same problem."""
    product = 1.0
    for a, b in zip(facts, others, strict=True):
        product *= (max(a, b) + 1) / (min(a, b) + 1)  # padding may be 0
    return product


def default(case: Case) -> tuple[str, int, int, dict[str, int]]:
    """Return the config of a problem that no tuned config fits: the most promising one."""
    for algorithm in algorithms(case):
        for block, per_program, warps in tiles_of(algorithm, case, MULTIPROCESSORS):
            return algorithm, block, per_program, {"num_warps": warps}
    raise AssertionError("no algorithm serves")  # "taps" serves all


def is_served(x: torch.Tensor, kernel_size: int, stride: int, padding: int) -> bool:
    """Say whether the kernel serves x: floating-point, on a GPU (in Triton's interpreter anywhere), no gradient."""
    return (
        (x.is_cuda or not isinstance(avg_pool1d_forward_kernel, triton.JITFunction))
        and x.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
        and x.dim() in (2, 3)
        and x.numel() > 0
        and kernel_size > 0
        and stride > 0
        and 0 <= padding <= kernel_size // 2
        and output_length(x.shape[-1], kernel_size, stride, padding) > 0
        and not (x.requires_grad and torch.is_grad_enabled())
    )


def avg_pool1d(x: torch.Tensor, kernel_size: int, stride: int, padding: int) -> torch.Tensor:
    """Pool x, (N, C, L) or (C, L), any strides. Torch serves or refuses what the kernel can't."""
    if not is_served(x, kernel_size, stride, padding):
        return nn.functional.avg_pool1d(x, kernel_size, stride, padding)
    y = empty_pooled(x, output_length(x.shape[-1], kernel_size, stride, padding))
    key = (x.shape, x.stride(), x.dtype, x.data_ptr() % WIDEST_ALIGNMENT, kernel_size, stride, padding)
    if key not in LAUNCHES:
        if len(LAUNCHES) == 4096:
            LAUNCHES.clear()  # too many shapes to remember
        LAUNCHES[key] = launch_of(x, y, kernel_size, stride, padding)
    grid, numbers, keywords = LAUNCHES[key]
    with torch.cuda.device(x.get_device()):  # -1, the CPU: no change
        avg_pool1d_forward_kernel[grid](x, y, *numbers, **keywords)
    return y


class ModelNew(nn.Module):
    """nn.AvgPool1d(kernel_size, stride, padding) on a tuned Triton kernel, forward only.

    If x needs a gradient, torch's own pooling is used, which has one.
    """

    def __init__(self, kernel_size: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = int(kernel_size), int(stride), int(padding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool (N, C, L) to (N, C, L_out)."""
        return avg_pool1d(x, self.kernel_size, self.stride, self.padding)
