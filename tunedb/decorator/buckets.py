"""Buckets for `tunedb.autotune(..., bucket=...)`: which values of a dynamic dimension share one tuned config."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from tunedb._internal.control import let_pass
from tunedb.errors import IdentityError, SettingError

Bucket = Callable[[int], int]


def pow2(value: int) -> int:
    """Round a size up to a power of two: 1000 and 1024 share a config, 1025 gets another.

    Zero and negative values stay as they are. Raises TypeError if `value` is not an integer.
    """
    value = operator.index(value)
    return 1 << (value - 1).bit_length() if value > 0 else value


def multiple_of(step: int) -> Bucket:
    """Return a bucket that rounds a size up to a multiple of `step`: `bucket={"M": tunedb.multiple_of(64)}`.

    Raises SettingError if `step` is not a positive int.
    """
    if type(step) is not int or step < 1:
        raise SettingError(f"multiple_of: expected a positive int, got {step!r}.")

    def rounded(value: int) -> int:
        return -(-operator.index(value) // step) * step

    return rounded


def bucketed(name: str, bucket: Bucket, value: Any) -> int | float | str | bool | None:
    """Apply a bucket to a value of the argument `name`.

    Raises IdentityError if the bucket fails, or returns something that a problem can't hold.
    """
    try:
        result: Any = plain_number(bucket(value))
    except Exception as error:  # the bucket is the user's code
        let_pass(error)
        raise IdentityError(f"bucket: {name}: failed for {value!r} ({type(error).__name__}: {error}).") from error
    if not isinstance(result, bool | int | float | str | None):
        raise IdentityError(f"bucket: {name}: expected an int, float, str, bool or None for {value!r}, got {result!r}.")
    return result


def plain_number(value: Any) -> Any:
    """Convert a NumPy scalar to Python's; return anything else unchanged."""
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value
