"""Softmax over rows: `softmax(x)`."""

import torch
import triton
import triton.language as tl

import tunedb


@tunedb.autotune(
    [triton.Config({"ROWS": rows}, num_warps=warps) for rows in (1, 4) for warps in (4, 1, 8)],
    key=["columns"],
    reference=lambda x: {"y": torch.softmax(x, dim=1)},
    name="example_softmax",
)
@triton.heuristics({"COLUMNS": lambda given: triton.next_power_of_2(given["columns"])})
@triton.jit
def softmax_kernel(y, x, rows, columns, y_pitch, x_pitch, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < columns)
    values = tl.load(x + row * x_pitch + column, mask=inside, other=float("-inf")).to(tl.float32)
    values = tl.exp(values - tl.max(values, axis=1)[:, None])
    tl.store(y + row * y_pitch + column, values / tl.sum(values, axis=1)[:, None], mask=inside)


def call_for(x):
    """The grid and the arguments for a matrix x whose rows are contiguous."""
    y = torch.empty_like(x)
    rows, columns = x.shape
    named = {"y": y, "x": x, "rows": rows, "columns": columns, "y_pitch": y.stride(0), "x_pitch": x.stride(0)}
    return lambda config: (triton.cdiv(rows, config["ROWS"]),), named


def softmax(x):
    """torch.softmax(x, dim=1)."""
    grid, named = call_for(x)
    softmax_kernel[grid](*named.values())
    return named["y"]


def arguments(device, columns, rows=4096, x_dtype=torch.float32):
    """A call for a problem, for `tunedb warm example_softmax --arg columns=1024`; `rows` is in no problem's key."""
    return call_for(torch.randn(rows, columns, dtype=x_dtype, device=device))


SOFTMAX = softmax_kernel.registered(arguments)
