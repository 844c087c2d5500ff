"""`devices` and `kernels`: what is stored and what is installed, without a GPU."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Kernel, put, run_forked
from tests.cli.test_explain_mark import HASH, tuned
from tests.store.samples import DEVICE, NOON, failed
from tunedb import settings
from tunedb.core.device import INTERPRETER, Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import Source, UsageCount
from tunedb.errors import SettingError
from tunedb.store import open_store

L4 = Device("NVIDIA L4", "cuda", "sm_89", 58)


def no_gpu(monkeypatch: pytest.MonkeyPatch, current: Device | None = None) -> None:
    monkeypatch.setattr("tunedb.cli.device.current_device_if_any", lambda: current)


def test_devices_are_listed_with_what_they_have(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    no_gpu(monkeypatch, DEVICE)
    moment = NOON + timedelta(days=400)
    put(
        tuned(1, device=DEVICE), tuned(2, device=DEVICE), failed(3, device=DEVICE), tuned(device=INTERPRETER),
        tuned(3, device=DEVICE, problem=Problem.of("pool", rows=9)),
    )  # fmt: skip
    with open_store(settings.current().store) as store:
        store.add_usage([UsageCount(Problem.of("pool", rows=n), L4, Source.DEFAULT, n, moment, moment) for n in (1, 2)])
    answer = cli("devices", "--format", "json")
    assert answer.code == 0
    by_name = {row["device"]: row for row in answer.json}
    assert by_name[DEVICE.name] == {
        "device": DEVICE.name, "backend": "cuda", "arch": "sm_90", "multiprocessors": 132, "current": True,
        "problems": 2, "sweeps": 3, "bundled": 0, "misses": 0, "last_tuned": (NOON + timedelta(days=3)).isoformat(),
    }  # fmt: skip
    assert set(by_name) == {DEVICE.name, L4.name, "interpreter"}
    assert (by_name[L4.name]["sweeps"], by_name[L4.name]["misses"], by_name[L4.name]["current"]) == (0, 3, False)
    assert "NVIDIA L4" in cli("devices").out


def test_the_current_device_is_listed_if_nothing_is_stored(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    no_gpu(monkeypatch, L4)
    [row] = cli("devices", "--format", "json").json
    assert (row["device"], row["current"], row["sweeps"], row["last_tuned"]) == (L4.name, True, 0, None)
    no_gpu(monkeypatch)
    assert cli("devices", "--format", "json").json == []
    assert not Path(settings.current().store).exists()


def test_devices_of_one_name_are_kept_apart(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    no_gpu(monkeypatch)
    put(tuned(device=L4), tuned(device=dataclasses.replace(L4, multiprocessors=29)))
    assert [row["multiprocessors"] for row in cli("devices", "--format", "json").json] == [29, 58]


def test_devices_loads_no_torch_without_a_gpu(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from tunedb.cli import run
from tunedb.runtime import driver
driver._DRIVERS = ("/absent",)
code = run(["devices", "-q"])
print(code, "torch" in sys.modules, "triton" in sys.modules)
"""
    answer = run_forked("-c", code, TUNEDB_STORE=str(tmp_path / "t.db"), TRITON_INTERPRET="0")
    assert answer.out == "0 False False\n", answer.err


def listed(cli: Cli) -> list[tuple[Any, ...]]:
    return [
        (row["kernel"], row["installed"], row["problems"], row["sweeps"], (row["hash"] or "-")[:4])
        for row in cli("kernels", "--format", "json").json
    ]


def test_kernels_are_listed_by_the_hash_of_their_code(cli: Cli, kernels: dict[str, Kernel]) -> None:
    put(
        tuned(1), tuned(2), tuned(3, problem=Problem.of("pool", rows=9)), tuned(4, kernel_hash="cd" * 32),
        tuned(problem=Problem.of("elsewhere", n=1)), failed(problem=Problem.of("other", n=1), kernel_hash=HASH),
    )  # fmt: skip
    assert listed(cli) == [
        ("elsewhere", "no", 1, 1, "abab"),
        ("other", "yes", 0, 0, "abab"),
        ("pool", "yes", 2, 3, "abab"),
        ("pool", "other", 1, 1, "cdcd"),
        ("pool_backward", "yes", 0, 0, "abab"),
    ]
    table = cli("kernels").out
    assert HASH[:12] in table
    assert HASH not in table


def test_a_kernel_that_can_t_be_loaded_is_listed_with_the_reason(
    cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunedb import registry

    def named(name: str) -> Kernel:
        if name == "pool":
            raise SettingError("its package is broken")
        if name == "other":
            raise ModuleNotFoundError("No module named 'torch'")
        return kernels[name]

    monkeypatch.setattr(registry, "kernel_named", named)
    put(tuned())
    assert listed(cli) == [
        ("other", "yes", 0, 0, "-"),
        ("pool", "yes", 0, 0, "-"),
        ("pool", "unknown", 1, 1, "abab"),
        ("pool_backward", "yes", 0, 0, "abab"),
    ]
    notes = {row["kernel"]: row["note"] for row in cli("kernels", "--format", "json").json if row["note"]}
    assert "its package is broken" in notes["pool"]
    assert "torch" in notes["other"]


def test_without_a_store_what_is_installed_is_listed(cli: Cli, kernels: dict[str, Kernel]) -> None:
    assert [row[:2] for row in listed(cli)] == [("other", "yes"), ("pool", "yes"), ("pool_backward", "yes")]
    assert not Path(settings.current().store).exists()
