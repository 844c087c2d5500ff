"""The gradient in the transposed layout at strides of 2 or more, written as one array. See `jit/layers.py`.

BLOCK_OUT counts the elements of a tile, of all channels. Of the constants, ALIGNED is how many elements a thread writes
in one access, CHUNK the number of channels, GAP how many strips a tile may reach into, WHOLE says that batch entries
are whole strips or that there is one, and SHORT that more than one may end in a tile.
"""

from __future__ import annotations

from ...geometry import cdiv, power_of_2_from, power_of_2_to
from .case import Case, Size, Tile

MOST_COVERING = 8  # whole windows that hold a strip
MOST_PLACES = 1 << 30  # in an entry, and in the strips of a tile
MOST_VALUES = 4096  # that a tile hands out
LEAST_USES = 4  # of a value: it costs as much as two elements
WIDEST_LAYERS = 1 << 15  # elements of a tile
FEW_CHANNELS = 128  # with more, lanes that write eight elements each collide in the banks of shared memory


def layers_serve(case: Case) -> bool:
    """Say whether the algorithm can serve."""
    return (
        case.is_backward
        and case.layout == "transposed"
        and case.stride > 1
        and case.kernel_size // case.stride <= MOST_COVERING
        and case.rows * (case.length + case.padding + 2 * case.stride + case.kernel_size) < MOST_PLACES
        and case.rows * strips_of_tile(1, case) <= MOST_VALUES
    )


def layers_tile(size: Size, case: Case) -> Tile | None:
    """Return the tile of that size; None if it makes no sense."""
    elements = min(size[1], WIDEST_LAYERS)
    values = power_of_2_from(case.rows * strips_of_tile(elements, case))
    uses = LEAST_USES if case.rows % 2 == 0 else LEAST_USES // 2  # `columns` writes odd channels one by one
    return (elements, 1) if values <= min(elements // uses, MOST_VALUES) else None


def layers_tiling(
    tile: Tile,
    case: Case,
    are_aligned: tuple[bool, bool],  # noqa: ARG001
    are_in_rows: bool,  # noqa: ARG001
) -> tuple[int, dict[str, object]]:
    """Return how many programs all batch entries need, and the constants."""
    elements = tile[0] * tile[1]
    size = case.rows * case.length
    return cdiv(case.batch * size, elements), {
        "ALIGNED": min(case.group, power_of_2_to(case.rows), 8 if case.rows <= FEW_CHANNELS else 4),
        "CHUNK": case.rows,
        "GAP": strips_of_tile(elements, case),
        "SHORT": size < elements,
        "WHOLE": case.batch == 1 or missing_columns(case) == 0,
        "WIDE": case.batch * size + elements >= 2**31,
    }


def strips_of_tile(elements: int, case: Case) -> int:
    """Return how many strips a tile may reach into."""
    strip, size = case.rows * case.stride, case.rows * case.length
    ends = 0 if case.batch == 1 else cdiv(elements, size)
    return (strip + elements + ends * case.rows * missing_columns(case) - 2) // strip + 1


def missing_columns(case: Case) -> int:
    """Return how many columns would fill the strips of a batch entry, from the first window's start on."""
    return cdiv(case.length + case.padding, case.stride) * case.stride - case.length


def layers_reach(tile: Tile, case: Case, strides: tuple[int, int, int], is_short: bool) -> int:  # noqa: ARG001
    """Return a bound of the elements between two of a tile, in a tensor with these strides."""
    elements = tile[0] * tile[1]
    entries = min(case.batch, cdiv(elements, case.rows * case.length) + 1)
    return (case.length + case.kernel_size + case.stride) * strides[2] + entries * strides[0] + case.rows
