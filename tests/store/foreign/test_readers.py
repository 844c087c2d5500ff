"""Files of other tools are read: every form of a name, every body, and each fault is named with its file and key."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.store.foreign.samples import (
    CUTE,
    DEJAVU,
    DEJAVU_FOLDER,
    KERNEL_TUNER,
    KNOBS,
    autotune,
    names,
    put,
)
from tunedb.store.exchange.foreign.entry import Entry, Rejection
from tunedb.store.exchange.foreign.file_name import kind_of, parse_name
from tunedb.store.exchange.foreign.reading import read

INFINITE = float("inf")


def entries(source: Path, *keys: str) -> list[Entry]:
    """The entries of a source in which nothing is rejected."""
    found = list(read(source, keys))
    assert all(isinstance(one, Entry) for one in found), found
    return found  # type: ignore[return-value]


def rejections(source: Path, *keys: str) -> list[Rejection]:
    """What is rejected of a source."""
    return [one for one in read(source, keys) if isinstance(one, Rejection)]


def test_every_form_of_a_name_is_read() -> None:
    for name, fields in names():
        assert parse_name(name) == fields, name


def test_the_kinds_of_files_are_told_apart_by_their_fields() -> None:
    kinds = {kind_of(fields) for _, fields in names()}
    assert kinds == {"moe", "gemm", "selective_state_update", "lora"}
    assert kind_of({"B": 2, "device_name": "L4"}) == "other"


@pytest.mark.parametrize(
    "name",
    [
        "E=8,N=2.json", "E=8,,device_name=a.json", "E=8,E=9,device_name=a.json", "E=8,device=a.json",
        "E=8,device_name=a,block_shape=[1].json", "E=8,device_name=a,shape=[1,2].json", "E,device_name=a.json",
        "causal_conv1d_fwd_sm_90.json", "plans.json", "E=8,device_name=a.txt",
    ],
)  # fmt: skip
def test_a_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"name|field"):
        parse_name(name)


def test_the_body_of_each_grammar_is_read_by_its_rows(tmp_path: Path) -> None:
    for number, (name, _) in enumerate(names()):
        put(tmp_path / str(number) / name, {"16": KNOBS, "2048": {**KNOBS, "USE_TMA": True, "SPLIT_K": 2}})
    found = entries(tmp_path)
    assert len(found) == 2 * len(list(names()))
    assert all(entry.fields[next(iter({"M", "max_loras"} & entry.fields.keys()))] in (16, 2048) for entry in found)
    assert {entry.knobs["num_warps"] for entry in found} == {4}


def test_the_version_of_triton_is_in_the_file_or_in_its_folder(tmp_path: Path) -> None:
    name = "E=8,N=2,device_name=NVIDIA_L4.json"
    put(tmp_path / "a" / name, {"triton_version": "3.6.0", "16": KNOBS})
    put(tmp_path / "triton_3_5_1" / name, {"16": CUTE})
    put(tmp_path / "z" / name, {"16": KNOBS})
    assert [dict(entry.evidence) for entry in entries(tmp_path)] == [
        {"triton_version": "3.6.0"}, {"triton_version": "3.5.1"}, {},
    ]  # fmt: skip
    assert entries(tmp_path)[1].knobs == CUTE


def test_the_nested_keys_of_lora_files_are_fields(tmp_path: Path) -> None:
    path = put(tmp_path / "NVIDIA_L4_EXPAND_TRUE.json", {"4": {"1": {"16": {"64": {"128": KNOBS}}}}})
    (entry,) = entries(path)
    assert dict(entry.fields) == {
        "op": "expand", "add_inputs": True, "max_loras": 4, "num_slices": 1, "M": 16, "K": 64, "N": 128,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"16": {"BLOCK": [1]}}, "16: BLOCK: expected a number"),
        ({"x": KNOBS}, "expected whole numbers as keys"),
        ({"16": {}}, "16: expected an object with a config's knobs"),
        ({"16": 3}, "16: expected an object with a config's knobs"),
        ([KNOBS], "expected an object of configs"),
        ({"triton_version": 3, "16": KNOBS}, "triton_version: expected a text"),
        ("{", "Expected JSON"),
        ('{"16": {"BLOCK": NaN}}', "Expected a canonical value"),
        ('{"16": {"BLOCK": 1}, "16": {"BLOCK": 2}}', "A key occurs twice"),
    ],
)
def test_each_fault_is_named_with_its_file_and_key(tmp_path: Path, content: Any, reason: str) -> None:
    path = put(tmp_path / "E=8,N=2,device_name=NVIDIA_L4.json", content)
    (rejection,) = rejections(path)
    assert f"{rejection.place}: {rejection.reason}".startswith(f"{path}: {reason}")


def test_a_name_without_a_device_and_a_file_of_another_kind_are_one_fault_each(tmp_path: Path) -> None:
    (entry,) = entries(put(tmp_path / "E=8,N=2,device_name=,dtype=bf16.json", {"16": KNOBS}))
    assert entry.device == "unnamed"
    other = put(tmp_path / "a" / "world=16,H=7168,device_name=NVIDIA_GB300.json", {"source": 1, "configs": {}})
    assert [one.reason for one in rejections(other)] == ["expected whole numbers as keys, got source, configs"]
    put(tmp_path / "b" / "lora_expand,K=1024,R=64,device=NVIDIA_H200.json", {})
    assert list(read(tmp_path / "b")) == []


def test_a_fault_spoils_its_own_key_only(tmp_path: Path) -> None:
    path = put(tmp_path / "E=8,N=2,device_name=NVIDIA_L4.json", {"16": KNOBS, "x": KNOBS, "32": KNOBS})
    assert [type(one).__name__ for one in read(path)] == ["Entry", "Rejection", "Entry"]


def test_triton_s_cache_file_gives_its_fastest_config_and_all_times(tmp_path: Path) -> None:
    key = [4096, 1024, "torch.float16", "torch.float32"]
    content = autotune(key, {64: [0.5, 0.4, 0.6], 128: [0.25, 0.2, 0.3], 256: INFINITE})
    path = put(tmp_path / "ABC" / "matmul.autotune.json", content)
    (entry,) = entries(path, "M", "N")
    assert (entry.function, entry.device, entry.knobs["BLOCK"]) == ("matmul", None, 128)
    assert dict(entry.fields) == {"M": 4096, "N": 1024, "dtypes": "float16,float32"}
    assert entry.evidence["times_ms"] == [0.25, 0.2, 0.3]
    assert [times for _, times in entry.evidence["timings"]] == [[0.5, 0.4, 0.6], [0.25, 0.2, 0.3], None]


@pytest.mark.parametrize(
    ("content", "keys", "reason"),
    [
        (autotune([1, 2], {1: 0.1}), ("M",), "no name for 2 in the key: name the key's arguments with --keys"),
        (autotune([1], {1: 0.1}), ("M", "N"), "expected 2 values in the key (M, N), got 1"),
        (autotune([1], {1: INFINITE}), ("M",), "no config of the file has a time"),
        (autotune([[1]], {1: 0.1}), ("M",), "M: expected a number"),
        ({"key": [1]}, ("M",), "expected the list `configs_timings`"),
        ({"key": [1], "configs_timings": [[{"BLOCK": 1}, [0.1]]]}, ("M",), "expected a config with kwargs"),
        ({"key": [1], "configs_timings": [[{"kwargs": {}}, ["x"]]]}, ("M",), "expected times in milliseconds"),
        ({"key": [1], "configs_timings": [3]}, ("M",), "expected pairs"),
        ([], (), "expected an object with the list `key`"),
    ],
)
def test_faults_of_triton_s_cache_files_are_named(tmp_path: Path, content: Any, keys: Any, reason: str) -> None:
    (rejection,) = rejections(put(tmp_path / "k.autotune.json", content), *keys)
    assert rejection.reason.startswith(reason)


def test_dejavu_s_files_have_device_and_versions_in_their_path(tmp_path: Path) -> None:
    put(tmp_path / DEJAVU_FOLDER / "cache.json", DEJAVU)
    (entry,) = entries(tmp_path)
    assert (entry.device, entry.function) == ("NVIDIA_L4", "matmul")
    assert dict(entry.fields) == {"M": 32, "N": 128, "dtypes": "float16"}
    assert dict(entry.knobs) == {
        "BLOCK": 128, "SPLIT": True, "num_warps": 4, "num_ctas": 1, "num_stages": 1, "maxnreg": None,
    }  # fmt: skip
    assert dict(entry.evidence) == {
        "dejavu_version": "0.7", "triton_version": "3.2.0", "cuda_version": "12.4", "times_ms": [0.012, 0.011, 0.013],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"keys": None}, "expected the list `keys`"),
        ({"cache": []}, "expected an object with `cache`"),
        ({"cache": {"__import__('os')": "BLOCK: 1"}}, "expected a tuple of plain values"),
        ({"cache": {"(1,)": "BLOCK: 1"}}, "expected a tuple of at least 2 plain values"),
        ({"cache": {"(1, 2, 3)": "BLOCK: 1"}}, "expected dtypes after the 2 values"),
        ({"cache": {"(1, 2)": "BLOCK=1"}}, "expected `name: value`"),
        ({"cache": {"(1, 2)": 3}}, "expected a config as text"),
    ],
)
def test_faults_of_dejavu_s_files_are_named(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    put(tmp_path / DEJAVU_FOLDER / "cache.json", {**DEJAVU, **change})
    (rejection,) = rejections(tmp_path)
    assert rejection.reason.startswith(reason)


CONFIG = {"kwargs": {"BK": 64}, "num_warps": 8, "num_stages": 2, "note": "from the converter"}


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (CONFIG, [{}]),
        ({"best_config": CONFIG}, [{}]),
        ({"0f3a": {"key": [64, "torch.bfloat16"], "config": CONFIG}}, [{"K": 64, "dtypes": "bfloat16"}]),
        ([{"key": [64], "config": CONFIG}, {"key": [128], "config": CONFIG}], [{"K": 64}, {"K": 128}]),
        ({"entries": [{"key": [64], **CONFIG}]}, [{"K": 64}]),
    ],
)
def test_fla_s_files_have_the_device_as_folder(tmp_path: Path, content: Any, fields: list[dict[str, Any]]) -> None:
    put(tmp_path / "NVIDIA_H100_80GB_HBM3" / "chunk_fwd_kernel.json", content)
    found = entries(tmp_path, *(("K",) if any(fields) else ()))
    assert [dict(entry.fields) for entry in found] == fields
    assert {(entry.device, entry.function) for entry in found} == {("NVIDIA_H100_80GB_HBM3", "chunk_fwd_kernel")}
    assert [dict(entry.knobs) for entry in found] == [{"BK": 64, "num_warps": 8, "num_stages": 2}] * len(fields)


def test_a_copy_of_triton_s_file_in_fla_s_folder_keeps_its_times(tmp_path: Path) -> None:
    put(tmp_path / "NVIDIA_L4" / "k.json", autotune([64], {32: 0.5, 64: 0.25}))
    (entry,) = entries(tmp_path, "K")
    assert (entry.tool, entry.knobs["BLOCK"], len(entry.evidence["timings"])) == ("fla", 64, 2)
    (rejection,) = rejections(put(tmp_path / "NVIDIA_L4" / "l.json", {"a": 1}))
    assert rejection.reason == "no config with kwargs is in the file"


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_kernel_tuner_s_cache_is_read_also_without_its_closing_brackets(tmp_path: Path, cut: int) -> None:
    text = json.dumps(KERNEL_TUNER)
    text = text[: len(text) - cut] + ("," if cut == 2 else "") if cut != 1 else text
    (entry,) = entries(put(tmp_path / "matmul_L4_cache.json", text))
    assert (entry.device, entry.function, dict(entry.knobs)) == ("NVIDIA L4", "matmul", {"BLOCK": 128})
    assert dict(entry.fields) == {"problem_size": "[1024, 8]"}
    assert len(entry.evidence["timings"]) == 2


def test_other_files_of_a_folder_are_left_out_and_a_named_one_is_refused(tmp_path: Path) -> None:
    other = put(tmp_path / "kernels" / "matmul.json", {"name": "matmul", "num_warps": 4})
    put(tmp_path / "kernels" / "matmul.ttir", "module {}")
    os.mkfifo(tmp_path / "kernels" / "E=8,N=2,device_name=NVIDIA_L4.json")
    assert list(read(tmp_path)) == []
    (rejection,) = rejections(other)
    assert rejection.reason == "the file's name is none of vLLM's, SGLang's or Hugging Face's"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "E=8,N=2,device_name=NVIDIA_L4.json"
    path.write_bytes(b"\xff\xfe")
    assert rejections(path)[0].reason == "not UTF-8: invalid start byte at byte 1"
