"""A GPU that is not there, as the tests of decorated kernels have it, and no kernels of other tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import triton

import tunedb
from tests.decorator.conftest import early_plans, stub  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def tritons_own() -> Iterator[None]:
    """Triton's class, which each test leaves as it was."""
    gc.collect()  # the list of kernels must not show those of other tests
    before = members()
    yield
    assert members() == before


def members() -> dict[str, Any]:
    """What Triton's class holds, but for what `copy` keeps there."""
    return {name: value for name, value in vars(triton.runtime.Autotuner).items() if name != "__slotnames__"}


@pytest.fixture
def adoption(stub: object) -> Iterator[object]:  # noqa: F811 - the fixture above
    """All kernels are adopted."""
    with tunedb.adopt() as adoption:
        yield adoption
