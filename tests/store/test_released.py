"""Files of released schemas: this version opens each, brings it up to date, answers from it and exports it."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from tests.store.assets import make
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep
from tunedb.store import check, dump, load, open_store, winner
from tunedb.store.sql import schema

RELEASED = sorted(make.FOLDER.glob("v*.db"))


@pytest.fixture(autouse=True)
def quick_schemas() -> None:
    """Alembic makes every store here."""


def by_uid(sweeps: list[Sweep]) -> list[Sweep]:
    return sorted(sweeps, key=lambda one: one.uid)


@pytest.fixture(params=RELEASED, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a released file, as people have it."""
    return shutil.copy(request.param, tmp_path / "store.db")


def test_there_is_a_file_of_every_schema_up_to_the_newest() -> None:
    assert [path.stem for path in RELEASED] == [f"v{number:04d}" for number in range(2, int(schema.HEAD) + 1)]


def test_every_sweep_trial_and_mark_of_a_released_file_is_still_there(path: Path) -> None:
    with open_store(str(path)) as store:
        assert by_uid(list(store.iter_sweeps(with_trials=True))) == by_uid(make.sweeps())
        assert sorted((one.source, one.count) for one in store.usage.get(["store", "default", "nearest"])) == [
            ("default", 3),
            ("nearest", 2),
            ("store", 5),
        ]
    check(str(path))


def test_a_released_file_answers_as_its_rows_and_marks_say(path: Path) -> None:
    with open_store(str(path)) as store:
        now, found = make.NOON + timedelta(hours=3), {}
        for n in range(1, 6):
            for device in make.DEVICES:
                best = winner(store.get_sweeps(make.problem(n), device, make.HASH), make.ENVIRONMENT, now=now)
                if best is not None:
                    found[n, device.backend] = int(best[0].uid, 16), best[1]
                    assert best[0].config == Config.of(BLOCK=128, num_warps=4)
    assert found == {
        (1, "cuda"): (2, "store"),
        (2, "cuda"): (3, "store"),
        (3, "cuda"): (4, "store"),
        (3, "hip"): (5, "store"),
    }


def test_a_released_file_takes_new_rows_and_can_be_exported_and_imported(path: Path, tmp_path: Path) -> None:
    with open_store(str(path)) as store, open_store(str(tmp_path / "other.db")) as other:
        new = make._sweep(8, 8, 0, "tuned")
        assert store.put_sweep(new)
        assert [one.source for one in store.usage.get(["default", "nearest"])] == ["nearest"]  # 8 is no miss any more
        file = tmp_path / "export.jsonl"
        leaving = [one for one in [*make.sweeps(), new] if one.leaves_its_store]
        assert dump(store.iter_sweeps(with_trials=True), file) == len(leaving) > 4
        assert other.put_sweeps(load(file, strict=True).sweeps) == (len(leaving), 0)
        again = tmp_path / "again.jsonl"
        dump(other.iter_sweeps(with_trials=True), again)
        assert again.read_bytes() == file.read_bytes()
