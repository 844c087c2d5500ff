"""The arithmetic of pooling windows, in plain integers: no torch, no Triton.

An exported module holds copies of the functions: they use no class, and no import.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


def cdiv(dividend: int, divisor: int) -> int:
    """Divide and round up."""
    return -(-dividend // divisor)


def power_of_2_from(number: int) -> int:
    """Return the smallest power of two that is at least `number`, and at least 1."""
    return 1 << max(number - 1, 0).bit_length()


def power_of_2_to(number: int) -> int:
    """Return the largest power of two that is at most `number`, and at least 1."""
    return 1 << (max(number, 1).bit_length() - 1)


def output_length(length: int, kernel_size: int, stride: int, padding: int, ceil_mode: bool = False) -> int:
    """Count the windows over a row of `length` elements; a `torch.SymInt` gives a `torch.SymInt`.

    ATen's `pooling_output_shape`: with `ceil_mode` the last window may overhang, but it starts inside the row or its
    left padding.
    """
    spare = length + 2 * padding - kernel_size
    if not ceil_mode:
        return spare // stride + 1
    windows = (spare + stride - 1) // stride + 1
    return windows - 1 if (windows - 1) * stride >= length + padding else windows


def do_windows_tile(length: int, kernel_size: int, stride: int, padding: int) -> bool:
    """Say whether the windows cover rows of `length` elements without overlap, gap, padding or rest."""
    return stride == kernel_size and padding == 0 and length % stride == 0


@dataclass(frozen=True, slots=True)
class Window:
    """A pooling window: the arguments of `torch.nn.functional.avg_pool1d`, in positions of one row.

    Window `o` starts at `o * stride - padding`, where 0 is the row's first element. Nothing is checked here: the
    caller must refuse what torch refuses.
    """

    kernel_size: int
    stride: int
    padding: int = 0
    ceil_mode: bool = False
    count_include_pad: bool = True

    def output_length(self, length: int) -> int:
        """Count the windows over a row of `length` elements: see the function of that name."""
        return output_length(length, self.kernel_size, self.stride, self.padding, self.ceil_mode)

    def tiles(self, length: int) -> bool:
        """Say whether the windows cover rows of `length` elements without overlap, gap, padding or rest."""
        return do_windows_tile(length, self.kernel_size, self.stride, self.padding)

    def normalised(self, length: int) -> Window:
        """Return the window that equal problems share: it computes the same on rows of `length` elements.

        `ceil_mode` is dropped if it adds no window; `count_include_pad` is set if there is no padding to count
        (an overhanging window is cut at the row's end either way).
        """
        ceil_mode, count_include_pad = self.ceil_mode, self.count_include_pad or self.padding == 0
        if ceil_mode:
            floor = replace(self, ceil_mode=False)
            ceil_mode = floor.output_length(length) != self.output_length(length)
        if (ceil_mode, count_include_pad) == (self.ceil_mode, self.count_include_pad):
            return self
        return replace(self, ceil_mode=ceil_mode, count_include_pad=count_include_pad)
