"""`export` and `import` of jsonl and of whole stores, and the table of `triton.Config`."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, put
from tests.store.samples import DEVICE, sweep
from tunedb.core.device import Device
from tunedb.core.sweep import Sweep

OTHER = Device("NVIDIA L4", "cuda", "sm_89", 58)


def test_a_round_trip_gives_the_same_bytes(cli: Cli, stored: Sequence[Sweep], tmp_path: Path) -> None:
    first, second, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "other.db"
    assert cli("export", "-o", first).code == 0
    counts = cli("import", first, "--store", other, "--format", "json").json
    assert counts == {"stored": 1, "known": 0, "rejected": 0}  # the failed one stays
    counts = cli("import", first, "--store", other, "--format", "json").json
    assert counts == {"stored": 0, "known": 1, "rejected": 0}
    cli("export", "-o", second, "--store", other)
    assert first.read_bytes() == second.read_bytes()
    assert {row["origin"] for row in cli("ls", "--store", other, "--format", "json").json} == {"imported"}


def test_stdout_takes_the_same_bytes(cli: Cli, stored: Sequence[Sweep], tmp_path: Path) -> None:
    cli("export", "-o", tmp_path / "a.jsonl")
    assert cli("export", "-o", "-").out == (tmp_path / "a.jsonl").read_text()


@pytest.mark.parametrize("scheme", ["", "sqlite:///"])
def test_another_store_is_imported(cli: Cli, stored: Sequence[Sweep], scheme: str, tmp_path: Path) -> None:
    answer = cli("import", f"{scheme}{tmp_path / 'tunedb.db'}", "--store", tmp_path / "other.db", "--format", "json")
    assert answer.json == {"stored": 1, "known": 0, "rejected": 0}
    assert "1 sweep without a winner left in" in answer.err
    shown = cli("show", stored[0].uid, "--store", tmp_path / "other.db", "--format", "json").json
    assert (shown["origin"], len(shown["trials"])) == ("imported", 3)


def test_a_filter_leaves_the_rest_out(cli: Cli, stored: Sequence[Sweep], tmp_path: Path) -> None:
    put(sweep(3, device=OTHER))
    cli("export", "-o", tmp_path / "l4.jsonl", "--device", "l4", "--kernel", "avg_pool1d")
    counts = cli("import", tmp_path / "l4.jsonl", "--store", tmp_path / "other.db", "--format", "json").json
    assert counts["stored"] == 1
    assert cli("ls", "--store", tmp_path / "other.db", "--format", "json").json[0]["device"] == OTHER.name


@pytest.mark.parametrize("format", ["jsonl", "python", "module"])
def test_nothing_stored_writes_no_file(cli: Cli, format: str, tmp_path: Path) -> None:
    answer = cli("export", "-o", tmp_path / "x", "--format", format)
    assert answer.code == 1
    assert "There is no store at" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_written_over(cli: Cli, stored: Sequence[Sweep], tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for target in ("there", "absent/x.jsonl"):
        answer = cli("export", "-o", tmp_path / target)
        assert answer.code == 2
        assert target in answer.err


def test_an_export_replaces_the_file_at_once(cli: Cli, stored: Sequence[Sweep], tmp_path: Path) -> None:
    target = tmp_path / "x.jsonl"
    target.write_text("old")
    cli("export", "-o", target)
    assert target.read_text().startswith("{")
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]


def _altered(text: str) -> str:
    return text.replace("node7", "node8")


def _cut(text: str) -> str:
    return "".join(text.splitlines(keepends=True)[:-1])


@pytest.mark.parametrize(
    "spoil", [_altered, _cut, lambda text: "", lambda text: "{}\n", lambda text: "<<<<<<< x\n" + text]
)
@pytest.mark.parametrize("strict", [(), ("--strict",)])
def test_a_spoilt_file_is_refused(
    cli: Cli, stored: Sequence[Sweep], spoil: Callable[[str], str], strict: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    cli("export", "-o", path)
    path.write_text(spoil(path.read_text()))
    answer = cli("import", path, "--store", tmp_path / "other.db", *strict)
    assert answer.code == 2
    assert answer.err.startswith(f"tunedb: {path} was refused, and nothing was stored: ")
    assert not (tmp_path / "other.db").exists()


def test_the_python_format_is_a_table_of_triton_configs(cli: Cli, stored: Sequence[Sweep], tmp_path: Path) -> None:
    later = sweep(1, config=sweep().config, kernel_hash="ab" * 32)
    put(later)
    path = tmp_path / "configs.py"
    assert cli("export", "-o", path, "--format", "python").code == 0
    text = path.read_text()
    cli("export", "-o", path, "--format", "python")
    assert path.read_text() == text
    names: dict[str, Any] = {}
    exec(compile(text, path, "exec"), names)
    [(key, config)] = names["CONFIGS"].items()
    assert key == ("avg_pool1d", DEVICE.name, stored[0].problem.key)
    assert (config.kwargs, config.num_warps) == ({"BLOCK": 128}, 4)
    assert [line for line in text.splitlines() if line.startswith(("import", "from"))] == [
        "import json", "import triton",
    ]  # fmt: skip
    config_of, facts = names["config_of"], stored[0].problem.plain()
    assert config_of("avg_pool1d", DEVICE.name, n=1) is config
    assert config_of("avg_pool1d", DEVICE.name, **facts | {"dtype_name": "torch.float32"}) is config
    for wrong in ({"n": 2}, {"n": True}, {"rows": 1}):
        with pytest.raises(LookupError, match="0 problems of avg_pool1d on NVIDIA H200"):
            config_of("avg_pool1d", DEVICE.name, **wrong)


@pytest.mark.parametrize("format", ["jsonl", "python"])
def test_an_export_over_a_file_keeps_its_mode(cli: Cli, stored: Sequence[Sweep], format: str, tmp_path: Path) -> None:
    target = tmp_path / "x"
    for mode in (0o600, 0o640, 0o444):
        target.unlink(missing_ok=True)
        target.touch(mode)
        target.chmod(mode)
        assert cli("export", "-o", target, "--format", format).code == 0
        assert stat.S_IMODE(target.stat().st_mode) == mode
        assert target.stat().st_size


@pytest.mark.parametrize("strict", [(), ("--strict",)])
def test_a_pipe_is_read_once(cli: Cli, stored: Sequence[Sweep], strict: tuple[str, ...], tmp_path: Path) -> None:
    cli("export", "-o", tmp_path / "x.jsonl")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes((tmp_path / "x.jsonl").read_bytes()))
    writer.start()
    answer = cli("import", pipe, "--store", tmp_path / "other.db", "--format", "json", *strict)
    writer.join(timeout=10)
    assert answer.json == {"stored": 1, "known": 0, "rejected": 0}  # the failed one stays where it is
