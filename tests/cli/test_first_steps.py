"""The first things that a newcomer does: what is shown can be typed, and what is typed wrong is answered."""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import tunedb
from tests import forked
from tests.cli.conftest import Cli, Kernel, put
from tests.conftest import runs_interpreter
from tests.faults.parts import ROOT
from tests.store.samples import DEVICE, sweep
from tunedb import settings
from tunedb.core.device import INTERPRETER, Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.errors import SettingError
from tunedb.kernels.avg_pool.arguments import read
from tunedb.tuner import session

PROBLEM = "avg_pool1d --shape 1,2,64 --kernel-size 3 --format json"
# torch is loaded once; each command gets a process of its own, in which Triton is not loaded yet.
EACH = """
import os, sys
import torch
from tunedb.cli import run
assert "triton" not in sys.modules
for line in sys.argv[1:]:
    child = os.fork()
    if not child:
        code = 99
        try:
            code = run(line.split())
        finally:
            sys.stdout.flush()
            os._exit(code)
    print("\\0", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@runs_interpreter
def test_commands_run_kernels_without_a_gpu_in_an_empty_environment(tmp_path: Path) -> None:
    (tmp_path / "shapes.jsonl").write_text('{"shape": [1, 1, 18], "kernel_size": 2}\n')
    lines = [
        f"warm {PROBLEM}",
        f"warm --from {tmp_path}/shapes.jsonl --forward-only -q --format csv",
        f"lookup {PROBLEM}",
    ]
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    ran = forked.run(["-c", EACH, *lines], env=environment, timeout=300)
    printed = re.split("\0 (.+)\n", ran.stdout)
    assert printed[1::2] == ["0", "0", "0"], ran.stderr
    assert "mean nothing for a GPU" in ran.stderr
    warmed, found = json.loads(printed[0]), json.loads(printed[4])
    assert [(row["kernel"], row["source"]) for row in warmed] == [
        ("avg_pool1d", "sweep"), ("avg_pool1d_backward", "sweep"),
    ]  # fmt: skip
    assert (found["uid"], found["config"], found["source"]) == (warmed[0]["uid"], warmed[0]["config"], "store")
    with sqlite3.connect(tmp_path / ".local" / "state" / "tunedb" / "tunedb.db") as store:
        assert {status for (status,) in store.execute("SELECT status FROM trial")} == {"ok"}


@pytest.fixture
def choices(kernels: dict[str, Kernel]) -> Sweep:
    """A stored sweep of `pool` on an H200, and one on an H100."""
    problem = Problem.of("pool", rows=2, kernel_size=1)
    here = sweep(problem=problem, kernel_hash=kernels["pool"].hash, config=kernels["pool"].default(problem, DEVICE))
    put(here, sweep(problem=problem, device=Device("NVIDIA H100", "cuda", "sm_90", 132)))
    return here


def test_lookup_takes_the_names_of_devices_that_the_command_takes(choices: Sweep) -> None:
    for device in ("NVIDIA H200", "h200", DEVICE, str(DEVICE)):
        choice = tunedb.lookup("pool", device=device, shape=[2])
        assert choice is not None
        assert choice.sweep is not None
        assert choice.sweep.uid == choices.uid
    assert tunedb.lookup("pool", device="B200", shape=[2]) is None
    with pytest.raises(SettingError, match=r"device: 'nvidia' fits NVIDIA H100 .*; NVIDIA H200"):
        tunedb.lookup("pool", device="nvidia", shape=[2])


class Decorated:
    """What a decorated kernel looks like from here."""

    def registered(self, make_arguments: object) -> None: ...


@pytest.mark.parametrize(
    ("kernel", "arguments", "error", "said"),
    [
        ("pool", {"device": 3, "shape": [2]}, TypeError, "device: expected a tunedb.Device or the name"),
        ("pool", {"device": {}, "shape": [2]}, TypeError, "device: expected"),
        ("pool", {"device": DEVICE}, SettingError, "shape is missing"),
        ("poool", {"device": DEVICE, "shape": [2]}, SettingError, "No kernel is called 'poool'"),
        (3, {"shape": [2]}, TypeError, "kernel: expected the name"),
        (Decorated(), {"shape": [2]}, TypeError, r"tunedb.warm\(kernel.registered\(make_arguments\), n=1024\)"),
    ],
)
def test_a_wrong_argument_is_said_and_never_rests_the_store(
    choices: Sweep, kernel: Any, arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    for face in (tunedb.lookup, tunedb.warm):
        if face is tunedb.warm and "device" in arguments:
            continue
        with pytest.raises(error, match=said):
            face(kernel, **arguments)
    found = tunedb.lookup("pool", device=DEVICE, shape=[2])
    assert found is not None


def test_a_registered_kernel_can_be_given_itself(choices: Sweep, kernels: dict[str, Kernel]) -> None:
    assert tunedb.lookup(kernels["pool"], device="h200", shape=[2]) == tunedb.lookup("pool", device="h200", shape=[2])


@pytest.mark.parametrize(
    "wrong", [{"store": 3}, {"store": b"x.db"}, {"shared": 3}, {"mode": 3}, {"budget": []}, {"override": 3}]
)
def test_a_setting_of_another_type_is_a_setting_error(wrong: dict[str, Any]) -> None:
    before = settings.current()
    with pytest.raises(SettingError, match="Expected"):
        tunedb.configure(**wrong)
    assert settings.current() == before


def test_a_message_says_once_where_to_look(kernels: dict[str, Kernel], records: pytest.LogCaptureFixture) -> None:
    with tunedb.using(store="postgresql://me:secret@127.0.0.1:1/x", mode="read"):
        session.active().choose(kernels["pool"], Problem.of("pool", rows=1, kernel_size=1), -1)
    [said] = [record.getMessage() for record in records.records if "can't be used" in record.getMessage()]
    assert said.count("tunedb path -v") == 1
    assert "secret" not in said


@pytest.mark.parametrize("mode", ["read", "strict"])
def test_a_store_that_is_not_there_is_logged_once_with_its_path(
    kernels: dict[str, Kernel], records: pytest.LogCaptureFixture, mode: Any, tmp_path: Path
) -> None:
    place = tmp_path / "not" / "mounted.db"
    with tunedb.using(store=place, mode=mode):
        for rows in (1, 2):
            try:
                session.active().choose(kernels["pool"], Problem.of("pool", rows=rows, kernel_size=1), -1)
            except tunedb.MissError:
                assert mode == "strict"
    said = [record.getMessage() for record in records.records if record.levelno >= logging.WARNING]
    assert [line for line in said if "There is no store" in line] == [
        f"There is no store at {place}: calls get untuned configs. See where it was named: tunedb path -v"
    ]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("ls", 0), ("stats", 0), ("misses", 0), ("gc --yes", 0), ("show ab", 1), ("mark ab pin --reason x", 1),
        ("lookup pool --shape 2", 1), ("explain pool --shape 2", 1), ("export -o x.jsonl", 1), ("doctor", 0),
        ("verify", 1), ("db current", 0), ("db check", 4), ("db backup", 3),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("kernels")
def test_every_reading_command_names_the_store_that_is_not_there(
    cli: Cli, line: str, code: int, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    place = tmp_path / "nothere.db"
    answer = cli(*line.split(), "--store", place)
    assert answer.code == code, answer
    assert str(place) in answer.out + answer.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def script() -> Sweep:
    """A stored sweep of a script's kernel, which no package registers."""
    stored = sweep(problem=Problem.of("mine.add", **{"n": 1000, "x.aligned": True, "bias": None}), device=INTERPRETER)
    put(stored)
    return stored


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    "words",
    [
        ["mine.add", "--arg", "x.aligned=True", "--arg", "n=1000", "--arg", "bias=None"],
        ["mine.add", "--arg", "x.aligned=true", "--arg", "bias=null"],
        ["add", "--arg", "n=1000"],
    ],
)
def test_what_is_shown_can_be_typed(cli: Cli, script: Sweep, words: Sequence[str]) -> None:
    answer = cli("lookup", *words, "--format", "json")
    assert answer.code == 0, answer.err
    assert answer.json["uid"] == script.uid
    assert cli("explain", *words).code == 0


