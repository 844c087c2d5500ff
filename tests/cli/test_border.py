"""The border of the command line: whatever fails, there is one sentence, a documented exit code and no stack trace."""

from __future__ import annotations

import builtins
import dataclasses
import errno
import io
import os
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

import filelock
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.cli.conftest import Answer, Cli, put
from tests.cli.test_command import ALL
from tests.faults.parts import output_of, start, start_anew
from tests.store.samples import sweep
from tunedb.cli import run, streams
from tunedb.cli.commands import ls
from tunedb.cli.exit_codes import DONE, FOUND, INTERRUPTED, SCHEMA, TERMINATED, UNAVAILABLE, USAGE
from tunedb.store import dump, open_store

DOCUMENTED = {DONE, FOUND, USAGE, UNAVAILABLE, SCHEMA, INTERRUPTED, TERMINATED}
UID = "ab" * 16
ASKED = "pool --shape 2,4 --kernel-size 2"
# What commands do with stores and files, once each.
LINES = (
    "ls", "path -v", "export -o out.jsonl", "export -o out.py --format python", "export -o -", "import in.jsonl",
    "import other.db", "sync --with other.db", "gc --yes", "db check", "db upgrade", "db backup copy.db", "doctor",
    f"mark {UID} pin --reason x", f"lookup {ASKED}", f"warm {ASKED}",
)  # fmt: skip
# The calls to the outside that commands make, by the object that has them.
OUTSIDE: tuple[tuple[Any, str], ...] = (
    *((os, name) for name in (
        "mknod", "open", "stat", "mkdir", "replace", "rename", "unlink", "fstat", "chmod", "scandir", "readlink",
        "getcwd", "link", "fsync", "statvfs",
    )),
    *((Path, name) for name in ("open", "resolve", "stat", "read_bytes", "unlink", "replace")),
    (builtins, "open"), (io, "open"), (tempfile, "TemporaryFile"), (tempfile, "SpooledTemporaryFile"),
    (shutil, "disk_usage"), (sqlite3, "connect"), (filelock.FileLock, "acquire"), (filelock.FileLock, "release"),
    (threading.Thread, "start"), (metadata, "version"),
)  # fmt: skip


