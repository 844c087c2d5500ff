"""Candidates compile for the RTX 4090 (sm_89) and for the H100 and H200 (sm_90) without a spill.

The tensors are on torch's meta device: of a tensor, compiling reads its dtype and address alone.
"""

import json
import random
import re
from typing import Any

import pytest
import torch

from benchmarks.offline import Binary, compile_for
from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.kernels.avg_pool import BACKWARD, FORWARD
from tunedb.kernels.avg_pool.launch import backward_launch, empty_grad_input, empty_output, forward_launch
from tunedb.kernels.avg_pool.problem import Pool, fresh_strides
from tunedb.runtime.launch import Launch

RTX_4090 = Device("NVIDIA GeForce RTX 4090", "cuda", "sm_89", 128)
SEED = {"shape": [64, 128, 65536], "kernel_size": 8, "stride": 1, "padding": 4}
WIDER = {"shape": [64, 128, 65536], "kernel_size": 25, "stride": 1, "padding": 12, "count_include_pad": False}
both = pytest.mark.parametrize("kernel", [FORWARD, BACKWARD], ids=lambda kernel: kernel.name)
ARCHITECTURES = (89, 90)

OTHERS = """
{"shape": [64, 128, 65536], "kernel_size": 8, "stride": 1, "padding": 4, "dtype": "float16"}
{"shape": [64, 128, 65536], "kernel_size": 3, "stride": 2, "padding": 1, "dtype": "bfloat16"}
{"shape": [16, 64, 65536], "kernel_size": 8, "stride": 1, "padding": 4, "dtype": "float64"}
{"shape": [32, 7, 360], "kernel_size": 25, "stride": 1}
{"shape": [16, 2, 480000], "kernel_size": 64, "stride": 1, "padding": 32}
{"shape": [32, 8, 160000], "kernel_size": 160}
{"shape": [8, 8, 1000003], "kernel_size": 16, "stride": 1, "padding": 8}
{"shape": [8, 64, 131072], "kernel_size": 32, "stride": 1, "padding": 16, "dtype": "bfloat16"}
{"shape": [32768, 64, 65], "kernel_size": 3, "stride": 1, "padding": 1}
{"shape": [4096, 512, 16], "kernel_size": 2, "dtype": "float16"}
{"shape": [256, 2048, 49], "kernel_size": 49}
{"shape": [64, 128, 65536], "kernel_size": 2, "stride": 7}
{"shape": [64, 4097], "kernel_size": 32, "dtype": "float64"}
{"shape": [64, 4097], "kernel_size": 60, "stride": 4, "dtype": "float64"}
{"shape": [64, 4097], "kernel_size": 40, "stride": 8}
{"shape": [64, 64, 32767], "kernel_size": 6, "stride": 4, "padding": 2, "ceil_mode": true}
{"shape": [32, 256, 16384], "kernel_size": 4, "layout": "transposed"}
{"shape": [64, 64, 4096], "kernel_size": 5, "stride": 1, "padding": 2, "layout": "general"}
{"shape": [1, 1], "kernel_size": 1}
{"shape": [1, 40], "kernel_size": 40, "stride": 1, "padding": 1}
{"shape": [3, 1, 9], "kernel_size": 2, "stride": 1, "layout": "transposed", "ceil_mode": true}
"""


OF_ONE = """
{"shape": [5, 12, 640], "kernel_size": 640, "layout": "transposed"}
{"shape": [1, 12, 640], "kernel_size": 640, "stride": 1, "layout": "transposed", "dtype": "float16"}
{"shape": [2, 5, 16], "kernel_size": 14, "stride": 16, "padding": 4, "layout": "transposed", "dtype": "float16"}
{"shape": [64, 3, 9], "kernel_size": 9, "stride": 1, "count_include_pad": false}
{"shape": [1, 900], "kernel_size": 900, "stride": 1, "dtype": "float16"}
{"shape": [4, 1, 700], "kernel_size": 400, "stride": 301, "padding": 1, "count_include_pad": false, "ceil_mode": true}
"""
NARROW = """
{"shape": [5, 1, 16], "kernel_size": 16, "stride": 1, "padding": 8}
{"shape": [640, 300, 128], "kernel_size": 128, "stride": 1, "padding": 64}
{"shape": [64, 9, 100], "kernel_size": 100, "stride": 10, "padding": 40}
"""


