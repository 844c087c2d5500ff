"""Draws pooling problems from a stated distribution, so that no list of problems can be learned by heart.

    python -m benchmarks.problems --seed 7 --count 60 > problems.jsonl

The same seed gives the same problems. Always there are KernelBench's problem, and the one-dimensional ones of TileOPs.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

MIB = 2**20
LARGE_BYTES = 64 * MIB, 1024 * MIB  # moved by nine problems of ten
SMALL_BYTES = MIB // 64, MIB  # moved by one of ten
SHARE_OF_SMALL = 0.1
FREQUENT_KERNEL_SIZES = 2, 3, 5, 7, 8, 25
SHARE_OF_FREQUENT = 0.4
KERNEL_SIZES = 1, 2048
LENGTHS = 16, 4_000_000
CHANNELS = 8, 512
DTYPES = {"float32": 0.32, "bfloat16": 0.32, "float16": 0.32, "float64": 0.04}
LAYOUTS = {"rows": 0.8, "transposed": 0.15, "general": 0.05}
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}
SHARE_OF_SWITCH = 0.2  # of `ceil_mode`, and of `count_include_pad` switched off

Arguments = dict[str, Any]

FIXED: list[Arguments] = [
    {"id": "kernelbench-44", "shape": [64, 128, 65536], "kernel_size": 8, "stride": 1, "padding": 4,
     "dtype": "float32"},
    {"id": "kernelbench-44-small", "shape": [16, 32, 128], "kernel_size": 4, "stride": 2, "padding": 1,
     "dtype": "float32"},
    {"id": "tileops-1", "shape": [4, 128, 4096], "kernel_size": 3, "stride": 2, "padding": 1, "dtype": "float16"},
    {"id": "tileops-2", "shape": [2, 256, 32000], "kernel_size": 5, "stride": 4, "padding": 2, "dtype": "float16"},
    {"id": "tileops-3", "shape": [2, 128, 2048], "kernel_size": 4, "stride": 2, "padding": 1, "dtype": "bfloat16",
     "ceil_mode": True, "count_include_pad": False},
]  # fmt: skip


def log_uniform(source: random.Random, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform between those of `low` and `high`."""
    return math.exp(source.uniform(math.log(low), math.log(max(low, high))))


def draw(source: random.Random, dtypes: list[str]) -> Arguments:
    """Draw the arguments of one problem, as `tunedb warm --from` takes them."""
    dtype = source.choices(dtypes, [DTYPES[name] for name in dtypes])[0]
    if source.random() < SHARE_OF_FREQUENT:
        kernel_size = source.choice(FREQUENT_KERNEL_SIZES)
    else:
        kernel_size = round(log_uniform(source, *KERNEL_SIZES))
    stride = source.choice([1, kernel_size, max(1, kernel_size // 2), round(log_uniform(source, 1, 2 * kernel_size))])
    padding = source.choice([0, kernel_size // 2, source.randint(0, kernel_size // 2)])
    bounds = SMALL_BYTES if source.random() < SHARE_OF_SMALL else LARGE_BYTES
    elements = log_uniform(source, *bounds) / BYTES[dtype] / (1 + 1 / stride)  # of the input; outputs are moved too
    shortest = max(LENGTHS[0], kernel_size - 2 * padding)
    length = round(log_uniform(source, shortest, min(LENGTHS[1], elements)))
    aligned = math.ceil(max(length, 16) / 16) * 16
    length = aligned if source.random() < 0.5 else length + (length % 16 == 0)
    rows = max(1, round(elements / length))
    channels = min(rows, round(log_uniform(source, *CHANNELS)))
    arguments: Arguments = {
        "shape": [max(1, round(rows / channels)), channels, length],
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "dtype": dtype,
        "layout": source.choices(list(LAYOUTS), list(LAYOUTS.values()))[0],
    }
    if source.random() < SHARE_OF_SWITCH:
        arguments["ceil_mode"] = True
    if source.random() < SHARE_OF_SWITCH:
        arguments["count_include_pad"] = False
    return arguments


def sample(seed: int, count: int, dtypes: list[str] | None = None) -> Iterator[Arguments]:
    """Yield the fixed problems, then `count` that are drawn; `dtypes` limits both."""
    allowed = dtypes or list(DTYPES)
    yield from (problem for problem in FIXED if problem["dtype"] in allowed)
    source = random.Random(seed)
    for number in range(count):
        yield {"id": f"seed-{seed}-{number}"} | draw(source, allowed)


def wanted(file: Path | None, samples: Iterable[str]) -> list[Arguments]:
    """Return the problems of a file, one JSON object a line, and those of samples, each given as "SEED:COUNT"."""
    lines = file.read_text().splitlines() if file else []
    problems: list[Arguments] = [json.loads(line) for line in lines if line.strip()]
    for seed, _, count in (words.partition(":") for words in samples):
        problems += [problem for problem in sample(int(seed), int(count)) if problem not in problems]
    return problems


def main(words: list[str] | None = None) -> None:
    """Print the problems as JSON lines."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.problems", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--dtype", action="append", choices=list(DTYPES), help="only these; several are possible")
    options = parser.parse_args(words)
    for problem in sample(options.seed, options.count, options.dtype):
        print(json.dumps(problem))


if __name__ == "__main__":
    main()
