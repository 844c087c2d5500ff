"""One average pooling as the benchmarks measure it: its input, ours, others' functions, the copy, and the check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

Arguments = dict[str, Any]
Function = Callable[[], object]

DEVICE = "cuda"  # tests, in Triton's interpreter, set another
MUCH_MEMORY = 2**32  # bytes that are still allocated when a problem has ended
CHECKED_ELEMENTS = 2**25  # in a block of a check, whose tensors are float64


def bytes_moved(arguments: Arguments, backward: bool = False) -> int:
    """Count the bytes that have to be moved: what is read, once, and what is written, once.

    In the layout "general" every second column is read, and with it the other one, which lies in the same 32 bytes.
    Elements of the input that no window holds count too.
    """
    from tunedb.kernels.avg_pool.arguments import pool_of

    pool = pool_of(arguments, backward=False)
    x, y = pool.length, pool.window.output_length(pool.length)
    read, written = (y, x) if backward else (x, y)
    columns = read * (2 if pool.layout == "general" else 1) + written
    return pool.batch * pool.rows * columns * pool.dtype.itemsize


def make_input(arguments: Arguments, columns: int | None = None) -> Any:
    """Make normal values from a fixed seed in the problem's shape, dtype and layout; `columns` replaces the length."""
    import torch

    *front, length = arguments["shape"]
    length = columns or length
    dtype = getattr(torch, arguments.get("dtype", "float32"))
    layout = arguments.get("layout", "rows")
    if layout == "general":
        return make_input(arguments | {"layout": "rows"}, 2 * length)[..., ::2]
    transposed = layout == "transposed"
    shape = (*front[:-1], length, front[-1]) if transposed else (*front, length)
    generator = torch.Generator(DEVICE).manual_seed(0)
    values = torch.empty(shape, dtype=dtype, device=DEVICE).normal_(generator=generator)
    return values.transpose(-1, -2) if transposed else values


def window_of(arguments: Arguments) -> tuple[int, int, int, bool, bool]:
    """Return the window as torch's positional arguments."""
    kernel_size = arguments["kernel_size"]
    stride = arguments.get("stride") or kernel_size
    switches = arguments.get("ceil_mode", False), arguments.get("count_include_pad", True)
    return kernel_size, stride, arguments.get("padding", 0), *switches


def read_by(arguments: Arguments, backward: bool) -> Any:
    """Make what the pooling reads: the input, or the gradient of the output."""
    from tunedb.kernels.geometry import Window

    if not backward:
        return make_input(arguments)
    return make_input(arguments, Window(*window_of(arguments)).output_length(arguments["shape"][-1]))


def torchs(arguments: Arguments, backward: bool) -> Callable[[Any], Any]:
    """Return torch's own function of what the pooling reads.

    For a gradient it is the operation that autograd calls, with an input of the same layout, without autograd's time.
    """
    import torch
    from torch.nn import functional

    numbers = window_of(arguments)
    if not backward:
        return lambda tensor: functional.avg_pool1d(tensor, *numbers)
    kernel_size, stride, padding, *switches = numbers
    *front, channels, length = arguments["shape"]
    transposed = arguments.get("layout") == "transposed"
    shape = (*front, length, channels) if transposed else (*front, channels, length)
    x = torch.empty(shape, dtype=getattr(torch, arguments.get("dtype", "float32")), device=DEVICE)
    x = (x.transpose(-1, -2) if transposed else x).unsqueeze(-2)  # its shape and its strides alone are read
    sizes = (1, kernel_size), (1, stride), (0, padding)

    def gradient(grad: Any) -> Any:
        return torch.ops.aten.avg_pool2d_backward(grad.unsqueeze(-2), x, *sizes, *switches, None).squeeze(-2)

    return gradient


def compiled(arguments: Arguments, backward: bool) -> Callable[[Any], Any]:
    """Return torch's function under `torch.compile`, which still has to compile it.

    What Inductor tunes at the first call is measured in this process: another one's answer may come from a busy GPU.
    """
    import torch
    import torch._inductor.config as inductor

    inductor.autotune_local_cache = False
    torch.compiler.reset()
    function: Callable[[Any], Any] = torch.compile(torchs(arguments, backward), dynamic=False)
    return function


