"""Entries become hints: renamed, filtered, counted, and each that does not is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.store.foreign.samples import KNOBS
from tunedb.core.hint import Candidates, Hint, facts_to_compare, short_facts
from tunedb.core.problem import Config, Problem
from tunedb.errors import SettingError
from tunedb.store.exchange.foreign.entry import Entry, Rejection
from tunedb.store.exchange.foreign.importing import map_entries
from tunedb.store.exchange.foreign.mapping import EntryMapping
from tunedb.store.sql.rows import MAX_TEXT


def entry(fields: Mapping[str, Any] | None = None, **changes: Any) -> Entry:
    values: dict[str, Any] = {"knobs": KNOBS, "place": "x.json: 16", "device": "NVIDIA_H100_80GB_HBM3", **changes}
    return Entry("json-configs", {"E": 8, "M": 16} if fields is None else fields, **values)


def hint(mapping: EntryMapping, one: Entry) -> Hint:
    (made,) = map_entries([one], mapping).hints
    return made


def test_fields_and_knobs_are_renamed_or_left_out() -> None:
    names = {"M": "rows", "E": "", "BLOCK_SIZE_M": "BLOCK_M", "GROUP_SIZE_M": ""}
    made = hint(EntryMapping("moe", names), entry())
    assert made.problem == Problem.of("moe", rows=16)
    assert made.config == Config.of(BLOCK_M=16, BLOCK_SIZE_N=64, BLOCK_SIZE_K=128, num_warps=4)
    assert made.device == "nvidia_h100_80gb_hbm3"
    assert json.loads(made.evidence) == {"device": "NVIDIA_H100_80GB_HBM3"}


def test_two_names_may_not_become_one() -> None:
    result = map_entries([entry()], EntryMapping("moe", {"E": "M"}))
    assert [one.reason for one in result.rejected] == ["two names became M: change --map"]


def test_only_entries_of_the_kernel_and_with_the_fields_are_taken() -> None:
    entries = [
        entry({"M": 1, "dtype": "bf16"}), entry({"M": 2}), entry({"M": 3, "down": True}),
        entry({"M": 4}, function="matmul"), entry({"M": 5}, function="other"),
    ]  # fmt: skip

    def taken(**about: Any) -> list[int]:
        result = map_entries(entries, EntryMapping("mine.ops.matmul", **about))
        assert result.other == len(entries) - len(result.hints)
        return [one.problem["M"] for one in result.hints]

    assert taken() == [1, 2, 3, 4]
    assert taken(any_function=True) == [1, 2, 3, 4, 5]
    assert taken(only={"dtype": "bf16"}) == [1]
    assert taken(only={"dtype": "", "down": ""}) == [2, 4]
    assert taken(only={"down": "True"}) == [3]


def test_a_kernel_or_a_device_that_no_one_names_has_to_be_named() -> None:
    with pytest.raises(SettingError, match="--kernel NAME"):
        map_entries([entry()], EntryMapping())
    with pytest.raises(SettingError, match="--device NAME"):
        map_entries([entry(device=None)], EntryMapping("moe"))
    assert hint(EntryMapping("moe", device="NVIDIA L4"), entry(device=None)).device == "nvidia_l4"
    assert hint(EntryMapping(), entry(function="matmul")).problem.kernel == "matmul"


def test_what_became_of_each_entry_is_counted() -> None:
    entries = [entry(), entry(place="y.json: 16"), entry({"M": 2}, device="Some GPU"), entry({"M": 3}), entry({"M": 4})]
    verdicts = {8: True, 16: True, 2: None, 3: False, 4: True}
    result = map_entries(
        [*entries, Rejection("z.json", "not JSON"), entry({"a\0": 1})],
        EntryMapping("moe"),
        lambda one: verdicts[one.problem["M"]],
        lambda device: device != "some_gpu",
    )
    counts = (result.read, result.mapped, result.outside_space, result.unchecked, result.unknown_device)
    assert counts == (6, 5, 1, 1, 1)
    assert (result.duplicate, len(result.hints)) == (1, 3)
    assert [one.place for one in result.rejected] == ["x.json: 16", "z.json", "x.json: 16"]
    assert "is outside the search space of moe" in result.rejected[0].reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"device": "a\x1b[2J"},
        {"knobs": {"BLOCK": "\0" * MAX_TEXT}},
        {"knobs": {"num_ctas": None}},
        {"place": "x" * 70_000},
    ],
)
def test_an_entry_that_can_t_be_stored_is_rejected(wrong: dict[str, Any]) -> None:
    result = map_entries([entry(**wrong)], EntryMapping("moe"))
    assert (len(result.rejected), result.hints) == (1, [])


def test_of_very_many_times_the_best_are_kept() -> None:
    timings = [[{"BLOCK": n, "padding": "x" * 90}, [1000.0 - n]] for n in range(1000)]
    made = hint(EntryMapping("moe"), entry(evidence={"times_ms": [1.0], "timings": timings}))
    kept = json.loads(made.evidence)["timings"]
    assert len(made.evidence) <= MAX_TEXT
    assert 100 < len(kept) < 1000
    assert kept[0] == timings[-1]


def test_a_hint_is_for_problems_that_have_its_facts() -> None:
    import torch

    facts = short_facts(Problem.of("k", M=16, E=8, **{"x.dtype": torch.float16, "y.dtype": torch.float32}))

    def compared(**hint: object) -> object:
        return facts_to_compare(short_facts(Problem.of("k", **hint)), facts)

    assert compared(M=32, **{"x.dtype": "torch.float16"}) == {"M": 32, "x.dtype": "float16"}
    assert compared(dtypes="float32,torch.float16", M=1) == {"M": 1}
    assert compared() == {}
    assert compared(dtypes="float16") is None
    assert compared(N=1) is None


def test_options_that_a_config_leaves_out_are_triton_s_own() -> None:
    space = [Config.of(BLOCK=64, num_warps=8, num_stages=3, num_ctas=1), Config.of(BLOCK=64, num_warps=4)]
    candidates = Candidates(space)
    assert candidates.find(Config.of(BLOCK=64, num_warps=8, maxnreg=None, pre_hook=None)) == space[0]
    assert candidates.find(Config.of(BLOCK=64)) == space[1]
    for other in ({"BLOCK": 64, "num_stages": 2}, {"BLOCK": 64.0}, {"BLOCK": 64, "SPLIT_K": 1}, {}, {"BLOCK": True}):
        assert candidates.find(Config.of(**other)) is None
