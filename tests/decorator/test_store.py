"""Decorated kernels and the store: what a second process finds, what an edit costs, whose config comes back."""

from __future__ import annotations

import contextlib
import gc
import weakref
from typing import Any

import pytest
import torch
import triton
import triton.language as tl

import tunedb
from tests.conftest import runs_kernels
from tests.decorator.kernels import (
    Bench,
    add_some,
    grid_of,
    new_process,
    tensors,
    tuned,
)
from tunedb import IdentityError, MissError, SettingError, SweepError
from tunedb.core.sweep import Mark, Sweep
from tunedb.decorator.configs import stored_form
from tunedb.store import Store
from tunedb.tuner import session

pytestmark = runs_kernels


def stored(store: Store) -> list[Sweep]:
    """All that was swept, oldest first."""
    session.active().store.local.flush()  # type: ignore[union-attr]  # a process has layers
    return sorted(store.iter_sweeps(with_trials=True), key=lambda sweep: sweep.started)


def test_a_second_process_looks_up_what_the_first_one_tuned(store: Store) -> None:
    x, y = tensors()
    tuned(do_bench=Bench(2.0, 1.0))[grid_of(100)](x, y, 100)
    new_process()
    bench = Bench(1.0)
    second = tuned(do_bench=bench)
    y.fill_(7.0)
    second[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 1)
    assert bench.timed == 0
    assert second.best_config is second.configs[1]
    assert second.bench_time == 0.0
    assert second.configs_timings == {second.configs[0]: [2.0] * 3, second.configs[1]: [1.0] * 3}
    (sweep,) = stored(store)
    assert sweep.environment.method == "do_bench"
    assert sweep.problem == tunedb.Problem.of(
        "kernel", **{"n": 100, "x.dtype": torch.float32, "x.layout": "rows", "x.aligned": True,
                     "y.dtype": torch.float32, "y.layout": "rows", "y.aligned": True},
    )  # fmt: skip


def test_times_of_our_clock_and_of_the_users_do_not_mix(store: Store) -> None:
    x, y = tensors()
    tuned(do_bench=Bench(2.0, 1.0))[grid_of(100)](x, y, 100)
    new_process()
    other = tuned()
    other[grid_of(100)](x, y, 100)
    (choice,) = session.active().cache._choices.values()
    assert choice.source == "stale"


def test_editing_one_config_times_that_one_and_races_the_best(store: Store) -> None:
    x, y = tensors()
    blocks = (16, 32, 64, 128, 256, 512, 1024, 2048)
    tuned(blocks=blocks, do_bench=Bench(9.0, 8.0, 7.0, 6.0, 1.0, 2.0, 3.0, 4.0))[grid_of(100)](x, y, 100)
    new_process()
    bench = Bench(9.0, 1.1, 2.0, 3.0, 0.5)
    edited = tuned(blocks=(*blocks[:-1], 4096), do_bench=bench)
    edited[grid_of(100)](x, y, 100)
    first, second = stored(store)
    assert len(first.trials) == 8
    assert sorted(trial.config["BLOCK"] for trial in second.trials) == [16, 256, 512, 1024, 4096]
    assert edited.best_config.kwargs == {"BLOCK": 4096}
    new_process()
    again = tuned(blocks=(*blocks[:-1], 4096), do_bench=bench)
    again[grid_of(100)](x, y, 100)
    assert again.best_config.kwargs == {"BLOCK": 4096}
    assert len(stored(store)) == 2  # every config is covered by now


def test_editing_the_winner_starts_nothing_over(store: Store) -> None:
    x, y = tensors()
    blocks = (16, 32, 64, 128, 256, 512, 1024, 2048)
    tuned(blocks=blocks, do_bench=Bench(9.0, 8.0, 7.0, 6.0, 1.0, 2.0, 3.0, 4.0))[grid_of(100)](x, y, 100)
    new_process()
    edited = tuned(blocks=(*blocks[:4], 4096, *blocks[5:]), do_bench=Bench(9.0, 2.0, 3.0, 4.0, 5.0))
    edited[grid_of(100)](x, y, 100)
    second = stored(store)[-1]
    assert sorted(trial.config["BLOCK"] for trial in second.trials) == [16, 512, 1024, 2048, 4096]
    assert edited.best_config.kwargs == {"BLOCK": 512}
    new_process()
    left = tuned(blocks=(16, 32, 64, 128, 1024, 2048), do_bench=Bench(9.0, 3.0, 4.0, 6.0))  # the winner is gone again
    left[grid_of(100)](x, y, 100)
    assert sorted(trial.config["BLOCK"] for trial in stored(store)[-1].trials) == [16, 128, 1024, 2048]
    assert left.best_config.kwargs == {"BLOCK": 1024}


