"""`tunedb demo`: the main job on this machine, from the first sweep to a second process that needs none."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunedb import registry, settings
from tunedb.cli.command import FormatOption, command, log
from tunedb.cli.opening import writing
from tunedb.cli.output import Format, print_record
from tunedb.cli.store_words import store_option
from tunedb.errors import SettingError, TunedbError

BUDGET_S = 40.0  # for the sweep, so that the whole demonstration takes less than a minute
_FIELDS = ("uid", "kernel", "problem", "device", "config", "time_us", "default_time_us", "speedup")


@command("demo", interrupted="What was tuned is stored: run the same command again to continue.")
def demo(format: FormatOption = Format.table) -> None:
    """Tune a kernel for one problem, then let a second process look its config up.

    Takes less than a minute. Without a GPU, it runs in Triton's interpreter, on a small problem. The result stays in
    the store.
    """
    from tunedb.cli.device import index_to_run_on
    from tunedb.cli.host_tasks import tune
    from tunedb.cli.tasks import tasks_of
    from tunedb.runtime.current_device import placement_of

    index = index_to_run_on()
    free_bytes = None
    if index >= 0:
        import torch

        check_toolchain()
        free_bytes, _ = torch.cuda.mem_get_info()
    kernel, declared = registry.demo_kernel()
    arguments = declared.arguments(free_bytes)
    with writing() as store:
        words = ", ".join(f"{name} {value}" for name, value in arguments.items())
        log.info("1. This process tunes %s for %s. The results go to %s", kernel, words, store.url)
        [row] = tune(tasks_of(kernel, arguments, placement_of(index), forward_only=True), store, budget=BUDGET_S)
    if row["config"] is None:
        see = f"tunedb show {row['uid']}{store_option()}"
        raise TunedbError(f"The sweep ended without a config ({row['source']}). See why: {see}")
    log.info("2. A second process calls %s. It may not tune (mode strict): it has to find the config.", kernel)
    second = _run_second_process(declared.program, arguments, "cpu" if index < 0 else f"cuda:{index}")
    print_record({name: row[name] for name in _FIELDS} | second, format)
    if second["second_config"] != row["config"] or not second["equals_torch"]:
        raise TunedbError("The second process did not get the same config, or not torch's result. Please report this.")
    log.info("The second process got that config from the store, swept nothing, and its result equals torch's.")
    if index < 0:
        log.warning("These times are the interpreter's, on the CPU: they mean nothing for a GPU.")
    else:
        call_us, torch_us = second["call_us"], second["torch_us"]
        log.info("A call takes %.0f us, torch's own function %.0f us: %.1fx.", call_us, torch_us, torch_us / call_us)


def _run_second_process(program: str, arguments: Mapping[str, Any], device: str) -> dict[str, Any]:
    second_settings = {"store": settings.current().store, "mode": "strict"}
    words = [sys.executable, "-c", program, json.dumps(second_settings), json.dumps(arguments), device]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise TunedbError(
            f"The second process failed: {(ran.stderr.strip().splitlines() or ['it printed no reason'])[-1]}"
        )
    answer: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return answer


def check_toolchain() -> None:
    """Raise SettingError if Triton can't compile a kernel's launcher, in C, for lack of a compiler or a header."""
    missing = []
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        missing.append("a C compiler (install gcc)")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.is_file():
        missing.append(f"Python.h at {header.parent} (install python3-dev)")
    if missing:
        raise SettingError(f"To launch a kernel on this GPU, Triton needs {' and '.join(missing)}.")
