"""`tunedb.agree`: whether ranks of a job launch the same configs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import tunedb
from tests import forked
from tunedb.core.problem import Config, Problem
from tunedb.fleet.agreement import compare
from tunedb.store import upgrade

ROOT = Path(__file__).parent.parent.parent
PROBLEM = Problem.of("softmax", columns=100)


def row(block: int, source: str = "store", uid: str | None = "ab" * 16, **other: str) -> Any:
    """What a rank sends of a choice."""
    facts = {"kernel": "softmax", "key": PROBLEM.key, "device": "d" * 64, "hash": "c0" * 32} | other
    return (*facts.values(), Config.of(BLOCK=block).key, source, uid)


def test_ranks_with_one_config_agree_wherever_it_came_from() -> None:
    assert compare({}) == []
    assert compare({0: [row(1)], 1: [row(1, "sweep", "cd" * 16)], 2: [row(1, "default", None)]}) == []


def test_a_problem_that_one_rank_called_is_no_difference() -> None:
    assert compare({0: [row(1)], 1: []}) == []
    assert compare({0: [row(1)], 1: [row(2, key=Problem.of("softmax", columns=2).key)]}) == []
    assert compare({0: [row(1)], 1: [row(2, kernel="norm")]}) == []


def test_other_models_of_device_are_not_compared() -> None:
    assert compare({0: [row(1)], 1: [row(2, device="e" * 64)]}) == []


@pytest.mark.parametrize("other", [row(2), row(2, "default", None), row(1, hash="c1" * 32)])
def test_another_config_and_another_source_of_the_kernel_are_differences(other: Any) -> None:
    [difference] = compare({0: [row(1)], 3: [other], 4: [row(1)]})
    assert (difference.problem, sorted(difference.choices)) == (PROBLEM, [0, 3, 4])
    assert str(difference).startswith(
        "softmax (columns=100): ranks 0, 4: BLOCK=1 (store, sweep abababababab, kernel c0"
    )
    assert "; rank 3: " in str(difference)


def test_without_torch_distributed_the_error_says_what_to_call() -> None:
    with pytest.raises(tunedb.SettingError, match=r"init_process_group\(\) before tunedb.agree"):
        tunedb.agree()
    with pytest.raises(tunedb.SettingError, match="expected raise or report, got 'ignore'"):
        tunedb.agree(on_difference="ignore")  # type: ignore[arg-type]


RANK = """
import json, logging, os, sys
rank, rendezvous = int(sys.argv[1]), sys.argv[2]
import torch.distributed as dist
dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
import tunedb
from tests.fakes import FakeKernel
from tunedb.core.problem import Problem
from tunedb.tuner import session
session.active()
said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("tunedb").addHandler(handler)
def call(kernel, rows):
    session.active().choose(kernel, Problem.of(kernel.name, rows=rows), -1)
def outcome():
    try:
        return len(tunedb.agree())
    except tunedb.RanksDisagree as error:
        return str(error)
results = [outcome()]                                   # nobody has called anything
with tunedb.using(mode="off"):
    call(FakeKernel({1: 1.0, 2: 2.0}), 1)
    results.append(outcome())                           # both have the default
    call(FakeKernel({1: 1.0} if rank else {2: 1.0}, name="other"), 2)
    results.append(outcome())
    results.append([str(difference) for difference in tunedb.agree(on_difference="report")])
    alone = dist.new_group([1])
    results.append(len(tunedb.agree(alone)))
print(json.dumps({"results": results, "said": said}))
dist.destroy_process_group()
"""


def test_two_ranks_hear_the_same_over_gloo(tmp_path: Path) -> None:
    environments = [os.environ | {"TUNEDB_STORE": str(tmp_path / f"{rank}.db")} for rank in range(2)]
    with ThreadPoolExecutor(2) as threads:
        ran = list(
            threads.map(
                lambda rank: forked.run(["-c", RANK, rank, tmp_path / "rendezvous"], env=environments[rank]), range(2)
            )
        )
    for process in ran:
        assert process.returncode == 0, process.stderr
    first, second = (json.loads(process.stdout.splitlines()[-1]) for process in ran)
    assert first == second
    sentence = "other (rows=2): rank 0: BLOCK=2 (default, kernel abababab); rank 1: BLOCK=1 (default, kernel abababab)"
    assert first["results"] == [
        0,
        0,
        f"Ranks use different configs, problems: 1. {sentence}. "
        "Give all ranks one shared store (TUNEDB_SHARED), and tune before the job: tunedb warm",
        [sentence],
        0,
    ]
    assert first["said"] == [f"Ranks differ. {sentence}"]


def environment_of(rank: int, folder: Path) -> dict[str, str]:
    """What torchrun tells a rank of four, and where they meet; torchrun itself takes as long as all of them."""
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4"}
    return os.environ | place | {"RENDEZVOUS": f"file://{folder}/rendezvous", "TUNEDB_MODE": "tune"}


def test_four_ranks_that_torchrun_starts_agree_cold_and_warm_if_they_share_a_store(
    tmp_path: Path, postgresql_url: str, exhaustive: bool
) -> None:
    if not exhaustive:
        # torchrun itself and four starts of torch; forks with the same variables are in each run of `make test`, below.
        pytest.skip("takes a minute: pytest --exhaustive")
    upgrade(postgresql_url)
    shared = postgresql_url.replace("postgresql://", "postgresql+psycopg://")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]
    ran = subprocess.run(
        [*torchrun, "-m", "tests.fleet.ranks", str(tmp_path), shared], cwd=ROOT, capture_output=True, text=True,
        timeout=300, env=os.environ | {"TUNEDB_MODE": "tune"}, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == [8, 0, 0]


def test_four_ranks_of_two_hosts_agree_cold_and_warm_if_they_share_a_store(tmp_path: Path, postgresql_url: str) -> None:
    upgrade(postgresql_url)
    words = ["-m", "tests.fleet.ranks", tmp_path, postgresql_url.replace("postgresql://", "postgresql+psycopg://")]
    ranks = [
        forked.Program(words, env=environment_of(rank, tmp_path), cwd=ROOT, libraries=forked.WITH_TORCH)
        for rank in range(4)
    ]
    outs, errors = zip(*(rank.communicate(240) for rank in ranks), strict=True)
    assert [rank.returncode for rank in ranks] == [0] * 4, errors
    without_a_store, cold, warm = json.loads(outs[0].splitlines()[-1])
    assert without_a_store == 8
    assert (cold, warm) == (0, 0)
