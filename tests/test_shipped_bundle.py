"""The bundle in the wheel: of today's kernels and the committed list, found by entry point, small, not in the way."""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import problems as sampled
from benchmarks.shipped import BUNDLE, LIST, in_bundle, listed
from tests.cli.conftest import Cli, run_apart
from tests.cli.conftest import cli as cli
from tests.fakes import ENVIRONMENT
from tests.planted import register
from tests.store.bundled import write
from tests.store.samples import sweep, trial
from tests.tuner.tuners import tuner_on
from tunedb import registry, settings
from tunedb.core.device import Device, Environment, Placement
from tunedb.core.kernel import RegisteredKernel
from tunedb.core.problem import Problem
from tunedb.core.sweep import MISSES, Source, Sweep
from tunedb.core.task import TuningTask
from tunedb.kernels.avg_pool import BACKWARD, FORWARD
from tunedb.store import bundles, open_store
from tunedb.store.bundle import sources
from tunedb.store.bundle_lists import BundleLists
from tunedb.store.bundles import BundleLayer
from tunedb.store.layered import LayeredStore

ROOT = Path(__file__).parent.parent
SHIPPED = in_bundle(BUNDLE)
MADE_AGAIN = "On each kind of GPU: make bundle"
MAX_BYTES = 2 * 2**20
GPU = Device("NVIDIA Made-Up 100", "cuda", "sm_90", 132)


@functools.cache
def on_the_list() -> Sequence[tuple[Problem, dict[str, object]]]:
    """The problems of the committed list, each with its arguments."""
    return listed(LIST)


def shipped(arguments: dict[str, object], device: Device = GPU, environment: Environment = ENVIRONMENT) -> Sweep:
    """A sweep as the bundle would have it: of today's forward kernel, won by the last config of its space."""
    problem = FORWARD.problem(arguments)
    config = FORWARD.space(problem, device)[-1]
    return sweep(
        problem=problem, device=device, kernel_hash=FORWARD.hash, environment=environment, config=config,
        trials=(trial(1, config=config),),
    )  # fmt: skip


@functools.cache
def kernel_named(name: str) -> RegisteredKernel:
    """The installed kernel, which is looked for once."""
    return registry.kernel_named(name)


def kernel_of(problem: Problem) -> RegisteredKernel:
    """The installed kernel of a problem."""
    return kernel_named(problem.kernel)


def test_an_h200_has_all_problems_of_the_list_with_their_gradients_and_an_h100_has_some() -> None:
    wanted = {problem for problem, _ in on_the_list()}
    missing = wanted - {row.problem for row in SHIPPED if row.device.name == "NVIDIA H200"}
    assert not missing, f"{len(missing)} of {len(wanted)} are missing. {MADE_AGAIN}"
    assert {problem.kernel for problem in wanted} == {FORWARD.name, BACKWARD.name}
    some = {row.problem.kernel for row in SHIPPED if row.device.name == "NVIDIA H100 80GB HBM3"}
    assert some == {FORWARD.name, BACKWARD.name}


def test_its_rows_are_of_today_s_kernels() -> None:
    stale = {s.problem.kernel for s in SHIPPED if s.kernel_hash != kernel_of(s.problem).hash}
    assert not stale, f"The code of {', '.join(sorted(stale))} has changed since it was tuned. {MADE_AGAIN}"


def test_its_rows_answer_problems_of_the_list_in_today_s_space() -> None:
    wanted = {problem for problem, _ in on_the_list()}
    for row in SHIPPED:
        kernel = kernel_of(row.problem)
        assert row.problem in wanted, f"{row.problem} is no longer on the list. {MADE_AGAIN}"
        assert row.config in kernel.space(row.problem, row.device), f"{row.config} has left the space. {MADE_AGAIN}"


def test_exported_again_it_is_the_same_file(cli: Cli, tmp_path: Path) -> None:
    again = tmp_path / "again.db"
    assert cli("export", "--format", "bundle", "--bundles", "--shipped", "-o", again).code == 0
    assert again.read_bytes() == BUNDLE.read_bytes()


