"""What the tests of decorated kernels share: kernels that run, or a GPU that is not there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import BROKEN, BROKEN_REASON, INTERPRETED
from tests.decorator.stub import StubDriver, stub_gpu
from tunedb.decorator import launcher


@pytest.fixture(autouse=True, scope="session")
def working_interpreter() -> None:
    """Triton 3.6's interpreter makes arrays in a way that NumPy 2.4 no longer has."""
    if INTERPRETED and BROKEN:
        # These two versions together run no kernel at all; the reason names them, and what to install.
        pytest.skip(BROKEN_REASON)


@pytest.fixture(autouse=True)
def early_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call of a kind makes its plan, so that tests need not call five times."""
    monkeypatch.setattr(launcher, "CALLS_BEFORE_PLAN", 1)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubDriver]:
    """A GPU that is not there."""
    if INTERPRETED:
        # Triton puts its interpreter in the compiler's place when it is imported; `make test` runs these without it.
        pytest.skip("the interpreter compiles nothing: run without TRITON_INTERPRET")
    with stub_gpu(monkeypatch) as driver:
        yield driver
