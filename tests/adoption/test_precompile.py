"""Kernels compiled into a folder without a GPU serve a process that has the folder, and nothing is compiled there."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import triton
from triton import knobs
from triton.backends.compiler import GPUTarget

import tunedb
from tests import forked
from tests.cli.conftest import Cli, cli  # noqa: F401 - a fixture
from tests.decorator.stub import GPU, StubDriver
from tests.store.samples import sweep
from tunedb.adoption.recorded_lines import line_of
from tunedb.core.device import Device
from tunedb.core.problem import Config
from tunedb.core.source_hash import kernel_hash
from tunedb.core.sweep import COUNTED_SOURCES
from tunedb.decorator.configs import stored_form
from tunedb.kernels import avg_pool1d
from tunedb.kernels.avg_pool import FORWARD
from tunedb.runtime import compile_cache, current_device, precompiled_folder
from tunedb.runtime.precompiled_folder import MANIFEST
from tunedb.store import Store

POOL = {"shape": [3, 512], "kernel_size": 4, "stride": 4}

# A process on a GPU, or on the stub of one. It says what Triton compiled and launched, and what tunedb logged.
RUN = """
import contextlib, json, logging, sys
from types import SimpleNamespace
import pytest, torch
from triton import knobs
import tunedb
from tests.decorator.stub import stub_gpu
from tests.patience import be_patient

be_patient()

class Said(logging.Handler):
    def emit(self, record): answer["said"].append(record.getMessage())

device, config = sys.argv[1:]
answer = {"hits": [], "compiled": [], "raised": {}, "blocks": {}, "said": []}
logging.getLogger("tunedb").addHandler(Said())

def listen(*, src, cache_hit, **rest):
    answer["hits" if cache_hit else "compiled"].append(src.name)

def attempt(name, work):
    before = len(stub.launches)
    try:
        work()
    except tunedb.MissError as error:
        answer["raised"][name] = str(error)
    if len(stub.launches) > before:
        answer["blocks"][name] = stub.launches[-1][1][-1]

def pool():
    from tunedb.core.problem import Config
    from tunedb.kernels.avg_pool.launch import empty_output, forward_launch
    from tunedb.kernels.geometry import Window
    from tunedb.runtime.loaded_kernel import load
    x, window = torch.zeros(3, 512), Window(4, 4, 0, False, True)
    load(forward_launch(x, empty_output(x, window), window, Config.of(**json.loads(config))))

def pool_on_gpu():
    from tunedb.kernels import avg_pool1d
    x = torch.arange(3 * 512.0, device=device).reshape(3, 512)
    torch.testing.assert_close(avg_pool1d(x, 4, 4), torch.nn.functional.avg_pool1d(x, 4, 4))

real = contextlib.nullcontext(SimpleNamespace(launches=[]))
with stub_gpu(pytest.MonkeyPatch()) if device == "cpu" else real as stub:
    knobs.compilation.listener = listen
    from tests.adoption import precompiled_program as program
    with tunedb.adopt():
        attempt("decorated", lambda: program.call_decorated(device=device))
        attempt("adopted", lambda: program.call_adopted(device=device))
        attempt("pool", pool if device == "cpu" else pool_on_gpu)
        attempt("other", lambda: program.call_decorated(50, device=device))
        attempt("plain", lambda: program.call_plain(device=device))
