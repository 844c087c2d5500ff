"""Compile a kernel for a GPU that need not be present, and read its registers and spills."""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from triton import knobs
from triton.backends.compiler import GPUTarget

from tunedb.core.kernel import Resources
from tunedb.core.problem import Config, Problem
from tunedb.kernels.avg_pool.launch import backward_launch, empty_grad_input, empty_output, forward_launch
from tunedb.kernels.avg_pool.problem import Pool
from tunedb.kernels.avg_pool.tunable import AvgPool
from tunedb.kernels.avg_pool.workload import make_input
from tunedb.runtime.compile_job import CompileJob
from tunedb.runtime.failures import typed_errors
from tunedb.runtime.launch import Launch


@dataclass(frozen=True, slots=True)
class Binary:
    """A kernel compiled for a GPU that need not be present."""

    resources: Resources
    asm: Mapping[str, Any]  # Triton's stages, such as "ttgir", "ptx", "cubin"


def launch_of(kernel: AvgPool, problem: Problem, config: Config) -> Launch:
    """Return the launch on tensors without memory: of a tensor, compiling reads only the dtype and address."""
    pool = Pool.of_problem(problem)
    columns = pool.window.output_length(pool.length) if kernel.backward else pool.length
    read = make_input(pool, columns, torch.device("meta"))
    if kernel.backward:
        return backward_launch(read, empty_grad_input(read, pool.length), pool.window, config)
    return forward_launch(read, empty_output(read, pool.window), pool.window, config)


def compile_for(launch: Launch, arch: int) -> Binary:
    """Compile for CUDA compute capability `arch` (89: RTX 4090, 90: H100 and H200). No GPU is needed.

    The launch's tensors may be on the CPU: only their dtype and alignment count. Raises TrialError.
    """
    with typed_errors():
        job = CompileJob.of(launch.jit, launch.arguments, launch.keywords, GPUTarget("cuda", arch, 32))
        kernel = job.compile(launch.jit)
    registers, spills = _resource_usage(kernel.asm["cubin"])
    return Binary(Resources(registers, spills, kernel.metadata.shared), kernel.asm)


def _resource_usage(cubin: bytes) -> tuple[int, int]:
    """Return the registers per thread, and 32-bit registers spilled to local memory, as `cuobjdump` reads them."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(_cuobjdump()), "--dump-resource-usage", file.name]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    usage = dict(re.findall(r"\b(REG|STACK|LOCAL):(\d+)", text))
    return int(usage["REG"]), max(int(usage.get("STACK", 0)), int(usage.get("LOCAL", 0))) // 4


@functools.cache
def _cuobjdump() -> Path:
    return Path(knobs.nvidia.cuobjdump.path)
