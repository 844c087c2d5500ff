"""What a call of a decorated kernel is known by: its problem, its kind, and the kernel's hash."""

from __future__ import annotations

import copy
import dataclasses
import enum
import functools
import importlib.util
import operator
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pytest
import torch
import triton
import triton.language as tl
from hypothesis import given
from hypothesis import strategies as st

import tunedb
from tests.decorator.kernels import add_one, tuned
from tunedb import IdentityError, SettingError
from tunedb.core.problem import Problem
from tunedb.core.source_hash import joint_hash, kernel_hash
from tunedb.core.source_text import HashUnavailable
from tunedb.decorator.call.arguments import Call, Parameters
from tunedb.decorator.call.problem import layout_of, name_and_hash, problem_of
from tunedb.decorator.call.specialization import binary_specialization, call_specialization, can_specialize
from tunedb.decorator.configs import Candidates, stored_form


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Other(enum.Enum):
    RED = 1


class Whole(enum.IntEnum):
    ONE = 1
    TWO = 2


class Word(enum.StrEnum):
    ONE = "one"
    TWO = "two"


@dataclasses.dataclass(frozen=True)
class Holder:
    held: Any = 0


@dataclasses.dataclass(frozen=True)
class OtherHolder:
    held: Any = 0


class Pair(NamedTuple):
    left: int
    right: int


NAMES = ("x", "y", "n", "stride", "FLAG", "BLOCK")
PARAMETERS = Parameters(NAMES, frozenset({"FLAG", "BLOCK"}), {}, True)


def facts(key: tuple[str, ...] = ("n",), buckets: Any = None, **given: Any) -> dict[str, Any]:
    call = Call(NAMES, (1,), (), given)
    return dict(problem_of("kernel", call, PARAMETERS, key, buckets or {}))


def problem(value: Any) -> Problem:
    """The problem of a call with that value of `key`."""
    return problem_of("kernel", Call(NAMES, (1,), (), {"n": value}), PARAMETERS, ("n",), {})


def test_a_problem_holds_keys_tensors_classes_and_switches() -> None:
    found = facts(x=torch.zeros(8, 8), y=None, n=100, stride=8, FLAG=True, BLOCK=64)
    assert found == {
        "x.dtype": torch.float32, "x.layout": "rows", "x.aligned": True, "y": None, "n": 100, "FLAG": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (tl.float16, {"n": tl.float16}),
        ((3, (4,)), {"n.length": 2, "n.0": 3, "n.1.length": 1, "n.1.0": 4}),
        (torch.Size([2]), {"n.length": 1, "n.0": 2}),
        (tl.constexpr(7), {"n": 7}),
        (add_one, {"n": name_and_hash(add_one)}),
    ],
)
def test_values_of_key_come_back_as_themselves(value: Any, expected: dict[str, Any]) -> None:
    assert facts(n=value) == expected


def test_numpy_scalars_are_taken_as_pythons() -> None:
    assert facts(n=numpy.int64(5)) == {"n": 5}


@pytest.mark.parametrize(
    "value", [torch.zeros(1), (torch.zeros(1),), dataclasses.replace(Holder(), held=torch.zeros(1))]
)
def test_a_tensor_is_no_value_of_key_and_the_error_names_the_argument(value: Any) -> None:
    with pytest.raises(IdentityError, match="n"):
        facts(n=value)


KEYS: list[Any] = [
    Color.RED, Color.BLUE, "RED", Other.RED, Whole.ONE, Whole.TWO, Word.ONE, Word.TWO, float("inf"), -float("inf"),
    float("nan"), 2**63, 2**64, -(2**63) - 1, 10**5000, "a\0", "a", "\ud800", b"a", b"b", 1j, (1, 2), (1,), ((1,),), (),
    frozenset({1}), Holder(1), Holder(2), Holder((1, 2)), OtherHolder(1), torch.float32, tl.float32, torch.float8_e5m2,
    torch.device("cpu"), range(3), range(4), add_one, "Holder", {"a": 1}, numpy.dtype("float16"), 1.0, True, None,
]  # fmt: skip


def test_each_value_of_key_is_a_problem_of_its_own_and_one_only() -> None:
    texts = [problem(value).key for value in KEYS]
    assert len(set(texts)) == len(KEYS)
    assert [problem(value).key for value in copy.deepcopy([key for key in KEYS if key is not add_one])] == [
        text for text, key in zip(texts, KEYS, strict=True) if key is not add_one
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Whole.ONE, 1), (Word.ONE, "one"), (numpy.float64(0.5), 0.5), (numpy.int64(7), 7), (numpy.bool_(True), True),
        (torch.Size([1, 2]), (1, 2)), (Pair(1, 2), (1, 2)), (float("nan"), -float("nan")), (tl.constexpr(3), 3),
    ],
)  # fmt: skip
def test_values_that_triton_takes_for_the_same_are_one_problem(one: Any, other: Any) -> None:
    assert problem(one) == problem(other)


