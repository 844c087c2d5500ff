"""The algorithms: which of them serve a problem, their tiles, and the constants of their launches.

Each has a file here, which says in plain integers what it can serve, and one of the same name in `jit/`, which says
what it does. Nothing here needs torch or Triton. An exported module holds copies of everything in this folder.
"""

from __future__ import annotations

from .case import Case, Size, Tile
from .gather import gather_serves, gather_tile, gather_tiling
from .scans import scans_serve, scans_tile, scans_tiling
from .sums import sums_serve, sums_tile, sums_tiling
from .taps import taps_serve, taps_tile, taps_tiling
from .vectors import vectors_serve, vectors_tile, vectors_tiling

# The most promising first.
SERVES = {
    "vectors": vectors_serve,
    "gather": gather_serves,
    "scans": scans_serve,
    "sums": sums_serve,
    "taps": taps_serve,
}
TILES = {
    "vectors": vectors_tile,
    "gather": gather_tile,
    "scans": scans_tile,
    "sums": sums_tile,
    "taps": taps_tile,
}
TILINGS = {
    "vectors": vectors_tiling,
    "gather": gather_tiling,
    "scans": scans_tiling,
    "sums": sums_tiling,
    "taps": taps_tiling,
}


IN_GROUPS = "vectors", "gather", "scans"  # their tiles hold whole groups of 16 bytes


def algorithms(case: Case) -> list[str]:
    """List the algorithms that can serve, the most promising first."""
    return [name for name, serves in SERVES.items() if serves(case)]


def tile_of_size(algorithm: str, size: Size, case: Case) -> Tile | None:
    """Return BLOCK_OUT and ROWS_PER_PROG of a tile; None if it makes no sense for the problem."""
    return TILES[algorithm](size, case)


def can_run(algorithm: str, block: int, case: Case) -> bool:
    """Say whether the algorithm exists and can serve with tiles of `block` columns."""
    if algorithm not in SERVES or not SERVES[algorithm](case):
        return False
    return block >= case.group or algorithm not in IN_GROUPS


def tiling(
    algorithm: str, tile: Tile, case: Case, are_aligned: tuple[bool, bool], are_in_rows: bool
) -> tuple[int, dict[str, object]]:
    """Return how many programs write the case's batch entries, and the constants that go with their number.

    `are_aligned` says whether the address and all pitches of what is read, and of what is written, are multiples of
    16 bytes; `are_in_rows` whether the elements of a row lie next to each other, both in what is read and written.
    """
    programs, constants = TILINGS[algorithm](tile, case, are_aligned, are_in_rows)
    constants = {
        "WINDOW": case.kernel_size,
        "STRIDE": case.stride,
        "PADDING": case.padding,
        "ALIGNED": False,
        "SHORT": False,
        "CHUNK": 0,
        **constants,
    }
    return case.batch * programs, constants
