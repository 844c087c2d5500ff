"""Identities: canonical JSON, round trips, digests that can't change unnoticed."""

from __future__ import annotations

import enum
import json
import math
from pathlib import Path

import numpy
import pytest
import torch
import triton.language as tl
from hypothesis import given
from hypothesis import strategies as st

from tests.core.golden import golden_digests
from tunedb._internal.printable import printable
from tunedb.core.device import Device, Environment
from tunedb.core.problem import Config, Problem
from tunedb.errors import IdentityError

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, tl.float32, tl.bfloat16, tl.int1)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=[]))
    | st.sampled_from(DTYPES)
)
FACTS = st.dictionaries(TEXT.map(printable).filter(bool), VALUES, max_size=6)


def same(left: object, right: object) -> bool:
    """Equal, of the same type, and for floats of the same sign, also at zero."""
    if isinstance(left, float) and isinstance(right, float):
        return math.copysign(1, left) == math.copysign(1, right) and left == right
    return type(left) is type(right) and left == right


@given(FACTS)
def test_every_fact_survives_the_way_through_the_key_as_itself(facts: dict[str, object]) -> None:
    stored = Problem(Problem.of("kernel", **facts).key, "kernel")
    assert set(stored) == set(facts)
    assert all(same(stored[name], value) for name, value in facts.items())


@given(FACTS)
def test_every_knob_survives_the_way_through_the_key_as_itself(knobs: dict[str, object]) -> None:
    stored = Config(Config.of(**knobs).key)
    assert all(same(stored[name], value) for name, value in knobs.items())
    assert stored == Config.of(**knobs)
    assert hash(stored) == hash(Config.of(**knobs))


@given(FACTS)
def test_what_is_made_of_facts_is_what_is_read_from_its_key(facts: dict[str, object]) -> None:
    for made in (Config.of(**facts), Problem.of("kernel", **facts)):
        read = Config(made.key) if isinstance(made, Config) else Problem(made.key, "kernel")
        assert repr(read._values) == repr(made._values)
        assert made == read
    assert Problem.of("kernel", **facts).digest == Problem(Config.of(**facts).key, "kernel").digest


@given(FACTS, st.randoms())
def test_the_order_of_facts_changes_nothing(facts: dict[str, object], random: object) -> None:
    names = list(facts)
    random.shuffle(names)  # type: ignore[attr-defined]  # hypothesis hands in a random.Random
    assert Problem.of("kernel", **{name: facts[name] for name in names}) == Problem.of("kernel", **facts)


