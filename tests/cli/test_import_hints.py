"""`import --as-hints`: what is read and stored is counted, what is not is named, and a dry run stores nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Kernel, put
from tests.cli.test_explain_mark import tuned
from tests.store.foreign import samples
from tunedb import settings
from tunedb.core.problem import Problem
from tunedb.store import open_store

NAME = "E=8,N=2,device_name=NVIDIA_L4,dtype=fp8_w8a8.json"


def imported(cli: Cli, *words: object, code: int = 0) -> dict[str, int]:
    """The counts of an import."""
    answer = cli("import", "--as-hints", *words, "--format", "json")
    assert answer.code == code, answer.err
    counts: dict[str, int] = answer.json
    return counts


def stored() -> dict[tuple[str, str], int]:
    """The number of stored hints by kernel and device."""
    with open_store(settings.current().store) as store:
        return store.hints.totals()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as people have them: of vLLM, of Triton, of triton-dejavu, and other files."""
    folder = tmp_path / "configs"
    samples.put(folder / "moe" / NAME, {"triton_version": "3.6.0", "16": samples.KNOBS, "x": samples.KNOBS})
    samples.put(folder / "cache" / "ABC" / "matmul.autotune.json", samples.autotune([16, 8], {64: 0.5, 128: 0.25}))
    samples.put(folder / samples.DEJAVU_FOLDER / "cache.json", samples.DEJAVU)
    samples.put(folder / "README.json", {})
    return folder


def test_every_entry_is_counted_and_every_rejection_is_named(cli: Cli, folder: Path) -> None:
    answer = cli("import", "--as-hints", folder, "--kernel", "mine.matmul", "--keys", "M,N", "--device", "L4")
    assert answer.code == 1
    assert f"{folder}/moe/{NAME}: x: expected whole numbers as keys, got x" in answer.err
    assert stored() == {("mine.matmul", "nvidia_l4"): 3}
    counts = imported(cli, folder, "--kernel", "mine.matmul", "--keys", "M,N", "--device", "L4", code=1)
    assert counts == {
        "read": 3, "other": 0, "mapped": 3, "outside_space": 0, "unchecked": 3, "unknown_device": 0, "duplicate": 3,
        "rejected": 1, "stored": 0,
    }  # fmt: skip


def test_a_dry_run_and_a_strict_one_store_nothing(cli: Cli, folder: Path) -> None:
    options = (folder, "--kernel", "matmul", "--keys", "M,N", "--device", "L4")
    assert imported(cli, *options, "--dry-run", code=1)["stored"] == 0
    assert imported(cli, *options, "--strict", code=1)["stored"] == 0
    assert not Path(settings.current().store).exists()


def test_names_are_mapped_and_entries_chosen(cli: Cli, folder: Path) -> None:
    file = folder / "moe" / NAME
    (folder / "moe" / NAME).write_text('{"16": {"BLOCK_SIZE_M": 32, "num_warps": 4}, "32": {"BLOCK_SIZE_M": 64}}')
    words = ("--kernel", "moe", "--map", "BLOCK_SIZE_M=BLOCK", "--map", "M=rows", "--map", "dtype=", "--only", "M=32")
    counts = imported(cli, file, *words)
    assert (counts["read"], counts["other"], counts["stored"]) == (2, 1, 1)
    with open_store(settings.current().store) as store:
        (hint,) = store.get_hints("moe", "nvidia_l4")
    assert (dict(hint.problem), dict(hint.config)) == ({"rows": 32, "E": 8, "N": 2}, {"BLOCK": 64})


def test_configs_outside_the_search_space_are_rejected_and_unknown_devices_are_counted(
    cli: Cli, kernels: dict[str, Kernel], tmp_path: Path
) -> None:
    put(tuned(problem=Problem.of("pool", rows=16, kernel_size=1)))
    knobs: list[dict[str, Any]] = [{"BLOCK": 128}, {"BLOCK": 512}]
    known = samples.put(tmp_path / "N=1,device_name=NVIDIA_L4.json", {"16": knobs[0], "32": knobs[1]})
    words = ("--kernel", "pool", "--map", "M=rows", "--map", "N=")
    counts = imported(cli, known, *words, code=1)
    assert (counts["outside_space"], counts["stored"], counts["unchecked"]) == (1, 1, 0)
    answer = cli("import", "--as-hints", known, *words)
    assert f"{known}: 32: BLOCK=512 is outside the search space of pool" in answer.err
    unknown = samples.put(tmp_path / "N=1,device_name=Some_GPU.json", {"16": knobs[0], "32": knobs[1]})
    counts = imported(cli, unknown, *words)
    assert (counts["unknown_device"], counts["unchecked"], counts["stored"]) == (2, 2, 2)
    assert stored() == {("pool", "nvidia_l4"): 1, ("pool", "some_gpu"): 2}


