"""Failed sweeps of decorated kernels: they raise once, in the call that made them, and blame no config for a fault."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from triton.runtime.cache import FileCacheManager

import tunedb
from tests.conftest import INTERPRETED, runs_kernels
from tests.decorator.kernels import Bench, add_some, configs, grid_of, new_process, tensors, tuned
from tests.decorator.stub import StubDriver, once
from tests.decorator.test_store import stored
from tunedb import MissError, SweepError
from tunedb.core.sweep import Sweep, now
from tunedb.decorator.tuning import workload
from tunedb.runtime.compat_triton import current_device
from tunedb.store import Store, open_store, receive
from tunedb.sweep.run import RETRY_AFTER_FAULT

FULL = OSError(errno.ENOSPC, "No space left on device")
Launch = Callable[..., Any]


def fresh_jit() -> Any:
    """A jit function that no cache in memory knows."""

    @triton.jit
    def add_one_again(x, y, n, BLOCK: tl.constexpr):
        offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        mask = offsets < n
        tl.store(y + offsets, tl.load(x + offsets, mask=mask) + 1, mask=mask)

    return add_one_again


def failing_once(function: Launch, error: Exception, after: int = 0) -> Launch:
    """The function; its call number `after` raises."""
    calls = []

    def failing(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == after + 1:
            raise error
        return function(*args, **kwargs)

    return failing


def full_cache(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the disk of Triton's cache be full, for the first file that is written there."""
    patch.setenv("TRITON_CACHE_DIR", str(folder))
    patch.setattr(FileCacheManager, "put", failing_once(FileCacheManager.put, FULL))


def wait_for_retry(patch: pytest.MonkeyPatch) -> None:
    later = now() + RETRY_AFTER_FAULT
    patch.setattr("tunedb.tuner.lookup.now", lambda: later)


def wrong(**given: Any) -> Any:
    """A kernel all of whose configs are wrong."""
    some = [triton.Config({"BLOCK": 64, "SOME": value}) for value in (2, 3)]
    return tuned(add_some, configs=some, reference=lambda x: {"y": x + 1}, **given)


@runs_kernels
def test_only_the_call_whose_own_sweep_failed_raises(store: Store) -> None:
    x, y = tensors()
    bench = Bench(1.0)
    kernel = wrong(do_bench=bench)
    with pytest.raises(SweepError, match="all 2 configs failed") as raised:
        kernel[grid_of(100)](x, y, 100)
    [failed] = stored(store)
    assert f"tunedb show {failed.uid[:12]} -v" in str(raised.value)
    assert "SOME=2, " in str(raised.value)
    assert "SOME=3, " in str(raised.value)
    kernel[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 2)  # what the first config computes
    for mode in ("tune", "record", "read"):
        with tunedb.using(mode=mode):
            y.zero_()
            again = wrong(do_bench=bench)
            again[grid_of(100)](x, y, 100)
            assert again.best_config is again.configs[0]
            torch.testing.assert_close(y, x + 2)
    with tunedb.using(mode="strict"), pytest.raises(MissError):  # a miss like any other
        wrong()[grid_of(100)](x, y, 100)
    assert [sweep.status for sweep in stored(store)] == ["failed"]


@runs_kernels
def test_pruning_says_which_config_is_the_first(store: Store) -> None:
    x, y = tensors()
    prune = {"early_config_prune": lambda configs, named, **kwargs: configs[1:]}
    some = [triton.Config({"BLOCK": 64, "SOME": value}) for value in (2, 3, 4)]
    given = {"configs": some, "reference": lambda x: {"y": x + 1}, "prune_configs_by": prune}
    with pytest.raises(SweepError, match="all 2 configs failed"):
        tuned(add_some, **given)[grid_of(100)](x, y, 100)
    new_process()
    tuned(add_some, **given)[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 3)


@runs_kernels
@pytest.mark.parametrize(
    "changes", [{"host": "another"}, {"origin": "imported"}, {"expires": now() + timedelta(days=9999)}]
)
def test_a_failure_of_another_host_keeps_no_call_from_sweeping(changes: dict[str, Any], store: Store) -> None:
    x, y = tensors()
    with pytest.raises(SweepError):
        wrong()[grid_of(100)](x, y, 100)
    [failed] = stored(store)
    store.upkeep.remove([failed])
    long_ago = {"finished": now() - timedelta(days=2)} if "expires" in changes else {}
    store.put_sweep(dataclasses.replace(failed, **changes, **long_ago))
    new_process()
    right = tuned(add_some, configs=wrong().configs, reference=lambda x: {"y": x + 1})
    with pytest.raises(SweepError):  # it has tried for itself
        right[grid_of(100)](x, y, 100)
    assert len(stored(store)) == 2


