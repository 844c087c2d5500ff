"""An adopted kernel has the attributes that triton.autotune leaves, and edits of them work as with triton.autotune."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import triton
import triton.language as tl

import tunedb
from tests.adoption.kernels import call, plain, record_of
from tests.decorator.kernels import Bench, add_one, add_some, configs, grid_of, tuned
from tests.decorator.stub import StubDriver, once


def test_a_call_leaves_what_tritons_leaves(stub: StubDriver) -> None:
    kernels = [plain(do_bench=Bench(3.0, 1.0, 2.0), blocks=(16, 32, 64)) for _ in range(2)]
    seen = []
    for kernel in kernels:
        with pytest.raises(AttributeError, match="best_config"):
            _ = kernel.best_config
        call(kernel)
        seen.append([
            set(vars(kernel)) - {"do_bench", "_tunedb_outcome"}, kernel.best_config, dict(kernel.cache), kernel.nargs,
            kernel.configs_timings, kernel.bench_time > 0, kernel.keys, kernel.fn, kernel.arg_names,
        ])  # fmt: skip
        if kernel is kernels[0]:
            adoption = tunedb.adopt()
    adoption.undo()
    assert seen[0][2:] == seen[1][2:]
    assert seen[0][1].kwargs == seen[1][1].kwargs == {"BLOCK": 32}
    assert seen[1][0] <= seen[0][0]


def test_what_a_program_puts_into_the_cache_decides(adoption: object) -> None:
    kernel = plain(do_bench=Bench(2.0, 1.0))
    call(kernel)
    key, other = next(iter(kernel.cache)), triton.Config({"BLOCK": 32})
    kernel.cache[key] = other
    call(kernel)
    assert kernel.best_config is other
    del kernel.cache[key]
    call(kernel)
    assert kernel.best_config is kernel.configs[1]
    kernel.cache = {key: other}
    call(kernel)
    assert kernel.best_config is other


def test_assigned_results_are_read_back(adoption: object) -> None:
    for kernel in (plain(), tuned(do_bench=once)):
        call(kernel)
        kernel.bench_time, kernel.configs_timings = 7.0, {kernel.configs[0]: [1.0] * 3}
        assert (kernel.bench_time, len(kernel.configs_timings)) == (7.0, 1)


def test_a_cleared_cache_asks_the_store_again(adoption: object) -> None:
    bench = Bench(2.0, 1.0)
    kernel = plain(do_bench=bench)
    call(kernel)
    kernel.cache.clear()
    assert kernel.cache == {}
    call(kernel)
    assert len(kernel.cache) == 1
    assert bench.timed == 2


def test_what_tritons_own_cache_holds_stays(stub: StubDriver) -> None:
    kernel, bench = plain(do_bench=Bench(2.0, 1.0)), Bench(1.0, 2.0)
    call(kernel)
    kernel.do_bench = bench
    with tunedb.adopt():
        call(kernel)
        assert kernel.best_config is kernel.configs[1]
        call(kernel, 200)
        assert bench.timed == 2
        assert len(kernel.cache) == 2
    assert list(kernel.cache.values()) == [kernel.configs[1]]
    call(kernel, 200)
    assert bench.timed == 4  # the choice of tunedb went with it


@pytest.mark.parametrize("how", ["assigned", "in place", "a config in place"])
def test_edited_configs_count_at_the_next_call(adoption: object, stub: StubDriver, how: str) -> None:
    kernel = plain()
    for _ in range(2):
        call(kernel)
    if how == "assigned":
        kernel.configs = configs(32, 128)
    elif how == "in place":
        kernel.configs[:] = configs(32, 128)
    else:
        kernel.configs[0].kwargs["BLOCK"], kernel.configs[1].kwargs["BLOCK"] = 32, 128
    call(kernel)
    assert stub.launches[-1][1][-1] == 32
    assert vars(kernel)["configs"] is kernel.configs


def test_assigned_hooks_are_called(adoption: object) -> None:
    kernel, seen = plain(), []
    call(kernel)
    kernel.pre_hook = lambda kwargs, reset_only=False: seen.append("before")
    kernel.post_hook = lambda kwargs, exception: seen.append("after")
    call(kernel, 200)
    assert seen.count("before") == seen.count("after") + 1  # the last resets only


def test_an_assigned_pruning_function_is_called(adoption: object) -> None:
    kernel = plain()
    call(kernel)
    kernel.early_config_prune = lambda configs, named, **kwargs: configs[-1:]
    call(kernel, 200)
    assert kernel.best_config is kernel.configs[-1]


def test_another_function_makes_another_kernel(adoption: object, stub: StubDriver) -> None:
    kernel = plain(configs=[triton.Config({"BLOCK": block, "SOME": 1}) for block in (16, 64)], jit=add_some)
    call(kernel)
    kernel.configs = configs(16, 64)
    kernel.fn, kernel.arg_names = add_one, add_one.arg_names
    call(kernel)
    assert record_of(kernel).state == "adopted"


def test_attributes_of_the_class_stay_hidden(adoption: object) -> None:
    kernel = plain()
    del kernel.pre_hook
    for name in ("pre_hook", "bench_time", "nothing"):
        with pytest.raises(AttributeError, match=f"'Autotuner' object has no attribute '{name}'"):
            getattr(kernel, name)


def test_a_subclass_prunes_in_its_own_way(adoption: object) -> None:
    class Last(triton.runtime.Autotuner):
        def prune_configs(self, kwargs: dict[str, Any]) -> list[triton.Config]:
            assert set(self.nargs) | set(kwargs) >= {"x", "y", "n"}
            left: list[triton.Config] = super().prune_configs(kwargs)
            return left[-1:]

    kernel = plain(decorate=lambda configs, key, **rest: lambda jit: Last(
        jit, jit.arg_names, configs, key, None, None, **rest
    ))  # fmt: skip
    call(kernel)
    assert kernel.best_config is kernel.configs[-1]
    assert kernel.nargs is None
    kernel.prune_configs = lambda kwargs: kernel.configs[:1]
    call(kernel, 200)
    assert kernel.best_config is kernel.configs[0]
    assert record_of(kernel).state == "adopted"


class FromFiles(triton.runtime.Autotuner):
    """A subclass in the manner of packages that ship configs in files: what it finds there goes into the cache."""

    file: Callable[[Sequence[Any]], triton.Config | None] = staticmethod(lambda key: None)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        named = dict(zip(self.arg_names, args, strict=False))
        key = (*(named[name] for name in self.keys), *(str(arg.dtype) for arg in args if hasattr(arg, "dtype")))
        config = self.file(key) if key not in self.cache else None
        if config is not None:
            if self.early_config_prune is not None:
                self.configs = self.early_config_prune([*self.configs, config], named, **kwargs)
            self.cache[key] = config
        return super().run(*args, **kwargs)


def test_a_subclasss_own_file_comes_first(adoption: object) -> None:
    kernel = plain(decorate=lambda configs, key, **rest: lambda jit: FromFiles(
        jit, jit.arg_names, configs, key, None, None, **rest
    ))  # fmt: skip
    call(kernel)
    assert kernel.best_config is kernel.configs[0]
    shipped = triton.Config({"BLOCK": 32})
    kernel.file = lambda key: shipped if key[0] == 200 else None
    for n, config in ((200, shipped), (300, kernel.configs[0]), (200, shipped), (100, kernel.configs[0])):
        call(kernel, n)
        assert kernel.best_config is config
    assert record_of(kernel).state == "adopted"
    assert len(kernel.configs) == 2


@triton.jit
def add_given(x, y, n, BLOCK: tl.constexpr):
    """Both pointers may be None."""
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if y is not None:
        tl.store(y + offsets, 1.0, mask=offsets < n)
    if x is not None:
        tl.store(x + offsets, 1.0, mask=offsets < n)


@pytest.mark.parametrize("is_adopted", [True, False], ids=["adopted", "decorated"])
def test_optional_pointers_may_be_none(stub: StubDriver, is_adopted: bool) -> None:
    given: dict[str, Any] = {"reset_to_zero": ["y"], "restore_value": ["x"]}
    with tunedb.adopt():
        kernel = plain(jit=add_given, **given) if is_adopted else tuned(add_given, do_bench=once, **given)
        y = torch.full((100,), 7.0)
        for _ in range(2):
            kernel[grid_of(100)](None, y, 100)
        assert not y.any()
        x = torch.full((100,), 7.0)
        for _ in range(2):
            kernel[grid_of(100)](x, None, 100)
        assert x.eq(7.0).all()
