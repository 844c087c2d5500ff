"""A decoration makes nothing that a kernel needs only once it is called: programs decorate many kernels to call few."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
import triton

import tunedb
from tests.decorator.kernels import add_one, configs
from tests.decorator.stub import StubDriver, once
from tunedb.decorator import autotuner
from tunedb.errors import SettingError


def decorated(**given: Any) -> Any:
    """A kernel with two configs."""
    return tunedb.autotune(configs(16, 32), ["n"], do_bench=once, **given)(add_one)


@pytest.fixture
def without_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that serves calls can be made."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a part was made")

    for name in ("Parts", "KernelSpec", "KernelState", "Results", "Launcher", "LazyHash", "contents_of"):
        monkeypatch.setattr(autotuner, name, refuse)


def test_a_decoration_makes_no_parts(without_parts: None) -> None:
    kernel = decorated(reset_to_zero=["y"], name="named")
    assert [config.kwargs["BLOCK"] for config in kernel.configs] == [16, 32]
    kernel.configs = kernel.configs[1:]
    kernel.restore_value = ["x"]
    assert copy.copy(kernel).configs == kernel.configs
    with pytest.raises(AssertionError, match="a part was made"):
        kernel[(1,)]


def test_mistakes_are_reported_at_decoration_all_the_same(without_parts: None) -> None:
    for given in ({"reset_to_zero": ["z"]}, {"restore_value": ["z"]}, {"bucket": {"m": tunedb.pow2}}, {"name": "a b"}):
        with pytest.raises(SettingError):
            decorated(**given)
    with pytest.raises(SettingError, match="reference"):
        decorated(reference=7)
    with pytest.raises(SettingError, match="expected a function decorated"):
        tunedb.autotune(configs(16), ["n"])(once)


def test_what_was_edited_before_the_first_call_is_what_the_call_follows(stub: StubDriver) -> None:
    hooked: list[Any] = []
    kernel = decorated(bucket={"n": tunedb.pow2})
    kernel.configs[:] = configs(64)
    kernel.configs[0].pre_hook = lambda given: hooked.append(given["BLOCK"])
    kernel[(1,)](torch.zeros(8), torch.zeros(8), 8)
    assert hooked == [64]
    assert kernel.best_config.kwargs == {"BLOCK": 64}


def test_threads_that_make_the_first_calls_at_once_share_one_state(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, barrier = decorated(), threading.Barrier(2)
    make = autotuner.Launcher

    def slow(*parts: Any) -> Any:
        barrier.wait(10)
        return make(*parts)

    monkeypatch.setattr(autotuner, "Launcher", slow)
    launches: list[Any] = []
    threads = [threading.Thread(target=lambda: launches.append(kernel[(1,)].func)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert launches == [kernel._launcher.launch] * 2


def test_the_code_for_configs_that_another_thread_replaces_is_not_kept(
    stub: StubDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = decorated()
    for _ in range(2):
        kernel[(1,)](torch.zeros(8), torch.zeros(8), 8)
    launcher, edits = kernel._launcher, [configs(64)]

    class EditedMeanwhile(autotuner.Launcher):
        def __getattribute__(self, name: str) -> Any:
            found = super().__getattribute__(name)
            if name == "launch" and edits:
                kernel.configs = edits.pop()
            return found

    monkeypatch.setattr(launcher, "__class__", EditedMeanwhile)
    before = kernel[(1,)].func
    assert kernel[(1,)].func is not before


def test_what_is_wrong_with_a_part_is_said_where_it_is_first_used() -> None:
    kernel = decorated()
    kernel.fn = 7
    for use in (lambda: kernel.name, lambda: kernel[(1,)]):
        with pytest.raises(AttributeError, match="'int' object has no attribute"):
            use()


def test_a_kernel_has_no_attributes_that_triton_lacks() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'launches'"):
        _ = decorated().launches
    assert isinstance(decorated(), triton.runtime.Autotuner)
