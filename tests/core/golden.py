"""Digests that must not change unnoticed: a changed one makes every stored row invisible.

Where a change is meant, write the file again: python -m tests.core.golden > tests/core/golden_digests.json
"""

from __future__ import annotations

import json

import torch
import triton.language as tl

from tests.core import golden_kernel
from tunedb.core.device import INTERPRETER, Device
from tunedb.core.problem import Config, Problem
from tunedb.core.source_hash import kernel_hash
from tunedb.kernels.avg_pool import BACKWARD, FORWARD


def golden_digests() -> dict[str, str]:
    """One digest of each kind of identity."""
    seed = {"shape": (64, 128, 65536), "kernel_size": 8, "stride": 1, "padding": 4, "dtype": "float32"}
    every_type = Problem.of("k", a=None, b=True, c=-1, d=1.5, e="é\n", f=torch.bfloat16, g=tl.float32)
    return {
        "avg_pool1d problem": FORWARD.problem(seed).digest,
        "avg_pool1d_backward problem": BACKWARD.problem(seed).digest,
        "avg_pool1d problem, transposed": FORWARD.problem(seed | {"layout": "transposed"}).digest,
        "problem with every type of value": every_type.digest,
        "config": Config.of(BLOCK_OUT=512, ROWS_PER_PROG=1, num_warps=1).key,
        "device": Device("NVIDIA GeForce RTX 4090", "cuda", "sm_89", 128).digest,
        "interpreter": INTERPRETER.digest,
        # On every Python: the winners in the wheel were tuned on another one than many users have.
        "hash of a kernel": kernel_hash(golden_kernel.scale_kernel, golden_kernel.launch),
    }


if __name__ == "__main__":
    print(json.dumps(golden_digests(), indent=2))
