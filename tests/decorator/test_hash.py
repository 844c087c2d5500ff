"""A kernel's hash follows what runs: not where it stands, and not what the disk holds by now."""

from __future__ import annotations

import importlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import triton

import tunedb
from tests.conftest import DEVICE, INTERPRETED, runs_kernels
from tests.decorator.kernels import new_process
from tests.decorator.stub import StubDriver, once
from tunedb import MissError
from tunedb.core.source_hash import kernel_hash
from tunedb.core.source_text import HashUnavailable
from tunedb.decorator.call.problem import name_and_hash
from tunedb.decorator.configs import Candidates
from tunedb.store import Store
from tunedb.tuner import session, unhashed

SOURCE = '''
import dataclasses
import enum
import functools
import typing
import triton
import triton.language as tl

SCALE: tl.constexpr = tl.constexpr(2)

@dataclasses.dataclass(frozen=True)
class Shape:
    rows: int = 1
    names: tuple = ("a", "b")

class Way(enum.Enum):
    UP = 1
    DOWN = 2

class Pair(typing.NamedTuple):
    left: int = 1
    right: int = 2

class Plain:
    __slots__ = ("size",)

    def __init__(self, size):
        self.size = size

SHAPE: tl.constexpr = tl.constexpr(Shape(4))
WAY: tl.constexpr = tl.constexpr(Way.UP)
PAIR = Pair(3)
PLAIN = Plain(5)
MANY = {"one": {1, 2}, "two": frozenset({"x", "y", "z"})}

def factory(by):
    @triton.jit
    def scaled(x):
        return x * by
    return scaled

closed = factory(tl.constexpr(7))

@triton.constexpr_function
def folded(n):
    return n + PAIR.left + PLAIN.size

@triton.jit
def helper(x):
    return x * SCALE + SHAPE.rows

def is_even(given):
    return given["n"] % (2 + len(MANY)) == 0

@triton.heuristics({"EVEN": is_even, "ODD": lambda given: given["n"] % 2 == 1})
@triton.jit
def kernel(x, n, EVEN: tl.constexpr, ODD: tl.constexpr, BLOCK: tl.constexpr, LIMIT: tl.constexpr = 3):
    """Doubles."""
    at = tl.arange(0, BLOCK)
    if WAY == WAY:
        tl.store(x + at, helper(closed(tl.load(x + at))) + folded(n), mask=at < n)
'''

EDITS = {
    "body": ("mask=at < n", "mask=at <= n"),
    "callee": ("x * SCALE", "x / SCALE"),
    "constant": ("constexpr(2)", "constexpr(3)"),
    "field of a dataclass": ("Shape(4)", "Shape(5)"),
    "default of a field": ('("a", "b")', '("a", "c")'),
    "enum": ("constexpr(Way.UP)", "constexpr(Way.DOWN)"),
    "value of an enum": ("UP = 1", "UP = 3"),
    "named tuple": ("Pair(3)", "Pair(4)"),
    "object with slots": ("Plain(5)", "Plain(6)"),
    "closure": ("factory(tl.constexpr(7))", "factory(tl.constexpr(8))"),
    "callee in a factory": ("x * by", "x + by"),
    "constexpr function": ("n + PAIR.left", "n - PAIR.left"),
    "default": ("= 3):", "= 4):"),
    "heuristic": ("% (2 + len", "% (3 + len"),
    "lambda": ("% 2 == 1", "% 2 != 0"),
    "global of a heuristic": ('"z"})', '"w"})'),
    "option": ("@triton.jit\ndef helper", "@triton.jit(noinline=True)\ndef helper"),
}
SAME = {
    "comment": ("at = tl", "# places\n    at = tl"),
    "docstring": ('"""Doubles."""', '"""Twice."""'),
    "blank lines": ("@triton.jit\ndef helper", "\n\n\n@triton.jit\ndef helper"),
    "what nobody calls": ("def factory", "def nobody():\n    return 1\n\ndef factory"),
}
_numbers = itertools.count()


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Import a module with a source from a path within the test's folder; from a new one, if none is given."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def load(source: str, place: str | None = None) -> ModuleType:
        place = place or f"made_{next(_numbers)}"
        path = tmp_path / f"{place.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        importlib.invalidate_caches()
        return importlib.import_module(place)

    yield load
    for name in set(sys.modules) - before:
        if name.partition(".")[0].startswith("made_"):
            del sys.modules[name]


@pytest.mark.parametrize("edit", EDITS)
def test_each_way_of_editing_makes_another_hash(load: Any, edit: str) -> None:
    old, new = EDITS[edit]
    assert old in SOURCE
    assert kernel_hash(load(SOURCE.replace(old, new)).kernel) != kernel_hash(load(SOURCE).kernel)


@pytest.mark.parametrize("edit", SAME)
def test_an_edit_without_meaning_makes_none(load: Any, edit: str) -> None:
    old, new = SAME[edit]
    assert old in SOURCE
    assert kernel_hash(load(SOURCE.replace(old, new)).kernel) == kernel_hash(load(SOURCE).kernel)


