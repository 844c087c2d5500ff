"""What a report reads: the devices that a name means."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import tunedb
from tests.reporting.stores import OLD, A, B, made
from tests.store.samples import NOON
from tunedb.core.device import Device
from tunedb.core.sweep import Source, Sweep, UsageCount
from tunedb.reporting.coverage import coverage_view
from tunedb.reporting.facts import Facts
from tunedb.reporting.summary import summary_sentence
from tunedb.store import open_store
from tunedb.store.answers import answers, key_of

L4 = Device("NVIDIA L4", "cuda", "sm_89", 58)
L40S = Device("NVIDIA L40S", "cuda", "sm_89", 142)


def store_of(path: Path, *sweeps: Sweep, missed: tuple[Device, ...] = ()) -> Path:
    """A store with these sweeps and a missed call on each of these devices."""
    with open_store(str(path)) as store:
        store.put_sweeps(sweeps)
        problem = made(A, 7).problem
        store.add_usage([UsageCount(problem, device, Source.DEFAULT, 3, NOON, NOON, "node7") for device in missed])
    return path


@pytest.mark.parametrize(("swept", "missed"), [(L4, L40S), (L40S, L4), (L4, L4)])
@pytest.mark.parametrize("asked", [L4, L40S])
def test_a_device_is_not_taken_for_one_whose_name_begins_like_it(
    tmp_path: Path, swept: Device, missed: Device, asked: Device
) -> None:
    store_of(tmp_path / "tunedb.db", made(swept, 0), missed=(missed,))
    if asked not in (swept, missed):
        with pytest.raises(tunedb.SettingError, match="No stored device is called 'NVIDIA L40S'"):
            tunedb.report(device=asked.name)
        return
    facts = tunedb.report(device=asked.name).facts
    assert {answer.device for answer in facts.answers} == {asked}
    assert len(facts.answers) == (asked == swept) + (asked == missed)


def test_a_kernels_device_is_not_taken_for_that_of_another_kernel(tmp_path: Path) -> None:
    old = dataclasses.replace(made(L40S, 1, environment=OLD), kernel_hash="cd" * 32)
    sweeps = made(L4, 0, "norm"), made(L40S, 0), old, made(B, 0)
    first = store_of(tmp_path / "tunedb.db", *sweeps)
    second = store_of(tmp_path / "second.db", *sweeps)
    with pytest.raises(tunedb.SettingError, match=r"Nothing of these kernels is stored for NVIDIA L4 "):
        tunedb.report("pool", "NVIDIA L4")
    for report in (
        tunedb.report("pool", compare=("NVIDIA L4", B.name)),
        tunedb.report(None, "NVIDIA L4", compare=("triton=3.8.0", "triton=3.6.0")),
        tunedb.report("pool", "NVIDIA L4", compare=(str(first), str(second))),
    ):
        assert report.facts.comparison is not None
        devices = [side.device for pair in report.facts.comparison.pairs for side in (pair.a, pair.b) if side]
        assert L40S not in devices


def test_the_sentence_says_for_each_kernel_how_near_it_comes_to_a_copy() -> None:
    sweeps = [made(A, number, kernel) for kernel in ("matmul", "pool") for number in range(3)]
    shares = {"matmul": (0.1, 0.2, 0.9), "pool": (0.8, 0.84, 0.9)}
    limits = {}
    for name, of in shares.items():
        for sweep, share in zip([one for one in sweeps if one.problem.kernel == name], of, strict=True):
            assert sweep.time_us is not None
            limits[key_of(sweep.problem, sweep.device)] = share * sweep.time_us
    said = summary_sentence(Facts(answers(sweeps), limits_us=limits))
    assert said.endswith(" Of the rate at which the device copies, they reach (medians): pool 84%; matmul 20%.")
    assert "copies" not in summary_sentence(Facts(answers(sweeps)))
    many = [made(A, 0, f"kernel{number}") for number in range(6)]
    limits = {key_of(one.problem, one.device): one.time_us or 0.0 for one in many}
    assert summary_sentence(Facts(answers(many), limits_us=limits)).endswith("; 2 more in the table.")


@pytest.mark.parametrize(
    ("devices", "where"), [((A,), "on the device."), ((A, B), "on both devices."), ((A, B, L4), "on all 3 devices.")]
)
def test_coverage_says_how_many_devices_there_are(devices: tuple[Device, ...], where: str) -> None:
    facts = Facts(answers([made(device, 0) for device in devices]))
    assert coverage_view(facts).answer == f"1 of 1 problems have a tuned config {where}"
