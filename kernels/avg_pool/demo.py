"""The part of average pooling in `tunedb demo`: one problem, and a user's program that calls it."""

from __future__ import annotations

from typing import Any

from tunedb.core.declaration import Demo

WINDOW = {"kernel_size": 8, "stride": 1, "padding": 4}
GPU_SHAPE = (64, 128, 65536)  # 2 GiB of float32; the batch is halved until all tensors fit
INTERPRETER_SHAPE = (4, 16, 4096)  # tuned in a second or two
TENSORS = 4  # of the input's size that have to fit: input, output, torch's output, and room for the checks
FLOAT32_BYTES = 4

PROGRAM = """
import json, sys, torch, tunedb
from torch.nn.functional import avg_pool1d as torch_avg_pool1d
from tunedb.kernels import avg_pool1d

settings, arguments = map(json.loads, sys.argv[1:3])
tunedb.configure(**settings)
x = torch.randn(arguments["shape"], device=sys.argv[3])
window = [arguments[name] for name in ("kernel_size", "stride", "padding")]
ours, theirs = avg_pool1d(x, *window), torch_avg_pool1d(x, *window)
choice = tunedb.lookup("avg_pool1d", **arguments)
answer = {"second_source": choice.source, "second_config": choice.config.plain()}
# One entry after the other, because comparing takes memory.
answer["equals_torch"] = all(torch.allclose(y, expected, atol=1e-6) for y, expected in zip(ours, theirs))
if x.is_cuda:
    from tunedb.runtime.clock import clock_for, timing
    clock = clock_for(x.get_device())
    answer["call_us"] = timing(clock, lambda: avg_pool1d(x, *window)).median
    answer["torch_us"] = timing(clock, lambda: torch_avg_pool1d(x, *window)).median
print(json.dumps(answer))
"""


def _arguments(free_bytes: int | None) -> dict[str, Any]:
    """Return the arguments of a problem that fits into the GPU's free bytes; None stands for the interpreter."""
    if free_bytes is None:
        return {"shape": list(INTERPRETER_SHAPE), "dtype": "float32", **WINDOW}
    batch, rows, length = GPU_SHAPE
    while batch > 1 and batch * rows * length * FLOAT32_BYTES * TENSORS > free_bytes:
        batch //= 2
    return {"shape": [batch, rows, length], "dtype": "float32", **WINDOW}


DEMO = Demo(_arguments, PROGRAM)
