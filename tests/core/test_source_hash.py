"""The kernel's hash: unmoved by comments, moved by constants, the same with and without the interpreter."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests import forked
from tunedb.core.source_hash import kernel_hash
from tunedb.errors import IdentityError

SOURCE = '''
import triton
import triton.language as tl
import functools
import math

SCALE = 2
LIMIT: tl.constexpr = tl.constexpr(4)
TABLE = {"a": [1, 2]}
MANY = frozenset({"x", "y", "z"})

class Rule:
    """A rule."""
    factor = 2

    def grid(self, n):
        return n * self.factor

@functools.cache
def cached(n):
    return n + 7

@triton.jit
def helper(x):
    return x * SCALE

@triton.jit
def kernel(x, n, BLOCK: tl.constexpr):
    """Doubles."""
    at = tl.arange(0, BLOCK)
    tl.store(x + at, helper(tl.load(x + at, mask=at < n)), mask=at < LIMIT)

def grid_of(n):
    return n // 2

def launch(x, n):
    assert "x" in MANY
    kernel[(grid_of(n) + Rule().grid(n) + cached(n) + TABLE["a"][0],)](x, n, BLOCK=math.gcd(n, 16))

def elsewhere():
    return 1
'''


def load(folder: Path, source: str) -> ModuleType:
    """A module with that source; always of the same name, as an edited file would be."""
    path = folder / f"edited_{abs(hash(source))}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("edited", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["edited"] = module  # where `inspect` looks for a class's source
    spec.loader.exec_module(module)
    return module


def hash_of(folder: Path, source: str) -> str:
    """The hash of the kernel and the launcher in it."""
    module = load(folder, source)
    return kernel_hash(module.kernel, module.launch)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import triton\n", "# a comment\n\n\nimport triton\n"),
        ('    """Doubles."""\n', ""),
        ('"""Doubles."""', '"""Twice as much."""'),
        ("    at = tl.arange(0, BLOCK)\n", "    at = tl.arange(  # places\n        0, BLOCK)\n"),
        ("return 1", "return 2"),
        ('    """A rule."""\n', ""),
    ],
    ids=["comment", "no docstring", "docstring", "layout", "what nobody calls", "a class's docstring"],
)
def test_an_edit_without_meaning_changes_no_hash(tmp_path: Path, old: str, new: str) -> None:
    assert old in SOURCE
    assert hash_of(tmp_path, SOURCE.replace(old, new)) == hash_of(tmp_path, SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE = 2", "SCALE = 3"),
        ("constexpr(4)", "constexpr(5)"),
        ("x * SCALE", "SCALE * x"),
        ("at < n)", "at <= n)"),
        ("n // 2", "n // 4"),
        ("factor = 2", "factor = 3"),
        ("n * self.factor", "n + self.factor"),
        ("n + 7", "n + 8"),
        ("[1, 2]", "[1, 3]"),
        ('"z"})', '"w"})'),
        ("gcd(n, 16)", "gcd(n, 32)"),
        ("BLOCK: tl.constexpr", "BLOCK: tl.constexpr = 4"),
        ("@triton.jit\ndef kernel", '@triton.jit(do_not_specialize=["n"])\ndef kernel'),
    ],
    ids=[
        "global",
        "constexpr",
        "callee",
        "body",
        "launcher's callee",
        "class attribute",
        "method",
        "cached function",
        "dict",
        "set",
        "launcher",
        "signature",
        "decorator",
    ],
)
def test_an_edit_with_meaning_changes_the_hash(tmp_path: Path, old: str, new: str) -> None:
    assert old in SOURCE
    assert hash_of(tmp_path, SOURCE.replace(old, new)) != hash_of(tmp_path, SOURCE)


def test_a_function_without_source_is_refused() -> None:
    scope: dict[str, object] = {}
    exec("def made_up(): pass", scope)
    with pytest.raises(IdentityError, match="Define the kernel in a file"):
        kernel_hash(scope["made_up"])


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(IdentityError, match="Expected a jit function"):
        kernel_hash(7)


def test_a_change_of_the_windows_arithmetic_changes_the_pooling_kernels_hash() -> None:
    from tunedb.core.source_content import Content
    from tunedb.kernels.avg_pool.launch import forward_launch

    content = Content()
    content.add(forward_launch, "tunedb.kernels")
    text = content.text()
    launcher = ("cdiv", "tiling", "do_windows_tile", "described", "alignment_of")
    for name in ("avg_pool1d_forward_kernel", "slide", *launcher):
        assert f"(FunctionDef name='{name}'" in text
    assert "tunedb Launch" in text  # the machinery by its names, wherever it is
    assert "kernels" not in text
    assert "avg_pool." not in text


def test_the_hash_is_the_same_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "edited.py").write_text(SOURCE)
    program = "from edited import kernel, launch\n"
    program += "from tunedb.core.source_hash import kernel_hash\nprint(kernel_hash(kernel, launch))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONHASHSEED": seed},
            check=True, capture_output=True, text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(seen) == 1


def test_the_interpreter_sees_the_same_hash_as_the_compiler() -> None:
    program = "from tunedb.kernels.avg_pool import FORWARD, BACKWARD; print(FORWARD.hash, BACKWARD.hash)"
    seen = [forked.run(["-c", program], env=os.environ | {"TRITON_INTERPRET": value}).stdout for value in ("0", "1")]
    assert seen[0] == seen[1]
    assert len(set(seen[0].split())) == 2