def functions_of(arguments: Arguments, against: list[str], backward: bool) -> dict[str, Function]:
    """Return what is to be timed, by name; the first is `ours`, whose result is checked."""
    read = read_by(arguments, backward)
    ours = ours_of(arguments, read, backward)
    check(ours(), read, arguments, backward)
    return {"ours": ours} | others_of(arguments, read, against, backward)


def ours_of(arguments: Arguments, read: Any, backward: bool) -> Function:
    """Return our pooling of what is read, or our gradient without autograd."""
    from tunedb.kernels import avg_pool1d
    from tunedb.kernels.avg_pool.op import _pool_backward

    numbers = window_of(arguments)
    if backward:
        return partial(_pool_backward, read, arguments["shape"][-1], tuple(numbers))
    return partial(avg_pool1d, read, *numbers)


def others_of(arguments: Arguments, read: Any, against: list[str], backward: bool) -> dict[str, Function]:
    """Return those of the functions to compare with that serve the problem: see `benchmarks.avg_pool1d --help`."""
    from benchmarks.baseline import plain_pool

    numbers = window_of(arguments)
    functions: dict[str, Function] = {}
    for name in against:
        if name == "copy":
            functions[name] = copy_of(bytes_moved(arguments, backward))
        elif name in ("eager", "compile"):
            functions[name] = partial((torchs if name == "eager" else compiled)(arguments, backward), read)
        elif backward or numbers[3:] != (False, True):
            continue  # the others take neither switch, and have no gradient
        elif name == "baseline":
            functions[name] = partial(plain_pool, read, *numbers[:3])
        else:
            functions[Path(name).stem] = partial(load_model(name, *numbers[:3]), read)
    return functions


def copy_of(count: int) -> Function:
    """Return a function that copies on the device, so that `count` bytes are moved: half are read, half written."""
    import torch

    source, target = (torch.empty(count // 2, dtype=torch.uint8, device=DEVICE) for _ in range(2))
    return lambda: target.copy_(source)


def load_model(path: str, *window: int) -> Any:
    """Load `ModelNew(kernel_size, stride, padding)` of a file."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ModelNew(*window).to(DEVICE)


def release_memory() -> None:
    """Release the memory of earlier problems; compiled functions hold their tensors in cycles."""
    import gc

    import torch

    if torch.cuda.memory_allocated() > MUCH_MEMORY:
        gc.collect()
    torch.cuda.empty_cache()


def check(result: Any, read: Any, arguments: Arguments, backward: bool) -> None:
    """Raise if a result differs from torch's in float64 by more than rounding, block by block.

    The reference is computed from contiguous float64 copies: in eager mode on CUDA, torch's own gradient of
    channels-last inputs with padding is wrong.
    """
    import torch

    tolerance = 2 * torch.finfo(result.dtype).eps
    for ours, theirs in _blocks(result, read):
        shape = [*theirs.shape[:-1], arguments["shape"][-1]]
        block = arguments | {"shape": shape, "layout": "rows", "dtype": "float64"}
        exact = torchs(block, backward)(theirs.double().contiguous())
        torch.testing.assert_close(ours.double(), exact, rtol=tolerance, atol=4e-6)


def _blocks(*tensors: Any) -> Iterator[tuple[Any, ...]]:
    """Yield parts of a few rows of tensors of as many rows, (N, C, L) or (C, L), as (N, C, L)."""
    whole = [tensor.unsqueeze(0) if tensor.dim() == 2 else tensor for tensor in tensors]
    _, channels, columns = max((tensor.shape for tensor in whole), key=lambda shape: int(shape[-1]))
    rows = max(1, CHECKED_ELEMENTS // columns)
    entries = max(1, rows // channels)
    for entry in zip(*(tensor.split(entries, 0) for tensor in whole), strict=True):
        yield from zip(*(tensor.split(rows, 1) for tensor in entry), strict=True)
