"""What triton.autotune does, tunedb.autotune does: arguments, attributes, hooks, errors."""

from __future__ import annotations

import copy
from typing import Any

import numpy
import pytest
import torch
import triton
import triton.language as tl
from triton import knobs
from triton.runtime.errors import AutotunerError, OutOfResources

import tunedb
from tests.conftest import runs_kernels
from tests.decorator.kernels import (
    EVEN,
    Bench,
    accumulate,
    add_even,
    add_in_place,
    add_one,
    configs,
    grid_of,
    tensors,
    tuned,
)
from tunedb import IdentityError, SettingError

pytestmark = runs_kernels


def test_the_attributes_exist_before_the_first_call() -> None:
    kernel = tuned()
    assert isinstance(kernel, triton.runtime.Autotuner)
    assert (kernel.best_config, kernel.configs_timings, kernel.bench_time, kernel.cache) == (None, {}, 0.0, {})
    assert (kernel.keys, kernel.arg_names, kernel.fn) == (["n"], ["x", "y", "n", "BLOCK"], add_one)
    assert kernel.base_fn is add_one.fn
    assert [one.kwargs["BLOCK"] for one in kernel.configs] == [16, 64]


def test_a_call_tunes_and_leaves_what_others_read() -> None:
    kernel = tuned(do_bench=Bench(2.0, 1.0))
    x, y = tensors()
    kernel[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 1)
    assert kernel.best_config is kernel.configs[1]
    assert list(kernel.cache.values()) == [kernel.configs[1]]
    assert kernel.configs_timings == {kernel.configs[0]: [2.0] * 3, kernel.configs[1]: [1.0] * 3}
    assert kernel.bench_time > 0


def test_the_timings_are_what_the_benchmark_function_said() -> None:
    said = iter([[2.0, 1.5, 4.0], [1.0, 0.5, 9.0]])

    def bench(launch: Any, quantiles: Any) -> list[float]:
        launch()
        return next(said)

    kernel = tuned(do_bench=bench)
    x, y = tensors()
    kernel[grid_of(100)](x, y, 100)
    assert kernel.configs_timings == {kernel.configs[0]: [2.0, 1.5, 4.0], kernel.configs[1]: [1.0, 0.5, 9.0]}


def test_arguments_by_position_and_by_name_and_grids_of_either_kind_are_one_call() -> None:
    bench = Bench(1.0, 2.0)
    kernel = tuned(do_bench=bench)
    x, y = tensors()
    calls = [
        lambda: kernel[grid_of(100)](x, y, 100),
        lambda: kernel[grid_of(100)](x, n=100, y=y),
        lambda: kernel[(7,)](y=y, n=100, x=x),
        lambda: kernel[7, 1, 1](x, y, n=100),
        lambda: kernel.run(x, y, 100, grid=grid_of(100), warmup=False),
    ]
    for call in calls:
        y.fill_(7.0)
        call()
        torch.testing.assert_close(y, x + 1)
    assert bench.timed == 2
    assert len(kernel.cache) == 1


def test_heuristics_may_stand_above_and_below() -> None:
    below = tuned(triton.heuristics(EVEN)(add_even))
    above = triton.heuristics({"EVEN": lambda given: False})(tuned(add_even))
    for kernel, n in ((below, 100), (below, 128), (above, 100)):
        x, y = tensors(n)
        for _ in range(2):
            y.fill_(7.0)
            kernel[grid_of(n)](x, y, n)
            torch.testing.assert_close(y, x + 1)


@pytest.mark.parametrize("n", [100, 128])
def test_a_heuristic_sees_the_arguments_of_each_call(n: int) -> None:
    kernel = tuned(triton.heuristics(EVEN)(add_even), key=())
    for size in (128, 100, n):
        x, y = tensors(size)
        kernel[grid_of(size)](x, y, size)
        torch.testing.assert_close(y, x + 1)


