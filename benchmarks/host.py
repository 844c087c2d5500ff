"""The host's time of a repeated call of average pooling, on a GPU: `python -m benchmarks.avg_pool1d --host`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

Function = Callable[[], object]


def host_times(calls: int = 2000, rounds: int = 15) -> dict[str, Any]:
    """Return the host's microseconds for a call, without synchronising: medians of `rounds` turns."""
    import torch
    from torch.nn import functional

    from benchmarks.timing import summary
    from tunedb.kernels import AvgPool1d, avg_pool1d

    x = torch.randn(16, 32, 128, device="cuda")
    needing = x.clone().requires_grad_()

    def model(pool: torch.nn.Module) -> Any:
        torch.manual_seed(0)
        return torch.compile(torch.nn.Sequential(torch.nn.Linear(128, 128), pool, torch.nn.Linear(64, 64)).cuda())

    theirs, mine = model(torch.nn.AvgPool1d(4, 2, 1)), model(AvgPool1d(4, 2, 1))

    def without_graph(call: Callable[[Any], Any]) -> Function:
        def run() -> None:
            with torch.no_grad():
                call(x)

        return run

    functions: dict[str, Function] = {
        "eager": lambda: functional.avg_pool1d(x, 4, 2, 1),
        "ours": lambda: avg_pool1d(x, 4, 2, 1),
        "eager, requires_grad": lambda: functional.avg_pool1d(needing, 4, 2, 1),
        "ours, requires_grad": lambda: avg_pool1d(needing, 4, 2, 1),
        "compiled model with torch's": without_graph(theirs),
        "compiled model with ours": without_graph(mine),
    }
    times_us: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        for _ in range(50):
            function()
    names = list(functions)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            function = functions[name]
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(calls):
                function()
            times_us[name].append((time.perf_counter() - start) / calls * 1e6)
    times = {name: summary(samples) for name, samples in times_us.items()}
    pairs = [("ours", "eager"), ("ours, requires_grad", "eager, requires_grad"),
             ("compiled model with ours", "compiled model with torch's")]  # fmt: skip
    ratios = {f"{a} / {b}": round(times[a]["median_us"] / times[b]["median_us"], 3) for a, b in pairs}
    return {
        "times": times,
        "ratios": ratios,
        "audit_events": audit_events(functions["ours"]),
        "first_call_s": first_calls(),
    }


def first_calls(rounds: int = 3) -> dict[str, float]:
    """Return seconds from the start of a process to its first result, for a plain Triton kernel and for ours.

    Medians of `rounds` processes of each, in turns, after one of each that fills the caches and is not counted.
    """
    seconds_of: dict[str, list[float]] = {"plain": [], "ours": []}
    for turn in range(rounds + 1):
        for what, seconds in seconds_of.items():
            command = [sys.executable, "-m", "benchmarks.start", what, str(time.time())]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            if turn > 0:
                seconds.append(float(done.stdout))
    medians = {what: round(median(seconds), 3) for what, seconds in seconds_of.items()}
    return medians | {"difference": round(medians["ours"] - medians["plain"], 3)}


def audit_events(call: Function) -> dict[str, int]:
    """Count what Python's audit hooks see of a thousand repeated calls: files, sockets, databases, processes."""
    events: dict[str, int] = {}
    listening = [True]

    def hook(event: str, _: object) -> None:
        if listening[0]:
            events[event] = events.get(event, 0) + 1

    sys.addaudithook(hook)
    for _ in range(1000):
        call()
    listening[0] = False
    return events
