"""The main job on a GPU: tune in one process, look up in a second, and run the exported module in a third.

    python -m benchmarks.main_job --baseline FILE.py --json benchmarks/results/main_job-h200.json

FILE.py holds another `ModelNew(kernel_size, stride, padding)` to measure against. Each process times its functions
interleaved with a copy of the same bytes, so that ratios come from one run.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHAPE, KERNEL_SIZE, STRIDE, PADDING = (64, 128, 65536), 8, 1, 4


def make_input(dtype: str) -> Any:
    """Make the problem's input: normal values from a fixed seed."""
    import torch

    generator = torch.Generator("cuda").manual_seed(0)
    return torch.empty(SHAPE, dtype=getattr(torch, dtype), device="cuda").normal_(generator=generator)


def load_model(path: str) -> Any:
    """Load `ModelNew` of a file."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ModelNew(KERNEL_SIZE, STRIDE, PADDING).cuda()


def digest_of(y: Any) -> str:
    """Hash the output's bytes, in blocks of rows."""
    import torch

    digest = hashlib.sha256()
    for block in y.flatten(0, 1).split(1024):
        digest.update(block.contiguous().view(torch.uint8).cpu().numpy().tobytes())
    return digest.hexdigest()


def tune_or_look_up(dtype: str) -> dict[str, Any]:
    """Call `avg_pool1d` once; return how long it took, what it ran, and whether it swept."""
    import torch

    start = time.perf_counter()
    from tunedb.kernels import avg_pool1d
    from tunedb.tuner import session

    x = make_input(dtype)
    torch.cuda.synchronize()
    ready = time.perf_counter()
    y = avg_pool1d(x, KERNEL_SIZE, STRIDE, PADDING)
    torch.cuda.synchronize()
    done = time.perf_counter()
    (choice,) = session.active().cache._choices.values()
    result = {"import_and_input_s": ready - start, "first_call_s": done - ready, "source": choice.source}
    sweep = choice.sweep
    assert sweep is not None
    result |= {"config": dict(choice.config), "sweep_uid": sweep.uid, "swept_us": sweep.time_us}
    return result | {
        "default_us": sweep.default_time_us,
        "output": digest_of(y),
        "candidates": sum(sweep.counts.values()),
    }


def measure(dtype: str, baseline: str | None, module: str | None) -> dict[str, Any]:
    """Time copy, eager, the baseline file and ours (or the exported module), interleaved."""
    from torch.nn import functional

    from benchmarks.pooling import copy_of
    from benchmarks.timing import TurnClock, interleaved

    x, clock = make_input(dtype), TurnClock()
    reference = functional.avg_pool1d(x, KERNEL_SIZE, STRIDE, PADDING)
    if module is None:
        from tunedb.kernels import avg_pool1d

        ours = lambda: avg_pool1d(x, KERNEL_SIZE, STRIDE, PADDING)  # noqa: E731 - one of four alike
    else:
        sys.modules["tunedb"] = None  # type: ignore[assignment]  # as if it were not installed
        model = load_model(module)
        ours = lambda: model(x)  # noqa: E731
    y = ours()
    difference = (y.double() - reference.double()).abs().max().item() if y.numel() < 2**24 else None
    if difference is None:
        difference = max((a.double() - b.double()).abs().max().item() for a, b in zip(y, reference, strict=True))
    functions = {
        "copy": copy_of(x.nbytes + y.nbytes),
        "eager": lambda: functional.avg_pool1d(x, KERNEL_SIZE, STRIDE, PADDING),
        "ours": ours,
    }
    if baseline is not None:
        other = load_model(baseline)
        functions["baseline"] = lambda: other(x)
    times = interleaved(functions, clock=clock)
    ratios = {f"{name}_over_ours": round(times[name]["median_us"] / times["ours"]["median_us"], 3) for name in times}
    del ratios["ours_over_ours"]
    return {"times": times, **ratios, "output": digest_of(y), "largest_difference_from_eager": difference}


def child(*words: str, environment: dict[str, str]) -> dict[str, Any]:
    """Run one step in its own process, and return what it printed as JSON."""
    command = [sys.executable, "-m", "benchmarks.main_job", *words]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed


def main() -> None:
    """Run the steps, print the figures, and write them with --json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.main_job", description=__doc__.splitlines()[0])
    parser.add_argument("--baseline", help="a file with another ModelNew(kernel_size, stride, padding)")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--step", choices=["call", "measure"], help=argparse.SUPPRESS)
    parser.add_argument("--module", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step == "call":
        print(json.dumps(tune_or_look_up(arguments.dtype)))
        return
    if arguments.step == "measure":
        print(json.dumps(measure(arguments.dtype, arguments.baseline, arguments.module)))
        return

    from benchmarks.timing import provenance, require_gpu

    require_gpu()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"TUNEDB_STORE": f"{folder}/tunedb.db", "TRITON_CACHE_DIR": f"{folder}/triton"}
        dtype = ["--dtype", arguments.dtype]
        first = child("--step", "call", *dtype, environment=environment)
        second = child("--step", "call", *dtype, environment=environment)
        against = ["--baseline", arguments.baseline] if arguments.baseline else []
        ours = child("--step", "measure", *dtype, *against, environment=environment)
        module = f"{folder}/tuned.py"
        command = [sys.executable, "-m", "tunedb", "export", "-o", module, "--format", "module"]
        subprocess.run(command, env=environment, check=True)
        exported = child("--step", "measure", *dtype, *against, "--module", module, environment=environment)
    figures = {
        **provenance(),
        "problem": {"shape": SHAPE, "kernel_size": KERNEL_SIZE, "stride": STRIDE, "padding": PADDING,
                    "dtype": arguments.dtype},
        "first_process": first, "second_process": second, "tuned": ours, "exported_module": exported,
        "checks": {
            "the second process did not sweep": second["source"] == "store",
            "both run the same config": first["config"] == second["config"],
            "the exported module gives the same bytes": exported["output"] == ours["output"] == first["output"],
        },
    }  # fmt: skip
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        Path(arguments.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
