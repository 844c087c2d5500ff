"""The process that compiles ahead: it fills Triton's cache, and whatever becomes of it, nobody waits for ever."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget

from tests.fakes import config
from tunedb.ahead import Ahead
from tunedb.compiled import is_interpreted
from tunedb.compiler import Compiler
from tunedb.errors import TrialError
from tunedb.problem import Config
from tunedb.recipe import Recipe, parsing
from tunedb.tunable import Resources


@triton.jit
def fill(y, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + at, 1.0, at < n)


pytestmark = pytest.mark.skipif(is_interpreted(fill), reason="the interpreter compiles nothing")


class Pointer:
    """Stands for a float32 tensor of 16 byte alignment, for Triton."""

    dtype = "fp32"

    def data_ptr(self) -> int:
        return 0


def recipe(block: int) -> Recipe:
    return Recipe.of(
        fill, (Pointer(), 100), {"BLOCK": block, "num_warps": 4, "enable_fp_fusion": True}, GPUTarget("cuda", 89, 32)
    )


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Triton's cache for this test, empty."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    return tmp_path / "triton"


@pytest.fixture
def compiler(cache: Path) -> Iterator[Compiler]:
    made = Compiler(2)
    yield made
    made.close()


def compiled(cache: Path) -> set[str]:
    return {path.parent.name for path in cache.rglob("fill.cubin")}


def test_what_it_compiles_is_found_in_the_cache(compiler: Compiler, cache: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(compiler.compile, [recipe(64), recipe(128), recipe(256)]))
    found = compiled(cache)
    assert len(found) == 3
    assert recipe(128).compile(fill).metadata.num_warps == 4
    assert compiled(cache) == found  # under the very same keys


def test_it_imports_neither_torch_nor_what_kernels_do_not_need() -> None:
    told = (
        "import sys, tunedb.compiler, tunedb.kernels.avg_pool.kernel; "
        "print([name for name in ('torch', 'numpy', 'sqlalchemy', 'alembic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "changes", [{"module": "no.such.module"}, {"name": "nothing"}, {"signature": {"y": "*fp32"}}], ids=str
)
def test_what_it_cannot_compile_is_answered_all_the_same(
    compiler: Compiler, changes: dict[str, Any], cache: Path
) -> None:
    compiler.compile(dataclasses.replace(recipe(64), **changes))
    assert compiled(cache) == set()
    compiler.compile(recipe(64))
    assert len(compiled(cache)) == 1


def test_what_cannot_be_sent_is_left_to_the_caller(compiler: Compiler) -> None:
    compiler.compile(dataclasses.replace(recipe(64), options={"hook": lambda: None}))


def test_nobody_waits_for_one_that_was_killed(compiler: Compiler, cache: Path) -> None:
    compiler._process.kill()
    compiler.compile(recipe(64))
    compiler._process.wait()
    compiler.compile(recipe(128))
    assert len(compiled(cache)) <= 2


def test_it_ends_with_its_forks_when_it_is_closed(cache: Path) -> None:
    made = Compiler(2)
    made.compile(recipe(64))
    children = [
        int(number)
        for number in Path(f"/proc/{made._process.pid}/task/{made._process.pid}/children").read_text().split()
    ]
    assert len(children) == 2
    made.close()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{one}").exists() for one in [made._process.pid, *children]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    made.compile(recipe(128))  # nobody is there, and nobody waits


def test_it_ends_when_its_parent_is_killed(cache: Path) -> None:
    told = (
        "from tests.test_compiler import *; made = Compiler(2); made.compile(recipe(64)); "
        "print(made._process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", told],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:
        assert parent.stdout is not None
        number = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{number}/cmdline").exists() and Path(f"/proc/{number}/cmdline").read_bytes():  # not a zombie
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_all_but_the_first_config_are_compiled_by_the_other_process(cache: Path) -> None:
    seen: dict[Config, int] = {}

    def prepare(one: Config) -> Resources:
        seen[one] = len(compiled(cache))
        return Resources()

    blocks = [config(block) for block in (64, 128, 256)]
    ahead = Ahead(prepare, blocks, 2, lambda one: recipe(one["BLOCK"]))
    for one in blocks:
        assert ahead.get(one)[0] == Resources()
    ahead.close()
    assert len(compiled(cache)) == 2
    assert seen[blocks[1]] >= 1
    assert seen[blocks[2]] >= 1


def test_what_is_left_when_a_sweep_ends_is_not_compiled_here(cache: Path) -> None:
    prepared = []
    blocks = [config(block) for block in (64, 128)]

    def prepare(one: Config) -> Resources:
        prepared.append(one)
        return Resources()

    ahead = Ahead(prepare, blocks, 2, lambda one: recipe(one["BLOCK"]))
    ahead.get(blocks[0])
    future = ahead._futures[blocks[1]]
    while not future.running():
        time.sleep(0.001)
    ahead.close()
    with pytest.raises(TrialError, match="ended"):
        future.result(timeout=20)
    assert prepared == blocks[:1]


def test_without_a_process_threads_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(workers: int) -> Compiler:
        raise OSError("no more processes")

    monkeypatch.setattr("tunedb.ahead.Compiler", refuse)
    blocks = [config(block) for block in (64, 128)]
    ahead = Ahead(lambda one: Resources(registers=one["BLOCK"]), blocks, 2, lambda one: recipe(one["BLOCK"]))
    assert [ahead.get(one)[0].registers for one in blocks] == [64, 128]
    ahead.close()


def test_a_parse_that_other_threads_disturbed_is_made_again() -> None:
    failures: list[Exception] = [SystemError("AST constructor recursion depth mismatch (before=99, after=260)")] * 3

    def parse() -> str:
        if failures:
            try:
                raise RuntimeError("at 90:19") from failures.pop()
            except RuntimeError as error:
                raise RuntimeError("at 27:8") from error  # as from a function that the kernel calls
        return "the kernel"

    assert parsing(parse) == "the kernel"
    failures += [SystemError("another")]
    with pytest.raises(RuntimeError, match="27:8"):
        parsing(parse)
