"""Buckets for `tunedb.autotune(..., bucket=...)`: which values of a dynamic dimension share one tuned config."""

from __future__ import annotations

import operator
from collections.abc import Callable

from tunedb.errors import SettingError


def pow2(value: int) -> int:
    """The smallest power of two that is not less than `value`: 1000 and 1024 share a config, 1025 does not.

    Zero and negative values are left as they are.
    """
    value = operator.index(value)
    return 1 << (value - 1).bit_length() if value > 0 else value


def multiple_of(step: int) -> Callable[[int], int]:
    """A bucket that rounds up to a multiple of `step`. Raises SettingError where `step` is no positive int."""
    if type(step) is not int or step < 1:
        raise SettingError(f"multiple_of: found {step!r}, needed a positive int.")

    def rounded(value: int) -> int:
        return -(-operator.index(value) // step) * step

    return rounded
