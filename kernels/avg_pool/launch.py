"""The host side of average pooling: what a tensor and a window make (`Pool`), outputs, and launches.

The op and the sweep build their problems, outputs and launches here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import torch

from tunedb.core.problem import Config, Problem
from tunedb.errors import TrialError
from tunedb.runtime.launch import Launch

from ..geometry import Window
from .algorithms import WIDEST_ALIGNMENT, can_run, tiling
from .jit import avg_pool1d_backward_kernel, avg_pool1d_forward_kernel

LAYOUTS = ("rows", "transposed", "general")
_INT32_END = 2**31


@dataclass(frozen=True, slots=True)
class Pool:
    """All that the speed of one pooling depends on: the facts of its problem.

    `batch` entries of `rows` rows; batch is 1 where the rows of all entries are evenly spaced, as in a contiguous
    tensor. `layout` and `alignment` are those of the tensor that is read: x going forward, grad_y going backward.
    """

    batch: int
    rows: int
    length: int  # of a row of x, also going backward
    window: Window  # normalised for `length`
    dtype: torch.dtype
    layout: str  # "rows": neighbours in a row lie side by side; "transposed": rows do; "general": neither
    alignment: int  # bytes, 1 to 16: the largest power of two that divides the address and the pitches of rows

    @classmethod
    def of_input(cls, x: torch.Tensor, window: Window) -> Pool:
        """The pool of x of shape (N, C, L) or (C, L), any strides."""
        return cls._of(x, x.shape[-1], window)

    @classmethod
    def of_grad(cls, grad_y: torch.Tensor, length: int, window: Window) -> Pool:
        """The pool of grad_y of shape (N, C, L_out) or (C, L_out), any strides, for rows of x of `length`."""
        return cls._of(grad_y, length, window)

    @classmethod
    def of_shape(
        cls,
        shape: Sequence[int],
        window: Window,
        dtype: torch.dtype,
        layout: str = "rows",
        alignment: int | None = None,
        backward: bool = False,
    ) -> Pool:
        """The pool of a fresh tensor x of this shape, (N, C, L) or (C, L), or of its fresh gradient grad_y.

        "rows" is contiguous, "transposed" is made as (N, L, C) and transposed, "general" is every second column of
        a contiguous tensor twice as long. Without `alignment`, that of such a tensor.
        """
        length = shape[-1]
        columns = window.output_length(length) if backward else length
        batch, rows = (1, shape[0]) if len(shape) == 2 else (shape[0], shape[1])
        strides = fresh_strides(rows, columns, layout)
        with_batch = _Strided((batch, rows, columns), strides).collapsed()
        return cls(
            *with_batch.shape[:2],
            length,
            window.normalised(length),
            dtype,
            with_batch.layout,
            with_batch.alignment(0, dtype.itemsize) if alignment is None else alignment,
        )

    @classmethod
    def of_problem(cls, problem: Problem) -> Pool:
        """The pool that made the problem."""
        window = Window(**{field.name: problem[field.name] for field in fields(Window)})
        names = (field.name for field in fields(cls) if field.name != "window")
        return cls(window=window, **{name: problem[name] for name in names})

    @classmethod
    def _of(cls, read: torch.Tensor, length: int, window: Window) -> Pool:
        strided = _Strided.of(read).collapsed()
        batch, rows, _ = strided.shape
        alignment = strided.alignment(read.data_ptr(), read.element_size())
        return cls(batch, rows, length, window.normalised(length), read.dtype, strided.layout, alignment)

    def forward_problem(self) -> Problem:
        """The problem of the kernel `avg_pool1d`."""
        return Problem.of("avg_pool1d", **self._facts())

    def backward_problem(self) -> Problem:
        """The problem of the kernel `avg_pool1d_backward`."""
        return Problem.of("avg_pool1d_backward", **self._facts())

    def _facts(self) -> dict[str, object]:
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return own | asdict(own.pop("window"))


def fresh_strides(rows: int, columns: int, layout: str) -> tuple[int, int, int]:
    """Batch, row and column stride in elements of a tensor that was just made in this layout."""
    if layout == "transposed":
        return rows * columns, 1, rows
    spread = 2 if layout == "general" else 1
    return rows * columns * spread, columns * spread, spread


@dataclass(frozen=True, slots=True)
class _Strided:
    """The extents and strides, in elements, of a tensor seen as (batch, rows, columns)."""

    shape: tuple[int, int, int]
    strides: tuple[int, int, int]

    @classmethod
    def of(cls, tensor: torch.Tensor) -> _Strided:
        shape, strides = tuple(tensor.shape), tensor.stride()
        if len(shape) == 2:
            shape, strides = (1, *shape), (0, *strides)
        return cls(shape, strides)  # type: ignore[arg-type]

    def is_in_rows(self) -> bool:
        """Whether neighbours in a row lie side by side."""
        return self.strides[2] == 1 or self.shape[2] == 1

    def is_collapsible(self) -> bool:
        """Whether the rows of all batch entries are evenly spaced."""
        batch, rows, _ = self.shape
        return batch == 1 or rows == 1 or self.strides[0] == rows * self.strides[1]

    def collapsed(self) -> _Strided:
        """With one batch entry that holds all rows, where they are evenly spaced."""
        batch, rows, columns = self.shape
        if batch == 1 or not self.is_collapsible():
            return self
        row_stride = self.strides[1] if rows > 1 else self.strides[0]
        return _Strided((1, batch * rows, columns), (0, row_stride, self.strides[2]))

    def is_gapless(self) -> bool:
        """Whether this is one batch entry whose rows follow one another without a gap."""
        batch, rows, columns = self.shape
        return batch == 1 and self.is_in_rows() and (rows == 1 or self.strides[1] == columns)

    def flattened(self) -> _Strided:
        """The rows of a gapless one as one row."""
        _, rows, columns = self.shape
        return _Strided((1, 1, rows * columns), (0, rows * columns, 1))

    @property
    def layout(self) -> str:
        if self.is_in_rows():
            return "rows"
        return "transposed" if self.strides[1] == 1 and self.shape[1] > 1 else "general"

    def alignment(self, address: int, itemsize: int) -> int:
        """The largest of 16, 8, 4, 2, 1 that divides the address and every pitch, in bytes.

        A pitch is the stride of an axis that is neither contiguous nor of extent 1; the general layout's columns are
        read one by one and don't count.
        """
        axes = {"rows": (0, 1), "transposed": (0, 2), "general": (0, 1)}[self.layout]
        pitches = (self.strides[axis] * itemsize for axis in axes if self.shape[axis] > 1)
        return math.gcd(WIDEST_ALIGNMENT, address, *pitches)

    def is_aligned(self, address: int, itemsize: int) -> bool:
        """Whether every row begins at a multiple of 16 bytes."""
        return self.alignment(address, itemsize) == WIDEST_ALIGNMENT


def is_channels_last(x: torch.Tensor) -> bool:
    """Whether torch gives the pooled x channels-last strides: `is_channels_last_strides_2d` of x as (N, C, 1, L)."""
    if x.dim() != 3:
        return False
    batch, channels, length = x.shape
    batch_stride, channel_stride, stride = x.stride()
    plane = length * stride
    return (
        batch > 0
        and channels > 0
        and channel_stride != 0
        and stride >= channels * channel_stride
        and batch_stride >= plane
        and plane != channel_stride
    )


def empty_output(x: torch.Tensor, window: Window) -> torch.Tensor:
    """An empty y of shape (N, C, L_out) or (C, L_out) for x, with the strides that torch's own pooling gives it."""
    return _empty(x, window.output_length(x.shape[-1]))