@given(FACTS)
def test_the_key_is_compact_sorted_ascii_json(facts: dict[str, object]) -> None:
    key = Config.of(**facts).key
    assert key.isascii()
    assert key == json.dumps(json.loads(key), sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize(("left", "right"), [(1, True), (0, False), (1, 1.0), ("1", 1), ("null", None), (0.0, -0.0)])
def test_values_that_python_calls_equal_are_different_facts(left: object, right: object) -> None:
    assert Config.of(a=left) != Config.of(a=right)


def test_torch_and_triton_dtypes_of_one_name_are_different_facts() -> None:
    assert Config.of(a=torch.int8) != Config.of(a=tl.int8)
    assert Config.of(a=torch.float32) != Config.of(a="float32")


@pytest.mark.parametrize(
    "value",
    [[1], (1,), {"a": 1}, object(), b"x", 1j, torch.tensor(1), torch.Size([1])],
)  # fmt: skip
def test_what_would_not_come_back_is_refused_before_anything_is_tuned(value: object) -> None:
    with pytest.raises(IdentityError, match="a"):
        Problem.of("kernel", a=value)


class Whole(enum.IntEnum):
    ONE = 1


class Word(enum.StrEnum):
    ONE = "one"


@pytest.mark.parametrize(
    ("value", "plain"), [(Whole.ONE, 1), (Word.ONE, "one"), (numpy.float64(0.5), 0.5), (Whole(1), 1)]
)
def test_a_subclass_is_the_fact_that_its_value_is(value: object, plain: object) -> None:
    assert Config.of(a=value).key == Config.of(a=plain).key


ODD = [float("nan"), float("inf"), -float("inf"), 2**63, -(2**63) - 1, 10**5000, "a\0b", "\ud800", "\ud83d\ude00"]


def test_each_value_that_json_lacks_has_one_form_of_its_own() -> None:
    keys = [Config.of(a=value).key for value in (*ODD, "inf", "nan", str(2**63), hex(2**63), "a\\x00b", "\U0001f600")]
    assert len(set(keys)) == len(keys)
    assert Config.of(a=float("nan")) == Config.of(a=-float("nan"))
    for value in ODD[1:]:
        assert Config(Config.of(a=value).key)["a"] == value
    assert Config.of(a=2**63, b=float("inf"), c="a\0").plain() == {"a": "0x8000000000000000", "b": "inf", "c": "a\\x00"}


def test_a_refusal_names_the_fact_and_what_was_needed() -> None:
    with pytest.raises(IdentityError, match=r"shape: expected None, bool, int, float, str or a"):
        Problem.of("kernel", shape=(1, 2))


@pytest.mark.parametrize(
    "key",
    ["", "[]", "{", '{"a": 1}', '{"b":1,"a":2}', '{"a":1,"a":1}', '{"a":NaN}', '{"a":1e999}', '{"a":[1]}',
     '{"a":{"float":"1.0"}}', '{"a":{"float":"infinity"}}', '{"a":{"int":"0x1"}}', '{"a":{"int":"9"}}', '{"a":{}}',
     '{"a":{"str":"61"}}', '{"a":{"str":"0"}}', '{"a":{"str":"ff"}}', '{"a":{"int":"0x8000000000000000","str":"00"}}',
     '{"a":{"int":["0x8000000000000000"]}}', '{"a":{"bytes":"00"}}',
     '{"a":{"dtype":"os.system"}}', '{"a":{"dtype":"torch.float32","b":1}}', '{"a":{"b":1}}', '{"a":"\u00e9"}',
     '{"a":99999999999999999999}', '{"a":' + "9" * 5000 + "}", "[" * 100_000],
)  # fmt: skip
def test_a_key_that_is_not_canonical_is_refused(key: str) -> None:
    with pytest.raises(IdentityError):
        Config(key)


def test_a_dtype_that_this_torch_lacks_is_refused_when_it_is_read_and_not_before() -> None:
    stored = Config('{"a":{"dtype":"torch.float1"}}')
    assert stored.plain() == {"a": "float1"}
    with pytest.raises(IdentityError, match="float1"):
        stored["a"]


@pytest.mark.parametrize("name", ["", "a b", "a/b", "1a", "a\n", "é"])
def test_a_kernel_name_is_a_plain_word(name: str) -> None:
    with pytest.raises(IdentityError, match="A kernel's name: expected"):
        Problem.of(name, n=1)


def test_two_gpus_of_one_architecture_are_different_devices() -> None:
    h100, h200 = (Device(name, "cuda", "sm_90", 132) for name in ("NVIDIA H100 80GB HBM3", "NVIDIA H200"))
    assert h100 != h200
    assert h100.digest != h200.digest
    assert Device("NVIDIA H200", "cuda", "sm_90", 66).digest != h200.digest


def test_memory_and_clocks_are_kept_but_never_compared() -> None:
    small, large = (Device("NVIDIA H200", "cuda", "sm_90", 132, {"memory_bytes": size}) for size in (1, 2))
    assert small == large
    assert small.digest == large.digest
    assert large.info["memory_bytes"] == 2


def test_an_environment_survives_the_way_through_its_key() -> None:
    environment = Environment("3.9.0", "2.13.0", "580.1", "events-1")
    assert Environment.from_key(environment.key) == environment


def test_config_splits_into_constants_and_launch_options() -> None:
    found = Config.of(BLOCK_OUT=512, num_warps=4, num_stages=2)
    assert found.constants == {"BLOCK_OUT": 512}
    assert found.options == {"num_warps": 4, "num_stages": 2}


def test_digests_are_those_of_the_golden_file() -> None:
    golden = json.loads((Path(__file__).parent / "golden_digests.json").read_text())
    assert golden_digests() == golden, "A digest changed: every stored row of it is lost. See tests/core/golden.py."
