"""Compiling on several threads, and without tensors, gives what one thread with them gives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import JITFunction, driver

from benchmarks.offline import Binary, compile_for
from tests.kernels.compiled.test_candidates import RTX_4090, SEED, launch_of
from tunedb.core.problem import Config
from tunedb.kernels.avg_pool import BACKWARD, FORWARD


def test_threads_compile_what_one_thread_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = FORWARD.problem(SEED)
    space = FORWARD.space(problem, RTX_4090)[:3]

    def compiled(config: Config) -> Binary:
        return compile_for(launch_of(FORWARD, problem, config), 89)

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "threads"))
    with ThreadPoolExecutor(3) as pool:
        beside = list(pool.map(compiled, space))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "alone"))
    alone = [compiled(config) for config in space]
    assert [one.asm["cubin"] for one in beside] == [one.asm["cubin"] for one in alone]
    assert [one.resources for one in beside] == [one.resources for one in alone]
    assert len(list((tmp_path / "threads").iterdir())) >= len(space)  # the cache really was empty


class Driver:
    """As much of a driver as compiling takes, of a device that nobody has."""

    def get_current_device(self) -> int:
        return 99

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)


def test_what_was_prepared_without_tensors_is_not_compiled_again_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    compiles: list[object] = []
    compile_once = JITFunction._do_compile

    def counting(self: JITFunction, *arguments: Any, **keywords: Any) -> Any:
        compiles.append(arguments)
        return compile_once(self, *arguments, **keywords)

    monkeypatch.setattr(JITFunction, "_do_compile", counting)
    problem = FORWARD.problem({"shape": [3, 510], "kernel_size": 3, "stride": 2})
    made, config = FORWARD.workload(problem, -1), FORWARD.default(problem, RTX_4090)
    monkeypatch.setattr(driver, "_active", Driver())
    made.prepare(config)
    launch = made.launch(config)
    launch.jit.warmup(*launch.arguments, grid=launch.grid, **launch.keywords)
    del launch.jit.device_caches[99]
    assert len(compiles) == 1


@pytest.mark.parametrize("kernel", [FORWARD, BACKWARD])
@pytest.mark.parametrize("instrumented", [False, True])
def test_a_job_compiles_into_the_cache_just_what_a_launch_looks_for(
    kernel: Any, instrumented: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "_active", Driver())
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    if instrumented:
        monkeypatch.setattr(knobs.compilation, "instrumentation_mode", "consan")
    problem = kernel.problem({"shape": [3, 510], "kernel_size": 3, "stride": 2})
    made = kernel.workload(problem, -1)
    for config in kernel.space(problem, RTX_4090)[:2]:
        found = made.compile_job(config)
        assert found is not None
        found.compile()
        before = {path.parent.name for path in tmp_path.rglob("*.cubin")}
        made.prepare(config)
        assert {path.parent.name for path in tmp_path.rglob("*.cubin")} == before != set()
