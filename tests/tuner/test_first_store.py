"""A store that does not exist yet is made while the first kernel compiles."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.faults import calls
from tunedb import store
from tunedb.store import open_store
from tunedb.store.local import LocalOpener


def test_the_first_kernel_compiles_while_its_store_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, compiled = tmp_path / "new" / "t.db", threading.Event()

    def slow(*given: Any, **named: Any) -> Any:
        assert compiled.wait(60)  # for ever, if the compile waited for the store
        return open_store(*given, **named)

    monkeypatch.setattr(store, "open_store", slow)
    tuner = calls.tuner(store=str(path))
    assert calls.call(tuner, 1, lambda _: compiled.set())[:2] == (2, "sweep")
    tuner.close()
    with open_store(str(path)) as found:
        (sweep,) = found.iter_sweeps(with_trials=True)
    assert (sweep.status, len(sweep.trials)) == ("tuned", 3)


def test_a_store_is_new_if_its_path_has_no_file_or_an_empty_one(tmp_path: Path) -> None:
    empty, full, folder, link = (tmp_path / name for name in ("empty.db", "full.db", "folder", "link.db"))
    empty.touch()
    full.write_bytes(b"SQLite")
    folder.mkdir()
    link.symlink_to(full)

    def is_new(url: object, *, writable: bool = True) -> bool:
        return LocalOpener(str(url), busy_timeout=1.0, writable=writable).is_new()

    news = [tmp_path / "none.db", empty, f"sqlite:///{empty}"]
    assert [is_new(url) for url in news] == [True] * 3
    assert [is_new(url, writable=False) for url in news] == [False] * 3
    others = [full, folder, link, full / "below.db", "/dev/null", ":memory:", "sqlite://", "\0", "x" * 999]
    assert [is_new(url) for url in others] == [False] * len(others)


def test_a_mode_that_writes_nothing_makes_no_store(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    tuner = calls.tuner(store=str(path), mode="read")
    assert calls.call(tuner)[:2] == (1, "default")
    tuner.close()
    assert list(tmp_path.iterdir()) == []
