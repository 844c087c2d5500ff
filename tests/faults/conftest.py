"""The stores of tests/store, for the tests that break them, and a folder on which writing is quick."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.conftest import file_url, postgresql_instance, postgresql_server, postgresql_url, stored_url

__all__ = ["file_url", "postgresql_instance", "postgresql_server", "postgresql_url", "stored_url"]


@pytest.fixture
def quick_path(tmp_path: Path) -> Iterator[Path]:
    """Where a store may be, in memory if the system has such a folder, so that many writers do not wait for a disk.

    What a killed process leaves is the same there.
    """
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path / "store.db"
        return
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name) / "store.db"
