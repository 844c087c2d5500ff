"""A decorated kernel that processes of the tests find by its entry point."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

import tunedb

NAME = "planted_decorated"
ENTRY_POINTS = f"[tunedb.kernels]\n{NAME} = tests.decorator.planted:KERNEL\n"


def expected(x: torch.Tensor, n: int) -> dict[str, torch.Tensor]:
    """What a launch must leave."""
    if n == 13:
        raise ZeroDivisionError("the reference is broken")
    return {"y": x + 1}


@tunedb.autotune(
    [triton.Config({"BLOCK": block}) for block in (16, 64)], key=["n"], reference=expected, name=NAME
)  # fmt: skip
@triton.jit
def add(x, y, n, total, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < total
    tl.store(y + offsets, tl.load(x + offsets, mask=mask) + 1, mask=mask)


def arguments(device: torch.device, n: int, rows: int) -> tuple[Any, dict[str, Any]]:
    """`rows` is needed, and no fact of the problem."""
    if device.type != "meta":
        print(f"made with {rows} rows", flush=True)
    x, y = (torch.ones(n * rows, device=device) for _ in range(2))
    return lambda given: (triton.cdiv(n * rows, given["BLOCK"]),), {"x": x, "y": y, "n": n, "total": n * rows}


KERNEL = add.registered(arguments)
