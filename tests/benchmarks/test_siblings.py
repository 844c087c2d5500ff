"""Leave one device out: what the policy borrows is judged by the trials of the device's own sweep."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import sibling_kernels, siblings
from tests.fakes import ENVIRONMENT, config
from tests.store.samples import sweep, trial
from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.store import dump, load

H100, H200 = (Device(f"NVIDIA {name}", "cuda", "sm_90", 132) for name in ("H100", "H200"))
L4, MI300 = Device("NVIDIA L4", "cuda", "sm_89", 58), Device("MI300X", "hip", "gfx942", 304)


def swept(device: Device, times: Mapping[int, float | None], n: int = 64, default: int = 1, **changes: Any) -> Sweep:
    """A sweep in which each config took so long, or failed; the fastest won."""
    trials = tuple(
        trial(block, "ok" if time else "compile_error", config=config(block), time_us=time)
        for block, time in times.items()
    )
    best = min((block for block, time in times.items() if time), key=lambda block: times[block] or 0.0)
    facts = {
        "problem": Problem.of("mine", n=n), "device": device, "environment": ENVIRONMENT, "config": config(best),
        "time_us": times[best], "default_time_us": times[default], "trials": trials, "counts": {"ok": len(trials)},
    }  # fmt: skip
    return sweep(**{**facts, **changes})


SWEEPS = [
    swept(H100, {1: 12.0, 2: 10.0, 4: 11.0}), swept(H200, {1: 9.0, 2: 8.8, 4: 8.0}),
    swept(H100, {1: 20.0, 2: 30.0, 4: 10.0}, n=65), swept(H200, {1: 16.0, 2: None, 4: 8.0}, n=65),
]  # fmt: skip


def test_what_is_borrowed_is_timed_by_the_device_s_own_sweep() -> None:
    rows = {(row["on"], row["problem"]["n"]): row for row in siblings.compared(SWEEPS)}
    assert len(rows) == 4
    of_h100 = rows["NVIDIA H100", 64]
    assert (of_h100["from"], of_h100["nearness"], of_h100["default_over_tuned"]) == ("NVIDIA H200", "arch", 1.2)
    assert (of_h100["same"], of_h100["same_over_tuned"]) == ({"BLOCK": 4}, 1.1)
    assert (rows["NVIDIA H200", 64]["same"], rows["NVIDIA H200", 64]["same_over_tuned"]) == ({"BLOCK": 2}, 1.1)
    assert rows["NVIDIA H200", 64]["near"] == {"BLOCK": 4}  # of H100's other problem
    assert rows["NVIDIA H100", 65]["same_over_tuned"] == 1.0
    failing = rows["NVIDIA H200", 65]
    assert (failing["near"], failing["near_over_tuned"]) == ({"BLOCK": 2}, None)  # it does not launch there
    assert siblings.summary([failing])["on NVIDIA H200, from NVIDIA H100 (arch)"]["all"]["same"]["problems"] == 1


def test_figures_are_by_pair_and_kernel_next_to_the_default() -> None:
    other = [swept(device, {1: 30.0, 2: 10.0}, problem=Problem.of("other", n=1)) for device in (H100, H200)]
    figures = siblings.summary(siblings.compared([*SWEEPS, *other]))
    assert set(figures) == {"on NVIDIA H100, from NVIDIA H200 (arch)", "on NVIDIA H200, from NVIDIA H100 (arch)"}
    kernels = figures["on NVIDIA H100, from NVIDIA H200 (arch)"]
    assert set(kernels) == {"all", "mine", "other"}
    assert kernels["all"]["same"]["problems"] == 3
    same = kernels["mine"]["same"]
    assert same["borrowed_over_tuned"] == {"geometric_mean": 1.0488, "nine_tenths": 1.09, "worst": 1.1}
    assert same["default_over_tuned"] == {"geometric_mean": 1.5492, "nine_tenths": 1.92, "worst": 2.0}
    assert same["helps"] is True
    assert kernels["other"]["same"]["default_over_tuned"]["worst"] == 3.0
    assert "near" not in kernels["other"]  # it has one problem only


def test_a_borrowed_config_that_is_worse_than_the_default_does_not_help() -> None:
    sweeps = [swept(H100, {1: 10.0, 2: 9.0, 4: 30.0}), swept(L4, {1: 40.0, 2: 20.0, 4: 10.0})]
    figures = siblings.summary(siblings.compared(sweeps))
    on_h100 = figures["on NVIDIA H100, from NVIDIA L4 (backend)"]["all"]["same"]
    assert (on_h100["borrowed_over_tuned"]["worst"], on_h100["helps"]) == (3.3333, False)


def test_devices_of_another_backend_and_problems_of_one_device_are_left_out() -> None:
    sweeps = [swept(H100, {1: 2.0, 2: 1.0}), swept(MI300, {1: 2.0, 2: 1.0}), swept(H200, {1: 2.0, 2: 1.0}, n=70)]
    assert siblings.compared(sweeps) == []


def test_two_exports_are_compared_and_the_figures_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for device in (H100, H200):
        files.append(str(tmp_path / f"{device.name[-4:]}.jsonl"))
        dump([of for of in SWEEPS if of.device == device], files[-1])
    siblings.main(["--compare", *files, "--json", str(tmp_path / "out.json")])
    held = json.loads((tmp_path / "out.json").read_text())
    assert held["command"] == "python -m benchmarks.siblings --compare H100.jsonl H200.jsonl"
    assert len(held["rows"]) == 4
    assert held["summary"] == json.loads(capsys.readouterr().out)
    with pytest.raises(SystemExit, match="No problem was swept on two devices"):
        siblings.main(["--compare", files[0]])


def test_the_sweep_exports_all_trials_and_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    ran: list[list[str]] = []

    def calls(device: str) -> list[tuple[str, Callable[[], object]]]:
        return [(name, lambda name=name: called.append(name)) for name in ("softmax", "matmul")]

    def tune(tasks: Any, store: Any, slots: Any, **options: Any) -> None:
        ran.append([task.kernel.name for task in tasks])
        store.put_sweeps(SWEEPS[:1])

    monkeypatch.setattr(sibling_kernels, "calls", calls)
    monkeypatch.setattr("tunedb.cli.host_tasks.tune", tune)
    monkeypatch.setattr("tunedb.cli.device.index_to_run_on", lambda: -1)
    words = ["--sweep", str(tmp_path / "h100.jsonl"), "--store", str(tmp_path / "s.db"), "--sample", "7:1"]
    for _ in range(2):
        siblings.main(words)
    assert called == ["softmax", "matmul"] * 2
    assert len(ran[0]) == len(sibling_kernels.wanted(None, ["7:1"]))
    assert set(ran[0]) == {"avg_pool1d", "avg_pool1d_backward"}
    (found,) = load(tmp_path / "h100.jsonl").sweeps
    assert len(found.trials) == 3
    siblings.main([*words, "--seconds", "0"])
    assert len(called) == 4


def test_what_was_cut_short_is_open_again_when_the_sweep_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, whole = dataclasses.replace(SWEEPS[0], complete=False), SWEEPS[2]
    finished = dataclasses.replace(SWEEPS[0], uid="f" * 32)
    answers: list[list[bool]] = []

    def tune(tasks: Any, store: Any, slots: Any, **options: Any) -> None:
        of = [store.get_sweeps(one.problem, one.device, one.kernel_hash) for one in (short, whole)]
        answers.append([any(not sweep.is_quarantined for sweep in sweeps) for sweeps in of])
        store.put_sweeps([short, whole] if len(answers) == 1 else [finished])

    monkeypatch.setattr(sibling_kernels, "calls", lambda _: [])
    monkeypatch.setattr("tunedb.cli.host_tasks.tune", tune)
    monkeypatch.setattr("tunedb.cli.device.index_to_run_on", lambda: -1)
    words = ["--sweep", str(tmp_path / "h100.jsonl"), "--store", str(tmp_path / "s.db"), "--sample", "7:1"]
    for _ in range(3):
        siblings.main(words)
    assert answers == [[False, False], [False, True], [True, True]]
    assert {sweep.uid for sweep in siblings.latest(load(tmp_path / "h100.jsonl").sweeps)} == {"f" * 32, whole.uid}