def empty_grad_input(grad_y: torch.Tensor, length: int) -> torch.Tensor:
    """An empty grad_x of shape (N, C, length) or (C, length): channels-last where grad_y is, else contiguous."""
    return _empty(grad_y, length)


def _empty(like: torch.Tensor, columns: int) -> torch.Tensor:
    if is_channels_last(like):
        batch, channels, _ = like.shape
        return like.new_empty((batch, columns, channels)).transpose(1, 2)
    return like.new_empty((*like.shape[:-1], columns))


def forward_launch(x: torch.Tensor, y: torch.Tensor, window: Window, config: Config) -> Launch:
    """The launch that pools x into y, both (N, C, L) or (C, L) with any strides and at least one row.

    Raises TrialError where the config needs more programs than a grid holds.
    """
    return _launch(avg_pool1d_forward_kernel, x, y, x.shape[-1], y.shape[-1], window, config)


def backward_launch(grad_y: torch.Tensor, grad_x: torch.Tensor, window: Window, config: Config) -> Launch:
    """The launch that spreads grad_y over grad_x, both (N, C, L) or (C, L) with any strides and at least one row.

    Raises TrialError where the config needs more programs than a grid holds.
    """
    return _launch(avg_pool1d_backward_kernel, grad_y, grad_x, grad_x.shape[-1], grad_y.shape[-1], window, config)


