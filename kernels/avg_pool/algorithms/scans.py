"""Wide windows at stride 1 by prefix sums of pieces of 16 bytes. See `jit/window_sums.py`."""

from __future__ import annotations

from .case import Case, Size, Tile
from .vectors import span, tile_of_groups, vectors_tiling

WIDEST_SCANNED = 8  # tiles that a window may cover


def scans_serve(case: Case) -> bool:
    """Say whether the algorithm can serve."""
    return case.layout == "rows" and case.stride == 1 and case.kernel_size >= 4 * case.group


def scans_tile(size: Size, case: Case) -> Tile | None:
    """Return the tile of that size; None if a window covers too many of them."""
    tile = tile_of_groups(size, case, 0 * span(case))
    return tile if tile is not None and case.kernel_size <= WIDEST_SCANNED * tile[0] else None


def scans_tiling(
    tile: Tile, case: Case, are_aligned: tuple[bool, bool], are_in_rows: bool
) -> tuple[int, dict[str, object]]:
    """Return how many programs a batch entry needs, and the constants that are not the default."""
    return vectors_tiling(tile, case, are_aligned, are_in_rows, can_be_short=False)
