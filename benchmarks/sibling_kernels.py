"""The problems that the benchmark of sibling GPUs tunes: sampled poolings, and calls of three decorated kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.problems import wanted

# Sizes by kernel: the columns of a matrix of 4096 rows; m, n and k of a product. Chosen before anything was measured.
SIZES: Mapping[str, Sequence[tuple[int, ...]]] = {
    "softmax": ((512,), (1024,), (2048,)),
    "layer_norm": ((1024,), (2048,), (4096,), (8192,)),
    "matmul": ((512, 512, 512), (1024, 1024, 1024), (4096, 4096, 1024), (8192, 1024, 4096)),
}
ROWS = 4096
_CASES = {
    "softmax": "softmax, 6 configs",
    "layer_norm": "layer norm, 8 configs",
    "matmul": "matmul, 20 configs",
}


def pooling(samples: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield kernel and arguments of sampled problems; every second one is its gradient."""
    for number, problem in enumerate(wanted(None, samples)):
        yield ("avg_pool1d", "avg_pool1d_backward")[number % 2], problem


def calls(
    device: str, sizes: Mapping[str, Sequence[tuple[int, ...]]] = SIZES, rows: int = ROWS
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the name of a decorated kernel and a call of it, for each of the sizes."""
    import tunedb
    from benchmarks.first_kernels import CASES

    for name, of_kernel in sizes.items():
        case = CASES[_CASES[name]]
        kernel = tunedb.autotune(case.tritons_configs(), key=list(case.key), name=f"sibling_{name}")(case.jit)
        for size in of_kernel:
            yield f"sibling_{name}", _Call(kernel, case.grid, name, size, device, rows)


class _Call:
    """A call with new tensors, which are freed after it."""

    def __init__(self, kernel: Any, grid: Any, name: str, size: tuple[int, ...], device: str, rows: int) -> None:
        self._kernel, self._grid, self._name = kernel, grid, name
        self._size, self._device, self._rows = size, device, rows

    def __call__(self) -> None:
        self._kernel[self._launch_grid()](*self._arguments())

    def _launch_grid(self) -> Any:
        return self._grid if callable(self._grid) else (self._rows,)

    def _arguments(self) -> tuple[Any, ...]:
        import torch

        if self._name == "matmul":
            m, n, k = self._size
            half = {"device": self._device, "dtype": torch.float16}
            return torch.empty(m, n, **half), torch.randn(m, k, **half), torch.randn(k, n, **half), m, n, k  # type: ignore[arg-type]
        (columns,) = self._size
        x = torch.randn(self._rows, columns, device=self._device)
        if self._name == "softmax":
            return torch.empty_like(x), x, columns
        weight, bias = (torch.randn(columns, device=self._device) for _ in range(2))
        return torch.empty_like(x), x, weight, bias, columns, 1e-5
