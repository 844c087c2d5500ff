"""The view of a comparison: what each side would choose, and what the other's choice costs there."""

from __future__ import annotations

import pytest

from tests.reporting.stores import A, B, made
from tunedb.reporting.comparing import compare_view, log_ticks
from tunedb.reporting.sides import Kind, Side, compared, natural_comparison


def test_the_sentence_and_the_table_say_what_the_other_would_choose() -> None:
    view = compare_view(natural_comparison([made(device, n) for device in (A, B) for n in range(3)]))
    assert view.answer.startswith(
        "A is NVIDIA A100, B is NVIDIA H100. They choose different configs for 3 of 3 problems."
    )
    assert "With A's config, B takes" in view.answer
    assert "only" not in view.answer
    (figure,) = view.figures
    assert "On the line both take the same time; below it, NVIDIA H100 is faster." in figure.description
    (table,) = view.tables
    assert [column.title for column in table.columns][3:5] == ["A's config: NVIDIA A100", "B's config: NVIDIA H100"]
    row = next(row for row in table.rows if row[1] == "n=0")
    assert row[3:5] == ["BLOCK=64", "BLOCK=128"]  # the same number of warps won everywhere, and is left out


def test_what_one_side_lacks_is_counted() -> None:
    one, other = Side("a", Kind.STORE, [made(A, n) for n in (0, 1, 2)]), Side("b", Kind.STORE, [made(A, 0), made(A, 9)])
    assert compare_view(compared(one, other)).answer == (
        "A is a, B is b. They choose different configs for 0 of 1 problem. "
        "Each with its own, B takes 1.00 times as long as A (1 problem). Tuned 2 on A only and 1 on B only."
    )


@pytest.mark.parametrize(
    ("values", "ticks"),
    [((3.0, 120.0), [5, 10, 20, 50, 100]), ((1.0, 1.0), [1]), ((0.5, 2e6), [1, 10, 100, 1e3, 1e4, 1e5, 1e6])],
)
def test_ticks_of_a_logarithmic_axis(values: tuple[float, ...], ticks: list[float]) -> None:
    assert log_ticks(values) == ticks
