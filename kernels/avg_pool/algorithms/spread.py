"""The gradient if a window covers several strides, by sums of powers of four. See `jit/spread.py`."""

from __future__ import annotations

from ...geometry import power_of_2_from
from .case import Case, Size, Tile
from .gather import gather_tiling, is_array_served, tile_of_array

FEWEST_STRIDES = 3  # that a window covers; else reading each window is cheaper
MOST_SLOTS = 4096  # of a tile: twice as many sums in float64 fill 64 KiB of shared memory
MOST_SLOTS_A_THREAD = 16  # 64 took 16 s to compile, and spilled
SPARE_SLOTS = 10  # those that a group takes with the ones that it needs
COST_OF_SLOT = 3  # in elements
LONGEST_SUM = 4095  # windows: six powers of four


def slots_of(block: int, case: Case) -> tuple[int, int]:
    """Return how many slots, a power of two, serve a tile of `block` elements best, and how many of these they fit."""
    always, stride, length = case.kernel_size // case.stride, case.stride, case.length
    ends = max((length + case.padding - 1) // stride + 1, case.out_length + always)  # in the kernel: `per_row`
    behind = ends - (length - 1 + case.padding) // stride + case.padding // stride  # from a row's last one on
    spare = always + SPARE_SLOTS

    def fitting(slots: int) -> int:
        fit = 0
        for rows_ends in range(1, (block - 1) // length + 2):
            fit = max(fit, min((slots - spare - rows_ends * behind) * stride + 2, rows_ends * length, block))
        return fit // case.group * case.group

    slots = power_of_2_from(spare + (block - 2) // stride + ((block - 1) // length + 1) * behind)
    # Half of them may fit most of the tile, and leave less of the work for nothing.
    half = fitting(slots // 2)
    is_better = (COST_OF_SLOT * slots // 2 + block) * block < (COST_OF_SLOT * slots + block) * half
    return (slots // 2, half) if is_better else (slots, block)


def spread_serves(case: Case) -> bool:
    """Say whether the algorithm can serve; at stride 1 others are quicker."""
    is_covered = FEWEST_STRIDES <= case.kernel_size // case.stride <= LONGEST_SUM
    return is_array_served(case) and case.stride > 1 and is_covered


def spread_tile(size: Size, case: Case) -> Tile | None:
    """Return a tile of two or four groups a thread; None if it needs too many windows."""
    tile = tile_of_array(size, case, 2 * case.group)
    most = min(MOST_SLOTS, MOST_SLOTS_A_THREAD * 32 * size[0]) if size[1] <= 512 * size[0] else MOST_SLOTS
    return tile if tile is not None and slots_of(tile[0], case)[0] <= most else None


def spread_tiling(
    tile: Tile, case: Case, are_aligned: tuple[bool, bool], are_in_rows: bool
) -> tuple[int, dict[str, object]]:
    """Return how many programs a batch entry needs, and the constants that are not the default."""
    slots, written = slots_of(tile[0], case)
    programs, constants = gather_tiling((written, 1), case, are_aligned, are_in_rows)
    return programs, {**constants, "CHUNK": slots, "GAP": written}
