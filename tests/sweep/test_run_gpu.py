"""Sweeps on a GPU: planted faults, the clock, compiling on threads, and the trace that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import pytest
import torch

from tests import planted, planted_gpu
from tests.fakes import Notebook
from tunedb import settings
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.core.task import TuningTask
from tunedb.errors import TrialError
from tunedb.runtime.clock import GpuClock, clock_for, method_for, timing, untraced
from tunedb.runtime.current_device import device_of, environment, placement_of
from tunedb.runtime.loaded_kernel import prepare
from tunedb.store import Store
from tunedb.sweep.run import SweepContext, run_sweep
from tunedb.worker.supervisor import Supervisor

pytestmark = pytest.mark.gpu
STEP = 30.0  # seconds that one step of a trial may take


@pytest.fixture
def supervisor(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """A supervisor whose processes know the planted kernel."""
    monkeypatch.setenv("PYTHONPATH", planted.register(tmp_path / "site", planted_gpu.ENTRY_POINTS))
    with Supervisor(store, settings.current(), torch.cuda.current_device(), STEP) as found:
        yield found


def test_a_worker_measures_the_copy_rate_of_its_gpu(supervisor: Supervisor, store: Store) -> None:
    assert supervisor.measure_copy_rate() is None
    [(digest, rate)] = store.copy_rates.get().items()
    assert digest == device_of(torch.cuda.current_device()).digest
    assert rate.bytes_per_s > 1e10


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("half", "wrong", "elements are wrong"),
        ("racy", "wrong", "elements are wrong"),
        ("outside", "runtime_error", "illegal memory access"),
        ("forever", "timeout", "nothing happened for 30 s"),
    ],
)
def test_a_planted_fault_is_a_trial_and_a_right_config_wins(
    supervisor: Supervisor, fault: str, status: str, reason: str
) -> None:
    number = planted_gpu.FAULTS.index(fault)
    problem = Problem.of(planted_gpu.NAME, faults=str(number))
    source, sweep = supervisor.tune(problem, force=False, budget=float("inf"), observer=Notebook())
    assert source == "sweep"
    assert sweep is not None
    assert sweep.config is not None
    assert (sweep.status, sweep.complete, sweep.config["FAULT"]) == ("tuned", True, 0)
    [trial] = [trial for trial in sweep.trials if trial.config["FAULT"] == number]
    assert trial.status == status
    assert reason in (trial.error or "")


def avg_pool_sweep(notebook: Notebook | None = None) -> Sweep:
    """A sweep of one problem of average pooling, as in a call."""
    from tunedb.kernels.avg_pool import FORWARD

    index = torch.cuda.current_device()
    placement, notebook = placement_of(index), notebook or Notebook()
    problem = FORWARD.problem({"shape": [64, 64, 8192], "kernel_size": 4, "stride": 2, "padding": 1})
    context = SweepContext(
        environment=environment(placement.device.backend, method_for(index)),
        make_clock=partial(clock_for, index), recorder=notebook, observer=notebook,
    )  # fmt: skip
    with untraced(index):
        return run_sweep(TuningTask(FORWARD, problem, placement), context)


def test_every_candidate_is_compiled_on_threads_checked_and_timed() -> None:
    done = avg_pool_sweep()
    assert (done.status, done.complete) == ("tuned", True)
    assert {trial.status for trial in done.trials} == {"ok"}
    assert all((trial.registers or 0) > 0 for trial in done.trials)
    assert done.default_time_us is not None
    assert done.time_us is not None
    assert done.time_us <= done.default_time_us


def test_a_sweep_frees_its_memory_and_takes_no_more_than_it_needs() -> None:
    avg_pool_sweep()  # whatever is made once is made
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    avg_pool_sweep()
    assert torch.cuda.memory_allocated() == before
    own = 64 * 64 * (8192 + 4096) * 4  # input and output
    flush = 2 * torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
    assert torch.cuda.max_memory_allocated() - before <= own + flush + 2**20


def test_a_launch_that_the_host_hands_over_late_is_not_counted() -> None:
    x = torch.empty(2**20, device="cuda")
    calls = 0

    def launch() -> None:
        nonlocal calls
        calls += 1
        if calls % 4 == 0:
            time.sleep(0.01)  # another thread holds the lock
        x.add_(1)

    clock = GpuClock(torch.cuda.current_device())
    assert max(clock.sample(launch, 20)) < 5000


def test_a_busy_thread_does_not_change_a_time() -> None:
    x = torch.empty(2**22, device="cuda")
    clock = GpuClock(torch.cuda.current_device())
    ended = False

    def spin() -> None:
        while not ended:
            sum(range(1000))

    alone = median(timing(clock, lambda: x.add_(1)).median for _ in range(3))
    with ThreadPoolExecutor(1) as pool:
        spinning = pool.submit(spin)
        beside = median(timing(clock, lambda: x.add_(1)).median for _ in range(3))
        ended = True
        spinning.result()
    assert beside == pytest.approx(alone, rel=0.25)


def test_a_stored_time_is_what_a_later_measurement_finds() -> None:
    from tunedb.kernels.avg_pool import FORWARD

    done = avg_pool_sweep()
    assert done.config is not None
    index = torch.cuda.current_device()
    with untraced(index):
        workload, clock = FORWARD.workload(done.problem, index), clock_for(index)
        workload.compile(done.config)
        later = timing(clock, workload.launcher(done.config)).median
        workload.close()
    assert done.time_us == pytest.approx(later, rel=0.15)  # benchmarks/sweep.py measures it closely


def test_preparing_on_many_threads_gives_what_one_thread_gives() -> None:
    from tunedb.kernels.avg_pool import BACKWARD

    index = torch.cuda.current_device()
    problem = BACKWARD.problem({"shape": [8, 8, 4000], "kernel_size": 3, "stride": 2, "padding": 1})
    space = list(BACKWARD.space(problem, device_of(index)))
    workload = BACKWARD.workload(problem, index)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(workload.prepare, space))
    again = [prepare(workload.launch(config)) for config in space]
    assert found == again
    assert all(resources.binary for resources in found)
    assert [workload.compile(config).binary for config in space] == [resources.binary for resources in found]
    workload.close()


def test_a_kernel_that_fails_to_launch_is_a_typed_error() -> None:
    clock = GpuClock(torch.cuda.current_device())

    def launch() -> Callable[[], None]:
        raise RuntimeError("invalid configuration argument")

    with pytest.raises(TrialError, match="invalid configuration"):
        clock.sample(launch, 3)
