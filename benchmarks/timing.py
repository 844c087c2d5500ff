"""Interleaved timing of several functions on a GPU: cold L2, medians with spread."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any


def require_gpu() -> None:
    """End the program with one line if torch sees no GPU."""
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("This benchmark needs a GPU, and torch sees none here.")


def interleaved(functions: Mapping[str, Callable[[], object]], rounds: int = 20, each: int = 10) -> dict[str, Any]:
    """Return microseconds of each function: median, p20, p80 and samples, from `rounds` turns whose order rotates.

    Before each launch, twice the size of the L2 is written, which also hides the host's time to launch.
    """
    import torch

    size = 2 * torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
    flush = torch.empty(size, dtype=torch.uint8, device="cuda")
    samples: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        for _ in range(3):
            function()
    names = list(functions)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(each)]
            for start, end in events:
                flush.zero_()
                start.record()
                functions[name]()
                end.record()
            torch.cuda.synchronize()
            samples[name] += [start.elapsed_time(end) * 1e3 for start, end in events]
    return {name: summary(times) for name, times in samples.items()}


def summary(samples: list[float]) -> dict[str, float | int]:
    """Return median, p20 and p80 in microseconds, and the number of samples."""
    fifths = quantiles(samples, n=5, method="inclusive")
    return {
        "median_us": round(median(samples), 3),
        "p20_us": round(fifths[0], 3),
        "p80_us": round(fifths[3], 3),
        "samples": len(samples),
    }


def provenance() -> dict[str, Any]:
    """Return device, versions, date and command, which every figure comes with."""
    import torch
    import triton

    from tunedb.runtime.current_device import environment, gpu

    device = gpu(torch.cuda.current_device())
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "device": device.name,
        "arch": device.arch,
        "multiprocessors": device.multiprocessors,
        "driver": environment("cuda", "").driver,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "python": platform.python_version(),
        # Names without their folders, which mean nothing on another machine.
        "command": " ".join(["python -m", _module(sys.argv[0]), *map(_without_folders, sys.argv[1:])]),
    }


def _module(path: str) -> str:
    """Return the name of a benchmark, which is a file or a folder, from the path of what was run."""
    file = Path(path)
    return f"benchmarks.{file.parent.name if file.stem == '__main__' else file.stem}"


def _without_folders(word: str) -> str:
    """Replace paths by names in a word, which may be several paths with commas between them."""
    return ",".join(Path(part).name for part in word.split(","))
