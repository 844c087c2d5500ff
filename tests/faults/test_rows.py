"""Rows that this process can't use: passed over and never marked, and the next one is taken, without end of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests import forked
from tests.fakes import FakeKernel, config
from tests.faults import calls
from tests.faults.parts import ROOT
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep, new_uid
from tunedb.errors import ImportRejected, TrialError
from tunedb.store import dump, load, open_store
from tunedb.tuner.tuner import Tuner

pytestmark = pytest.mark.usefixtures("patience")

SPACE = {1: 9.0, 2: 5.0, 4: 7.0, 8: 6.0}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with four sweeps of one problem; the newest has BLOCK=99, which is in nobody's space, then 8, 4 and 2."""
    path = tmp_path / "store.db"
    tuner = calls.tuner(store=str(path))
    calls.call(tuner)
    tuner.close()
    with open_store(str(path)) as store:
        (first,) = store.iter_sweeps(with_trials=True)
        assert first.finished is not None
        for hours, block in enumerate((4, 8, 99), 1):
            moment = first.finished + timedelta(hours=hours)
            store.put_sweep(replace(first, uid=new_uid(), config=config(block), finished=moment, trials=()))
    return path


def stored(path: Path) -> list[Sweep]:
    with open_store(str(path)) as store:
        return list(store.iter_sweeps(finished=False, with_trials=True))


def bound(tuner: Tuner, refused: set[int]) -> tuple[int, list[int]]:
    """The BLOCK that a call is bound to where those in `refused` do not launch, and all that were loaded for it."""
    kernel, loaded = FakeKernel(SPACE), list[int]()

    def load_config(found: Config) -> None:
        loaded.append(found["BLOCK"])
        if found["BLOCK"] in refused:
            raise TrialError("out_of_resources", "does not launch")

    choice, _ = tuner.bind(kernel, kernel.problem(n=1), -1, load_config)
    return choice.config["BLOCK"], loaded


def test_a_config_outside_today_s_space_and_those_that_do_not_launch_are_passed_over_in_this_process_only(
    path: Path,
) -> None:
    before = stored(path)
    tuner = calls.tuner(store=str(path))
    assert bound(tuner, {8, 4}) == (2, [8, 4, 2])
    assert bound(tuner, {8, 4}) == (2, [2])  # remembered
    tuner.close()
    assert stored(path) == before
    assert not any(sweep.marks for sweep in before)
    other = calls.tuner(store=str(path))
    assert bound(other, set()) == (8, [8])
    other.close()


def test_where_no_config_launches_each_is_tried_once_and_the_error_is_the_default_s(path: Path) -> None:
    tuner, loaded = calls.tuner(store=str(path), mode="read"), []
    kernel = FakeKernel(SPACE)

    def load_config(found: Config) -> None:
        loaded.append(found["BLOCK"])
        raise TrialError("compile_error", f"BLOCK={found['BLOCK']}")

    with pytest.raises(TrialError, match="BLOCK=1"):
        tuner.bind(kernel, kernel.problem(n=1), -1, load_config)
    assert loaded == [8, 4, 2, 1]
    tuner.close()


def test_an_export_with_a_wrong_checksum_is_refused_and_stores_nothing(path: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "export.jsonl", tmp_path / "other.db"
    with open_store(str(path)) as store:
        dump((sweep for sweep in store.iter_sweeps(with_trials=True) if sweep.trials), file)
    file.write_bytes(file.read_bytes().replace(b'"time_us":5.0', b'"time_us":1.0', 1))
    with pytest.raises(ImportRejected, match="checksum is wrong"):
        load(file)
    words = ["-m", "tunedb", "import", str(file), "--store", str(other)]
    done = forked.run(words, cwd=ROOT, libraries=forked.WITH_TUNEDB)
    assert done.returncode == 2
    assert "checksum is wrong" in done.stderr
    assert "Traceback" not in done.stderr
    assert not other.exists() or stored(other) == []


def test_a_kernel_of_another_hash_sees_nothing_of_the_rows_and_leaves_them(path: Path) -> None:
    before = stored(path)
    edited = FakeKernel(SPACE, hash="cd" * 32)
    tuner = calls.tuner(store=str(path))
    assert tuner.choose(edited, edited.problem(n=1), -1).source == "sweep"
    tuner.close()
    after = stored(path)
    assert [sweep for sweep in after if sweep.kernel_hash != edited.hash] == before
    assert len(after) == len(before) + 1
