"""Kernels whose first tuning is measured. Loads no torch by itself, so that the compile worker may import it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl


@triton.jit
def softmax_kernel(y, x, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * columns
    at = tl.arange(0, BLOCK)
    values = tl.load(x + row + at, mask=at < columns, other=float("-inf")).to(tl.float32)
    values = tl.exp(values - tl.max(values, axis=0))
    tl.store(y + row + at, values / tl.sum(values, axis=0), mask=at < columns)


@triton.jit
def layer_norm_kernel(y, x, weight, bias, columns, epsilon, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * columns
    total = tl.zeros([BLOCK], dtype=tl.float32)
    squares = tl.zeros([BLOCK], dtype=tl.float32)
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        values = tl.load(x + row + at, mask=at < columns, other=0.0).to(tl.float32)
        total += values
        squares += values * values
    mean = tl.sum(total, axis=0) / columns
    scale = 1 / tl.sqrt(tl.sum(squares, axis=0) / columns - mean * mean + epsilon)
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = at < columns
        values = (tl.load(x + row + at, mask=inside, other=0.0).to(tl.float32) - mean) * scale
        values = values * tl.load(weight + at, mask=inside) + tl.load(bias + at, mask=inside)
        tl.store(y + row + at, values, mask=inside)


@triton.jit
def matmul_kernel(c, a, b, m, n, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, GROUP: tl.constexpr):
    program, per_row = tl.program_id(0), tl.cdiv(n, N)
    first = program // (GROUP * per_row) * GROUP
    rows = min(tl.cdiv(m, M) - first, GROUP)
    row = (first + program % (GROUP * per_row) % rows) * M + tl.arange(0, M)
    column = program % (GROUP * per_row) // rows * N + tl.arange(0, N)
    inner = tl.arange(0, K)
    left = a + (row % m)[:, None] * k + inner[None, :]
    right = b + inner[:, None] * n + (column % n)[None, :]
    total = tl.zeros((M, N), dtype=tl.float32)
    for start in range(0, k, K):
        inside = inner < k - start
        total = tl.dot(
            tl.load(left, mask=inside[None, :], other=0.0), tl.load(right, mask=inside[:, None], other=0.0), total
        )
        left += K
        right += K * n
    inside = (row < m)[:, None] & (column < n)[None, :]
    tl.store(c + row[:, None] * n + column[None, :], total.to(tl.float16), mask=inside)


@dataclass(frozen=True)
class Case:
    """A kernel, its configs, and a call of it: `arguments` of a device, the first of which the kernel writes."""

    jit: Any
    configs: tuple[tuple[Mapping[str, int], Mapping[str, int]], ...]  # constants and options
    key: tuple[str, ...]
    grid: Any
    arguments: Callable[[str], tuple[Any, ...]]
    expected: Callable[..., Any]  # of all arguments

    def tritons_configs(self) -> list[triton.Config]:
        """Return the configs as Triton takes them."""
        return [triton.Config(dict(constants), **options) for constants, options in self.configs]


def _matrices(device: str) -> tuple[Any, ...]:
    import torch

    a, b, c = (torch.randn(1024, 1024, device=device, dtype=torch.float16) for _ in range(3))
    return c, a, b, 1024, 1024, 1024


def _rows(device: str) -> tuple[Any, ...]:
    import torch

    x = torch.randn(4096, 2048, device=device)
    return torch.empty_like(x), x, 2048


def _rows_with_weights(device: str) -> tuple[Any, ...]:
    import torch

    y, x, columns = _rows(device)
    weight, bias = (torch.randn(columns, device=device) for _ in range(2))
    return y, x, weight, bias, columns, 1e-5


def _softmax(y: Any, x: Any, columns: int) -> Any:  # noqa: ARG001 - the kernel's own arguments
    return x.softmax(dim=1)


def _layer_norm(y: Any, x: Any, weight: Any, bias: Any, columns: int, epsilon: float) -> Any:  # noqa: ARG001 - as above
    from torch.nn import functional

    return functional.layer_norm(x, (columns,), weight, bias, epsilon)


def _product(c: Any, a: Any, b: Any, *_: int) -> Any:  # noqa: ARG001 - as above
    return a @ b


TILES = [(128, 256, 64), (256, 128, 64), (64, 256, 32), (128, 128, 32), (128, 64, 32), (64, 128, 32), (128, 32, 32),
         (64, 32, 32), (128, 128, 64), (64, 64, 64)]  # fmt: skip
CASES = {
    "softmax, 6 configs": Case(
        softmax_kernel, tuple(({"BLOCK": 2048}, {"num_warps": warps}) for warps in (1, 2, 4, 8, 16, 32)), ("columns",),
        (4096,), _rows, _softmax,
    ),
    "matmul, 20 configs": Case(
        matmul_kernel,
        tuple(
            ({"M": m, "N": n, "K": k, "GROUP": 8}, {"num_warps": 8 if m * n > 16384 else 4, "num_stages": stages})
            for m, n, k in TILES
            for stages in (3, 4)
        ),
        ("m", "n", "k"),
        lambda given: (triton.cdiv(given["m"], given["M"]) * triton.cdiv(given["n"], given["N"]),),
        _matrices, _product,
    ),
    "layer norm, 8 configs": Case(
        layer_norm_kernel,
        tuple(({"BLOCK": block}, {"num_warps": warps}) for block in (256, 512, 1024, 2048) for warps in (4, 8)),
        ("columns",), (4096,), _rows_with_weights, _layer_norm,
    ),
}  # fmt: skip
