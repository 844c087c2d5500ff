"""What can't be adopted runs exactly as it did, and is listed with the reason."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any, ClassVar

import pytest
import torch
import triton
from triton.compiler.errors import CompilationError
from triton.runtime.errors import OutOfResources

import tunedb
from tests.adoption.kernels import call, plain, record_of
from tests.decorator.kernels import Bench, add_one, configs, grid_of
from tests.decorator.stub import StubDriver, once
from tunedb.adoption.refusal import Refused, check

Tritons = triton.runtime.Autotuner
_NO_CONTENT = threading.Lock()


def replaced(name: str, calls: list[str]) -> Any:
    """A replacement of a method of Triton's class, which notes its calls."""
    original = getattr(Tritons, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return original(self, *args, **kwargs)

    return method


@pytest.mark.parametrize("name", ["run", "prune_configs", "_bench", "check_disk_cache"])
@pytest.mark.parametrize("when", ["before", "after", "after a call"])
def test_a_method_that_a_program_replaced_on_tritons_class_is_called(stub: StubDriver, name: str, when: str) -> None:
    calls: list[str] = []
    kernel = plain(cache_results=name == "check_disk_cache")
    with tunedb.adopt() as adoption, pytest.MonkeyPatch.context() as patch:
        if when == "before":
            adoption.undo()
            patch.setattr(Tritons, name, replaced(name, calls))
            adoption = tunedb.adopt()
        elif when == "after a call":
            call(kernel)
            assert record_of(kernel).state == "adopted"
        if when != "before":
            patch.setattr(Tritons, name, replaced(name, calls))
        for _ in range(2):
            call(kernel, 200)
        is_reached = name == "run" and when != "before"  # it calls ours
        assert record_of(kernel).state == ("adopted" if is_reached else "kept")
        if not is_reached:
            assert name in record_of(kernel).reason
    adoption.undo()
    assert calls == {"run": ["run"] * 2, "_bench": ["_bench"] * 2}.get(name, [name])


def test_a_run_that_a_program_put_over_ours_goes_on_when_it_ends(stub: StubDriver) -> None:
    kernel, calls = plain(), []
    run = Tritons.run
    adoption = tunedb.adopt()
    Tritons.run = replaced("run", calls)
    call(kernel)
    adoption.undo()
    call(kernel)
    assert calls == ["run"] * 2
    assert "replaced run" in record_of(kernel).reason
    with tunedb.adopt():
        call(kernel)
        assert record_of(kernel).state == "kept"
    Tritons.run = run


@pytest.mark.parametrize("name", ["_bench", "check_disk_cache"])
def test_a_subclass_that_tunes_in_its_own_way_is_left_to_triton(adoption: object, name: str) -> None:
    calls: list[str] = []
    kind = type("Own", (Tritons,), {name: replaced(name, calls)})
    kernel = plain(decorate=lambda configs, key, **rest: lambda jit: kind(
        jit, jit.arg_names, configs, key, None, None, **rest
    ), cache_results=name == "check_disk_cache")  # fmt: skip
    call(kernel)
    assert record_of(kernel).state == "kept"
    assert record_of(kernel).reason.startswith(f"{name} of Own is not Triton's")
    assert calls[0] == name


class Attributes(Tritons):
    """It keeps its configs in its own way."""

    @property
    def configs(self) -> list[triton.Config]:
        return self.own

    @configs.setter
    def configs(self, given: list[triton.Config]) -> None:
        self.own = given


class Shared(Tritons):
    """All its kernels share a cache."""

    cache: ClassVar[dict[Any, triton.Config]] = {}


@pytest.mark.parametrize(("kind", "name"), [(Attributes, "configs"), (Shared, "cache")])
@pytest.mark.parametrize("blocks", [(16,), (16, 64)])
def test_a_subclass_with_attributes_of_its_own_is_left_to_triton(
    adoption: object, stub: StubDriver, kind: type[Tritons], name: str, blocks: tuple[int, ...]
) -> None:
    kernel = plain(blocks=blocks, decorate=lambda configs, key, **rest: lambda jit: kind(
        jit, jit.arg_names, configs, key, None, None, **rest
    ))  # fmt: skip
    for n in (100, 200):
        call(kernel, n)
        kernel.configs = configs(32, 128)
    assert stub.launches[-1][1][-1] == 32
    assert record_of(kernel).reason == f"{name} of {kind.__name__} is not Triton's"


class Elsewhere(dict[Any, Any]):
    """A cache that finds an entry for every key."""

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: object) -> triton.Config:
        return triton.Config({"BLOCK": 256})


@pytest.mark.parametrize("is_called_before", [False, True])
def test_a_cache_that_looks_elsewhere_is_left_to_triton(
    adoption: object, stub: StubDriver, is_called_before: bool
) -> None:
    kernel = plain()
    if is_called_before:
        for _ in range(2):
            call(kernel)
    kernel.cache = cache = Elsewhere()
    call(kernel)
    assert stub.launches[-1][1][-1] == 256
    assert kernel.cache is cache
    assert record_of(kernel).reason.startswith("its cache is a Elsewhere")


