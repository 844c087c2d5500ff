"""The first tuning of a decorated kernel, nothing stored and nothing compiled, against triton.autotune with the same.

    python -m benchmarks.first_tuning --json benchmarks/results/first_tuning-h200.jsonl --seconds 240
    python -m benchmarks.first_tuning --json benchmarks/results/first_tuning-h200.jsonl --table
    python -m benchmarks.first_tuning --phases

Each measurement is a process of its own with empty folders; both sides take turns, and a line of the file holds one
turn. Torch and Triton are imported, and the arguments made, before the clock starts. `import_s` is what tunedb's import
and the decoration take, `first_call_s` the first call up to its result on the GPU. What the file holds is not run
again, and after --seconds nothing new is started: the same command continues from there.

--phases runs our side once and prints at which second of the first call its sweep began, its first and its last config
were tried, and its race and its write ended.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.adopt.figures import compared
from benchmarks.children import Child, begin, in_turn
from benchmarks.first_kernels import CASES, Case

SIDES = ("triton", "tunedb")
AHEAD = 2  # children that import torch meanwhile

Row = dict[str, Any]


def first_tuning(side: str, case: Case) -> Row:
    """Decorate the kernel and call it once; return the seconds of both, the config, and whether the result is right.

    Side `phases` is ours, with the phases of its sweep. Noting them imports parts of it before the call.
    """
    import torch

    arguments = case.arguments("cuda")
    torch.cuda.synchronize()
    start = time.perf_counter()
    decorate = decorator(side)
    kernel = decorate(case.tritons_configs(), key=list(case.key))(case.jit)
    decorated = time.perf_counter()
    phases: Row = {}
    if side == "phases":
        note_phases(phases)
        decorated = phases["start"] = time.perf_counter()
    kernel[case.grid](*arguments)
    torch.cuda.synchronize()
    done = time.perf_counter()
    return {
        "import_s": round(decorated - start, 4), "first_call_s": round(done - decorated, 4),
        "config": str(kernel.best_config),
        "right": torch.allclose(arguments[0], case.expected(*arguments), rtol=1e-2, atol=1e-1),
        **{name: round(at - decorated, 3) for name, at in phases.items()},
    }  # fmt: skip


def decorator(side: str) -> Callable[..., Any]:
    """Import and return a side's decorator."""
    autotune: Callable[..., Any]
    if side == "triton":
        from triton import autotune
    else:
        from tunedb import autotune
    return autotune


def note_phases(phases: Row) -> None:
    """Note when the parts of our sweep end; of those that recur, the first and the last time."""
    from tunedb.store.layered import LayeredStore
    from tunedb.sweep.trials import TrialRunner

    def noted(method: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(*args, **kwargs)
            finally:
                phases[name] = time.perf_counter()
                if name == "screened":
                    phases.setdefault("first_screened", phases[name])

        return call

    for owner, method, name in (
        (LayeredStore, "start_sweep", "began"),
        (TrialRunner, "try_config", "screened"),
        (TrialRunner, "decide", "raced"),
        (LayeredStore, "wait_until_written", "written"),
    ):
        setattr(owner, method, noted(getattr(owner, method), name))


def child(side: str, case: str, work: Path) -> Child:
    """Start the process of a side, with empty folders."""
    folder = Path(tempfile.mkdtemp(dir=work))
    environment = {
        "TRITON_CACHE_DIR": str(folder / "triton"), "TUNEDB_STORE": str(folder / "tunedb.db"),
        "XDG_CACHE_HOME": str(folder / "cache"), "TUNEDB_BUDGET": "3600", "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    return Child(["benchmarks.first_tuning", "--one", side, case], environment)


def figures(rows: Sequence[Row]) -> Row:
    """Return, for each case: the medians of both sides and their range, and the ratio of the pairs with its interval.

    `from_import` also counts tunedb's import and the decoration.
    """
    results: Row = {}
    for case in dict.fromkeys(row["case"] for row in rows if "case" in row):
        pairs = [row["sides"] for row in rows if row.get("case") == case]
        calls = {side: [pair[side]["first_call_s"] for pair in pairs] for side in SIDES}
        whole = {side: [pair[side]["import_s"] + pair[side]["first_call_s"] for pair in pairs] for side in SIDES}
        results[case] = {
            "first_call": compared(calls["tunedb"], calls["triton"]),
            "from_import": compared(whole["tunedb"], whole["triton"]),
            "range_s": {side: [round(end(calls[side]), 2) for end in (min, max)] for side in SIDES},
            "right": all(pair[side]["right"] for pair in pairs for side in SIDES),
        }
    return results


def table(rows: Sequence[Row]) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| first tuning | Triton | tunedb | ratio | from import |", "|---|---|---|---|---|"]
    for case, of in figures(rows).items():
        seconds = {
            side: f"{of['first_call'][f'{name}_s']:.2f} s ({of['range_s'][side][0]} to {of['range_s'][side][1]})"
            for side, name in (("triton", "theirs"), ("tunedb", "ours"))
        }
        ratios = [
            f"{of[part]['ratio']:.2f} ({of[part]['ratio_95'][0]} to {of[part]['ratio_95'][1]})"
            for part in ("first_call", "from_import")
        ]
        name = f"{case}, {of['first_call']['pairs']} pairs" + ("" if of["right"] else ", WRONG RESULTS")
        lines.append(f"| {name} | {seconds['triton']} | {seconds['tunedb']} | {' | '.join(ratios)} |")
    return "\n".join(lines)


def missing(rows: Sequence[Row], cases: Sequence[str], pairs: int) -> list[tuple[str, int]]:
    """Return the case and number of each turn that the rows do not hold: all cases take turns, too."""
    held = {(row["case"], row["number"]) for row in rows if "case" in row}
    return [turn for number in range(pairs) for case in cases if (turn := (case, number)) not in held]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing while time is left, append each turn, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_tuning", description=__doc__.splitlines()[0])
    parser.add_argument("--json", default="first_tuning.jsonl", help="the file that holds the turns, and gets new ones")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--pairs", type=int, default=8, help="of each case")
    parser.add_argument("--seconds", type=float, default=math.inf, help="start nothing new after as many")
    parser.add_argument("--table", action="store_true", help="print the table of the file and end")
    parser.add_argument("--phases", action="store_true", help="print the phases of one first tuning of ours and end")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        import torch  # noqa: F401 - loaded before the clock starts
        import triton.testing  # noqa: F401 - what triton.autotune times with

        begin()
        print(json.dumps(first_tuning(options.one[0], CASES[options.one[1]])))
        return
    if options.phases:
        with tempfile.TemporaryDirectory() as work:
            for case in options.cases:
                print(case, json.dumps(child("phases", case, Path(work)).run()))
        return
    path, start = Path(options.json), time.monotonic()
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    left = [] if options.table else missing(rows, options.cases, options.pairs)
    if left:
        from benchmarks.timing import provenance, require_gpu

        require_gpu()
        rows.append(provenance())
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with tempfile.TemporaryDirectory() as work:
        turns = [(case, number, SIDES[:: -1 if number % 2 else 1]) for case, number in left]
        steps = (partial(child, side, case, Path(work)) for case, _, sides in turns for side in sides)
        with contextlib.closing(in_turn(steps, AHEAD)) as answers:
            for case, number, sides in turns:
                if time.monotonic() - start > options.seconds:
                    print("Time is up: run the same command again.")
                    break
                rows.append({"case": case, "number": number, "sides": {side: next(answers) for side in sides}})
                with path.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
