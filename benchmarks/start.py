"""The time of a new process until its first call is done: `python -m benchmarks.start WHAT SINCE` prints seconds.

WHAT is "plain", a Triton kernel of two lines that Triton compiled before, or "ours", an average pooling that is stored
and compiled. SINCE is the time (`time.time()`) at which the process was started.
"""

from __future__ import annotations

import sys
import time

import torch
import triton
import triton.language as tl


@triton.jit
def double_kernel(x, y, BLOCK: tl.constexpr):  # noqa: N803 - as Triton writes its constants
    """y = 2 x, of BLOCK elements."""
    at = tl.arange(0, BLOCK)
    tl.store(y + at, 2 * tl.load(x + at))


def main(what: str, since: float) -> None:
    """Make the call, wait for it, and print the seconds since `since`."""
    if not torch.cuda.is_available():
        raise SystemExit("This benchmark needs a GPU, and torch sees none here.")
    if what == "ours":
        from tunedb.kernels import avg_pool1d
    x = torch.ones(16, 32, 128, device="cuda")
    if what == "ours":
        avg_pool1d(x, 4, 2, 1)
    else:
        double_kernel[(1,)](x, torch.empty_like(x), BLOCK=1024)
    torch.cuda.synchronize()
    print(time.time() - since)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
