"""The decorated kernels of the benchmark of sibling GPUs: each call tunes its problem."""

from __future__ import annotations

import pytest

import tunedb
from benchmarks import sibling_kernels
from tests.conftest import DEVICE, runs_kernels
from tunedb import settings
from tunedb.store import open_store

pytestmark = runs_kernels
SMALL = {"softmax": ((16,),), "layer_norm": ((32,),), "matmul": ((16, 16, 32),)}


@pytest.mark.parametrize("name", list(SMALL))
def test_a_call_tunes_its_problem(name: str) -> None:
    ((stored, call),) = sibling_kernels.calls(DEVICE, {name: SMALL[name]}, rows=2)
    with settings.using(mode="tune", budget=100.0):
        call()
        assert tunedb.flush(10.0)
    with open_store(settings.current().store) as store:
        (sweep,) = store.iter_sweeps(with_trials=True)
    assert (sweep.problem.kernel, stored) == (f"sibling_{name}", f"sibling_{name}")
    assert len(sweep.trials) >= 6
