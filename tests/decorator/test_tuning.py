"""The sweep of a decorated kernel is that of any: it resumes, compiles ahead, races, and blames who is to blame."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from triton import knobs
from triton.tools.tensor_descriptor import TensorDescriptor

import tunedb
from tests.conftest import runs_kernels
from tests.decorator.kernels import (
    Bench,
    accumulate,
    add_even,
    add_in_place,
    add_one,
    add_some,
    configs,
    grid_of,
    new_process,
    tensors,
    tuned,
)
from tests.decorator.stub import StubDriver
from tests.decorator.test_dispatch import copy_tiles
from tests.decorator.test_store import stored
from tests.threads import errors_at_once
from tunedb.core.sweep import Sweep
from tunedb.runtime.clock import parts_of
from tunedb.store import Store
from tunedb.sweep.observer import suspect_of
from tunedb.tuner import session


class Script:
    """A benchmark function: what happens at each call in turn, milliseconds or an error of the launch or of its own."""

    def __init__(self, *steps: float | BaseException) -> None:
        self.steps = iter(steps)
        self.timed = 0

    def __call__(self, launch: Callable[[], object], quantiles: Sequence[float]) -> list[float]:
        launch()
        self.timed += 1
        step = next(self.steps)
        if isinstance(step, BaseException):
            raise step
        return [step] * len(quantiles)


def statuses(sweep: Sweep) -> dict[int, str]:
    """How each BLOCK, or SOME, fared."""
    return {trial.config.get("SOME", trial.config["BLOCK"]): trial.status for trial in sweep.trials}


def running(store: Store) -> list[Sweep]:
    """All that was begun, oldest first."""
    stored(store)
    return sorted(store.iter_sweeps(with_trials=True, finished=False), key=lambda sweep: sweep.started)


@runs_kernels
def test_a_tuning_that_was_interrupted_goes_on_with_what_was_learned(store: Store) -> None:
    some = [triton.Config({"BLOCK": 64, "SOME": value}) for value in (1, 2, 1, 1)]
    some[2].kwargs["BLOCK"], some[3].kwargs["BLOCK"] = 32, 16
    x, y = tensors()
    given = {"configs": some, "reference": lambda x: {"y": x + 1}}
    with pytest.raises(KeyboardInterrupt):
        tuned(add_some, do_bench=Script(1.0, 9.0, KeyboardInterrupt()), **given)[grid_of(100)](x, y, 100)
    assert [one.status for one in running(store)] == ["aborted"]
    new_process()
    bench = Script(1.0, 0.5)
    kernel = tuned(add_some, do_bench=bench, **given)
    kernel[grid_of(100)](x, y, 100)
    assert bench.timed == 2  # the default, and the one in flight: not the wrong one, nor the one that was far behind
    assert kernel.best_config is some[3]
    torch.testing.assert_close(y, x + 1)
    _, done = running(store)
    assert (done.status, done.complete, done.counts) == ("tuned", True, {"ok": 3, "wrong": 1})


@runs_kernels
def test_an_error_of_the_callers_own_is_held_against_no_config(store: Store) -> None:
    calls: list[int] = []

    def hook(kwargs: Mapping[str, Any], reset_only: bool = False) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("mine")

    x, y = tensors()
    with pytest.raises(RuntimeError, match="mine"):
        tuned(pre_hook=hook, do_bench=Bench(3.0, 2.0))[grid_of(100)](x, y, 100)
    (first,) = stored(store)
    assert (first.status, suspect_of(first), statuses(first)) == ("aborted", None, {16: "ok"})
    new_process()
    bench = Bench(3.0, 2.0)
    tuned(pre_hook=hook, do_bench=bench)[grid_of(100)](x, y, 100)
    assert bench.timed == 2
    assert statuses(stored(store)[1]) == {16: "ok", 64: "ok"}


LOST = RuntimeError("CUDA error: an illegal memory access was encountered")


@runs_kernels
@pytest.mark.parametrize("where", ["benchmark", "hook"])
def test_who_lost_the_device_is_left_out_wherever_it_was_noticed(store: Store, where: str) -> None:
    launches: list[int] = []

    def hook(kwargs: Mapping[str, Any], reset_only: bool = False) -> None:
        launches.append(1)
        if where == "hook" and len(launches) == 4:  # the second launch of the second config
            raise LOST

    steps = [3.0, LOST if where == "benchmark" else 1.0, 2.0]
    x, y = tensors()
    tuned(blocks=(16, 64, 32), pre_hook=hook, do_bench=Script(*steps))[grid_of(100)](x, y, 100)
    (first,) = stored(store)
    suspect = suspect_of(first)
    assert suspect is not None
    assert suspect.config["BLOCK"] == 64
    new_process()
    kernel = tuned(blocks=(16, 64, 32), do_bench=Bench(3.0, 2.0))
    kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config.kwargs == {"BLOCK": 32}
    assert statuses(stored(store)[1]) == {16: "ok", 64: "runtime_error", 32: "ok"}


@runs_kernels
def test_what_a_lost_device_left_untried_is_tried_again_and_the_best_of_it_may_win(store: Store) -> None:
    x, y = tensors()
    tuned(do_bench=Bench(2.0, 3.0))[grid_of(100)](x, y, 100)
    new_process()
    tuned(blocks=(16, 64, 32, 128), do_bench=Script(2.0, 3.0, 1.0, LOST))[grid_of(100)](x, y, 100)
    assert [one.status for one in stored(store)] == ["tuned", "aborted"]
    new_process()
    kernel = tuned(blocks=(16, 64, 32, 128), do_bench=Script(2.0, 1.0))  # 64 was far behind
    kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config.kwargs == {"BLOCK": 32}
    new_process()
    tuned(blocks=(16, 64, 32, 128), do_bench=Script())[grid_of(100)](x, y, 100)
    assert len(stored(store)) == 3


@runs_kernels
def test_a_budget_that_is_spent_leaves_the_best_so_far_and_the_next_process_takes_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = tensors()
    clock = iter(range(0, 10_000, 10))
    with tunedb.using(budget=35):
        session.active()._sweeper._monotonic = lambda: float(next(clock))
        session.active().spent.seconds = 0.0
        kernel = tuned(blocks=(16, 64, 32, 128, 256), do_bench=Bench(2.0, 1.0, 3.0, 4.0, 0.5))
        kernel[grid_of(100)](x, y, 100)
    (sweep,) = stored(store)
    assert (sweep.status, sweep.complete) == ("tuned", False)
    assert len(sweep.trials) < 5
    assert kernel.best_config.kwargs == {"BLOCK": 64}
    bench = Bench(1.0)
    again = tuned(blocks=(16, 64, 32, 128, 256), do_bench=bench)
    again[grid_of(100)](x, y, 100)
    assert (bench.timed, again.best_config.kwargs) == (0, {"BLOCK": 64})


@runs_kernels
def test_a_race_after_an_edit_that_is_cut_short_displaces_nothing(store: Store) -> None:
    x, y = tensors()
    tuned(do_bench=Bench(2.0, 1.0))[grid_of(100)](x, y, 100)
    bench = Script(2.0, 1.0, 0.5)
    kernel = tuned(blocks=(16, 64, 32), do_bench=bench)
    with tunedb.using(budget=1e-6):
        session.active().spent.seconds = 0.0
        kernel[grid_of(100)](x, y, 100)
    assert bench.timed == 1  # the default
    assert (kernel.best_config.kwargs, kernel.bench_time) == ({"BLOCK": 64}, 0.0)
    assert [one.complete for one in stored(store)] == [True, False]
    kernel = tuned(blocks=(16, 64, 32), do_bench=bench)
    bench.steps = iter((2.0, 1.0, 0.5))
    kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config.kwargs == {"BLOCK": 32}


@runs_kernels
def test_threads_that_call_at_once_get_right_results_also_in_the_interpreter() -> None:
    kernel = tuned(do_bench=Bench(2.0, 1.0))

    def call(number: int) -> None:
        for _ in range(10):
            x, y = tensors(100 + 16 * number)
            kernel[grid_of(x.numel())](x, y, x.numel())
            torch.testing.assert_close(y, x + 1)

    assert errors_at_once(6, call) == []


@runs_kernels
def test_a_grid_that_calls_an_untuned_kernel_waits_for_no_one_who_waits_for_it() -> None:
    inner, slow = tuned(name="inner", do_bench=Bench(2.0, 1.0)), tuned(name="slow", do_bench=Bench(2.0, 1.0))
    outer = tuned(name="outer", do_bench=Bench(2.0, 1.0))
    x, y = tensors()
    outer[grid_of(100)](x, y, 100)
    is_tuning, is_inside = threading.Event(), threading.Event()
    bench = slow._do_bench

    def waits(launch: Callable[[], object], quantiles: Sequence[float]) -> list[float]:
        is_tuning.set()
        is_inside.wait(10)
        found: list[float] = bench(launch, quantiles)
        return found

    slow._do_bench = waits

    def grid(given: Mapping[str, Any]) -> tuple[int]:
        is_inside.set()
        inner[grid_of(100)](*tensors(), 100)
        return (triton.cdiv(100, given["BLOCK"]),)

    def call(number: int) -> None:
        if number:
            is_tuning.wait(10)
            outer[grid](x, y, 100)
        else:
            slow[grid_of(100)](*tensors(), 100)

    begun = time.monotonic()
    assert errors_at_once(2, call) == []
    assert time.monotonic() - begun < 30  # a lock's timeout is a minute
    torch.testing.assert_close(y, x + 1)


@runs_kernels
def test_a_reference_may_call_the_kernel_that_is_tuned() -> None:
    def reference(x: torch.Tensor) -> dict[str, torch.Tensor]:
        found = torch.zeros_like(x)
        kernel[grid_of(100)](x, found, 100)
        return {"y": found}

    x, y = tensors()
    kernel = tuned(reference=reference, do_bench=Bench(2.0, 1.0))
    with tunedb.using(lock_timeout=600):  # it would be waited out
        kernel[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 1)
    assert kernel.best_config is kernel.configs[1]


@runs_kernels
@pytest.mark.parametrize("found", [None, "1.0", [], [None], torch.zeros(3)])
def test_a_benchmark_function_that_returns_no_times_is_to_blame(store: Store, found: Any) -> None:
    x, y = tensors()
    with pytest.raises(TypeError, match="do_bench: expected milliseconds"):
        tuned(do_bench=lambda launch, quantiles: found)[grid_of(100)](x, y, 100)
    kernel = tuned(do_bench=Bench(2.0, 1.0))
    kernel[grid_of(100)](x, y, 100)  # no config was held responsible
    assert kernel.best_config is kernel.configs[1]


@runs_kernels
def test_no_time_at_all_is_a_time() -> None:
    x, y = tensors()
    kernel = tuned(do_bench=Bench(1.0, 0.0))
    kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config is kernel.configs[1]


@runs_kernels
def test_a_reference_may_call_another_kernel_that_is_not_tuned_yet(store: Store) -> None:
    inner = tuned(name="inner", do_bench=Bench(1.0, 2.0))

    def reference(x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = torch.empty_like(x)
        inner[grid_of(100)](x, y, 100)
        return {"y": y}

    x, y = tensors()
    outer = tuned(name="outer", reference=reference, do_bench=Bench(2.0, 1.0))
    call = threading.Thread(target=lambda: outer[grid_of(100)](x, y, 100), daemon=True)
    call.start()
    call.join(60)
    assert not call.is_alive()
    assert {sweep.problem.kernel: sweep.status for sweep in stored(store)} == {"inner": "tuned", "outer": "tuned"}


@runs_kernels
def test_a_list_that_is_assigned_later_is_the_one_that_calls_choose_from() -> None:
    x, y = tensors()
    kernel = tuned(do_bench=Bench(2.0, 1.0))
    kernel[grid_of(100)](x, y, 100)
    kernel.configs = configs(32, 128)
    kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config in kernel.configs


@runs_kernels
def test_verify_asks_the_kernels_own_clock(store: Store) -> None:
    from tests.fakes import Notebook
    from tunedb.core.task import TuningTask
    from tunedb.runtime.current_device import placement_of
    from tunedb.tuner.tuner import Tuner
    from tunedb.tuner.verification import verify

    bench = Bench(2.0, 1.0)
    kernel = tuned(do_bench=bench, reference=lambda x: {"y": x + 1})

    def arguments(device: torch.device, n: int) -> tuple[Any, dict[str, Any]]:
        x, y = (torch.ones(n, device=device) for _ in range(2))
        return grid_of(n), {"x": x, "y": y, "n": n}

    registered = kernel.registered(arguments)
    index = kernel._launcher.index()
    case = TuningTask(registered, registered.problem({"n": 100}), placement_of(index))
    choice = session.active().warm(case)
    assert choice is not None
    assert (choice.config["BLOCK"], choice.sweep and choice.sweep.environment.method) == (64, "do_bench")
    tuner: Tuner = session.active()
    found = []
    for times in ((1.0, 2.0), (3.0, 4.0), (2.0, 1.0)):  # of the winner, and of the default
        bench.times, bench.timed = times, 0
        found.append(verify(tuner, case, choice.sweep, Notebook()).verdict)
    assert found == ["holds", "moved", "beaten"]
    bench.times = ()
    assert verify(tuner, case, choice.sweep, Notebook()).verdict == "untried"  # its own error says nothing


class Racing:
    """A clock as tunedb's own that finds all alike: every config is screened and raced."""

    method = "racing-1"
    once = False

    def __init__(self) -> None:
        self.launches = self.bare = 0  # all of them, and those that were timed without hooks

    def sample(self, launch: Callable[[], object], count: int) -> list[float]:
        before, timed = parts_of(launch)
        for _ in range(count):
            before()
            timed()
        self.bare += count * (timed is not launch)
        self.launches += count
        return [100.0] * count


