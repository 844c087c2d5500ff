"""Interleaved timing of several functions on a GPU: cold L2, medians with spread, ratios with intervals."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from math import comb
from pathlib import Path
from statistics import median, quantiles
from typing import Any

Function = Callable[[], object]

TURN_US = 3000.0  # of launches that a function makes in its turn, but at most so many:
LAUNCHES_IN_TURN = 12
CYCLES_PER_US = 2000  # of a GPU's clock, or fewer
LEAD_US, MAX_LEAD_US = 300.0, 20_000.0  # that the GPU spins; longer after the host was late
TRIES = 4
SLOW_RATIO = 4.0  # times the time of `ours`: the function takes part in no turns, two launches say enough
CALLS_IN_GRAPH = 20


def require_gpu() -> None:
    """End the program with one line if torch sees no GPU."""
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("This benchmark needs a GPU, and torch sees none here.")


class TurnClock:
    """A clock of launches on a cold L2, the host's time in none.

    The GPU spins first, for as long as the host needs to submit all launches of a turn. Before each launch, twice the
    L2 is written. A launch that the host submits late all the same is not counted, and repeated.
    """

    def __init__(self) -> None:
        import torch

        from tunedb.runtime.compat_torch import spin

        size = 2 * torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
        self._flush = torch.empty(size, dtype=torch.uint8, device="cuda")
        self._spin = spin
        self._lead_us = LEAD_US

    def sample(self, function: Function, count: int) -> list[float]:
        """Return the microseconds of `count` launches."""
        taken: list[float] = []
        late: list[float] = []
        for _ in range(TRIES):
            samples, host_us = self._run(function, count - len(taken))
            for time_us, was_late in samples:
                (late if was_late else taken).append(time_us)
            if len(taken) == count:
                self._lead_us = max(0.8 * self._lead_us, LEAD_US)
                return taken
            self._lead_us = min(max(2 * self._lead_us, 1.5 * host_us), MAX_LEAD_US)
        # The host is always late, which makes a launch look slower, never faster: the least late are nearest.
        return taken + sorted(late)[: count - len(taken)]

    def _run(self, function: Function, count: int) -> tuple[list[tuple[float, bool]], float]:
        """Return the microseconds of launches, and whether each was late; and those of the host for all of them."""
        import torch

        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(count)]
        torch.cuda.synchronize()
        self._spin(int(self._lead_us * CYCLES_PER_US))
        begun, were_late = time.perf_counter(), []
        for start, end in events:
            self._flush.zero_()
            start.record()
            function()
            end.record()
            were_late.append(start.query())
        host_us = (time.perf_counter() - begun) * 1e6
        torch.cuda.synchronize()
        times = (start.elapsed_time(end) * 1e3 for start, end in events)
        return list(zip(times, were_late, strict=True)), host_us


def interleaved(
    functions: Mapping[str, Function], rounds: int = 20, each: int = 10, clock: TurnClock | None = None
) -> dict[str, Any]:
    """Return microseconds of each function: median, p20, p80 and samples, from `rounds` turns whose order rotates."""
    for function in functions.values():
        for _ in range(3):
            function()
    taken = turns(functions, rounds, dict.fromkeys(functions, each), clock or TurnClock())
    return {name: summary([taken_us for turn in times for taken_us in turn]) for name, times in taken.items()}


def turns(
    functions: Mapping[str, Function], rounds: int, each: Mapping[str, int], clock: TurnClock
) -> dict[str, list[list[float]]]:
    """Return the microseconds of each function by turn; each makes `each` launches in a turn, and the order rotates."""
    names = list(functions)
    taken: dict[str, list[list[float]]] = {name: [] for name in names}
    for turn in range(rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            taken[name].append(clock.sample(functions[name], each[name]))
    return taken


def raced(functions: Mapping[str, Function], rounds: int) -> dict[str, list[list[float]]]:
    """Return microseconds by turn, with as many launches in a turn as fill `TURN_US`.

    A function that takes `SLOW_RATIO` times as long as `ours`, the first, has one turn of two launches.
    """
    for function in functions.values():
        function()
    clock = TurnClock()
    rough = turns(functions, 1, dict.fromkeys(functions, 2), clock)
    rough_us = {name: min(times[0]) for name, times in rough.items()}
    limit = SLOW_RATIO * next(iter(rough_us.values()))
    racing = {name: function for name, function in functions.items() if rough_us[name] <= limit}
    each = {name: int(min(max(TURN_US / rough_us[name], 1), LAUNCHES_IN_TURN)) for name in racing}
    return rough | turns(racing, rounds, each, clock)


def in_graphs(functions: Mapping[str, Function]) -> dict[str, Function]:
    """Return functions that replay CUDA graphs of `CALLS_IN_GRAPH` calls each: the host's time is in none of them."""
    import torch

    graphs: dict[str, Function] = {}
    for name, function in functions.items():
        for _ in range(3):  # what is compiled or tuned at first calls can't be captured
            function()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads compile
            for _ in range(CALLS_IN_GRAPH):
                function()
        graphs[name] = partial(_replay, graph)
    return graphs


def _replay(graph: Any) -> None:
    graph.replay()


def summary(samples: Sequence[float]) -> dict[str, float | int]:
    """Return median, p20 and p80 in microseconds, and the number of samples."""
    fifths = quantiles(samples, n=5, method="inclusive") if len(samples) > 1 else [samples[0]] * 4
    return {
        "median_us": round(median(samples), 3),
        "p20_us": round(fifths[0], 3),
        "p80_us": round(fifths[3], 3),
        "samples": len(samples),
    }


def interval(values: Iterable[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return a confidence interval of the median that assumes no distribution: two order statistics.

    Source: the number of values below the median is binomial with p = 1/2. Of five values or fewer it is the range.
    """
    ordered = sorted(values)
    count, low = len(ordered), 0
    while 2 * sum(comb(count, number) for number in range(low + 2)) / 2**count <= 1 - confidence:
        low += 1
    return ordered[low], ordered[count - 1 - low]


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
