"""The algorithms: which of them serve a problem, their tiles, and the constants of their launches.

Each has a file here, which says in plain integers what it can serve, and one of the same name in `jit/`, which says
what it does. Nothing here needs torch or Triton. An exported module holds copies of everything in this folder.
"""

from __future__ import annotations

from .case import Case, Tile
from .columns import columns_reach, columns_serve, columns_tile, columns_tiling
from .gather import gather_serves, gather_tile, gather_tiling
from .layers import layers_reach, layers_serve, layers_tile, layers_tiling
from .pieces import pieces_serve, pieces_tile, pieces_tiling
from .rows import rows_serve, rows_tile, rows_tiling
from .spread import spread_serves, spread_tile, spread_tiling
from .stacks import stacks_reach, stacks_serve, stacks_tile, stacks_tiling
from .strips import halo_of, strips_serve, strips_tile, strips_tiling
from .taps import taps_serve, taps_tile, taps_tiling
from .vectors import vectors_serve, vectors_tile, vectors_tiling

# The most promising first.
SERVES = {
    "rows": rows_serve,
    "vectors": vectors_serve,
    "pieces": pieces_serve,
    "gather": gather_serves,
    "spread": spread_serves,
    "strips": strips_serve,
    "layers": layers_serve,
    "stacks": stacks_serve,
    "columns": columns_serve,
    "taps": taps_serve,
}
TILES = {
    "rows": rows_tile,
    "vectors": vectors_tile,
    "pieces": pieces_tile,
    "gather": gather_tile,
    "spread": spread_tile,
    "strips": strips_tile,
    "layers": layers_tile,
    "stacks": stacks_tile,
    "columns": columns_tile,
    "taps": taps_tile,
}
TILINGS = {
    "rows": rows_tiling,
    "vectors": vectors_tiling,
    "pieces": pieces_tiling,
    "gather": gather_tiling,
    "spread": spread_tiling,
    "strips": strips_tiling,
    "layers": layers_tiling,
    "stacks": stacks_tiling,
    "columns": columns_tiling,
    "taps": taps_tiling,
}
# For those whose tiles are not BLOCK_OUT columns of ROWS_PER_PROG rows: a bound of the elements between two of a tile.
REACHES = {
    "layers": layers_reach,
    "stacks": stacks_reach,
    "columns": columns_reach,
}


IN_GROUPS = "vectors", "gather", "spread", "pieces"  # their tiles hold whole groups of 16 bytes
INTO_ARRAYS = "vectors", "gather", "spread"  # they write the rows of a batch entry as one array
# The elements of the rows that they read may lie apart.
FROM_ANY_COLUMNS = "gather", "spread", "strips", "rows", "pieces"
ACROSS_ENTRIES = ("columns",)  # their SHORT tiles go on into the next batch entry
AS_ONE_ARRAY = ("layers",)  # they write all batch entries as one
# Of the tiles that are tried, warps of a program and elements for each of its threads: the best on average first.
SIZES = {
    "rows": ((1, 8), (1, 16), (4, 4), (4, 8), (4, 16)),
    "vectors": ((4, 16), (2, 16), (4, 8), (1, 4), (8, 8), (2, 4)),
    "pieces": ((2, 16), (4, 8), (4, 16), (1, 16), (2, 8), (8, 8), (8, 16)),
    "gather": ((2, 16), (4, 8), (4, 16), (8, 8), (2, 8)),
    "spread": ((4, 16), (2, 8), (8, 8), (4, 8), (2, 16), (8, 16)),
    "strips": ((1, 8), (4, 8), (2, 8), (8, 8), (2, 4), (1, 16), (4, 16), (8, 16)),
    "layers": ((2, 32), (4, 16), (8, 16), (4, 32), (2, 16), (8, 32)),
    "stacks": ((8, 256), (8, 128), (8, 512), (4, 256), (4, 512)),
    "columns": ((8, 8), (4, 8), (8, 16), (4, 16), (8, 4), (2, 8), (1, 16)),
    "taps": ((1, 8), (4, 8), (1, 4)),
}
# If "taps" alone can serve: warps, elements of a thread, and by how much a tile is less wide than it could be.
SIZES_ALONE = tuple(
    (warps, elements, narrower) for narrower in (1, 4) for warps in (1, 4, 2, 8) for elements in (16, 8, 4)
)
INTERPRETED_TILES = (65536, 16384, 4096)  # elements: the cost of the interpreter grows with programs, not with elements


def algorithms(case: Case) -> list[str]:
    """List the algorithms that can serve, the most promising first."""
    return [name for name, serves in SERVES.items() if serves(case)]


def tiles_of(algorithm: str, case: Case, multiprocessors: int) -> list[tuple[int, int, int]]:
    """List BLOCK_OUT, ROWS_PER_PROG and num_warps of the tiles that are tried, the most promising first.

    If a problem is so small that the first tile would leave some of the device's multiprocessors idle, those that
    make more programs come first. `multiprocessors` is 0 for the interpreter.
    """
    sizes: list[tuple[int, int]] = [(warps, 32 * warps * elements) for warps, elements in SIZES[algorithm]]
    if multiprocessors == 0:
        sizes = [(1, elements) for elements in INTERPRETED_TILES]
    tiles = [(*tile, size[0]) for size in sizes if (tile := TILES[algorithm](size, case)) is not None]
    if algorithm == "taps" and multiprocessors > 0 and algorithms(case) == ["taps"]:
        tiles = [(*taps_tile((w, 32 * w * elements), case, narrower), w) for w, elements, narrower in SIZES_ALONE]
    written = case.batch * case.rows * case.columns

    def idle(tile: tuple[int, int, int]) -> int:
        return max(multiprocessors - written // (tile[0] * tile[1]), 0)

    return sorted(dict.fromkeys(tiles), key=idle)


def can_run(algorithm: str, block: int, case: Case) -> bool:
    """Say whether the algorithm exists and can serve with tiles of `block` columns."""
    if algorithm not in SERVES or not SERVES[algorithm](case):
        return False
    least = {"rows": case.columns, "strips": halo_of(case) + 1} | dict.fromkeys(IN_GROUPS, case.group)
    return block >= least.get(algorithm, 1)


def tiling(
    algorithm: str, tile: Tile, case: Case, are_aligned: tuple[bool, bool], are_in_rows: bool
) -> tuple[int, dict[str, object]]:
    """Return how many programs write the case's batch entries, and the constants that go with their number.

    `are_aligned` says whether the address and all pitches of what is read, and of what is written, are multiples of
    16 bytes, without those of rows for INTO_ARRAYS; `are_in_rows` whether the elements of a row lie next to each other,
    both in what is read and written.
    """
    programs, constants = TILINGS[algorithm](tile, case, are_aligned, are_in_rows)
    if algorithm not in AS_ONE_ARRAY and not (constants.get("SHORT") and algorithm in ACROSS_ENTRIES):
        programs *= case.batch
    constants = {
        "WINDOW": case.kernel_size,
        "STRIDE": case.stride,
        "PADDING": case.padding,
        "ALIGNED": False,
        "SHORT": False,
        "WIDE": False,
        "CHUNK": 0,
        "WHOLE": False,
        "GAP": 0,
        **constants,
    }
    return programs, constants
