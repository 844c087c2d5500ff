"""Exports that other tools read: vLLM's, SGLang's and Hugging Face's files, T4, Kernel Tuner's cache; round trips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, put
from tests.store.foreign.t4_schema import T4_SCHEMA
from tests.store.samples import HASH, sweep, trial
from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep, TrialStatus
from tunedb.store import open_store

H200_NVL = Device("NVIDIA H200 NVL", "cuda", "sm_90", 132)
VLLM = "E={E},N={N},device_name={device},dtype={dtype}.json"


def moe(rows: int, block: int, **changes: Any) -> Sweep:
    """A tuned sweep of a mixture of experts."""
    config = Config.of(BLOCK_M=block, num_warps=4, num_stages=3)
    facts = {"E": 8, "N": 3584, "M": rows, "dtype": "fp8_w8a8", **changes.pop("facts", {})}
    trials = (trial(config=config), trial(config=Config.of(BLOCK_M=block + 1, num_warps=4, num_stages=3), time_us=14.0))
    values = {"problem": Problem.of("moe", **facts), "config": config, "trials": trials, **changes}
    return sweep(**values)


def exported(cli: Cli, folder: Path, *words: object, layout: str = VLLM) -> dict[str, Any]:
    """The files of an export of json-configs, by their paths in the folder."""
    answer = cli("export", "-o", folder, "--format", "json-configs", "--layout", layout, "--rows", "M", *words)
    assert answer.code == 0, answer.err
    return {str(path.relative_to(folder)): json.loads(path.read_text()) for path in sorted(folder.rglob("*.json"))}


def test_winners_become_the_files_that_vllm_reads(cli: Cli, tmp_path: Path) -> None:
    put(moe(16, 32), moe(2048, 128), moe(1, 16, facts={"dtype": None}), moe(64, 64, facts={"E": 16}))
    files = exported(cli, tmp_path / "out", "--map", "BLOCK_M=BLOCK_SIZE_M")
    knobs = {"num_warps": 4, "num_stages": 3}
    assert files == {
        "E=8,N=3584,device_name=NVIDIA_H200,dtype=fp8_w8a8.json": {
            "16": {"BLOCK_SIZE_M": 32, **knobs}, "2048": {"BLOCK_SIZE_M": 128, **knobs},
        },
        "E=8,N=3584,device_name=NVIDIA_H200.json": {"1": {"BLOCK_SIZE_M": 16, **knobs}},
        "E=16,N=3584,device_name=NVIDIA_H200,dtype=fp8_w8a8.json": {"64": {"BLOCK_SIZE_M": 64, **knobs}},
    }  # fmt: skip
    text = (tmp_path / "out" / "E=8,N=3584,device_name=NVIDIA_H200.json").read_text()
    assert text.startswith('{\n    "1": {\n        "BLOCK_SIZE_M": 16,')
    assert text.endswith("}\n")


def test_what_the_tools_do_differently_is_in_the_layout_or_an_option(cli: Cli, tmp_path: Path) -> None:
    put(moe(16, 32, facts={"n": 128, "k": 64}, device=H200_NVL))
    sglang = "triton_{triton}/E={E},N={N},device_name={device},block_shape=[{n}, {k}].json"
    assert list(exported(cli, tmp_path / "a", layout=sglang)) == [
        "triton_3_8_0/E=8,N=3584,device_name=NVIDIA_H200_NVL,block_shape=[128, 64].json"
    ]
    (name, content), *_ = exported(cli, tmp_path / "b", "--fold-h200", "--triton-version").items()
    assert name == "E=8,N=3584,device_name=NVIDIA_H200,dtype=fp8_w8a8.json"
    assert content["triton_version"] == "3.8.0"
    assert list(exported(cli, tmp_path / "c", "--map", "N=width", layout="W={width},device_name={device}.json")) == [
        "W=3584,device_name=NVIDIA_H200_NVL.json"
    ]


def test_of_problems_that_the_layout_can_t_tell_apart_the_last_is_taken_and_that_is_said(
    cli: Cli, tmp_path: Path
) -> None:
    older, newer = moe(16, 32, facts={"layout": "rows"}), moe(16, 64, facts={"layout": "general"})
    put(older, sweep(**{**{name: getattr(newer, name) for name in ("problem", "config", "trials")},
                        "finished": older.finished.replace(year=2027)}))  # type: ignore[union-attr]  # fmt: skip
    files = exported(cli, tmp_path / "out")
    assert [content["16"]["BLOCK_M"] for content in files.values()] == [64]
    answer = cli("export", "-o", tmp_path / "x", "--format", "json-configs", "--layout", VLLM, "--rows", "M")
    assert "The layout leaves out layout:" in answer.err
    assert "Left out: 1." in answer.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--layout", VLLM), "needs --layout and --rows"),
        (("--layout", "../{E}.json", "--rows", "M"), "expected a relative path that ends in .json"),
        (("--layout", "/tmp/{E}.json", "--rows", "M"), "expected a relative path that ends in .json"),
        (("--layout", "{E.json", "--rows", "M"), "expected fields such as {device}"),
        (("--layout", "{Q}.json", "--rows", "M"), "is called Q. There are: E, M, N, dtype"),
        (("--layout", "{E}.json", "--rows", "dtype"), "a whole number, got dtype='fp8_w8a8'"),
        (("--layout", "{E}.json", "--rows", "M"), "would share a file. Name one with --device"),
        (("--layout", "{E}-{device}.json", "--rows", "M", "--fold-h200"), "would share a file. Name one with --device"),
    ],
)
def test_what_can_t_be_written_is_said(cli: Cli, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    put(moe(16, 32), moe(16, 32, device=H200_NVL))
    answer = cli("export", "-o", tmp_path / "out", "--format", "json-configs", *words)
    assert (answer.code, message in answer.err) == (2, True), answer.err
    assert not (tmp_path / "out").exists()


def test_options_of_one_format_are_refused_by_the_others(cli: Cli, tmp_path: Path) -> None:
    put(moe(16, 32))
    for words in (("--layout", VLLM), ("--format", "jsonl", "--cover", "1.05"), ("--format", "t4", "--rows", "M")):
        answer = cli("export", "-o", tmp_path / "out", *words)
        assert answer.code == 2
        assert "needs --format" in answer.err
    assert cli("export", "-o", "-", "--format", "t4").code == 2
    assert cli("export", "-o", tmp_path / "x", "--format", "t4", "--kernel", "nobody").code == 1


def test_a_fact_of_someone_s_store_leads_to_no_other_folder(cli: Cli, tmp_path: Path) -> None:
    put(moe(16, 32, facts={"dtype": "../../x"}))
    assert [*exported(cli, tmp_path / "a" / "out", layout="{dtype}/{dtype}.json")] == ["__.._x/__.._x.json"]


def test_what_is_exported_comes_back_as_hints(cli: Cli, tmp_path: Path) -> None:
    winners = [moe(16, 32), moe(2048, 128), moe(1, 16, facts={"dtype": None})]
    put(*winners)
    exported(cli, tmp_path / "out")
    other = tmp_path / "other.db"
    answer = cli("import", "--as-hints", tmp_path / "out", "--kernel", "moe", "--store", other, "--format", "json")
    assert (answer.code, answer.json["stored"], answer.json["unknown_device"]) == (0, 3, 0)
    with open_store(str(other)) as store:
        hints = {one.problem.key: one.config for one in store.get_hints("moe", "nvidia_h200")}
        assert list(store.iter_sweeps()) == []
    facts = [{name: value for name, value in one.problem.items() if value is not None} for one in winners]
    assert hints == {Problem.of("moe", **known).key: one.config for known, one in zip(facts, winners, strict=True)}


@pytest.fixture
def whole() -> Sweep:
    """A stored sweep with a trial of each status."""
    configs = [Config.of(BLOCK=2**n, num_warps=4, flag=None if n % 2 else True) for n in range(len(TrialStatus))]
    trials = [
        trial(config=config, status=str(status), time_us=12.5 if status == "ok" else None, p20_us=None, p80_us=None,
              compile_s=0.5, error=None if status == "ok" else "no")
        for config, status in zip(configs, TrialStatus, strict=True)
    ]  # fmt: skip
    stored = sweep(1, config=configs[0], trials=tuple(trials), kernel_hash=HASH)
    put(stored)
    return stored


def test_t4_results_are_as_their_schema_says(cli: Cli, whole: Sweep, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    assert cli("export", "-o", tmp_path / "t4", "--format", "t4").code == 0
    (path,) = (tmp_path / "t4").iterdir()
    assert path.name == f"avg_pool1d-NVIDIA_H200-{whole.problem.digest[:12]}.json"
    content = json.loads(path.read_text())
    jsonschema.validate(content, T4_SCHEMA)
    results = {one["configuration"]["BLOCK"]: one for one in content["results"]}
    assert [results[2**n]["invalidity"] for n in range(len(results))] == [
        "correct", "correctness", "compile", "runtime", "runtime", "timeout", "constraints",
    ]  # fmt: skip
    assert results[1]["measurements"][0] == {"name": "time", "value": 0.0125, "unit": "milliseconds"}
    assert results[1]["times"]["compilation"] == 500.0
    assert [results[2]["correctness"], results[1]["correctness"]] == [0, 1]


def test_kernel_tuner_s_cache_comes_back_as_a_hint_with_all_times(cli: Cli, whole: Sweep, tmp_path: Path) -> None:
    assert cli("export", "-o", tmp_path / "kt", "--format", "kernel-tuner-cache").code == 0
    (path,) = (tmp_path / "kt").iterdir()
    content = json.loads(path.read_text())
    assert content["tune_params_keys"] == ["BLOCK", "flag", "num_warps"]
    assert content["tune_params"] == {"BLOCK": [1, 2, 4, 8, 16, 32, 64], "flag": [None, True], "num_warps": [4]}
    assert content["cache"]["1,True,4"]["time"] == 0.0125
    assert [content["cache"][key]["time"] for key in ("2,None,4", "4,True,4", "8,None,4")] == [
        "InvalidConfig", "CompilationFailedConfig", "RuntimeFailedConfig",
    ]  # fmt: skip
    other = tmp_path / "other.db"
    answer = cli("import", "--as-hints", path, "--store", other, "--format", "json")
    assert answer.json["stored"] == 1, answer.err
    with open_store(str(other)) as store:
        (hint,) = store.hints.get_all("avg_pool1d", "nvidia_h200")
    assert (hint.config, hint.problem.plain()) == (whole.config, whole.problem.plain())
    assert json.loads(hint.evidence)["times_ms"] == [0.0125]


def test_two_devices_of_one_name_share_no_file(cli: Cli, whole: Sweep, tmp_path: Path) -> None:
    put(sweep(1, device=Device("NVIDIA H200", "cuda", "sm_90", 66)))
    answer = cli("export", "-o", tmp_path / "t4", "--format", "t4")
    assert (answer.code, "would share a file. Name one with --device." in answer.err) == (2, True)


def test_an_export_again_gives_the_same_bytes(cli: Cli, whole: Sweep, tmp_path: Path) -> None:
    for format in ("t4", "kernel-tuner-cache"):
        for place in ("a", "b"):
            cli("export", "-o", tmp_path / format / place, "--format", format)
        first, second = (next((tmp_path / format / place).iterdir()).read_bytes() for place in ("a", "b"))
        assert first == second
