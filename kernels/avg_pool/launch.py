"""The host side of average pooling: outputs, and launches of the two kernels.

The op and the sweep make their outputs and launches here and nowhere else. An exported module holds copies of
`empty_pooled`, `simplified` and `described`: they use no class of the library, and no import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunedb.core.problem import Config
from tunedb.errors import TrialError
from tunedb.runtime.launch import Launch

from ..geometry import Window, do_windows_tile
from .algorithms import FROM_ANY_COLUMNS, INTO_ARRAYS, REACHES, can_run, tiling
from .algorithms.case import WIDEST_ALIGNMENT, Case
from .jit import avg_pool1d_backward_kernel, avg_pool1d_forward_kernel
from .strides import (
    View,
    alignment_of,
    are_rows_gapless,
    batch_entries,
    collapsed,
    flattened,
    is_channels_last,
    is_collapsible,
    is_gapless,
    is_in_rows,
    layout_between,
    view_of,
)

if TYPE_CHECKING:
    import torch

INT32_END = 2**31  # a grid holds fewer programs, and narrow offsets stay below it


def empty_output(x: torch.Tensor, window: Window) -> torch.Tensor:
    """Return an empty y of shape (N, C, L_out) or (C, L_out) for x, with the strides that torch's pooling gives it."""
    return empty_pooled(x, window.output_length(x.shape[-1]))


def empty_grad_input(grad_y: torch.Tensor, length: int) -> torch.Tensor:
    """Return an empty grad_x of shape (N, C, length) or (C, length): channels-last if grad_y is, else contiguous."""
    return empty_pooled(grad_y, length)


def empty_pooled(like: torch.Tensor, columns: int) -> torch.Tensor:
    """Return an empty tensor like `like` with that many columns: channels-last if `like` is, else contiguous."""
    if is_channels_last(tuple(like.shape), like.stride()):
        batch, channels, _ = like.shape
        return like.new_empty((batch, columns, channels)).transpose(1, 2)
    return like.new_empty((*like.shape[:-1], columns))


def forward_launch(x: torch.Tensor, y: torch.Tensor, window: Window, config: Config) -> Launch:
    """Return the launch that pools x into y, both (N, C, L) or (C, L), any strides, at least one row.

    Raises TrialError if the config can't run, or needs more programs than a grid holds.
    """
    return _launch(avg_pool1d_forward_kernel, x, y, x.shape[-1], window, config)


def backward_launch(grad_y: torch.Tensor, grad_x: torch.Tensor, window: Window, config: Config) -> Launch:
    """Return the launch that spreads grad_y over grad_x, both (N, C, L) or (C, L), any strides, at least one row.

    Raises TrialError if the config can't run, or needs more programs than a grid holds.
    """
    return _launch(avg_pool1d_backward_kernel, grad_y, grad_x, grad_x.shape[-1], window, config)


def _launch(
    jit: object, read: torch.Tensor, written: torch.Tensor, length: int, window: Window, config: Config
) -> Launch:
    """Describe the launch of `jit`, which reads `read` and writes `written`; `length` is that of a row of x."""
    window = window.normalised(length)
    sizes, itemsize = (window.kernel_size, window.stride, window.padding), read.element_size()
    is_backward = jit is avg_pool1d_backward_kernel
    knobs = config.constants
    source, target, tile = simplified(
        view_of(read.shape, read.stride()),
        view_of(written.shape, written.stride()),
        length,
        sizes,
        (knobs["ALGORITHM"], knobs["BLOCK_OUT"], knobs["ROWS_PER_PROG"]),
    )
    addresses = read.data_ptr(), written.data_ptr()
    case = case_of(source, target, addresses, sizes, itemsize, is_backward)
    if not can_run(*tile[:2], case):
        raise TrialError("pruned", f"{config} can't run {case}. Use ALGORITHM='taps'.")
    divisor = "row" if not window.count_include_pad else "padded" if window.ceil_mode else "window"
    programs, numbers, constants = described(source, target, addresses, case, tile, divisor)
    if programs >= INT32_END:
        batch, rows, _ = source[0]
        raise TrialError(
            "out_of_resources",
            f"{config} needs {programs} programs for {batch} x {rows} rows, but a grid holds {INT32_END - 1}. "
            "Use a larger BLOCK_OUT or ROWS_PER_PROG.",
        )
    return Launch(jit, (programs, 1, 1), (read, written, *numbers), constants, config.options)