def launch_of(kernel: Any, problem: Problem, config: Config) -> Launch:
    """The launch of a config on tensors that need no memory."""
    pool = Pool.of_problem(problem)
    columns = pool.window.output_length(pool.length) if kernel is BACKWARD else pool.length
    strides = fresh_strides(pool.rows, columns, pool.layout)
    read = torch.empty_strided((pool.batch, pool.rows, columns), strides, dtype=pool.dtype, device="meta")
    if kernel is BACKWARD:
        return backward_launch(read, empty_grad_input(read, pool.length), pool.window, config)
    return forward_launch(read, empty_output(read, pool.window), pool.window, config)


def default_binary(kernel: Any, arguments: dict[str, Any], arch: int = 89) -> Binary:
    problem = kernel.problem(arguments)
    return compile_for(launch_of(kernel, problem, kernel.default(problem, RTX_4090)), arch)


@both
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("arguments", [SEED, WIDER], ids=["window 8", "window 25"])
def test_no_candidate_spills(kernel: Any, arguments: dict[str, Any], part: int, exhaustive: bool) -> None:
    """A random sixth of them, each for one architecture; all for both with `--exhaustive`."""
    problem = kernel.problem(arguments)
    space = kernel.space(problem, RTX_4090)
    pairs = [(config, arch) for config in space for arch in ARCHITECTURES]
    if not exhaustive:
        source = random.Random(f"{kernel.name} {arguments}")
        pairs = [(config, source.choice(ARCHITECTURES)) for config in source.sample(space, len(space) // 6)]
    for config, arch in pairs[part::4]:
        resources = compile_for(launch_of(kernel, problem, config), arch).resources
        assert resources.spills == 0, (config, arch)
        assert resources.shared_bytes is not None
        assert resources.shared_bytes <= 99 * 1024


@both
@pytest.mark.parametrize(("number", "line"), list(enumerate(OTHERS.strip().splitlines())))
def test_no_default_spills(kernel: Any, number: int, line: str) -> None:
    arch = ARCHITECTURES[(number + (kernel is BACKWARD)) % 2]
    assert default_binary(kernel, json.loads(line), arch).resources.spills == 0


DTYPES = ("float16", "bfloat16", "float32", "float64")


def lengths(kernel: Any, number: int, exhaustive: bool) -> tuple[int, ...]:
    """Of aligned and of odd rows: those of one kind, so that each pair of kernel, dtype and kind is met; or both."""
    both_kinds = (65536, 65537)
    return both_kinds if exhaustive else both_kinds[(number + (kernel is BACKWARD)) % 2 :][:1]


def loads(binary: Binary) -> list[str]:
    return re.findall(r"^.*\bld\.global\S*", binary.asm["ptx"], re.MULTILINE)


def accesses(binary: Binary, kind: str) -> list[str]:
    """The PTX of the accesses of that kind, `ld` or `st`, that have no mask."""
    found = re.findall(rf"^.*\b{kind}\.global\S*", binary.asm["ptx"], re.MULTILINE)
    return [access for access in found if "@" not in access]


@both
@pytest.mark.parametrize("line", OF_ONE.strip().splitlines())
def test_extents_of_1_compile_in_each_algorithm(kernel: Any, line: str) -> None:
    """Triton makes a number that is 1 a constant, which has no methods."""
    problem = kernel.problem(json.loads(line))
    firsts = {config["ALGORITHM"]: config for config in reversed(kernel.space(problem, RTX_4090))}
    for config in firsts.values():
        compile_for(launch_of(kernel, problem, config), 90)


@both
@pytest.mark.parametrize("line", NARROW.strip().splitlines())
def test_rows_that_are_summed_from_both_ends_compile_in_all_tiles(kernel: Any, line: str) -> None:
    """Triton 3.8 fails where more elements are picked from a tile than it has, in some of its layouts."""
    problem = kernel.problem(json.loads(line))
    configs = [config for config in kernel.space(problem, RTX_4090) if config["ALGORITHM"] == "rows"]
    assert configs
    for config in configs:
        launch = launch_of(kernel, problem, config)
        assert launch.constants["ALIGNED"] == 0
        compile_for(launch, 90)


@both
@pytest.mark.parametrize("number", range(4), ids=DTYPES)
def test_a_tile_inside_the_row_is_read_and_written_in_16_bytes_without_masks(
    kernel: Any, number: int, exhaustive: bool
) -> None:
    for length in lengths(kernel, number, exhaustive):
        binary = default_binary(kernel, SEED | {"dtype": DTYPES[number], "shape": [64, 128, length]})
        widest = "v2.b64" if DTYPES[number] == "float64" else "v4.b32"
        for kind, least in (("ld", 2), ("st", 1)):
            wide = [access for access in accesses(binary, kind) if widest in access]
            assert len(wide) >= least
            assert wide == accesses(binary, kind)


@pytest.mark.parametrize("arguments", [{"kernel_size": 2}, {"kernel_size": 3, "padding": 1, "stride": 2}], ids=str)
def test_the_gradient_at_a_stride_is_written_in_16_bytes_with_and_without_masks(arguments: dict[str, Any]) -> None:
    binary = default_binary(BACKWARD, {"shape": [64, 128, 65536]} | arguments)
    stores = re.findall(r"\bst\.global\S*", binary.asm["ptx"])
    assert stores
    assert all("v4.b32" in store for store in stores)


@both
@pytest.mark.parametrize("length", [100, 1000])
def test_short_rows_that_fill_whole_pieces_are_read_and_written_in_16_bytes(kernel: Any, length: int) -> None:
    binary = default_binary(kernel, {"shape": [64, 128, length], "kernel_size": 3, "stride": 1, "padding": 1})
    for kind in ("ld", "st"):
        found = re.findall(rf"\b{kind}\.global\S*", binary.asm["ptx"])
        assert any("v4.b32" in access for access in found)
        assert kind == "ld" or all("v4.b32" in access for access in found)


def test_a_divisor_has_the_accumulators_precision() -> None:
    """A Python float is a float32 in Triton unless told otherwise."""
    binary = default_binary(FORWARD, {"shape": [64, 9000], "kernel_size": 3, "dtype": "float64"})
    assert re.search(r"dense<0.33333333333333331> : tensor<\d+xf64>", binary.asm["ttir"])


@both
@pytest.mark.parametrize("number", range(4), ids=DTYPES)
def test_wide_windows_are_read_and_written_in_16_bytes_whatever_their_alignment(
    kernel: Any, number: int, exhaustive: bool
) -> None:
    wide = {"kernel_size": 493, "stride": 1, "padding": 100, "dtype": DTYPES[number]}
    for length in lengths(kernel, number, exhaustive):
        binary = default_binary(kernel, wide | {"shape": [64, 64, length]}, 90)
        assert binary.resources.spills == 0
        assert all(re.search(r"\.v4\.b32|\.v2\.b64", load) for load in loads(binary))
        stores = re.findall(r"\bst\.global\S*", binary.asm["ptx"])
        assert any(re.search(r"\.v4\.b32|\.v2\.b64", store) for store in stores)


@both
def test_the_transposed_layout_is_read_and_written_in_8_bytes(kernel: Any) -> None:
    binary = default_binary(kernel, {"shape": [32, 256, 16384], "kernel_size": 4, "layout": "transposed"})
    assert all(".v2" in load for load in loads(binary))
    assert all(".v2" in store for store in re.findall(r"st\.global\S*", binary.asm["ptx"]))


def test_no_vector_is_divided_where_the_stride_is_1() -> None:
    assert "arith.divsi %" not in "".join(
        line for line in default_binary(BACKWARD, SEED).asm["ttgir"].splitlines() if "tensor<" in line
    )


@both
def test_a_tile_whose_offsets_need_64_bits_compiles(kernel: Any) -> None:
    problem = kernel.problem({"shape": [2, 4, 64], "kernel_size": 4, "layout": "transposed"})
    far = torch.empty_strided((2, 4, 64), (2**33, 1, 2**27), device="meta")
    window = Pool.of_problem(problem).window
    config = kernel.default(problem, RTX_4090)
    launch = (backward_launch if kernel is BACKWARD else forward_launch)(far, far, window, config)
    assert launch.constants["WIDE"]
    assert compile_for(launch, 89).resources.spills == 0
