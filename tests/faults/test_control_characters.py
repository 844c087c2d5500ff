"""Names and texts with control characters: refused where they come in, escaped where they are shown."""

from __future__ import annotations

import ast
import csv
import io
import json
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.store.samples import DEVICE, ENVIRONMENT, sweep, trial
from tests.store.test_jsonl import sealed, text_of
from tunedb import cli
from tunedb._internal.printable import printable
from tunedb.cli.output import Format, print_record, print_rows
from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Mark, Sweep
from tunedb.errors import IdentityError
from tunedb.store import load, open_store
from tunedb.store.exchange.python_source import python_source

STEERING = {
    "line feed": "\n",
    "carriage return": "\r",
    "form feed": "\f",
    "vertical tab": "\v",
    "file separator": "\x1c",
    "next line": "\x85",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "escape": "\x1b[2J",
    "bell": "\a",
    "one-byte escape": "\x9b2J",
    "other direction": "\u202e",
    "isolate": "\u2066",
    "no width": "\u200b",
    "tag": "\U000e0041",
    "surrogate": "\ud800",
}
MAKE: dict[str, Callable[[str], object]] = {
    "device's name": lambda text: replace(DEVICE, name=text),
    "device's backend": lambda text: replace(DEVICE, backend=text),
    "device's arch": lambda text: replace(DEVICE, arch=text),
    "kernel": lambda text: Problem.of(f"k{text}"),
    "fact's name": lambda text: Problem.of("k", **{text: 1}),
    "knob's name": lambda text: Config.of(**{text: 1}),
}
KEEP: dict[str, Callable[[str], Sweep]] = {
    "host": lambda text: sweep(host=text),
    "origin": lambda text: sweep(origin=text),
    "kernel hash": lambda text: sweep(kernel_hash=text),
    "reason": lambda text: sweep(marks=(Mark("quarantine", text),)),
    "Triton's version": lambda text: sweep(environment=replace(ENVIRONMENT, triton=text)),
    "driver's version": lambda text: sweep(environment=replace(ENVIRONMENT, driver=text)),
}
LINES: dict[str, Callable[[dict[str, Any], str], object]] = {
    "device": lambda row, text: row["device"].update(name=text),
    "kernel": lambda row, text: row.update(kernel=text),
    "fact": lambda row, text: row["problem"].update({text: 1}),
    "knob": lambda row, text: row["trials"][0]["config"].update({text: 1}),
    "host": lambda row, text: row.update(host=text),
    "environment": lambda row, text: row["environment"].update(method=text),
}


@pytest.mark.parametrize("kind", STEERING)
def test_no_name_has_a_control_character(kind: str) -> None:
    text = f"x{STEERING[kind]}y"
    for make in MAKE.values():
        with pytest.raises(IdentityError):
            make(text)
    with open_store("sqlite://") as store:
        for keep in KEEP.values():
            with pytest.raises(ValueError, match="expected"):
                store.put_sweep(keep(text))
        with pytest.raises(ValueError, match="control characters"):
            store.marks.put(sweep().uid, Mark("pin", text))
        assert list(store.iter_sweeps()) == []


@pytest.mark.parametrize("place", LINES)
def test_an_import_takes_no_name_with_a_control_character_and_takes_the_other_lines(place: str, tmp_path: Path) -> None:
    header, first, second, _ = text_of([sweep(1), sweep(2)]).splitlines()
    for text in STEERING.values():
        row = json.loads(first)
        LINES[place](row, f"x{text}y")
        line = json.dumps(row, sort_keys=True, separators=(",", ":"))
        (tmp_path / "in.jsonl").write_bytes(sealed([header, line, second]))
        loaded = load(tmp_path / "in.jsonl")
        assert [rejected.line for rejected in loaded.rejected] == [2]
        assert loaded.rejected[0].reason.isprintable()
        assert len(loaded.sweeps) == 1


def test_a_row_with_such_a_name_that_someone_wrote_is_passed_over_alone(
    tmp_path: Path, records: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tunedb.db"
    with open_store(str(path)) as store:
        store.put_sweeps([sweep(1), sweep(2, device=replace(DEVICE, name="other"))])
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE device SET name = ? WHERE name = 'other'", ["x\x1b[2J\nforged: all is well"])
    connection.close()
    with open_store(str(path)) as store:
        assert [found.problem["n"] for found in store.iter_sweeps()] == [1]
    assert all(record.getMessage().isprintable() for record in records.records)


@pytest.fixture
def steering(tmp_path: Path) -> str:
    """A store whose texts, where any is allowed, steer a terminal; the text."""
    text = "=1+1" + "".join(STEERING.values()).replace("\ud800", "") + "gnp"
    with open_store(str(tmp_path / "tunedb.db")) as store:
        store.put_sweep(
            sweep(
                problem=Problem.of("k", fact=text),
                config=Config.of(BLOCK=text),
                trials=(trial(config=Config.of(BLOCK=text), status="ok"), trial(256, "compile_error", error=text)),
            )
        )
    return text


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_no_command_prints_a_control_character(form: str, steering: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["ls", "--format", "json"]) == 0
    uid = json.loads(capsys.readouterr().out)[0]["uid"]
    for command in (["ls"], ["show", uid], ["stats"], ["misses"]):
        cli.run([*command, "--format", form])
        said = capsys.readouterr()
        assert not {char for char in said.out + said.err if not char.isprintable() and char != "\n"}, command
        assert "gnp" in said.out or command[0] in ("stats", "misses")


def test_log_lines_of_commands_are_one_line_each(steering: str, capsys: pytest.CaptureFixture[str]) -> None:
    from tunedb.cli.command import _log_on_stderr

    with _log_on_stderr(quiet=False, verbose=True):
        logging.getLogger("tunedb").warning("%s %s", steering, "postgresql://me:hush@host/x")
        logging.getLogger("tunedb.cli").info("%s", Problem.of("k", fact=steering))
    lines = capsys.readouterr().err.split("\n")
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert "hush" not in "".join(lines)


FORMULAS = ("=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", " =1", '=HYPERLINK("http://x","y")', "-")


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_a_csv_is_a_formula(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"text": text, "number": -1.5, "whole": -3, "plain": "a=b -c", "none": None}
    print_rows([row], Format.csv, list(row))
    print_record(row, Format.csv)
    for cells in list(csv.reader(io.StringIO(capsys.readouterr().out)))[1::2]:
        assert cells == [f"'{printable(text)}", "-1.5", "-3", "a=b -c", ""]


@pytest.mark.parametrize("kind", STEERING)
def test_an_exported_table_has_texts_as_literals(kind: str) -> None:
    text = f"x{STEERING[kind]}import os#\"\"\"'''"
    if kind == "surrogate":
        text = 'x"""'
    facts = Problem.of("k", fact=text)
    device = Device("x", "cuda", "sm_90", 1)
    object.__setattr__(device, "name", text)  # no name can be this: the second line of defence
    source, count = python_source([sweep(problem=facts, device=device, config=Config.of(BLOCK=text, num_warps=4))])
    assert count == 1
    *code, assigned = ast.parse(source).body
    assert [ast.dump(statement) for statement in code] == [
        ast.dump(statement) for statement in ast.parse(python_source([])[0]).body[:-1]
    ]
    assert isinstance(assigned, ast.Assign)
    assert isinstance(assigned.value, ast.Dict)
    assert len(assigned.value.keys) == 1
    assert ast.literal_eval(assigned.value.keys[0]) == ("k", text, facts.key)  # type: ignore[arg-type]
    assert all(line.isprintable() for line in source.split("\n"))
