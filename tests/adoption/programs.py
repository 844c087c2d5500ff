"""Programs in processes of their own, with a stand-in for Triton: the autotuner's class is all that adopting needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
AUTOTUNER = "class Autotuner:\n    def run(self, *args, grid, warmup=False, **kwargs): pass\n"
# Prints whether kernels are adopted.
SAY = (
    "import sys, triton.runtime.autotuner as a\n"
    "sys.stdout.write(('adopted' if hasattr(a.Autotuner.run, '__wrapped__') else 'as it was') + '\\n')\n"
    "sys.stdout.flush()\n"
)


def make_triton(folder: Path) -> Path:
    """Make the stand-in in a folder, which is returned."""
    (folder / "triton" / "runtime").mkdir(parents=True)
    (folder / "triton" / "__init__.py").write_text("from .runtime import autotuner\n")
    (folder / "triton" / "runtime" / "__init__.py").write_text("")
    (folder / "triton" / "runtime" / "autotuner.py").write_text(AUTOTUNER)
    return folder


def run_python(
    *words: object, path: object = None, stdin: str = "", cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments; `path` stands before the project in PYTHONPATH."""
    entries = [str(path)] if path is not None else []
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([*entries, str(ROOT)])} | environment
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env=variables, cwd=cwd, input=stdin, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