def short_races(monkeypatch: pytest.MonkeyPatch) -> None:
    """Races end as soon as the order is certain."""
    for name in ("MIN_RACE_US", "MIN_STEADY_RACE_US"):
        monkeypatch.setattr(f"tunedb.sweep.race.{name}", 1.0)


@runs_kernels
@pytest.mark.parametrize("given", [{}, {"restore_value": ["x"]}, {"reference": lambda x: {"x": x + 1}}])
def test_many_launches_in_place_leave_one_behind(monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]) -> None:
    short_races(monkeypatch)
    clock = Racing()
    session.active()._sweeper._clock = lambda index: clock
    kernel = tuned(add_in_place, **given)
    x, _ = tensors()
    before = x.clone()
    kernel[grid_of(100)](x, 100)
    assert clock.bare == clock.launches > 30
    torch.testing.assert_close(x, before + 1)
    assert kernel.configs_timings[kernel.configs[0]][0] == 0.1


@runs_kernels
def test_what_accumulates_is_reset_before_each_of_many_launches_and_right_in_the_end(
    monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture
) -> None:
    short_races(monkeypatch)
    clock = Racing()
    session.active()._sweeper._clock = lambda index: clock
    kernel = tuned(accumulate, reset_to_zero=["y"])
    x, y = tensors()
    kernel[grid_of(100)](x, y, 100)
    assert clock.bare == clock.launches > 30
    torch.testing.assert_close(y, x)
    assert "other results" not in records.text