@pytest.mark.parametrize("is_overridden", [True, False], ids=["a subclass's", "one kernel's"])
def test_a_run_that_never_calls_tritons_is_listed(adoption: object, is_overridden: bool) -> None:
    class Own(Tritons):
        def run(self, *args: Any, **kwargs: Any) -> Any:
            return self.fn.run(*args, **kwargs, **self.configs[-1].all_kwargs())

    kernel = plain(decorate=lambda configs, key, **rest: lambda jit: (Own if is_overridden else Tritons)(
        jit, jit.arg_names, configs, key, None, None, **rest
    ))  # fmt: skip
    if not is_overridden:
        kernel.run = MethodType(Own.run, kernel)
    call(kernel)
    record = record_of(kernel)
    assert (record.state, record.reason.partition(" ")[0]) == ("not called", "run")


def test_a_tensor_in_key_is_left_to_triton(adoption: object, records: pytest.LogCaptureFixture) -> None:
    kernel = plain(key=["x"])
    for _ in range(2):
        call(kernel)
    assert record_of(kernel).reason.startswith("key: x is a tensor")
    assert len(records.messages) == 1
    assert len(kernel.cache) == 2


def test_a_name_in_key_that_is_no_argument_counts_for_nothing(adoption: object) -> None:
    kernel = plain()
    kernel.keys = ["n", "no_such_argument"]  # a later Triton refuses it at decoration
    call(kernel)
    assert record_of(kernel).state == "adopted"
    assert [key[0] for key in kernel.cache] == [100]


def test_an_autotuner_around_another_is_left_to_triton(adoption: object) -> None:
    kernel = plain(configs=[triton.Config({}, num_warps=warps) for warps in (1, 2)], jit=plain())
    with pytest.raises(Refused, match="around another Autotuner"):
        check(kernel)


def test_a_kernel_without_a_stable_hash_is_tuned_by_triton_itself(adoption: object) -> None:
    bench = Bench(2.0, 1.0)
    kernel = plain(
        configs=[triton.Config({}, num_warps=warps) for warps in (1, 2)], do_bench=bench,
        jit=triton.heuristics({"BLOCK": lambda given, _=_NO_CONTENT: 16})(add_one),
    )  # fmt: skip
    for _ in range(2):
        call(kernel)
    assert kernel.best_config is kernel.configs[1]
    assert bench.timed == 2
    assert (record_of(kernel).state, record_of(kernel).reason.partition(":")[0]) == (
        "kept", "it has no hash, so Triton tunes it",
    )  # fmt: skip


@pytest.mark.parametrize("is_adopted", [False, True])
def test_if_every_config_fails_the_first_is_launched_as_with_triton(stub: StubDriver, is_adopted: bool) -> None:
    def too_large(launch: Callable[[], object], quantiles: Sequence[float]) -> list[float]:
        raise OutOfResources(2, 1, "shared memory")

    with tunedb.adopt(skip=() if is_adopted else "*"):
        kernel = plain(do_bench=too_large)
        for _ in range(2):
            call(kernel)
            assert kernel.best_config is kernel.configs[0]
        with pytest.raises(CompilationError):
            kernel[(1,)](None, None, 100)
        assert record_of(kernel).state == ("adopted" if is_adopted else "kept")


def test_a_strict_mode_holds_for_adopted_kernels(adoption: object) -> None:
    with tunedb.using(mode="strict"), pytest.raises(tunedb.MissError):
        call(plain())


def test_warming_up_goes_through_triton(adoption: object) -> None:
    kernel = plain()
    assert len(kernel.warmup(torch.float32, torch.float32, 100, grid=(1,))) == 2
    assert record_of(kernel).state == "not called"


@pytest.mark.parametrize("is_called_before", [False, True])
def test_heuristics_around_a_kernel_warm_it_up_through_triton(
    adoption: object, stub: StubDriver, is_called_before: bool
) -> None:
    kernel = plain(do_bench=Bench(1.0, 2.0, 2.0, 1.0))
    if is_called_before:
        call(kernel, 300)
    launches = len(stub.launches)
    compiled = triton.heuristics({})(kernel).warmup(torch.float32, torch.float32, 100, grid=(1,))
    assert compiled.metadata.name == "add_one"
    assert len(stub.launches) == launches
    call(kernel)
    assert record_of(kernel).state == "adopted"
    assert kernel.best_config is kernel.configs[not is_called_before]  # what compiling chose does not count


def test_kept_kernels_keep_their_attributes(stub: StubDriver) -> None:
    with tunedb.adopt(skip="tests.*"):
        kernel = plain(do_bench=Bench(2.0, 1.0))
        call(kernel)
        assert kernel.best_config is kernel.configs[1]
        kernel.configs = configs(32, 64, 128)
        kernel.cache.clear()
        kernel.do_bench = once
        call(kernel)
        assert len(kernel.configs_timings) == 3
        kernel[grid_of(100)](torch.zeros(100), torch.zeros(100), n=100)
        assert len(kernel.cache) == 1


def test_what_is_not_around_a_jit_function_runs_as_it_did(adoption: object, records: pytest.LogCaptureFixture) -> None:
    class Kernel:
        arg_names = ("n",)

        @staticmethod
        def fn() -> None:
            """What Triton looks for below a kernel."""

        def run(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            return kwargs

    kernel = Tritons(Kernel(), ["n"], configs(16, 64), ["n"], None, None, do_bench=once)
    assert kernel.run(3).keys() == configs(16)[0].all_kwargs().keys()  # nothing is added
    assert kernel.run(3, grid=(1,), warmup=False).keys() >= {"grid", "warmup"}
    records_of = [record for record in tunedb.adopted() if record.kernel == "Autotuner"]
    assert [(record.state, record.reason) for record in records_of] == [("kept", "it is not around a jit function")]
    assert records.messages == []
