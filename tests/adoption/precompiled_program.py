"""A program with kernels of every kind, run before `tunedb precompile` and after it."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

import tunedb
from tests.decorator.kernels import configs, grid_of


@triton.jit
def twice(x):
    return x * 2


@tunedb.autotune(configs=configs(16, 64), key=["n"])
@triton.heuristics({"EVEN": lambda given: given["n"] % given["BLOCK"] == 0})
@triton.jit
def decorated(x, y, n, scale, WHAT: tl.constexpr, EVEN: tl.constexpr, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(y + offsets, WHAT(tl.load(x + offsets, mask=mask)) * scale, mask=mask)


@triton.autotune(configs(16, 64), ["n"])
@triton.jit
def adopted(x, y, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(y + offsets, tl.load(x + offsets, mask=mask) - 1, mask=mask)


@triton.jit
def plain(x, BLOCK: tl.constexpr):
    offsets = tl.arange(0, BLOCK)
    tl.store(x + offsets, tl.load(x + offsets) + 3)


def call_decorated(n: int = 64, device: str = "cpu") -> None:
    """One launch; 64 is a multiple of 16, 50 is not."""
    x = torch.zeros(n, device=device)
    decorated[grid_of(n)](x, x.clone(), n, 0.5, WHAT=twice)


def call_adopted(device: str = "cpu") -> None:
    """One launch."""
    x = torch.zeros(64, device=device)
    adopted[grid_of(64)](x, x.clone(), 64)


def call_plain(block: int = 32, device: str = "cpu") -> None:
    """One launch that tunedb has no part in."""
    plain[(1,)](torch.zeros(64, device=device), BLOCK=block)
