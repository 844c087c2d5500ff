"""Layout and alignment of tensors seen as (batch, rows, columns), from their shapes and strides, in plain integers.

An exported module holds copies of these functions: they use no class, and no import.
"""

from __future__ import annotations

from .algorithms.case import WIDEST_ALIGNMENT

Extents = tuple[int, int, int]  # of (batch, rows, columns); strides are in elements
View = tuple[Extents, Extents]  # shape and strides


def view_of(shape: tuple[int, ...], strides: tuple[int, ...]) -> View:
    """View (N, C, L) or (C, L) as (batch, rows, columns)."""
    if len(shape) == 2:
        return (1, shape[0], shape[1]), (0, strides[0], strides[1])
    return (shape[0], shape[1], shape[2]), (strides[0], strides[1], strides[2])


def is_in_rows(view: View) -> bool:
    """Say whether the elements of a row lie next to each other."""
    shape, strides = view
    return strides[2] == 1 or shape[2] == 1


def is_collapsible(view: View) -> bool:
    """Say whether the rows of all batch entries are evenly spaced."""
    (batch, rows, _), (batch_stride, row_stride, _) = view
    return batch == 1 or rows == 1 or batch_stride == rows * row_stride


def collapsed(view: View) -> View:
    """Return the view with one batch entry that holds all rows, if they are evenly spaced."""
    (batch, rows, columns), (batch_stride, row_stride, column_stride) = view
    if batch == 1 or not is_collapsible(view):
        return view
    return (1, batch * rows, columns), (0, row_stride if rows > 1 else batch_stride, column_stride)


def is_gapless(view: View) -> bool:
    """Say whether this is one batch entry whose rows follow each other without a gap."""
    (batch, rows, columns), (_, row_stride, _) = view
    return batch == 1 and is_in_rows(view) and (rows == 1 or row_stride == columns)


def are_rows_gapless(view: View) -> bool:
    """Say whether the rows of each batch entry follow each other without a gap."""
    shape, strides = view
    return is_in_rows(view) and (shape[1] == 1 or strides[1] == shape[2])


def batch_entries(view: View) -> View:
    """Return the first row of each batch entry."""
    (batch, _, columns), strides = view
    return (batch, 1, columns), strides


def flattened(view: View) -> View:
    """Return the rows of a gapless view as one row."""
    _, rows, columns = view[0]
    return (1, 1, rows * columns), (0, rows * columns, 1)


def layout_of(view: View) -> str:
    """Return "rows" if the elements of a row lie next to each other, "transposed" if the rows do, else "general"."""
    if is_in_rows(view):
        return "rows"
    shape, strides = view
    return "transposed" if strides[1] == 1 and shape[1] > 1 else "general"


def layout_between(source: View, target: View) -> str:
    """Return the layout in which one view is read and the other written: a single column has that of the other."""
    return layout_of(target if source[0][2] == 1 else source)


def is_channels_last(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Say whether torch gives a tensor pooled from one with these strides, in elements, channels-last ones.

    It does for what `is_channels_last_strides_2d` says of (N, C, 1, L); never for (C, L).
    """
    if len(shape) != 3:
        return False
    batch, channels, length = shape
    batch_stride, channel_stride, stride = strides
    plane = length * stride
    return (
        batch > 0
        and channels > 0
        and channel_stride != 0
        and stride >= channels * channel_stride
        and batch_stride >= plane
        and plane != channel_stride
    )


def alignment_of(view: View, address: int, itemsize: int, layout: str) -> int:
    """Return the largest of 16, 8, 4, 2 and 1 that divides the address and every pitch, in bytes.

    A pitch is the stride of an axis that is neither contiguous nor of extent 1. The columns of the general layout do
    not count: few algorithms read several at a time.
    """
    shape, strides = view
    bits = WIDEST_ALIGNMENT | address
    for axis in (0, 2) if layout == "transposed" else (0, 1):
        if shape[axis] > 1:
            bits |= strides[axis] * itemsize
    return bits & -bits
