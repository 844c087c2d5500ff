"""What is stored is the same for every reader: the store's sweeps, and those that only bundles have."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import tunedb
from tests.cli.conftest import Cli, Kernel, put, run_apart
from tests.cli.test_bundle import PROBLEM, tuned
from tests.cli.test_explain_mark import PROBLEM as POOL
from tests.cli.test_explain_mark import here
from tests.cli.test_guard import OLD, stale
from tests.cli.test_verify import SHAPE, verify
from tests.cli.test_verify import fake_clock as fake_clock
from tests.store.bundled import uid, write
from tests.store.samples import DEVICE, sweep
from tunedb import settings
from tunedb.cli.precompile_list import Lines, find_device
from tunedb.core.device import INTERPRETER, Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import Confirmation, Source, Sweep, UsageCount, now
from tunedb.errors import SettingError
from tunedb.store import open_store
from tunedb.store.stored import stored_with

L4 = Device("NVIDIA L4", "cuda", "sm_89", 58)
ADD = Problem.of("mine.add", n=3)


def ship(path: Path, monkeypatch: pytest.MonkeyPatch, *sweeps: Sweep, only_winners: bool = True) -> None:
    """Name a bundle of these sweeps in the settings."""
    monkeypatch.setenv("TUNEDB_BUNDLES", str(write(path / "shipped.db", sweeps, only_winners=only_winners)))
    settings.configure()


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """The one sweep of a bundle: of a kernel that is not installed, on a device that is not here."""
    found = sweep(problem=ADD, device=L4, uid=uid(7))
    ship(tmp_path, monkeypatch, found)
    return found


@pytest.mark.parametrize(
    "words",
    [("--kernel", "mine.add"), ("--kernel", "add"), ("--device", "l4"), ("--layer", "bundle"), ("--where", "n=3")],
)
@pytest.mark.parametrize("has_store", [True, False])
def test_a_list_finds_what_only_a_bundle_has(cli: Cli, shipped: Sweep, words: tuple[str, ...], has_store: bool) -> None:
    if has_store:
        put(sweep(4))
    answer = cli("ls", *words, "--format", "json")
    assert [row["uid"] for row in answer.json] == [shipped.uid], answer.err
    assert "No kernel" not in answer.err
    assert "No stored device" not in answer.err


def test_each_layer_can_be_listed_alone(cli: Cli, shipped: Sweep) -> None:
    put(mine := sweep(4))
    assert [row["uid"] for row in cli("ls", "--layer", "local", "--format", "json").json] == [mine.uid]
    assert len(cli("ls", "--format", "json").json) == 2
    assert cli("ls", "--layer", "local", "--fleet").code == 2


def test_a_kernel_that_only_a_bundle_has_is_looked_up_and_explained(cli: Cli, shipped: Sweep) -> None:
    for name in ("add", "mine.add"):
        for command in ("lookup", "explain"):
            answer = cli(command, name, "--arg", "n=3", "--device", "L4", "--format", "json")
            assert answer.code == 0, answer.err
            row = answer.json if command == "lookup" else answer.json[0]
            assert (row["uid"], row["layer"]) == (shipped.uid, "bundle")
    assert "4" in cli("lookup", "add", "--arg", "n=4", "--device", "L4").err


def test_kernels_and_devices_count_what_bundles_have(cli: Cli, shipped: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunedb.cli.device.current_device_if_any", lambda: None)

    def counts(command: str, column: str) -> list[tuple[Any, ...]]:
        rows = cli(command, "--format", "json").json
        return [
            (row["problems"], row["sweeps"], row["bundled"]) for row in rows if row[column] in ("mine.add", L4.name)
        ]

    assert counts("kernels", "kernel") == counts("devices", "device") == [(0, 0, 1)]
    put(sweep(problem=ADD, device=L4))
    assert counts("kernels", "kernel") == counts("devices", "device") == [(1, 1, 1)]
    put(shipped)  # the same sweep in the store is no longer one that only the bundle has
    assert counts("kernels", "kernel") == counts("devices", "device") == [(1, 2, 0)]


@pytest.mark.parametrize(
    ("line", "offered"),
    [("tunedb lookup mi", "mine.add"), ("tunedb ls --device L", "L4"), ("tunedb show 0000", "000000000000")],
)
def test_a_shell_completes_what_only_a_bundle_has(shipped: Sweep, line: str, offered: str) -> None:
    words = {"_TUNEDB_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    answer = run_apart("-m", "tunedb", **words)
    assert (answer.code, answer.out.split(), answer.err) == (0, [offered], "")


def test_a_bundle_that_is_refused_is_not_printed_into_a_shells_line(shipped: Sweep) -> None:
    path = Path(settings.current().bundles[0])
    path.write_bytes(path.read_bytes()[:5000])
    words = {"_TUNEDB_COMPLETE": "complete_bash", "COMP_WORDS": "tunedb ls --device L", "COMP_CWORD": "3"}
    answer = run_apart("-m", "tunedb", **words)
    assert (answer.code, answer.out.strip(), answer.err) == (0, "", "")


def test_a_program_reads_what_bundles_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ship(tmp_path, monkeypatch, tuned(L4), sweep(problem=ADD, device=DEVICE))
    choice = tunedb.lookup("avg_pool1d", device="L4", shape=(2, 4, 64), kernel_size=4)
    assert choice is not None
    assert (choice.source, choice.layer) == ("store", "bundle")
    [found] = tunedb.sweeps("mine.add")
    assert (found.device, found.layer, len(found.trials)) == (DEVICE, "bundle", 1)
    assert tunedb.sweeps("mine.add", "H200").rows()[0]["layer"] == "bundle"
    assert len(tunedb.sweeps()) == 2
    with pytest.raises(SettingError, match="fits"):
        tunedb.sweeps(device="NVIDIA")


def test_kernels_are_compiled_for_a_device_that_only_a_bundle_names(shipped: Sweep) -> None:
    device, target = find_device(stored_with(None, settings.current().bundles), Lines((), ()), "L4")
    assert (device, target.arch) == (L4, 89)


def test_show_and_ls_name_the_same_answer(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunedb.cli.device.current_index", lambda: -1)
    valid = tuned(environment=here())
    ship(tmp_path, monkeypatch, valid)
    put(old := tuned())
    for command in ("ls", "show"):
        rows = cli("ls", "--format", "json").json
        if command == "show":
            rows = [cli("show", row["uid"], "--format", "json").json for row in rows]
        assert {row["uid"]: row["answers"] for row in rows} == {valid.uid: True, old.uid: False}, command
    assert cli("lookup", *PROBLEM, "--format", "json").json["uid"] == valid.uid


def test_a_layer_alone_names_the_same_answer_as_all(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunedb.cli.device.current_index", lambda: -1)
    valid, weaker = tuned(environment=here()), tuned(L4)
    ship(tmp_path, monkeypatch, valid, weaker)
    put(old := tuned(), stronger := dataclasses.replace(weaker, uid=uid(9), time_us=(weaker.time_us or 0.0) / 2))
    answers = {row["uid"]: row["answers"] for row in cli("ls", "--format", "json").json}
    assert len(answers) == 4
    for layer, uids in (("local", {old.uid, stronger.uid}), ("bundle", {valid.uid, weaker.uid})):
        rows = cli("ls", "--layer", layer, "--format", "json").json
        assert {row["uid"]: row["answers"] for row in rows} == {name: answers[name] for name in uids}, layer
    assert answers[old.uid] is False


def test_a_uid_that_fits_a_sweep_of_the_store_and_one_of_a_bundle_is_refused(cli: Cli, shipped: Sweep) -> None:
    put(mine := sweep(4, uid=uid(8)))
    answer = cli("show", shipped.uid[:20])
    assert answer.code == 1
    assert "More than one sweep has a uid that starts with" in answer.err
    for one in (shipped, mine):
        assert cli("show", one.uid, "--format", "json").json["uid"] == one.uid
    put(shipped)  # in both: it is one sweep
    assert cli("show", shipped.uid, "--format", "json").json["layer"] == "local"


def test_a_mark_of_a_bundles_sweep_makes_the_store(cli: Cli, shipped: Sweep) -> None:
    assert cli("mark", "ffff", "quarantine", "--reason", "slow").code == 1
    assert not Path(settings.current().store).exists()
    answer = cli("mark", shipped.uid, "quarantine", "--reason", "slow", "--format", "json")
    assert (answer.code, answer.json["wins"]) == (0, None), answer.err
    [row] = cli("ls", "--format", "json").json
    assert (row["quarantined"], row["answers"], row["marks"][0]["reason"]) == (True, False, "slow")
    answer = cli("mark", shipped.uid, "release", "--reason", "it was the clock", "--format", "json")
    assert answer.json["wins"] == shipped.uid


def test_a_bundles_winner_that_still_holds_counts_from_then_on(
    cli: Cli, kernels: dict[str, Kernel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels["pool"].times = {128: 100.0, 256: 50.0, 512: 70.0}
    old = stale(256, {128: 100.0, 256: 50.0, 512: 70.0})
    ship(tmp_path, monkeypatch, old)
    [row] = cli("ls", "--format", "json").json
    assert (row["answers"], row["stale"]) == (True, True)
    assert verify(cli, "--stale") == []  # no call got it
    assert [row["action"] for row in verify(cli, "--stale", "--bundles")] == ["confirmed"]
    [row] = cli("ls", "--format", "json").json
    assert (row["layer"], row["answers"], row["stale"]) == ("bundle", True, False)
    assert cli("show", old.uid, "--format", "json").json["stale"] is False
    found = cli("lookup", "pool", *SHAPE, "--format", "json").json
    assert (found["source"], found["layer"], found["uid"]) == ("store", "bundle", old.uid)
    [entry] = cli("explain", "pool", *SHAPE, "--format", "json").json
    assert "confirmed in this environment" in entry["why"]
    with open_store(settings.current().store) as store:
        assert [one for one, _ in store.confirmations.get_all()] == [old.uid]
        assert list(store.iter_sweeps()) == []  # the sweep itself stays in the bundle


def test_what_calls_got_of_a_bundle_is_verified(
    cli: Cli, kernels: dict[str, Kernel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels["pool"].times = {128: 100.0, 256: "wrong"}
    other = Problem.of("pool", rows=5, kernel_size=2)
    ship(tmp_path, monkeypatch, *(stale(256, {128: 100.0, 256: 50.0}, problem) for problem in (POOL, other)))
    with open_store(settings.current().store) as store:
        store.add_usage([UsageCount(POOL, INTERPRETER, Source.STALE, 3, now(), now())])
    [row] = verify(cli, code=1)
    assert (row["problem"]["rows"], row["verdict"], row["quarantined"]) == (2, "wrong", True)
    assert [row["rows"] for row in (one["problem"] for one in verify(cli, "--bundles", code=1))] == [5]
    assert cli("lookup", "pool", *SHAPE).code == 1  # quarantined


def test_a_confirmation_of_the_store_is_listed_with_a_bundles_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tuned(environment=OLD)
    ship(tmp_path, monkeypatch, old)
    with open_store(settings.current().store) as store:
        confirmation = Confirmation(dataclasses.replace(OLD, triton="2.0"))
        store.confirmations.put_all([(old.uid, confirmation)])
        [found] = stored_with(store, settings.current().bundles).get_problem_sweeps(old.problem)
        assert found.confirmations == (confirmation,)


@pytest.mark.parametrize("format", ["python", "bundle", "t4", "kernel-tuner-cache", "json-configs"])
def test_what_a_bundle_has_is_exported_on_request(cli: Cli, shipped: Sweep, tmp_path: Path, format: str) -> None:
    words = ["--format", format]
    if format == "json-configs":
        words += ["--layout", "device_name={device}.json", "--rows", "n"]
    refused = cli("export", *words, "-o", tmp_path / "out", "--kernel", "add")
    assert (refused.code, (tmp_path / "out").exists()) == (1, False)
    assert "Bundles have 1: add --bundles to export them." in refused.err
    answer = cli("export", *words, "-o", tmp_path / "out", "--kernel", "add", "--bundles")
    assert answer.code == 0, answer.err
    assert (tmp_path / "out").exists()


def test_a_cover_leaves_out_what_came_with_its_winner_alone(cli: Cli, shipped: Sweep, tmp_path: Path) -> None:
    words = ["export", "--format", "python", "--cover", "1.05", "-o", tmp_path / "out.py", "--bundles"]
    refused = cli(*words)
    assert (refused.code, (tmp_path / "out.py").exists()) == (2, False)
    assert "unless it was exported with --all" in refused.err
    put(dataclasses.replace(sweep(4), problem=Problem.of("mine.add", n=4), device=shipped.device))
    answer = cli(*words)
    assert answer.code == 0, answer.err
    assert answer.err.splitlines() == [
        "Problems left out, because their sweeps came without the trials of all configs: 1.",
        "1 config for 1 problem: 1.000 times each one's best on average, 1.000 at most.",
        f"Written to {tmp_path / 'out.py'}.",
    ]
    assert "1 for 1 problem." in (tmp_path / "out.py").read_text()


def test_exported_lines_are_those_of_the_store_alone(cli: Cli, shipped: Sweep, tmp_path: Path) -> None:
    put(mine := sweep(4))
    assert cli("export", "-o", tmp_path / "out.jsonl").code == 0
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["uid"] for line in lines if "uid" in line] == [mine.uid]
    answer = cli("export", "-o", tmp_path / "more.jsonl", "--bundles")
    assert (answer.code, (tmp_path / "more.jsonl").exists()) == (2, False)
    assert "--bundles is not for jsonl" in answer.err


def test_a_bundle_is_made_of_a_bundle_and_a_store(cli: Cli, shipped: Sweep, tmp_path: Path) -> None:
    put(sweep(4))
    answer = cli("export", "--format", "bundle", "--bundles", "-o", tmp_path / "all.db")
    assert answer.code == 0, answer.err
    assert "2 sweeps written" in answer.err
