"""What the hand-over file of average pooling says around its kernel: written out into it by `export.py` as it stands.

The functions may use only what that file has: torch, nn, triton, tl, the kernel, helpers and constants of the launcher
and of the space, and each other. Here they serve the tests that hold them equal to the op's ways.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
import triton

from ...geometry import cdiv, power_of_2_from, power_of_2_to
from ..algorithms import (
    LONGEST_UNROLLED_WINDOW,
    WIDEST_ALIGNMENT,
    algorithms,
    can_run,
    chunk_of,
    fitting,
    tiling,
)
from ..jit import avg_pool1d_forward_kernel
from ..launch import _empty

TILE = 512
TUNED: list[tuple[torch.dtype, str, tuple[int, ...], tuple[str, int, int, dict[str, int]]]] = []
LAUNCHES: dict[Any, Any] = {}


def out_length(length: int, kernel_size: int, stride: int, padding: int) -> int:
    return (length + 2 * padding - kernel_size) // stride + 1


def extents(tensor: torch.Tensor, collapse: bool = True) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Shape and strides as (batch, rows, columns): one batch entry with all rows, where they are evenly spaced."""
    shape, strides = tensor.shape, tensor.stride()
    batch, rows, columns = (1, *shape) if len(shape) == 2 else shape
    batch_stride, row_stride, column_stride = (0, *strides) if len(shape) == 2 else strides
    if collapse and batch > 1 and (rows == 1 or batch_stride == rows * row_stride):
        row_stride = row_stride if rows > 1 else batch_stride
        batch, rows, batch_stride = 1, batch * rows, 0
    return (batch, rows, columns), (batch_stride, row_stride, column_stride)


def layout_of(shape: tuple[int, int, int], strides: tuple[int, int, int]) -> str:
    if strides[2] == 1 or shape[2] == 1:
        return "rows"
    return "transposed" if strides[1] == 1 and shape[1] > 1 else "general"


def alignment_of(x: torch.Tensor, shape: tuple[int, int, int], strides: tuple[int, int, int], layout: str) -> int:
    """The largest power of two of bytes, up to 16, that divides the address and every pitch."""
    axes = (0, 2) if layout == "transposed" else (0, 1)
    bits = WIDEST_ALIGNMENT | x.data_ptr()
    for axis in axes:
        if shape[axis] > 1:
            bits |= strides[axis] * x.element_size()
    return bits & -bits


