"""The guess at a pooling config's time: it orders the candidates, by what can be known before any is run."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.kernels.compiled.test_candidates import OTHERS, RTX_4090
from tunedb.core.canonical import parse_json
from tunedb.core.problem import Config, Problem
from tunedb.kernels.avg_pool import BACKWARD, FORWARD

both = pytest.mark.parametrize("kernel", [FORWARD, BACKWARD], ids=lambda kernel: kernel.name)


def config(block: int, rows: int = 1, warps: int = 1) -> Config:
    return Config.of(ALGORITHM="taps", BLOCK_OUT=block, ROWS_PER_PROG=rows, num_warps=warps)


def problem(kernel: Any, shape: list[int], **window: Any) -> Problem:
    found: Problem = kernel.problem({"shape": shape, "kernel_size": 2, **window})
    return found


@both
@pytest.mark.parametrize("line", OTHERS.strip().splitlines())
def test_every_candidate_has_one(kernel: Any, line: str) -> None:
    asked = kernel.problem(parse_json(line))
    for one in kernel.space(asked, RTX_4090):
        guess = kernel.estimate(asked, one, RTX_4090)
        assert math.isfinite(guess)
        assert guess > 0


def test_a_tile_that_hangs_over_the_row_costs_more() -> None:
    asked = problem(FORWARD, [64, 128, 1200], kernel_size=3, stride=2, padding=1)  # 600 outputs a row
    assert FORWARD.estimate(asked, config(512), RTX_4090) > FORWARD.estimate(asked, config(256, 2), RTX_4090)


@both
def test_rows_that_windows_tile_are_one_row_so_that_no_tile_hangs_over(kernel: Any) -> None:
    asked = problem(kernel, [64, 128, 1200])  # 600 outputs a row
    guesses = {kernel.estimate(asked, config(*tile), RTX_4090) for tile in ((512, 1), (256, 2), (1, 512))}
    assert len(guesses) == 1


def test_a_wide_window_costs_narrow_tiles_more() -> None:
    narrow, wide = ({"kernel_size": size, "stride": 1} for size in (2, 32))
    ratio = [
        FORWARD.estimate(asked, config(128, 4), RTX_4090) / FORWARD.estimate(asked, config(512, 1), RTX_4090)
        for asked in (problem(FORWARD, [64, 128, 65536], **window) for window in (narrow, wide))
    ]
    assert ratio[1] > ratio[0]


def test_tiles_that_leave_most_of_the_device_idle_cost_more() -> None:
    asked = problem(FORWARD, [1, 128, 1024])  # 65536 outputs
    assert FORWARD.estimate(asked, config(512, 64, 8), RTX_4090) > FORWARD.estimate(asked, config(512, 1), RTX_4090)


def test_threads_without_work_cost() -> None:
    asked = problem(FORWARD, [64, 128, 65536])
    assert FORWARD.estimate(asked, config(64, 1, 8), RTX_4090) > FORWARD.estimate(asked, config(64, 1, 1), RTX_4090)