print(json.dumps(answer))
"""


def run_apart(*arguments: str, **environment: str) -> dict[str, Any]:
    """What a process with these settings says."""
    done = forked.run(["-c", RUN, *arguments], env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Triton's cache for this test, empty."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    return tmp_path / "triton"


def pool_config(device: Device) -> Config:
    return FORWARD.space(FORWARD.problem(POOL), device)[1]


def record(tmp_path: Path, store: Store, where: str, device: Device) -> Path:
    """Record calls on the device, and store winners that are not the defaults."""
    from tests.adoption import precompiled_program as program

    path = tmp_path / "calls.jsonl"
    with tunedb.using(mode="record", record_calls=path), tunedb.adopt():
        for _ in range(2):
            program.call_decorated(device=where)
            program.call_adopted(device=where)
            if where == "cuda":
                avg_pool1d(torch.zeros(3, 512, device=where), 4, 4)
    lines = [line_of(json.loads(line)) for line in path.read_text().splitlines()]
    names = sorted(line.kernel.rpartition(".")[2] for line in lines if line is not None)
    assert names == ["adopted", *(["avg_pool1d"] if where == "cuda" else []), "decorated"]
    winners = [(FORWARD.problem(POOL), FORWARD.hash, pool_config(device))]
    for problem in {count.problem for count in store.usage.get(COUNTED_SOURCES)} - {FORWARD.problem(POOL)}:
        kernel = getattr(program, problem.kernel.rpartition(".")[2])
        winners.append((problem, kernel_hash(kernel.fn), stored_form(kernel.configs[1])))
    for problem, digest, config in winners:
        store.put_sweep(sweep(problem=problem, device=device, kernel_hash=digest, config=config))
    return path


def moved(made: Path) -> Path:
    """The folder in another place; where it was made is nothing any more."""
    shutil.copytree(made, made.with_name("moved"))
    shutil.rmtree(made)
    return made.with_name("moved")


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """For a block; root may write there all the same, so the test compares the folder's content too."""
    paths = [folder, *folder.rglob("*")]
    before = {path: (path.stat().st_mode, path.stat().st_mtime_ns) for path in paths}
    for path in paths:
        path.chmod(path.stat().st_mode & 0o555)
    yield
    for path, (mode, _) in before.items():
        path.chmod(mode)
    paths = [folder, *folder.rglob("*")]
    assert before == {path: (path.stat().st_mode, path.stat().st_mtime_ns) for path in paths}


@pytest.mark.usefixtures("patience")
def test_a_process_with_the_folder_compiles_nothing(
    tmp_path: Path, cache: Path, stub: StubDriver, store: Store, cli: Cli  # noqa: F811
) -> None:  # fmt: skip
    calls, made = record(tmp_path, store, "cpu", GPU), tmp_path / "made"
    into = ("--device", "Stub", "--into", made, "--format", "json")
    answer = cli("precompile", "--from", calls, *into, "--jobs", 1)
    assert answer.code == 0, answer.err
    assert {(row["source"], row["status"]) for row in answer.json} == {("store", "compiled")}
    assert "2 compiled, 0 already there, 0 failed" in answer.err
    assert [row["source"] for row in cli("precompile", "avg_pool1d", *into).json] == ["store"]
    folder = moved(made)
    (tmp_path / "file").touch()
    with read_only(folder):
        answer = run_apart(
            "cpu", json.dumps(pool_config(GPU).plain()), TUNEDB_PRECOMPILED=str(folder), TUNEDB_MODE="strict-compile",
            TRITON_CACHE_DIR=str(tmp_path / "file" / "cache"),  # can't be made: what is not found can't be written
        )  # fmt: skip
    assert answer["hits"] == ["decorated", "adopted", "avg_pool1d_forward_kernel"]
    assert answer["blocks"]["decorated"] == answer["blocks"]["adopted"] == 64
    assert answer["compiled"] == ["plain"]  # tunedb has no part in it
    assert answer["raised"].keys() == {"other"}
    assert [text.partition(" (")[0] for text in answer["said"]] == [
        f"Triton's cache {tmp_path / 'file' / 'cache'} can't be written"
    ]