def check(answer: Answer, line: object) -> None:
    """Whatever happened, it ended as documented."""
    assert answer.code in DOCUMENTED, (line, answer)
    assert "Traceback" not in answer.err, (line, answer)
    assert "did not expect" not in answer.err, (line, answer)
    if answer.code in (USAGE, UNAVAILABLE, SCHEMA) and not answer.out:
        assert answer.err.count("tunedb: ") == 1, (line, answer)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make the working folder as it is before each command: a store of two sweeps, another one, and a file."""
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "model"
    model.mkdir()
    with open_store(str(model / "tunedb.db")) as store:
        store.put_sweeps([sweep(1, uid=UID), sweep(2, config=None, status="failed", time_us=None)])
    open_store(str(model / "other.db")).close()
    dump([sweep(3)], model / "in.jsonl")

    def make() -> None:
        for entry in tmp_path.iterdir():
            if entry.is_file():
                entry.unlink()
        for entry in model.iterdir():
            shutil.copy(entry, tmp_path)

    return make


@pytest.mark.parametrize("line", LINES)
@pytest.mark.usefixtures("kernels")
def test_a_call_to_the_outside_that_fails_is_one_sentence(
    cli: Cli, line: str, place: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEDB_LOCK_TIMEOUT", "0")
    monkeypatch.setattr(
        "tunedb.store.sql.opening.open_store.__kwdefaults__", {**open_store.__kwdefaults__, "busy_timeout": 0.1}
    )
    place()
    made: set[tuple[int, str]] = set()
    with monkeypatch.context() as patch:
        for owner, name in OUTSIDE:
            patch.setattr(owner, name, _noted(getattr(owner, name), made, (id(owner), name)))
        check(cli(*line.split()), line)
    for owner, name in OUTSIDE:
        if (id(owner), name) not in made:
            continue
        place()

        def fail(*arguments: object, **_keywords: object) -> NoReturn:
            path = [str(arguments[0])] if arguments and isinstance(arguments[0], str | Path) else []
            raise OSError(errno.EDQUOT, "Disk quota exceeded", *path)

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            answer = cli(*line.split())
        check(answer, (line, name))


def _noted(real: Callable[..., Any], made: set[tuple[int, str]], key: tuple[int, str]) -> Callable[..., Any]:
    def call(*arguments: Any, **keywords: Any) -> Any:
        made.add(key)
        return real(*arguments, **keywords)

    return call


def test_a_store_that_has_no_room_for_a_file_can_not_be_used(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EPERM):

        def refuse(path: str, *_: object) -> NoReturn:
            raise OSError(number, os.strerror(number), path)  # noqa: B023 - called in this turn only

        monkeypatch.setattr(os, "mknod", refuse)
        answer = cli("db", "upgrade")
        assert answer.code == UNAVAILABLE
        assert answer.err.startswith("tunedb: Can't use sqlite:///")
        assert os.strerror(number) in answer.err


def test_an_unexpected_exception_is_one_sentence_with_its_place(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> NoReturn:
        raise ZeroDivisionError("one\ntwo")

    monkeypatch.setattr(ls, "reading_lists", fail)
    answer = cli("ls")
    assert answer.code == FOUND
    assert re.fullmatch(
        r"tunedb: ZeroDivisionError: one \(at cli/commands/ls.py:\d+ < .*\), which tunedb did not expect. .*\n",
        answer.err,
    )


WORDS = st.sampled_from(
    [
        "--kernel", "--device", "--format", "json", "csv", "-v", "-q", "--arg", "a=1", "n=NaN", "=", UID, UID[:3], "0",
        "-1", "pool", "--shape", "2,4", "9" * 400, "--sample", "--budget", "--trial-timeout", "--stale", "--from", "",
        "/dev/null", "--with", "nowhere.db", "-o", "-", "/", "--reason", "pin", "--yes", "--dry-run", "--strict",
        "--help", "import",
    ]
) | st.text(max_size=8)  # fmt: skip


@hypothesis_settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(command=st.sampled_from(ALL), words=st.lists(WORDS, max_size=4))
@pytest.mark.usefixtures("kernels")
def test_odd_words_after_any_command_end_as_documented(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], words: list[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        put(sweep(1, uid=UID))
        patch.setattr(os, "execve", lambda *_: None)  # of `run`
        if command != ("demo",):  # which runs for half a minute
            check(cli(*command, *words), (command, words))


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, bytes]]:
    """Run a command whose stdout is a pipe, read to its end, with an encoding: the program's own stream."""

    def call(encoding: str, *words: str) -> tuple[int, bytes]:
        with tempfile.TemporaryFile() as file:
            with monkeypatch.context() as patch:
                patch.setattr(sys, "stdout", streams.text_output(file.fileno(), encoding, required=True))
                code = run(words)
            file.seek(0)
            return code, file.read()

    return call