HELPERS, KERNEL = SOURCE[: SOURCE.index("@triton.heuristics")], SOURCE[SOURCE.index("@triton.heuristics") :]
IMPORTS = "import triton\nimport triton.language as tl\nfrom {} import WAY, helper, closed, folded, is_even\n"


def test_a_move_makes_no_other_hash(load: Any) -> None:
    found = {
        kernel_hash(load(SOURCE, place).kernel) for place in ("made_a", "made_b.c", "made_b.d.e", "made_f.kernels")
    }
    load(HELPERS, "made_g")
    load(HELPERS, "made_h.i.helpers")
    found.add(kernel_hash(load(IMPORTS.format("made_g") + KERNEL, "made_j").kernel))
    found.add(kernel_hash(load(IMPORTS.format("made_h.i.helpers") + KERNEL, "made_h.k").kernel))
    found.add(kernel_hash(load(IMPORTS.format(".helpers") + KERNEL, "made_h.i.l").kernel))
    assert len(found) == 1


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_text(""),
    "half saved": lambda path: path.write_text(path.read_text()[: len(path.read_text()) // 2]),
    "edited": lambda path: path.write_text(path.read_text().replace("mask=at < n", "mask=at > n")),
    "lines above": lambda path: path.write_text("import os\n" * 40 + path.read_text()),
}
SMALL = """
import triton
import triton.language as tl

@triton.jit
def helper(x):
    return x + 1

@triton.jit
def kernel(x, n, BLOCK: tl.constexpr, ACT: tl.constexpr = None):
    at = tl.arange(0, BLOCK)
    tl.store(x + at, helper(tl.load(x + at, mask=at < n)), mask=at < n)
"""


@pytest.mark.skipif(INTERPRETED, reason="the interpreter reads the file: see the next test")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_jit_function_counts_as_it_was_decorated(load: Any, damage: str) -> None:
    expected = kernel_hash(load(SMALL).kernel)
    module = load(SMALL)
    DAMAGES[damage](Path(str(module.__file__)))
    assert kernel_hash(module.kernel) == expected


@pytest.mark.parametrize("damage", DAMAGES)
def test_plain_text_counts_only_if_it_is_the_codes(load: Any, damage: str) -> None:
    source = "def launch(at, n):\n    mask=at < n\n    return mask\n\n\n\n"
    module = load(source)
    DAMAGES[damage](Path(str(module.__file__)))
    with pytest.raises(HashUnavailable, match="restart the program"):
        kernel_hash(module.launch)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter knows no patched sources")
def test_a_patched_text_is_what_counts(load: Any) -> None:
    module = load(SMALL)
    kernel = tunedb.autotune([triton.Config({"BLOCK": 16})], ["n"])(module.kernel)
    before = kernel.source_hash
    module.helper._unsafe_update_src(module.helper.src.replace("x + 1", "x + 2"))
    assert kernel.source_hash not in (before, "")
    assert kernel.source_hash == kernel_hash(load(SMALL.replace("x + 1", "x + 2")).kernel)


IN_A_MODULE = SMALL.replace("helper(tl.load", "functions.helper(tl.load").replace(
    "@triton.jit\ndef kernel", "import sys\nfunctions = sys.modules[__name__]\n\n@triton.jit\ndef kernel"
)


@pytest.mark.parametrize("source", [SMALL, IN_A_MODULE], ids=["global", "attribute"])
def test_a_helper_that_a_program_replaces_is_what_counts(load: Any, source: str) -> None:
    module, other = load(source), load(source.replace("x + 1", "x + 2"))
    kernel = tunedb.autotune([triton.Config({"BLOCK": 16})], ["n"])(module.kernel)
    before, own = kernel.source_hash, module.helper
    module.helper = other.helper
    assert kernel.source_hash == kernel_hash(other.kernel) != before
    module.helper = own
    assert kernel.source_hash == before
    del module.helper
    assert kernel.source_hash != before


UNSTABLE = SMALL.replace("x + 1", "x + LOCK_USER.size").replace(
    "@triton.jit\ndef helper",
    "import threading\n\nclass User:\n    def __init__(self):\n        self.lock, self.size = threading.Lock(), 1\n\n"
    "LOCK_USER = User()\n\n@triton.jit\ndef helper",
)


def test_what_has_no_stable_content_makes_no_hash(load: Any) -> None:
    with pytest.raises(HashUnavailable, match="no content that is stable"):
        kernel_hash(load(UNSTABLE).kernel)


def decorated(jit: Any, **given: Any) -> Any:
    """The kernel, with two configs."""
    configs = [triton.Config({"BLOCK": block}) for block in (16, 32)]
    return tunedb.autotune(configs, ["n"], name="kernel", do_bench=once, **given)(jit)


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel's reason was told yet."""
    monkeypatch.setattr(unhashed, "_logged", set())


@runs_kernels
@pytest.mark.skipif(not INTERPRETED, reason="the compiler refuses such a global")
def test_a_kernel_without_a_hash_runs_its_first_config_and_stores_nothing(
    load: Any, store: Store, records: pytest.LogCaptureFixture, untold: None
) -> None:
    kernel = decorated(load(UNSTABLE).kernel)
    x = torch.zeros(8, device=DEVICE)
    for size in (8, 7, 8):
        kernel[(1,)](x, size)
    assert x[0] == 3
    assert kernel.best_config is kernel.configs[0]
    session.active().close()
    assert list(store.iter_sweeps()) == []
    assert [record.levelname for record in records.records if "has no hash" in record.message] == ["WARNING"]
    with tunedb.using(mode="strict"), pytest.raises(MissError, match="nothing can be stored"):
        kernel[(1,)](x, 8)


def test_a_kernel_without_a_hash_is_tuned_by_triton(
    load: Any, store: Store, records: pytest.LogCaptureFixture, untold: None, stub: StubDriver
) -> None:
    module = load(SMALL + "\ndef is_even(given):\n    return True\n")
    kernel = decorated(triton.heuristics({"ACT": module.is_even})(module.kernel))
    Path(str(module.__file__)).unlink()
    x = torch.zeros(8)
    for _ in range(2):
        kernel[(1,)](x, 8)
    assert len(stub.launches) == 4  # two to time the configs, and one for each call
    assert set(kernel.configs_timings) == set(kernel.configs)
    with tunedb.using(mode="read"):
        kernel[(1,)](x, 8)
    assert len(stub.launches) == 5
    session.active().close()
    assert list(store.iter_sweeps()) == []
    assert [record.levelname for record in records.records if "has no hash" in record.message] == ["WARNING"]


@runs_kernels
@pytest.mark.skipif(not INTERPRETED, reason="average pooling needs a GPU, or the interpreter")
def test_pooling_without_a_hash_takes_its_default(
    store: Store, records: pytest.LogCaptureFixture, untold: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunedb.kernels import avg_pool1d
    from tunedb.kernels.avg_pool import tunable

    def refuse(*_: Any) -> str:
        raise HashUnavailable("its file was edited.")

    monkeypatch.setattr("tunedb.core.source_hash.kernel_hash", refuse)
    tunable._hash.cache_clear()  # an earlier test of this process may have asked
    x = torch.randn(2, 3, 32)
    for kernel_size in (2, 4):
        torch.testing.assert_close(avg_pool1d(x, kernel_size), torch.nn.functional.avg_pool1d(x, kernel_size))
    session.active().close()
    assert list(store.iter_sweeps()) == []
    assert [record.levelname for record in records.records if "has no hash" in record.message] == ["WARNING"]


ACTIVATIONS = """
import triton
import triton.language as tl

def make(by: tl.constexpr):
    @triton.jit
    def act(x):
        return x * by
    return act

twice, thrice, also_twice = make(tl.constexpr(2)), make(tl.constexpr(3)), make(tl.constexpr(2))
"""


def test_functions_of_one_name_are_known_by_what_they_do(load: Any) -> None:
    module, moved = load(ACTIVATIONS), load(ACTIVATIONS, "made_m.n")
    edited = load(ACTIVATIONS.replace("x * by", "x + by"))
    assert name_and_hash(module.twice).startswith("act@")
    assert name_and_hash(module.twice) == name_and_hash(module.also_twice) == name_and_hash(moved.twice)
    assert len({name_and_hash(one) for one in (module.twice, module.thrice, edited.twice)}) == 3


def test_configs_that_differ_in_a_function_are_two(load: Any) -> None:
    module = load(ACTIVATIONS)
    functions = (module.twice, module.thrice, (module.twice,), (module.thrice,))
    candidates = Candidates([triton.Config({"BLOCK": 16, "ACT": one}) for one in functions])
    assert len(candidates.by_stored_form) == 4


@runs_kernels
@pytest.mark.skipif(not INTERPRETED, reason="runs in the interpreter, where a kernel needs no GPU")
def test_a_call_with_another_function_is_another_problem(load: Any, store: Store) -> None:
    module = load(SMALL.replace("helper(tl.load(x + at, mask=at < n))", "ACT(tl.load(x + at, mask=at < n))"))
    text = "import triton\nimport triton.language as tl\n\n@triton.jit\ndef act(x):\n    return x * {}\n"
    twice, thrice, also_twice = (load(text.format(by)).act for by in (2, 3, 2))
    kernel = decorated(module.kernel)
    for function, expected in ((twice, 2), (thrice, 3), (also_twice, 2)):
        x = torch.ones(8)
        kernel[(1,)](x, 8, ACT=function)
        assert x[0] == expected
    new_process()
    session.active().close()
    assert len({sweep.problem for sweep in store.iter_sweeps()}) == 2


def test_every_process_sees_the_same_hash(load: Any, tmp_path: Path) -> None:
    load(SOURCE, "made_z")
    program = "from made_z import kernel; from tunedb.core.source_hash import kernel_hash; print(kernel_hash(kernel))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "PYTHONHASHSEED": seed,
                              "TRITON_INTERPRET": interpret},
        ).stdout.strip()
        for seed, interpret in (("1", "0"), ("2", "0"), ("3", "1"))
    }  # fmt: skip
    assert seen == {kernel_hash(sys.modules["made_z"].kernel)}
