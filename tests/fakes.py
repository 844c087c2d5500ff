"""A kernel, a workload and a clock without a GPU: each config takes the time that the test says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tunedb.core.device import INTERPRETER, Device, Environment, Placement
from tunedb.core.kernel import Resources, TunableKernel
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep, Trial
from tunedb.core.task import TuningTask
from tunedb.errors import StickyDeviceError, TrialError
from tunedb.sweep.run import SweepContext

DEVICE = INTERPRETER
ENVIRONMENT = Environment("3.9", "2.13", "580", "fake-1")


def config(block: int) -> Config:
    """The fake kernel's config with that one knob."""
    return Config.of(BLOCK=block)


@dataclass
class FakeKernel:
    """Times in microseconds by BLOCK; a string instead of a time is the trial status with which the config fails."""

    times: Mapping[int, float | str]
    name: str = "fake"
    hash: str = "ab" * 32
    tried: list[int] = field(default_factory=list)  # every config that was compiled, in order
    on_compile: Callable[[int], None] = lambda block: None
    binaries: Mapping[int, str] = field(default_factory=dict)  # of the configs that share one
    closed: int = 0

    def problem(self, **facts: object) -> Problem:
        """A problem of this kernel."""
        return Problem.of(self.name, **(facts or {"n": 1}))

    def space(self, problem: Problem, device: Device) -> Sequence[Config]:
        """One config per time."""
        return [config(block) for block in self.times]

    def default(self, problem: Problem, device: Device) -> Config:
        """The first of the space."""
        return config(next(iter(self.times)))

    def is_alike(self, problem: Problem, other: Problem) -> bool:
        """All are."""
        return True

    def workload(self, problem: Problem, index: int) -> FakeWorkload:
        """A workload that only remembers."""
        return FakeWorkload(self)


@dataclass
class FakeWorkload:
    """See `tunedb.core.kernel.Workload`."""

    kernel: FakeKernel

    def prepare(self, config: Config) -> Resources:
        """Report the binary that the test gave the config."""
        block = config["BLOCK"]
        return Resources(binary=self.kernel.binaries.get(block, str(block)), threads=128)

    def compile(self, config: Config) -> Resources:
        """Fail as the test says, or report made-up resources."""
        block = config["BLOCK"]
        self.kernel.tried.append(block)
        self.kernel.on_compile(block)
        outcome = self.kernel.times[block]
        if outcome == "sticky":
            raise StickyDeviceError("CUDA error: an illegal memory access was encountered")
        if isinstance(outcome, str) and outcome != "wrong":
            raise TrialError(outcome, f"BLOCK={block} fails")
        return Resources(registers=32, spills=0, shared_bytes=0, threads=128)

    def check(self, config: Config) -> str | None:
        """Wrong where the test says so."""
        return "3 of 8 outputs differ" if self.kernel.times[config["BLOCK"]] == "wrong" else None

    def launcher(self, config: Config) -> Callable[[], object]:
        """A launch that says how long it took."""
        return lambda: self.kernel.times[config["BLOCK"]]

    def close(self) -> None:
        """Count, so that a test can see that it was freed."""
        self.kernel.closed += 1


def context(
    notebook: Notebook,
    make_clock: Callable[[], FakeClock] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> SweepContext:
    """Return the context of a sweep on the fake clock, recorded and observed by the notebook."""
    return SweepContext(
        environment=ENVIRONMENT, make_clock=make_clock or FakeClock, recorder=notebook, observer=notebook,
        monotonic=monotonic,
    )  # fmt: skip


def task_of(kernel: TunableKernel, **facts: object) -> TuningTask:
    """Return the task of a fake kernel's problem on the fake device."""
    return TuningTask(kernel, Problem.of(kernel.name, **(facts or {"n": 1})), Placement(DEVICE, -1))


class FakeClock:
    """Reads the time from the launch itself."""

    method = "fake-1"
    once = False

    def __init__(self, index: int = -1, noise: Callable[[float], float] = lambda time: time) -> None:
        self.noise = noise

    def sample(self, launch: Callable[[], object], count: int) -> list[float]:
        """What each launch returns."""
        return [self.noise(float(launch())) for _ in range(count)]  # type: ignore[arg-type]  # fakes return times


@dataclass
class Notebook:
    """A recorder and an observer that keep what they are told."""

    started_: list[Sweep] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    finished_: list[Sweep] = field(default_factory=list)
    puts: list[Trial] = field(default_factory=list)  # each that was put, also again
    told: list[Trial] = field(default_factory=list)  # as an observer
    suspects: list[Config] = field(default_factory=list)

    def start_sweep(self, sweep: Sweep) -> None:
        """Recorder."""
        self.started_.append(sweep)

    def put_trial(self, sweep_uid: str, trial: Trial) -> None:
        """Recorder."""
        self.trials = [one for one in self.trials if one.uid != trial.uid] + [trial]
        self.puts.append(trial)

    def finish_sweep(self, sweep: Sweep) -> None:
        """Recorder."""
        self.finished_.append(sweep)

    def started(self, sweep: Sweep, candidates: int) -> None:
        """Observer."""

    def trying(self, config: Config) -> None:
        """Observer."""
        self.suspects.append(config)

    def tried(self, trial: Trial, best_us: float | None, default_us: float | None) -> None:
        """Observer."""
        self.told.append(trial)

    def finished(self, sweep: Sweep) -> None:
        """Observer."""
