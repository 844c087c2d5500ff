"""Calls are recorded once, in a form from which another process compiles; mode strict-compile names what is missing."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.tools.tensor_descriptor import TensorDescriptor

import tunedb
from tests.adoption import precompiled_program as program
from tests.cli.conftest import Cli, cli, run_apart  # noqa: F401 - cli is a fixture
from tests.decorator.kernels import configs
from tests.decorator.stub import FIRST, GPU, StubDriver
from tunedb.adoption.recorded_calls import start_recording
from tunedb.adoption.recorded_lines import Line, kernels_of, line_of
from tunedb.cli.precompile_list import default_choice
from tunedb.core.canonical import parse_json
from tunedb.decorator.recording import call_log
from tunedb.decorator.recording.argument_text import decode, encode
from tunedb.kernels.avg_pool import FORWARD
from tunedb.kernels.avg_pool.jit import avg_pool1d_forward_kernel
from tunedb.kernels.avg_pool.launch import empty_output, forward_launch
from tunedb.kernels.avg_pool.problem import Pool
from tunedb.kernels.geometry import Window
from tunedb.runtime.compile_job import CompileJob

ADA = dataclasses.replace(GPU, name="Ada", arch="sm_89")


_indices = itertools.count(FIRST + 1000)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stub: StubDriver) -> Iterator[Path]:
    """The file that calls are recorded in, in mode record."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    monkeypatch.setattr(knobs.compilation, "listener", None)
    stub.index = next(_indices)  # Triton has compiled nothing for it
    with tunedb.using(mode="record", record_calls=tmp_path / "calls.jsonl"):
        yield tmp_path / "calls.jsonl"
    program.decorated.cache.clear()


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def read(path: Path) -> list[Line]:
    return [line for line in map(line_of, lines_of(path)) if line is not None]


def test_a_call_is_recorded_once_for_each_problem_and_specialization(calls: Path) -> None:
    for n in (64, 64, 48, 50, 50):
        program.call_decorated(n)
    assert [line["call"]["arguments"]["n"] for line in lines_of(calls)] == [64, 48, 50]
    call_log._forget()  # as a second process begins
    program.decorated.configs  # noqa: B018 - so that the next call has no plan
    program.call_decorated(50)
    assert len(lines_of(calls)) == 3
    line = lines_of(calls)[0]
    assert line["call"]["function"] == "tests.adoption.precompiled_program:decorated"
    assert line["call"]["arguments"]["x"] == {"tensor": ["float32", [64], [1], 0]}
    assert line["call"]["arguments"]["WHAT"] == {"function": "tests.adoption.precompiled_program:twice"}
    assert json.loads(line["device"])["name"] == GPU.name