@pytest.mark.parametrize("path", ALL, ids=" ".join)
@pytest.mark.usefixtures("kernels")
def test_the_help_can_be_read_on_an_old_terminal(
    outside: Callable[..., tuple[int, bytes]], path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns in ("40", "80"):
        monkeypatch.setenv("COLUMNS", columns)
        code, out = outside("ascii", *path, "--help")
        assert code == DONE
        assert b"Usage: tunedb" in out
        assert b"\\u" not in out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_name_that_the_terminal_lacks_is_escaped(
    outside: Callable[..., tuple[int, bytes]], encoding: str, tmp_path: Path
) -> None:
    device = dataclasses.replace(sweep(1).device, name="K\xe4rnten \u4e2d GPU")
    put(sweep(1, uid=UID, device=device))
    for words in (("ls",), ("ls", "--format", "csv"), ("show", UID)):
        code, out = outside(encoding, *words)
        assert code == DONE
        assert rb"\u4e2d GPU" in out
    # What is written to be kept has the bytes of the file.
    for format in ("python", "jsonl"):
        assert run(["export", "--format", format, "-o", str(tmp_path / "out")]) == DONE
        assert outside(encoding, "export", "--format", format, "-o", "-") == (DONE, (tmp_path / "out").read_bytes())


def test_a_reader_that_has_seen_enough_does_not_change_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    put(sweep(1, uid=UID))
    read_end, write_end = os.pipe()
    os.close(read_end)
    monkeypatch.setattr(sys, "stdout", streams.text_output(write_end, "utf-8", required=True))
    codes = {line: run(line.split()) for line in ("ls", "ls --format json", "ls --format csv", "ls --help", "show ff")}
    os.close(write_end)
    assert codes == {"ls": 0, "ls --format json": 0, "ls --format csv": 0, "ls --help": 0, "show ff": 1}


@pytest.mark.parametrize("line", ["ls", "ls --format json", "path", "--help", "export -o -"])
def test_a_full_disk_under_stdout_is_said(
    cli: Cli, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(sweep(1, uid=UID))
    with Path("/dev/full").open("wb") as full:
        monkeypatch.setattr(sys, "stdout", streams.text_output(full.fileno(), "utf-8", required=True))
        assert run(line.split()) == USAGE
    assert capsys.readouterr().err == "tunedb: Can't write the answer to stdout: No space left on device.\n"


CLOSED = """
import os, sys
for descriptor in map(int, sys.argv[2]):
    os.close(descriptor)
sys.stdin, sys.stdout, sys.stderr = (None if str(n) in sys.argv[2] else s
                                     for n, s in enumerate((sys.stdin, sys.stdout, sys.stderr)))
sys.argv[1:] = sys.argv[1].split()
from tunedb.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("line", "closed", "code"), [("ls", "1", 0), ("path", "1", 2), ("ls --bogus", "12", 2), ("import -", "012", 2)]
)
def test_a_standard_stream_that_is_closed_is_no_stack_trace(line: str, closed: str, code: int) -> None:
    process = start(CLOSED, line, closed)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err.count("\n") <= 1
    assert "Traceback" not in err


SIGNALLED = """
import builtins, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # these tests may run in the background, where it is ignored
number, module, real = int(sys.argv[1]), sys.argv[2], builtins.__import__
def interrupting(name, *rest):
    global module
    if name == module and name not in sys.modules:
        module = None
        os.kill(os.getpid(), number)
    return real(name, *rest)
builtins.__import__ = interrupting
sys.argv[1:] = sys.argv[3].split()
from tunedb.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("number", "module", "line", "said"),
    [
        (signal.SIGINT, "typer", "ls", "Interrupted."),
        (signal.SIGTERM, "sqlalchemy", "stats", "Ended by SIGTERM."),
        (signal.SIGINT, "torch", "lookup avg_pool1d --shape 2,4,64 --kernel-size 4", "Interrupted."),
        (
            signal.SIGINT, "torch", "warm avg_pool1d --shape 2,4,64 --kernel-size 4",
            "Interrupted. What was tuned is stored: run the same command again to continue.",
        ),
    ],
)  # fmt: skip
def test_an_interrupt_while_modules_are_imported_is_one_line(number: int, module: str, line: str, said: str) -> None:
    open_store(os.environ["TUNEDB_STORE"]).close()
    process = start_anew(SIGNALLED, int(number), module, line)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (128 + number, "", f"tunedb: {said}\n")


def test_an_ignored_interrupt_stays_ignored() -> None:
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from tunedb._internal import interrupts\n"
        "interrupts.watch(); interrupts.watch(); print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
    )
    assert output_of(program) == "True\n"
