"""Compiling on several threads gives what one thread gives, byte for byte."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from triton import knobs

from tests.kernels.compiled.test_candidates import RTX_4090, SEED, launch_of
from tunedb.compiled import Binary, compile_for
from tunedb.kernels.avg_pool import FORWARD
from tunedb.problem import Config


def test_threads_compile_what_one_thread_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = FORWARD.problem(SEED)
    space = FORWARD.space(problem, RTX_4090)[:6]

    def compiled(config: Config) -> Binary:
        return compile_for(launch_of(FORWARD, problem, config), 89)

    monkeypatch.setattr(knobs.cache, "dir", str(tmp_path / "threads"))
    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(compiled, space))
    monkeypatch.setattr(knobs.cache, "dir", str(tmp_path / "alone"))
    alone = [compiled(config) for config in space]
    assert [one.asm["cubin"] for one in beside] == [one.asm["cubin"] for one in alone]
    assert [one.resources for one in beside] == [one.resources for one in alone]
    assert len(list((tmp_path / "threads").iterdir())) >= len(space)  # the cache really was empty
