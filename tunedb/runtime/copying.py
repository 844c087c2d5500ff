"""The rate at which a GPU copies a tensor: what a kernel that moves bytes is compared with."""

from __future__ import annotations

import torch

from tunedb.runtime.clock import clock_for, timing, untraced

SIZE = 512 << 20  # bytes of the tensor: ten times the largest L2 of today. Chosen
LEAST = 64 << 20  # with less memory than this free, what is measured is not the memory
ROUNDS = 3  # the fastest counts: a rate is a limit


def measured_rate(index: int) -> float:
    """Return the bytes a second, read and written together, of a copy within the memory of the GPU of that index.

    It is timed as kernels are. Raises RuntimeError if too little memory is free.
    """
    with untraced(index):
        free, _ = torch.cuda.mem_get_info(index)
        size = min(SIZE, free // 4)
        if size < LEAST:
            raise RuntimeError(f"{free >> 20} MiB of GPU {index} are free; expected at least {4 * LEAST >> 20}")
        return 2 * size / (_fastest_us(index, size) * 1e-6)


def _fastest_us(index: int, size: int) -> float:
    """Return the microseconds of a copy. Its tensors end here, so that `untraced` can give their memory back."""
    source, target = (torch.empty(size, dtype=torch.uint8, device=f"cuda:{index}") for _ in range(2))
    source.zero_()
    clock = clock_for(index)
    return min(timing(clock, lambda: target.copy_(source)).median for _ in range(ROUNDS))
