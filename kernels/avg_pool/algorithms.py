"""Which algorithm may serve a problem, and what its launch needs, in plain integers: no torch, no Triton."""

from __future__ import annotations

from tunedb.kernels.geometry import cdiv

WIDEST_ALIGNMENT = 16  # bytes: the widest access that a GPU has
LONGEST_UNROLLED_WINDOW = 32  # an unrolled window of 64 took 5-12 s to compile, one of 8 half a second
MOST_IN_REGISTERS = 64  # columns that a thread's windows cover at a time; 512 took minutes to compile, and spilled
WIDEST_SCANNED = 8  # windows, in tiles


def algorithms(layout: str, itemsize: int, kernel_size: int, stride: int, is_backward: bool) -> list[str]:
    """The algorithms that may serve, most promising first.

    "vectors": 16-byte accesses, a thread's windows summed in its registers; "scans": the same for wide windows one
    apart, with prefix sums; "sums": forward, one sum per window, for wide windows that hardly overlap; "taps": one load
    per tap, whatever the problem.
    """
    width = WIDEST_ALIGNMENT // itemsize
    found = ["taps"]
    if layout == "rows":
        if not is_backward and 2 * width < kernel_size <= 4 * stride:
            found.insert(0, "sums")
        if (width - 1) * stride + kernel_size <= MOST_IN_REGISTERS:
            found.insert(0, "vectors")
        if stride == 1 and kernel_size >= 4 * width:
            found.insert(1 if kernel_size <= LONGEST_UNROLLED_WINDOW else 0, "scans")
    return found


def can_run(
    algorithm: str, block: int, layout: str, itemsize: int, kernel_size: int, stride: int, is_backward: bool
) -> bool:
    """Whether the algorithm may serve, in tiles that are `block` wide."""
    if algorithm not in algorithms(layout, itemsize, kernel_size, stride, is_backward):
        return False
    if algorithm in ("vectors", "scans") and block * itemsize < WIDEST_ALIGNMENT:
        return False
    return algorithm != "scans" or kernel_size <= WIDEST_SCANNED * block


def chunk_of(kernel_size: int) -> int:
    """How many columns of a window are read at a time where it is summed as a whole: those that leave least to mask."""
    return min((64, 32, 16), key=lambda chunk: cdiv(kernel_size, chunk) * chunk)


def tiling(
    algorithm: str,
    block: int,
    per_program: int,
    extents: tuple[int, int, int],
    window: tuple[int, int, int],
    are_aligned: tuple[bool, bool],
    itemsize: int,
    is_backward: bool,
) -> tuple[int, dict[str, object]]:
    """How many programs write `extents` (batch, rows, columns), and the constants that go with their number.

    `window` is kernel size, stride and padding; `are_aligned` says whether the address and all pitches of what is read,
    and of what is written, are multiples of 16 bytes.
    """
    batch, rows, columns = extents
    kernel_size, stride, padding = window
    width = WIDEST_ALIGNMENT // itemsize
    is_aligned, row_step, slack = False, 1, 0
    if algorithm == "sums":
        is_aligned = are_aligned[0] and stride % width == 0 and padding % width == 0
    elif algorithm != "taps":
        is_aligned = all(are_aligned)
        if is_backward and stride > 1:
            block *= stride  # it counts windows
        elif not is_aligned:  # tiles begin where stores are aligned, and a program's rows lie alike
            slack, row_step = width - 1, 1 if per_program == 1 else width
    constants: dict[str, object] = {
        "WINDOW": 0 if algorithm == "taps" and kernel_size > LONGEST_UNROLLED_WINDOW else kernel_size,
        "STRIDE": stride,
        "PADDING": padding,
        "ALIGNED": is_aligned,
        "CHUNK": chunk_of(kernel_size) if algorithm == "sums" else 0,
    }
    return batch * cdiv(rows, per_program * row_step) * row_step * cdiv(columns + slack, block), constants
