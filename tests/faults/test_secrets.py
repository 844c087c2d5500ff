"""Passwords: on no way out of the library or of a command, however they are written, and in no file's name."""

from __future__ import annotations

import subprocess
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tunedb
from tests.fakes import ENVIRONMENT, FakeClock
from tests.faults import calls
from tests.faults.network import Refusing
from tests.store.samples import sweep
from tunedb import cli, settings
from tunedb.errors import SettingError, StoreUnavailable, SweepError, TunedbError
from tunedb.store import current, open_store, upgrade
from tunedb.store.doctor.examine import examine, examine_shared
from tunedb.store.sql.engine import locate
from tunedb.tuner import session
from tunedb.tuner.tuner import Tuner
from tunedb.worker.supervisor import Supervisor

SECRET = "hush"
# `{}` is a server that repeats the password which it refuses; most passwords hold what a URL may take for its own.
SPELLINGS = {
    "escaped": "postgresql://me:hush%40hush%2Fhush@127.0.0.1:{}/db",
    "slash": "postgresql://me:hush/hush#hush@127.0.0.1:{}/db",
    "percent": "postgresql://me:hush%zzhush@127.0.0.1:{}/db",
    "in the query": "postgresql://me@127.0.0.1:{}/db?password=hush%26hush",
    "in the query, of another case": "postgresql://me@127.0.0.1:{}/db?pass%77ord=hush",
    "in the options": "postgresql://me:x@127.0.0.1:{}/db?options=-c%20a.b%3Dhush",
    "of a certificate": "postgresql://me:x@127.0.0.1:{}/db?sslpassword=hush&sslmode=prefer",
    "an option of later": "postgresql://me@127.0.0.1:{}/db?oauth_client_secret=hush&a_new_secret=hush",
    "unescaped at": "postgresql://me:hush@hush@127.0.0.1:{}/db",
    "unescaped at and slash": "postgresql://me:hush@hush/hush@127.0.0.1:{}/db",
    "unescaped question mark": "postgresql://me:hush?hush@127.0.0.1:{}/db",
    "unescaped ampersand": "postgresql://me@127.0.0.1:{}/db?password=hush&hush=hush",
    "a colon that is a port": "postgresql://me:hush:hush@127.0.0.1:{}/db",
    "no host": "postgresql://me:hush/db",
    "wrong scheme": "mysql://me:hush@127.0.0.1:{}/db",
    "no such scheme": "nonsense://me:hush@127.0.0.1:{}/db",
    "no scheme": "me:hush@127.0.0.1:{}/db",
    "no slashes": "postgresql:me:hush@127.0.0.1:{}/db",
    "one slash": "postgresql:/me:hush@127.0.0.1:{}/db",
    "no colon": "postgresql//me:hush@127.0.0.1:{}/db",
    "connection string": "host=127.0.0.1 port={} user=me password=hush",
    "connection string in quotes": "host=127.0.0.1 port={} password='hush hush' user=me",
    "connection string of a URL": "dbname=postgresql://me:hush@127.0.0.1:{}/db",
    "sslpassword first": "sslpassword=hush host=127.0.0.1 port={}",
}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with Refusing() as server:
        yield server.port


def all_of(error: BaseException) -> str:
    """All that a program or a debugger shows of an exception and of those behind it."""
    texts = ["".join(traceback.format_exception(error))]
    chain: list[BaseException | None] = [error]
    seen: set[int] = set()
    while chain:
        each = chain.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            texts += [str(each), repr(each), repr(each.args), repr(getattr(each, "params", ""))]
            chain += [each.__cause__, each.__context__, getattr(each, "orig", None)]
    return "\n".join(line for line in "\n".join(texts).splitlines() if "SPELLINGS" not in line)


