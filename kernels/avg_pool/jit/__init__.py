"""The two Triton kernels of average pooling, forward and backward, each with several algorithms.

ALGORITHM is a knob like the others: `algorithms.py` says which serve a problem, a sweep which of them is fastest.
"""

import triton
import triton.language as tl

from .columns import pool_columns, spread_columns
from .gather import gather
from .layers import spread_in_layers
from .pieces import pool_by_pieces
from .rows import backward_by_rows, backward_over_row_ends, forward_by_rows
from .short_rows import pool_short_rows
from .spread import spread_by_strips
from .stacks import pool_by_stacks
from .strips import forward_by_strips
from .taps import backward_by_taps, forward_by_taps
from .vectors import slide


@triton.jit
def avg_pool1d_forward_kernel(
    x,  # [batch, rows, length], with the strides below, in elements
    y,  # [batch, rows, out_length]
    batch,
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
    ALIGNED: tl.constexpr,  # rows of x and y begin and end at multiples of 16 bytes; for "strips", strips too
    SHORT: tl.constexpr,  # a tile holds several rows, one after the other; for "vectors", see `vectors.WALLS`
    WIDE: tl.constexpr,  # offsets within a tile need 64 bits
    ALGORITHM: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    ROWS_PER_PROG: tl.constexpr,
    CHUNK: tl.constexpr,  # columns that are read at a time, outputs that a thread of "vectors" writes at a time
    WHOLE: tl.constexpr,  # rows of y begin with groups of "vectors"; no load of "strips" is of two rows
    GAP: tl.constexpr,  # see `vectors.slide`
):
    """y[b, r, o] = the mean of x[b, r, o * STRIDE - PADDING :][:kernel_size]."""
    if ALGORITHM == "pieces":
        pool_by_pieces(
            x, y, rows, length, out_length, length, x_batch_stride, x_row_stride, x_col_stride,
            y_batch_stride, y_row_stride, WINDOW, PADDING, DIVISOR, False, ALIGNED, WHOLE, WIDE, GAP, CHUNK,
            SHORT, BLOCK_OUT, ROWS_PER_PROG,
        )  # fmt: skip
    elif ALGORITHM == "vectors":
        slide(
            x, y, rows, length, out_length, length, x_batch_stride, x_row_stride, y_batch_stride,
            WINDOW, STRIDE, PADDING, DIVISOR, False, ALIGNED, SHORT, WIDE, WHOLE, GAP, CHUNK,
            BLOCK_OUT * ROWS_PER_PROG,
        )  # fmt: skip
    elif ALGORITHM == "rows":
        forward_by_rows(
            x, y, rows, length, out_length, x_batch_stride, x_row_stride, x_col_stride, y_batch_stride, y_row_stride,
            WINDOW, STRIDE, PADDING, DIVISOR, SHORT % 2 == 1, SHORT >= 2, ALIGNED, BLOCK_OUT, ROWS_PER_PROG, CHUNK,
        )  # fmt: skip
    elif ALGORITHM == "strips":
        forward_by_strips(
            x, y, rows, length, out_length, x_batch_stride, x_row_stride, x_col_stride, y_batch_stride, y_row_stride,
            WINDOW, STRIDE, PADDING, DIVISOR, ALIGNED, SHORT, WIDE, WHOLE, BLOCK_OUT, CHUNK,
        )  # fmt: skip
    elif ALGORITHM == "columns":
        pool_columns(
            x, y, batch, rows, length, out_length, x_batch_stride, x_col_stride, y_batch_stride, y_col_stride,
            WINDOW, STRIDE, PADDING, DIVISOR, ALIGNED, SHORT, WIDE, BLOCK_OUT, ROWS_PER_PROG // ALIGNED, CHUNK,
            GAP,
        )  # fmt: skip
    elif ALGORITHM == "stacks":
        pool_by_stacks(
            x, y, rows, length, out_length, length, x_batch_stride, x_col_stride, y_batch_stride, y_col_stride,
            WINDOW, PADDING, DIVISOR, False, WIDE, BLOCK_OUT * ROWS_PER_PROG // 16, BLOCK_OUT // 16, CHUNK, GAP,
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
    batch,
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
    ALIGNED: tl.constexpr,  # at stride 1 rows of both; GRAIN of "gather"
    SHORT: tl.constexpr,
    WIDE: tl.constexpr,
    ALGORITHM: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    ROWS_PER_PROG: tl.constexpr,
    CHUNK: tl.constexpr,
    WHOLE: tl.constexpr,
    GAP: tl.constexpr,
):
    """grad_x[b, r, i] = the sum of grad_y[b, r, o] / divisor(o) over the windows o that hold i."""
    if ALGORITHM == "pieces":
        pool_by_pieces(
            grad_y, grad_x, rows, out_length, length, length, y_batch_stride, y_row_stride, y_col_stride,
            x_batch_stride, x_row_stride, WINDOW, PADDING, DIVISOR, True, ALIGNED, WHOLE, WIDE, GAP, CHUNK,
            SHORT, BLOCK_OUT, ROWS_PER_PROG,
        )  # fmt: skip
    elif ALGORITHM == "vectors":
        slide(
            grad_y, grad_x, rows, out_length, length, length, y_batch_stride, y_row_stride, x_batch_stride,
            WINDOW, STRIDE, PADDING, DIVISOR, True, ALIGNED, SHORT, WIDE, WHOLE, GAP, CHUNK,
            BLOCK_OUT * ROWS_PER_PROG,
        )  # fmt: skip
    elif ALGORITHM == "rows" and SHORT == 3:
        backward_over_row_ends(
            grad_y, grad_x, rows, length, out_length, y_batch_stride, y_row_stride, y_col_stride, x_batch_stride,
            WINDOW, STRIDE, PADDING, DIVISOR, BLOCK_OUT * ROWS_PER_PROG, CHUNK,
        )  # fmt: skip
    elif ALGORITHM == "rows":
        backward_by_rows(
            grad_y, grad_x, rows, length, out_length, y_batch_stride, y_row_stride, y_col_stride,
            x_batch_stride, x_row_stride,
            WINDOW, STRIDE, PADDING, DIVISOR, SHORT == 1, ALIGNED, BLOCK_OUT, ROWS_PER_PROG, CHUNK,
        )  # fmt: skip
    elif ALGORITHM == "gather":
        gather(
            grad_y, grad_x, rows, length, out_length, y_batch_stride, y_row_stride, y_col_stride, x_batch_stride,
            WINDOW, STRIDE, PADDING, DIVISOR, ALIGNED, SHORT, WIDE, BLOCK_OUT, CHUNK,
        )  # fmt: skip
    elif ALGORITHM == "spread":
        spread_by_strips(
            grad_y, grad_x, rows, length, out_length, y_batch_stride, y_row_stride, y_col_stride, x_batch_stride,
            WINDOW, STRIDE, PADDING, DIVISOR, ALIGNED, SHORT, WIDE, BLOCK_OUT, CHUNK, GAP,
        )  # fmt: skip
    elif ALGORITHM == "layers":
        spread_in_layers(
            grad_y, grad_x, batch, length, out_length, y_batch_stride, y_col_stride,
            WINDOW, STRIDE, PADDING, DIVISOR, CHUNK, SHORT, WIDE, BLOCK_OUT * ROWS_PER_PROG, GAP, WHOLE,
            ALIGNED,
        )  # fmt: skip
    elif ALGORITHM == "stacks":
        pool_by_stacks(
            grad_y, grad_x, rows, out_length, length, length, y_batch_stride, y_col_stride,
            x_batch_stride, x_col_stride,
            WINDOW, PADDING, DIVISOR, True, WIDE, BLOCK_OUT * ROWS_PER_PROG // 16, BLOCK_OUT // 16, CHUNK, GAP,
        )  # fmt: skip
    elif ALGORITHM == "columns":
        spread_columns(
            grad_y, grad_x, batch, rows, length, out_length, y_batch_stride, y_col_stride, x_batch_stride, x_col_stride,
            WINDOW, STRIDE, PADDING, DIVISOR, ALIGNED, SHORT, WIDE, BLOCK_OUT, ROWS_PER_PROG // ALIGNED, CHUNK,
            GAP,
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
