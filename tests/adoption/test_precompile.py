"""Kernels compiled into a folder without a GPU serve a process that has the folder, and nothing is compiled there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tunedb
from tests.cli.conftest import Cli, cli  # noqa: F401 - a fixture
from tests.decorator.stub import GPU, StubDriver
from tests.store.samples import sweep
from tunedb.core.problem import Config, Problem
from tunedb.core.source_hash import kernel_hash
from tunedb.core.sweep import COUNTED_SOURCES
from tunedb.decorator.configs import stored_form
from tunedb.kernels.avg_pool import FORWARD
from tunedb.store import Store

POOL = {"shape": [3, 500], "kernel_size": 4, "stride": 2}

# A process on the stub of the GPU. It says what Triton compiled and launched, and what tunedb logged.
RUN = """
import json, logging, sys
import pytest
from triton import knobs
import tunedb
from tests.decorator.stub import stub_gpu

class Said(logging.Handler):
    def emit(self, record): answer["said"].append(record.getMessage())

answer = {"hits": [], "compiled": [], "raised": {}, "blocks": {}, "said": []}
logging.getLogger("tunedb").addHandler(Said())

def listen(*, src, cache_hit, **rest):
    answer["hits" if cache_hit else "compiled"].append(src.name)

def attempt(name, work):
    before = len(stub.launches)
    try:
        work()
    except tunedb.MissError as error:
        answer["raised"][name] = [type(error).__name__, str(error)]
    if len(stub.launches) > before:
        answer["blocks"][name] = stub.launches[-1][1][-1]

def pool():
    import torch
    from tunedb.core.problem import Config
    from tunedb.kernels.avg_pool import FORWARD
    from tunedb.kernels.avg_pool.launch import empty_output, forward_launch
    from tunedb.kernels.geometry import Window
    from tunedb.runtime.loaded_kernel import load
    x, window = torch.zeros(3, 500), Window(4, 2, 0, False, True)
    load(forward_launch(x, empty_output(x, window), window, Config.of(**json.loads(sys.argv[1]))))

with stub_gpu(pytest.MonkeyPatch()) as stub:
    knobs.compilation.listener = listen
    from tests.adoption import precompiled_program as program
    with tunedb.adopt():
        BODY
print(json.dumps(answer))
"""


def run_apart(body: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """What a process with these settings says."""
    done = subprocess.run(
        [sys.executable, "-c", RUN.replace("BODY", body), *arguments],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Triton's cache for this test, empty."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    return tmp_path / "triton"


def put_winner(store: Store, problem: Problem, kernel_hash: str, config: Config) -> None:
    store.put_sweep(sweep(problem=problem, device=GPU, kernel_hash=kernel_hash, config=config))


def as_read_only(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


@pytest.fixture
def precompiled(cache: Path, tmp_path: Path, stub: StubDriver, store: Store, cli: Cli) -> Path:  # noqa: F811
    """A folder that was compiled from recorded calls, moved, and made read-only."""
    from tests.adoption import precompiled_program as program

    with tunedb.using(mode="record", record_calls=tmp_path / "calls.jsonl"), tunedb.adopt():
        for _ in range(2):
            program.call_decorated()
            program.call_adopted()
    lines = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert sorted(line["call"]["kernel"].rpartition(".")[2] for line in lines) == ["adopted", "decorated"]
    for problem in {count.problem for count in store.usage.get(COUNTED_SOURCES)}:
        kernel = getattr(program, problem.kernel.rpartition(".")[2])
        put_winner(store, problem, kernel_hash(kernel.fn), stored_form(kernel.configs[1]))
    put_winner(store, FORWARD.problem(POOL), FORWARD.hash, FORWARD.space(FORWARD.problem(POOL), GPU)[1])
    made = tmp_path / "made"
    answer = cli(
        "precompile", "--from", tmp_path / "calls.jsonl", "--device", "Stub", "--into", made, "--format", "json"
    )
    assert answer.code == 0, answer.err
    assert {(row["source"], row["status"]) for row in answer.json} == {("store", "compiled")}
    assert "2 compiled, 0 already there, 0 failed" in answer.err
    answer = cli("precompile", "avg_pool1d", "--into", made, "--format", "json", "--device", "Stub")
    assert {row["source"] for row in answer.json} == {"store"}
    moved = tmp_path / "moved"
    shutil.copytree(made, moved)
    shutil.rmtree(made)
    as_read_only(moved)
    return moved


def test_a_process_with_the_folder_compiles_nothing(precompiled: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    files = sorted(precompiled.rglob("*"))
    answer = run_apart(
        "attempt('decorated', program.call_decorated)\n"
        "        attempt('adopted', program.call_adopted)\n"
        "        attempt('pool', pool)\n"
        "        attempt('other', lambda: program.call_decorated(50))\n"
        "        attempt('plain', program.call_plain)",
        json.dumps(FORWARD.space(FORWARD.problem(POOL), GPU)[1].plain()),
        TUNEDB_PRECOMPILED=str(precompiled), TUNEDB_MODE="strict-compile",
        TRITON_CACHE_DIR=str(tmp_path / "file" / "cache"),  # can't be made: what is not found can't be written
    )  # fmt: skip
    assert answer["hits"] == ["decorated", "adopted", "avg_pool1d_forward_kernel"]
    assert answer["blocks"]["decorated"] == answer["blocks"]["adopted"] == 64
    assert answer["compiled"] == ["plain"]  # tunedb has no part in it
    assert answer["raised"].keys() == {"other"}
    assert sorted(precompiled.rglob("*")) == files
