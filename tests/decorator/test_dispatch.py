"""The fast path, on a GPU that is not there: what is looked up, what is launched, and when Triton is asked instead."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from triton import knobs
from triton.tools.tensor_descriptor import TensorDescriptor

import tunedb
from tests.conftest import INTERPRETED
from tests.decorator.kernels import EVEN, Bench, add_even, add_pair, configs, grid_of, multiply, set_blocks
from tests.decorator.stub import StubDriver, once
from tests.threads import errors_at_once
from tunedb import SweepError
from tunedb.decorator import launcher
from tunedb.decorator.dispatch import codegen, plans
from tunedb.runtime import compile_job, loaded_kernel
from tunedb.store.layered import LayeredStore
from tunedb.tuner import session

pytestmark = pytest.mark.skipif(INTERPRETED, reason="the interpreter has no fast path")

FACTOR = tl.constexpr(2)


@triton.jit
def add_stages(x, n, BLOCK: tl.constexpr, STAGES: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + offsets, tl.load(x + offsets, mask=offsets < n) + STAGES, mask=offsets < n)


@triton.jit
def add_stages_or_one(x, n, BLOCK: tl.constexpr, STAGES: tl.constexpr = 1):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + offsets, tl.load(x + offsets, mask=offsets < n) + STAGES, mask=offsets < n)


@triton.jit
def add_number_or_one(x, n, BLOCK: tl.constexpr, STAGES=1):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + offsets, tl.load(x + offsets, mask=offsets < n) + STAGES, mask=offsets < n)


@triton.jit
def scale(x, y, n, stride, factor, FLAG: tl.constexpr, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(y + offsets * stride, tl.load(x + offsets * stride, mask=mask) * factor * FACTOR, mask=mask)


def tuned(jit: Any = scale, **given: Any) -> Any:
    """The kernel, decorated; a new one of the same source each time."""
    given = {"key": ["n"], "do_bench": Bench(2.0, 1.0), "name": "kernel"} | given
    return tunedb.autotune(given.pop("configs", None) or configs(32, 64), **given)(jit)


class Watch:
    """Counts the calls that the fast path did not serve."""

    def __init__(self, kernel: Any, patch: pytest.MonkeyPatch) -> None:
        self.slow = 0
        by_hand = kernel._launcher.by_hand

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.slow += not kernel._launcher._is_exposed  # a call after `kernel.configs` was read comes by twice
            return by_hand(*args, **kwargs)

        patch.setattr(kernel._launcher, "by_hand", counted)


def called_twice(tensors: tuple[torch.Tensor, ...], patch: pytest.MonkeyPatch) -> tuple[Any, Watch]:
    """A kernel that has its plan for these tensors, and the count of later calls that do not use it."""
    kernel = tuned()
    for _ in range(2):
        kernel[grid_of(100)](*tensors, 100, 1, 0.5, True)
    return kernel, Watch(kernel, patch)


@pytest.fixture
def tensors() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(100), torch.zeros(100)


def test_a_kernel_that_is_called_once_has_no_code_generated_and_a_mistake_is_reported_as_by_that_code(
    stub: StubDriver, tensors: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = tensors
    kernel, launch = tuned(), codegen._functions_from
    monkeypatch.setattr(codegen, "_functions_from", lambda *_: pytest.fail("code was generated"))
    for call in (
        lambda: kernel[(2,)](x, y, 100, 1, 0.5, True),
        lambda: kernel[(2,)](x, y=y, n=101, FLAG=True, factor=0.5, stride=1, enable_fp_fusion=True),
        lambda: kernel[(2,)](x, y, n=102, stride=1, factor=0.5, FLAG=False),
    ):
        call()
        assert stub.launches[-1][1][-1] == 64
    monkeypatch.setattr(codegen, "_functions_from", launch)
    for args, kwargs, message in (
        ((x, y, 100), {}, r"missing 3 required positional arguments: 'stride', 'factor', and 'FLAG'"),
        ((x, y, 100, 1, 0.5, True), {"x": x}, "multiple values for argument 'x'"),
        ((x, y, 100, 1, 0.5, True, 64, 7), {}, "takes from 7 to 8 positional arguments but 9 were given"),
    ):
        with pytest.raises(TypeError, match=message):
            tuned()[(2,)](*args, **kwargs)
    kernel, calls = tuned(), 5
    monkeypatch.setattr(launcher, "CALLS_BEFORE_PLAN", calls)
    held, watch = kernel[grid_of(100)], Watch(kernel, monkeypatch)
    for _ in range(2 * calls):
        held(x, y, 100, 1, 0.5, True)
    assert watch.slow == calls + 1


def test_a_repeated_call_launches_what_triton_would(
    stub: StubDriver, tensors: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = tensors
    kernel = tuned()
    first = kernel[grid_of(100)](x, y, 100, 1, 0.5, True)
    assert kernel[grid_of(100)](x, y, 100, 1, 0.5, True) is first  # makes the plan
    watch = Watch(kernel, monkeypatch)
    expected = stub.launches[-1]
    stub.launches.clear()
    for call in (
        lambda: kernel[grid_of(100)](x, y, 100, 1, 0.5, True),
        lambda: kernel[(2,)](x, y, 100, stride=1, factor=0.5, FLAG=True),
        lambda: kernel.run(y=y, x=x, n=100, factor=0.5, FLAG=True, stride=1, grid=grid_of(100)),
    ):
        assert call() is first  # Triton's compiled kernel
    assert watch.slow == 0
    assert expected == ((2, 1, 1), (x, y, 100, 1, 0.5, True, 64))
    assert stub.launches == [((2, 1, 1), (x.data_ptr(), y.data_ptr(), 100, 1, 0.5, True, 64))] * 3


def test_what_the_kernel_is_specialised_on_is_told_apart(stub: StubDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = tuned()
    watch = Watch(kernel, monkeypatch)
    storage, y = torch.zeros(200), torch.zeros(200)
    kinds: list[Callable[[], Any]] = [
        lambda: kernel[grid_of(100)](storage, y, 100, 1, 0.5, True),
        lambda: kernel[grid_of(100)](storage[1:], y, 100, 1, 0.5, True),  # not aligned
        lambda: kernel[grid_of(100)](storage.double(), y, 100, 1, 0.5, True),
        lambda: kernel[grid_of(100)](storage, y, 100, 2, 0.5, True),  # not 1
        lambda: kernel[grid_of(100)](storage, y, 100, 16, 0.5, True),  # a multiple of 16
        lambda: kernel[grid_of(100)](storage, y, 100, 2**40, 0.5, True),  # 64 bits
        lambda: kernel[grid_of(100)](storage, y, 100, 1, 0.5, False),
        lambda: kernel[grid_of(100)](storage, y, 100, True, 0.5, True),  # a bool is no int
        lambda: kernel[grid_of(112)](storage, y, 112, 1, 0.5, True),  # another key
        lambda: kernel[grid_of(100)](storage[::2], y, 100, 1, 0.5, True),  # other strides
    ]
    binaries = [call() for call in kinds]
    for _ in range(3):  # the second time each gets its plan
        assert [call() for call in kinds] == binaries
        assert watch.slow == 2 * len(kinds)
    assert len({id(one) for one in binaries[:8]}) == 8
    kernel[grid_of(100)](storage, y, 100, 3, 0.25, True)  # as 2 is
    assert watch.slow == 2 * len(kinds)
    assert stub.launches[-1][1][3:5] == (3, 0.25)


def test_triton_reads_its_libraries_while_the_store_is_asked_and_is_waited_for(
    stub: StubDriver, tensors: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = tensors
    done: list[str] = []
    is_asked = threading.Event()
    parsing, get_sweeps = loaded_kernel.parsing, LayeredStore.get_sweeps

    def preload() -> None:
        is_asked.wait(10)
        time.sleep(0.2)  # so that whoever does not wait is seen
        done.append("read")

    def asked(layers: LayeredStore, *given: Any) -> Any:
        done.append("asked")
        is_asked.set()
        return get_sweeps(layers, *given)

    monkeypatch.setattr(compile_job, "preload", preload)
    monkeypatch.setattr(LayeredStore, "get_sweeps", asked)
    monkeypatch.setattr(loaded_kernel, "parsing", lambda work: done.append("compiles") or parsing(work))
    compile_job.preload_aside.cache_clear()
    for _ in range(2):
        tuned()[grid_of(100)](x, y, 100, 1, 0.5, True)
    assert [one for place, one in enumerate(done) if one not in done[:place]] == ["asked", "read", "compiles"]
    assert done.count("read") == 1


def test_a_repeated_call_touches_no_store_no_lock_and_no_environment(
    stub: StubDriver, tensors: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = tensors
    kernel = tuned()
    kernel[grid_of(100)](x, y, 100, 1, 0.5, True)

    class Shut(dict[str, str]):
        def __getitem__(self, key: str) -> str:
            raise AssertionError(f"the environment was read: {key}")

        get = __contains__ = __getitem__  # type: ignore[assignment]

    with monkeypatch.context() as patch:
        patch.setattr(session, "active", None)
        patch.setattr(threading, "Lock", None)
        patch.setattr(threading, "RLock", None)
        patch.setattr(os, "environ", Shut())
        kernel[grid_of(100)](x, y, 100, 1, 0.5, True)


@pytest.mark.parametrize("chain", ["launch_enter_hook", "launch_exit_hook"])
def test_a_profiler_sees_every_launch(
    stub: StubDriver, tensors: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch, chain: str
) -> None:
    x, y = tensors
    kernel, watch = called_twice(tensors, monkeypatch)
    hooks = getattr(knobs.runtime, chain)

    def hook(metadata: object) -> None:
        """Triton's launcher calls it, in C."""

    hooks.add(hook)
    try:
        kernel[grid_of(100)](x, y, 100, 1, 0.5, True)
    finally:
        hooks.remove(hook)
    assert watch.slow == 1  # Triton's own launch, with its metadata
    assert stub.launches[-1][1][0] is x
    kernel[grid_of(100)](x, y, 100, 1, 0.5, True)
    assert watch.slow == 1


