"""Run Triton's own tests of its autotuner, from a copy of its sources, with `triton.autotune` replaced by ours.

    python -m tests.triton_suite TRITON/python/test/unit/runtime [--adopt] [pytest's arguments]

TRITON is a checkout of the version that is installed. Its test_autotuner.py is run, and its test_autotune_listener.py
where this Triton has the knob, each from a fresh folder, on a fresh store. Without a GPU set TRITON_INTERPRET=1: then
they run on the CPU, timed by the host's clock, and those of them that need a compiler fail. The exit code is pytest's.
With --adopt the decorator stays Triton's, and the kernels are adopted.

The file is also the pytest plugin that stands in for the fixtures of Triton's conftest.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tunedb import settings

INTERPRETED = settings.is_interpreted()
FILES = ("test_autotuner.py", "test_autotune_listener.py")


@pytest.fixture
def device() -> str:
    """Where the tests make their tensors."""
    return "cpu" if INTERPRETED else "cuda"


@pytest.fixture
def fresh_knobs() -> Iterator[Any]:
    """Triton's knobs as they are by default, put back afterwards."""
    from triton._internal_testing import _fresh_knobs_impl

    fresh, reset = _fresh_knobs_impl()
    try:
        knobs = fresh()
        knobs.runtime.interpret = INTERPRETED
        yield knobs
    finally:
        reset()


@pytest.fixture
def fresh_triton_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for compiled kernels."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    return tmp_path


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that adopts the kernels."""
    parser.addoption("--adopt", action="store_true", help="adopt Triton's kernels, instead of replacing its decorator")


def pytest_configure(config: pytest.Config) -> None:
    """Replace the decorator before the tests are imported, or adopt what they decorate."""
    import triton
    import triton.testing

    import tunedb

    if config.getoption("--adopt"):
        tunedb.adopt()
    else:
        triton.autotune = tunedb.autotune
    if INTERPRETED:
        triton.testing.do_bench = _time_on_host  # Triton's own wants a GPU


def _time_on_host(launch: Callable[[], object], quantiles: list[float], **_: object) -> list[float]:
    start = time.perf_counter()
    launch()
    return [(time.perf_counter() - start) * 1e3] * len(quantiles)


def main() -> int:
    """The exit code."""
    if len(sys.argv) < 2 or not Path(sys.argv[1], FILES[0]).is_file():
        print(__doc__, file=sys.stderr)
        return 2
    import triton

    source, *arguments = sys.argv[1:]
    has_listener = hasattr(triton.knobs.autotuning, "listener")
    with tempfile.TemporaryDirectory() as folder:
        for name in FILES:
            if name == FILES[1] and not (has_listener and Path(source, name).is_file()):
                why = "is not in that folder" if has_listener else f"Triton {triton.__version__} has no listener knob"
                print(f"Not run: {name} ({why}).")
                continue
            shutil.copy(Path(source, name), folder)
        command = [sys.executable, "-m", "pytest", "-p", "tests.triton_suite", "-c", os.devnull, "--rootdir", folder]
        environment = os.environ | {
            "TUNEDB_STORE": f"{folder}/tunedb.db",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]),
        }
        return subprocess.run([*command, *arguments, folder], cwd=folder, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
