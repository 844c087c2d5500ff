"""A matrix product with sixty configs, registered for `benchmarks.fleet`: a kernel whose sweeps take long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import triton

import tunedb
from benchmarks.first_kernels import TILES, matmul_kernel
from benchmarks.fleet import MATRIX_NAME

_CONFIGS = [
    triton.Config({"M": m, "N": n, "K": k, "GROUP": 8}, num_warps=warps, num_stages=stages)
    for m, n, k in TILES
    for warps in (8, 4)
    for stages in (3, 2, 4)
]


def _arguments(device: Any, m: int, n: int, k: int) -> tuple[Any, Mapping[str, Any]]:
    import torch

    # `torch.randn` would load SymPy for tensors without memory: half a second in each process.
    a, b = (torch.rand(shape, device=device, dtype=torch.float16) for shape in ((m, k), (k, n)))
    named = {"c": torch.empty(m, n, device=device, dtype=torch.float16), "a": a, "b": b, "m": m, "n": n, "k": k}
    return lambda config: (triton.cdiv(m, config["M"]) * triton.cdiv(n, config["N"]),), named


MATMUL = tunedb.autotune(_CONFIGS, key=["m", "n", "k"], name=MATRIX_NAME, reference=lambda a, b: {"c": a @ b})(
    matmul_kernel
).registered(_arguments)