def test_reset_to_zero_holds_while_it_tunes() -> None:
    kernel = tuned(accumulate, reset_to_zero=["y"])
    x, y = tensors()
    kernel[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x)
    kernel[grid_of(100)](x, y, 100)  # a hit resets nothing, as with triton.autotune
    torch.testing.assert_close(y, x + x)


@pytest.mark.parametrize("given", [{"restore_value": ["x"]}, {}])
def test_tuning_a_kernel_that_writes_in_place_leaves_one_launch_behind(given: dict[str, Any]) -> None:
    kernel = tuned(add_in_place, **given)
    x, _ = tensors()
    before = x.clone()
    kernel[grid_of(100)](x, 100)
    torch.testing.assert_close(x, before + 1)


def test_arguments_that_are_none_are_neither_reset_nor_restored() -> None:
    @triton.jit
    def kernel(x, y, n, BLOCK: tl.constexpr):
        offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(y + offsets, 1.0, mask=offsets < n)

    decorated = tuned(kernel, reset_to_zero=["x"], restore_value=["x"])
    _, y = tensors()
    decorated[grid_of(100)](None, y, 100)
    assert torch.equal(y, torch.ones_like(y))


def test_hooks_are_called_around_every_launch_of_the_tuning() -> None:
    seen: list[tuple[str, Any]] = []

    def before(kwargs: dict[str, Any], reset_only: bool = False) -> None:
        seen.append(("reset" if reset_only else "before", sorted(kwargs)))

    def after(kwargs: dict[str, Any], exception: Exception | None) -> None:
        seen.append(("after", exception))

    kernel = tuned(pre_hook=before, post_hook=after, do_bench=Bench(1.0, 2.0))
    x, y = tensors()
    kernel[grid_of(100)](x, y, 100)
    launches = len(seen)
    assert launches >= 4
    assert [name for name, _ in seen] == [*["before", "after"] * (launches // 2), "reset"]
    assert {"x", "y", "n", "BLOCK", "num_warps", "grid"} <= set(seen[0][1])
    kernel[grid_of(100)](x, y, 100)
    assert len(seen) == launches  # a hit calls none, as with triton.autotune


def test_a_configs_own_hook_runs_before_every_launch_of_it() -> None:
    seen: list[int] = []

    def hook(block: int) -> Any:
        return lambda kwargs: seen.append((block, kwargs["BLOCK"], kwargs["n"]))

    both = [triton.Config({"BLOCK": block}, pre_hook=hook(block)) for block in (16, 64)]
    kernel = tuned(configs=both, do_bench=Bench(2.0, 1.0))
    x, y = tensors()
    for _ in range(3):
        seen.clear()
        kernel[grid_of(100)](x, y, 100)
    assert seen == [(64, 64, 100)]


def test_pruning_sees_what_was_given_how_and_narrows_the_list() -> None:
    seen: dict[str, Any] = {}

    def prune(configs: list[triton.Config], named: dict[str, Any], **kwargs: Any) -> list[triton.Config]:
        seen.update(named=sorted(named), kwargs=sorted(kwargs))
        return configs[1:]

    bench = Bench(3.0, 2.0)
    kernel = tuned(blocks=(16, 64, 32), prune_configs_by={"early_config_prune": prune}, do_bench=bench)
    x, y = tensors()
    for _ in range(2):
        kernel[grid_of(100)](x, y, n=100)
    assert seen == {"named": ["x", "y"], "kwargs": ["grid", "n", "warmup"]}
    assert bench.timed == 2
    assert kernel.best_config is kernel.configs[2]


def test_a_single_config_that_is_left_is_not_timed() -> None:
    bench = Bench(1.0)
    model = {"perf_model": lambda **given: -given["BLOCK"], "top_k": 1}
    for given in ({"blocks": (64,)}, {"prune_configs_by": model}, {"prune_configs_by": {**model, "top_k": 0.3}}):
        kernel = tuned(do_bench=bench, **given)
        x, y = tensors()
        kernel[grid_of(100)](x, y, 100)
        torch.testing.assert_close(y, x + 1)
        assert kernel.best_config.kwargs["BLOCK"] == 64
    assert bench.timed == 0


def test_nothing_left_after_pruning_is_tritons_error() -> None:
    kernel = tuned(prune_configs_by={"early_config_prune": lambda *_, **__: []})
    x, y = tensors()
    with pytest.raises(AutotunerError, match="should return at least one config"):
        kernel[grid_of(100)](x, y, 100)


def test_a_knob_that_the_caller_gives_is_an_error() -> None:
    x, y = tensors()
    with pytest.raises(ValueError, match="Conflicting meta-parameters: BLOCK"):
        tuned()[grid_of(100)](x, y, 100, BLOCK=32)


@pytest.mark.parametrize("argument", ["key", "reset_to_zero", "restore_value", "bucket"])
def test_an_unknown_name_is_an_error_at_decoration(argument: str) -> None:
    given: dict[str, Any] = {argument: {"m": tunedb.pow2} if argument == "bucket" else ["m"]}
    with pytest.raises(ValueError, match=rf"{argument} contains names .*: m\. Valid"):
        tuned(**given)


@pytest.mark.parametrize("given", [{"warmup": 1}, {"rep": 1}])
def test_the_deprecated_arguments_choose_tritons_own_benchmark(given: dict[str, int]) -> None:
    with pytest.warns(DeprecationWarning, match="deprecated"):
        kernel = tuned(**given)
    assert kernel._do_bench is not None


def test_the_knob_prints_each_config_and_the_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(knobs.autotuning, "print", True)
    x, y = tensors()
    tuned(do_bench=Bench(1.0, 2.0))[grid_of(100)](x, y, 100)
    printed = capsys.readouterr().out
    assert printed.count("Autotuning kernel add_one with config BLOCK: ") == 2
    assert "Triton autotuning for function add_one" in printed
    assert "best config selected: BLOCK: 16" in printed


@pytest.mark.usefixtures("patience")
@pytest.mark.skipif(not hasattr(knobs.autotuning, "listener"), reason="this Triton has no such knob")
def test_the_listener_is_told_of_a_tuning_and_of_a_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(knobs.autotuning, "listener", lambda **given: told.append(given))
    kernel = tuned(do_bench=Bench(1.0, 2.0))
    x, y = tensors()
    for _ in range(2):
        kernel[grid_of(100)](x, y, 100)
    kernel.cache.clear()
    kernel[grid_of(100)](x, y, 100)
    assert [one["cache_hit"] for one in told] == [False, True]
    assert told[0]["duration"] > 0
    assert told[1]["duration"] is None
    assert told[1]["best_config"] in told[1]["configs_timings"]
    assert told[0]["key"] == told[1]["key"] == (100, "torch.float32", "torch.float32")


def test_another_list_may_be_assigned() -> None:
    kernel = tuned(do_bench=Bench(1.0, 2.0))
    x, y = tensors()
    kernel[grid_of(100)](x, y, 100)
    kernel.configs = configs(32)
    kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config.kwargs == {"BLOCK": 32}


def test_top_k_that_leaves_nothing_is_tritons_error() -> None:
    x, y = tensors()
    kernel = tuned(prune_configs_by={"perf_model": lambda **_: 1.0, "top_k": 0})
    with pytest.raises(AutotunerError, match="top_k is 0"):
        kernel[grid_of(100)](x, y, 100)


@runs_kernels
def test_an_error_of_a_configs_own_is_that_configs_whoever_raises_it() -> None:
    def bench(launch: Any, quantiles: Any) -> list[float]:
        if not seen:
            seen.append(1)
            raise OutOfResources(200_000, 99_000, "shared memory")
        launch()
        return [1.0] * len(quantiles)

    seen: list[int] = []
    x, y = tensors()
    kernel = tuned(do_bench=bench)
    kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config is kernel.configs[1]


def test_a_list_that_is_changed_in_place_is_seen() -> None:
    x, y = tensors()
    kernel = tuned(do_bench=Bench(2.0, 1.0, 0.5))
    kernel[grid_of(100)](x, y, 100)
    kernel.configs.append(triton.Config({"BLOCK": 128}))
    kernel[grid_of(99)](x, y, 99)
    assert [one.kwargs["BLOCK"] for one in kernel.configs_timings] == [16, 64, 128]


def test_the_timings_of_configs_that_pruning_made_are_told() -> None:
    x, y = tensors()
    kernel = tuned(do_bench=Bench(2.0, 1.0), prune_configs_by={"early_config_prune": lambda configs, named, **_: made})
    made = configs(32, 128)
    kernel[grid_of(100)](x, y, 100)
    assert {one.kwargs["BLOCK"]: times[0] for one, times in kernel.configs_timings.items()} == {32: 2.0, 128: 1.0}


def test_an_entry_that_is_put_into_the_cache_answers_the_call() -> None:
    x, y = tensors()
    kernel = tuned(do_bench=Bench(2.0, 1.0))
    for _ in range(2):
        kernel[grid_of(100)](x, y, 100)
    [key] = kernel.cache
    kernel.cache[key] = kernel.configs[0]
    kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config is kernel.configs[0]
    assert kernel.cache.popitem() == (key, kernel.configs[0])
    kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config is kernel.configs[1]
    kernel.cache.update({key: kernel.configs[0]})
    assert kernel.cache.setdefault(key, kernel.configs[1]) is kernel.configs[0]
    kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config is kernel.configs[0]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_has_a_memory_of_its_own(copied: Any) -> None:
    x, y = tensors()
    kernel = tuned(do_bench=Bench(2.0, 1.0), restore_value=["x"])
    kernel[grid_of(100)](x, y, 100)
    other = copied(kernel)
    other.configs.append(triton.Config({"BLOCK": 128}))
    kernel.best_config = None
    other[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 1)
    assert other.best_config is not None
    assert (kernel.best_config, len(kernel.configs)) == (None, 2)


@runs_kernels
def test_attributes_that_a_program_assigns_are_followed() -> None:
    launched: list[int] = []
    kernel, (x, y) = tuned(do_bench=Bench(2.0, 1.0)), tensors()
    kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config is kernel.configs[1]
    kernel.post_hook = lambda named, exception: launched.append(named["BLOCK"])
    kernel.user_defined_post_hook = True
    kernel[grid_of(90)](x, y, 90)
    assert set(launched) == {16, 64}
    kernel.early_config_prune = lambda configs, named, **_: configs[:1]
    kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config is kernel.configs[0]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"bucket": {"n": 5}}, "bucket: n: expected a function, such as tunedb.pow2, got 5"),
        ({"name": "a b"}, "name: "),
        ({"name": 3}, "name: "),
        ({"reference": 3}, "reference: expected a function of the kernel's arguments by name, got 3"),
        ({"reference": lambda *a: {}}, r"reference: expected parameters that can be passed by name, got \*a\."),
        ({"reference": lambda x, /: {}}, r"that can be passed by name, got x\."),
    ],
)
def test_a_decoration_that_can_not_work_is_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(SettingError, match=match):
        tuned(**given)
    with pytest.raises(SettingError, match=r"expected a function decorated with @triton\.jit"):
        tunedb.autotune(configs(16), key=[])(lambda x: x)


@pytest.mark.parametrize("bucket", [tunedb.pow2, tunedb.multiple_of(64)])
def test_a_bucket_takes_whole_numbers_of_every_kind_and_no_others(bucket: Any) -> None:
    assert bucket(numpy.int64(60)) == bucket(60) == 64
    x, y = tensors()
    kernel = tuned(bucket={"n": bucket})
    with pytest.raises(IdentityError, match=r"bucket: n: failed for 99\.5"):
        kernel[(2,)](x, y, 99.5)
