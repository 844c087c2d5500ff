"""Many at once, or none of the heavy packages: who opens a store, and what that loads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from tests.faults.parts import output_of
from tunedb.errors import StoreUnavailable
from tunedb.store import check, current, open_store, upgrade
from tunedb.store.sql import schema

OPENER = """
import sys
import alembic.command
from tests.faults.parts import crowd
from tunedb.store import open_store, upgrade
url = sys.argv[1]
def work(n):
    if url.startswith("postgresql"):
        upgrade(url)
    open_store(url)
    return n
assert crowd(8, work) == list(range(8))
"""


@pytest.fixture(autouse=True)
def quick_schemas() -> None:
    """Alembic makes every store here."""


def test_eight_processes_can_open_one_absent_store(stored_url: str) -> None:
    assert output_of(OPENER, stored_url, env={**os.environ, "PYTHONWARNINGS": "error"}, is_anew=True) == ""
    check(stored_url)


def test_threads_can_make_several_stores_at_once(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/{n % 3}.db" for n in range(9)]
    threads = [threading.Thread(target=upgrade, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [current(url) for url in urls] == [schema.HEAD] * 9


def test_who_waits_too_long_for_another_s_opening_is_told(file_url: str, tmp_path: Path) -> None:
    other = FileLock(f"{tmp_path}/store.db.lock")
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(other.acquire).result()
        with pytest.raises(StoreUnavailable, match="has been opening"):
            open_store(file_url, busy_timeout=0.1)
        elsewhere.submit(other.release).result()


def test_an_up_to_date_store_is_opened_without_alembic_and_filelock(file_url: str) -> None:
    upgrade(file_url)
    code = (
        "import sys; from tunedb.store import open_store\n"
        f"open_store({file_url!r})\n"
        "sys.exit(' '.join({'alembic', 'filelock', 'torch', 'triton', 'psycopg'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