def test_on_its_devices_no_first_call_sweeps_or_misses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(str(tmp_path / "local.db")) as local:
        tuner = tuner_on(LayeredStore(local, bundles=BundleLayer([str(BUNDLE)], list)), tmp_path, mode="strict")
        for row in SHIPPED:
            monkeypatch.setattr("tunedb.tuner.tuner.placement_of", lambda _, on=row.device: Placement(on, 0))
            choice = tuner.choose(registry.kernel_named(row.problem.kernel), row.problem, 0)
            assert (choice.config, choice.layer) == (row.config, "bundle")
        tuner.usage.flush()
        assert list(local.iter_sweeps(finished=False)) == []
        assert local.usage.served(MISSES) == []
        counted = local.usage.served((Source.STORE, Source.STALE))
        assert sum(one.usage.count for one in counted) == len(SHIPPED)


@pytest.mark.parametrize(
    ("words", "verb"),
    [(("warm", "--stale", "--dry-run"), "tune"), (("verify", "--stale", "--sample", "1"), "check")],
)
def test_a_newcomer_with_other_versions_learns_of_all_that_is_stale_on_its_device(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], verb: str
) -> None:
    device = next(row.device for row in SHIPPED if row.device.name == "NVIDIA H200")
    monkeypatch.setattr("tunedb.runtime.current_device.INTERPRETER", device)
    monkeypatch.setattr("tunedb.cli.device.index_to_run_on", lambda: -1)
    count = sum(row.device == device for row in SHIPPED)
    answer = cli(*words, "--format", "json")
    assert f"Left out: {count} stale winners of bundles, tunedb's own included" in answer.err
    assert f"To {verb} these too: tunedb {words[0]} --stale --bundles\n" in answer.err
    assert not Path(settings.current().store).exists()