def test_values_of_key_are_the_same_in_every_process() -> None:
    program = (
        "from tunedb.core.source_hash import content_hash\nfrom tunedb.core.problem import Problem\n"
        "facts = dict(a=float('nan'), b=10**30, c='a\\0', d=content_hash(frozenset('abcdef')), e=content_hash(b'x'))\n"
        "print(Problem.of('kernel', **facts).digest)\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_a_layout_of_gluons_is_known_by_its_fields() -> None:
    gluon = pytest.importorskip("triton.experimental.gluon.language")
    one, other = (gluon.BlockedLayout([1, size], [4, 8], [4, 1], [1, 0]) for size in (4, 8))
    assert problem(one) != problem(other)
    assert facts(n=one)["n.size_per_thread.1"] == 4
    assert can_specialize(one)
    assert call_specialization({"n": one}, (), ("n",), {}) != call_specialization({"n": other}, (), ("n",), {})


def test_an_object_without_stable_content_in_key_makes_no_problem() -> None:
    with pytest.raises(HashUnavailable):
        facts(n=threading.Lock())


class Foreign:
    """An array of another library: an address and a dtype, and no tensor of torch's."""

    def __init__(self, dtype: Any, address: int = 64) -> None:
        self.dtype, self._address = dtype, address

    def data_ptr(self) -> int:
        return self._address


def test_arguments_that_are_no_tensors_count_by_their_own_dtype() -> None:
    dtypes = (torch.float32, torch.float16, "float32", numpy.dtype("float16"), tl.float32, tl.float16)
    made = [facts(x=Foreign(dtype)) for dtype in dtypes]
    assert len({str(one) for one in made}) == len(dtypes)
    assert made[0] == {"x.dtype": torch.float32, "x.aligned": True}
    assert facts(x=Foreign("fp32", 4)) == {"x.dtype": "fp32", "x.aligned": False}
    assert facts(x=(Foreign(torch.int8), 1)) == {"x.0.dtype": torch.int8, "x.0.aligned": True}
    assert facts(x=triton.reinterpret(torch.zeros(4, dtype=torch.int32), tl.float32))["x.dtype"] == tl.float32


def test_a_descriptor_is_known_by_its_base() -> None:
    from triton.tools.tensor_descriptor import TensorDescriptor

    base = torch.zeros(64, 64, dtype=torch.float16)
    found = facts(x=TensorDescriptor.from_tensor(base, [32, 32]), n=1)
    assert found == {"x.dtype": torch.float16, "x.layout": "rows", "x.aligned": True, "n": 1}


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (torch.zeros(()), ("rows", True)),
        (torch.zeros(4, 8), ("rows", True)),
        (torch.zeros(8, 4).T, ("transposed", True)),
        (torch.zeros(2, 4, 8).permute(2, 0, 1), ("transposed2", True)),
        (torch.zeros(4, 16)[:, ::2], ("general", False)),
        (torch.zeros(4, 7), ("rows", False)),  # a pitch of 28 bytes
        (torch.zeros(9)[1:], ("rows", False)),
        (torch.zeros(1, 8).expand(4, 8), ("rows+broadcast", True)),
    ],
)
def test_layout_and_alignment_are_classes(tensor: torch.Tensor, expected: tuple[str, bool]) -> None:
    assert layout_of(tensor) == expected


def test_a_binary_depends_on_less_than_a_config() -> None:
    def config_key(**arguments: Any) -> Any:
        return call_specialization(arguments, PARAMETERS.constexprs, ("n",), {})

    def binary_key(**arguments: Any) -> Any:
        return binary_specialization(arguments, PARAMETERS.constexprs)

    x = torch.zeros(64)
    assert config_key(x=x, n=100) != config_key(x=x, n=104)
    assert binary_key(x=x, n=100) == binary_key(x=x, n=104)
    assert binary_key(x=x, n=100) != binary_key(x=x, n=112)
    assert binary_key(x=x, n=100) != binary_key(x=x.half(), n=100)
    assert binary_key(x=x, n=100, BLOCK=1) != binary_key(x=x, n=100, BLOCK=2)
    assert config_key(x=[{}], n=1) is binary_key(x=[{}], n=1) is None  # can't be compared


@given(st.integers(1, 2**40))
def test_buckets_are_the_next_of_their_kind(value: int) -> None:
    assert tunedb.pow2(value) >= value > tunedb.pow2(value) // 2
    assert tunedb.pow2(tunedb.pow2(value)) == tunedb.pow2(value)
    rounded = tunedb.multiple_of(48)(value)
    assert rounded % 48 == 0
    assert value <= rounded < value + 48


@pytest.mark.parametrize("step", [0, -1, 2.0, True, "16"])
def test_a_step_that_is_none_is_an_error(step: Any) -> None:
    with pytest.raises(SettingError, match="multiple_of"):
        tunedb.multiple_of(step)