def choose(
    dtype: torch.dtype, layout: str, facts: tuple[int, ...], written: tuple[int, int, int]
) -> tuple[str, int, int, dict[str, int]]:
    """The config of the nearest tuned problem, itself if it is tuned, among those that are legal here."""
    kernel_size, stride = facts[3:5]
    batch, rows, out = written
    defaults = (
        default(algorithm, layout, rows, out, dtype.itemsize, kernel_size, stride)
        for algorithm in algorithms(layout, dtype.itemsize, kernel_size, stride, False)
    )
    best, config = (
        float("inf"),
        next(found for found in defaults if can_run(*found[:2], layout, dtype.itemsize, kernel_size, stride, False)),
    )
    for tuned_dtype, tuned_layout, tuned, (algorithm, block, per_program, options) in TUNED:
        near = distance(facts, tuned)
        if (
            (tuned_dtype, tuned_layout) == (dtype, layout)
            and can_run(algorithm, block, layout, dtype.itemsize, kernel_size, stride, False)
            and (tuned[3] <= LONGEST_UNROLLED_WINDOW) == (kernel_size <= LONGEST_UNROLLED_WINDOW)
            and block <= max(power_of_2_from(out), WIDEST_ALIGNMENT // dtype.itemsize)
            and per_program <= rows
            and batch * cdiv(rows, per_program) * cdiv(out, block) < 2**31
            and near < best
        ):
            best, config = near, (algorithm, block, per_program, options)
    return config


def distance(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """How far two problems are apart: the product of the ratios of their numbers; 1 for the same."""
    product = 1.0
    for a, b in zip(one, other, strict=True):
        product *= (max(a, b) + 1) / (min(a, b) + 1)  # padding may be 0
    return product


def default(
    algorithm: str, layout: str, rows: int, out: int, itemsize: int, kernel_size: int, stride: int
) -> tuple[str, int, int, dict[str, int]]:
    """One tile, as wide along memory as it can be, for one warp."""
    tile, least = TILE, 1
    if layout == "transposed":
        per_program = min(TILE, power_of_2_to(rows), 128)
        return algorithm, min(TILE // per_program, power_of_2_from(out)), per_program, {"num_warps": 1}
    if algorithm == "sums":
        tile = tile * (1 if kernel_size >= 2 * stride else 2) // chunk_of(kernel_size, stride)
    elif algorithm != "taps":
        least = WIDEST_ALIGNMENT // itemsize
        if algorithm == "vectors" and TILE <= 512:  # not in the interpreter
            tile = fitting(tile, 32, itemsize, kernel_size, stride, False)
    block = max(min(tile, power_of_2_from(out)), least)
    return algorithm, block, max(min(tile // block, power_of_2_to(rows)), 1), {"num_warps": 1}


def describe(
    x: torch.Tensor, y: torch.Tensor, kernel_size: int, stride: int, padding: int
) -> tuple[tuple[int, int, int], tuple[int, ...], dict[str, object]]:
    """The launch that pools x into y: its grid, the numbers after the tensors, and what goes by name."""
    shape, strides = extents(x)
    layout = layout_of(shape, strides)
    facts = (*shape, kernel_size, stride, padding, alignment_of(x, shape, strides, layout))
    collapse = extents(x)[0][0] == 1 and extents(y)[0][0] == 1
    (batch, rows, length), x_strides = extents(x, collapse)
    (_, _, out), y_strides = extents(y, collapse)
    algorithm, block, per_program, options = choose(x.dtype, layout, facts, (batch, rows, out))
    if batch == 1 and padding == 0 and stride == kernel_size and out * stride == length and x.is_contiguous():
        rows, length, out = 1, rows * length, rows * out  # no window knows which row it is in
        block, per_program = block * per_program, 1
        x_strides, y_strides = (0, length, 1), (0, out, 1)
    if y_strides[2] != 1 and out > 1:
        algorithm = "taps"  # a single column of x has the layout "rows" too, whatever y's
    written = (batch, rows, out)
    are_aligned = (
        alignment_of(x, (batch, rows, length), x_strides, layout) == WIDEST_ALIGNMENT,
        alignment_of(y, written, y_strides, layout_of(written, y_strides)) == WIDEST_ALIGNMENT,
    )
    window, itemsize = (kernel_size, stride, padding), x.element_size()
    is_in_rows = layout == "rows" and layout_of(written, y_strides) == "rows"
    programs, constants = tiling(
        algorithm,
        block,
        per_program,
        is_in_rows,
        written,
        length,
        window,
        are_aligned,
        itemsize,
        False,
    )
    reach = ((block + 1) * stride + kernel_size) * max(x_strides[2], y_strides[2], 1)
    if constants["SHORT"]:
        reach += block * per_program * max(x_strides[1], y_strides[1])
    constants |= {
        "DIVISOR": "window",
        "WIDE": reach >= 2**31,
        "ALGORITHM": algorithm,
        "BLOCK_OUT": block,
        "ROWS_PER_PROG": per_program,
    }
    numbers = (rows, length, out, kernel_size, *x_strides, *y_strides)
    return (programs, 1, 1), numbers, {**constants, **options, "enable_fp_fusion": True}


def is_served(x: torch.Tensor, kernel_size: int, stride: int, padding: int) -> bool:
    """Whether the kernel can: a floating-point tensor on a GPU (or anywhere in Triton's interpreter), no gradient."""
    return (
        (x.is_cuda or not isinstance(avg_pool1d_forward_kernel, triton.JITFunction))
        and x.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
        and x.dim() in (2, 3)
        and x.numel() > 0
        and kernel_size > 0
        and stride > 0
        and 0 <= padding <= kernel_size // 2
        and out_length(x.shape[-1], kernel_size, stride, padding) > 0
        and not (x.requires_grad and torch.is_grad_enabled())
    )


def avg_pool1d(x: torch.Tensor, kernel_size: int, stride: int, padding: int) -> torch.Tensor:
    """Pool x, (N, C, L) or (C, L), any strides. What the kernel can't serve, torch's own serves or refuses."""
    if not is_served(x, kernel_size, stride, padding):
        return nn.functional.avg_pool1d(x, kernel_size, stride, padding)
    y = _empty(x, out_length(x.shape[-1], kernel_size, stride, padding))
    key = (x.shape, x.stride(), x.dtype, x.data_ptr() % WIDEST_ALIGNMENT, kernel_size, stride, padding)
    if key not in LAUNCHES:
        if len(LAUNCHES) == 4096:
            LAUNCHES.clear()  # the shapes are too many to remember
        LAUNCHES[key] = describe(x, y, kernel_size, stride, padding)
    grid, numbers, keywords = LAUNCHES[key]
    with torch.cuda.device(x.get_device()):  # -1, the CPU: no change
        avg_pool1d_forward_kernel[grid](x, y, *numbers, **keywords)
    return y


class ModelNew(nn.Module):
    """Average pooling as nn.AvgPool1d(kernel_size, stride, padding) does it, by a tuned Triton kernel: forward only.

    Where x needs a gradient, torch's own pooling is used, which has one.
    """

    def __init__(self, kernel_size: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = int(kernel_size), int(stride), int(padding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool (N, C, L) to (N, C, L_out)."""
        return avg_pool1d(x, self.kernel_size, self.stride, self.padding)
