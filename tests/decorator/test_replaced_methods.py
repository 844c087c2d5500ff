"""Methods of Triton's Autotuner that a program replaces are called, or else named once in the log."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import triton

import tunedb
from tests.conftest import runs_kernels
from tests.decorator.kernels import Bench, add_one, configs, grid_of, tensors, tuned
from tests.decorator.stub import StubDriver, once
from tunedb.decorator import replaced_methods
from tunedb.decorator.autotuner import Autotuner


@pytest.fixture
def unlogged(monkeypatch: pytest.MonkeyPatch) -> None:
    """No replaced method was named yet."""
    monkeypatch.setattr(replaced_methods, "_logged", set())


def last_only(original: Any) -> Any:
    """A `prune_configs` in the form in which programs replace it."""

    def prune_configs(self: Any, kwargs: dict[str, Any]) -> list[triton.Config]:
        assert set(self.nargs) | set(kwargs) >= {"x", "y", "n"}
        left: list[triton.Config] = original(self, kwargs)
        return left[-1:]

    return prune_configs


@runs_kernels
@pytest.mark.parametrize("where", ["triton's class", "a subclass", "one kernel"])
def test_a_replaced_pruning_is_called(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    original = triton.runtime.Autotuner.prune_configs
    kernel, (x, y) = tuned(do_bench=Bench(1.0, 2.0, 3.0), blocks=(16, 64, 32)), tensors()
    kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config is kernel.configs[0]
    if where == "triton's class":
        monkeypatch.setattr(triton.runtime.Autotuner, "prune_configs", last_only(original))
        kernel.cache.clear()
    elif where == "a subclass":
        made = type("Subclass", (Autotuner,), {"prune_configs": last_only(original)})
        kernel = tuned(blocks=(16, 64, 32))
        kernel.__class__ = made
        kernel.cache.clear()
    else:
        kernel.prune_configs = lambda kwargs: kernel.configs[-1:]
    for _ in range(3):
        kernel[grid_of(100)](x, y, n=100)
        assert kernel.best_config is kernel.configs[2]
    torch.testing.assert_close(y, x + 1)


@runs_kernels
@pytest.mark.parametrize("name", ["run", "warmup", "_bench", "check_disk_cache"])
def test_what_is_not_called_is_named_once(
    monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture, unlogged: None, name: str
) -> None:
    def replaced(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError

    if not hasattr(triton.runtime.Autotuner, name):
        # Some of these methods came after Triton 3.6, the oldest that is supported.
        pytest.skip("this Triton has no such method")
    monkeypatch.setattr(triton.runtime.Autotuner, name, replaced)
    (x, y) = tensors()
    for n in (100, 99):
        tuned()[grid_of(n)](x, y, n)
    assert [record.message.partition(" was")[0] for record in records.records if "replaced" in record.message] == [
        f"The method {name} of Triton's Autotuner"
    ]


@runs_kernels
def test_nothing_is_named_without_a_reason(records: pytest.LogCaptureFixture, unlogged: None) -> None:
    x, y = tensors()
    tuned()[grid_of(100)](x, y, 100)
    assert "replaced" not in records.text


def test_a_replaced_launch_sees_every_call(monkeypatch: pytest.MonkeyPatch, stub: StubDriver) -> None:
    seen: list[Any] = []
    original = triton.runtime.JITFunction.run

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs["grid"])
        return original(self, *args, **kwargs)

    kernel = tunedb.autotune(configs(64), ["n"], do_bench=once, name="kernel")(add_one)
    x, y = torch.zeros(2, 100)
    monkeypatch.setattr(triton.runtime.JITFunction, "run", run)
    for _ in range(3):
        kernel[(2,)](x, y, 100)
    assert seen.count((2,)) == 3
