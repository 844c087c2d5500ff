"""A first call on a device of the bundle that tunedb ships: in mode strict, nothing is swept and no store is made."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from benchmarks.shipped import BUNDLE, LIST, in_bundle, listed
from tests.conftest import INTERPRETED, runs_interpreter
from tunedb import settings
from tunedb.core.device import Device
from tunedb.kernels import avg_pool1d
from tunedb.kernels.avg_pool import FORWARD
from tunedb.tuner import session

POOLED = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
SHIPPED = [row for row in in_bundle(BUNDLE) if row.problem.kernel == FORWARD.name and row.problem["layout"] == "rows"]
DEVICES = sorted({row.device for row in SHIPPED}, key=str)


@runs_interpreter
@pytest.mark.skipif(not INTERPRETED, reason="needs the interpreter: a GPU has the name that it has")
@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_a_first_call_sweeps_nothing(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments_of = {problem: arguments for problem, arguments in listed(LIST) if problem.kernel == FORWARD.name}
    rows = [row for row in SHIPPED if row.device == device and row.problem in arguments_of]
    row = min(rows, key=lambda row: math.prod(arguments_of[row.problem]["shape"]))
    arguments = arguments_of[row.problem]
    monkeypatch.setattr("tunedb.runtime.current_device.INTERPRETER", device)
    x = torch.randn(arguments["shape"], dtype=getattr(torch, arguments["dtype"]))
    pooled = {name: arguments[name] for name in POOLED if name in arguments}
    with settings.using(mode="strict"):
        torch.testing.assert_close(avg_pool1d(x, **pooled), torch.nn.functional.avg_pool1d(x, **pooled))
        choice = session.active().choose(FORWARD, row.problem, -1)
    assert (choice.config, choice.layer) == (row.config, "bundle")
    assert not Path(settings.current().store).exists()
