"""A tiny kernel and jobs that compile it, for tests of the compile worker and the programs that they start."""

from __future__ import annotations

import dataclasses
from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget

from tunedb.runtime.compile_job import CompileJob


@triton.jit
def fill(y, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + at, 1.0, at < n)


class Pointer:
    """Stands for a float32 tensor of 16 byte alignment, for Triton."""

    dtype = "fp32"

    def data_ptr(self) -> int:
        return 0


def job(block: int, **changes: Any) -> CompileJob:
    """Return the job that compiles `fill` for that block, with other values for some of its fields."""
    keywords = {"BLOCK": block, "num_warps": 4, "enable_fp_fusion": True}
    made = CompileJob.of(fill, (Pointer(), 100), keywords, GPUTarget("cuda", 89, 32))
    return dataclasses.replace(made, **changes)
