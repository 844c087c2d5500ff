"""A kernel whose configs do what their problem says, in whatever process: be quick, be wrong, hang, crash."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunedb.core.device import Device
from tunedb.core.kernel import Resources
from tunedb.core.problem import Config, Problem

NAME = "planted"
HANG_WHILE = "hang while "  # the path of a file that is there
ENTRY_POINTS = f"[tunedb.kernels]\n{NAME} = tests.planted:KERNEL\n"


def register(folder: Path, entry_points: str = ENTRY_POINTS) -> str:
    """Make a distribution in this folder that registers the kernel; the PYTHONPATH with which processes find it."""
    info = folder / "planted-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    before = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(folder), str(Path(__file__).parent.parent), *([before] if before else [])])


def register_lightly(folder: Path) -> str:
    """Like `register`, with stand-ins for torch and Triton, which take seconds to load: this kernel needs neither."""
    path = register(folder)
    for name in ("torch", "triton"):
        (folder / f"{name}.py").symlink_to(Path(__file__).parent / "stand_in.py")
    return path


def register_module(folder: Path, text: str) -> None:
    """Have processes that know the kernel by this folder load it from a module with this text."""
    (folder / "planted_module.py").write_text(text)
    entry_points = folder / "planted-1.0.dist-info" / "entry_points.txt"
    entry_points.write_text(f"[tunedb.kernels]\n{NAME} = planted_module:KERNEL\n")


def problem_of(**outcomes: float | str) -> Problem:
    """The problem of configs named like `b16`: a time in seconds, or what goes wrong with them."""
    return Problem.of(NAME, **outcomes)


class Planted:
    """See `tunedb.core.kernel.RegisteredKernel`."""

    name = NAME
    hash = "cd" * 32

    def problem(self, arguments: Mapping[str, Any]) -> Problem:
        """Arguments are outcomes; without any, there is one config."""
        return problem_of(**(arguments or {"b1": 0.001}))

    def space(self, problem: Problem, device: Device) -> Sequence[Config]:
        """A config for each fact."""
        return [Config.of(BLOCK=int(name[1:])) for name in sorted(problem, key=lambda name: int(name[1:]))]

    def default(self, problem: Problem, device: Device) -> Config:
        """The first."""
        return self.space(problem, device)[0]

    def is_alike(self, problem: Problem, other: Problem) -> bool:
        """Never: nothing is borrowed."""
        return False

    def workload(self, problem: Problem, index: int) -> PlantedWorkload:
        """A workload of this process."""
        return PlantedWorkload(problem)


def _is_there(outcome: str) -> bool:
    return outcome.startswith(HANG_WHILE) and Path(outcome.removeprefix(HANG_WHILE)).exists()


class PlantedWorkload:
    """See `tunedb.core.kernel.Workload`."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def prepare(self, config: Config) -> Resources:
        """Nothing is compiled."""
        return Resources()

    def compile(self, config: Config) -> Resources:
        """Nothing is loaded."""
        return Resources()

    def check(self, config: Config) -> str | None:
        """Where it goes wrong, if it does."""
        outcome = self.problem[f"b{config['BLOCK']}"]
        if outcome == "hang" or (isinstance(outcome, str) and _is_there(outcome)):
            time.sleep(600)
        if outcome == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if outcome == "sticky":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return "1 of 8 elements is wrong" if outcome == "wrong" else None

    def launcher(self, config: Config) -> Callable[[], object]:
        """Sleep for as long as the config takes."""
        outcome = self.problem[f"b{config['BLOCK']}"]
        return lambda: time.sleep(outcome if isinstance(outcome, float) else 0.001)

    def close(self) -> None:
        """Nothing is held."""


KERNEL = Planted()