@pytest.mark.gpu
def test_a_process_on_a_gpu_with_the_folder_compiles_nothing(tmp_path: Path, cache: Path, store: Store) -> None:
    device = current_device.gpu(0)
    calls, made = record(tmp_path, store, "cuda", device), tmp_path / "made"
    for arguments in (["--from", str(calls)], ["avg_pool1d"]):
        done = subprocess.run(
            [sys.executable, "-m", "tunedb", "precompile", *arguments, "--device", device.name, "--into", str(made)],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    folder = moved(made)
    with read_only(folder):
        answer = run_apart(
            "cuda", "{}", TUNEDB_PRECOMPILED=str(folder), TUNEDB_MODE="strict-compile",
            TRITON_CACHE_DIR=str(tmp_path / "empty"),
        )  # fmt: skip
    assert answer["hits"] == ["decorated", "adopted", "avg_pool1d_forward_kernel"]
    assert answer["compiled"] == ["plain"]  # tunedb has no part in it
    assert answer["raised"].keys() == {"other"}
    assert answer["said"] == []


def made_for(folder: Path, **changes: Any) -> Path:
    """A folder with nothing but a manifest, which says that it was made for the stub of a GPU."""
    folder.mkdir()
    target = GPUTarget("cuda", 90, 32)
    function = "tests.adoption.precompiled_program.decorated"
    entries = {"KEY": {"kernel": "k", "function": function, "source": "of another text"}}
    words = ["tunedb", "precompile", "--device", "Stub 9000"]
    precompiled_folder.write(folder, GPU, target, entries, version="0", words=words)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["made_for"][0].update(changes)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def warnings(records: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in records.records if record.levelname == "WARNING"]


OTHER = dataclasses.replace(GPU, name="Stub 8000").key


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"device": OTHER}, f"were compiled for Stub 8000 (sm_90) with Triton {triton.__version__}; those"),
        ({"triton": "2.0"}, "were compiled for Triton 2.0; those"),
        ({"build": "other"}, "were compiled for another build of that Triton; those"),
        ({"environment": {"DISABLE_LLVM_OPT": "true"}}, "compiled for the environment {'DISABLE_LLVM_OPT': 'true'}"),
        ({"compiler": "ptxas 9"}, "were compiled for another assembler; those"),
    ],
)
def test_a_folder_for_another_device_or_triton_is_said_once_with_the_command_that_makes_it_again(
    changes: dict[str, Any], said: str | None, tmp_path: Path, cache: Path, stub: StubDriver,
    records: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    from tests.adoption import precompiled_program as program

    folder = made_for(tmp_path / "a folder", **changes)
    for _ in range(2):
        with tunedb.using(mode="read", precompiled=folder):
            program.call_decorated(48)
    found = [text for text in warnings(records) if "were compiled for" in text]
    assert len(found) == (0 if said is None else 1)
    if said is not None:
        assert said in found[0]
        assert found[0].endswith(f"run: tunedb precompile --device 'Stub 9000' --into '{folder}'")


def test_a_folder_that_is_none_is_said_and_the_kernel_is_compiled(
    tmp_path: Path, cache: Path, stub: StubDriver, records: pytest.LogCaptureFixture
) -> None:
    from tests.adoption import precompiled_program as program

    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / MANIFEST).write_text("[")
    with tunedb.using(mode="read", precompiled=[tmp_path / "none", tmp_path / "damaged"]):
        program.call_decorated(80)
    assert len(stub.launches) == 1
    first, second = (text for text in warnings(records) if "precompiled kernels" in text)
    assert first == f"There are no precompiled kernels in {tmp_path / 'none'}: kernels are compiled. Run: tunedb " \
        f"precompile --into {tmp_path / 'none'}"  # fmt: skip
    assert second.startswith(f"The precompiled kernels in {tmp_path / 'damaged'} can't be used: ")


def test_a_refused_compile_says_if_the_source_text_has_changed_since_the_folder_was_made(
    tmp_path: Path, cache: Path, stub: StubDriver
) -> None:
    from tests.adoption import precompiled_program as program

    folder, kernel = made_for(tmp_path / "made"), "tests.adoption.precompiled_program.decorated"
    program.decorated.cache[144, "torch.float32", "torch.float32"] = program.decorated.configs[0]
    stub.index += 5000  # for which nothing is compiled
    with tunedb.using(mode="strict-compile", precompiled=folder), pytest.raises(tunedb.CompileRefused) as refused:
        program.call_decorated(144)
    program.decorated.cache.clear()
    assert f"The source text of {kernel} has changed, or has moved in its file, since {folder} was made" in str(
        refused.value
    )


def test_triton_has_its_own_cache_again_once_no_setting_needs_ours(
    tmp_path: Path, cache: Path, stub: StubDriver
) -> None:
    from tests.adoption import precompiled_program as program

    with tunedb.using(mode="read", precompiled=made_for(tmp_path / "made")):
        program.call_decorated(112)
        assert knobs.cache.manager_class is compile_cache.FoldersFirst
    with tunedb.using(mode="record"):
        program.call_decorated(128)
    assert knobs.cache.manager_class is None
