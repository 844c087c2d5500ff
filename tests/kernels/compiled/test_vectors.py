"""Accesses of 16 bytes compile for every kind of tile, without spills and without masks inside rows."""

import re

import pytest
import torch

from benchmarks.offline import compile_for
from tunedb.core.problem import Config
from tunedb.kernels.avg_pool.launch import backward_launch, empty_grad_input, empty_output, forward_launch
from tunedb.kernels.geometry import Window

CONFIG = Config.of(ALGORITHM="vectors", BLOCK_OUT=512, ROWS_PER_PROG=1, num_warps=2)
ARRAY = ((1, 4000, 65), (0, 65, 1))  # shape and strides
ALIGNED = ((1, 9000, 512), (0, 512, 1))
LONG_ROWS = ((1, 40000, 501), (0, 501, 1))
GAPS = ((1, 4000, 65), (0, 70, 1))
LONG_WITH_GAPS = ((1, 40000, 501), (0, 705, 1))
ENTRIES = ((3, 4000, 65), (2 * 4000 * 65, 65, 1))
ENTRIES_WITH_GAPS = ((3, 4000, 65), (2 * 4000 * 70, 70, 1))
KINDS = [
    (ARRAY, Window(3, 1, 1), {"SHORT": False, "ALIGNED": True, "WIDE": False}),
    (ARRAY, Window(4, 1, 2, count_include_pad=False), {"SHORT": False, "ALIGNED": False}),
    (ARRAY, Window(3, 2, 1, ceil_mode=True), {"SHORT": False}),
    (ALIGNED, Window(2, 1), {"SHORT": False}),
    (ALIGNED, Window(7, 1, 3, count_include_pad=False), {"SHORT": 2, "WHOLE": True}),
    (LONG_ROWS, Window(7, 1, 3, count_include_pad=False), {"SHORT": 8, "WHOLE": False}),
    (LONG_WITH_GAPS, Window(8, 1, 3), {"SHORT": 8, "ALIGNED": False}),
    (GAPS, Window(5, 1, 2, count_include_pad=False), {"SHORT": True, "WIDE": False}),
    (GAPS, Window(9, 7), {"SHORT": True, "CHUNK": 4}),
    (ENTRIES, Window(2, 1), {"SHORT": False, "WIDE": True}),
    (ENTRIES_WITH_GAPS, Window(3, 1, 1), {"SHORT": True, "WIDE": True}),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_each_kind_of_tile_compiles_without_spills(kind: tuple, exhaustive: bool) -> None:
    """Each direction for one architecture, in turn; for both with `--exhaustive`."""
    ((batch, rows, length), strides), window, constants = kind
    groups = max(constants["SHORT"], 1)  # of a thread
    config = Config.of(**{**CONFIG.constants, "BLOCK_OUT": 512 * groups}, **CONFIG.options)
    directions = [(forward_launch, length)]
    if window.stride == 1:
        directions.append((backward_launch, window.output_length(length)))
    turn = KINDS.index(kind)
    cases = [(*direction, (89, 90)[(turn + place) % 2]) for place, direction in enumerate(directions)]
    if exhaustive:
        cases = [(*direction, arch) for direction in directions for arch in (89, 90)]
    for build, columns, arch in cases:
        read = torch.empty_strided((batch, rows, length), strides, dtype=torch.float16, device="meta")[..., :columns]
        if build is backward_launch:
            if strides[1] == length:  # as gapless as x
                entries = 2 * rows * columns if batch > 1 else 0
                read = torch.empty_strided(
                    (batch, rows, columns), (entries, columns, 1), dtype=read.dtype, device="meta"
                )
            launch = backward_launch(read, empty_grad_input(read, length), window, config)
        else:
            launch = forward_launch(read, empty_output(read, window), window, config)
            assert constants.items() <= launch.constants.items()
        binary = compile_for(launch, arch)
        assert binary.resources.spills == 0
        stores = [line for line in binary.asm["ptx"].splitlines() if "st.global" in line]
        if launch.constants["SHORT"] < 3:
            stores = [line for line in stores if "@" not in line]
        else:  # one for groups inside rows, one for those at ends, each with a mask for the whole group
            stores = [line for line in stores if ".v" in line]
            assert len(stores) >= 2
        assert stores
        widest = {8: "v4.b32", 4: "v2.b32"}[launch.constants["CHUNK"]]
        assert all(re.search(rf"st\.global\.{re.escape(widest)}", line) for line in stores)
