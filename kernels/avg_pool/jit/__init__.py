"""The two Triton kernels of average pooling, forward and backward, each with several algorithms.

ALGORITHM is a knob like the others: `algorithms.py` says which serve a problem, a sweep which of them is fastest.
"""

import triton
import triton.language as tl

from .gather import gather
from .short_rows import pool_short_rows
from .sums import forward_by_sums
from .taps import backward_by_taps, forward_by_taps
from .vectors import slide


@triton.jit
def avg_pool1d_forward_kernel(
    x,  # [batch, rows, length], with the strides below, in elements
    y,  # [batch, rows, out_length]
    rows,
    length,
    out_length,
    kernel_size,
    x_batch_stride,
    x_row_stride,
    x_col_stride,
    y_batch_stride,
    y_row_stride,
    y_col_stride,
    WINDOW: tl.constexpr,  # kernel_size if the taps are unrolled, 0 if they are looped over
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,  # see `tiles.divisor`
    ALIGNED: tl.constexpr,  # rows of x and y begin and end at multiples of 16 bytes; for "sums", windows begin there
    SHORT: tl.constexpr,  # a tile holds several rows, one after the other
    WIDE: tl.constexpr,  # offsets within a tile need 64 bits
    ALGORITHM: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    ROWS_PER_PROG: tl.constexpr,
    CHUNK: tl.constexpr,  # columns that "sums" reads at a time
):
    """y[b, r, o] = the mean of x[b, r, o * STRIDE - PADDING :][:kernel_size]."""
    if ALGORITHM == "vectors" or ALGORITHM == "scans":
        slide(
            x, y, rows, length, out_length, length, x_batch_stride, x_row_stride, y_batch_stride, y_row_stride,
            WINDOW, STRIDE, PADDING, DIVISOR, False, ALGORITHM == "scans", ALIGNED, SHORT,
            BLOCK_OUT, ROWS_PER_PROG,
        )  # fmt: skip
    elif ALGORITHM == "sums":
        forward_by_sums(
            x, y, rows, length, out_length, x_batch_stride, x_row_stride, y_batch_stride, y_row_stride,
            WINDOW, STRIDE, PADDING, DIVISOR, ALIGNED, BLOCK_OUT, ROWS_PER_PROG, CHUNK,
        )  # fmt: skip
    elif SHORT:
        pool_short_rows(
            x, y, rows, length, out_length, length, kernel_size, x_batch_stride, x_row_stride,
            y_batch_stride, y_row_stride, WINDOW, STRIDE, PADDING, DIVISOR, WIDE, False, BLOCK_OUT, ROWS_PER_PROG,
        )  # fmt: skip
    else:
        forward_by_taps(
            x, y, rows, length, out_length, kernel_size, x_batch_stride, x_row_stride, x_col_stride,
            y_batch_stride, y_row_stride, y_col_stride,
            WINDOW, STRIDE, PADDING, DIVISOR, WIDE, BLOCK_OUT, ROWS_PER_PROG,
        )  # fmt: skip


@triton.jit
def avg_pool1d_backward_kernel(
    grad_y,  # [batch, rows, out_length], with the strides below, in elements
    grad_x,  # [batch, rows, length]
    rows,
    length,
    out_length,
    kernel_size,
    y_batch_stride,
    y_row_stride,
    y_col_stride,
    x_batch_stride,
    x_row_stride,
    x_col_stride,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    ALIGNED: tl.constexpr,  # at stride 1 rows of both, else those of grad_x
    SHORT: tl.constexpr,
    WIDE: tl.constexpr,
    ALGORITHM: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    ROWS_PER_PROG: tl.constexpr,
    CHUNK: tl.constexpr,  # noqa: ARG001 - both kernels take the same constants
):
    """grad_x[b, r, i] = the sum of grad_y[b, r, o] / divisor(o) over the windows o that hold i."""
    if ALGORITHM == "vectors" or ALGORITHM == "scans":
        slide(
            grad_y, grad_x, rows, out_length, length, length, y_batch_stride, y_row_stride,
            x_batch_stride, x_row_stride,
            WINDOW, STRIDE, PADDING, DIVISOR, True, ALGORITHM == "scans", ALIGNED, SHORT,
            BLOCK_OUT, ROWS_PER_PROG,
        )  # fmt: skip
    elif ALGORITHM == "gather":
        gather(
            grad_y, grad_x, rows, length, out_length, y_batch_stride, y_row_stride, x_batch_stride, x_row_stride,
            WINDOW, STRIDE, PADDING, DIVISOR, ALIGNED, SHORT, BLOCK_OUT, ROWS_PER_PROG,
        )  # fmt: skip
    elif SHORT:
        pool_short_rows(
            grad_y, grad_x, rows, out_length, length, length, kernel_size, y_batch_stride, y_row_stride,
            x_batch_stride, x_row_stride, WINDOW, STRIDE, PADDING, DIVISOR, WIDE, True, BLOCK_OUT, ROWS_PER_PROG,
        )  # fmt: skip
    else:
        backward_by_taps(
            grad_y, grad_x, rows, length, out_length, kernel_size, y_batch_stride, y_row_stride, y_col_stride,
            x_batch_stride, x_row_stride, x_col_stride,
            WINDOW, STRIDE, PADDING, DIVISOR, WIDE, BLOCK_OUT, ROWS_PER_PROG,
        )  # fmt: skip