def test_the_recorded_configs_count_and_another_source_text_is_said(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.call_decorated()
    (line,) = read(calls)
    before = list(program.decorated.configs)
    program.decorated.configs = configs(32, 128)  # as a module may define others without a GPU
    found = [*kernels_of([line], default_choice, GPU, GPUTarget("cuda", 90, 32))]
    found += kernels_of([dataclasses.replace(line, source="other")], default_choice, GPU, GPUTarget("cuda", 90, 32))
    program.decorated.configs = before
    assert [kernel.config["BLOCK"] for kernel in found] == [16, 16]
    assert [kernel.note.partition(",")[0] for kernel in found] == ["", "its source text"]


def test_what_can_not_be_recorded_is_said_and_the_call_goes_on(calls: Path, records: pytest.LogCaptureFixture) -> None:
    call_log.record("call", program.plain, "key", lambda: {"arguments": call_log.encode(object())})
    assert [record.getMessage() for record in records.records] == [
        "plain: a call is not recorded: a object can't be recorded"
    ]
    assert lines_of(calls) == []
    with tunedb.using(record_calls=calls / "in" / "no" / "folder"):
        program.call_decorated(96)


def test_a_kernel_that_tunedb_does_not_serve_is_recorded_as_it_is_compiled(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEDB_RECORD_CALLS", "")  # is put back at the end
    before = []
    knobs.compilation.listener = lambda **event: before.append(event)
    start_recording(calls)
    start_recording(calls)
    program.call_plain(64)
    program.call_decorated()
    assert [line.kind for line in read(calls)] == ["launch", "launch", "call"]
    assert len(before) == 2
    target = GPUTarget("cuda", 90, 32)
    kernels = list(kernels_of(read(calls), default_choice, GPU, target))
    assert [kernel.name.rpartition(".")[2] for kernel in kernels] == ["plain", "decorated"]
    assert [kernel.source for kernel in kernels] == ["recorded", "default"]
    assert kernels[0].job is not None
    assert kernels[0].job.options["arch"] == "sm90"
    assert kernels[0].job.constants == {(1,): 64}
    entries = {path.parent for path in Path(knobs.cache.dir).rglob("*.cubin")}
    for kernel in kernels:
        assert kernel.job is not None
        kernel.job.compile()
    assert {path.parent for path in Path(knobs.cache.dir).rglob("*.cubin")} == entries  # under the very same keys


def test_for_another_device_what_triton_derived_is_left_to_it(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDB_RECORD_CALLS", "")
    start_recording(calls)
    program.call_plain(16)
    lines = read(calls)
    (kernel,) = kernels_of(lines, default_choice, ADA, GPUTarget("cuda", 89, 32))
    assert kernel.job is not None
    assert "arch" not in kernel.job.options
    assert kernel.job.compile().metadata.target.arch == 89
    (other,) = kernels_of(lines, default_choice, ADA, GPUTarget("hip", "gfx942", 64))
    assert "recorded on a device of cuda" in other.fault


def test_a_kernel_that_no_other_process_finds_is_said_once(
    calls: Path, monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TUNEDB_RECORD_CALLS", "")
    start_recording(calls)

    @triton.jit
    def hidden(x, BLOCK: tl.constexpr):
        tl.store(x + tl.arange(0, BLOCK), 1.0)

    for block in (16, 32):
        hidden[(1,)](torch.zeros(64), BLOCK=block)
    why = "it is not at the top of its module, where another process would find it"
    assert [record.getMessage() for record in records.records] == [f"hidden: a call is not recorded: {why}"]
    generated = types.ModuleType("generated")  # as torch's compiler makes them
    monkeypatch.setitem(sys.modules, "generated", generated)
    monkeypatch.setattr(program.plain.fn, "__module__", "generated")
    program.call_plain(256)
    assert read(calls) == []


def test_a_call_of_average_pooling_is_compiled_for_the_tensor_that_it_read(calls: Path) -> None:
    window, target = Window(3, 1, 1, False, True), GPUTarget("cuda", 90, 32)
    for x in (torch.zeros(1, 3, 50), torch.zeros(3, 50), torch.zeros(2, 3, 101)[:, :, 1:51]):
        problem = Pool.of_input(x, window).forward_problem()
        call_log.record_problem(FORWARD.name, avg_pool1d_forward_kernel, problem.key, x)
        line = read(calls)[-1]
        (kernel,) = kernels_of([line], default_choice, GPU, target)
        launch = forward_launch(x, empty_output(x, window), window, FORWARD.default(problem, GPU))
        assert kernel.job == CompileJob.of(launch.jit, launch.arguments, launch.keywords, target)
    assert [line.kernel for line in read(calls)] == ["avg_pool1d"] * 3


VALUES = [
    None, True, 3, 2**70, 0.5, -math.inf, "text", (1, ("a", None)), [1, 2], torch.float16, tl.float16,
    tl.constexpr(7), program.twice,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_what_is_written_of_an_argument_is_read_as_itself(value: object) -> None:
    made = decode(parse_json(json.dumps(encode(value))))
    assert type(made) is type(value)
    assert made == value or made.value == value.value  # type: ignore[attr-defined]  # a constexpr compares otherwise


def test_a_tensor_is_read_with_its_facts_and_without_its_memory() -> None:
    base = torch.zeros(40, dtype=torch.float16)
    for tensor in (base, base[1:], base[2:34].reshape(4, 8).T, base[:0]):
        made = decode(json.loads(json.dumps(encode(tensor))))
        assert made.is_meta
        assert (made.shape, made.stride(), made.dtype) == (tensor.shape, tensor.stride(), tensor.dtype)
        assert made.data_ptr() % 16 == tensor.data_ptr() % 16 or not tensor.numel()
    descriptor = TensorDescriptor(base.reshape(5, 8), [5, 8], [8, 1], [1, 8])
    made = decode(encode(descriptor))
    assert (made.shape, made.strides, made.block_shape) == ([5, 8], [8, 1], [1, 8])
    assert decode(encode(triton.reinterpret(base, tl.int16))).dtype == tl.int16
    with pytest.raises(TypeError, match="a object can't be recorded"):
        encode((1, object()))


def test_tunedb_run_records_in_the_program_and_in_its_children(tmp_path: Path) -> None:
    child = "import triton; from tunedb import settings; print(triton.knobs.compilation.listener is not None, " \
        "settings.current().record_calls)"  # fmt: skip
    (tmp_path / "program.py").write_text(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])\n")
    answer = run_apart("-m", "tunedb", "run", "--record", tmp_path / "calls.jsonl", tmp_path / "program.py")
    assert answer.out.split() == ["True", str(tmp_path / "calls.jsonl")], answer.err


def test_a_call_that_would_compile_is_refused_with_what_it_would_compile(calls: Path, stub: StubDriver) -> None:
    program.decorated.cache[64, "torch.float32", "torch.float32"] = program.decorated.configs[1]  # forces it
    with tunedb.using(mode="strict-compile"):
        with pytest.raises(tunedb.CompileRefused) as refused:
            program.call_decorated()
        program.call_plain(128)
    assert len(stub.launches) == 1
    text = str(refused.value)
    assert text.startswith("tests.adoption.precompiled_program.decorated is not compiled for this call")
    assert "x=*fp32 (16 bytes)" in text
    assert "WHAT=twice" in text
    assert "EVEN=True, BLOCK=64; num_warps=4" in text
    program.call_decorated()
    with tunedb.using(mode="strict-compile"):
        program.call_decorated()  # it is compiled now
    assert len(stub.launches) == 3


def write(path: Path, *changes: dict[str, Any]) -> Path:
    """Lines as a call of `decorated` leaves, with changes."""
    line = lines_of(path)[0]
    path.write_text("".join(json.dumps({**line, "call": {**line["call"], **each}}) + "\n" for each in changes))
    return path


def test_lines_that_can_not_be_compiled_fail_alone_with_the_reason(
    calls: Path, tmp_path: Path, cli: Cli  # noqa: F811
) -> None:  # fmt: skip
    program.call_decorated()
    write(
        calls,
        {"function": "no_such_module:kernel", "kernel": "no_such_module.kernel"},
        {"function": "tests.adoption.precompiled_program:gone", "kernel": "gone"},
        {"arguments": {"x": 1}},
        {},
    )
    answer = cli("precompile", "--from", calls, "--device", "Stub", "--dry-run", "--format", "json")
    assert answer.code == 1, answer.err
    assert [row["status"] for row in answer.json] == ["failed", "failed", "failed", "to compile"]
    reasons = [row["reason"] for row in answer.json]
    assert reasons[0] == "ModuleNotFoundError: No module named 'no_such_module'"
    assert "its module has no autotuned kernel gone" in reasons[1]
    assert list(tmp_path.glob("*/tunedb-precompiled.json")) == []


def test_wrong_usage_says_what_to_type(calls: Path, tmp_path: Path, cli: Cli) -> None:  # noqa: F811
    program.call_decorated()
    for arguments, said in (
        (("--from", calls), "Name it: --into FOLDER"),
        (("--from", calls, "--into", tmp_path, "--device", "H900"), "Stub 9000 (sm_90"),
        (("--from", tmp_path / "none", "--into", tmp_path), "Can't read"),
    ):
        answer = cli("precompile", *arguments)
        assert answer.code == 2
        assert said in answer.err
