"""No algorithm reads or writes memory that it was not given, beyond the 16 bytes in which a tensor begins or ends."""

import numpy
import pytest
import torch

from tests.conftest import INTERPRETED
from tunedb.core.problem import Config
from tunedb.kernels.avg_pool.algorithms import SERVES, can_run, tiles_of, vectors
from tunedb.kernels.avg_pool.launch import backward_launch, empty_grad_input, empty_output, forward_launch
from tunedb.kernels.avg_pool.problem import Pool
from tunedb.kernels.geometry import Window

from .test_pooling import laid_out

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="the interpreter alone tells which addresses are accessed")

ALIGNMENT = 16
ENDS = 3  # programs at each end of a grid
MOST_TAPS = 8  # each is a load of its own, which the interpreter takes long for
MULTIPROCESSORS = 66  # tiles as on half a GPU: the interpreter's own hold all of so small a problem

# Window, rows, length. Of some, tiles or programs end just where the array does, or begin behind it.
PROBLEMS = [
    (Window(5, 5), 256, 270),
    (Window(3, 1, 1), 64, 64),
    (Window(3, 1, 1), 512, 52),
    (Window(7, 1, 3, count_include_pad=False), 37, 131),
    (Window(8, 1), 32, 519),
    (Window(35, 1, 9), 16, 512),
    (Window(78, 1, 39, count_include_pad=False), 33, 68),
    (Window(130, 1), 9, 464),
    (Window(61, 1, 20, count_include_pad=False), 3, 2100),
    (Window(2, 2), 64, 32),
    (Window(3, 2, 1, True, False), 61, 18),
    (Window(25, 3, 12), 8, 583),
    (Window(28, 14, 14), 10, 256),
    (Window(21, 11, 10, count_include_pad=False), 16, 416),
    (Window(60, 58, 7), 6, 700),
    (Window(64, 64), 5, 4096),
    (Window(3, 7), 11, 200),
]


@pytest.fixture
def accessed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The first and the last address of each load and store that the interpreter runs."""
    from triton.runtime import interpreter

    seen: list[tuple[int, int]] = []

    def recording(access):
        def record(builder, pointers, *arguments, **options):
            mask = next(argument for argument in arguments if getattr(argument, "data", None) is not None
                        and argument.data.dtype == numpy.bool_)  # fmt: skip
            addresses = pointers.data[numpy.broadcast_to(mask.data, pointers.data.shape)]
            if addresses.size:
                seen.append((int(addresses.min()), int(addresses.max())))
            return access(builder, pointers, *arguments, **options)

        return record

    for name in ("create_masked_load", "create_masked_store"):
        access = getattr(interpreter.InterpreterBuilder, name)
        monkeypatch.setattr(interpreter.InterpreterBuilder, name, recording(access))
    return seen


@pytest.fixture
def at_ends(monkeypatch: pytest.MonkeyPatch, exhaustive: bool) -> None:
    """Run the first and the last programs of each axis of a grid: no other is near an end of the memory."""
    from triton.runtime import interpreter

    executor, builder = interpreter.GridExecutor, interpreter.InterpreterBuilder
    call, set_dim, set_idx = executor.__call__, builder.set_grid_dim, builder.set_grid_idx
    whole: list[int] = []

    def call_at_ends(self, *arguments, **options):
        whole[:] = self.grid
        self.grid = tuple(min(size, 2 * ENDS) for size in whole)
        return call(self, *arguments, **options)

    def place(index: int, axis: int) -> int:
        size = whole[axis] if axis < len(whole) else 1
        return index if index < ENDS else index + max(0, size - 2 * ENDS)

    if not exhaustive:
        monkeypatch.setattr(executor, "__call__", call_at_ends)
        monkeypatch.setattr(builder, "set_grid_dim", lambda self, *sizes: set_dim(self, *whole, *sizes[len(whole) :]))
        monkeypatch.setattr(
            builder, "set_grid_idx", lambda self, *ids: set_idx(self, *(place(n, axis) for axis, n in enumerate(ids)))
        )


def blocks_of(*tensors: torch.Tensor) -> list[tuple[int, int]]:
    """The memory that each was allocated in, from the 16 bytes in which it begins to those in which it ends."""
    storages = [tensor.untyped_storage() for tensor in tensors]
    return [
        (
            storage.data_ptr() // ALIGNMENT * ALIGNMENT,
            -(-(storage.data_ptr() + storage.nbytes()) // ALIGNMENT * ALIGNMENT),
        )
        for storage in storages
    ]


def configs_of(algorithm: str, pool: Pool, is_backward: bool) -> list[Config]:
    """Configs with the smallest and the largest tile of the algorithm that are tried."""
    case = pool.case(is_backward)
    if not SERVES[algorithm](case):
        return []
    tiles = sorted(tiles_of(algorithm, case, MULTIPROCESSORS), key=lambda tile: tile[0] * tile[1])
    chosen = [tile for tile in dict.fromkeys(tiles[:1] + tiles[-1:]) if can_run(algorithm, tile[0], case)]
    return [
        Config.of(ALGORITHM=algorithm, BLOCK_OUT=block, ROWS_PER_PROG=rows, num_warps=warps)
        for block, rows, warps in chosen
    ]


@pytest.mark.parametrize(
    ("window", "rows", "length", "layout"),
    [(*problem, "odd offset" if number % 2 else "contiguous") for number, problem in enumerate(PROBLEMS)]
    + [(*problem, "transposed") for problem in PROBLEMS[-9::2]]
    + [
        (*problem, "every second column from the second on")
        for problem in PROBLEMS
        if problem[0].kernel_size in (7, 35, 61)
    ],
    ids=str,
)
@pytest.mark.parametrize("is_backward", [False, True])
def test_nothing_outside_of_the_tensors_is_accessed(
    window: Window, rows: int, length: int, layout: str, is_backward: bool, accessed: list, monkeypatch, at_ends: None
) -> None:
    monkeypatch.setattr(vectors, "LEAST_APART", 0)
    dtype = torch.float16 if (rows + length) % 3 else torch.float32
    columns = window.output_length(length) if is_backward else length
    read = laid_out(layout, 1, rows, columns, dtype)
    written = empty_grad_input(read, length) if is_backward else empty_output(read, window)
    pool = Pool.of_grad(read, length, window) if is_backward else Pool.of_input(read, window)
    build = backward_launch if is_backward else forward_launch
    for algorithm in SERVES:
        if algorithm == "taps" and window.kernel_size > MOST_TAPS:
            continue
        for config in configs_of(algorithm, pool, is_backward):
            accessed.clear()
            build(read, written, window, config)()
            outside = [
                (first, last)
                for first, last in accessed
                if not any(begin <= first and last < end for begin, end in blocks_of(read, written))
            ]
            assert accessed
            assert not outside, f"{config} of {window}"
