"""What is stored is what ran: planted faults, on a real launch where there is a GPU, and on a stub of one elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.conftest import INTERPRETED
from tests.decorator.kernels import add_one, configs, grid_of, new_process, tuned
from tests.decorator.stub import once, stub_gpu
from tests.decorator.test_hash import DAMAGES, SMALL
from tests.decorator.test_hash import load as load
from tests.decorator.test_store import stored
from tunedb.core.source_hash import kernel_hash
from tunedb.store import Store

pytestmark = pytest.mark.skipif(INTERPRETED, reason="needs a compiler: the interpreter reads the file at each call")
N = 1000


class Machine:
    """A device for tensors; whether it computes; and the options of kernels that are decorated for it."""

    def __init__(self, device: str, **options: Any) -> None:
        self.device, self.computes, self.options = device, device != "cpu", options

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(N, device=self.device), torch.zeros(N, device=self.device)

    def tuned(self, jit: Any = add_one, **options: Any) -> Any:
        return tuned(jit, **{**self.options, **options})

    def check(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Hold that the kernel has run."""
        if self.computes:
            torch.testing.assert_close(y, x + 1)


@pytest.fixture(params=["stub", pytest.param("gpu", marks=pytest.mark.gpu)])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A GPU, and one that is not there."""
    if request.param == "gpu":
        yield Machine("cuda")
        return
    with stub_gpu(monkeypatch):
        yield Machine("cpu", do_bench=once)


@pytest.mark.parametrize("grid", [(0,), (0, 7), (7, 0, 1), lambda given: (0 * given["BLOCK"],)])
def test_a_first_call_with_an_empty_grid_stores_nothing_and_the_next_one_tunes(
    machine: Machine, store: Store, grid: Any
) -> None:
    kernel, (x, y) = machine.tuned(), machine.tensors()
    for _ in range(2):
        kernel[grid](x, y, N)
    assert stored(store) == []
    assert not y.any()
    for _ in range(2):
        kernel[grid_of(N)](x, y, N)
    machine.check(x, y)
    (sweep,) = stored(store)
    assert {trial.config["BLOCK"] for trial in sweep.trials} == {16, 64}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_kernel_whose_file_is_damaged_after_the_import_is_tuned_as_it_was_imported(
    machine: Machine, store: Store, load: Callable[..., ModuleType], damage: str
) -> None:
    module = load(SMALL)
    expected = kernel_hash(load(SMALL).kernel)
    DAMAGES[damage](Path(str(module.__file__)))
    for _ in range(2):
        kernel, (x, y) = machine.tuned(module.kernel), machine.tensors()
        x[:] = y
        kernel[(1,)](x[:16], 16)
        if machine.computes:
            assert x[:16].tolist() == [1.0] * 16
        new_process()
    (sweep,) = stored(store)
    assert sweep.kernel_hash == expected


def test_configs_that_are_deleted_are_not_launched_again(machine: Machine) -> None:
    kernel, (x, y) = machine.tuned(configs=configs(1024, 16)), machine.tensors()
    for _ in range(3):
        kernel[grid_of(N)](x, y, N)
    del kernel.configs[1:]
    y.zero_()
    kernel[grid_of(N)](x, y, N)
    assert kernel.best_config.kwargs == {"BLOCK": 1024}
    kernel.configs[:] = configs(16)
    kernel[grid_of(N)](x, y, N)
    assert kernel.best_config.kwargs == {"BLOCK": 16}
    machine.check(x, y)
