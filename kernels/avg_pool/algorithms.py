"""Algorithms that can serve a problem, and the constants of their launches, in plain integers: no torch, no Triton.

An exported module holds copies of these functions: they use no class, and no import.
"""

from __future__ import annotations

from ..geometry import cdiv, power_of_2_from

WIDEST_ALIGNMENT = 16  # bytes: the widest access that a GPU has
MAX_UNROLLED_WINDOW = 32  # an unrolled window of 64 took 5-12 s to compile, one of 8 half a second
MAX_COLUMNS_IN_REGISTERS = 64  # 32-bit columns that a group's windows cover; 512 took minutes to compile, and spilled
WIDEST_AT_A_STRIDE = 1 << 20  # columns of kernel size and stride: their products have to fit into 32 bits
MAX_GATHERED_WINDOWS = 40  # windows that hold some element of a group of x, in the backward
MAX_ADDITIONS = 1536  # in all copies of the code, if windows share no sums; three times as many took 9 s to compile
WIDEST_SCANNED = 8  # tiles that a window of "scans" or "sums" may cover


def span(itemsize: int, kernel_size: int, stride: int) -> int:
    """Count the columns under the windows of one group, which is as many outputs as fill 16 bytes."""
    return (WIDEST_ALIGNMENT // itemsize - 1) * stride + kernel_size


def gathered(itemsize: int, kernel_size: int, stride: int) -> int:
    """Count the windows that may hold an element of one group of x, which is as many elements as fill 16 bytes."""
    return (kernel_size - 1) // stride + (stride + WIDEST_ALIGNMENT // itemsize - 2) // stride + 1


def fitting(elements: int, threads: int, itemsize: int, kernel_size: int, stride: int, is_backward: bool) -> int:
    """Halve the `elements` of a tile of "vectors" until its columns fit into its threads' registers."""
    group = WIDEST_ALIGNMENT // itemsize
    if is_backward and stride > 1:
        columns = (gathered(itemsize, kernel_size, stride) + group) * max(itemsize // 4, 1)
    else:
        columns = span(itemsize, kernel_size, stride) * max(itemsize // 4, 1)
    while elements > threads * group and elements // (threads * group) * columns > 2 * MAX_COLUMNS_IN_REGISTERS:
        elements //= 2
    return elements


def algorithms(layout: str, itemsize: int, kernel_size: int, stride: int, is_backward: bool) -> list[str]:
    """List the algorithms that can serve, the most promising first.

    "vectors" makes 16-byte accesses and sums a thread's windows in its registers; "scans" does so for wide windows at
    stride 1, with prefix sums; "sums", forward only, has neighbouring threads read and sum a wide window at larger
    strides; "taps" makes one load per tap and serves every problem.
    """
    width = WIDEST_ALIGNMENT // itemsize
    names = ["taps"]
    if layout == "rows":
        is_bounded = max(kernel_size, stride) <= WIDEST_AT_A_STRIDE
        if not is_backward and stride > 1 and kernel_size > 2 * width and is_bounded:
            names.insert(0, "sums")
        if is_backward and stride > 1:
            fits = is_bounded and gathered(itemsize, kernel_size, stride) <= MAX_GATHERED_WINDOWS
        else:
            fits = span(itemsize, kernel_size, stride) * max(itemsize // 4, 1) <= MAX_COLUMNS_IN_REGISTERS
            fits &= stride == 1 or width * width * kernel_size <= MAX_ADDITIONS
        if fits:
            names.insert(0, "vectors")
        if stride == 1 and kernel_size >= 4 * width:
            names.insert(1 if kernel_size <= MAX_UNROLLED_WINDOW else 0, "scans")
    return names


def can_run(
    algorithm: str, block: int, layout: str, itemsize: int, kernel_size: int, stride: int, is_backward: bool
) -> bool:
    """Say whether the algorithm can serve, with tiles of `block` columns."""
    if algorithm not in algorithms(layout, itemsize, kernel_size, stride, is_backward):
        return False
    if algorithm in ("vectors", "scans") and block * itemsize < WIDEST_ALIGNMENT:
        return False
    shared = {"scans": kernel_size, "sums": kernel_size // stride}.get(algorithm, 0)
    return shared <= WIDEST_SCANNED * block


def chunk_of(kernel_size: int, stride: int) -> int:
    """Count the columns that "sums" reads at a time: of a window or, if windows overlap, between two starts."""
    columns = stride if kernel_size >= 2 * stride else kernel_size
    if columns <= 8:
        return power_of_2_from(columns)
    return min((64, 32, 16), key=lambda chunk: cdiv(columns, chunk) * chunk)  # the one that leaves least to mask


def tiling(
    tile: tuple[str, int, int],
    are_in_rows: bool,
    extents: tuple[int, int, int],
    read_length: int,
    window: tuple[int, int, int],
    are_aligned: tuple[bool, bool],
    itemsize: int,
    is_backward: bool,
) -> tuple[int, dict[str, object]]:
    """Return how many programs write `extents` (batch, rows, columns), and the constants that go with their number.

    `tile` is ALGORITHM, BLOCK_OUT and ROWS_PER_PROG; `are_in_rows` says whether the elements of a row lie next to each
    other, both in what is read and in what is written; `window` is kernel size, stride and padding; `are_aligned` says
    whether the address and all pitches of what is read, and of what is written, are multiples of 16 bytes.
    """
    algorithm, block, per_program = tile
    batch, rows, columns = extents
    kernel_size, stride, padding = window
    width = WIDEST_ALIGNMENT // itemsize
    is_aligned, is_short, slack = False, False, 0
    if algorithm == "sums":
        is_aligned = are_aligned[0] and stride % width == 0 and padding % width == 0
    elif algorithm != "taps":
        is_aligned = are_aligned[1] and columns % width == 0
        if stride == 1 or not is_backward:
            is_aligned &= are_aligned[0] and read_length % width == 0
        is_short = algorithm == "vectors" and is_aligned and columns <= block
        is_short &= columns * (columns + per_program * block) < 2**31  # as `in_short_rows` divides
        if not is_aligned and per_program == 1:  # tiles begin where stores are aligned
            slack = width - 1
    elif are_in_rows and (stride == 1 or not is_backward):
        is_short = columns <= block and columns * (columns + per_program * block) < 2**31
        is_short &= max(read_length, columns * stride) + 2 * kernel_size < 2**30  # columns are counted in 32 bits
    if is_short:
        group = 1 if algorithm == "taps" else width
        programs = cdiv(rows * cdiv(columns, group), per_program * block // group)
    else:
        programs = cdiv(rows, per_program) * cdiv(columns + slack, block)
    constants: dict[str, object] = {
        "WINDOW": 0 if algorithm == "taps" and kernel_size > MAX_UNROLLED_WINDOW else kernel_size,
        "STRIDE": stride,
        "PADDING": padding,
        "ALIGNED": is_aligned,
        "SHORT": is_short,
        "CHUNK": chunk_of(kernel_size, stride) if algorithm == "sums" else 0,
    }
    return batch * programs, constants
