"""What the first call does, what it leaves behind, and what it does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own habit

import tunedb
from tests import forked
from tests.conftest import DEVICE, runs_kernels
from tests.kernels.conftest import ARGUMENTS, close
from tests.threads import errors_at_once
from tunedb.kernels import avg_pool1d
from tunedb.kernels.avg_pool import FORWARD, plans
from tunedb.tuner import session

pytestmark = runs_kernels


def test_the_first_call_sweeps_and_the_second_looks_up(monkeypatch: pytest.MonkeyPatch) -> None:
    tunedb.configure(mode="tune")
    x = torch.randn(2, 3, 35, device=DEVICE)
    avg_pool1d(x, 5, 1)
    choice = session.active().choose(
        FORWARD, FORWARD.problem({"shape": x.shape, "kernel_size": 5, "stride": 1}), x.get_device()
    )
    assert (choice.source, choice.sweep is not None) == ("memory", True)
    assert choice.sweep is not None
    assert choice.sweep.default_time_us is not None
    with tunedb.using(budget=60):  # a change empties the plans and the memory: what answers now is the store
        monkeypatch.setattr("tunedb.sweep.run.run_sweep", None)
        close(avg_pool1d(x, 5, 1), F.avg_pool1d(x, 5, 1))


def test_a_sweep_leaves_no_trace_in_the_caller() -> None:
    tunedb.configure(mode="tune")
    x = torch.randn(2, 3, 37, device=DEVICE, requires_grad=True)
    before, version = x.detach().clone(), x._version
    states = torch.get_rng_state(), torch.cuda.get_rng_state() if DEVICE == "cuda" else None
    allocated = torch.cuda.memory_allocated() if DEVICE == "cuda" else 0
    y = avg_pool1d(x, *ARGUMENTS)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert torch.is_grad_enabled()
    assert y.grad_fn is not None
    assert x._version == version
    assert torch.equal(x, before)
    if DEVICE == "cuda":
        assert states[1] is not None
        assert torch.equal(torch.cuda.get_rng_state(), states[1])
        assert torch.cuda.memory_allocated() - allocated <= 4096  # the output
        assert torch.cuda.current_device() == 0


@pytest.mark.parametrize("mode", ["record", "read", "off"])
def test_without_tuning_the_default_computes_the_same(mode: str) -> None:
    x = torch.randn(2, 3, 39, device=DEVICE)
    with tunedb.using(mode=mode):
        close(avg_pool1d(x, *ARGUMENTS), F.avg_pool1d(x, *ARGUMENTS))
        assert session.active().choose(FORWARD, plans_problem(x), x.get_device()).source == "memory"
    assert list(session._plans) != []


def plans_problem(x: Tensor) -> tunedb.Problem:
    return FORWARD.problem({"shape": x.shape, "kernel_size": 4, "stride": 2, "padding": 1})


def test_strict_raises_on_a_miss() -> None:
    x = torch.randn(2, 3, 41, device=DEVICE)
    with tunedb.using(mode="strict"), pytest.raises(tunedb.MissError, match="tunedb warm avg_pool1d"):
        avg_pool1d(x, *ARGUMENTS)


def test_a_kernel_that_does_not_launch_gives_way_to_torchs_own(
    monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture
) -> None:
    def refuse(launch: object) -> object:
        raise tunedb.TrialError("compile_error", "no such instruction")

    monkeypatch.setattr(plans, "load", refuse)
    x = torch.randn(2, 3, 43, device=DEVICE)
    with tunedb.using(mode="record"):
        for _ in range(3):
            close(avg_pool1d(x, *ARGUMENTS), F.avg_pool1d(x, *ARGUMENTS))
    assert records.text.count("using torch's own") == 1


def test_a_fault_of_the_machine_gives_way_to_torchs_own_for_this_call_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(launch: object) -> object:
        raise tunedb.HostFaultError("OSError: no space left on device")

    x = torch.randn(2, 3, 45, device=DEVICE)
    with tunedb.using(mode="record"):
        with monkeypatch.context() as patch:
            patch.setattr(plans, "load", refuse)
            close(avg_pool1d(x, *ARGUMENTS), F.avg_pool1d(x, *ARGUMENTS))
        assert not plans._forward_plans
        close(avg_pool1d(x, *ARGUMENTS), F.avg_pool1d(x, *ARGUMENTS))
        assert all(plans._forward_plans.values())
        assert len(plans._forward_plans) == 1


def test_threads_share_plans(x: Tensor) -> None:
    wanted = F.avg_pool1d(x, *ARGUMENTS)

    def call(_: int) -> None:
        for _ in range(20):
            close(avg_pool1d(x, *ARGUMENTS), wanted)

    assert errors_at_once(4, call) == []


SECOND = """
import logging, torch
logging.basicConfig(level=logging.INFO, format="%(message)s")
logging.getLogger("alembic").setLevel(logging.WARNING)
from tunedb.kernels import avg_pool1d
from tunedb.tuner import session
x = torch.ones(2, 3, 45, device={device!r})
avg_pool1d(x, 4, 2, 1)
(choice,) = session.active().cache._choices.values()
print(choice.source, choice.config)
"""


def test_the_second_process_never_sweeps(tmp_path: Path) -> None:
    environment = os.environ | {"TUNEDB_STORE": str(tmp_path / "shared.db")}
    first, second = (forked.run(["-c", SECOND.format(device=DEVICE)], env=environment) for _ in range(2))
    assert first.stdout.startswith("sweep ")
    assert second.stdout == first.stdout.replace("sweep", "store", 1)
    assert "Tuning" in first.stderr
    assert "Tuning" not in second.stderr
