"""The tables of what candidates need on GPUs that need not be present, from made-up counts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from benchmarks import compiled
from benchmarks.problems import wanted
from tunedb.kernels.avg_pool.algorithms import SERVES


def row(algorithm: str, instructions: int = 100, spills: int = 0) -> dict[str, Any]:
    """What a config needs, with as many instructions on sm_89; 100 on sm_90."""
    counts = {"registers": 40, "spills": spills, "shared_bytes": 0, "loads": {"16": 4, "2": 1}, "stores": {"2": 8}}
    facts = {
        f"sm_{arch}": counts | {"instructions": number, "instructions_per_output": number / 8}
        for arch, number in ((89, instructions), (90, 100))
    }
    problem = {"id": "one", "shape": [1, 2, 64], "kernel_size": 4, "dtype": "float16"}
    return {"problem": problem, "direction": "forward", "algorithm": algorithm, **facts}


def test_accesses_are_counted_by_width() -> None:
    counts = Counter({"LDG.E.128": 3, "LDG.E": 2, "LDG.E.U16": 1, "LDG.E.S16": 1, "STG.E.64": 7})
    assert compiled.widths(counts, "LDG") == {"16": 3, "4": 2, "2": 2}


def test_the_tables_have_a_line_for_each_algorithm_and_for_each_config() -> None:
    rows = [row("taps"), row("taps", 108), row("vectors", spills=2)]
    assert compiled.overview(rows).splitlines()[2:] == [
        "| taps | forward | 2 | 40 to 40 | 0 | 2 | 1.00 to 1.08 |",
        "| vectors | forward | 1 | 40 to 40 | 2 | 1 | 1.00 to 1.00 |",
    ]
    line = "| taps | forward | one (1, 2, 64) float16 k 4 | 40 | 0 | 0 | 13.5 | 1.08 | 4x16 1x2 | 8x2 |"
    assert line in compiled.table(rows).splitlines()


def test_spills_many_instructions_and_missing_algorithms_are_named() -> None:
    rows = [row(name) for name in SERVES if name != "taps"] + [row("vectors", 111, spills=3)]
    assert compiled.faults(rows) == [
        "taps: it serves none of the problems; take a larger sample",
        "vectors forward one: spills [3, 3] on (89, 90)",
        "vectors forward one: 1.11 of the instructions of sm_90",
    ]


def test_each_algorithm_is_compiled_for_a_few_problems_in_each_direction() -> None:
    tasks = list(compiled.chosen(wanted(None, ["1:30"]), each=2))
    counts = Counter((config["ALGORITHM"], backward) for _, backward, config in tasks)
    assert set(counts.values()) <= {1, 2}
    assert counts["taps", False] == counts["taps", True] == 2