def simplified(
    source: View, target: View, length: int, window: tuple[int, int, int], tile: tuple[str, int, int]
) -> tuple[View, View, tuple[str, int, int]]:
    """Return what is read, what is written and the tile with as few batch entries and rows as the result allows.

    `length` is that of a row of x, `window` is kernel size, stride and padding, `tile` is ALGORITHM, BLOCK_OUT and
    ROWS_PER_PROG.
    """
    algorithm, block, per_program = tile
    if is_collapsible(source) and is_collapsible(target):
        source, target = collapsed(source), collapsed(target)
    if algorithm != "rows" and do_windows_tile(length, *window) and is_gapless(source) and is_gapless(target):
        # No window depends on the row that it is in.
        source, target, block, per_program = flattened(source), flattened(target), block * per_program, 1
    if algorithm in ("columns", "layers", "stacks"):
        are_alike = source[1][1] == target[1][1] == 1
        if algorithm == "layers":  # columns and batch entries of what is written lie next to each other
            batch, rows, columns = target[0]
            are_alike &= target[1][2] == rows and (batch == 1 or target[1][0] == rows * columns)
    else:
        are_alike = is_in_rows(target) and (is_in_rows(source) or algorithm in FROM_ANY_COLUMNS)
    if not are_alike:
        algorithm = "taps"  # a single column has the layout "rows" too, whatever the other tensor's
    if algorithm in INTO_ARRAYS and not are_rows_gapless(target):
        algorithm = "taps"
    return source, target, (algorithm, block, per_program)


def case_of(
    source: View,
    target: View,
    addresses: tuple[int, int],
    window: tuple[int, int, int],
    itemsize: int,
    is_backward: bool,
) -> Case:
    """Return the case of a launch that reads `source` and writes `target`; `window` is kernel size, stride, padding."""
    (batch, rows, read_length), written_length = source[0], target[0][2]
    lengths = (written_length, read_length) if is_backward else (read_length, written_length)
    layout = layout_between(source, target)
    alignment = min(
        alignment_of(source, addresses[0], itemsize, layout), alignment_of(target, addresses[1], itemsize, layout)
    )
    return Case(is_backward, layout, itemsize, batch, rows, *lengths, *window, *source[1][1:2], alignment, source[1][2])


def described(
    source: View,
    target: View,
    addresses: tuple[int, int],
    case: Case,
    tile: tuple[str, int, int],
    divisor: str,
) -> tuple[int, tuple[int, ...], dict[str, object]]:
    """Describe a launch: how many programs, the numbers that follow its tensors, and its constants.

    The views and the tile are those that `simplified` returned; the addresses are of what is read and written.
    """
    strides = source[1]
    algorithm, block, per_program = tile
    views = source, target
    if algorithm in INTO_ARRAYS:  # their rows need not begin where batch entries do
        views = batch_entries(source), batch_entries(target)
    are_aligned = (
        alignment_of(views[0], addresses[0], case.itemsize, case.layout) == WIDEST_ALIGNMENT,
        alignment_of(views[1], addresses[1], case.itemsize, case.layout) == WIDEST_ALIGNMENT,
    )
    are_in_rows = is_in_rows(source) and is_in_rows(target)
    programs, constants = tiling(algorithm, (block, per_program), case, are_aligned, are_in_rows)
    # How far apart two elements of a tile may lie.
    reach = ((block + 1) * case.stride + case.kernel_size) * max(strides[2], target[1][2], 1)
    reach += case.read_length * strides[2]
    if constants["SHORT"] or algorithm == "vectors":  # a tile has some of several rows
        reach += min(block * per_program // case.columns + 2, case.rows) * max(strides[1], target[1][1])
    if algorithm in REACHES:
        reach = max(REACHES[algorithm](tile[1:], case, each, bool(constants["SHORT"])) for each in (strides, target[1]))
    constants |= {
        "DIVISOR": divisor,
        "WIDE": constants["WIDE"] or reach >= INT32_END,
        "ALGORITHM": algorithm,
        "BLOCK_OUT": block,
        "ROWS_PER_PROG": per_program,
    }
    if algorithm in ("columns", "stacks") and strides[2] == target[1][2] == case.rows and not constants["WIDE"]:
        constants["GAP"] = case.rows
    return (
        programs,
        (case.batch, case.rows, case.length, case.out_length, case.kernel_size, *strides, *target[1]),
        constants,
    )
