"""The rate at which a GPU copies."""

from __future__ import annotations

import pytest


@pytest.mark.gpu
def test_a_copy_is_measured_and_leaves_nothing_behind() -> None:
    import torch

    from tunedb.runtime.copying import measured_rate

    before = torch.cuda.memory_reserved()
    rates = [measured_rate(torch.cuda.current_device()) for _ in range(2)]
    assert torch.cuda.memory_reserved() <= before
    assert all(
        1e10 < rate < 2e13 for rate in rates
    )  # slower than a laptop's GPU, faster than any there is: a unit is wrong
    assert max(rates) / min(rates) < 1.2
