"""A kernel has the same name whether its file is run, in any of Python's ways, or imported."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROGRAM = """
from tunedb.decorator.validation import default_name
def kernel(): pass
NAME = default_name(kernel)
if __name__ != "__mp_main__":
    print(NAME)
"""
SPAWNING = """
import multiprocessing
from tunedb.decorator.validation import default_name
def kernel(): pass
NAME = default_name(kernel)
def say(): print(NAME)
if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=say)
    process.start()
    process.join()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with a module and a `__main__`, the same as a zip file, and a program that starts a child process."""
    top = tmp_path_factory.mktemp("programs")
    (top / "app").mkdir()
    for name in ("__init__", "mine", "__main__"):
        (top / "app" / f"{name}.py").write_text("" if name == "__init__" else PROGRAM)
    (top / "spawning.py").write_text(SPAWNING)
    with zipfile.ZipFile(top / "packed.pyz", "w") as packed:
        packed.writestr("__main__.py", PROGRAM)
    return top


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["-c", "import app.mine"], "app.mine.kernel"),
        (["-m", "app.mine"], "app.mine.kernel"),
        (["app/mine.py"], "mine.kernel"),  # a file that is run knows no package
        (["-m", "app"], "app.__main__.kernel"),
        (["app"], "app.__main__.kernel"),
        (["packed.pyz"], "packed.__main__.kernel"),
        (["-m", "cProfile", "-o", "profile", "app/mine.py"], "mine.kernel"),
        (["spawning.py"], "spawning.kernel"),
        (["-m", "spawning"], "spawning.kernel"),
        (["-c", PROGRAM], "__main__.kernel"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_a_kernel_of_a_program_has_the_name_that_an_import_gives_it(words: list[str], name: str, folder: Path) -> None:
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{name}\n", "")
