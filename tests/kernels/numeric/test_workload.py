"""What a sweep is given: tensors of the problem's own class, and a check that finds wrong configs."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.conftest import DEVICE, INDEX, INTERPRETED, runs_kernels
from tunedb.core.kernel import Resources
from tunedb.errors import SettingError
from tunedb.kernels.avg_pool import BACKWARD, FORWARD, workload
from tunedb.kernels.avg_pool.problem import LAYOUTS, Pool
from tunedb.kernels.geometry import Window
from tunedb.runtime.current_device import device_of
from tunedb.runtime.launch import Launch
from tunedb.runtime.loaded_kernel import LoadedKernel, load

pytestmark = runs_kernels

both = pytest.mark.parametrize("kernel", [FORWARD, BACKWARD], ids=lambda kernel: kernel.name)


def problem_of(kernel: Any, pool: Pool) -> Any:
    return pool.backward_problem() if kernel is BACKWARD else pool.forward_problem()


@both
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("dtype", "alignment"), [(torch.float32, 4), (torch.float32, 8), (torch.bfloat16, 16), (torch.float64, 8)]
)
def test_the_tensors_have_the_problems_own_class(
    kernel: Any, layout: str, batch: int, dtype: torch.dtype, alignment: int
) -> None:
    pool = Pool(batch, 5, 37, Window(4, 3, 1), dtype, layout, alignment)
    made = kernel.workload(problem_of(kernel, pool), INDEX)
    again = Pool.of_grad(made.read, 37, pool.window) if kernel is BACKWARD else Pool.of_input(made.read, pool.window)
    assert again == pool
    made.close()


DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
WINDOWS = (Window(1, 1), Window(8, 1, 4), Window(40, 1, 20, False, False), Window(3, 5, 1, True))


@both
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_every_config_of_the_space_passes_its_check(kernel: Any, window: Window, exhaustive: bool) -> None:
    turn = (WINDOWS.index(window) + (kernel is BACKWARD)) % 2
    for dtype in DTYPES if exhaustive else DTYPES[turn::2]:
        problem = problem_of(kernel, Pool.of_shape((2, 3, 130), window, dtype, backward=kernel is BACKWARD))
        made = kernel.workload(problem, INDEX)
        for config in kernel.space(problem, device_of(INDEX))[:: 1 if INTERPRETED else 5]:
            assert (made.compile(config) == Resources()) == INTERPRETED
            assert made.check(config) is None
            made.launcher(config)()
        made.close()


@both
def test_the_check_goes_through_all_rows_in_blocks(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for bytes_at_a_time in (1, 3 * 8 * 50, 10 * 8 * 50):
        monkeypatch.setattr(workload, "REFERENCE_BYTES", bytes_at_a_time)
        problem = problem_of(kernel, Pool(3, 4, 50, Window(4, 2, 1), torch.float32, "transposed", 4))
        made = kernel.workload(problem, INDEX)
        assert made.check(kernel.default(problem, device_of(INDEX))) is None
        spoil(made, monkeypatch, lambda written: written[2, 3].fill_(9))
        assert "the first at (2, 3, 0): expected" in made.check(kernel.default(problem, device_of(INDEX)))
        monkeypatch.undo()


def spoil(made: Any, monkeypatch: pytest.MonkeyPatch, spoiler: Callable[[torch.Tensor], object]) -> None:
    """Make the kernel go wrong from here on."""
    made._loaded.clear()

    def load_spoiled(launch: Launch) -> LoadedKernel:
        right = load(launch)

        def run(read: torch.Tensor, written: torch.Tensor) -> None:
            right.run(read, written)
            spoiler(written)

        return LoadedKernel(run, right.resources)

    monkeypatch.setattr(workload, "load", load_spoiled)


@both
@pytest.mark.parametrize("is_known", [False, True], ids=["first", "after a right one"])
@pytest.mark.parametrize(
    ("spoiler", "reason"),
    [
        (lambda y: y[..., y.shape[-1] // 2 :].fill_(float("nan")), "got nan"),
        (
            lambda y: y[1, 2, 5].fill_(float("inf")),
            r"^1 of \d+ elements differ, the first at \(1, 2, 5\): expected .*, got inf",
        ),
        (lambda y: y.mul_(1.00001), "elements differ"),
        (lambda y: y.copy_(y.roll(1, INDEX)), "elements differ"),
        (lambda y: y.zero_(), "got 0"),
    ],
    ids=["half left unwritten", "one element", "a slightly wrong divisor", "shifted by one", "zeros"],
)
def test_the_check_finds_a_wrong_result(
    kernel: Any, spoiler: Callable[[torch.Tensor], object], reason: str, is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = problem_of(kernel, Pool(2, 4, 60, Window(8, 1, 4), torch.float32, "rows", 16))
    made = kernel.workload(problem, INDEX)
    if is_known:
        assert made.check(kernel.default(problem, device_of(INDEX))) is None
    spoil(made, monkeypatch, spoiler)
    found = made.check(kernel.default(problem, device_of(INDEX)))
    with pytest.raises(ValueError, match=reason):
        raise ValueError(found)


@both
def test_the_check_finds_a_nan_that_spreads(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(kernel, Pool(2, 4, 60, Window(8, 1, 4), torch.float32, "rows", 16))
    made = kernel.workload(problem, INDEX)
    before = made.read.clone()
    # Right on finite input: nothing but a sum over the row gives it away.
    spoil(made, monkeypatch, lambda written: written.add_(made.read.sum(-1, keepdim=True) * 0))
    found = made.check(kernel.default(problem, device_of(INDEX)))
    assert "a row with NaN and infinity in it" in found
    assert torch.equal(made.read, before)


@both
def test_the_check_finds_an_infinity_that_comes_out_finite(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(kernel, Pool(2, 4, 60, Window(8, 1, 4), torch.float32, "rows", 16))
    made = kernel.workload(problem, INDEX)
    spoil(made, monkeypatch, lambda written: written.clamp_(-1e6, 1e6))
    found = made.check(kernel.default(problem, device_of(INDEX)))
    assert "a row with NaN and infinity in it" in found


@both
def test_an_output_of_the_same_bits_is_compared_with_the_reference_once(
    kernel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    reference = workload.PoolWorkload._reference

    def counting(self: workload.PoolWorkload, block: torch.Tensor) -> torch.Tensor:
        rows.append(block.shape[0] * block.shape[1])
        return reference(self, block)

    monkeypatch.setattr(workload.PoolWorkload, "_reference", counting)
    problem = problem_of(kernel, Pool(2, 4, 60, Window(8, 1, 4), torch.float32, "rows", 16))
    made = kernel.workload(problem, INDEX)
    config = kernel.default(problem, device_of(INDEX))
    assert [made.check(config) for _ in range(3)] == [None] * 3
    assert rows == [8, 1, 1, 1, 1, 1, 1]  # all of them, and at each check the two with NaN and infinity
    # Other bits within the tolerance are right as well, once they were compared.
    eps = torch.finfo(torch.float32).eps
    spoil(made, monkeypatch, lambda written: written.mul_(1 + eps))
    assert [made.check(config) for _ in range(2)] == [None] * 2
    assert rows[7:] == [8, 1, 1, 1, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("layout", ["rows", "transposed"])
def test_the_digest_of_an_output_changes_with_each_of_its_bits(dtype: torch.dtype, layout: str) -> None:
    pool = Pool.of_shape((3, 4, 50), Window(4, 2, 1), dtype, layout)
    made = FORWARD.workload(pool.forward_problem(), INDEX)
    made.written.normal_(generator=torch.Generator(DEVICE).manual_seed(1))
    right, bits = made.written.clone(), made.written.view(workload.INTEGERS[dtype.itemsize])
    digest = made._digest()
    assert made._digest() == digest
    changes: list[Callable[[], object]] = [lambda bit=bit: bits[..., 3].bitwise_xor_(1 << bit) for bit in range(15)]
    changes += [
        made.written.neg_,
        lambda: made.written[0, 1, :2].neg_(),
        lambda: made.written[:, :2, 7].neg_(),
        lambda: made.written[..., -1].fill_(math.nan),
        lambda: made.written.copy_(right.flip(-1)),
        lambda: made.written.copy_(right.roll(1, 1)),
        lambda: made.written.copy_(right.roll(2, 1)),
        lambda: made.written[-1, 2, 9:11].copy_(right[-1, 2, 9:11].flip(-1)),
    ]
    found = []
    for change in changes:
        made.written.copy_(right)
        change()
        found.append(made._digest())
    assert len({digest, *found}) == 1 + len(changes)


@both
def test_finite_input_is_not_searched_for_nan_and_infinity(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []
    mismatches = workload.mismatches

    def counting(found: torch.Tensor, *others: Any) -> torch.Tensor:
        searched.append(found.numel())
        return mismatches(found, *others)

    monkeypatch.setattr(workload, "mismatches", counting)
    problem = problem_of(kernel, Pool(2, 4, 60, Window(8, 1, 4), torch.float32, "rows", 16))
    made = kernel.workload(problem, INDEX)
    assert made.check(kernel.default(problem, device_of(INDEX))) is None
    assert searched == [made.written.shape[-1]] * 2  # the two rows with NaN and infinity in them


@both
def test_a_workload_leaves_torchs_random_numbers_alone(kernel: Any) -> None:
    before = torch.get_rng_state()
    problem = kernel.problem({"shape": [2, 3, 64], "kernel_size": 8})
    first, second = kernel.workload(problem, INDEX), kernel.workload(problem, INDEX)
    assert first.check(kernel.default(problem, device_of(INDEX))) is None
    assert torch.equal(first.read, second.read)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_alignment_that_no_tensor_has_is_refused() -> None:
    pool = Pool(1, 4, 60, Window(8, 1, 4), torch.float32, "rows", 2)
    with pytest.raises(SettingError, match="alignment: expected a power of 2 from 4 to 16, got 2"):
        FORWARD.workload(pool.forward_problem(), INDEX)
