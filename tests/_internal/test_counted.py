"""Numbers of things, as messages say them."""

from __future__ import annotations

import pytest

from tunedb._internal.counted import counted


@pytest.mark.parametrize(("number", "text"), [(0, "0 sweeps"), (1, "1 sweep"), (2, "2 sweeps"), (2000, "2,000 sweeps")])
def test_one_thing_has_no_s(number: int, text: str) -> None:
    assert counted(number, "sweep") == text