@runs_kernels
def test_the_users_own_hooks_are_part_of_every_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    short_races(monkeypatch)
    clock, seen = Racing(), [0]
    session.active()._sweeper._clock = lambda index: clock

    def hook(*told: object, **more: object) -> None:
        seen[0] += 1

    kernel = tuned(pre_hook=hook)
    x, y = tensors()
    kernel[grid_of(100)](x, y, 100)
    assert seen[0] > clock.launches > 30
    assert clock.bare == 0


@runs_kernels
@pytest.mark.parametrize("time", [float("inf"), float("nan"), [float("inf")] * 3])
def test_a_benchmark_function_that_says_so_has_its_config_fail(store: Store, time: Any) -> None:
    times = iter([1.0, time])

    def bench(launch: Callable[[], object], quantiles: Sequence[float]) -> Any:
        launch()
        return next(times)

    kernel = tuned(do_bench=bench, configs=configs(32, 64))
    x, y = tensors()
    kernel[grid_of(100)](x, y, 100)
    [sweep] = stored(store)
    assert statuses(sweep) == {32: "ok", 64: "runtime_error"}
    assert kernel.best_config.kwargs == {"BLOCK": 32}


class Timer:
    """A clock as tunedb's own, on a GPU that is not there: microseconds by BLOCK."""

    method = "stub-1"
    once = False

    def __init__(self, times: Mapping[int, float], driver: StubDriver) -> None:
        self.times, self.driver = times, driver

    def sample(self, launch: Callable[[], object], count: int) -> list[float]:
        taken = []
        for _ in range(count):
            launch()
            taken.append(self.times[self.driver.launches[-1][1][-1]])
        return taken


