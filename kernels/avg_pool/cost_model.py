"""An estimate of how long a config of average pooling takes, from what it reads needlessly, its waves and its programs.

It only orders the candidates of a sweep: a wrong estimate costs the sweep time, but never changes the winner.
"""

from __future__ import annotations

from tunedb.core.device import Device
from tunedb.core.problem import Config

from ..geometry import cdiv
from .algorithms import algorithms
from .algorithms.sums import chunk_of
from .problem import Pool

MAX_WARPS = 64  # that a multiprocessor of most GPUs holds
MAX_BLOCKS = 32  # that it holds
START_ELEMENTS = 8.0  # a thread starts with work worth as many elements: addresses, masks, the branch for the edges
RANK_PENALTY = 0.5  # added for each algorithm that is more promising


def estimate(pool: Pool, config: Config, device: Device, backward: bool = False) -> float:
    """Estimate the time of a config, in no unit: only configs of one problem on one device compare."""
    window = pool.window
    columns, rows = pool.length if backward else window.output_length(pool.length), pool.rows
    algorithm = config["ALGORITHM"]
    block, per_program, warps = (int(config[name]) for name in ("BLOCK_OUT", "ROWS_PER_PROG", "num_warps"))
    step = 1 if backward else window.stride
    lanes = chunk_of(pool.case(backward)) if algorithm == "sums" else 1  # threads that share an output
    is_short = columns <= block and algorithm in ("vectors", "taps")
    if pool.layout == "rows" and pool.batch == 1 and (is_short or window.tiles(pool.length)):  # all one row
        columns, rows, block, per_program = columns * rows, 1, block * per_program, 1
    across, down = cdiv(columns, block), pool.batch * cdiv(rows, per_program)
    covered = across * block * down * per_program / (columns * pool.batch * rows)  # elements, over those needed
    halo = 1 + max(window.kernel_size - step, 0) / (block * step)  # columns that neighbouring tiles both read
    slots = device.multiprocessors * max(1, min(MAX_BLOCKS, MAX_WARPS // warps))
    programs = across * down
    waves = cdiv(programs, slots) * slots / programs  # the last wave may be almost empty
    per_thread = block * per_program * lanes / (32 * warps)  # elements; below 1, threads idle
    rank = algorithms(pool.case(backward)).index(algorithm)
    return covered * halo * waves * (max(per_thread, 1.0) + START_ELEMENTS) / per_thread * (1 + RANK_PENALTY * rank)
