"""Kernels to decorate, and a benchmark function that says which config is fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import triton
import triton.language as tl

import tunedb
from tests.conftest import DEVICE


@triton.jit
def add_one(x, y, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(y + offsets, tl.load(x + offsets, mask=mask) + 1, mask=mask)


@triton.jit
def add_in_place(x, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(x + offsets, tl.load(x + offsets, mask=mask) + 1, mask=mask)


@triton.jit
def add_some(x, y, n, BLOCK: tl.constexpr, SOME: tl.constexpr):
    """Wrong unless SOME is 1."""
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(y + offsets, tl.load(x + offsets, mask=mask) + SOME, mask=mask)


@triton.jit
def accumulate(x, y, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.atomic_add(y + offsets, tl.load(x + offsets, mask=mask), mask=mask)


@triton.jit
def add_even(x, y, n, EVEN: tl.constexpr, BLOCK: tl.constexpr):
    """Right only where EVEN tells whether BLOCK divides n."""
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if EVEN:
        tl.store(y + offsets, tl.load(x + offsets) + 1)
    else:
        mask = offsets < n
        tl.store(y + offsets, tl.load(x + offsets, mask=mask) + 1, mask=mask)


@triton.jit
def multiply(a, b, c, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    row, column = tl.program_id(0), tl.program_id(1)
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(0, K, BK):
        total = tl.dot(a.load([row * BM, k]), b.load([column * BN, k]).T, total)
    c.store([row * BM, column * BN], total.to(tl.float16))


@triton.jit
def add_pair(given, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(given[1] + offsets, tl.load(given[0] + offsets, mask=mask) + given[2], mask=mask)


def set_blocks(named: dict[str, Any]) -> None:
    """What the tiles of a config make of its descriptors' blocks."""
    m, n, k = (named[name] for name in ("BM", "BN", "BK"))
    named["a"].block_shape, named["b"].block_shape, named["c"].block_shape = [m, k], [n, k], [m, n]


EVEN = {"EVEN": lambda given: given["n"] % given["BLOCK"] == 0}


def configs(*blocks: int, **options: Any) -> list[triton.Config]:
    """One config per block size."""
    return [triton.Config({"BLOCK": block}, **options) for block in blocks]


def tuned(jit: Any = add_one, blocks: Sequence[int] = (16, 64), key: Sequence[str] = ("n",), **given: Any) -> Any:
    """The kernel, decorated: as in another process, where it is called again."""
    given.setdefault("name", "kernel")
    return tunedb.autotune(given.pop("configs", None) or configs(*blocks), list(key), **given)(jit)


def grid_of(n: int) -> Callable[[Mapping[str, Any]], tuple[int]]:
    """One program per block."""
    return lambda given: (triton.cdiv(n, given["BLOCK"]),)


def tensors(n: int = 100) -> tuple[torch.Tensor, torch.Tensor]:
    """An input, and an output that is not the result yet."""
    return torch.randn(n, device=DEVICE), torch.full((n,), 7.0, device=DEVICE)


def new_process() -> None:
    """Forget what this process remembers, as a new one would know nothing: the store stays."""
    tunedb.configure()


class Bench:
    """A benchmark function: milliseconds by the place of the config among those that are timed, in order."""

    def __init__(self, *times: float) -> None:
        self.times = times
        self.timed = 0

    def __call__(self, launch: Callable[[], object], quantiles: Sequence[float]) -> list[float]:
        launch()
        time = self.times[self.timed % len(self.times)]
        self.timed += 1
        return [time] * len(quantiles)
