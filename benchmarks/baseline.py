"""The plain kernel to beat: a program takes 128 outputs of one row, and loads each tap of their windows with a mask."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

TILE = 128


@triton.jit
def plain_pool_kernel(
    x, y, channels, length, out_length, batch_pitch, row_pitch, pitch, out_row_pitch, window, stride, padding,
    TILE: tl.constexpr,  # noqa: N803 - as Triton writes its constants
):  # fmt: skip
    """Average windows of one row of x, (N, C, L) of any strides, into a contiguous y; sums are float32."""
    row = tl.program_id(0)
    source = x + row // channels * batch_pitch + row % channels * row_pitch
    outputs = tl.program_id(1) * TILE + tl.arange(0, TILE)
    first = outputs * stride - padding
    total = tl.zeros([TILE], tl.float32)
    for tap in range(window):
        column = first + tap
        is_inside = (column >= 0) & (column < length) & (outputs < out_length)
        total += tl.load(source + column * pitch, is_inside, 0.0).to(tl.float32)
    tl.store(y + row * out_row_pitch + outputs, total / window, outputs < out_length)


def plain_pool(x: torch.Tensor, kernel_size: int, stride: int, padding: int) -> torch.Tensor:
    """Pool x, (N, C, L) or (C, L), to (N, C, L_out). Padding counts, and no window overhangs: the defaults of torch."""
    x = x.unsqueeze(0) if x.dim() == 2 else x
    batch, channels, length = x.shape
    out_length = (length + 2 * padding - kernel_size) // stride + 1
    y = x.new_empty((batch, channels, out_length))
    plain_pool_kernel[batch * channels, triton.cdiv(out_length, TILE)](
        x, y, channels, length, out_length, *x.stride(), out_length, kernel_size, stride, padding,
        TILE=TILE, num_warps=4,
    )  # fmt: skip
    return y