def test_a_kernel_may_be_named_without_its_module(cli: Cli, tmp_path: Path) -> None:
    put(tuned(problem=Problem.of("mine.ops.matmul", M=16, N=8)), tuned(problem=Problem.of("theirs.add", M=1)))
    file = samples.put(tmp_path / "matmul.autotune.json", samples.autotune([16, 8], {64: 0.5, 128: 0.25}))
    words = (file, "--keys", "M,N", "--device", "L4")
    assert imported(cli, *words)["stored"] == 1  # by the function that the file names
    assert imported(cli, *words, "--kernel", "matmul")["duplicate"] == 1
    assert stored() == {("mine.ops.matmul", "nvidia_l4"): 1}
    answer = cli("import", "--as-hints", *words, "--kernel", "matmull")
    assert "Did you mean mine.ops.matmul?" in answer.err
    put(tuned(problem=Problem.of("other.matmul", M=16, N=8)))
    answer = cli("import", "--as-hints", *words)
    assert answer.code == 2
    assert "Several stored kernels are called 'matmul'. Name one: mine.ops.matmul, other.matmul." in answer.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "found nothing at nowhere"),
        (("{file}",), ": no kernel is named. Name the one"),
        (("{file}", "--kernel", "k", "--map", "M"), "--map: expected NAME=NAME, got 'M'"),
        (("{file}", "--kernel", "k", "--map", "M=a", "--map", "M=b"), "--map: M is given twice"),
    ],
)
def test_wrong_usage_is_said(cli: Cli, folder: Path, words: tuple[str, ...], message: str) -> None:
    words = tuple(word.format(file=folder / "moe" / NAME) for word in words)
    answer = cli("import", "--as-hints", *words)
    assert answer.code == 2
    assert message in answer.err


def test_options_of_hints_need_hints(cli: Cli, folder: Path) -> None:
    answer = cli("import", folder, "--kernel", "k")
    assert answer.code == 2
    assert "need --as-hints" in answer.err


def test_explain_names_the_hint_that_serves(cli: Cli, kernels: dict[str, Kernel], tmp_path: Path) -> None:
    file = samples.put(tmp_path / "N=1,device_name=interpreter.json", {"16": {"BLOCK": 256}})
    assert imported(cli, file, "--kernel", "pool", "--map", "M=rows", "--map", "N=")["stored"] == 1
    answer = cli("explain", "pool", "--shape", "16,1", "--kernel-size", "1")
    assert answer.code == 1
    assert f"A call that may not tune gets BLOCK=256, a hint from {file}: 16." in answer.err


def test_the_hints_of_a_kernel_can_be_removed(cli: Cli, folder: Path) -> None:
    file = folder / "moe" / NAME
    for kernel in ("a", "b"):
        imported(cli, file, "--kernel", kernel, code=1)
    assert cli("gc", "--hints", "a", "--dry-run", "--format", "json").json == [
        {"kernel": "a", "device": "nvidia_l4", "hints": 1}
    ]
    assert cli("gc", "--hints", "a").code == 2  # it can't ask
    assert len(stored()) == 2
    assert "1 hint removed" in cli("gc", "--hints", "a", "--yes").err
    assert stored() == {("b", "nvidia_l4"): 1}
    assert "There are no hints for a." in cli("gc", "--hints", "a", "--yes").err


def test_facts_that_no_problem_has_are_named(cli: Cli, kernels: dict[str, Kernel], tmp_path: Path) -> None:
    put(tuned(problem=Problem.of("pool", rows=16, kernel_size=1)))
    file = samples.put(tmp_path / "N=1,device_name=NVIDIA_L4.json", {"16": {"BLOCK": 128}, "32": {"BLOCK": 256}})
    answer = cli("import", "--as-hints", file, "--kernel", "pool", "--dry-run")
    assert (
        "No known problem of pool has all of these facts of hints, which stay unchecked: M, N. To rename a field: "
        "--map FIELD=FACT; to leave it out: --map FIELD=. Stored problems show their facts: tunedb ls --kernel pool\n"
    ) in answer.err
    answer = cli("import", "--as-hints", file, "--kernel", "pool", "--map", "M=rows", "--map", "N=", "--dry-run")
    assert "unchecked:" not in answer.err


def test_a_folder_without_such_files_is_said_to_be_one(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    answer = cli("import", "--as-hints", tmp_path, "--format", "json")
    assert (answer.code, answer.json["read"]) == (0, 0)
    assert f"There are no configs of other tools in {tmp_path}." in answer.err
    file = samples.put(tmp_path / NAME, {})
    file.write_text("")
    answer = cli("import", "--as-hints", tmp_path, "--kernel", "pool")
    assert (answer.code, f"{file}: the file is empty" in answer.err) == (1, True)
    assert "no configs of other tools" not in answer.err
