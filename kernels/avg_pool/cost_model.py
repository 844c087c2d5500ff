"""A guess at how long a config of average pooling takes, from what it reads in vain, its waves and its programs.

It only orders the candidates of a sweep: a wrong guess costs the sweep time, and never the winner.
"""

from __future__ import annotations

from tunedb.core.device import Device
from tunedb.core.problem import Config

from ..geometry import cdiv
from .algorithms import algorithms, chunk_of
from .problem import Pool

WARPS = 64  # that a multiprocessor of most GPUs holds at a time
BLOCKS = 32  # that it holds at the most
START = 8.0  # elements' worth of work with which a thread begins: addresses, masks, the branch for the edges
WORSE = 0.5  # for each algorithm that is more promising


def estimate(pool: Pool, config: Config, device: Device, backward: bool = False) -> float:
    """In no unit: comparable between configs of one problem on one device."""
    window, itemsize = pool.window, pool.dtype.itemsize
    columns, rows = pool.length if backward else window.output_length(pool.length), pool.rows
    algorithm = config["ALGORITHM"]
    block, per_program, warps = (int(config[name]) for name in ("BLOCK_OUT", "ROWS_PER_PROG", "num_warps"))
    step = 1 if backward else window.stride
    lanes = chunk_of(window.kernel_size, window.stride) if algorithm == "sums" else 1  # that share an element
    is_short = columns <= block and algorithm in ("vectors", "taps")
    if pool.layout == "rows" and pool.batch == 1 and (is_short or window.tiles(pool.length)):  # as if in one row
        columns, rows, block, per_program = columns * rows, 1, block * per_program, 1
    across, down = cdiv(columns, block), pool.batch * cdiv(rows, per_program)
    covered = across * block * down * per_program / (columns * pool.batch * rows)  # elements, over the wanted ones
    halo = 1 + max(window.kernel_size - step, 0) / (block * step)  # what neighbouring tiles both read
    slots = device.multiprocessors * max(1, min(BLOCKS, WARPS // warps))
    programs = across * down
    waves = cdiv(programs, slots) * slots / programs  # the last one may be all but empty
    each = block * per_program * lanes / (32 * warps)  # elements of a thread; below one, threads idle
    promising = algorithms(pool.layout, itemsize, window.kernel_size, window.stride, backward).index(algorithm)
    return covered * halo * waves * (max(each, 1.0) + START) / each * (1 + WORSE * promising)
