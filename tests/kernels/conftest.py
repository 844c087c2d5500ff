"""What the tests of the op share: an input for which a plain call was made, and who served a call."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own habit

import tunedb
from tests.conftest import DEVICE

ARGUMENTS = (4, 2, 1)


@pytest.fixture(autouse=True)
def quick() -> None:
    """No sweep unless a test is about one: on a GPU it takes ten seconds and more, in the interpreter half of one."""
    torch.manual_seed(0)
    tunedb.configure(mode="record")


@pytest.fixture
def x() -> Tensor:
    """The input, for which a plain call was already made: the fast way is open."""
    from tunedb.kernels import avg_pool1d

    x = torch.randn(2, 3, 33, device=DEVICE)
    avg_pool1d(x, *ARGUMENTS)
    return x


@pytest.fixture
def torchs_own(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The inputs that went to torch's own function."""
    from tunedb.kernels.avg_pool import op

    seen: list[Tensor] = []

    def spy(given: Tensor, *arguments: object) -> Tensor:
        seen.append(given)
        return F.avg_pool1d(given, *arguments)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(op, "torch_avg_pool1d", spy)
    return seen


def close(found: Tensor, wanted: Tensor) -> None:
    """Equal within float32's rounding, and of the same strides."""
    torch.testing.assert_close(found, wanted)
    assert found.stride() == wanted.stride()
