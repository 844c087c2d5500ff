"""Forward and backward kernels against torch in float64, on a GPU or in the interpreter."""

import itertools
import math

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tests.conftest import DEVICE, INTERPRETED, runs_kernels
from tunedb.core.problem import Config
from tunedb.errors import TrialError
from tunedb.kernels.avg_pool.algorithms import SERVES, algorithms, can_run, tiling
from tunedb.kernels.avg_pool.algorithms.case import Case
from tunedb.kernels.avg_pool.launch import backward_launch, empty_grad_input, empty_output, forward_launch
from tunedb.kernels.avg_pool.problem import Pool
from tunedb.kernels.geometry import Window

pytestmark = runs_kernels

# Relative: of each dtype's own rounding. Absolute: of float32 sums of up to 40 values of about 1.
TOLERANCES = {
    torch.float16: (1e-3, 1e-6),
    torch.bfloat16: (8e-3, 1e-6),
    torch.float32: (1e-6, 1e-6),
    torch.float64: (1e-14, 1e-14),
}
ALGORITHMS = tuple(SERVES)
LAYOUTS = ("contiguous", "rows of a matrix", "transposed", "every second column", "every second row",
           "expanded rows", "expanded batch", "expanded columns", "odd offset", "strangely permuted")  # fmt: skip
# On a GPU each example is compiled: fewer of them, and a failing one is shown as it is.
checked = settings(
    max_examples=40 if INTERPRETED else 30,
    phases=list(Phase) if INTERPRETED else [Phase.explicit, Phase.generate],
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def laid_out(layout: str, batch: int, rows: int, columns: int, dtype: torch.dtype) -> torch.Tensor:
    """A tensor (batch, rows, columns), or (rows, columns), with that layout and normal values."""
    generator = torch.Generator().manual_seed(columns)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype).to(DEVICE)

    match layout:
        case "rows of a matrix":
            return normal(rows, columns)
        case "transposed":
            return normal(batch, columns, rows).transpose(1, 2)
        case "every second column":
            return normal(batch, rows, 2 * columns)[..., ::2]
        case "every second column from the second on":
            return normal(batch, rows, 2 * columns)[..., 1::2]
        case "every third column":
            return normal(batch, rows, 3 * columns)[..., ::3]
        case "every second row":
            return normal(batch, 2 * rows, columns)[:, ::2]
        case "expanded rows":
            return normal(batch, 1, columns).expand(batch, rows, columns)
        case "expanded batch":
            return normal(1, rows, columns).expand(batch, rows, columns)
        case "expanded columns":
            return normal(batch, rows, 1).expand(batch, rows, columns)
        case "odd offset":
            return normal(batch * rows * columns + 1)[1:].view(batch, rows, columns)
        case "strangely permuted":
            return normal(columns, rows, batch).permute(2, 1, 0)
    return normal(batch, rows, columns)


