"""Comparing results: what differs, what agrees, and where the first difference is."""

from __future__ import annotations

import warnings

import pytest
import torch

from tunedb.runtime import accuracy
from tunedb.runtime.accuracy import Comparison, difference, is_same, mismatches

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.float8_e5m2, torch.int32, torch.bool])
def test_results_are_compared_within_what_another_order_may_change(dtype: torch.dtype) -> None:
    expected = torch.arange(12).reshape(3, 4).to(dtype)
    assert difference(expected.clone(), expected) is None
    wrong = expected.clone()
    wrong[1, 2] = 0
    wanted, got = expected[1, 2].item(), wrong[1, 2].item()
    said = f"1 of 12 elements differ, the first at (1, 2): expected {wanted!r}, got {got!r}"
    assert difference(wrong, expected) == said


def test_the_first_difference_is_found_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "_BLOCK", 5)
    expected = torch.arange(12.0).reshape(3, 4)
    wrong = expected.clone()
    wrong[1, 2:] = 100.0
    said = "2 of 12 elements differ, the first at (1, 2): expected 6.0, got 100.0"
    assert difference(wrong, expected) == said


def test_nan_agrees_with_nan_and_with_nothing_else() -> None:
    expected = torch.tensor([NAN, INF, 1.0])
    assert difference(torch.tensor([NAN, INF, 1.0001]), expected) is None
    assert difference(torch.tensor([0.0, INF, 1.0]), expected) is not None
    assert difference(torch.tensor([NAN, -INF, 1.0]), expected) is not None
    assert difference(torch.tensor([NAN, INF, NAN]), expected) is not None


def test_an_infinity_agrees_with_nothing_finite_whatever_the_tolerance() -> None:
    expected = torch.tensor([INF, -INF, INF, 2.0])
    actual = torch.tensor([INF, INF, 3.0, 2.5])
    assert mismatches(actual, expected, 0.0, 0.5).tolist() == [False, True, True, False]


def test_tolerances_are_of_the_result_and_of_each_element() -> None:
    expected = torch.tensor([0.0, 100.0])
    assert mismatches(torch.tensor([0.2, 100.2]), expected, 0.1, 0.0).tolist() == [True, True]
    assert mismatches(torch.tensor([0.2, 100.2]), expected, 0.1, 0.01).tolist() == [True, False]


def test_a_comparison_without_a_difference_reports_none() -> None:
    comparison = Comparison(0.0, 0.0)
    comparison.add(torch.ones(3), torch.ones(3), lambda at: at)
    assert comparison.report(3) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float8_e5m2, torch.int8, torch.complex64])
def test_the_same_elements_are_the_same_and_others_are_not(dtype: torch.dtype) -> None:
    one = torch.tensor([1.0, 2.0]).to(dtype)
    assert is_same(one, one.clone())
    assert not is_same(one, torch.tensor([1.0, 3.0]).to(dtype))
    assert is_same(torch.tensor([NAN]), torch.tensor([NAN]))


def every_dtype() -> list[torch.dtype]:
    """Every dtype that this torch has, packed ones included."""
    return sorted({value for value in vars(torch).values() if isinstance(value, torch.dtype)}, key=str)


@pytest.mark.parametrize("dtype", every_dtype(), ids=str)
def test_results_of_every_dtype_are_compared(dtype: torch.dtype) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says of some that they are experimental
        memory = torch.tensor([1, 64, 60, 0] * 16, dtype=torch.uint8)
        written = memory.clone()
        expected, actual = (part.view(dtype).view(2, -1) for part in (memory, written))
        assert difference(actual, expected) is None
        assert is_same(actual, expected)
        assert difference(actual.T, expected.T) is None  # not contiguous
        written[-1] = 255
        assert "elements differ, the first at (1, " in str(difference(actual, expected))
        assert not is_same(actual, expected)