def test_the_name_is_the_functions_own_unless_given() -> None:
    assert tunedb.autotune([], ["n"])(add_one).name == "tests.decorator.kernels.add_one"
    assert tuned(name="mine").name == "mine"


def test_a_file_whose_name_begins_with_a_digit_has_kernels_too() -> None:
    from tunedb.decorator.validation import default_name

    def kernel() -> None:
        """Of one of Triton's tutorials."""

    kernel.__module__, kernel.__qualname__ = "02-fused-softmax", "softmax"
    assert default_name(kernel) == "_02-fused-softmax.softmax"


def plain(x: Any, c: int = 1) -> Any:
    return x + c


def other(x: Any, c: int = 1) -> Any:
    return x - c


class Callable1:
    def __call__(self, x: Any) -> Any:
        return x + 1


class Callable2:
    def __call__(self, x: Any) -> Any:
        return x + 2


class Scaled:
    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, x: Any) -> Any:
        return x * self.by


def test_a_reference_that_refers_to_itself_has_a_hash() -> None:
    def recursive(x: Any, again: Any = None) -> Any:
        return x

    recursive.__defaults__ = (recursive,)
    assert joint_hash("kernel", recursive) == joint_hash("kernel", recursive)


def test_a_reference_is_known_under_wrappers_and_by_what_is_bound_to_it() -> None:
    same = [plain, torch.no_grad()(plain), torch.inference_mode()(plain), functools.wraps(plain)(lambda *_: None)]
    assert len({joint_hash("kernel", one) for one in same}) == 1
    different = [
        plain, other, functools.partial(plain, c=1), functools.partial(plain, c=2),
        functools.partial(other, c=2), Callable1(), Callable2(), lambda x, c=2: x + c, lambda x, c=3: x + c,
        functools.partial(plain, plain), functools.partial(plain, other), lambda x, f=plain: f(x),
        functools.partial(plain, max), functools.partial(plain, min), operator.add, operator.mul,
        Scaled(0.1), Scaled(0.2), torch.nn.LeakyReLU(0.1), torch.nn.LeakyReLU(0.2),
    ]  # fmt: skip
    assert len({joint_hash("kernel", one) for one in different}) == len(different)
    assert joint_hash("kernel", plain) != "kernel"


def test_a_reference_has_the_same_hash_in_every_process() -> None:
    program = (
        "import functools\nfrom tunedb.core.source_hash import joint_hash\n"
        "class A: pass\n"
        "def f(x, mode=frozenset(['one', 'other', 'third']), a=A()):\n"
        "    return mode in {'alpha', 'beta', 'gamma', ('delta', 'epsilon')}\n"
        "print(joint_hash('kernel', functools.partial(f, x={'one', 'other', 'third'})))\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def test_configs_are_kept_whole_and_found_again() -> None:
    def activation() -> None:
        """A knob that no JSON can hold."""

    configs = [
        triton.Config({"BLOCK": (32, 64), "ACT": activation}, num_warps=8, maxnreg=64),
        triton.Config({"BLOCK": 32, "ACT": None}, ir_override="kernel.ptx"),
    ]
    candidates = Candidates(configs)
    forms = [stored_form(config) for config in configs]
    assert [candidates.config(form) for form in forms] == configs
    assert (forms[0]["BLOCK"], forms[0]["num_warps"], forms[0]["maxnreg"]) == ("(32, 64)", 8, 64)
    assert forms[1]["ir_override"] == "kernel.ptx"


def test_configs_of_one_text_are_told_apart_by_their_types() -> None:
    values = ["(1, 2)", (1, 2), "inf", float("inf"), "None", None, 2**70, "a\0"]
    configs = [triton.Config({"BLOCK": value}) for value in values]
    candidates = Candidates(configs)
    assert len(candidates.by_stored_form) == len(values)
    assert [candidates.config(form) for form in candidates.in_order] == configs


SOURCE = """
import triton
import triton.language as tl
import tunedb

def blocks():
    return [triton.Config({{"BLOCK": block}}) for block in ({blocks})]

@tunedb.autotune(blocks(), key={key})
{heuristics}
@triton.jit
def kernel(x, n, EVEN: tl.constexpr, BLOCK: tl.constexpr):
    tl.store(x + tl.arange(0, BLOCK), {value})
"""


def test_the_list_of_configs_is_not_in_the_kernels_hash(tmp_path: Path) -> None:
    def hashed(**parts: Any) -> str:
        given = {"blocks": "16, 32", "key": "['n']", "value": 1.0, "heuristics": "@triton.heuristics({'EVEN': bool})"}
        path = tmp_path / f"m{len(list(tmp_path.iterdir()))}.py"
        path.write_text(SOURCE.format(**(given | parts)))
        spec = importlib.util.spec_from_file_location("module_under_test", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return kernel_hash(module.kernel)

    first = hashed()
    assert hashed(blocks="16, 64", key="['n', 'x']") == first
    assert hashed(value=2.0) != first
    assert hashed(heuristics="@triton.heuristics({'EVEN': len})") != first