@pytest.fixture
def timer(stub: StubDriver, monkeypatch: pytest.MonkeyPatch) -> Timer:
    """The clock of this process's tuner."""
    found = Timer({16: 300.0, 32: 200.0, 64: 100.0, 128: 150.0}, stub)
    monkeypatch.setattr("tunedb.runtime.compile_pool.workers", lambda: 2)
    monkeypatch.setattr("tunedb.sweep.run.workers", lambda: 2)
    session.active()._sweeper._clock = lambda index: found
    return found


@triton.jit
def refusing(x, y, n, BLOCK: tl.constexpr):
    tl.static_assert(BLOCK != 32, "not this one")
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(y + offsets, tl.load(x + offsets, mask=mask), mask=mask)


def test_configs_are_compiled_ahead_and_raced_and_a_refusal_reaches_the_hook_on_the_callers_thread(
    timer: Timer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunedb.runtime import loaded_kernel

    compiled: list[tuple[int, str]] = []
    seen: list[tuple[int, str]] = []
    warmed = loaded_kernel.compiled_kernel

    def noted(stack: Any, arguments: Any, grid: Any, keywords: Mapping[str, Any]) -> Any:
        compiled.append((keywords["BLOCK"], threading.current_thread().name))
        return warmed(stack, arguments, grid, keywords)

    def after(kwargs: Mapping[str, Any], exception: Exception | None) -> None:
        if exception is not None:
            seen.append((kwargs["BLOCK"], threading.current_thread().name))

    monkeypatch.setattr(loaded_kernel, "compiled_kernel", noted)
    kernel = tuned(refusing, blocks=(16, 32, 64, 128), post_hook=after)
    x, y = torch.zeros(100), torch.zeros(100)
    kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config.kwargs == {"BLOCK": 64}
    (sweep,) = stored(store)
    assert statuses(sweep) == {16: "ok", 32: "compile_error", 64: "ok", 128: "ok"}
    assert max(trial.samples for trial in sweep.trials) > 10  # raced
    here = threading.current_thread().name
    assert {block for block, thread in compiled if thread != here} == {16, 32, 64, 128}
    assert (32, here) not in compiled  # not compiled a second time
    assert seen == [(32, here)]


def test_of_two_configs_with_one_binary_each_is_launched_with_its_own_hook(timer: Timer, store: Store) -> None:
    seen: list[str] = []
    both = [
        triton.Config({"BLOCK": 64}, pre_hook=lambda given: seen.append("first")),
        triton.Config({"BLOCK": 64}, pre_hook=lambda given: seen.append("second")),
    ]
    kernel = tuned(configs=both)
    x, y = torch.zeros(100), torch.zeros(100)
    kernel[grid_of(100)](x, y, 100)
    assert {"first", "second"} <= set(seen)
    (sweep,) = stored(store)
    assert all(trial.samples > 0 for trial in sweep.trials)


@pytest.mark.parametrize("given", ["a grid", "a function", "a heuristic", "a hook"])
def test_what_is_timed_is_the_launch_alone_unless_hooks_take_part_in_each(
    timer: Timer, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    from tunedb.decorator.tuning import workload

    by_triton: list[Any] = []
    launched = workload.launch_call
    monkeypatch.setattr(workload, "launch_call", lambda *told: (by_triton.append(told), launched(*told)))
    hook = {"pre_hook": lambda *_, **__: None} if given == "a hook" else {}
    kernel = triton.heuristics({"EVEN": lambda seen: False})(add_even) if given == "a heuristic" else add_one
    x, y = torch.zeros(100), torch.zeros(100)
    timer.sample = noted = Noted(timer.sample)  # type: ignore[method-assign]
    tuned(kernel, **hook)[grid_of(100) if given != "a grid" else (7,)](x, y, 100)
    count = sum(noted.counts)
    checks = 3  # each config, and the winner again
    assert len(by_triton) == checks + (count if given == "a hook" else 0)
    launches = timer.driver.launches[-count - checks :]
    assert {len(arguments) for _, arguments in launches} == {5 if given == "a heuristic" else 4}
    assert {grid for grid, _ in launches} == ({(7, 1, 1)} if given == "a grid" else {(7, 1, 1), (2, 1, 1)})
    assert all(arguments[0] is x and arguments[1] is y for _, arguments in launches)


class Noted:
    """A `sample` of a clock that notes how many launches it times."""

    def __init__(self, sample: Callable[[Callable[[], object], int], list[float]]) -> None:
        self.counts: list[int] = []
        self._sample = sample

    def __call__(self, launch: Callable[[], object], count: int) -> list[float]:
        before, timed = parts_of(launch)
        self.counts.append(count)

        def both() -> None:
            before()
            timed()

        return self._sample(both, count)


def test_nothing_that_was_compiled_ahead_keeps_the_callers_tensors_alive(timer: Timer) -> None:
    kernel = tuned(refusing, blocks=(16, 32, 64))
    x, y = torch.zeros(100), torch.zeros(100)
    kernel[grid_of(100)](x, y, 100)
    gone = [weakref.ref(x), weakref.ref(y)]
    timer.driver.launches.clear()
    del x, y
    gc.collect()
    assert [one() for one in gone] == [None, None]


def test_kernels_with_hooks_of_their_own_are_not_compiled_where_these_would_see_it(timer: Timer) -> None:
    threads: set[str] = set()

    @triton.jit
    def own(x, y, n, BLOCK: tl.constexpr):
        tl.store(y + tl.arange(0, BLOCK), 1.0)

    own.add_pre_run_hook(lambda *args, **kwargs: threads.add(threading.current_thread().name))
    x, y = torch.zeros(128), torch.zeros(128)
    tuned(own)[(1,)](x, y, 100)
    assert threads == {threading.current_thread().name}


@pytest.mark.skipif(not hasattr(knobs.compilation, "listener"), reason="this Triton has no such knob")
@pytest.mark.parametrize("given", ["aligned", "shifted", "with a heuristic", "with one that reads values"])
def test_what_was_compiled_ahead_for_outlines_is_what_the_call_needs(
    timer: Timer, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    compiled: list[bool] = []
    monkeypatch.setattr(knobs.compilation, "listener", lambda **told: compiled.append(True))
    x, y = torch.zeros(101), torch.zeros(100)
    jit = triton.jit((add_even if "with" in given else add_one).fn)  # one that has compiled nothing yet
    if given == "with a heuristic":
        jit = triton.heuristics({"EVEN": lambda seen: seen["x"].shape[0] % seen["BLOCK"] == 0})(jit)
    elif "with" in given:  # an outline has none
        jit = triton.heuristics({"EVEN": lambda seen: bool(seen["x"][0] > 0)})(jit)
    tuned(jit, blocks=(16, 64, 128))[grid_of(100)](x[1:] if given == "shifted" else x, y, 100)
    assert len(compiled) == 3


@pytest.mark.skipif(not hasattr(knobs.compilation, "listener"), reason="this Triton has no such knob")
def test_a_descriptors_block_that_a_hook_sets_is_compiled_ahead(timer: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    monkeypatch.setattr(knobs.compilation, "listener", lambda **told: compiled.append(threading.current_thread().name))
    seen: dict[int, tuple[str, str]] = {}

    def set_block(given: dict[str, Any]) -> None:
        if given["x"] is not x:  # a copy of the call's
            seen[given["BLOCK"]] = given["x"].base.device.type, threading.current_thread().name
        for one in (given["x"], given["y"]):
            one.block_shape[:] = [given["BLOCK"], 16]  # in place

    x, y = (TensorDescriptor.from_tensor(torch.zeros(256, 256), [1, 1]) for _ in range(2))
    blocks = [triton.Config({"BLOCK": block}, pre_hook=set_block) for block in (16, 32, 64)]
    kernel = tuned(triton.jit(copy_tiles.fn), configs=blocks)
    kernel[(4,)](x, y, 256)
    assert len(compiled) == 3
    here = threading.current_thread().name
    assert sorted(seen) == [16, 32, 64]
    assert all(device == "meta" and thread != here for device, thread in seen.values())
    assert set(compiled) == {thread for _, thread in seen.values()}
    assert x.block_shape == [kernel.best_config.kwargs["BLOCK"], 16]


def test_a_compile_that_outlives_its_call_holds_no_tensor_of_it(timer: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunedb.runtime import loaded_kernel

    begun, go_on, warmed = threading.Event(), threading.Event(), loaded_kernel.compiled_kernel
    here = threading.current_thread()

    def slow(stack: Any, arguments: Any, grid: Any, keywords: Mapping[str, Any]) -> Any:
        if keywords["BLOCK"] == 64 and threading.current_thread() is not here:
            begun.set()
            go_on.wait(60)
        return warmed(stack, arguments, grid, keywords)

    monkeypatch.setattr(loaded_kernel, "compiled_kernel", slow)
    x, y = torch.zeros(100), torch.zeros(100)
    with tunedb.using(budget=1e-6):
        session.active()._sweeper._clock = lambda index: timer
        session.active().spent.seconds = 0.0
        sample = timer.sample
        timer.sample = lambda launch, count: (begun.wait(60), sample(launch, count))[1]  # type: ignore[method-assign]
        kernel = tuned(triton.jit(add_one.fn), blocks=(16, 64))
        kernel[grid_of(100)](x, y, 100)
    gone = [weakref.ref(x), weakref.ref(y)]
    timer.driver.launches.clear()
    del x, y
    gc.collect()
    try:
        assert begun.is_set()
        assert [one() for one in gone] == [None, None]
    finally:
        go_on.set()
