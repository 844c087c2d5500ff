"""The product of two matrices: `matmul(a, b)`."""

import torch
import triton
import triton.language as tl

import tunedb

BLOCKS = ((64, 64, 32, 4), (128, 64, 32, 4), (64, 128, 32, 4), (128, 128, 32, 8), (32, 64, 64, 4))


@tunedb.autotune(
    [triton.Config({"BM": m, "BN": n, "BK": k}, num_warps=warps) for m, n, k, warps in BLOCKS],
    key=["M", "N", "K"],
    bucket={"M": tunedb.pow2},  # the length of a batch: it changes from call to call
    reference=lambda a, b: {"c": a @ b},
    name="example_matmul",
)
@triton.jit
def matmul_kernel(c, a, b, M, N, K, sa, sb, sc, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    row = tl.program_id(0) * BM + tl.arange(0, BM)[:, None]
    column = tl.program_id(1) * BN + tl.arange(0, BN)[None, :]
    step = tl.arange(0, BK)
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, K, BK):
        left, down = start + step[None, :], start + step[:, None]
        one = tl.load(a + row * sa + left, mask=(row < M) & (left < K), other=0.0)
        other = tl.load(b + down * sb + column, mask=(down < K) & (column < N), other=0.0)
        total = tl.dot(one, other, total)
    tl.store(c + row * sc + column, total, mask=(row < M) & (column < N))


def call_for(a, b):
    """The grid and the arguments for matrices whose rows are contiguous."""
    (M, K), N = a.shape, b.shape[1]
    c = torch.empty(M, N, dtype=a.dtype, device=a.device)
    named = {"c": c, "a": a, "b": b, "M": M, "N": N, "K": K, "sa": a.stride(0), "sb": b.stride(0), "sc": c.stride(0)}
    return lambda config: (triton.cdiv(M, config["BM"]), triton.cdiv(N, config["BN"])), named


def matmul(a, b):
    """a @ b."""
    grid, named = call_for(a, b)
    matmul_kernel[grid](*named.values())
    return named["c"]


def arguments(device, M, N, K, a_dtype=torch.float16):
    """A call for a problem, for `tunedb warm example_matmul --arg M=4096 --arg N=4096 --arg K=4096`."""
    a, b = (torch.randn(shape, dtype=a_dtype, device=device) for shape in ((M, K), (K, N)))
    return call_for(a, b)


MATMUL = matmul_kernel.registered(
    arguments,
    bytes_moved=lambda of: (of["M"] * of["K"] + of["K"] * of["N"] + of["M"] * of["N"]) * of["a.dtype"].itemsize,
    operations=lambda of: 2 * of["M"] * of["N"] * of["K"],  # M is as its bucket has it
)
