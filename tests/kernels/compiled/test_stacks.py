"""The code of "stacks" for a GPU that need not be present."""

from __future__ import annotations

import re

from benchmarks.offline import compile_for
from tests.kernels.compiled.test_candidates import RTX_4090, launch_of
from tunedb.kernels.avg_pool import FORWARD


def test_no_load_waits_for_what_is_stored() -> None:
    """A load may read what an earlier store writes, as far as the compiler knows, and comes after it."""
    arguments = {"shape": [2, 37, 4096], "kernel_size": 366, "stride": 1, "dtype": "float16", "layout": "transposed"}
    problem = FORWARD.problem(arguments)
    config = next(config for config in FORWARD.space(problem, RTX_4090) if config["ALGORITHM"] == "stacks")
    code = compile_for(launch_of(FORWARD, problem, config), 89).asm["ttir"]
    # What a turn of a loop does from its first store on.
    turns = re.findall(r"tt\.store.*?(?=scf\.|\Z)", code, re.DOTALL)
    assert len(turns) == 2  # inside rows, and where they end
    for turn in turns:
        assert turn.count("tt.store") == 16
        assert "tt.load" not in turn
