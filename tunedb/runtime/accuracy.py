"""Comparing what configs leave in their tensors, within what another order of the same sums may change."""

from __future__ import annotations

import torch

# Relative to the element and to the mean size of all: reductions in another order, with tensor cores' accumulators,
# differ by a few units of the last place; a wrong block differs by the size of the values. Chosen, not measured.
_TOLERANCES = {
    torch.float64: 1e-8,
    torch.float32: 1e-3,
    torch.float16: 1e-2,
    torch.bfloat16: 3e-2,
}
_EIGHT_BITS = 0.25
_BLOCK = 2**24  # elements that are compared at a time


def difference(found: torch.Tensor, needed: torch.Tensor) -> str | None:
    """How two tensors of one shape differ, in words; None where they agree. NaN agrees with NaN, integers exactly."""
    if not needed.numel():
        return None
    wrong, first = 0, ""
    scale = _scale(needed)
    flat_found, flat_needed = found.reshape(-1), needed.reshape(-1)
    for start in range(0, needed.numel(), _BLOCK):
        one, other = flat_found[start : start + _BLOCK], flat_needed[start : start + _BLOCK]
        bad = _bad(one, other, scale)
        count = int(bad.sum())
        if count and not wrong:
            at = int(bad.nonzero()[0])
            first = f"the first at {_place(start + at, needed.shape)}: {one[at].item()!r} for {other[at].item()!r}"
        wrong += count
    return f"{wrong} of {needed.numel()} elements differ, {first}" if wrong else None


def is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors of one shape and dtype hold the same elements; NaN is NaN."""
    if one.element_size() == 1:  # torch compares no 8-bit floats
        one, other = one.view(torch.uint8), other.view(torch.uint8)
    return all(map(_are_same, one.reshape(-1).split(_BLOCK), other.reshape(-1).split(_BLOCK)))


def _are_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    same = one == other
    if one.dtype.is_floating_point or one.dtype.is_complex:
        same |= one.isnan() & other.isnan()
    return bool(same.all())


def _bad(found: torch.Tensor, needed: torch.Tensor, scale: float) -> torch.Tensor:
    if not needed.dtype.is_floating_point:
        return found != needed
    tolerance = _TOLERANCES.get(needed.dtype, _EIGHT_BITS)
    one, other = found.double(), needed.double()
    close = other.isfinite() & ((one - other).abs() <= tolerance * (other.abs() + scale))
    return ~(close | (one == other) | (one.isnan() & other.isnan()))


def _scale(needed: torch.Tensor) -> float:
    """The mean size of the elements that are finite."""
    if not needed.dtype.is_floating_point:
        return 0.0
    total, count = 0.0, 0
    for block in needed.reshape(-1).split(_BLOCK):
        sizes = block.double().abs()
        finite = sizes[sizes.isfinite()]
        total, count = total + float(finite.sum()), count + finite.numel()
    return total / count if count else 0.0


def _place(flat: int, shape: torch.Size) -> tuple[int, ...]:
    place = []
    for size in reversed(shape):
        flat, rest = divmod(flat, size)
        place.append(rest)
    return tuple(reversed(place))
