"""`tunedb demo`: the main job on this machine, from the first sweep to a second process that needs none."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import typer

from tunedb import settings
from tunedb.cli.command import FormatOption, command, log
from tunedb.cli.opening import writing
from tunedb.cli.output import Format, print_record
from tunedb.errors import SettingError, TunedbError

KERNEL = "avg_pool1d"
WINDOW = {"kernel_size": 8, "stride": 1, "padding": 4}
GPU_SHAPE = (64, 128, 65536)  # 2 GiB of float32; the first extent is halved until all fits
SMALL_SHAPE = (4, 16, 4096)  # a second or two in the interpreter
_TENSORS = 4  # of the input's size, that have to fit: input, output, torch's output, and room for the checks
_SECONDS = 40.0  # for the sweep

# What a user's own program would do. It is text, because nothing in tunedb imports the kernels: they are found.
_SECOND = """
import json, sys, torch, tunedb
from torch.nn.functional import avg_pool1d as torch_avg_pool1d
from tunedb.kernels import avg_pool1d

told, arguments = map(json.loads, sys.argv[1:3])
tunedb.configure(**told)
x = torch.randn(arguments["shape"], device=sys.argv[3])
window = [arguments[name] for name in ("kernel_size", "stride", "padding")]
found, needed = avg_pool1d(x, *window), torch_avg_pool1d(x, *window)
choice = tunedb.lookup("avg_pool1d", **arguments)
answer = {"second_source": choice.source, "second_config": choice.config.plain()}
# One entry after the other, because comparing takes memory.
answer["equals_torch"] = all(torch.allclose(one, other, atol=1e-6) for one, other in zip(found, needed))
if x.is_cuda:
    from tunedb.runtime.clock import clock_for, timing
    clock = clock_for(x.get_device())
    answer["call_us"] = timing(clock, lambda: avg_pool1d(x, *window)).median
    answer["torch_us"] = timing(clock, lambda: torch_avg_pool1d(x, *window)).median
print(json.dumps(answer))
"""


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    command(app)(demo)


def demo(format: FormatOption = Format.table) -> None:
    """Tune avg_pool1d for one problem, then have a second process look it up.

    Takes less than a minute. Without a GPU it runs in Triton's interpreter, on a small problem. The sweep stays in the
    store.
    """
    from tunedb.cli.tasks import index_to_run_on, tasks_of, tune

    index = index_to_run_on()
    arguments: dict[str, Any] = {"shape": list(SMALL_SHAPE), "dtype": "float32", **WINDOW}
    if index >= 0:
        check_toolchain()
        arguments["shape"] = _fitting_shape()
    with writing() as store:
        log.info("1. This process tunes %s for %s. The results go to %s", KERNEL, _words(arguments), store.url)
        [row] = tune(tasks_of(KERNEL, arguments, forward_only=True), store, index, budget=_SECONDS)
    if row["config"] is None:
        raise TunedbError(f"The sweep ended without a config ({row['source']}). See why: tunedb show {row['uid']}")
    log.info("2. A second process calls %s. It may not tune (mode strict): it has to find the config.", KERNEL)
    found = _in_second_process(arguments, "cpu" if index < 0 else f"cuda:{index}")
    record = {name: row[name] for name in ("uid", "kernel", "problem", "device", "config")}
    record |= {name: row[name] for name in ("time_us", "default_time_us", "speedup")} | found
    print_record(record, format)
    if found["second_config"] != row["config"] or not found["equals_torch"]:
        raise TunedbError("The second process did not get the same config, or not torch's result. Please report this.")
    log.info("The second process got that config from the store, swept nothing, and its result equals torch's.")
    if index < 0:
        log.warning("These times are the interpreter's, on the CPU: they mean nothing for a GPU.")
    else:
        speedup = found["torch_us"] / found["call_us"]
        log.info(
            "A call takes %.0f us, torch's F.avg_pool1d %.0f us: %.1fx.", found["call_us"], found["torch_us"], speedup
        )


def _in_second_process(arguments: dict[str, Any], device: str) -> dict[str, Any]:
    told = {"store": settings.current().store, "mode": "strict"}
    command = [sys.executable, "-c", _SECOND, json.dumps(told), json.dumps(arguments), device]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise TunedbError(f"The second process failed: {(ran.stderr.strip().splitlines() or ['without a word'])[-1]}")
    answer: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return answer


def _fitting_shape() -> list[int]:
    import torch

    batch, *rest = GPU_SHAPE
    free, _ = torch.cuda.mem_get_info()
    while batch > 1 and batch * rest[0] * rest[1] * 4 * _TENSORS > free:
        batch //= 2
    return [batch, *rest]


def check_toolchain() -> None:
    """Raise SettingError where Triton can't compile a kernel's launcher, in C: every config would fail with it."""
    missing = []
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        missing.append("a C compiler (install gcc)")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.is_file():
        missing.append(f"Python.h at {header.parent} (install python3-dev)")
    if missing:
        raise SettingError(f"Triton needs, to launch a kernel on this GPU, {' and '.join(missing)}.")


def _words(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in arguments.items())
