"""The bytes that a pooling has to move and the operations of its definition: its limits, whatever computes it."""

from __future__ import annotations

from dataclasses import fields

from tunedb.core.problem import Problem

from ..geometry import Window

ITEM_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


def bytes_moved(problem: Problem, backward: bool) -> int | None:
    """Return the bytes: of x what lies in a window, or of its gradient all, and all of y or of its gradient."""
    window, rows, length, item = _facts(problem)
    if item is None:
        return None
    windows = window.output_length(length)
    return rows * (windows + (length if backward else read_of_row(window, length))) * item


def operations(problem: Problem) -> int:
    """Return the operations: an addition for each element of each window, padding included."""
    window, rows, length, _ = _facts(problem)
    return rows * window.output_length(length) * window.kernel_size


def read_of_row(window: Window, length: int) -> int:
    """Count the elements of a row that lie in a window."""
    size, stride, padding = window.kernel_size, window.stride, window.padding
    windows = window.output_length(length)
    end = (windows - 1) * stride - padding + size  # of the last window
    if stride <= size:
        return max(0, min(length, end))
    return windows * size - padding - max(0, end - length)  # apart, so that only the first and the last overhang


def _facts(problem: Problem) -> tuple[Window, int, int, int | None]:
    plain = problem.plain()  # a dtype as its name: torch need not be loaded
    window = Window(**{field.name: plain[field.name] for field in fields(Window)})
    return window, plain["batch"] * plain["rows"], plain["length"], ITEM_BYTES.get(str(plain["dtype"]))