def test_a_config_that_is_gone_gives_way_to_one_of_todays(store: Store) -> None:
    x, y = tensors()
    tuned(blocks=(16, 32, 64), do_bench=Bench(3.0, 2.0, 1.0))[grid_of(100)](x, y, 100)
    new_process()
    left = tuned(blocks=(16, 32), do_bench=Bench(3.0, 2.0))
    left[grid_of(100)](x, y, 100)
    assert left.best_config.kwargs == {"BLOCK": 32}


def test_a_config_comes_back_with_its_hook_and_with_knobs_no_json_can_hold() -> None:
    seen: list[str] = []

    def decorated(do_bench: Bench) -> Any:
        both = [
            triton.Config({"BLOCK": 16}, pre_hook=lambda given: seen.append("first")),
            triton.Config({"BLOCK": 16}, pre_hook=lambda given: seen.append("second")),
            triton.Config({"BLOCK": 64}),
        ]
        return tuned(configs=both, do_bench=do_bench)

    x, y = tensors()
    decorated(Bench(3.0, 1.0, 2.0))[grid_of(100)](x, y, 100)
    new_process()
    second = decorated(Bench(1.0))
    seen.clear()
    second[grid_of(100)](x, y, 100)
    assert second.best_config is second.configs[1]
    assert seen == ["second"]


def test_a_wrong_config_loses_against_the_reference() -> None:
    some = [triton.Config({"BLOCK": 64, "SOME": value}) for value in (1, 2)]
    x, y = tensors()
    kernel = tuned(add_some, configs=some, do_bench=Bench(9.0, 1.0), reference=lambda x: {"y": x + 1})
    kernel[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 1)
    assert kernel.configs_timings[some[1]] == [float("inf")] * 3


