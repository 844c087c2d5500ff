"""Nothing of a call outlives it: its tensors are freed by reference counts alone, however the call went."""

from __future__ import annotations

import contextlib
import gc
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import triton
import triton.language as tl

import tunedb
from tests.conftest import DEVICE, runs_kernels
from tests.decorator.kernels import Bench, add_one, add_some, new_process, tuned
from tests.decorator.test_tuning import Timer, refusing, timer
from tunedb.tuner import session

__all__ = ["timer"]

Call = Callable[[torch.Tensor, torch.Tensor], object]


@pytest.fixture(autouse=True)
def uncollected(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No help from the collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def outcome(call: Call, device: str = DEVICE) -> tuple[str, list[str]]:
    """Make a call; return the class of what it raised, and the arguments that are alive after it and its exception."""
    x, y = torch.zeros(16, device=device), torch.zeros(16, device=device)
    alive = {"x": weakref.ref(x), "y": weakref.ref(y)}
    raised = ""
    try:
        call(x, y)
    except BaseException as error:
        raised = type(error).__name__
    del x, y
    return raised, [name for name, reference in alive.items() if reference() is not None]


def launched(kernel: Any, **keywords: Any) -> Call:
    return lambda x, y: kernel[(1,)](x, y, 16, **keywords)


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise type(error)(*error.args)

    return fail


@triton.jit
def broken(x, y, n, BLOCK: tl.constexpr):
    if BLOCK == 32:
        tl.device_assert(tl.load(x) == missing)  # type: ignore[name-defined]  # noqa: F821 (at run time)
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + offsets, tl.load(x + offsets, mask=offsets < n) + 1, mask=offsets < n)


def reference(x: torch.Tensor) -> Mapping[str, torch.Tensor]:
    return {"y": x + 1}


def failing(x: torch.Tensor) -> Mapping[str, torch.Tensor]:
    raise ZeroDivisionError(f"own {x.shape}")


SOME = [triton.Config({"BLOCK": 16, "SOME": some}) for some in (1, 2)]
WRONG = [triton.Config({"BLOCK": 16, "SOME": some}) for some in (2, 3)]

# What the kernel is, and what the call is to raise.
CASES: dict[str, tuple[Callable[[], Any], str]] = {
    "all are good": (tuned, ""),
    "a benchmark of its own": (lambda: tuned(do_bench=Bench(2.0, 1.0)), ""),
    "one is wrong": (lambda: tuned(add_some, configs=SOME, reference=reference), ""),
    "all are wrong": (lambda: tuned(add_some, configs=WRONG, reference=reference), "AllConfigsFailed"),
    "they differ": (lambda: tuned(add_some, configs=SOME), ""),
    "one fails": (lambda: tuned(broken, blocks=(16, 32)), "CallersOwn"),
    "a reference that fails": (lambda: tuned(reference=failing), "ZeroDivisionError"),
    "a reference that is wrong": (lambda: tuned(reference=lambda x: {"z": x}), "SettingError"),
    "hooks": (
        lambda: tuned(pre_hook=lambda *_, **__: None, post_hook=lambda *_, **__: None, restore_value=["x"]),
        "",
    ),
    "values that are restored": (lambda: tuned(restore_value=["x"], reset_to_zero=["y"]), ""),
    "a hook that fails": (lambda: tuned(pre_hook=raising(ZeroDivisionError("own"))), "ZeroDivisionError"),
    "a config's hook": (
        lambda: tuned(configs=[triton.Config({"BLOCK": b}, pre_hook=lambda given: None) for b in (16, 32)]),
        "",
    ),
    "a config's hook that fails": (
        lambda: tuned(configs=[triton.Config({"BLOCK": b}, pre_hook=raising(KeyError("own"))) for b in (16, 32)]),
        "KeyError",
    ),
    "a benchmark that fails": (lambda: tuned(do_bench=raising(RuntimeError("no clock"))), "RuntimeError"),
    "an interrupt": (lambda: tuned(do_bench=raising(KeyboardInterrupt())), "KeyboardInterrupt"),
    "too little memory": (lambda: tuned(do_bench=raising(torch.OutOfMemoryError("full"))), ""),
    "pruning": (lambda: tuned(prune_configs_by={"early_config_prune": lambda configs, *_, **__: configs}), ""),
    "pruning that fails": (
        lambda: tuned(prune_configs_by={"early_config_prune": raising(ValueError("own"))}),
        "ValueError",
    ),
    "a heuristic": (
        lambda: tuned(triton.heuristics({"n": lambda given: 16})(add_one), key=[]),
        "",
    ),
}


