"""What holds for every command: help, exit codes, one-line errors, and what is not loaded."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer

import tunedb
from tests.cli.conftest import Answer, Cli, run_apart, run_forked
from tunedb import settings
from tunedb.cli import app, main
from tunedb.store import open_store

SHAPE = ("--shape", "2,4,64", "--kernel-size", "4")


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, as the words that name it."""
    group = typer.main.get_command(app) if group is None else group
    for name, found in group.commands.items():
        if hasattr(found, "commands"):
            yield from commands(found, (*path, name))
        else:
            yield (*path, name)


ALL = list(commands())


def test_all_commands_are_known() -> None:
    words = {" ".join(path) for path in ALL}
    assert words == {
        "warm", "run", "precompile", "lookup", "explain", "ls", "show", "mark", "verify", "misses", "stats", "export",
        "import", "sync", "gc", "db current", "db check", "db upgrade", "db backup", "doctor", "path", "demo",
        "kernels", "devices", "report", "diff", "env",
    }  # fmt: skip


@pytest.mark.parametrize("path", [(), ("db",), *ALL], ids=" ".join)
def test_help_is_given(cli: Cli, path: tuple[str, ...]) -> None:
    answer = cli(*path, "--help")
    assert answer.code == 0
    assert "Usage: tunedb" in answer.out


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_takes_the_common_flags(cli: Cli, path: tuple[str, ...]) -> None:
    out = cli(*path, "--help").out
    assert all(flag in out for flag in ("--store", "--quiet", "--verbose", "--format"))


def test_the_exit_codes_are_documented(cli: Cli) -> None:
    out = " ".join(cli("--help").out.split())
    assert all(f" {code} " in out for code in (0, 1, 2, 3, 4, 130))


def test_the_version_is_printed(cli: Cli) -> None:
    assert cli("--version").out == f"tunedb {tunedb.__version__}\n"


def test_no_command_prints_the_help(cli: Cli) -> None:
    answer = cli()
    assert answer.code == 2
    assert "Commands" in answer.out
    assert answer.err == ""


