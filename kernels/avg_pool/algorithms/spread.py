"""The gradient if a window covers several strides, by sums of powers of four. See `jit/spread.py`."""

from __future__ import annotations

from ...geometry import power_of_2_from
from .case import Case, Size, Tile
from .gather import gather_tiling, is_array_served, tile_of_array

FEWEST_STRIDES = 3  # that a window covers; else reading each window is cheaper
MOST_SLOTS = 4096  # of a tile: twice as many sums in float64 fill 64 KiB of shared memory
MOST_SLOTS_A_THREAD = 16  # 64 took 16 s to compile, and spilled
SPARE_SLOTS = 10  # those that a group takes with the ones that it needs
LEAST_WRITTEN = 0.8  # of a tile; half of a power of two would often be empty
LONGEST_SUM = 4095  # windows: six powers of four


def slots_of(block: int, case: Case) -> int:
    """Count the slots, a power of two, for the windows of a tile of `block` elements, or nearly as many."""
    if case.length >= block:
        slots = 1
        while fitting(slots, case) < LEAST_WRITTEN * block:
            slots *= 2
        return slots
    always, stride = case.kernel_size // case.stride, case.stride
    ends = max((case.length + case.padding - 1) // stride + 1, case.out_length + always)  # in the kernel: `per_row`
    behind = ends - (case.length - 1 + case.padding) // stride + case.padding // stride  # from a row's last one on
    rows_ends = (block - 1) // case.length + 1
    return power_of_2_from(always + (block - 2) // stride + SPARE_SLOTS + rows_ends * behind)


def fitting(slots: int, case: Case) -> int:
    """Count the elements of a tile in which at most one row ends and for which there are that many slots."""
    stride = case.stride
    spare = slots - case.kernel_size // stride - SPARE_SLOTS - (2 * (case.padding // stride) + 5)  # `behind` or more
    return spare * stride // case.group * case.group


def spread_serves(case: Case) -> bool:
    """Say whether the algorithm can serve; at stride 1 others are quicker."""
    is_covered = FEWEST_STRIDES <= case.kernel_size // case.stride <= LONGEST_SUM
    return is_array_served(case) and case.stride > 1 and is_covered


def spread_tile(size: Size, case: Case) -> Tile | None:
    """Return a tile of two or four groups a thread; None if it needs too many windows."""
    tile = tile_of_array(size, case, 2 * case.group)
    most = min(MOST_SLOTS, MOST_SLOTS_A_THREAD * 32 * size[0]) if size[1] <= 512 * size[0] else MOST_SLOTS
    return tile if tile is not None and slots_of(tile[0], case) <= most else None


def spread_tiling(
    tile: Tile, case: Case, are_aligned: tuple[bool, bool], are_in_rows: bool
) -> tuple[int, dict[str, object]]:
    """Return how many programs a batch entry needs, and the constants that are not the default."""
    block = tile[0]
    slots = slots_of(block, case)
    written = min(block, fitting(slots, case)) if case.length >= block else block
    programs, constants = gather_tiling((written, 1), case, are_aligned, are_in_rows)
    return programs, {**constants, "SHORT": case.length < block, "CHUNK": slots}
