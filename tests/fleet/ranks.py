"""A rank of a job under torchrun: two ranks a host share a state folder; each finds another config the fastest.

    torchrun --nproc-per-node=4 -m tests.fleet.ranks FOLDER SHARED_URL

RENDEZVOUS is where ranks without torchrun meet: file://PATH.
Prints, on rank 0, how many differences `tunedb.agree` finds: without anything in common, cold, and warm.
"""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

import torch.distributed as dist

import tunedb
from tests.fakes import FakeClock, FakeKernel
from tests.patience import be_patient
from tunedb.core.problem import Problem
from tunedb.tuner import session

PROBLEMS = 8
RANKS_A_HOST = 2


class TimedKernel(FakeKernel):
    """A fake kernel that brings its clock along."""

    clock = FakeClock()


def differences(rank: int) -> int:
    """Call every problem, in an order of this rank's own, and compare with the other ranks."""
    kernel = TimedKernel({1: 9.0, 2: 5.0 + rank % 2, 4: 6.0 - rank % 2})
    for n in random.Random(rank).sample(range(PROBLEMS), PROBLEMS):
        session.active().choose(kernel, Problem.of(kernel.name, n=n), -1)
    return len(tunedb.agree(on_difference="report"))


def main() -> None:
    """Run the rank."""
    be_patient()
    there = os.environ.get("RENDEZVOUS", "env://")
    place = {name: int(os.environ[variable]) for name, variable in (("rank", "RANK"), ("world_size", "WORLD_SIZE"))}
    dist.init_process_group("gloo", init_method=there, **place)
    rank, (folder, shared) = dist.get_rank(), sys.argv[1:]
    found = []
    with tunedb.using(store=Path(folder, f"rank{rank}.db")):
        found.append(differences(rank))
    with tunedb.using(store=Path(folder, f"host{rank // RANKS_A_HOST}.db"), shared=shared):
        found.append(differences(rank))
        session.forget()
        found.append(differences(rank))
        tunedb.flush(60)
    if rank == 0:
        print(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
