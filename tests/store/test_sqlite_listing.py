"""Lists by `sqlite3` alone are those of the whole store."""

from __future__ import annotations

from pathlib import Path

from tests.store.samples import DEVICE, failed, running, sweep, trial
from tunedb.core.device import INTERPRETER
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Mark, MarkKind
from tunedb.store import open_store
from tunedb.store.reading import ReadStore, open_to_read


def test_lists_are_those_of_the_whole_store(tmp_path: Path) -> None:
    path = str(tmp_path / "t.db")
    add = Problem.of("mine.add", n=3)
    sweeps = [*(sweep(n) for n in range(250)), failed(7), sweep(1, device=INTERPRETER), sweep(problem=add)]
    with open_store(path) as whole:
        whole.put_sweeps(sweeps)
        whole.start_sweep(running(sweep(problem=add)))
        whole.marks.put(sweeps[3].uid, Mark(MarkKind.PIN, "why not"))
        quick = open_to_read(path)
        assert isinstance(quick, ReadStore)
        with quick:
            for options in (
                {}, {"finished": False}, {"kernel": "mine.add", "finished": False}, {"device_name": DEVICE.name},
                {"kernel": "other"}, {"latest": 7}, {"kernel": "mine.add", "latest": 1, "finished": False},
            ):  # fmt: skip
                assert list(quick.iter_sweeps(**options)) == list(whole.iter_sweeps(**options))  # type: ignore[arg-type]
            assert quick.get_problem_sweeps(sweeps[1].problem) == whole.get_problem_sweeps(sweeps[1].problem)
            assert len(quick.get_problem_sweeps(sweeps[1].problem)) == 2
            assert set(quick.upkeep.devices()) == set(whole.upkeep.devices()) == {DEVICE, INTERPRETER}
            assert quick.upkeep.devices("mine.add") == whole.upkeep.devices("mine.add") == [DEVICE]
            assert quick.upkeep.kernels() == whole.upkeep.kernels() == ["avg_pool1d", "mine.add"]
            tried = [Config.of(BLOCK=block, num_warps=4) for block in (128, 256, 512)]
            assert quick.upkeep.tried_configs("mine.add") == whole.upkeep.tried_configs("mine.add") == tried
            assert quick.upkeep.tried_configs("other") == []
            assert quick.upkeep.problems("mine.add") == whole.upkeep.problems("mine.add") != []
            asked = [*(one.uid for one in sweeps), "f" * 32]
            assert quick.upkeep.known_uids(asked) == whole.upkeep.known_uids(asked) == {one.uid for one in sweeps}
            assert len(next(iter(quick.iter_sweeps(with_trials=True))).trials) == 3
            assert quick.whole is not None


def test_what_is_no_store_is_opened_by_the_whole_store(tmp_path: Path) -> None:
    assert open_to_read(str(tmp_path / "absent.db")) is None
    assert trial(1).config["BLOCK"] == 1
