"""Compile candidates of average pooling for GPUs that need not be present, and count what they need.

    python -m benchmarks.compiled --problems FILE --json benchmarks/results/compiled.json

No time is measured. For the first config of each algorithm, on sm_89 (RTX 4090) and sm_90 (H100, H200): registers and
spills per thread, shared memory per block, instructions of the program, and accesses to global memory by width. An
instruction count is of the whole program, with the copies of its code for each alignment and for the ends of rows:
only its ratio between two architectures says something about speed.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ARCHS = (89, 90)


def rows_of(arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each direction and algorithm, with both architectures."""
    from benchmarks.offline import compile_for
    from tunedb.core.device import Device
    from tunedb.kernels.avg_pool import BACKWARD, FORWARD

    ada = Device("NVIDIA GeForce RTX 4090", "cuda", "sm_89", 128)
    rows = []
    for kernel in (FORWARD, BACKWARD):
        problem = kernel.problem(arguments)
        firsts = {config["ALGORITHM"]: config for config in reversed(kernel.space(problem, ada))}
        for algorithm, config in reversed(firsts.items()):
            row: dict[str, Any] = {"problem": arguments.get("id"), "kernel": kernel.name, "algorithm": algorithm}
            row |= {"config": config.plain()}
            for arch in ARCHS:
                binary = compile_for(launch_of(kernel, problem, config), arch)
                instructions = instructions_of(binary.asm["cubin"])
                row[f"sm_{arch}"] = {
                    "registers": binary.resources.registers,
                    "spills": binary.resources.spills,
                    "shared_bytes": binary.resources.shared_bytes,
                    "instructions": sum(instructions.values()),
                    "loads": widths(instructions, "LDG"),
                    "stores": widths(instructions, "STG"),
                }
            rows.append(row)
    return rows


def launch_of(kernel: Any, problem: Any, config: Any) -> Any:
    """Return the launch on tensors without memory: of a tensor, compiling reads only the dtype and address."""
    import torch

    from tunedb.kernels.avg_pool import BACKWARD, launch
    from tunedb.kernels.avg_pool.problem import Pool, fresh_strides

    pool = Pool.of_problem(problem)
    columns = pool.window.output_length(pool.length) if kernel is BACKWARD else pool.length
    strides = fresh_strides(pool.rows, columns, pool.layout)
    read = torch.empty_strided((pool.batch, pool.rows, columns), strides, dtype=pool.dtype, device="meta")
    if kernel is BACKWARD:
        return launch.backward_launch(read, launch.empty_grad_input(read, pool.length), pool.window, config)
    return launch.forward_launch(read, launch.empty_output(read, pool.window), pool.window, config)


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
            bits = re.search(r"\.(128|64|U16|U8)\b", name)
            accesses[{"128": "16", "64": "8", "U16": "2", "U8": "1"}[bits[1]] if bits else "4"] += count
    return dict(sorted(accesses.items(), key=lambda item: -int(item[0])))


def table(rows: list[dict[str, Any]]) -> str:
    """Write a Markdown table of sm_89, with the ratio of its instructions to those of sm_90."""
    head = "| problem | kernel | algorithm | registers | spills | shared | instructions | of sm_90's | loads | stores |"
    lines = [head, "|---" * 10 + "|"]
    for row in rows:
        ada, hopper = row["sm_89"], row["sm_90"]
        ratio = ada["instructions"] / hopper["instructions"]
        loads, stores = (" ".join(f"{n}x{width}" for width, n in ada[kind].items()) for kind in ("loads", "stores"))
        name = row["kernel"].removeprefix("avg_pool1d_").removeprefix("avg_pool1d") or "forward"
        lines.append(
            f"| {row['problem']} | {name} | {row['algorithm']} | {ada['registers']} | {ada['spills']} "
            f"| {ada['shared_bytes']} | {ada['instructions']} | {ratio:.2f} | {loads} | {stores} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Compile all, print the table, and write the rows and the table with --json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compiled", description=__doc__)
    parser.add_argument("--problems", type=Path, required=True, help="a file with one JSON object a line")
    parser.add_argument("--json", type=Path, help="write the rows here, and the table next to it as .md")
    arguments = parser.parse_args()
    lines = [line for line in arguments.problems.read_text().splitlines() if line.strip()]
    rows = [row for line in lines for row in rows_of(json.loads(line))]
    if arguments.json:
        import triton

        origin = {"triton": triton.__version__, "command": "python -m benchmarks.compiled"}
        arguments.json.write_text(json.dumps(origin | {"rows": rows}, indent=1) + "\n")
        arguments.json.with_suffix(".md").write_text(table(rows) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
