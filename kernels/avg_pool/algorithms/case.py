"""What the choice of an algorithm and its launch depend on, in plain integers: no torch, no Triton.

An exported module holds copies of everything in this folder.
"""

from __future__ import annotations

WIDEST_ALIGNMENT = 16  # bytes: the widest access that a GPU has
MAX_UNROLLED_WINDOW = 32  # an unrolled window of 64 took 5-12 s to compile, one of 8 half a second
MAX_COLUMNS_IN_REGISTERS = 64  # 32-bit columns that a group's windows cover; 512 took minutes to compile, and spilled
WIDEST_AT_A_STRIDE = 1 << 20  # columns of kernel size and stride: their products have to fit into 32 bits

Tile = tuple[int, int]  # BLOCK_OUT and ROWS_PER_PROG
Size = tuple[int, int]  # warps of a program, elements of its tile


class Case:
    """One pooling, forward or backward. There are `batch` entries of `rows` rows; `layout` is that of what is read."""

    def __init__(
        self,
        is_backward: bool,
        layout: str,
        itemsize: int,
        batch: int,
        rows: int,
        length: int,
        out_length: int,
        kernel_size: int,
        stride: int,
        padding: int,
        row_step: int | None = None,
        alignment: int = 1,
        column_step: int = 1,
    ) -> None:
        self.is_backward, self.layout, self.itemsize = is_backward, layout, itemsize
        self.batch, self.rows = batch, rows
        self.length, self.out_length = length, out_length  # of a row of x, and of y
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        # Elements from a row of what is read to the next.
        self.row_step = self.read_length if row_step is None else row_step
        self.column_step = column_step  # elements from a column of what is read to the next
        self.alignment = alignment  # bytes: the largest power of two that divides the addresses and all pitches

    def __repr__(self) -> str:
        """Show every fact."""
        return f"Case({', '.join(f'{name}={value}' for name, value in vars(self).items())})"

    @property
    def columns(self) -> int:
        """The length of a row of what is written."""
        return self.length if self.is_backward else self.out_length

    @property
    def read_length(self) -> int:
        """The length of a row of what is read."""
        return self.out_length if self.is_backward else self.length

    @property
    def group(self) -> int:
        """Count the elements that fill 16 bytes."""
        return WIDEST_ALIGNMENT // self.itemsize
