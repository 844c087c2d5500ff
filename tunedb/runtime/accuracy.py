"""Differences between a config's result and the expected one, beyond what another order of the same sums explains."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tunedb.runtime.bits import as_numbers

# Relative to the element and to the mean size of all: reductions in another order, with tensor cores' accumulators,
# differ by a few units of the last place; a wrong block differs by the size of the values. Chosen, not measured.
_TOLERANCES = {
    torch.float64: 1e-8,
    torch.float32: 1e-3,
    torch.float16: 1e-2,
    torch.bfloat16: 3e-2,
    torch.complex128: 1e-8,
    torch.complex64: 1e-3,
    torch.complex32: 1e-2,
}
_EIGHT_BIT_TOLERANCE = 0.25
_BLOCK = 2**24  # elements that are compared at a time: their float64 copies take 128 MiB each

Place = tuple[int, ...]


class Comparison:
    """A count of the elements that differ, block by block, and the first of them; tolerances as in `mismatches`."""

    def __init__(self, absolute: float, relative: float) -> None:
        self._tolerance = absolute, relative
        self._count = 0
        self._first = ""

    def add(self, actual: torch.Tensor, expected: torch.Tensor, place: Callable[[Place], Place]) -> None:
        """Compare one block. `place` turns an index into the block into one into the whole result."""
        wrong = mismatches(actual, expected, *self._tolerance)
        count = int(wrong.sum())
        if count and not self._count:
            at = tuple(wrong.nonzero()[0].tolist())
            self._first = f"{place(at)}: expected {expected[at].item()!r}, got {actual[at].item()!r}"
        self._count += count

    def report(self, size: int) -> str | None:
        """Return how many of `size` elements differ, and the first of them; None if they agree."""
        return f"{self._count} of {size} elements differ, the first at {self._first}" if self._count else None


def mismatches(actual: torch.Tensor, expected: torch.Tensor, absolute: float, relative: float) -> torch.Tensor:
    """Return a bool tensor that is True for each element that differs.

    Floats and complex numbers agree within `absolute + relative * abs(expected)`; an infinity agrees with the same
    infinity, NaN with NaN. Anything else agrees if it is equal: what torch does not compute with, by its bits.
    """
    actual, expected = as_numbers(actual), as_numbers(expected)
    if not _is_inexact(expected.dtype):
        return actual != expected
    actual, expected = _widened(actual), _widened(expected)
    near = expected.isfinite() & ((actual - expected).abs() <= absolute + relative * expected.abs())
    return near.logical_or_(actual == expected).logical_or_(actual.isnan() & expected.isnan()).logical_not_()


def difference(actual: torch.Tensor, expected: torch.Tensor) -> str | None:
    """Return how two tensors of one shape differ, in words, by the tolerance of the dtype; None if they agree."""
    if not expected.numel():
        return None
    actual, expected = as_numbers(actual), as_numbers(expected)
    tolerance = _TOLERANCES.get(expected.dtype, _EIGHT_BIT_TOLERANCE)
    comparison = Comparison(tolerance * _mean_size(expected), tolerance)
    blocks = zip(actual.reshape(-1).split(_BLOCK), expected.reshape(-1).split(_BLOCK), strict=True)
    for number, (ours, theirs) in enumerate(blocks):
        start = number * _BLOCK
        comparison.add(ours, theirs, lambda at, start=start: _unravel(start + at[0], expected.shape))  # type: ignore[misc]
    return comparison.report(expected.numel())


def is_same(tensor: torch.Tensor, other: torch.Tensor) -> bool:
    """Say whether two tensors of one shape and dtype hold the same elements; NaN is the same as NaN."""
    tensor, other = as_numbers(tensor), as_numbers(other)
    if tensor.element_size() == 1:  # torch compares no 8-bit floats
        tensor, other = tensor.view(torch.uint8), other.view(torch.uint8)
    return all(map(_are_same, tensor.reshape(-1).split(_BLOCK), other.reshape(-1).split(_BLOCK)))


def _are_same(block: torch.Tensor, other: torch.Tensor) -> bool:
    same = block == other
    if _is_inexact(block.dtype):
        same |= block.isnan() & other.isnan()
    return bool(same.all())


def _mean_size(tensor: torch.Tensor) -> float:
    """Return the mean absolute value of the finite elements; 0 for integers."""
    if not _is_inexact(tensor.dtype):
        return 0.0
    total, count = 0.0, 0
    for block in tensor.reshape(-1).split(_BLOCK):
        sizes = _widened(block).abs()
        finite = sizes[sizes.isfinite()]
        total, count = total + float(finite.sum()), count + finite.numel()
    return total / count if count else 0.0


def _is_inexact(dtype: torch.dtype) -> bool:
    return dtype.is_floating_point or dtype.is_complex


def _widened(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.complex128) if tensor.dtype.is_complex else tensor.double()


def _unravel(flat: int, shape: torch.Size) -> Place:
    place = []
    for size in reversed(shape):
        flat, rest = divmod(flat, size)
        place.append(rest)
    return tuple(reversed(place))