@pytest.mark.usefixtures("kernels", "script")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["mine.add", "--arg", "n=1001"], 1, "no stored problem has n=1001. Stored: n=1000."),
        (["mine.add", "--arg", "m=1"], 2, "mine.add has no fact m. Facts: bias, n, x.aligned.\n"),
        (["add", "--arg", "x_aligned=True"], 2, "has no fact x_aligned. Did you mean x.aligned? Facts: bias, n, x.al"),
        (
            ["add", "--arg", "X_ALIGNED=1", "--arg", "biass=1"],
            2,
            "X_ALIGNED, biass. Did you mean x.aligned? Did you mean",
        ),
        (["sub", "--arg", "n=1"], 2, "No kernel is called 'sub'"),
    ],
)
def test_what_is_not_stored_is_a_finding_and_what_is_wrong_is_usage(
    cli: Cli, words: Sequence[str], code: int, said: str
) -> None:
    answer = cli("lookup", *words, "--format", "json")
    assert (answer.code, answer.out) == (code, "null\n" if code == 1 else "")
    assert said in answer.err


def test_a_short_name_of_several_stored_kernels_is_refused(cli: Cli, script: Sweep) -> None:
    put(sweep(problem=Problem.of("yours.add", n=1)))
    answer = cli("lookup", "add", "--arg", "n=1")
    assert (answer.code, "Several stored kernels are called 'add'. Name one: mine.add, yours.add." in answer.err) == (
        2, True,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["float16", "fp16", "half", "torch.float16"])
def test_a_dtype_is_taken_as_people_write_it(name: str) -> None:
    assert read({"shape": [1, 1, 8], "kernel_size": 2, "dtype": name}).dtype == "float16"


def test_path_is_the_path_in_every_format(cli: Cli, tmp_path: Path) -> None:
    assert cli("path", "--format", "json").json == {"store": str(tmp_path / "tunedb.db")}
    assert cli("path", "--format", "csv").out == f"store\n{tmp_path / 'tunedb.db'}\n"


@pytest.mark.parametrize(
    ("variable", "words", "said"),
    [
        ("TUNEDB_STORE", [], "Run: tunedb db upgrade"),
        ("TUNEDB_SHARED", ["--store", "URL"], 'Run: tunedb db upgrade --store "$TUNEDB_SHARED"'),
        (None, ["--store", "URL"], 'Run: tunedb db upgrade --store "$URL"'),
    ],
)
def test_a_command_for_a_store_with_a_password_names_the_variable_that_has_it(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, words: list[str], said: str
) -> None:
    from tunedb.store.sql.advice import on_store
    from tunedb.store.sql.engine import locate

    url = "postgresql://me:secret@host/x"
    if variable is not None:
        monkeypatch.setenv(variable, url)
        settings._change({})
    assert f"Run: {on_store('tunedb db upgrade', locate(url).url)}" == said
    assert on_store("tunedb ls", "sqlite:////a b.db") == "tunedb ls --store 'sqlite:////a b.db'"
