"""The problem of one pooling: the facts of a tensor and a window that its speed depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from tunedb.core.problem import Problem
from tunedb.core.tagged import DtypeName

from ..geometry import Window
from .algorithms.case import Case
from .strides import View, alignment_of, collapsed, is_channels_last, layout_of, view_of

if TYPE_CHECKING:
    import torch

LAYOUTS = ("rows", "transposed", "general")
ITEMSIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}  # bytes, by torch's name of a dtype


@dataclass(frozen=True, slots=True)
class Pool:
    """The facts that the speed of one pooling depends on.

    There are `batch` entries of `rows` rows; batch is 1 if the rows of all entries are evenly spaced, as in a
    contiguous tensor. `layout` and `alignment` are those of the tensor that is read: x forward, grad_y backward.
    """

    batch: int
    rows: int
    length: int  # of a row of x, also in the backward
    window: Window  # normalised for `length`
    dtype: torch.dtype
    layout: str  # see `strides.layout_of`
    alignment: int  # bytes, 1 to 16: the largest power of two that divides the address and the pitches of rows

    @classmethod
    def of_input(cls, x: torch.Tensor, window: Window) -> Pool:
        """Describe the pooling of x of shape (N, C, L) or (C, L), any strides."""
        return cls._of(x, x.shape[-1], window)

    @classmethod
    def of_grad(cls, grad_y: torch.Tensor, length: int, window: Window) -> Pool:
        """Describe the gradient of rows of x of `length`; grad_y is (N, C, L_out) or (C, L_out), any strides."""
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
        """Describe the pooling of a new tensor x of this shape, (N, C, L) or (C, L), or of its new gradient grad_y.

        "rows" is contiguous, "transposed" is made as (N, L, C) and transposed, "general" is every second column of
        a contiguous tensor twice as long. `alignment` defaults to that of such a tensor.
        """
        facts = fresh_facts(shape, window, dtype.itemsize, layout, backward=backward)
        if alignment is not None:
            facts["alignment"] = alignment
        return cls(dtype=dtype, window=window.normalised(shape[-1]), **facts)

    @classmethod
    def of_problem(cls, problem: Problem) -> Pool:
        """Return the pool whose problem this is."""
        names = (field.name for field in fields(cls) if field.name != "window")
        return cls(window=window_of(problem), **{name: problem[name] for name in names})

    @classmethod
    def _of(cls, read: torch.Tensor, length: int, window: Window) -> Pool:
        view, layout = _seen(view_of(read.shape, read.stride()), length, read.dim())
        alignment = alignment_of(view, read.data_ptr(), read.element_size(), layout)
        return cls(*view[0][:2], length, window.normalised(length), read.dtype, layout, alignment)

    def case(self, is_backward: bool) -> Case:
        """Return what the choice of an algorithm depends on."""
        return _case(
            is_backward, self.layout, self.dtype.itemsize, (self.batch, self.rows, self.length), self.window,
            self.alignment,
        )  # fmt: skip

    def forward_problem(self) -> Problem:
        """Return the problem of the kernel `avg_pool1d`."""
        return Problem.of("avg_pool1d", **self._facts())

    def backward_problem(self) -> Problem:
        """Return the problem of the kernel `avg_pool1d_backward`."""
        return Problem.of("avg_pool1d_backward", **self._facts())

    def _facts(self) -> dict[str, object]:
        facts = {field.name: getattr(self, field.name) for field in fields(self)}
        return facts | asdict(facts.pop("window"))


def problem_of_shape(
    kernel: str, shape: Sequence[int], window: Window, dtype: str, layout: str, *, backward: bool
) -> Problem:
    """Return the problem of `Pool.of_shape` for torch's dtype of that name. Loads no torch."""
    facts = fresh_facts(shape, window, ITEMSIZES[dtype], layout, backward=backward)
    return Problem.of(kernel, dtype=DtypeName(f"torch.{dtype}"), **facts, **asdict(window.normalised(shape[-1])))


def window_of(problem: Problem) -> Window:
    """Return the window of a problem."""
    return Window(**{field.name: problem[field.name] for field in fields(Window)})


def case_of(problem: Problem, is_backward: bool) -> Case:
    """Return what the choice of an algorithm for a problem depends on. Loads no torch."""
    itemsize = ITEMSIZES[problem.dtype_name("dtype").name.removeprefix("torch.")]
    extents = problem["batch"], problem["rows"], problem["length"]
    return _case(is_backward, problem["layout"], itemsize, extents, window_of(problem), problem["alignment"])


def _case(
    is_backward: bool, layout: str, itemsize: int, extents: tuple[int, int, int], window: Window, alignment: int
) -> Case:
    out_length, sizes = window.output_length(extents[2]), (window.kernel_size, window.stride, window.padding)
    return Case(is_backward, layout, itemsize, *extents, out_length, *sizes, alignment=alignment)


def fresh_facts(shape: Sequence[int], window: Window, itemsize: int, layout: str, *, backward: bool) -> dict[str, Any]:
    """Return the facts of a new tensor of this shape, see `Pool.of_shape`, but for its window and dtype."""
    length = shape[-1]
    columns = window.output_length(length) if backward else length
    batch, rows = (1, shape[0]) if len(shape) == 2 else (shape[0], shape[1])
    view, layout = _seen(((batch, rows, columns), fresh_strides(rows, columns, layout)), length, len(shape))
    (batch, rows, _), _ = view
    alignment = alignment_of(view, 0, itemsize, layout)
    return {"batch": batch, "rows": rows, "length": length, "layout": layout, "alignment": alignment}


def _seen(view: View, length: int, dimensions: int) -> tuple[View, str]:
    """Return what is read with its batch entries seen as one where they can be, and its layout.

    `length` is that of a row of x, `dimensions` the number of the tensor's. A single column of gradients has the layout
    of the gradient that is written.
    """
    (_, rows, columns), strides = view
    if columns == 1 < min(rows, length) and dimensions == 3 and strides[1] == 1 and is_channels_last(*view):
        return view, "transposed"
    view = collapsed(view)
    return view, layout_of(view)


def fresh_strides(rows: int, columns: int, layout: str) -> tuple[int, int, int]:
    """Return batch, row and column stride, in elements, of a new tensor of this layout."""
    if layout == "transposed":
        return rows * columns, 1, rows
    spread = 2 if layout == "general" else 1
    return rows * columns * spread, columns * spread, spread
