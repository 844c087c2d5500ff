"""The host's time of average pooling against torch's own op, on a GPU: repeated calls, gradients, compiled models.

    python -m benchmarks.host --json benchmarks/results/host-h100.jsonl

Each round times both sides of a case without synchronising, first and last the one that was second before; a ratio is
the median of the rounds' own ratios, with a 95 % interval that assumes no distribution. Nothing is tuned: the host's
time does not depend on the config. `--start` also measures new processes, which takes half a minute.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.adopt.figures import interval
from benchmarks.timing import provenance, require_gpu, summary

Function = Callable[[], object]
Row = dict[str, Any]

SHAPE, WINDOW = (16, 32, 128), (4, 2, 1)
ROUNDS = 15
TURN_S = 0.05  # for how long a side is called in a turn, roughly
WARMUP = 50


def cases() -> Iterator[tuple[str, Function, Function]]:
    """Yield the name of each case with our function and torch's, which do the same."""
    import torch
    from torch.nn import functional

    from tunedb.kernels import AvgPool1d, avg_pool1d

    x = torch.randn(SHAPE, device="cuda")
    needing = x.clone().requires_grad_()
    ours, theirs = (lambda t: avg_pool1d(t, *WINDOW)), (lambda t: functional.avg_pool1d(t, *WINDOW))
    yield "a repeated call", lambda: ours(x), lambda: theirs(x)
    yield "with requires_grad", lambda: ours(needing), lambda: theirs(needing)
    yield "a backward call", backward_call(ours, needing), backward_call(theirs, needing)
    models = [compiled_model(pool(*WINDOW)) for pool in (AvgPool1d, torch.nn.AvgPool1d)]
    yield "a compiled model", *(without_graph(model, x) for model in models)  # type: ignore[misc]  # both
    yield "a compiled model, forward and backward", *(step(model, x) for model in models)  # type: ignore[misc]  # both


def backward_call(pool: Callable[[Any], Any], leaf: Any) -> Function:
    """Return a function that only computes the gradient: the graph is built once."""
    import torch

    y = pool(leaf)
    gradient = torch.randn_like(y)
    return lambda: torch.autograd.grad(y, leaf, gradient, retain_graph=True)


def compiled_model(pool: Any) -> Any:
    """Return a compiled model with the pool between two linear layers, of the same weights each time."""
    import torch

    torch.manual_seed(0)
    length = pool(torch.empty(1, 1, SHAPE[-1], device="cuda")).shape[-1]
    first, last = torch.nn.Linear(SHAPE[-1], SHAPE[-1]), torch.nn.Linear(length, length)
    return torch.compile(torch.nn.Sequential(first, pool, last).cuda(), fullgraph=True)


def without_graph(model: Any, x: Any) -> Function:
    """Return a call of the model that builds no graph."""
    import torch

    def run() -> None:
        with torch.no_grad():
            model(x)

    return run


def step(model: Any, x: Any) -> Function:
    """Return a call of the model and of its gradients."""
    import torch

    weights = list(model.parameters())

    def run() -> None:
        y = model(x)
        torch.autograd.grad(y, weights, y.detach())

    return run


def measured(name: str, ours: Function, theirs: Function) -> Row:
    """Return the times of both in microseconds, and the ratio of ours to torch's with its interval."""
    sides = {"ours": ours, "torch's": theirs}
    for function in sides.values():
        seconds(function, WARMUP)
    calls = max(20, round(TURN_S / (seconds(theirs, WARMUP) / WARMUP)))
    times_us: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(ROUNDS):
        order = list(sides)[:: -1 if turn % 2 else 1]
        halves = [(side, seconds(sides[side], calls)) for side in (*order, *reversed(order))]
        for side in sides:
            times_us[side].append(sum(taken for of, taken in halves if of == side) / (2 * calls) * 1e6)
    ratios = [mine / other for mine, other in zip(*times_us.values(), strict=True)]
    return {
        "case": name,
        **{side: summary(samples) for side, samples in times_us.items()},
        "ratio": round(median(ratios), 3),
        "ratio_95": [round(end, 3) for end in interval(ratios)],
    }


def seconds(function: Function, calls: int) -> float:
    """Return how long the host takes for that many calls, which the GPU then finishes."""
    import torch

    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        function()
    taken = time.perf_counter() - start
    torch.cuda.synchronize()
    return taken


def first_calls(rounds: int = 3) -> dict[str, float]:
    """Return seconds from the start of a process to its first result, for a plain Triton kernel and for ours.

    Medians of `rounds` processes of each, in turns, after one of each that fills the caches and is not counted.
    """
    seconds_of: dict[str, list[float]] = {"plain": [], "ours": []}
    for turn in range(rounds + 1):
        for what, samples in seconds_of.items():
            command = [sys.executable, "-m", "benchmarks.start", what, str(time.time())]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            if turn > 0:
                samples.append(float(done.stdout))
    medians = {what: round(median(samples), 3) for what, samples in seconds_of.items()}
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


def table(rows: list[Row]) -> str:
    """Return the cases as a Markdown table."""
    lines = ["| | `tunedb` | torch | ratio |", "|---|---|---|---|"]
    for row in rows:
        if "case" in row:
            low, high = row["ratio_95"]
            times = " | ".join(f"{row[side]['median_us']:.1f} µs" for side in ("ours", "torch's"))
            lines.append(f"| {row['case']} | {times} | {row['ratio']:.2f} ({low:.2f} to {high:.2f}) |")
    return "\n".join(lines)


def main(words: list[str] | None = None) -> None:
    """Measure the cases, print the table, and write a JSON line for each with --json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.host", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="the cases with this in their name")
    parser.add_argument("--start", action="store_true", help="also measure the first call of new processes")
    parser.add_argument("--json", type=Path, help="where to write a line for each case")
    options = parser.parse_args(words)
    require_gpu()
    import tunedb

    tunedb.configure(mode="read")
    rows: list[Row] = [provenance() | {"shape": SHAPE, "window": WINDOW}]
    for name, ours, theirs in cases():
        if not options.only or any(word in name for word in options.only):
            rows.append(measured(name, ours, theirs))
            if name == "a repeated call":
                rows[-1]["audit_events"] = audit_events(ours)
    if options.start:
        rows.append({"first_call_s": first_calls()})
    print(table(rows))
    print("".join(json.dumps(row) + "\n" for row in rows), end="")
    if options.json:
        options.json.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
