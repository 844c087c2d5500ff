"""Sweeps for the report of the documentation: average pooling, softmax, layer norm and matrix products on this GPU.

    python -m benchmarks.example_sweeps --store sweeps.db --into benchmarks/results/example-sweeps

Runs `tunedb warm` on the problems, which also measures the GPU's copy rate, and writes what it found into the folder,
in two files that are named after the GPU: the sweeps as `tunedb export` writes them, packed, and the copy rate with the
command. Another GPU adds its own two. `python -m benchmarks.report_page` makes the page of all. `--small` has sizes for
Triton's interpreter, in which times mean nothing for a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import problems
from tunedb import registry

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "benchmarks/results/example-sweeps"
SEED, POOLINGS = 21, 15  # and the five that are always there
KERNELS = {
    "softmax": "benchmarks.example_kernels:SOFTMAX",
    "layer_norm": "benchmarks.example_kernels:LAYER_NORM",
    "matmul": "benchmarks.example_kernels:MATMUL",
}
POOLING = {"avg_pool1d": "tunedb.kernels.avg_pool:FORWARD", "avg_pool1d_backward": "tunedb.kernels.avg_pool:BACKWARD"}
ROWS = [(4096, 256), (4096, 1024), (16384, 1024), (4096, 4096), (1024, 8192), (8192, 5120), (257, 1000), (16384, 128)]
MATRICES = [
    (4096, 4096, 4096), (2048, 2048, 2048), (8192, 1024, 1024), (1024, 8192, 1024), (16, 4096, 4096),
    (128, 4096, 11008), (512, 512, 8192), (1000, 1000, 1000),
]  # fmt: skip


def wanted(*, small: bool = False) -> list[dict[str, Any]]:
    """Return the problems, as `tunedb warm --from` takes them."""
    if small:
        rows, matrices = [(4, 64), (3, 100)], [(32, 32, 32), (16, 64, 40)]
        pooling = [{"shape": [2, 3, length], "kernel_size": 3} for length in (40, 64)]
    else:
        rows, matrices, pooling = ROWS, MATRICES, problems.sample(SEED, POOLINGS)
        pooling = [{name: value for name, value in problem.items() if name != "id"} for problem in pooling]
    sizes = [{"rows": count, "columns": columns} for count, columns in rows]
    return [
        *({"kernel": "softmax", **size} for size in sizes),
        *({"kernel": "layer_norm", **size} for size in sizes),
        *({"kernel": "matmul", "M": m, "N": n, "K": k} for m, n, k in matrices),
        *({"kernel": "avg_pool1d", **problem} for problem in pooling),
    ]


@contextlib.contextmanager
def registered() -> Iterator[str]:
    """Register the example kernels in this process; yield the PYTHONPATH that registers them in others."""
    installed = registry.kernel_names()
    kernels = KERNELS | {name: entry for name, entry in POOLING.items() if name not in installed}  # in a bare checkout
    entries = "".join(f"{name} = {entry}\n" for name, entry in kernels.items())
    with tempfile.TemporaryDirectory() as folder:
        info = Path(folder, "tunedb_report_kernels-0.dist-info")
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tunedb-report-kernels\nVersion: 0\n")
        (info / "entry_points.txt").write_text(f"[tunedb.kernels]\n{entries}")
        paths = [folder, str(ROOT)]
        sys.path[:0] = paths
        try:
            yield os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])])
        finally:
            for path in paths:
                sys.path.remove(path)


def run_tunedb(words: Sequence[str | Path], path: str, codes: Sequence[int] = (0,)) -> None:
    """Run a command of tunedb. Raises CalledProcessError for another exit code than these."""
    command = [sys.executable, "-m", "tunedb", *map(str, words)]
    code = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=False).returncode
    if code not in codes:
        raise subprocess.CalledProcessError(code, command)


def write(store: Path, folder: Path, path: str, command: str) -> list[Path]:
    """Write the sweeps and the copy rate of each device of the store; return the files."""
    from tunedb.store import open_store

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with open_store(str(store)) as opened:
        rates = opened.copy_rates.get()
        devices = opened.upkeep.devices()
    for device in devices:
        name = re.sub(r"[^a-z0-9]+", "-", device.name.lower()).strip("-")
        rows = folder / f"{name}.jsonl"
        run_tunedb(["export", "-o", rows, "--device", str(device), "--store", store], path)
        packed = rows.with_suffix(".jsonl.gz")
        packed.write_bytes(gzip.compress(rows.read_bytes(), mtime=0))
        rows.unlink()
        facts: dict[str, Any] = {"device": device.name, "command": command}
        if device.digest in rates:
            rate = rates[device.digest]
            facts |= {"bytes_per_s": rate.bytes_per_s, "measured": rate.measured.isoformat()}
        note = folder / f"{name}.json"
        note.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        files += [packed, note]
    return files


def main(arguments: Sequence[str] | None = None) -> None:
    """Sweep, and write what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--into", type=Path, default=FOLDER)
    parser.add_argument("--budget", type=float, default=280.0, metavar="SECONDS")
    parser.add_argument("--small", action="store_true")
    asked = parser.parse_args(arguments)
    with registered() as path, tempfile.NamedTemporaryFile("w", suffix=".jsonl") as lines:
        lines.writelines(json.dumps(problem) + "\n" for problem in wanted(small=asked.small))
        lines.flush()
        words = ["warm", "--from", lines.name, "--forward-only", "--budget", str(asked.budget), "--store", asked.store]
        run_tunedb(words, path, codes=(0, 1))  # 1: a problem was not reached, or ended without a config
        small = " --small" if asked.small else ""
        for file in write(asked.store, asked.into, path, f"python -m benchmarks.example_sweeps{small}"):
            print(file)


if __name__ == "__main__":
    main()