@runs_kernels
def test_a_failure_reaches_no_other_store(store: Store, tmp_path: Path) -> None:
    x, y = tensors()
    with open_store(str(tmp_path / "shared.db")) as shared:
        with tunedb.using(shared=f"sqlite:///{tmp_path}/shared.db"), pytest.raises(SweepError):
            wrong()[grid_of(100)](x, y, 100)
        tuned(name="other")[grid_of(100)](x, y, 100)
        assert {sweep.status for sweep in stored(store)} == {"failed", "tuned"}
        assert receive(shared, store).left == 1
        assert [sweep.problem.kernel for sweep in shared.iter_sweeps()] == ["other"]


@runs_kernels
def test_if_the_default_does_not_launch_the_launchs_own_error_is_raised(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a TrialError, which is what a sweep makes of it."""
    x, y = tensors()

    class Own(Exception):
        """What Triton raises."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise Own("this config does not launch")

    with tunedb.using(mode="record"):
        monkeypatch.setattr("tunedb.decorator.resolve.load_call", refuse)
        monkeypatch.setattr("tunedb.decorator.launcher.launch_call", refuse)
        for _ in range(2):
            with pytest.raises(Own):
                tuned()[grid_of(100)](x, y, 100)


def aborted(sweep: Sweep) -> bool:
    """Whether the disk was full, and no config is blamed for it."""
    texts = " ".join(trial.error or "" for trial in sweep.trials)
    return sweep.status == "aborted" and "No space left" in texts and set(sweep.counts) <= {"ok", "pruned"}


@runs_kernels
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_full_disk_during_a_sweep_costs_the_call_nothing(
    after: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = tensors()
    with monkeypatch.context() as patch:
        patch.setattr(workload, "launch_call", failing_once(workload.launch_call, FULL, after))
        kernel = tuned(blocks=(16, 32, 64), do_bench=Bench(3.0, 2.0, 1.0))
        kernel[grid_of(100)](x, y, 100)
        torch.testing.assert_close(y, x + 1)
        assert kernel.best_config is kernel.configs[0]
    [broken] = stored(store)
    assert aborted(broken)
    new_process()
    wait_for_retry(monkeypatch)
    kernel = tuned(blocks=(16, 32, 64), do_bench=Bench(3.0, 2.0, 1.0))
    kernel[grid_of(100)](x, y, 100)
    assert (len(stored(store)[-1].trials), stored(store)[-1].complete) == (3, True)
    assert kernel.best_config is kernel.configs[2]


@pytest.mark.skipif(INTERPRETED, reason="the interpreter has no cache of compiled kernels")
@pytest.mark.gpu
def test_a_full_cache_of_tritons_costs_the_call_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = tensors()
    current_device()  # Triton's own driver is in the cache as well
    full_cache(monkeypatch, tmp_path / "cache")
    kernel = tuned(fresh_jit(), blocks=(16, 1024))
    kernel[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 1)
    [broken] = stored(store)
    assert aborted(broken), broken.trials
    new_process()
    wait_for_retry(monkeypatch)
    y.zero_()
    tuned(fresh_jit(), blocks=(16, 1024))[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 1)
    done = stored(store)[-1]
    assert (done.status, done.complete, done.counts) == ("tuned", True, {"ok": 2})


def test_a_full_cache_of_tritons_aborts_a_sweep_on_the_stub(
    stub: StubDriver, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = torch.zeros(100), torch.zeros(100)
    full_cache(monkeypatch, tmp_path / "cache")

    def kernel() -> Any:
        return tunedb.autotune(configs(16, 64), ["n"], do_bench=once, name="kernel")(fresh_jit())

    kernel()[grid_of(100)](x, y, 100)
    assert stub.launches[-1][0] == (7, 1, 1)  # the default's grid
    [broken] = stored(store)
    assert aborted(broken)
    new_process()
    kernel()[grid_of(100)](x, y, 100)
    assert len(stored(store)) == 1  # not within a minute
    new_process()
    wait_for_retry(monkeypatch)
    kernel()[grid_of(100)](x, y, 100)
    done = stored(store)[-1]
    assert (done.status, done.complete, done.counts) == ("tuned", True, {"ok": 2})


def test_a_disk_that_stays_full_is_the_launchs_own_error(
    stub: StubDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> Any:
        raise FULL

    x, y = torch.zeros(100), torch.zeros(100)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(FileCacheManager, "put", full)
    kernel = tunedb.autotune(configs(16, 64), ["n"], do_bench=once, name="kernel")(fresh_jit())
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            kernel[grid_of(100)](x, y, 100)