def into_y(x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
    """What many write: the result, in the argument itself."""
    return {"y": torch.add(x, 1, out=y)}


def test_a_reference_may_write_into_the_kernels_own_output() -> None:
    some = [triton.Config({"BLOCK": 64, "SOME": value}) for value in (5, 1)]
    x, y = tensors()
    kernel = tuned(add_some, configs=some, do_bench=Bench(1.0, 9.0), reference=into_y)
    kernel[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 1)


def test_a_reference_that_comes_later_or_is_mended_counts_at_once(store: Store) -> None:
    some = [triton.Config({"BLOCK": 64, "SOME": value}) for value in (2, 1)]
    x, y = tensors()
    references: list[Any] = [None, lambda x: {"y": x + 3}, lambda x: {"y": x + 1}]
    for reference in references:
        kernel = tuned(add_some, configs=some, do_bench=Bench(1.0, 9.0), reference=reference)
        with contextlib.suppress(SweepError):
            kernel[grid_of(100)](x, y, 100)
        new_process()
    torch.testing.assert_close(y, x + 1)
    assert [sweep.status for sweep in stored(store)] == ["tuned", "failed", "tuned"]


def test_without_a_reference_a_disagreement_is_told(records: pytest.LogCaptureFixture) -> None:
    some = [triton.Config({"BLOCK": 64, "SOME": value}) for value in (1, 1, 2)]
    x, y = tensors()
    kernel = tuned(add_some, configs=some, do_bench=Bench(9.0, 1.0))
    kernel[grid_of(100)](x, y, 100)
    assert "other results than the first config's from 1 config." in records.text
    assert "SOME=2" in records.text
    assert "reference=" in records.text


def test_a_config_that_writes_only_a_part_is_seen(records: pytest.LogCaptureFixture) -> None:
    x, y = tensors(128)
    kernel = tuned(blocks=(64, 32), do_bench=Bench(1.0), key=())
    kernel[(2,)](x, y, 128)  # enough programs for 64, half of those that 32 needs
    assert "64 of 128 elements differ" in records.text


@pytest.mark.parametrize("wrong", [lambda x: x + 1, lambda x: {"z": x}, lambda x: {"y": x[:3]}, lambda z: {"y": z}])
def test_a_reference_of_another_form_is_an_error(wrong: Any) -> None:
    x, y = tensors()
    kernel = tuned(reference=wrong)
    with pytest.raises(SettingError, match="reference: "):
        kernel[grid_of(100)](x, y, 100)


def test_the_callers_own_error_is_raised_and_nothing_is_held_against_the_kernel(store: Store) -> None:
    x, y = tensors()
    kernel = tuned(do_bench=Bench(1.0))

    def grid(given: Any) -> Any:
        return (given["N_BLOCKS"],)

    with pytest.raises(KeyError, match="N_BLOCKS"):
        kernel[grid](x, y, 100)
    kernel[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 1)
    assert [sweep.status for sweep in stored(store)] == ["tuned"]


def test_an_error_of_the_users_benchmark_is_raised() -> None:
    def broken(launch: Any, quantiles: Any) -> Any:
        raise RuntimeError("no clock")

    x, y = tensors()
    with pytest.raises(RuntimeError, match="no clock"):
        tuned(do_bench=broken)[grid_of(100)](x, y, 100)


def test_a_tensor_in_key_is_an_error() -> None:
    x, y = tensors()
    with pytest.raises(IdentityError, match="key: x is a tensor"):
        tuned(key=("x",))[grid_of(100)](x, y, 100)


def test_buckets_share_a_config(store: Store) -> None:
    bench = Bench(1.0, 2.0)
    kernel = tuned(bucket={"n": tunedb.pow2}, do_bench=bench)
    for n in (100, 128, 65, 64):
        x, y = tensors(n)
        kernel[grid_of(n)](x, y, n)
        torch.testing.assert_close(y, x + 1)
    assert sorted(sweep.problem["n"] for sweep in stored(store)) == [64, 128]


def test_nothing_keeps_the_callers_tensors_alive() -> None:
    for mode in ("tune", "record"):
        with tunedb.using(mode=mode):
            kernel = tuned()
            x, y = tensors((mode == "tune" and 100) or 50)
            kernel[grid_of(len(x))](x, y, len(x))
            kernel[grid_of(len(x))](x, y, len(x))
            gone = [weakref.ref(x), weakref.ref(y)]
            del x, y
            gc.collect()
            assert [one() for one in gone] == [None, None]


def test_the_modes_hold(store: Store) -> None:
    x, y = tensors()
    bench = Bench(2.0, 1.0)
    with tunedb.using(mode="strict"), pytest.raises(MissError, match="kernel"):
        tuned(do_bench=bench)[grid_of(100)](x, y, 100)
    for mode in ("off", "record", "read"):
        with tunedb.using(mode=mode):
            kernel = tuned(do_bench=bench)
            kernel[grid_of(100)](x, y, 100)
            assert kernel.best_config is kernel.configs[0]
    with tunedb.using(budget=0):
        tuned(do_bench=bench)[grid_of(100)](x, y, 100)
    assert bench.timed == 0
    tuned(do_bench=bench)[grid_of(100)](x, y, 100)
    with tunedb.using(mode="strict"):
        kernel = tuned(do_bench=bench)
        kernel[grid_of(100)](x, y, 100)
        assert kernel.best_config is kernel.configs[1]


def test_an_override_is_obeyed() -> None:
    x, y = tensors()
    with tunedb.using(override={"kernel": {"BLOCK": 32, "num_warps": 2}}):
        kernel = tuned()
        kernel[grid_of(100)](x, y, 100)
        torch.testing.assert_close(y, x + 1)
        assert (kernel.best_config.kwargs, kernel.best_config.num_warps) == ({"BLOCK": 32}, 2)
    with tunedb.using(override={"kernel": {"BLOCKS": 32}}):  # logged, and ignored
        kernel = tuned()
        kernel[grid_of(100)](x, y, 100)
        assert kernel.best_config in kernel.configs


def test_a_pin_is_obeyed_and_left_alone_after_an_edit(store: Store) -> None:
    x, y = tensors()
    tuned(do_bench=Bench(1.0, 2.0))[grid_of(100)](x, y, 100)
    (sweep,) = stored(store)
    store.marks.put(sweep.uid, Mark("pin", "known good"))
    new_process()
    kernel = tuned(blocks=(16, 64, 32), do_bench=Bench(2.0, 1.0))
    kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config.kwargs == {"BLOCK": 16}
    assert len(stored(store)) == 1


def test_a_store_that_is_no_store_costs_a_call_nothing(tmp_path: Any) -> None:
    (tmp_path / "tunedb.db").write_bytes(b"no database" * 1000)
    x, y = tensors()
    tuned()[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 1)


def test_a_list_that_is_edited_in_one_process_is_raced_at_once() -> None:
    """A notebook's cell that is run again."""
    x, y = tensors()
    tuned(do_bench=Bench(1.0, 2.0))[grid_of(100)](x, y, 100)
    bench = Bench(2.0, 3.0, 1.0)  # of what it has to beat, and of the new one
    again = tuned(blocks=(16, 64, 32), do_bench=bench)
    again[grid_of(100)](x, y, 100)
    assert again.best_config.kwargs == {"BLOCK": 32}
    assert bench.timed == 3
    again.configs = [*again.configs, triton.Config({"BLOCK": 128})]
    again[grid_of(100)](x, y, 100)
    assert bench.timed > 3


def test_a_cleared_cache_has_the_store_asked(store: Store) -> None:
    x, y = tensors()
    kernel = tuned(do_bench=Bench(2.0, 1.0))
    kernel[grid_of(100)](x, y, 100)
    (sweep,) = stored(store)
    store.marks.put(sweep.uid, Mark("quarantine", "by another process"))
    kernel[grid_of(100)](x, y, 100)  # remembered, until it is told to forget
    assert kernel._do_bench.timed == 2
    kernel.cache.clear()
    kernel[grid_of(100)](x, y, 100)
    assert kernel._do_bench.timed > 2


def test_a_cache_may_be_assigned() -> None:
    x, y = tensors()
    kernel = tuned(do_bench=Bench(2.0, 1.0, 3.0, 4.0))
    kernel[grid_of(100)](x, y, 100)
    entries = dict.fromkeys(kernel.cache, kernel.configs[0])
    kernel.cache = entries
    kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config is kernel.configs[0]
    kernel.cache |= dict.fromkeys(entries, kernel.configs[1])
    kernel[grid_of(100)](x, y, 100)
    assert kernel.best_config is kernel.configs[1]
    kernel.cache = {}
    kernel[grid_of(50)](x, y, 50)
    assert len(kernel.cache) == 1


def test_timings_stand_in_the_order_of_the_list() -> None:
    x, y = tensors()
    tuned(do_bench=Bench(3.0, 1.0, 2.0), blocks=(16, 32, 64))[grid_of(100)](x, y, 100)
    new_process()
    kernel = tuned(do_bench=Bench(), blocks=(16, 32, 64))
    kernel[grid_of(100)](x, y, 100)
    assert list(kernel.configs_timings) == kernel.configs


@pytest.mark.parametrize("value", ["\0", [1, 2], (1, 2), 1j, object()])
def test_a_knob_that_no_store_can_hold_is_stored_as_text(value: Any) -> None:
    forms = [stored_form(triton.Config({"BLOCK": 16, "V": value})) for _ in range(2)]
    assert forms[0] == forms[1]
    assert isinstance(forms[0]["V"], str)
    assert " at 0x" not in forms[0]["V"]


def test_chosen_is_a_triton_kernel_with_the_one_config() -> None:
    kernel = tuned(do_bench=Bench(2.0, 1.0))
    x, y = tensors()
    one = kernel.chosen(grid_of(100), x, y, 100)
    assert type(one) is triton.runtime.Autotuner
    assert one.configs == [kernel.configs[1]]
    one[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 1)


def test_a_kernel_of_8_bit_floats_is_compared_too(records: pytest.LogCaptureFixture) -> None:
    x = torch.zeros(100, dtype=torch.float8_e5m2, device=tensors()[0].device)
    y = torch.ones(100, dtype=torch.float8_e5m2, device=x.device)

    @triton.jit
    def copy(x, y, n, BLOCK: tl.constexpr):
        offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        mask = offsets < n
        tl.store(y + offsets, tl.load(x + offsets, mask=mask), mask=mask)

    kernel = tuned(copy, do_bench=Bench(1.0, 2.0))
    kernel[grid_of(100)](x, y, 100)
    assert torch.equal(y.view(torch.uint8), x.view(torch.uint8))
    assert "other results" not in records.text
