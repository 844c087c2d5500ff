"""Wide windows at stride 1, as sums of whole pieces that neighbouring threads share. See `jit/pieces.py`."""

from __future__ import annotations

from ...geometry import cdiv, power_of_2_from, power_of_2_to
from .case import Case, Size, Tile

MOST_IN_A_ROW = 2**30  # columns, and those around it: places in tiles at its ends fit into 32 bits
FEWEST_PIECES = 3  # in a window of which threads share some; those of rows go to "vectors"
NARROWEST_APART = 5  # columns of a window in the general layout: "taps" costs 6 instructions for each of them
MAX_GAP_IN_PIECES = 1  # elements between two columns, if they are read with these
MOST_COSTS = 1.4  # of a tile worth trying, in those of the cheapest


def pieces_serve(case: Case) -> bool:
    """Say whether the algorithm can serve."""
    least = FEWEST_PIECES * case.group if case.layout == "rows" else NARROWEST_APART
    return case.layout != "transposed" and case.stride == 1 and case.kernel_size >= least


def pieces_tile(size: Size, case: Case) -> Tile | None:
    """Return the tile of that size: a thread holds up to eight groups of any dtype; None if it makes no sense.

    Of rows that fit, it holds as many as it has room for: a row alone may be less than what pays for a program.
    """
    warps, elements = size
    groups = _groups(warps, elements, case)
    if groups is None:
        return None
    rows = _rows_held(groups, warps, elements, case)
    if elements <= 16 * 32 * warps:  # not in the interpreter
        if case.layout == "general" and elements > 8 * 32 * warps:
            return None  # pieces with gaps need twice the registers
        sizes = [(each, 32 * each * outputs) for each in (1, 2, 4, 8) for outputs in (16, 8, 4)]
        costs = [
            _cost(found, _rows_held(found, *each, case), each[0], case)
            for each in sizes
            if (found := _groups(*each, case)) is not None
        ]
        if _cost(groups, rows, warps, case) > MOST_COSTS * min(costs):
            return None
    return groups * case.group, rows


def pieces_tiling(
    tile: Tile,
    case: Case,
    are_aligned: tuple[bool, bool],
    are_in_rows: bool,  # noqa: ARG001 - what is written is, and the layout says it of what is read
) -> tuple[int, dict[str, object]]:
    """Return how many programs a batch entry needs, and the constants that are not the default."""
    width, groups = case.group, tile[0] // case.group
    gap = case.column_step - 1 if case.layout == "general" else 0
    constants: dict[str, object] = {"WIDE": case.read_length + 2 * case.kernel_size >= MOST_IN_A_ROW}
    constants["WHOLE"] = are_aligned[1] and case.columns % width == 0
    constants["ALIGNED"] = -1
    if 0 <= gap <= MAX_GAP_IN_PIECES:
        constants["GAP"] = gap
        constants["ALIGNED"] = int(are_aligned[0] and case.read_length % width == 0)
    if is_held(groups, case):
        return cdiv(case.rows, tile[1]), constants | {"SHORT": True}
    constants["CHUNK"] = margin_of(groups, case)
    slack = line_of(groups) * width - 1  # tiles begin where lines of memory do
    return case.rows * cdiv(case.columns + slack, written_by(groups, case) * width), constants


def margin_of(groups: int, case: Case) -> int:
    """Return how much of a row the last tile but one leaves, so that one tile holds its end; 0 if rows are too short.

    That tile has nothing of the row's begin then, neither what lies before it nor windows that it cuts.
    """
    width, line = case.group, line_of(groups) * case.group
    written, left = written_by(groups, case) * width, left_of(case)
    reach = max(written + case.kernel_size, groups * width) + width
    # What is read ends so far before that, and in the gradient what windows hold of x.
    margin = reach - (written - line + case.kernel_size - left)
    if case.is_backward:
        margin = max(margin, reach + case.kernel_size - case.padding - (written - line + 1 + left))
    margin = cdiv(max(margin, 1), line) * line
    fits = margin + line <= written and case.columns >= written + max(margin, left + case.padding + width) + line
    return margin if fits else 0


def left_of(case: Case) -> int:
    """Count the columns of the first window that lie before a row."""
    return case.kernel_size - 1 - case.padding if case.is_backward else case.padding


def is_held(groups: int, case: Case) -> bool:
    """Say whether a tile holds a row with its padding, and at least one piece after that."""
    return _held_by(case) <= groups


def is_narrow(case: Case) -> bool:
    """Say whether no pieces are shared."""
    return case.kernel_size < FEWEST_PIECES * case.group


def written_by(groups: int, case: Case) -> int:
    """Count the groups that a program writes: all it holds, or less those that need sums of later tiles."""
    halo = (case.kernel_size - 1) // case.group
    if is_narrow(case) or 3 * halo > groups or is_held(groups, case):
        return groups
    return (groups - halo) // line_of(groups) * line_of(groups)


def line_of(groups: int) -> int:
    """Return at multiples of how many groups in memory the tiles of a row begin."""
    return 8 if groups >= 32 else 1


def _held_by(case: Case) -> int:
    """Count the groups of a tile that holds a row."""
    return cdiv(max(left_of(case) + case.read_length, case.columns) + case.group - 1, case.group) + 1


def _groups(warps: int, elements: int, case: Case) -> int | None:
    """Return how many groups a tile of that size has: a power of two."""
    groups, halo = elements // 4, (case.kernel_size - 1) // case.group
    if warps == 8 and groups == 1024 and groups < 3 * halo <= 2 * groups:
        groups *= 2
    groups = min(groups, power_of_2_from(_held_by(case)))
    if elements <= 512 * warps and 3 * halo > groups and not is_held(groups, case):
        groups = min(groups, 64 * warps)  # scans need more registers
    if warps > 1 and groups * _rows_held(groups, warps, elements, case) < 32 * warps:
        return None
    return groups


def _rows_held(groups: int, warps: int, elements: int, case: Case) -> int:
    """Return how many rows a tile has, each of as many groups."""
    if not is_held(groups, case):
        return 1
    # Four groups of a thread, each with numbers of its own, need too many registers. A single warp exchanges by
    # shuffles, of which each group of a thread needs as many as it has groups.
    most = min(elements // 4, 64 * warps) if warps > 1 else 32
    return max(min(most // groups, power_of_2_to(case.rows)), 1)


def _cost(groups: int, rows: int, warps: int, case: Case) -> float:
    """Estimate the instructions for a row."""
    halo = (case.kernel_size - 1) // case.group
    written = written_by(groups, case)
    of_a_group = 70 + 6 * halo.bit_length()
    if written == groups and not is_held(groups, case) and not is_narrow(case):
        of_a_group = 260 + 25 * (halo // groups)
    programs = 1 / rows if is_held(groups, case) else cdiv(case.columns, written * case.group)
    if groups > 512:  # eight warps of four groups a thread leave a multiprocessor too few others
        programs *= 1.3
    return programs * warps * (100 + cdiv(groups * rows, 32 * warps) * of_a_group)