def test_a_newcomer_with_other_versions_can_have_it_tuned_again(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    device = next(row.device for row in SHIPPED if row.device.name == "NVIDIA H200")
    monkeypatch.setattr("tunedb.runtime.current_device.INTERPRETER", device)
    monkeypatch.setattr("tunedb.cli.device.index_to_run_on", lambda: -1)
    plan = cli("warm", "--stale", "--bundles", "--dry-run", "--format", "json").json
    assert len(plan) == sum(row.device == device for row in SHIPPED)
    assert {row["plan"] for row in plan} == {"tune"}


def test_it_is_small() -> None:
    assert BUNDLE.stat().st_size < MAX_BYTES


def test_it_is_in_the_wheel_and_found_by_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {BUNDLE.name, LIST.name} <= set(project["tool"]["setuptools"]["package-data"]["tunedb.kernels.avg_pool"])
    (value,) = project["project"]["entry-points"][sources.GROUP].values()
    package, _, file = value.partition(":")
    source = sources._in_package(package, file, "own")
    assert source is not None
    assert source.path is not None
    assert source.path.resolve() == BUNDLE.resolve()


def test_the_list_has_ordinary_problems_the_most_used_first_each_with_its_source() -> None:
    lines = [json.loads(line) for line in LIST.read_text().splitlines()]
    assert 75 <= len(lines) <= 200  # twice as many with gradients
    assert all(line["note"] and line["id"] for line in lines)
    assert len({line["id"] for line in lines}) == len(lines)
    assert lines[0]["id"] == "kernelbench-44"
    of_list = [problem for problem, _ in on_the_list()]
    assert len(set(of_list)) == len(of_list) == 2 * len(lines)
    fixed = [*sampled.FIXED, *map(json.loads, (ROOT / "benchmarks" / "avg_pool1d.jsonl").read_text().splitlines())]
    assert {kernel.problem(arguments) for kernel in (FORWARD, BACKWARD) for arguments in fixed} <= set(of_list)
    for problem in of_list:
        assert kernel_of(problem).space(problem, GPU)


@pytest.mark.parametrize("environment", [ENVIRONMENT, sweep().environment], ids=["the same versions", "others"])
def test_a_newcomer_s_first_call_sweeps_nothing(tmp_path: Path, environment: Environment) -> None:
    first = json.loads(LIST.read_text().splitlines()[0])
    row = shipped(first, environment=environment)
    layer = BundleLayer([str(write(tmp_path / "b.db", [row]))], list)
    with open_store(str(tmp_path / "local.db")) as local:
        tuner = tuner_on(LayeredStore(local, bundles=layer), tmp_path)
        task = TuningTask(FORWARD, row.problem, Placement(GPU, 0))
        choice = tuner._decide(task)  # `choose` asks the driver for the device
        assert (choice.config, choice.source) == (row.config, "store" if environment == ENVIRONMENT else "stale")
        assert choice.layer == "bundle"
        assert list(local.iter_sweeps(finished=False)) == []


def test_a_kind_of_gpu_that_it_lacks_is_no_failure(tmp_path: Path, records: pytest.LogCaptureFixture) -> None:
    row = shipped({"shape": [2, 4, 64], "kernel_size": 4})
    layer = BundleLayer([str(write(tmp_path / "b.db", [row]))], list)
    other = Device("NVIDIA Made-Up 200", "cuda", "sm_90", 132)
    assert layer.get_sweeps(row.problem, other, row.kernel_hash) == []
    assert layer.get_sweeps(row.problem, GPU, "ff" * 32) == []
    assert [s.uid for s in layer.get_sweeps(row.problem, GPU, row.kernel_hash)] == [row.uid]
    assert records.text == ""


def test_an_empty_one_is_none(tmp_path: Path, records: pytest.LogCaptureFixture) -> None:
    layer = BundleLayer([str(write(tmp_path / "b.db", []))], list)
    assert layer.names == []
    assert BundleLists(layer).is_empty
    assert (layer.refused, records.text) == ({}, "")


@pytest.mark.parametrize("value", ["off", ["off"]])
def test_all_bundles_can_be_switched_off(tmp_path: Path, value: object) -> None:
    row = shipped({"shape": [2, 4, 64], "kernel_size": 4})
    file = write(tmp_path / "own.db", [row])
    own = sources.BundleSource("avg_pool1d of tunedb", file, file.read_bytes, is_own=True)
    for bundles_, names in ((settings.read({"bundles": value}).bundles, []), ((), [own.name])):
        assert BundleLayer(bundles_, lambda: [own]).names == names
    assert settings.read({"bundles": "./off"}).bundles == (str(Path("off").absolute()),)


def test_it_is_listed_on_request_and_looked_up_always(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = shipped({"shape": [2, 4, 64], "kernel_size": 4})
    file = write(tmp_path / "own.db", [row])
    own = sources.BundleSource("avg_pool1d of tunedb", file, file.read_bytes, is_own=True)
    monkeypatch.setattr(bundles, "_layers", {(): BundleLayer((), lambda: [own])})
    settings.configure()
    asked = ("avg_pool1d", "--shape", "2,4,64", "--kernel-size", "4", "--device", GPU.name)
    assert cli("ls", "--format", "json").json == []
    assert cli("stats", "--format", "json").json["layers"]["bundle"] == 0
    for words in (("--shipped",), ("--shipped", "--device", GPU.name), ("--shipped", "--kernel", "avg_pool1d")):
        assert [found["uid"] for found in cli("ls", *words, "--format", "json").json] == [row.uid]
    assert cli("lookup", *asked, "--format", "json").json["uid"] == row.uid
    assert [found["uid"] for found in cli("explain", *asked, "--format", "json").json] == [row.uid]
    assert cli("show", row.uid[:12], "--format", "json").json["uid"] == row.uid
    assert cli("show", row.uid[:4], "--format", "json").json["uid"] == row.uid


def test_what_tunedb_itself_ships_is_known_by_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site"
    (folder / "shipping").mkdir(parents=True)
    write(folder / "shipping" / "b.db", [shipped({"shape": [2, 4, 64], "kernel_size": 4})])
    register(folder, "[tunedb.bundles]\na = tunedb.kernels.avg_pool:tuned.db\nb = shipping:b.db\n")
    (folder / "shipping" / "__init__.py").touch()
    monkeypatch.syspath_prepend(folder)
    found = {source.name: source.is_own for source in sources.installed()}
    assert (found["a of tunedb"], found["b of planted"]) == (True, False)


def test_it_is_found_without_the_modules_that_read_a_package_s_metadata(tmp_path: Path) -> None:
    path = register(tmp_path, "[tunedb.bundles]\na = tunedb.kernels.avg_pool:tuned.db\n")
    program = (
        "import sys; from tunedb.store.bundle import sources; "
        "print('a of tunedb' in [one.name for one in sources.installed()], 'email.parser' in sys.modules)"
    )
    answer = run_apart("-c", program, PYTHONPATH=path)
    assert answer.out.split() == ["True", "False"], answer.err