def test_a_hook_of_the_kernels_own_runs(stub: StubDriver, tensors: tuple[torch.Tensor, ...]) -> None:
    @triton.jit
    def own(x, n, BLOCK: tl.constexpr):
        tl.store(x + tl.arange(0, BLOCK), 1.0)

    x, _ = tensors
    kernel = tuned(own)
    kernel[(1,)](x, 100)
    seen: list[int] = []
    own.add_pre_run_hook(lambda *args, **kwargs: seen.append(1))
    kernel[(1,)](x, 100)
    assert seen == [1]


def test_a_configs_hook_runs_on_the_fast_path_as_well(
    stub: StubDriver, tensors: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = tensors
    seen: list[Any] = []
    both = [triton.Config({"BLOCK": 32}), triton.Config({"BLOCK": 64}, pre_hook=lambda given: seen.append(given))]
    kernel = tuned(configs=both)
    for _ in range(2):
        kernel[grid_of(100)](x, y, 100, 1, 0.5, True)
    watch = Watch(kernel, monkeypatch)
    seen.clear()
    kernel[grid_of(100)](x, y, 100, 1, 0.5, True)
    assert watch.slow == 0
    (given,) = seen
    assert given["x"] is x
    assert (given["BLOCK"], given["num_warps"], given["warmup"]) == (64, 4, False)


def test_a_global_that_was_compiled_in_and_changed_is_tritons_error(
    stub: StubDriver, tensors: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = tensors
    kernel = tuned()
    kernel[grid_of(100)](x, y, 100, 1, 0.5, True)
    monkeypatch.setitem(globals(), "FACTOR", tl.constexpr(3))
    with pytest.raises(RuntimeError, match="FACTOR has changed"):
        kernel[grid_of(100)](x, y, 100, 1, 0.5, True)


def test_heuristics_are_asked_at_each_call(
    stub: StubDriver, tensors: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = tensors
    kernel = tuned(triton.heuristics(EVEN)(add_even), key=[])
    for n in (100, 100, 192):
        kernel[grid_of(n)](x, y, n)
    watch = Watch(kernel, monkeypatch)
    stub.launches.clear()
    even = [kernel[grid_of(n)](x, y, n) for n in (100, 132, 192, 100)]
    assert watch.slow == 1  # 192 is a multiple of 16: another kind of call
    assert [arguments[2:] for _, arguments in stub.launches] == [
        (100, False, 64), (132, False, 64), (192, True, 64), (100, False, 64),
    ]  # fmt: skip
    assert even[0] is even[1] is even[3]


def test_options_of_a_call_reach_triton(stub: StubDriver, tensors: tuple[torch.Tensor, ...]) -> None:
    x, y = tensors
    kernel = tuned()
    for _ in range(2):
        found = kernel[grid_of(100)](x, y, 100, 1, 0.5, True, enable_fp_fusion=False)
        assert found.metadata.enable_fp_fusion is False


def test_a_change_of_settings_and_a_cleared_cache_ask_again(
    stub: StubDriver, tensors: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = tensors
    kernel, watch = called_twice(tensors, monkeypatch)
    with tunedb.using(mode="off"):
        kernel[grid_of(100)](x, y, 100, 1, 0.5, True)
        assert kernel.best_config is kernel.configs[0]
    kernel.cache.clear()
    kernel[grid_of(100)](x, y, 100, 1, 0.5, True)
    assert kernel.best_config is kernel.configs[1]
    assert watch.slow == 2


def test_two_devices_have_plans_of_their_own(
    stub: StubDriver, tensors: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = tensors
    kernel, watch = called_twice(tensors, monkeypatch)
    first = kernel[grid_of(100)](x, y, 100, 1, 0.5, True)
    stub.index += 1
    second = kernel[grid_of(100)](x, y, 100, 1, 0.5, True)
    assert second is not first
    assert kernel[grid_of(100)](x, y, 100, 1, 0.5, True) is second
    assert watch.slow == 2
    assert kernel[grid_of(100)](x, y, 100, 1, 0.5, True) is second
    stub.index -= 1
    assert kernel[grid_of(100)](x, y, 100, 1, 0.5, True) is first
    assert watch.slow == 2


def test_in_a_capture_what_is_loaded_is_launched_and_nothing_else(
    stub: StubDriver, tensors: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = tensors
    kernel, watch = called_twice(tensors, monkeypatch)
    stub.capturing = True
    kernel[grid_of(100)](x, y, 100, 1, 0.5, True)
    assert watch.slow == 0
    kernel[grid_of(84)](x, y, 84, 1, 0.5, True)  # another key, the same binary
    assert stub.launches[-1] == ((2, 1, 1), (x, y, 84, 1, 0.5, True, 64))
    with pytest.raises(SweepError, match="call it once before the capture"):
        kernel[grid_of(100)](x.double(), y, 100, 1, 0.5, True)
    stub.capturing = False
    kernel[grid_of(84)](x, y, 84, 1, 0.5, True)
    assert watch.slow == 3  # the call in the capture was not remembered
    assert len(kernel.cache) == 2


def test_a_config_that_does_not_fit_loses_and_its_error_reaches_the_hook(stub: StubDriver) -> None:
    @triton.jit
    def product(x, y, n, STAGES: tl.constexpr, BLOCK: tl.constexpr):
        rows = tl.arange(0, BLOCK)
        total = tl.zeros((BLOCK, BLOCK), tl.float32)
        for start in range(0, n, BLOCK):
            one = tl.load(x + rows[:, None] * n + start + rows[None, :])
            other = tl.load(x + (start + rows[:, None]) * BLOCK + rows[None, :])
            total += tl.dot(one, other)
        tl.store(y + rows[:, None] * BLOCK + rows[None, :], total)

    seen: list[Any] = []
    both = [triton.Config({"BLOCK": 128, "STAGES": 1}, num_stages=6), triton.Config({"BLOCK": 32, "STAGES": 1})]
    kernel = tuned(
        product, configs=both, do_bench=once, pre_hook=lambda *_, **__: seen.append("before"),
        post_hook=lambda *_, exception: seen.append(exception),
    )  # fmt: skip
    x = torch.zeros(128, 4096, dtype=torch.float16)
    kernel[(1,)](x, torch.zeros(128, 128), 4096)
    assert kernel.best_config is both[1]
    assert kernel.configs_timings[both[0]] == [float("inf")] * 3
    assert seen[0] == "before"
    assert "out of resource: shared memory" in str(seen[1])
    assert all(one is None or one == "before" for one in seen[2:])


def test_threads_with_one_problem_tune_once(stub: StubDriver, tensors: tuple[torch.Tensor, ...]) -> None:
    x, y = tensors
    bench = Bench(2.0, 1.0)
    kernel = tuned(do_bench=bench)

    def call(_: int) -> None:
        for _ in range(5):
            kernel[grid_of(100)](x, y, 100, 1, 0.5, True)
            assert kernel.best_config is kernel.configs[1]

    assert errors_at_once(8, call) == []
    assert bench.timed == 2


def test_a_missing_argument_is_a_type_error(stub: StubDriver, tensors: tuple[torch.Tensor, ...]) -> None:
    x, y = tensors
    with pytest.raises(TypeError, match="factor"):
        tuned()[grid_of(100)](x, y, 100, 1)


def test_the_kernel_is_let_go_of_with_its_plans(stub: StubDriver, tensors: tuple[torch.Tensor, ...]) -> None:
    import gc

    gc.collect()
    before = len(session._plans)
    x, y = tensors
    kernel = tuned()
    kernel[grid_of(100)](x, y, 100, 1, 0.5, True)
    assert len(session._plans) > before
    del kernel
    gc.collect()
    assert len(session._plans) == before


@triton.jit
def copy_tiles(x, y, n, BLOCK: tl.constexpr):
    for row in range(tl.program_id(0) * BLOCK, n, BLOCK):
        y.store([row, 0], x.load([row, 0]))


def test_a_configs_hook_may_set_a_descriptors_block(stub: StubDriver) -> None:
    a, b, c = (TensorDescriptor.from_tensor(torch.zeros(256, 256, dtype=torch.float16), [1, 1]) for _ in range(3))
    tiles = [triton.Config({"BM": m, "BN": 64, "BK": 32}, pre_hook=set_blocks) for m in (64, 128)]
    kernel = tuned(multiply, configs=tiles, key=["K"])
    for _ in range(2):
        kernel[(4, 4)](a, b, c, 256)
    assert {times[0] for times in kernel.configs_timings.values()} == {1.0, 2.0}  # both ran
    assert kernel.best_config is tiles[1]
    assert a.block_shape == [128, 32]


def descriptors(block: list[int]) -> list[TensorDescriptor]:
    return [TensorDescriptor.from_tensor(torch.zeros(256, 256, dtype=torch.float16), block) for _ in range(3)]


def test_a_call_with_descriptors_is_served_whatever_blocks_it_brings(
    stub: StubDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = [triton.Config({"BM": m, "BN": 64, "BK": 32}, pre_hook=set_blocks) for m in (64, 128)]
    kernel = tuned(multiply, configs=tiles, key=["K"])
    first = kernel[(4, 4)](*descriptors([1, 1]), 256)
    assert kernel[(4, 4)](*descriptors([1, 1]), 256) is first
    watch = Watch(kernel, monkeypatch)
    for block in ([1, 1], [16, 16]):
        given = descriptors(block)
        assert kernel[(4, 4)](*given, 256) is first
        assert [one.block_shape for one in given] == [[128, 32], [64, 32], [128, 64]]
        assert stub.launches[-1] == ((4, 4, 1), (*given, 256, 128, 64, 32))
    assert watch.slow == 0
    given[0].base = given[0].base.float()
    with pytest.raises(Exception, match="fp32"):  # Triton compiles anew, for the other dtype
        kernel[(4, 4)](*given, 256)
    assert watch.slow == 1


def test_blocks_that_the_caller_sets_make_binaries_of_their_own(
    stub: StubDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = tuned(copy_tiles, key=["n"])
    first = kernel[(4,)](*descriptors([16, 16])[:2], 256)
    assert kernel[(4,)](*descriptors([16, 16])[:2], 256) is first
    watch = Watch(kernel, monkeypatch)
    other = kernel[(4,)](*descriptors([32, 16])[:2], 256)
    assert other is not first
    for _ in range(2):
        assert kernel[(4,)](*descriptors([16, 16])[:2], 256) is first
        assert kernel[(4,)](*descriptors([32, 16])[:2], 256) is other
    assert watch.slow == 0


def test_tuples_are_told_apart_by_what_is_in_them(stub: StubDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = tuned(add_pair)
    watch = Watch(kernel, monkeypatch)
    x, y = torch.zeros(200), torch.zeros(200)
    pairs: list[tuple[Any, ...]] = [
        (x, y, 3), (x[1:], y, 3), (x.double(), y, 3), (x, y, 1), (x, y, 16), (x, y, 2**40), (x, y, True), (x, y, 0.5),
    ]  # fmt: skip
    binaries = [kernel[grid_of(100)](pair, 100) for pair in pairs]
    assert watch.slow == len(binaries) == len({id(one) for one in binaries})
    for _ in range(2):
        assert [kernel[grid_of(100)](pair, 100) for pair in pairs] == binaries
    kernel[grid_of(100)]((x, y, 5), 100)  # as 3 is
    assert stub.launches[-1] == ((2, 1, 1), ((x, y, 5), 100, 64))
    assert watch.slow == 2 * len(binaries)


def test_a_call_that_can_have_no_plan_is_chosen_for_once(
    stub: StubDriver, tensors: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mine(torch.Tensor):
        pass

    x, y = tensors
    mine, kernel = x.as_subclass(Mine), tuned()
    for _ in range(2):
        kernel[(4,)](mine, y, 100, 1, 2.0, True)
    monkeypatch.setattr(kernel._launcher, "choose", lambda *_: pytest.fail("it was chosen for before"))
    monkeypatch.setattr(kernel._launcher.plans, "remember", lambda *_: pytest.fail("it can have no plan"))
    for _ in range(2):
        kernel[(4,)](mine, y, 100, 1, 2.0, True)
    assert stub.launches[-1][1][2:] == (100, 1, 2.0, True, 64)


def with_stages(given: list[Any], named: Any, **kwargs: Any) -> list[Any]:
    """The configs with a knob that none of the declared ones has, as a pruning function may return them."""
    return [triton.Config({**config.kwargs, "STAGES": 7}, num_warps=config.num_warps) for config in given]


@pytest.mark.parametrize(  # of a constexpr the launched value counts for nothing: it is in the compiled function
    ("jit", "launched", "is_planned"),
    [(add_stages, 7, True), (add_stages_or_one, 1, True), (add_number_or_one, 7, False)],
)
@pytest.mark.parametrize("has_heuristics", [False, True])
def test_a_knob_that_a_pruning_function_adds_is_launched_at_every_call(
    jit: Any, launched: int, is_planned: bool, has_heuristics: bool, stub: StubDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.empty(100)
    layered = triton.heuristics({"BLOCK": lambda named: 32})(jit) if has_heuristics else jit
    declared = [triton.Config({}, num_warps=n) for n in (1, 2)] if has_heuristics else configs(32, 64)
    kernel = tuned(layered, configs=declared, prune_configs_by={"early_config_prune": with_stages})
    for _ in range(2):
        kernel[(4,)](x, 100)
    by_triton, launch = [], kernel._launcher._launch
    assert stub.launches[-1][1][-1] == 7
    monkeypatch.setattr(kernel._launcher, "_launch", lambda *call: by_triton.append(call) or launch(*call))
    for _ in range(2):
        kernel[(4,)](x, 100)
        assert stub.launches[-1][1][-1] == launched
        assert stub.functions[-1] == stub.functions[-2]
    assert len(by_triton) == (0 if is_planned else 2)


def test_pinned_memory_has_no_plan_for_it_looks_like_memory_that_no_gpu_reaches(
    stub: StubDriver, tensors: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = tensors
    kernel = tuned()
    monkeypatch.setattr(plans, "is_on_host", lambda tensor: True)
    for _ in range(3):
        kernel[(4,)](x, y, 100, 1, 2.0, True)
    assert not kernel._launcher.plans._table


def test_a_debug_build_is_tritons_to_make(
    stub: StubDriver, tensors: tuple[torch.Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = tensors
    kernel = tuned()
    for _ in range(2):
        kernel[(4,)](x, y, 100, 1, 2.0, True)
    plain = len(stub.loaded)
    monkeypatch.setattr(knobs.runtime, "debug", True)
    kernel[(4,)](x, y, 100, 1, 2.0, True)
    assert len(stub.loaded) == plain + 1
    assert len(kernel._launcher.plans._table) == 1