@st.composite
def windows(draw: st.DrawFn) -> tuple[Window, int]:
    """A window, unrolled (up to 32) or looped over, and a length of row that torch pools with it."""
    kernel_size = draw(st.one_of(st.integers(1, 9), st.integers(10, 40), st.integers(41, 70)))
    padding = draw(st.integers(0, kernel_size // 2))
    window = Window(kernel_size, draw(st.integers(1, 7)), padding, draw(st.booleans()), draw(st.booleans()))
    return window, draw(st.integers(max(1, kernel_size - 2 * padding), 90))


configs = st.builds(
    lambda algorithm, block, rows, warps: Config.of(
        ALGORITHM=algorithm, BLOCK_OUT=block, ROWS_PER_PROG=rows, num_warps=warps
    ),
    st.sampled_from(ALGORITHMS),
    st.sampled_from((8, 16, 64, 256)),
    st.sampled_from((1, 2, 8)),
    st.sampled_from((1, 4)),
)
dtypes = st.sampled_from(tuple(TOLERANCES))
layouts = st.sampled_from(LAYOUTS)


def torch_pool(x: torch.Tensor, window: Window) -> torch.Tensor:
    return functional.avg_pool1d(
        x, window.kernel_size, window.stride, window.padding, window.ceil_mode, window.count_include_pad
    )


def torch_gradient(grad_y: torch.Tensor, length: int, window: Window) -> torch.Tensor:
    x = torch.zeros(*grad_y.shape[:-1], length, dtype=torch.float64, device=DEVICE, requires_grad=True)
    (gradient,) = torch.autograd.grad(torch_pool(x, window), x, grad_y.double())
    return gradient


def runnable(config: Config, pool: Pool, is_backward: bool) -> Config:
    """The config, by taps if its algorithm can't run."""
    if can_run(config["ALGORITHM"], config["BLOCK_OUT"], pool.case(is_backward)):
        return config
    return Config.of(**{**config, "ALGORITHM": "taps"})


def pool(x: torch.Tensor, window: Window, config: Config) -> torch.Tensor:
    y = empty_output(x, window).fill_(math.nan)
    forward_launch(x, y, window, runnable(config, Pool.of_input(x, window), False))()
    return y


def spread(grad_y: torch.Tensor, length: int, window: Window, config: Config) -> torch.Tensor:
    grad_x = empty_grad_input(grad_y, length).fill_(math.nan)
    backward_launch(grad_y, grad_x, window, runnable(config, Pool.of_grad(grad_y, length, window), True))()
    return grad_x


def assert_near(found: torch.Tensor, needed: torch.Tensor) -> None:
    relative, absolute = TOLERANCES[found.dtype]
    torch.testing.assert_close(found.double(), needed, rtol=relative, atol=absolute, equal_nan=True)


@checked
@given(windows(), configs, dtypes, layouts, st.integers(1, 2), st.integers(1, 3))
def test_the_mean_is_torchs(
    case: tuple[Window, int], config: Config, dtype: torch.dtype, layout: str, batch: int, rows: int
) -> None:
    window, length = case
    x = laid_out(layout, batch, rows, length, dtype)
    y = pool(x, window, config)
    assert_near(y, torch_pool(x.double(), window))
    assert y.stride() == torch_pool(x, window).stride()


@checked
@given(windows(), configs, dtypes, layouts, st.integers(1, 2), st.integers(1, 3))
def test_the_gradient_is_torchs(
    case: tuple[Window, int], config: Config, dtype: torch.dtype, layout: str, batch: int, rows: int
) -> None:
    window, length = case
    grad_y = laid_out(layout, batch, rows, window.output_length(length), dtype)
    assert_near(spread(grad_y, length, window, config), torch_gradient(grad_y, length, window))


# The tensors that an algorithm serves, and its tile, where these are not rows and the test's own tile.
LAID_OUT_FOR = {"columns": "transposed", "layers": "transposed", "stacks": "transposed"}
TILES_OF = {"columns": (4, 64), "layers": (256, 1), "rows": (256, 1), "stacks": (4096, 1)}


def config_of(algorithm: str, block: int) -> Config:
    """A config of the algorithm, with tiles of `block` columns where it can have them."""
    block, per_program = TILES_OF.get(algorithm, (block, 1))
    return Config.of(ALGORITHM=algorithm, BLOCK_OUT=block, ROWS_PER_PROG=per_program, num_warps=1)


def served(windows: tuple[Window, ...], length: int, are_gradients: tuple[bool, ...]) -> list[tuple[Window, str]]:
    """The windows and the algorithms that serve them: "taps" in the place of others need not be seen again."""

    def serves(window: Window, algorithm: str, is_backward: bool) -> bool:
        layout = LAID_OUT_FOR.get(algorithm)
        facts = (4, 1, 3, length, window.output_length(length), window.kernel_size, window.stride, window.padding)
        return can_run(algorithm, config_of(algorithm, 64)["BLOCK_OUT"], Case(is_backward, layout or "rows", *facts))

    pairs = itertools.product(windows, ALGORITHMS)
    return [pair for pair in pairs if any(serves(*pair, is_backward) for is_backward in are_gradients)]


NANS = (
    Window(3, 1, 1), Window(5, 2, 2, True, False), Window(2, 5), Window(35, 3), Window(35, 1, 9), Window(20, 20),
)  # fmt: skip


@pytest.mark.parametrize(("window", "algorithm"), served(NANS, 80, (False, True)), ids=str)
def test_nan_and_infinity_reach_the_windows_that_hold_them_and_no_other(
    window: Window, algorithm: str, exhaustive: bool
) -> None:
    """In tiles with masks (the first and last of these rows) and without, in rows of either alignment."""
    block = 32 if window.stride == 1 else 16  # several tiles in a row, few programs
    odd = NANS.index(window) + ALGORITHMS.index(algorithm)  # half of the rows' lengths, in turn
    config, layout = config_of(algorithm, block), LAID_OUT_FOR.get(algorithm, "contiguous")
    poisons = torch.tensor([math.nan, math.inf, -math.inf], device=DEVICE)[:, None]  # one for each row
    for length in (80, 81) if exhaustive else (80 + odd % 2,):
        x = laid_out(layout, 1, 3, length, torch.float32)
        x[0, :, [0, 41, 79]] = poisons
        grad_y = laid_out(layout, 1, 3, window.output_length(length), torch.float32)
        grad_y[0, :, [0, grad_y.shape[-1] // 2, -1]] = poisons
        is_forward = can_run(algorithm, config["BLOCK_OUT"], Pool.of_input(x, window).case(False))
        is_backward = can_run(algorithm, config["BLOCK_OUT"], Pool.of_grad(grad_y, length, window).case(True))
        assert is_forward or is_backward
        if is_forward:
            assert_near(pool(x, window, config), torch_pool(x.double(), window))
        if is_backward:
            assert_near(spread(grad_y, length, window, config), torch_gradient(grad_y, length, window))


ACCURATE = (Window(8, 1, 4), Window(50, 1, 25), Window(6, 3), Window(48, 16))
ROUNDED = (torch.float16, torch.bfloat16, torch.float32)


@pytest.mark.parametrize(("window", "algorithm"), served(ACCURATE, 600, (False,)), ids=str)
def test_a_mean_is_as_accurate_as_torchs_also_after_large_values(
    window: Window, algorithm: str, exhaustive: bool
) -> None:
    """At worst twice torch's worst error and a unit in the last place; a running sum would keep large values' error."""
    turn = (ACCURATE.index(window) + ALGORITHMS.index(algorithm)) % len(ROUNDED)  # each pair of any two is met
    for dtype in ROUNDED if exhaustive else ROUNDED[turn : turn + 1]:
        check_accuracy(window, dtype, algorithm)


def check_accuracy(window: Window, dtype: torch.dtype, algorithm: str) -> None:
    """Compare the errors of ours and of torch's in rows of 300 large values and then 300 of about 1."""
    x = laid_out(LAID_OUT_FOR.get(algorithm, "contiguous"), 1, 2, 600, dtype)
    x[..., :300] *= 1e4
    config = config_of(algorithm, 64)
    assert runnable(config, Pool.of_input(x, window), False) == config
    exact = torch_pool(x.double(), window)
    errors = [(found.double() - exact).abs() for found in (pool(x, window, config), torch_pool(x, window))]
    quiet = (300 + window.padding) // window.stride + 1  # the first window after the large values
    for part in (slice(0, quiet), slice(quiet, None)):
        ours, torchs, unit = (part_of[..., part].max() for part_of in (*errors, torch.finfo(dtype).eps * exact.abs()))
        assert ours <= 2 * torchs + unit


@pytest.mark.skipif(not INTERPRETED, reason="the interpreter alone shows what the compiler is promised")
@pytest.mark.parametrize("algorithm", ["vectors", "pieces", "strips"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_what_the_compiler_is_promised_about_addresses_is_so(
    algorithm: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, exhaustive: bool
) -> None:
    """A wrong promise is a misaligned access on a GPU, and nothing at all here."""
    from triton.runtime.interpreter import TensorHandle

    promises = []

    def kept(handle: TensorHandle, name: str, value: object) -> None:
        if name == "tt.divisibility":
            promises.append(bool((handle.data.astype("int64") % int(max(getattr(value, "data", value))) == 0).all()))

    monkeypatch.setattr(TensorHandle, "set_attr", kept)
    windows = {
        "vectors": (Window(8, 1, 4), Window(3, 2, 1)),
        "pieces": (Window(41, 1, 20), Window(40, 1, 11)),
        "strips": (Window(64, 32),),
    }
    for window in windows[algorithm][: 2 if dtype == torch.float32 else 1]:
        kinds = ((96, "contiguous", 1), (99, "odd offset", 1), (96, "contiguous", 2), (98, "every second row", 2))
        some = {torch.float16: kinds[:2], torch.float64: kinds[::3]}.get(dtype, kinds)  # float32 meets all
        for length, layout, per_program in kinds if exhaustive else some:
            config = Config.of(ALGORITHM=algorithm, BLOCK_OUT=32, ROWS_PER_PROG=per_program, num_warps=1)
            x = laid_out(layout, 1, 3, length, dtype)
            grad_y = laid_out(layout, 1, 3, window.output_length(length), dtype)
            if runnable(config, Pool.of_input(x, window), False) == config:
                pool(x, window, config)
            if runnable(config, Pool.of_grad(grad_y, length, window), True) == config:
                spread(grad_y, length, window, config)
    assert promises
    assert all(promises)


@pytest.mark.parametrize("algorithm", ["taps", "gather"])
def test_positions_between_windows_get_no_gradient(algorithm: str) -> None:
    config = Config.of(ALGORITHM=algorithm, BLOCK_OUT=8, ROWS_PER_PROG=1, num_warps=1)
    grad_x = spread(torch.ones(1, 3, device=DEVICE), 20, Window(2, 7), config)
    assert grad_x[0].nonzero().flatten().tolist() == [0, 1, 7, 8, 14, 15]


def test_a_gradient_at_a_wide_stride_costs_no_more_to_build_than_at_a_narrow_one() -> None:
    window, length = Window(50_000, 50_001), 110_000
    config = Config.of(ALGORITHM="gather", BLOCK_OUT=32768, ROWS_PER_PROG=1, num_warps=8)
    grad_y = torch.randn(2, 1, window.output_length(length), device=DEVICE)
    if INTERPRETED:  # the compiler has limits for tiles
        assert_near(spread(grad_y, length, window, config), torch_gradient(grad_y, length, window))
    assert algorithms(Case(True, "rows", 4, 1, 1, 2**22, 2, 2**21, 2**21, 0)) == ["taps"]
    assert algorithms(Case(False, "rows", 4, 1, 1, 2**22, 3, 2**21, 2**20, 0)) == ["taps"]


def test_rows_are_short_only_where_32_bits_count_their_columns_and_groups() -> None:
    def is_short(columns: int, read_length: int, block: int, stride: int = 1) -> object:
        case = Case(False, "rows", 2, 1, 3, read_length, columns, 9, stride, 0)
        return tiling("taps", (block, 1), case, (True, True), True)[1]["SHORT"]

    assert is_short(2048, 2056, 4096)
    assert not is_short(2048, 2047 * 1_100_000 + 1, 2048, 1_100_000)
    assert not is_short(40_000, 360_000, 65536, 9)


def test_more_rows_than_a_second_grid_axis_holds() -> None:
    # The interpreter pays by the program, the compiler by the elements of a tile.
    config = Config.of(ALGORITHM="taps", BLOCK_OUT=4, ROWS_PER_PROG=16384 if INTERPRETED else 64, num_warps=1)
    x = laid_out("contiguous", 70000, 1, 4, torch.float32)
    assert_near(pool(x, Window(2, 1), config), torch_pool(x.double(), Window(2, 1)))
    narrow = Config.of(ALGORITHM="taps", BLOCK_OUT=4, ROWS_PER_PROG=1, num_warps=1)
    assert forward_launch(x, x, Window(3, 1, 1), narrow).grid == (70000, 1, 1)


FAR = 2**31
NARROW = Config.of(ALGORITHM="taps", BLOCK_OUT=8, ROWS_PER_PROG=2, num_warps=1)


@pytest.mark.parametrize(
    ("shape", "strides", "wide"),
    [((1, 2, 30), (0, FAR, 1), False), ((2, 1, 30), (FAR, 30, 1), False), ((1, 1, 9), (0, 1, FAR // 8), True)],
    ids=["far rows", "far batch entries", "far columns"],
)
@pytest.mark.parametrize("window", [Window(3, 1, 1), Window(3, 2, 1, True)], ids=str)
def test_offsets_beyond_32_bits(
    shape: tuple[int, int, int], strides: tuple[int, int, int], wide: bool, window: Window
) -> None:
    """In 4 GiB of address space, of which a few pages are touched."""
    *_, length = shape
    far = torch.empty(FAR + 64, dtype=torch.float16, device=DEVICE).as_strided(shape, strides)

    far.copy_(laid_out("contiguous", *shape, torch.float16))
    y = empty_output(far, window).fill_(math.nan)
    forward = forward_launch(far, y, window, NARROW)
    forward()
    assert_near(y, torch_pool(far.double(), window))

    grad_y = laid_out("contiguous", *shape[:2], window.output_length(length), torch.float16)
    backward = backward_launch(grad_y, far.fill_(math.nan), window, NARROW)
    backward()
    assert_near(far, torch_gradient(grad_y, length, window))
    assert forward.constants["WIDE"] == backward.constants["WIDE"] == wide


def test_positions_beyond_32_bits_in_a_row() -> None:
    window = Window(4, 2**30, 0)
    x = torch.full((1, 1), 3.0, device=DEVICE).expand(1, 2**31 + 8)
    launch = forward_launch(x, y := torch.full((1, 3), math.nan, device=DEVICE), window, NARROW)
    assert launch.constants["WIDE"]
    launch()
    assert y.tolist() == [[3.0, 3.0, 3.0]]
    assert not forward_launch(x, y, Window(4, 4), NARROW).constants["WIDE"]  # a tile's own extent counts


def test_a_grid_that_is_too_large_is_refused() -> None:
    x = torch.empty(2**31, 1, device="meta")
    with pytest.raises(TrialError, match="needs 2147483648 programs"):
        forward_launch(x, x, Window(1, 1), Config.of(ALGORITHM="taps", BLOCK_OUT=1, ROWS_PER_PROG=1, num_warps=1))


def test_an_algorithm_that_can_not_serve_is_refused() -> None:
    x = torch.empty(2, 500, device="meta")
    config = Config.of(ALGORITHM="vectors", BLOCK_OUT=64, ROWS_PER_PROG=1, num_warps=1)
    with pytest.raises(TrialError, match="ALGORITHM='taps'"):
        forward_launch(x, x, Window(300, 1, 150), config)


def test_rows_that_windows_tile_are_pooled_as_one() -> None:
    x = laid_out("contiguous", 3, 5, 40, torch.float32)
    config = Config.of(ALGORITHM="vectors", BLOCK_OUT=8, ROWS_PER_PROG=4, num_warps=1)
    launch = forward_launch(x, empty_output(x, Window(8, 8)), Window(8, 8), config)
    assert (launch.grid, launch.constants["BLOCK_OUT"]) == ((3, 1, 1), 32)
    assert_near(pool(x, Window(8, 8), config), torch_pool(x.double(), Window(8, 8)))
    gapped = laid_out("every second row", 3, 5, 40, torch.float32)
    assert forward_launch(gapped, empty_output(gapped, Window(8, 8)), Window(8, 8), config).constants["BLOCK_OUT"] == 8
    assert_near(pool(gapped, Window(8, 8), config), torch_pool(gapped.double(), Window(8, 8)))
