"""Versions read from files are those that the packages state when they are loaded."""

from __future__ import annotations

import subprocess
import sys

import torch
import triton

READ = """
import sys
from tunedb.runtime.versions import torch_build, triton_version
build = torch_build()
print(build.version, build.cuda, build.hip, triton_version(), "torch" in sys.modules, "triton" in sys.modules)
"""


def test_the_versions_are_read_without_loading_anything() -> None:
    done = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=True)
    stated = (torch.__version__, torch.version.cuda, torch.version.hip, triton.__version__)
    assert done.stdout.split() == [*map(str, stated), "False", "False"]


def test_a_package_without_the_file_is_loaded(tmp_path_factory: object) -> None:
    program = (
        "import sys, types\n"
        "fake = types.ModuleType('triton'); fake.__version__ = '9.9'; sys.modules['triton'] = fake\n"
        "from tunedb.runtime.versions import triton_version; print(triton_version())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "9.9\n"
