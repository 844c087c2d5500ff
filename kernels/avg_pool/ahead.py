"""Average pooling compiled ahead of its calls, for a device that need not be here: on tensors without memory."""

from __future__ import annotations

import torch
from triton.backends.compiler import GPUTarget

from tunedb.core.problem import Config
from tunedb.runtime.compile_job import CompileJob

from .launch import backward_launch, empty_grad_input, empty_output, forward_launch
from .problem import Pool
from .workload import make_input

_META = torch.device("meta")


def compile_jobs(
    pool: Pool, backward: bool, config: Config, target: GPUTarget, tensor: torch.Tensor | None = None
) -> list[CompileJob]:
    """Return what compiles a config for a call that reads `tensor`, or new ones of the pool's layout and alignment.

    A pool with one batch entry stands for inputs of (1, C, L), and for (C, L) and (N, C, L), whose kernels may differ.
    Raises TrialError if the config can't run.
    """
    if tensor is not None:
        tensors = [tensor]
    else:
        columns = pool.window.output_length(pool.length) if backward else pool.length
        made = make_input(pool, columns, _META)
        tensors = [made[0], made] if pool.batch == 1 else [made]
    jobs: list[CompileJob] = []
    for read in tensors:
        if backward:
            launch = backward_launch(read, empty_grad_input(read, pool.length), pool.window, config)
        else:
            launch = forward_launch(read, empty_output(read, pool.window), pool.window, config)
        job = CompileJob.of(launch.jit, launch.arguments, launch.keywords, target)
        if job not in jobs:
            jobs.append(job)
    return jobs
