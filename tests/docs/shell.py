"""Runs the programs that `tests/docs/test_code_blocks.py` makes of pages, and lines of their shell blocks."""

from __future__ import annotations

import gc
import importlib
import os
import runpy
import shlex
import subprocess
import sys
import traceback
from pathlib import Path

from tests import forked
from tests.quick_interpreter import make_quick
from tunedb import settings
from tunedb.cli import run
from tunedb.store import open_store

MAY_FIND = ("doctor", "explain", "misses")  # exit code 1 of these is an answer


def run_line(line: str) -> None:
    """Run a line of a shell block: `tunedb ...` and `export` in this process, others in a shell. Ends on failure.

    UID stands for a sweep that an earlier line stored.
    """
    command, *words = shlex.split(line, comments=True)
    if command == "export":
        for word in words:
            name, _, value = word.partition("=")
            os.environ[name] = os.path.expandvars(value)
        settings.configure()
        return
    if command != "tunedb":
        subprocess.run(line, shell=True, check=True)
        return
    if "UID" in words:
        words[words.index("UID")] = stored_uid()
    code = run(words)
    if code != 0 and not (code == 1 and words[0] in MAY_FIND):
        sys.exit(f"exit code {code}: {line}")


def stored_uid() -> str:
    """Return the uid of a sweep in the current store."""
    with open_store(settings.current().store) as store:
        return next(iter(store.iter_sweeps())).uid


def run_program(name: str) -> None:
    """Run NAME/NAME.py in its folder, on a store there, with what it prints in files; does not return."""
    code = 1
    try:
        os.chdir(name)
        os.environ["PWD"] = str(Path.cwd())  # as a shell has it
        os.environ["TUNEDB_STORE"] = str(Path("tunedb.db").resolve())
        for stream, path in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), stream)
        sys.argv = [f"{name}.py"]
        runpy.run_path(f"{name}.py", run_name="__main__")
        code = 0
    # Whatever is raised, SystemExit too: a forked child must report it and end, not run on into its parent's tests.
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Run each program in a fork of this process, which has imported what takes long, and note their exit codes."""
    for library in ("triton", *forked.WITH_TORCH):
        importlib.import_module(library)
    make_quick()
    gc.collect()
    gc.freeze()  # a collection in a fork would copy what it visits
    with Path("codes").open("w") as codes:
        for name in sys.argv[1:]:
            child = os.fork()
            if child == 0:
                run_program(name)
            codes.write(f"{name} {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
            codes.flush()


if __name__ == "__main__":
    main()