@runs_kernels
@pytest.mark.parametrize("case", CASES)
def test_a_first_call_a_repeated_one_and_one_that_the_store_answers_leave_nothing(case: str) -> None:
    make, raises = CASES[case]
    kernel = make()
    call = (lambda x, y: kernel[(1,)](x, y)) if case == "a heuristic" else launched(kernel)
    for number in range(3):
        if number == 2:
            new_process()
        raised, alive = outcome(call)
        assert alive == [], (case, number)
        if number == 0 and raises != "CallersOwn":
            assert raised == raises


@runs_kernels
@pytest.mark.parametrize("mode", ["record", "read", "off", "strict"])
def test_a_call_leaves_nothing_in_any_mode(mode: str) -> None:
    with tunedb.using(mode=mode):  # type: ignore[arg-type]  # one of those
        for _ in range(2):
            assert outcome(launched(tuned())) == ("MissError" if mode == "strict" else "", [])


@runs_kernels
@pytest.mark.parametrize("fails", ["the opener", "every access", "the lock folder", "the tuner"])
def test_a_call_leaves_nothing_if_what_is_behind_it_fails(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner = session.active()
    if fails == "the opener":
        monkeypatch.setattr("tunedb.store.open_store", raising(RuntimeError("no store")))
    elif fails == "every access":
        monkeypatch.setattr("tunedb.store.sql.store.Store.get_sweeps", raising(RuntimeError("no rows")))
        monkeypatch.setattr("tunedb.store.sql.store.Store.finish_sweep", raising(RuntimeError("no disk")))
    elif fails == "the lock folder":
        (tmp_path / "tunedb.db.locks").write_text("")
    else:
        monkeypatch.setattr(tuner, "_decide", raising(RuntimeError("a fault of ours")))
    kernel = tuned()
    for _ in range(2):
        assert outcome(launched(kernel)) == ("", [])


@runs_kernels
def test_a_call_with_wrong_arguments_leaves_nothing() -> None:
    kernel = tuned()
    wrong: dict[str, Call] = {
        "a grid that fails": lambda x, y: kernel[raising(ZeroDivisionError("own"))](x, y, 16),
        "no argument": lambda x, y: kernel[(1,)](x, y),
        "a knob": lambda x, y: kernel[(1,)](x, y, 16, BLOCK=16),
        "a tensor in key": lambda x, y: kernel[(1,)](x, y, torch.zeros(1)),
    }
    for case, call in wrong.items():
        raised, alive = outcome(call)
        assert raised, case
        assert alive == [], case


@runs_kernels
def test_calls_on_threads_leave_nothing() -> None:
    kernel, outcomes = tuned(), []
    threads = [threading.Thread(target=lambda: outcomes.append(outcome(launched(kernel)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [("", [])] * 3


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("blocks", [(16, 64), (16, 32, 64), (32,) * 2], ids=["good", "one is refused", "all are"])
def test_configs_that_the_compiler_refuses_leave_nothing(
    blocks: tuple[int, ...], hooked: bool, timer: Timer, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"post_hook": lambda *_, **__: None} if hooked else {}
    configs = [triton.Config({"BLOCK": block}, num_warps=2 + 2 * place) for place, block in enumerate(blocks)]
    kernel = tuned(refusing, configs=configs, **given)

    def call(x: torch.Tensor, y: torch.Tensor) -> None:
        with contextlib.closing(contextlib.ExitStack()) as stack:
            stack.callback(timer.driver.launches.clear)  # the stub notes the launches with their arguments
            kernel[(1,)](x, y, 16)

    for number in range(2):
        raised, alive = outcome(call, "cpu")
        assert alive == [], number
        assert raised == ("AllConfigsFailed" if blocks == (32, 32) and number == 0 else raised)
