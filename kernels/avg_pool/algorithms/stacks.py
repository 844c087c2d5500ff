"""The transposed layout at stride 1 with wide windows, whose runs share what lies between. See `jit/stacks.py`.

BLOCK_OUT counts the elements that the threads of a program sum to one block each, ROWS_PER_PROG the blocks of a thread.
Of the constants, CHUNK is the number of channels of a program, and GAP the number of rows if columns have no gaps.
"""

from __future__ import annotations

from ...geometry import cdiv
from .case import Case, Size, Tile

BLOCK = 16  # columns; a thread writes as many outputs
# Columns of a window: of 150 (37 channels, float16) "columns" took 1.3 times as long, of 129 (64, float32) 0.7.
LEAST_STACKED = 10 * BLOCK
MOST_STACKED_CHANNELS = 64  # of a program
LEAST_STACKED_CHANNELS = 8
MOST_BLOCKS = 8192  # of a program, of all channels


def stacks_serve(case: Case) -> bool:
    """Say whether the algorithm can serve."""
    return (
        case.layout == "transposed"
        and case.stride == 1
        and LEAST_STACKED <= case.kernel_size <= case.length
        and case.kernel_size // BLOCK * LEAST_STACKED_CHANNELS * 2 <= MOST_BLOCKS
        and case.length + 2 * case.kernel_size < 2**30
    )


def stacks_tile(size: Size, case: Case) -> Tile | None:
    """Return the tile of that size; None if it makes no sense."""
    lanes, blocks = 32 * size[0], size[1] // BLOCK
    shared = case.kernel_size // BLOCK * min(LEAST_STACKED_CHANNELS, case.rows)  # blocks that neighbours sum too
    return (lanes * BLOCK, blocks // lanes) if 2 * shared <= blocks <= MOST_BLOCKS else None


def channels_of_stacks(blocks: int, case: Case) -> int:
    """Return how many channels a program has that sums so many blocks."""
    most = MOST_STACKED_CHANNELS
    while most > LEAST_STACKED_CHANNELS and 2 * most * (case.kernel_size // BLOCK) > blocks:
        most //= 2
    return cdiv(case.rows, cdiv(case.rows, most))


def stacks_tiling(
    tile: Tile,
    case: Case,
    are_aligned: tuple[bool, bool],  # noqa: ARG001
    are_in_rows: bool,  # noqa: ARG001
) -> tuple[int, dict[str, object]]:
    """Return how many programs a batch entry needs, and the constants."""
    blocks = tile[0] * tile[1] // BLOCK
    channels = channels_of_stacks(blocks, case)
    runs = blocks // channels - case.kernel_size // BLOCK + 1  # that a program writes
    return cdiv(case.rows, channels) * cdiv(cdiv(case.columns, BLOCK), runs), {"CHUNK": channels}


def stacks_reach(tile: Tile, case: Case, strides: tuple[int, int, int], is_short: bool) -> int:  # noqa: ARG001
    """Return a bound of the elements between two of a tile, in a tensor with these strides."""
    return (tile[0] * tile[1] + 2 * BLOCK + case.kernel_size) * strides[2] + case.rows
