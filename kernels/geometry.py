"""The arithmetic of pooling windows, in plain integers: no torch, no Triton."""

from __future__ import annotations

from dataclasses import dataclass, replace


def cdiv(dividend: int, divisor: int) -> int:
    """The quotient, rounded up."""
    return -(-dividend // divisor)


def power_of_2_from(number: int) -> int:
    """The smallest power of two that is no smaller than `number`; 1 for anything below."""
    return 1 << max(number - 1, 0).bit_length()


def power_of_2_to(number: int) -> int:
    """The largest power of two that is no larger than `number`; 1 for anything below."""
    return 1 << (max(number, 1).bit_length() - 1)


@dataclass(frozen=True, slots=True)
class Window:
    """A pooling window: the arguments of `torch.nn.functional.avg_pool1d`, in positions of one row.

    Window `o` starts at `o * stride - padding`, where 0 is the row's first element. Nothing is checked here: what
    torch refuses must be refused by whoever makes one.
    """

    kernel_size: int
    stride: int
    padding: int = 0
    ceil_mode: bool = False
    count_include_pad: bool = True

    def output_length(self, length: int) -> int:
        """The number of windows over a row of `length` elements; a `torch.SymInt` gives a `torch.SymInt`.

        ATen's `pooling_output_shape`: with `ceil_mode` the last window may overhang, but it starts inside the row
        or its left padding.
        """
        spare = length + 2 * self.padding - self.kernel_size
        if not self.ceil_mode:
            return spare // self.stride + 1
        windows = (spare + self.stride - 1) // self.stride + 1
        return windows - 1 if (windows - 1) * self.stride >= length + self.padding else windows

    def tiles(self, length: int) -> bool:
        """Whether the windows cover rows of `length` elements without overlap, gap, padding or rest."""
        return self.stride == self.kernel_size and self.padding == 0 and length % self.stride == 0

    def normalised(self, length: int) -> Window:
        """The window that computes the same on rows of `length` elements, so that equal problems share one name.

        `ceil_mode` is dropped where it adds no window; `count_include_pad` is set where there is no padding to count
        (an overhanging window is cut at the row's end either way).
        """
        ceil_mode, count_include_pad = self.ceil_mode, self.count_include_pad or self.padding == 0
        if ceil_mode:
            floor = replace(self, ceil_mode=False)
            ceil_mode = floor.output_length(length) != self.output_length(length)
        if (ceil_mode, count_include_pad) == (self.ceil_mode, self.count_include_pad):
            return self
        return replace(self, ceil_mode=ceil_mode, count_include_pad=count_include_pad)
