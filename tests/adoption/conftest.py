"""The GPU that is not there, as the tests of decorated kernels have it."""

from __future__ import annotations

from tests.decorator.conftest import stub  # noqa: F401 - a fixture