@pytest.mark.parametrize("kind", SPELLINGS)
def test_no_exception_shows_a_password(
    kind: str, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    url = SPELLINGS[kind].format(port)
    works: list[Callable[[str], object]] = [
        lambda url: open_store(url, busy_timeout=0.5),
        current,
        upgrade,
        lambda url: tunedb.configure(store=url) or open_store(url),
        lambda url: tunedb.configure(shared=url) or open_store(url),
    ]
    for work in works:
        with pytest.raises((StoreUnavailable, SettingError)) as caught:
            work(url)
        assert SECRET not in all_of(caught.value)
    for findings in (examine(url, hashes=lambda names: {}), examine_shared(url, deadline=1.0)):
        assert SECRET not in repr(list(findings))
    assert SECRET not in records.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", SPELLINGS)
def test_no_command_shows_a_password_or_names_a_file_by_it(
    kind: str,
    port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    exhaustive: bool,
) -> None:
    url = SPELLINGS[kind].format(port)
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # the doctor goes on with the default store
    open_store(str(tmp_path / "tunedb.db")).put_sweep(sweep())
    commands: list[list[str]] = [
        ["ls", "--store", url],
        ["path", "--store", url],
        ["path", "-v", "--format", "json", "--store", url],
        ["doctor", "--store", url, "--format", "csv"],
        ["db", "check", "--store", url],
        ["db", "backup", url],
        ["db", "backup", "--store", url],
        ["import", url],
        ["sync", "--with", url],
        ["export", "-o", url],
        ["ls", url],
        ["stats", f"--{url}"],
        ["warm", "--from", url],
    ]  # fmt: skip
    turn = list(SPELLINGS).index(kind) % 3  # over all spellings, each command meets a third of them
    for command in commands if exhaustive else commands[turn::3]:
        code = cli.run(command)
        said = capsys.readouterr()
        assert SECRET not in said.out + said.err, command
        assert code in (1, 2, 3) or command[0] == "path", command
    assert list(folder.iterdir()) == []
    assert not [entry for entry in tmp_path.rglob("*") if SECRET in entry.name]


@pytest.mark.parametrize("variable", ["TUNEDB_STORE", "TUNEDB_SHARED"])
@pytest.mark.parametrize("kind", ["escaped", "unescaped at", "no scheme", "connection string in quotes"])
def test_no_call_shows_a_password_of_the_environment(
    variable: str, kind: str, port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    records: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv(variable, SPELLINGS[kind].format(port))
    settings._set({}, None)
    wired = session.make_tuner(settings.current())
    tuner = Tuner(wired.settings, wired.store, locks=wired.locks, clock=FakeClock, environment_of=lambda _: ENVIRONMENT)
    assert calls.call(tuner)[:2] == (2, "sweep")
    tuner.close()
    shown = records.text + repr(settings.current()) + repr(settings.as_rows(settings.current()))
    for command in (["doctor"], ["path", "-v"], ["path", "-v", "--format", "json"]):
        cli.run(command)
    said = capsys.readouterr()
    assert SECRET not in shown + said.out + said.err
    assert "127.0.0.1" in records.text or "://***" in records.text or "got " in records.text
    assert not [entry for entry in tmp_path.rglob("*") if SECRET in entry.name]


def test_a_password_of_libpq_s_own_variable_is_masked(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)
    with pytest.raises(StoreUnavailable, match=r"password authentication failed for \*\*\*") as caught:
        open_store(f"postgresql://me@127.0.0.1:{port}/db", busy_timeout=0.5)
    assert SECRET not in all_of(caught.value)


def test_what_the_caller_was_handling_stays_as_it_is(port: int) -> None:
    own = ValueError("postgresql://me:own@host/db")
    try:
        raise own
    except ValueError:
        with pytest.raises(StoreUnavailable):
            open_store(f"postgresql://me:{SECRET}@127.0.0.1:{port}/db", busy_timeout=0.5)
    assert own.args == ("postgresql://me:own@host/db",)


def test_a_database_s_own_form_shows_no_password() -> None:
    url = "postgresql://me:hush@h/d?password=hush&options=-c%20x%3Dhush"
    assert SECRET not in repr(locate(url))


def test_a_worker_s_command_line_and_environment_hold_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    class Noted(TunedbError):
        pass

    def note(*arguments: object, **keywords: object) -> None:
        raise Noted(repr((arguments, keywords)))

    monkeypatch.setattr(subprocess, "Popen", note)
    with tunedb.using(store=f"postgresql://me:{SECRET}@h/d") as used, open_store("sqlite://") as store:
        worker = Supervisor(store, used, 0)
        with pytest.raises((Noted, SweepError)) as caught:
            worker._worker()
    assert SECRET not in str(caught.value)
