"""Three kernels with several knobs each, for the report of the documentation: softmax, layer norm, matrix product.

They state the bytes that they move and the operations that they do, so that a report shows their limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import triton
import triton.language as tl

import tunedb

Facts = Mapping[str, Any]
WARPS = (4, 2, 8, 16)
MAX_VALUES = 128  # of a thread
TILES = ((32, 64, 64), (64, 64, 32), (64, 128, 32), (128, 64, 32), (128, 128, 32), (128, 128, 64), (128, 256, 64))


def fitting(configs: list[triton.Config], named_args: Facts, **keywords: Any) -> list[triton.Config]:
    """The configs whose values fit the registers: others take long to compile, and never win."""
    columns = triton.next_power_of_2({**named_args, **keywords}["columns"])
    return [one for one in configs if one.kwargs["ROWS"] * columns <= MAX_VALUES * 32 * one.num_warps]


@tunedb.autotune(
    [triton.Config({"ROWS": rows}, num_warps=warps) for rows in (1, 2, 4, 8) for warps in WARPS],
    key=["rows", "columns"],
    reference=lambda x: {"y": torch.softmax(x, dim=1)},
    prune_configs_by={"early_config_prune": fitting},
    name="softmax",
)
@triton.heuristics({"COLUMNS": lambda of: triton.next_power_of_2(of["columns"])})
@triton.jit
def softmax_kernel(y, x, rows, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < columns)
    values = tl.load(x + row * columns + column, mask=inside, other=float("-inf")).to(tl.float32)
    values = tl.exp(values - tl.max(values, axis=1)[:, None])
    tl.store(y + row * columns + column, values / tl.sum(values, axis=1)[:, None], mask=inside)


@tunedb.autotune(
    [triton.Config({"BLOCK": block}, num_warps=warps) for block in (512, 256, 1024, 2048, 4096) for warps in WARPS],
    key=["rows", "columns"],
    reference=lambda x, weight, bias: {"y": torch.nn.functional.layer_norm(x, x.shape[1:], weight, bias, 1e-5)},
    name="layer_norm",
)
@triton.jit
def layer_norm_kernel(y, x, weight, bias, rows, columns, BLOCK: tl.constexpr):  # noqa: ARG001 - `rows` is of the key
    start = tl.program_id(0).to(tl.int64) * columns
    total = tl.zeros([BLOCK], dtype=tl.float32)
    squares = tl.zeros([BLOCK], dtype=tl.float32)
    for first in range(0, columns, BLOCK):
        at = first + tl.arange(0, BLOCK)
        values = tl.load(x + start + at, mask=at < columns, other=0.0).to(tl.float32)
        total += values
        squares += values * values
    mean = tl.sum(total, axis=0) / columns
    scale = 1 / tl.sqrt(tl.sum(squares, axis=0) / columns - mean * mean + 1e-5)
    for first in range(0, columns, BLOCK):
        at = first + tl.arange(0, BLOCK)
        inside = at < columns
        values = (tl.load(x + start + at, mask=inside, other=0.0).to(tl.float32) - mean) * scale
        values = values * tl.load(weight + at, mask=inside, other=0.0) + tl.load(bias + at, mask=inside, other=0.0)
        tl.store(y + start + at, values, mask=inside)


@tunedb.autotune(
    [
        triton.Config({"BM": m, "BN": n, "BK": k}, num_warps=warps, num_stages=stages)
        for m, n, k in TILES
        for warps in (4, 8)
        for stages in (3, 4)
    ],
    key=["M", "N", "K"],
    reference=lambda a, b: {"c": a @ b},
    name="matmul",
)
@triton.jit
def matmul_kernel(c, a, b, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    row = tl.program_id(0) * BM + tl.arange(0, BM)[:, None]
    column = tl.program_id(1) * BN + tl.arange(0, BN)[None, :]
    inner = tl.arange(0, BK)
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for first in range(0, K, BK):
        left, down = first + inner[None, :], first + inner[:, None]
        one = tl.load(a + row * K + left, mask=(row < M) & (left < K), other=0.0)
        other = tl.load(b + down * N + column, mask=(down < K) & (column < N), other=0.0)
        total = tl.dot(one, other, total)
    tl.store(c + row * N + column, total.to(c.dtype.element_ty), mask=(row < M) & (column < N))


def softmax_call(device: Any, rows: int, columns: int, x_dtype: torch.dtype = torch.float16) -> Any:
    """The grid and the arguments of a softmax over rows."""
    x = torch.randn(rows, columns, dtype=x_dtype, device=device)
    named = {"y": torch.empty_like(x), "x": x, "rows": rows, "columns": columns}
    return lambda config: (triton.cdiv(rows, config["ROWS"]),), named


def layer_norm_call(device: Any, rows: int, columns: int, x_dtype: torch.dtype = torch.float16) -> Any:
    """The grid and the arguments of a layer norm over rows."""
    x = torch.randn(rows, columns, dtype=x_dtype, device=device)
    weight, bias = (torch.randn(columns, dtype=x_dtype, device=device) for _ in range(2))
    named = {"y": torch.empty_like(x), "x": x, "weight": weight, "bias": bias, "rows": rows, "columns": columns}
    return lambda config: (rows,), named  # noqa: ARG005 - a grid gets the config


def matmul_call(device: Any, M: int, N: int, K: int, a_dtype: torch.dtype = torch.float16) -> Any:
    """The grid and the arguments of a matrix product."""
    a, b = (torch.randn(shape, dtype=a_dtype, device=device) for shape in ((M, K), (K, N)))
    named = {"c": torch.empty(M, N, dtype=a_dtype, device=device), "a": a, "b": b, "M": M, "N": N, "K": K}
    return lambda config: (triton.cdiv(M, config["BM"]), triton.cdiv(N, config["BN"])), named


def bytes_of_rows(of: Facts) -> int:
    """The bytes that a kernel over rows reads and writes; of weights there are too few to count."""
    return int(2 * of["rows"] * of["columns"] * of["x.dtype"].itemsize)


def bytes_of_matmul(of: Facts) -> int:
    """The bytes of the three matrices."""
    return int((of["M"] * of["K"] + of["K"] * of["N"] + of["M"] * of["N"]) * of["a.dtype"].itemsize)


SOFTMAX = softmax_kernel.registered(softmax_call, bytes_of_rows)
LAYER_NORM = layer_norm_kernel.registered(layer_norm_call, bytes_of_rows)
MATMUL = matmul_kernel.registered(matmul_call, bytes_of_matmul, lambda of: 2 * of["M"] * of["N"] * of["K"])
