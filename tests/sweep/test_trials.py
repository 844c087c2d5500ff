"""The trials of a sweep on a fake kernel: twins, limits, order, what is known before, and who is suspect."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.fakes import DEVICE, ENVIRONMENT, FakeClock, FakeKernel, FakeWorkload, Notebook, config, context, task_of
from tunedb.core.device import Device
from tunedb.core.kernel import Resources
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep, Trial
from tunedb.errors import StickyDeviceError
from tunedb.sweep.history import NO_HISTORY, NOT_RETRIED_RATIO, SweepHistory
from tunedb.sweep.limits import MAX_SPILLS, excess
from tunedb.sweep.observer import suspect_of
from tunedb.sweep.run import run_sweep


def sweep(
    kernel: FakeKernel,
    history: SweepHistory = NO_HISTORY,
    notebook: Notebook | None = None,
    clock: Callable[[], FakeClock] = FakeClock,
    monotonic: Callable[[], float] = time.monotonic,
    **options: Any,
) -> Sweep:
    """The finished sweep of a kernel."""
    around = context(notebook or Notebook(), clock, monotonic)
    return run_sweep(task_of(kernel), around, history=history, **options)


def by_block(done: Sweep) -> dict[int, Trial]:
    """The trials by BLOCK."""
    return {trial.config["BLOCK"]: trial for trial in done.trials}


def unfinished(times: Mapping[int, float | str], status: str = "aborted") -> Sweep:
    """An earlier sweep with these trials."""
    trials = tuple(
        Trial(config(block), time, error="as it was") if isinstance(time, str) else Trial(config(block), "ok", time)
        for block, time in times.items()
    )
    return Sweep(Problem.of("fake", n=1), DEVICE, "ab" * 32, ENVIRONMENT, status, complete=False, trials=trials)


def test_configs_of_one_binary_are_run_once_and_their_trials_say_so() -> None:
    kernel, notebook = FakeKernel({1: 100.0, 2: 50.0, 4: 70.0, 8: 50.0}, binaries={2: "same", 8: "same"}), Notebook()
    done = sweep(kernel, notebook=notebook)
    assert kernel.tried == [1, 2, 4]
    twin, first = by_block(done)[8], by_block(done)[2]
    assert (twin.status, twin.time_us, twin.samples) == ("ok", first.time_us, 0)
    assert (twin.outcome, twin.reference, twin.error) == ("duplicate_of", first.uid, None)
    assert done.note_of(twin) == "Same binary as BLOCK=2"
    assert {twin.compile_s} == {trial.compile_s for trial in notebook.puts if trial.config == config(8)}
    assert done.complete
    assert done.config == config(2)


def test_of_one_binary_the_first_in_the_space_wins_whichever_was_run() -> None:
    kernel = FakeKernel({1: 100.0, 2: 50.0, 8: 50.0}, binaries={2: "same", 8: "same"})
    done = sweep(kernel, SweepHistory(likely=[config(8)]))
    assert kernel.tried == [1, 8]
    assert done.config == config(2)


def test_the_twin_of_a_config_that_is_wrong_is_wrong_as_well() -> None:
    done = sweep(FakeKernel({1: 9.0, 2: "wrong", 4: "wrong"}, binaries={2: "same", 4: "same"}))
    assert by_block(done)[4].status == "wrong"
    assert "Same binary as BLOCK=2: 3 of 8" in done.note_of(by_block(done)[4])


H200 = Device("NVIDIA H200", "cuda", "sm_90", 132, {"shared_bytes": 232448, "registers": 65536})


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        (Resources(64, 0, 1024, 128), None),
        (Resources(), None),
        (Resources(threads=2048), "2048 threads a block, NVIDIA H200 has at most 1024"),
        (Resources(255, 0, 0, 512), "512 threads of 255 registers, NVIDIA H200 has 65536"),
        (Resources(128, 0, 0, 512), None),
        (Resources(shared_bytes=232449), "232449 bytes of shared memory a block, NVIDIA H200 has 232448"),
    ],
)
def test_what_exceeds_the_device_is_told(resources: Resources, reason: str | None) -> None:
    found = excess(resources, H200)
    assert found is None if reason is None else reason in (found or "")


def test_a_config_that_exceeds_the_device_is_never_run(monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[int] = []

    def compile(self: FakeWorkload, one: Config) -> Resources:
        return Resources(registers=255 if one["BLOCK"] == 2 else 32, threads=512)

    def check(self: FakeWorkload, one: Config) -> None:
        run.append(one["BLOCK"])

    monkeypatch.setattr(FakeWorkload, "compile", compile)
    monkeypatch.setattr(FakeWorkload, "check", check)
    done = sweep(FakeKernel({1: 9.0, 2: 1.0, 4: 8.0}))
    assert run == [1, 4, 4]  # the winner is checked once more
    assert by_block(done)[2].status == "pruned"
    assert "255 registers" in (by_block(done)[2].error or "")
    assert (done.config, done.complete, done.counts["pruned"]) == (config(4), True, 1)


def test_what_spills_is_not_run_beside_what_does_not_but_where_all_spill_all_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spills = {1: MAX_SPILLS + 1, 2: 0, 4: MAX_SPILLS + 1}
    monkeypatch.setattr(FakeWorkload, "compile", lambda self, one: Resources(spills=spills[one["BLOCK"]]))
    done = sweep(FakeKernel({1: 9.0, 2: 8.0, 4: 1.0}))
    assert {block: trial.status for block, trial in by_block(done).items()} == {1: "ok", 2: "ok", 4: "pruned"}
    assert "spills 65 registers a thread" in (by_block(done)[4].error or "")
    spills[2] = MAX_SPILLS + 1
    done = sweep(FakeKernel({1: 9.0, 2: 8.0, 4: 1.0}))
    assert (done.status, done.counts, done.config) == ("tuned", {"ok": 3}, config(4))


def test_the_order_is_default_in_use_likely_then_by_estimate() -> None:
    class Estimating(FakeKernel):
        def estimate(self, problem: Problem, one: Config, device: Device) -> float:
            return -float(one["BLOCK"])

    kernel = Estimating({1: 9.0, 2: 9.0, 4: 9.0, 8: 9.0, 16: 9.0, 32: 9.0})
    sweep(kernel, SweepHistory(incumbent=config(4), likely=[config(2), config(4), config(999)]))
    assert kernel.tried == [1, 4, 2, 32, 16, 8]


def test_what_failed_is_not_tried_again_and_is_a_trial_of_the_new_sweep() -> None:
    kernel = FakeKernel({1: 9.0, 2: 1.0, 4: 8.0, 8: 7.0})
    earlier = unfinished({1: 9.0, 2: "timeout", 4: "wrong", 777: "wrong"})
    notebook = Notebook()
    done = sweep(kernel, SweepHistory(unfinished=[earlier]), notebook)
    assert kernel.tried == [1, 8]
    found = by_block(done)
    assert (found[2].status, found[4].status, done.config) == ("timeout", "wrong", config(8))
    assert (found[2].outcome, found[2].reference, found[2].error) == ("known_from", earlier.uid, "as it was")
    assert done.note_of(found[2]) == f"Known from sweep {earlier.uid[:12]}: as it was"
    assert done.complete
    assert {trial.uid for trial in notebook.trials} == {trial.uid for trial in done.trials}
    assert not {trial.uid for trial in done.trials} & {trial.uid for trial in earlier.trials}
    once_more = sweep(kernel, SweepHistory(unfinished=[dataclasses.replace(done, complete=False)]))
    assert by_block(once_more)[2].reference == earlier.uid  # it still names the sweep that knew it first


def test_what_was_far_behind_is_not_run_again_and_the_near_ones_are() -> None:
    kernel = FakeKernel({1: 100.0, 2: 50.0, 4: 60.0, 8: 90.0, 16: 40.0})
    earlier = unfinished({1: 100.0, 2: 50.0, 4: 60.0, 8: 50 * NOT_RETRIED_RATIO + 1}, status="running")
    done = sweep(kernel, SweepHistory(unfinished=[earlier]))
    assert kernel.tried == [1, 2, 4, 16]  # the default, too: it has to be in the race
    assert by_block(done)[8].time_us == 50 * NOT_RETRIED_RATIO + 1
    assert "more than 1.5 times the best there" in (by_block(done)[8].error or "")
    assert done.config == config(16)


def test_a_config_in_use_races_even_if_it_was_slow_before() -> None:
    kernel = FakeKernel({1: 100.0, 2: 50.0, 4: 60.0})
    earlier = unfinished({1: 100.0, 2: 500.0, 4: 60.0})
    assert sweep(kernel, SweepHistory(incumbent=config(2), unfinished=[earlier])).config == config(2)
    assert 2 in kernel.tried


def test_an_incumbent_is_in_the_race_whatever_its_screening_says() -> None:
    done = sweep(FakeKernel({1: 100.0, 2: 50.0, 4: 130.0}), SweepHistory(incumbent=config(4)))
    assert by_block(done)[4].samples > 6
    assert done.config == config(2)


def test_every_step_names_its_suspect_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook()
    seen: list[tuple[str, bool]] = []

    def check(self: FakeWorkload, one: Config) -> None:
        seen.append(("check", notebook.suspects[-1] == one))

    def launcher(self: FakeWorkload, one: Config) -> Callable[[], object]:
        seen.append(("run", notebook.suspects[-1] == one))
        return lambda: 5.0

    monkeypatch.setattr(FakeWorkload, "check", check)
    monkeypatch.setattr(FakeWorkload, "launcher", launcher)
    sweep(FakeKernel({1: 9.0, 2: 5.0}), notebook=notebook)
    assert {step for step, _ in seen} == {"check", "run"}
    assert all(right for _, right in seen)


def test_a_device_that_is_lost_in_the_race_leaves_no_winner_and_a_suspect() -> None:
    class Losing(FakeClock):
        samples = 0

        def sample(self, launch: Callable[[], object], count: int) -> list[float]:
            taken = super().sample(launch, count)
            Losing.samples += count
            if Losing.samples > 60 and taken[0] == 50.0:
                raise StickyDeviceError("CUDA error: an illegal memory access was encountered")
            return taken

    done = sweep(FakeKernel({1: 52.0, 2: 50.0, 4: 51.0}), clock=Losing)
    assert (done.status, done.complete, done.config) == ("aborted", False, None)
    suspect = suspect_of(done)
    assert suspect is not None
    assert (suspect.config, suspect.status, suspect.time_us) == (config(2), "runtime_error", None)
    assert suspect.outcome == "lost_device"
    assert done.note_of(suspect).startswith("Lost: in the race: CUDA error")
    assert done.counts == {"ok": 2, "runtime_error": 1}


def test_compiling_goes_on_while_earlier_configs_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, last = threading.Event(), threading.Event()

    def prepare(self: FakeWorkload, one: Config) -> Resources:
        if one["BLOCK"] == 8:
            prepared.set()
        return Resources(binary=str(one["BLOCK"]))

    def check(self: FakeWorkload, one: Config) -> None:
        if one["BLOCK"] == 1:
            assert prepared.wait(30), "the last config is not compiled before the first one is through"
            last.set()

    monkeypatch.setattr(FakeWorkload, "prepare", prepare)
    monkeypatch.setattr(FakeWorkload, "check", check)
    assert sweep(FakeKernel({1: 9.0, 2: 5.0, 4: 5.0, 8: 5.0})).status == "tuned"
    assert last.is_set()


def test_an_interrupt_drops_what_waits_to_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[int] = []
    go_on = threading.Event()

    def prepare(self: FakeWorkload, one: Config) -> Resources:
        prepared.append(one["BLOCK"])
        if one["BLOCK"] != 1:
            go_on.wait(30)
        return Resources()

    def interrupt(block: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeWorkload, "prepare", prepare)
    monkeypatch.setattr("tunedb.sweep.run.workers", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        sweep(FakeKernel(dict.fromkeys(range(1, 40), 5.0), on_compile=interrupt))
    go_on.set()
    for thread in threading.enumerate():
        if thread.name.startswith("tunedb-compile"):
            thread.join(30)
    assert len(prepared) <= 2


def test_a_config_that_can_not_be_compiled_on_a_thread_is_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(self: FakeWorkload, one: Config) -> Resources:
        if one["BLOCK"] == 2:
            raise RuntimeError("PassManager::run failed")
        return Resources()

    monkeypatch.setattr(FakeWorkload, "prepare", prepare)
    done = sweep(FakeKernel({1: 9.0, 2: 5.0}))
    assert by_block(done)[2].status == "compile_error"
    assert done.config == config(1)


def test_some_of_the_budget_is_left_for_the_race() -> None:
    seconds = [0.0]

    def slow(block: int) -> None:
        seconds[0] += 1.0

    kernel = FakeKernel(dict.fromkeys(range(1, 31), 100.0) | {2: 50.0}, on_compile=slow)
    done = sweep(kernel, budget=10.0, monotonic=lambda: seconds[0])
    assert len(kernel.tried) == 8
    assert (done.status, done.complete, done.config) == ("tuned", False, config(2))
    assert by_block(done)[2].samples > 10  # raced
