"""A pooling problem made from arguments without torch is the one that a pool of these arguments has."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from tunedb.core.device import INTERPRETER, Device
from tunedb.core.problem import Problem
from tunedb.core.tagged import DtypeName
from tunedb.errors import IdentityError, SettingError
from tunedb.kernels.avg_pool import BACKWARD, FORWARD
from tunedb.kernels.avg_pool.arguments import pool_of
from tunedb.kernels.avg_pool.problem import Pool, case_of

ARGUMENTS: list[dict[str, Any]] = [
    {"shape": (4, 8, 512), "kernel_size": 4},
    {"shape": (8, 512), "kernel_size": 5, "stride": 2, "padding": 2, "dtype": "fp16"},
    {"shape": (3, 8, 51), "kernel_size": 5, "layout": "transposed", "dtype": torch.float64},
    {"shape": (3, 7, 51), "kernel_size": 50, "layout": "general", "dtype": "torch.bfloat16", "ceil_mode": True},
    {"shape": (2, 3, 4), "kernel_size": 4, "count_include_pad": False, "dtype": "half"},
]
H200 = Device("NVIDIA H200", "cuda", "sm_90", 132)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("kernel", [FORWARD, BACKWARD], ids=lambda kernel: kernel.name)
def test_the_problem_is_that_of_the_pool(kernel: Any, arguments: dict[str, Any]) -> None:
    pool = pool_of(arguments, kernel.backward)
    problem = kernel.problem(arguments)
    assert problem == (pool.backward_problem() if kernel.backward else pool.forward_problem())
    assert Pool.of_problem(problem) == pool
    assert vars(case_of(problem, kernel.backward)) == vars(pool.case(kernel.backward))


def test_hash_space_and_problem_need_no_torch() -> None:
    program = (
        "import sys\n"
        "from tunedb.core.device import Device\n"
        "from tunedb.kernels.avg_pool import FORWARD as kernel\n"
        "problem = kernel.problem({'shape': [4, 8, 512], 'kernel_size': 4, 'dtype': 'fp16'})\n"
        "space = kernel.space(problem, Device('NVIDIA H200', 'cuda', 'sm_90', 132))\n"
        "print(problem.digest, kernel.hash, len(space), kernel.is_alike(problem, problem), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    problem = FORWARD.problem({"shape": (4, 8, 512), "kernel_size": 4, "dtype": torch.float16})
    space = len(FORWARD.space(problem, H200))
    assert done.stdout.split() == [problem.digest, FORWARD.hash, str(space), "True", "False"]


def test_a_dtypes_name_is_the_same_fact_as_the_dtype() -> None:
    named, real = (Problem.of("k", dtype=dtype) for dtype in (DtypeName("torch.float16"), torch.float16))
    assert (named, named.digest, named["dtype"]) == (real, real.digest, torch.float16)
    assert real.dtype_name("dtype") == DtypeName("torch.float16")
    for facts in ({"dtype": "torch.float16"}, {"dtype": 3}, {"dtype": float("inf")}):
        with pytest.raises(IdentityError):
            Problem.of("k", **facts).dtype_name("dtype")
    with pytest.raises(IdentityError):
        DtypeName("numpy.float16")


@pytest.mark.parametrize("dtype", ["int8", 3, None, "float8", torch.int32, ["float32"]])
def test_another_dtype_is_refused_by_name(dtype: Any) -> None:
    with pytest.raises(SettingError, match=r"^dtype: expected one of float16, bfloat16, float32, float64, got"):
        FORWARD.problem({"shape": (4, 8, 512), "kernel_size": 4, "dtype": dtype})
    assert FORWARD.space(FORWARD.problem({"shape": (4, 8, 512), "kernel_size": 4}), INTERPRETER)