def test_main_exits_with_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["tunedb", "show", "ab"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["bogus"], 2, "bogus"),
        (["ls", "--bogus"], 2, "See: tunedb ls --help"),
        (["ls", "--format", "yaml"], 2, "yaml"),
        (["show"], 2, "uid"),
        (["warm"], 2, "--from"),
        (["warm", "avg_pool1d", "--from", "x.jsonl"], 2, "No such file"),
        (["warm", "--from", "x.jsonl", "--stale"], 2, "either"),
        (["warm", "--from", "absent.jsonl"], 2, "No such file"),
        (["warm", "--from", "."], 2, "Is a directory"),
        (["warm", "nothing", *SHAPE], 2, "avg_pool1d"),
        (["warm", "avg_pool1d", "--shape", "2,x,64", "--kernel-size", "4"], 2, "2,x,64"),
        (["warm", "avg_pool1d", "--shape", "2,-4,64", "--kernel-size", "4"], 2, "shape"),
        (["warm", "avg_pool1d", "--shape", "2,4,64"], 2, "kernel_size"),
        (["warm", "avg_pool1d", *SHAPE, "--padding", "3"], 2, "padding"),
        (["lookup", "avg_pool1d", *SHAPE, "--dtype", "int8"], 2, "int8"),
        (["lookup", "avg_pool1d", *SHAPE, "--layout", "diagonal"], 2, "diagonal"),
        (["import", "absent.jsonl"], 2, "No such file"),
        (["import", "."], 2, "Is a directory"),
        (["import", "sqlite:///absent.db"], 2, "absent.db"),
        (["explain", "nothing", *SHAPE], 2, "avg_pool1d"),
        (["explain", "avg_pool1d", "--shape", "2,4,64"], 2, "kernel_size"),
        (["mark", "ab", "pin"], 2, "--reason"),
        (["mark", "ab" * 8, "pin", "--reason", "x"], 1, "There is no store at"),
        (["sync"], 2, "TUNEDB_SHARED"),
        (["sync", "--with", "absent.db"], 4, "tunedb db upgrade --store absent.db"),
        (["sync", "--with", "postgresql://user:secret@127.0.0.1:1/x?connect_timeout=1"], 3, "127.0.0.1"),
        (["import", "postgresql://user:secret@127.0.0.1:1/x?connect_timeout=1"], 3, "127.0.0.1"),
        (["warm", "--from-misses", "--stale"], 2, "either"),
        (["ls", "--store", "mysql://host/x"], 3, "mysql"),
        (["ls", "--store", "postgresql://user:secret@127.0.0.1:1/x?connect_timeout=1"], 3, "127.0.0.1"),
        (["ls", "--store", "."], 3, "folder"),
        (["warm", "avg_pool1d", *SHAPE, "--store", "/dev/null/x.db"], 3, "/dev/null"),
        (["db", "check", "--store", "absent.db"], 4, "tunedb db upgrade"),
    ],
)
def test_a_mistake_is_one_line_and_a_code(
    cli: Cli, arguments: list[str], code: int, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tunedb.settings.ask_for_interpreter", lambda: None)
    answer = cli(*arguments, "-q")
    assert answer.code == code, answer
    assert answer.err.startswith("tunedb: ")
    assert answer.err.count("\n") == 1
    assert words in answer.err
    assert "Traceback" not in answer.err
    assert "secret" not in answer.err
    assert answer.out == ""
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_bad_setting_names_its_variable(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDB_MODE", "fast")
    answer = cli("ls")
    assert answer.code == 2
    assert "TUNEDB_MODE" in answer.err


@pytest.mark.parametrize("arguments", [("ls",), ("show", "ab"), ("export", "-o", "-"), ("db", "current")])
def test_a_damaged_store_is_reported_and_left_alone(cli: Cli, arguments: tuple[str, ...]) -> None:
    path = Path(settings.current().store)
    path.write_text("this is no database, and it is longer than a header of one hundred bytes " * 3)
    before = path.read_bytes()
    answer = cli(*arguments)
    assert answer.code == 3
    assert answer.err.startswith("tunedb: ")
    assert path.read_bytes() == before


@pytest.mark.parametrize("revision", ["0000", "9999"])
def test_another_schema_is_exit_code_4(cli: Cli, revision: str) -> None:
    path = settings.current().store
    open_store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("update tunedb_alembic_version set version_num = ?", [revision])
    connection.commit()
    connection.close()
    for arguments in (("ls",), ("show", "ab"), ("export", "-o", "-"), ("db", "check")):
        answer = cli(*arguments)
        assert answer.code == 4
        assert revision in answer.err


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        ("ls", ["ls"], "Interrupted."),
        ("sync", ["sync"], "Interrupted. What was exchanged is stored: run the same command again to continue."),
        ("verify", ["verify"], "Interrupted. What was found until then is marked."),
    ],
)
def test_an_interrupt_is_exit_code_130(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str, words: list[str], said: str
) -> None:
    def interrupt(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("tunedb.settings.using", interrupt)
    assert cli(*words) == Answer(130, "", f"tunedb: {said}\n")


def test_what_reads_the_store_needs_no_torch(tmp_path: Path) -> None:
    program = """
import sys
sys.modules |= {"torch": None, "triton": None, "numpy": None}  # importing them raises
from tunedb.cli import run
for words in ("--help", "ls --help", "warm --help", "db upgrade", "db check", "ls", "path -v", "show ab",
              "export -o -", "import {0}/other.db", "misses", "stats", "sync --with {0}/other.db",
              "mark ab pin --reason x", "warm avg_pool1d --shape 2,4,64 --kernel-size 4"):
    print(words, "->", run(words.format(sys.argv[1]).split()), file=sys.stderr)
"""
    open_store(str(tmp_path / "other.db")).close()
    answer = run_forked("-c", program, tmp_path)
    assert answer.code == 0, answer.err
    codes = [line.rpartition(" ")[2] for line in answer.err.splitlines() if " -> " in line]
    assert codes == ["0"] * 7 + ["1", "1", "0", "0", "0", "0", "1", "2"]
    assert "This command needs torch" in answer.err


def test_the_program_runs_as_a_module() -> None:
    answer = run_apart("-m", "tunedb", "ls", "--format", "json")
    assert (answer.code, answer.out) == (0, "[]\n")


def test_nobody_reading_is_no_error() -> None:
    program = (
        "import os, sys; ends = os.pipe(); os.close(ends[0]); os.dup2(ends[1], 1); sys.argv[1:] = ['path']\n"
        "from tunedb.__main__ import main; main()"
    )
    answer = run_forked("-c", program)
    assert (answer.code, answer.err) == (0, "")
