"""A Triton kernel with faults to choose from, y = 2 x: it writes half, races, reads out of bounds, or never ends."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import triton
import triton.language as tl

from tunedb.core.device import Device
from tunedb.core.kernel import Resources
from tunedb.core.problem import Config, Problem
from tunedb.runtime.launch import Launch
from tunedb.runtime.loaded_kernel import LoadedKernel, load, outline, prepare

NAME = "planted_gpu"
ENTRY_POINTS = f"[tunedb.kernels]\n{NAME} = tests.planted_gpu:KERNEL\n"
SIZE = 2**22
FAULTS = ("none", "half", "racy", "outside", "forever")
PER_PROGRAM = 1024


@triton.jit
def planted_kernel(x_ptr, y_ptr, stop_ptr, n, BLOCK: tl.constexpr, FAULT: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < n
    value = 2 * tl.load(x_ptr + offsets, inside)
    if FAULT == 1:
        inside &= offsets < n // 2
    if FAULT == 2:  # the neighbour's block, too, where whoever comes last is seen
        tl.store(y_ptr + (offsets + BLOCK) % n, value, inside)
    if FAULT == 3:
        value += tl.load(x_ptr + (offsets.to(tl.int64) << 36))
    if FAULT == 4:
        stop = tl.load(stop_ptr, volatile=True)
        while stop == 0:
            stop = tl.load(stop_ptr, volatile=True)
    tl.store(y_ptr + offsets, value, inside)


class Planted:
    """See `tunedb.core.kernel.RegisteredKernel`."""

    name = NAME
    hash = "ef" * 32

    def problem(self, arguments: Mapping[str, Any]) -> Problem:
        """The problem with these faults, by number, joined by commas."""
        return Problem.of(NAME, faults=arguments["faults"])

    def space(self, problem: Problem, device: Device) -> Sequence[Config]:
        """Two right configs, and one for each fault."""
        faults = [int(number) for number in problem["faults"].split(",")]
        right = [Config.of(BLOCK=block, FAULT=0, num_warps=4) for block in (PER_PROGRAM, 2 * PER_PROGRAM)]
        return [*right, *(Config.of(BLOCK=PER_PROGRAM, FAULT=fault, num_warps=4) for fault in faults)]

    def default(self, problem: Problem, device: Device) -> Config:
        """The first."""
        return self.space(problem, device)[0]

    def is_alike(self, problem: Problem, other: Problem) -> bool:
        """Never: nothing is borrowed."""
        return False

    def workload(self, problem: Problem, index: int) -> PlantedWorkload:
        """Tensors on that GPU."""
        return PlantedWorkload(index)


class PlantedWorkload:
    """See `tunedb.core.kernel.Workload`."""

    def __init__(self, index: int) -> None:
        self.device = torch.device("cuda", index)
        self.x = torch.randn(SIZE, device=self.device)
        self.y = torch.empty_like(self.x)
        self.stop = torch.zeros(1, dtype=torch.int32, device=self.device)
        self._outlines = tuple(outline(tensor) for tensor in (self.x, self.y, self.stop))
        self._loaded: dict[Config, LoadedKernel] = {}

    def launch(self, config: Config) -> Launch:
        """The launch of a config."""
        return self._launch((self.x, self.y, self.stop), config)

    def _launch(self, tensors: tuple[torch.Tensor, ...], config: Config) -> Launch:
        grid = (triton.cdiv(SIZE, config["BLOCK"]), 1, 1)
        return Launch(planted_kernel, grid, (*tensors, SIZE), config.constants, config.options)

    def prepare(self, config: Config) -> Resources:
        """Compile."""
        with torch.cuda.device(self.device):
            return prepare(self._launch(self._outlines, config))

    def compile(self, config: Config) -> Resources:
        """Compile and load."""
        if config not in self._loaded:
            self._loaded[config] = load(self.launch(config))
        return self._loaded[config].resources

    def check(self, config: Config) -> str | None:
        """Compare with torch, on poisoned output."""
        self.y.fill_(math.nan)
        self.launcher(config)()
        wrong = int((self.y != 2 * self.x).sum())
        return f"{wrong} of {SIZE} elements are wrong" if wrong else None

    def launcher(self, config: Config) -> Callable[[], object]:
        """One launch."""
        return functools.partial(self._loaded[config].run, self.x, self.y, self.stop)

    def close(self) -> None:
        """Free the tensors."""
        self._loaded.clear()
        del self.x, self.y, self.stop


KERNEL = Planted()
