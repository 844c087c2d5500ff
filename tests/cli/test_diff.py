"""`tunedb diff`: two stores, bundles, devices or environments, and what makes no pair."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, put
from tests.store.bundled import write
from tests.store.samples import DEVICE, ENVIRONMENT, sweep, trial
from tunedb import settings
from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Confirmation, Sweep
from tunedb.store import dump, open_store

H100 = Device("NVIDIA H100 80GB HBM3", "cuda", "sm_90", 132)
NEWER = dataclasses.replace(ENVIRONMENT, triton="3.9.0")


def won(n: int, block: int, times: dict[int, float], **changes: Any) -> Sweep:
    """A sweep of problem n that `block` won, with trials of these times."""
    trials = tuple(trial(size, time_us=time) for size, time in times.items())
    config = Config.of(BLOCK=block, num_warps=4)
    return sweep(n, config=config, time_us=times[block], trials=trials, **changes)


def stored(path: Path, *sweeps: Sweep) -> Path:
    with open_store(str(path)) as store:
        store.put_sweeps(sweeps)
    return path


def rows(cli: Cli, *words: object) -> tuple[int, dict[int, Any]]:
    answer = cli("diff", *words, "--format", "json")
    return answer.code, {row["problem"]["n"]: row for row in answer.json}


BEFORE = (won(1, 128, {128: 10.0, 256: 12.0}), won(2, 128, {128: 10.0, 256: 11.0}), won(3, 128, {128: 10.0}))
AFTER = (won(1, 128, {128: 9.0}), won(2, 256, {128: 12.0, 256: 8.0}), won(4, 128, {128: 1.0}))


def exported(path: Path, *sweeps: Sweep) -> Path:
    """A file that `tunedb export` wrote; one of sweeps with what a file keeps, so that times can be compared."""
    dump(sweeps, path)
    return path


MAKERS = {
    "store": stored,
    "bundle": lambda path, *sweeps: write(path, sweeps, only_winners=False),
    "export": lambda path, *sweeps: exported(path.with_suffix(".jsonl"), *sweeps),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_two_files_problem_by_problem(cli: Cli, tmp_path: Path, kind: str) -> None:
    a, b = stored(tmp_path / "a.db", *BEFORE), MAKERS[kind](tmp_path / "b.db", *AFTER)
    code, found = rows(cli, a, b)
    assert (code, {n: row["verdict"] for n, row in found.items()}) == (1, {2: "flip", 3: "only A", 4: "only B"})
    assert found[2]["loss_of_a"] == pytest.approx(0.5)
    assert found[2]["loss_of_b"] == pytest.approx(0.1)
    assert found[2]["change"] == pytest.approx(-0.2)
    assert (found[2]["config_a"]["BLOCK"], found[2]["config_b"]["BLOCK"]) == (128, 256)
    assert found[3]["change"] is found[3]["loss_of_a"] is None
    _, found = rows(cli, a, b, "--all")
    assert (found[1]["verdict"], found[1]["loss_of_a"]) == ("same", 0.0)
    answer = cli("diff", a, b)
    assert "1 same, 1 flip, 1 only A, 1 only B" in answer.err
    assert len(answer.out.splitlines()) == 4


def test_equal_stores_differ_in_nothing(cli: Cli, tmp_path: Path) -> None:
    a = stored(tmp_path / "a.db", *BEFORE)
    assert rows(cli, a, stored(tmp_path / "b.db", *BEFORE)) == (0, {})


def test_a_kernel_may_be_named_without_its_module_and_be_on_one_side_only(cli: Cli, tmp_path: Path) -> None:
    mine = dataclasses.replace(BEFORE[0], problem=Problem.of("my.ops.scale", n=7), uid="5" * 32)
    a, b = stored(tmp_path / "a.db", *BEFORE, mine), stored(tmp_path / "b.db", *AFTER)
    for places in ((a, b), (exported(tmp_path / "a.jsonl", *BEFORE, mine), b)):
        code, found = rows(cli, *places, "--kernel", "scale")
        assert (code, {n: (row["kernel"], row["verdict"]) for n, row in found.items()}) == (
            1, {7: ("my.ops.scale", "only A")},
        )  # fmt: skip
    answer = cli("diff", a, b, "--kernel", "ops.scael")
    assert (answer.code, "Did you mean my.ops.scale?" in answer.err) == (2, True)


def test_two_devices_of_the_store(cli: Cli) -> None:
    put(*BEFORE, *(dataclasses.replace(one, device=H100) for one in AFTER))
    code, found = rows(cli, "h200", "H100")
    assert (code, {n: row["verdict"] for n, row in found.items()}) == (1, {2: "flip", 3: "only A", 4: "only B"})
    assert (found[2]["device_a"], found[2]["device_b"]) == (DEVICE.name, H100.name)


def test_two_environments_of_the_store(cli: Cli) -> None:
    put(*BEFORE, *(dataclasses.replace(one, environment=NEWER) for one in AFTER))
    code, found = rows(cli, "triton=3.8.0", "triton=3.9.0,torch=2.13.0")
    assert (code, {n: row["verdict"] for n, row in found.items()}) == (1, {2: "flip", 3: "only A", 4: "only B"})
    assert (found[2]["environment_a"]["triton"], found[2]["environment_b"]["triton"]) == ("3.8.0", "3.9.0")


def test_a_kernel_that_changed_is_compared_as_it_was_tuned_last(cli: Cli, tmp_path: Path) -> None:
    older = dataclasses.replace(won(1, 256, {256: 1.0}), kernel_hash="0" * 64, finished=BEFORE[0].started)
    a = stored(tmp_path / "a.db", BEFORE[0], older)
    assert rows(cli, a, stored(tmp_path / "b.db", BEFORE[0])) == (0, {})


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("{a}", "h200"), 2, "got a device and a store: "),
        (("{a}", "triton=3.8.0"), 2, "two environments such as triton=3.8.0, got a"),
        (("nowhere.db", "{a}"), 2, "There is no file nowhere.db."),
        (("h200", "rtx"), 2, "No stored device is called 'rtx'. Stored devices: NVIDIA H200."),
        (("h200", "NVIDIA H20"), 2, "Expected two different devices, got NVIDIA H200"),
        (("h200", "h200"), 2, "twice. Stored devices: NVIDIA H200"),
        (("triton=3.8.0", "triton=3.8.0"), 2, "two different environments, got triton=3.8.0 twice. Stored: triton=3.8"),
        (("triton=3.8.0,torch=2", "torch=2,triton=3.8.0"), 2, "got triton=3.8.0,torch=2 twice. Stored: torch="),
        (("{a}", "{a}"), 2, "Expected two different stores, bundles or exported files, got "),
        (("{a}", "sqlite:///{a}"), 2, "a.db twice. Name another one. To compare two devices"),
        (("{a}", "{link}"), 2, "a.db twice. Name another one."),
        (("h200", "nvidia 200"), 2, "Did you mean NVIDIA H200?"),
        (("triton=3.8.0", "triton=3,cuda=5"), 2, "Expected some of triton=..., torch=..."),
        (("triton=3.8.0", "triton=3.7.0"), 2, "Nothing is tuned with triton=3.7.0. Stored: triton=3.8.0."),
        (("{a}", "{text}"), 2, "is neither a store, a bundle, nor a file that tunedb export wrote"),
        (("{a}", "{text}.db"), 2, "There is no file"),
        (("{a}", "{empty}"), 1, "Nothing is tuned in empty.db"),
        (
            ("{a}", "{a}", "--kernel", "none"),
            2,
            "Nothing is stored for none on either side. Stored kernels: avg_pool1d",
        ),
        (("{a}", "{a}", "--kernel", "avg_pol1d"), 2, "Did you mean avg_pool1d?"),
        (("h200", "h200", "--kernel", "pool1d"), 2, "Did you mean avg_pool1d?"),
    ],
)
def test_what_makes_no_pair_is_named(cli: Cli, tmp_path: Path, words: Any, code: int, said: str) -> None:
    put(*BEFORE)
    places = {
        "a": stored(tmp_path / "a.db", *BEFORE), "text": tmp_path / "text", "empty": stored(tmp_path / "empty.db")
    }  # fmt: skip
    places["link"] = tmp_path / "link.db"
    places["link"].symlink_to(places["a"])
    places["text"].write_text("hello, this is a text that is no database, of more than a hundred bytes" * 9)
    answer = cli("diff", *(word.format(**places) for word in words))
    assert answer.code == code, answer
    assert said in answer.err


def test_bundles_are_named_as_files_of_the_current_folder(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "old.db", BEFORE)
    write(tmp_path / "new.db", BEFORE)
    monkeypatch.chdir(tmp_path)
    assert rows(cli, "old.db", "new.db") == (0, {})


def test_what_was_confirmed_in_an_environment_is_of_it(cli: Cli) -> None:
    put(*BEFORE)
    with open_store(settings.current().store) as store:
        store.confirmations.put_all([(one.uid, Confirmation(NEWER)) for one in BEFORE])
    assert rows(cli, "triton=3.8.0", "triton=3.9.0") == (0, {})
