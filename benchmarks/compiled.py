"""Compile candidates of average pooling for GPUs that need not be present, and count what they need.

    python -m benchmarks.compiled --sample 1:60 --sample 201:60 --sample 202:60 --json benchmarks/results/compiled.json

No time is measured. For each algorithm and direction, the first config of the first few sampled problems that it serves
is compiled for sm_89 (RTX 4090) and sm_90 (H100, H200): registers and spills per thread, shared memory per block,
instructions, and accesses to global memory by width. An instruction count is of the whole program, with the copies of
its code for each alignment and for the ends of rows, divided by the outputs of a thread: only its ratio between two
architectures says something about speed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.problems import wanted

ARCHS = (89, 90)
EACH = 4  # problems of an algorithm and a direction
WIDEST = "16"  # bytes
MAX_RATIO = 1.1  # of the instructions of two architectures

Row = dict[str, Any]


def chosen(problems: Sequence[Row], each: int = EACH) -> Iterator[tuple[Row, bool, Any]]:
    """Yield the arguments of a problem, whether its gradient is meant, and a config of the algorithm to be compiled.

    Each algorithm has `each` problems in each direction, if it serves as many of them.
    """
    from tunedb.core.device import Device
    from tunedb.kernels.avg_pool.tunable import AvgPool

    ada = Device("NVIDIA GeForce RTX 4090", "cuda", "sm_89", 128)
    counts: Counter[tuple[str, bool]] = Counter()
    for arguments in problems:
        for backward in (False, True):
            kernel = AvgPool(backward)
            firsts = {config["ALGORITHM"]: config for config in reversed(kernel.space(kernel.problem(arguments), ada))}
            for algorithm, config in reversed(firsts.items()):
                counts[algorithm, backward] += 1
                if counts[algorithm, backward] <= each:
                    yield arguments, backward, config


def row_of(arguments: Row, backward: bool, config: Any) -> Row:
    """Return what a config needs on each architecture."""
    from benchmarks.offline import compile_for, launch_of
    from tunedb.kernels.avg_pool.tunable import AvgPool

    kernel = AvgPool(backward)
    launch = launch_of(kernel, kernel.problem(arguments), config)
    row: Row = {"problem": arguments, "direction": "backward" if backward else "forward"}
    row |= {"algorithm": config["ALGORITHM"], "config": config.plain()}
    outputs = config["BLOCK_OUT"] * config["ROWS_PER_PROG"] / (32 * config["num_warps"])
    for arch in ARCHS:
        binary = compile_for(launch, arch)
        instructions = instructions_of(binary.asm["cubin"])
        row[f"sm_{arch}"] = {
            "registers": binary.resources.registers,
            "spills": binary.resources.spills,
            "shared_bytes": binary.resources.shared_bytes,
            "instructions": sum(instructions.values()),
            "instructions_per_output": round(sum(instructions.values()) / outputs, 2),
            "loads": widths(instructions, "LDG"),
            "stores": widths(instructions, "STG"),
        }
    return row


def instructions_of(cubin: bytes) -> Counter[str]:
    """Count each instruction of the binary."""
    from triton import knobs

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [knobs.nvidia.nvdisasm.path, "-c", file.name]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Counter(re.findall(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?\w+\s+)?([A-Z][A-Z0-9_.]*)", text, re.MULTILINE))


def widths(instructions: Counter[str], kind: str) -> dict[str, int]:
    """Count the accesses of that kind by their width in bytes."""
    accesses: Counter[str] = Counter()
    for name, count in instructions.items():
        if name.startswith(kind):
            bits = re.search(r"\.(128|64|U16|S16|U8|S8)\b", name)
            accesses[_BYTES[bits[1]] if bits else "4"] += count
    return dict(sorted(accesses.items(), key=lambda item: -int(item[0])))


_BYTES = {"128": WIDEST, "64": "8", "U16": "2", "S16": "2", "U8": "1", "S8": "1"}


def ratio(row: Row) -> float:
    """Return the instructions on sm_89 over those on sm_90."""
    return float(row["sm_89"]["instructions"] / row["sm_90"]["instructions"])


def overview(rows: Sequence[Row]) -> str:
    """Write a Markdown table with a line for each algorithm and direction, on sm_89."""
    head = "| algorithm | direction | problems | registers | spills | with 16-byte accesses | instructions of sm_90's |"
    lines = [head, "|---" * 7 + "|"]
    for algorithm, direction in sorted({(row["algorithm"], row["direction"]) for row in rows}):
        mine = [row for row in rows if (row["algorithm"], row["direction"]) == (algorithm, direction)]
        registers = [row["sm_89"]["registers"] for row in mine]
        wide = sum(WIDEST in row["sm_89"]["loads"] or WIDEST in row["sm_89"]["stores"] for row in mine)
        spills, ratios = max(row["sm_89"]["spills"] for row in mine), [ratio(row) for row in mine]
        lines.append(
            f"| {algorithm} | {direction} | {len(mine)} | {min(registers)} to {max(registers)} | {spills} "
            f"| {wide} | {min(ratios):.2f} to {max(ratios):.2f} |"
        )
    return "\n".join(lines)


def table(rows: Sequence[Row]) -> str:
    """Write a Markdown table of all that was compiled, on sm_89; the accesses are numbers of each width in bytes."""
    from benchmarks.pool_results import described

    head = "| algorithm | direction | problem | registers | spills | shared | instructions an output | of sm_90's "
    lines = [head + "| loads | stores |", "|---" * 10 + "|"]
    for row in sorted(rows, key=lambda row: (row["algorithm"], row["direction"])):
        ada = row["sm_89"]
        loads, stores = (" ".join(f"{n}x{width}" for width, n in ada[kind].items()) for kind in ("loads", "stores"))
        lines.append(
            f"| {row['algorithm']} | {row['direction']} | {described(row['problem'])} | {ada['registers']} "
            f"| {ada['spills']} | {ada['shared_bytes']} | {ada['instructions_per_output']} | {ratio(row):.2f} "
            f"| {loads} | {stores} |"
        )
    return "\n".join(lines)


def faults(rows: Sequence[Row]) -> list[str]:
    """Say which algorithms were not compiled, and what spills or needs far more instructions than on sm_90."""
    from tunedb.kernels.avg_pool.algorithms import SERVES

    found = {row["algorithm"] for row in rows}
    lines = [f"{name}: it serves none of the problems; take a larger sample" for name in SERVES if name not in found]
    for row in rows:
        name = f"{row['algorithm']} {row['direction']} {row['problem'].get('id')}"
        if any(row[f"sm_{arch}"]["spills"] for arch in ARCHS):
            lines.append(f"{name}: spills {[row[f'sm_{arch}']['spills'] for arch in ARCHS]} on {ARCHS}")
        if ratio(row) > MAX_RATIO:
            lines.append(f"{name}: {ratio(row):.2f} of the instructions of sm_90")
    return lines


def main(words: list[str] | None = None) -> None:
    """Compile all, print both tables and the faults, and write the rows and the tables with --json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compiled", description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=Path, help="a file with one JSON object a line")
    parser.add_argument("--sample", action="append", default=[], metavar="SEED:COUNT", help="several are possible")
    parser.add_argument("--each", type=int, default=EACH, help="problems of an algorithm and a direction")
    parser.add_argument("--json", type=Path, help="write the rows here, and the tables next to it as .md")
    options = parser.parse_args(words)
    tasks = list(chosen(wanted(options.problems, options.sample), options.each))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        rows = list(pool.map(lambda task: row_of(*task), tasks))
    text = f"{overview(rows)}\n\n{table(rows)}\n"
    if options.json:
        import triton

        samples = "".join(f" --sample {sample}" for sample in options.sample)
        file = f" --problems {options.problems.name}" if options.problems else ""
        origin = {"triton": triton.__version__, "command": f"python -m benchmarks.compiled{file}{samples}"}
        options.json.write_text(json.dumps(origin | {"rows": rows}, indent=1) + "\n")
        options.json.with_suffix(".md").write_text(text)
    print(text, *faults(rows), sep="\n")


if __name__ == "__main__":
    main()
