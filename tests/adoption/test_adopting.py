"""Kernels that triton.autotune decorated are served by the tuner while they are adopted."""

from __future__ import annotations

import copy
import gc
import inspect
import os
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import triton
import triton.runtime.autotuner

import tunedb
from tests.adoption.kernels import call, plain, record_of
from tests.decorator.kernels import EVEN, Bench, add_even, add_one, configs, new_process, tuned
from tests.decorator.stub import StubDriver, once
from tests.decorator.test_store import stored
from tunedb.adoption import outcome
from tunedb.adoption.refusal import Refused, check
from tunedb.decorator.autotuner import Autotuner
from tunedb.runtime import compat_triton
from tunedb.store import Store

Tritons = triton.runtime.Autotuner
imported_before = triton.autotune


class Subclass(Tritons):
    """It keeps `run`."""


class Counting(Tritons):
    """It does something first, and calls Triton's `run`."""

    count = 0

    def run(self, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return super().run(*args, **kwargs)


def directly(kind: type[Tritons]) -> Callable[..., Callable[[Any], Any]]:
    """A decorator that constructs this class."""
    return lambda configs, key, **given: lambda jit: kind(jit, jit.arg_names, configs, key, None, None, **given)


WAYS: dict[str, Any] = {
    "triton.autotune": lambda **given: triton.autotune(**given),
    "triton.runtime.autotuner.autotune": lambda **given: triton.runtime.autotuner.autotune(**given),
    "a name imported before": imported_before,
    "constructed": directly(Tritons),
    "a subclass": directly(Subclass),
    "a subclass that calls run": directly(Counting),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_before", [True, False], ids=["decorated before", "decorated after"])
def test_a_kernel_is_adopted_whatever_way_it_was_decorated(
    stub: StubDriver, store: Store, way: str, is_before: bool
) -> None:
    kernel = plain(decorate=WAYS[way]) if is_before else None
    with tunedb.adopt():
        kernel = kernel or plain(decorate=WAYS[way])
        kind, isinstance_of_tritons = type(kernel), isinstance(kernel, Tritons)
        assert record_of(kernel).state == "not called"
        for _ in range(3):
            call(kernel)
        assert record_of(kernel).state == "adopted"
    assert [sweep.problem.kernel for sweep in stored(store)] == ["tests.decorator.kernels.add_one"]
    assert isinstance(stub.launches[-1][1][0], int)  # an address: later calls have a plan
    assert getattr(kernel, "count", 3) == 3
    assert type(kernel) is kind
    assert isinstance_of_tritons


def test_a_later_process_finds_what_an_earlier_one_tuned(adoption: object) -> None:
    call(plain(do_bench=Bench(2.0, 1.0)))
    new_process()
    bench = Bench(1.0)
    kernel = plain(do_bench=bench)
    call(kernel)
    assert bench.timed == 0
    assert kernel.best_config is kernel.configs[1]


@pytest.mark.parametrize("way", ["below", "outside", "both"])
def test_heuristics_may_be_below_it_or_outside(adoption: object, stub: StubDriver, way: str) -> None:
    even = triton.heuristics(EVEN)
    inner = even(add_even) if way == "below" else add_even
    if way == "both":
        inner = triton.heuristics({"EVEN": lambda given: False})(add_even)
    autotuner = plain(jit=inner)
    kernel = triton.heuristics({"EVEN": lambda given: False})(autotuner) if way == "outside" else autotuner
    for _ in range(3):
        call(kernel)
    assert [record.state for record in tunedb.adopted() if record.kernel.endswith("add_even")] == ["adopted"]
    assert isinstance(stub.launches[-1][1][0], int)


def test_everything_is_back_at_the_end(stub: StubDriver) -> None:
    run, kernel, bench = Tritons.run, plain(), Bench(1.0, 2.0)
    attributes = set(vars(kernel))
    with tunedb.adopt():
        assert Tritons.run is not run
        assert inspect.signature(Tritons.run) == inspect.signature(run)
        assert inspect.signature(Tritons) == inspect.signature(Tritons.__init__).replace(
            parameters=list(inspect.signature(Tritons.__init__).parameters.values())[1:]
        )
        call(kernel)
    assert Tritons.run is run
    assert set(vars(kernel)) - attributes == {"nargs", "best_config", "configs_timings", "bench_time"}
    assert kernel.cache == {}
    kernel.do_bench = bench
    call(kernel)
    assert bench.timed == 2  # Triton's own tuning


def test_adoptions_may_end_in_any_order(stub: StubDriver) -> None:
    run, kernel = Tritons.run, plain()
    first, second = tunedb.adopt(only="nothing"), tunedb.adopt(only="tests.*")
    call(kernel)
    assert record_of(kernel).state == "adopted"
    first.undo()
    first.undo()
    assert record_of(kernel).state == "adopted"
    with tunedb.adopt(skip="tests.*"):
        assert record_of(kernel).state == "adopted"
        second.undo()
        call(kernel)
        assert record_of(kernel).state == "kept"
        assert "skip" in record_of(kernel).reason
    assert Tritons.run is run
    assert "not called" in record_of(kernel).reason


def test_an_adoption_may_end_while_another_thread_decides(stub: StubDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    def ending(kernel: Any) -> Any:
        adoption.undo()
        return companion(kernel)

    companion = outcome.Companion
    monkeypatch.setattr(outcome, "Companion", ending)
    adoption, kernel = tunedb.adopt(), plain()
    call(kernel)
    assert kernel.best_config is kernel.configs[0]
    assert "_tunedb_outcome" not in vars(kernel)


@pytest.mark.parametrize(
    ("given", "is_adopted"),
    [
        ({"only": "tests.decorator.kernels"}, True),
        ({"only": "tests.decorator.kernels.*"}, True),
        ({"only": "tests.decorator.kernels.add_*"}, True),
        ({"only": ["nothing", "*.kernels"]}, True),
        ({"only": "decorator.*"}, False),
        ({"only": "tests"}, False),
        ({"skip": "tests.*"}, False),
        ({"only": "tests.*", "skip": ["*.add_one"]}, False),
        ({"skip": "*.add_two"}, True),
        ({"only": []}, False),
    ],
)
def test_patterns_select_by_module_and_by_name(stub: StubDriver, given: dict[str, Any], is_adopted: bool) -> None:
    kernel = plain()
    with tunedb.adopt(**given):
        call(kernel)
        assert (record_of(kernel).state == "adopted") == is_adopted


@pytest.mark.parametrize("wrong", [3, ["a", None], "", 0])
@pytest.mark.parametrize("argument", ["only", "skip"])
def test_a_pattern_that_is_no_text_is_an_error(argument: str, wrong: Any) -> None:
    with pytest.raises(tunedb.SettingError, match=f"{argument}: expected a pattern"):
        tunedb.adopt(**{argument: wrong})


def test_tunedbs_own_kernels_are_not_touched(stub: StubDriver) -> None:
    kernel = tuned(do_bench=once)
    launch = kernel._launch
    with tunedb.adopt():
        call(kernel)
        assert kernel._launch is launch
        assert compat_triton.is_tritons_own(Tritons.run)  # no warning of a method that a program has replaced
        assert [record for record in tunedb.adopted() if record.kernel.endswith("add_one")] == []
    assert len(kernel.cache) == 1


def test_one_config_is_left_to_triton_until_there_are_several(adoption: object) -> None:
    kernel = plain(blocks=(16,))
    call(kernel)
    assert (record_of(kernel).state, record_of(kernel).reason) == (
        "kept", "it has one config, so there is nothing to choose",
    )  # fmt: skip
    kernel.configs.extend(configs(32, 64))
    call(kernel)
    assert record_of(kernel).state == "adopted"
    assert len(kernel.configs_timings) == 3


def test_many_threads_get_one_companion(adoption: object, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, served, barrier = plain(), [], threading.Barrier(4)
    launch = Autotuner.__getitem__

    def noted(self: Any, grid: Any) -> Any:
        served.append(self)
        return launch(self, grid)

    monkeypatch.setattr(Autotuner, "__getitem__", noted)

    def work() -> None:
        barrier.wait()
        call(kernel)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(served) == 4
    assert len(set(map(id, served))) == 1


def test_copies_are_kernels_of_their_own(adoption: object) -> None:
    kernel = plain()
    call(kernel)
    for other in (copy.copy(kernel), copy.deepcopy(kernel.configs) and copy.copy(kernel)):
        other.configs = configs(32, 128)
        call(other)
        assert other.best_config in other.configs
        assert kernel.configs[0].kwargs == {"BLOCK": 16}
    assert pickle.loads(pickle.dumps(vars(kernel)["_tunedb_outcome"])) is None


def test_a_failure_of_ours_never_reaches_the_caller(
    adoption: object, stub: StubDriver, monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture
) -> None:
    def broken(kernel: Any) -> None:
        raise LookupError("of ours")

    monkeypatch.setattr(outcome, "Companion", broken)
    kernel = plain()
    for _ in range(3):
        call(kernel)
    assert record_of(kernel).state == "kept"
    assert record_of(kernel).reason == "tunedb failed to adopt it (LookupError: of ours)"
    assert len(records.messages) == 1
    assert len(kernel.cache) == 1


def test_a_forked_child_goes_on(adoption: object) -> None:
    kernels = plain(), plain()
    call(kernels[0])
    child = os.fork()
    if child == 0:
        failed = True
        try:
            for kernel in kernels:
                call(kernel)
            failed = any(record.state != "adopted" for record in tunedb.adopted())
        finally:
            os._exit(failed)
    assert os.waitpid(child, 0)[1] == 0


def test_interpreted_kernels_are_left_to_triton(stub: StubDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton.knobs.runtime, "interpret", True)
    kernel = plain(jit=triton.jit(add_one.fn))
    with pytest.raises(Refused, match="interpreter"):
        check(kernel)


def test_kernels_that_nothing_else_refers_to_are_collected(adoption: object) -> None:
    kernel = plain()
    call(kernel)
    gone = weakref.ref(kernel)
    del kernel
    gc.collect()
    assert gone() is None


def test_what_triton_has_loaded_can_be_captured_at_once(stub: StubDriver) -> None:
    kernel = plain(do_bench=Bench(2.0, 1.0))
    call(kernel)
    with tunedb.adopt():
        stub.capturing = True
        call(kernel)
        assert kernel.best_config is kernel.configs[1]
        with pytest.raises(tunedb.SweepError, match="a CUDA graph is being captured"):
            call(kernel, 200)


def test_an_observer_that_reads_every_attribute_decides_nothing(
    adoption: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    kernel = plain()
    assert dict(inspect.getmembers(kernel))["early_config_prune"] is None
    assert record_of(kernel).state == "not called"


def test_triton_hashes_its_libraries_while_the_program_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr("tunedb.runtime.compile_job.preload_aside", lambda: begun.append("on a thread"))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with tunedb.adopt():
        assert begun == ["on a thread"]
    begun.clear()
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with tunedb.adopt():
        assert begun == []