def _launch(
    jit: object,
    read: torch.Tensor,
    written: torch.Tensor,
    length: int,
    out_length: int,
    window: Window,
    config: Config,
) -> Launch:
    window = window.normalised(length)
    source, target = _Strided.of(read), _Strided.of(written)
    if source.is_collapsible() and target.is_collapsible():
        source, target = source.collapsed(), target.collapsed()
    knobs = config.constants
    if window.tiles(length) and source.is_gapless() and target.is_gapless():  # no window knows which row it is in
        knobs |= {"BLOCK_OUT": knobs["BLOCK_OUT"] * knobs["ROWS_PER_PROG"], "ROWS_PER_PROG": 1}
        rows = source.shape[1]
        source, target, length, out_length = source.flattened(), target.flattened(), rows * length, rows * out_length
    batch, rows, _ = source.shape
    if not (source.is_in_rows() and target.is_in_rows()):
        knobs["ALGORITHM"] = "taps"  # a single column has the layout "rows" too, whatever the other tensor's
    itemsize = read.element_size()
    algorithm, block, is_backward = knobs["ALGORITHM"], knobs["BLOCK_OUT"], jit is avg_pool1d_backward_kernel
    if not can_run(algorithm, block, source.layout, itemsize, window.kernel_size, window.stride, is_backward):
        raise TrialError(
            "pruned", f"{config} can't run {window} in {read.dtype} and layout {source.layout}. Use ALGORITHM='taps'."
        )
    programs, constants = tiling(
        algorithm,
        block,
        knobs["ROWS_PER_PROG"],
        source.is_in_rows() and target.is_in_rows(),
        target.shape,
        source.shape[2],
        (window.kernel_size, window.stride, window.padding),
        (source.is_aligned(read.data_ptr(), itemsize), target.is_aligned(written.data_ptr(), itemsize)),
        itemsize,
        is_backward,
    )
    if programs >= _INT32_END:
        raise TrialError(
            "out_of_resources",
            f"{config} needs {programs} programs for {batch} x {rows} rows, a grid holds {_INT32_END - 1}. "
            "Use a larger BLOCK_OUT or ROWS_PER_PROG.",
        )
    step = max(source.strides[2], target.strides[2], 1)
    reach = ((block + 1) * window.stride + window.kernel_size) * step
    if constants["SHORT"]:  # a tile's rows, at most one an element
        reach += block * knobs["ROWS_PER_PROG"] * max(source.strides[1], target.strides[1])
    constants |= knobs | {
        "DIVISOR": "row" if not window.count_include_pad else "padded" if window.ceil_mode else "window",
        "WIDE": reach >= _INT32_END,
    }
    numbers = (rows, length, out_length, window.kernel_size, *source.strides, *target.strides)
    return Launch(jit, (programs, 1, 1), (read, written, *numbers), constants, config.options)
