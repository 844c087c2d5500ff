"""Rows and files that someone wrote to do harm: nothing of them is run, put into SQL, or used as a path."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from tests import forked
from tests.fakes import FakeKernel
from tests.faults import calls
from tests.faults.parts import ROOT
from tests.store.samples import sweep, trial
from tests.store.test_jsonl import sealed, text_of
from tunedb import cli
from tunedb._internal.printable import printable
from tunedb.core.sweep import Mark
from tunedb.errors import ImportRejected, StoreError
from tunedb.store import check, load, open_store, receive

pytestmark = pytest.mark.usefixtures("patience")

TEXTS = {
    "sql": "'; DROP TABLE sweep; --",
    "path": "../../../../tmp/evil",
    "template": "{0.__class__} {{7*7}} %(x)s %n ${HOME} $(touch evil) `touch evil`",
    "pickle": "cposix\nsystem\n(S'touch evil'\ntR.",
    "terminal": "\x1b]0;evil\x07\x1b[2J",
    "markup": "[bold red]evil[/] [link=file:///etc/passwd]x[/link]",
    "nul": "a\0b",
}
JSON = {
    "empty": "",
    "null": "null",
    "list": "[]",
    "number": "1e999",
    "cut off": '{"BLOCK":',
    "deep": "[" * 20_000,
    "giant": json.dumps({"BLOCK": "x" * 1_000_000}),
    "endless digits": '{"BLOCK":' + "9" * 10_000 + "}",
    "NaN": '{"BLOCK":NaN}',
    "nested": '{"BLOCK":{"a":[1]}}',
    "a dtype that is code": '{"BLOCK":{"dtype":"torch.load"}}',
    "outside the space": '{"BLOCK":1000000}',
}
COLUMNS = {
    "problem": ("kernel", "key", "digest"),
    "device": ("digest", "name", "backend", "arch", "multiprocessors", "info"),
    "sweep": (
        "uid", "kernel_hash", "environment", "status", "complete", "config", "time_us", "default_time_us", "counts",
        "started", "finished", "expires", "origin", "host",
    ),
    "trial": ("uid", "config", "status", "time_us", "samples", "registers", "error"),
    "mark": ("uid", "sweep_uid", "kind", "reason", "time"),
    "miss": ("served_by", "count", "first_seen", "last_seen"),
}  # fmt: skip
PLACES = [(table, column) for table, columns in COLUMNS.items() for column in columns]
COMMANDS = (("ls",), ("stats",), ("misses", "--format", "json"), ("export", "-o", "-"))
WORST = ("sql", "terminal", "nul", "null", "deep", "giant")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a sweep, a mark and counts, in a folder of its own, which is the working folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    path = folder / "store.db"
    tuner = calls.tuner(store=str(path))
    calls.call(tuner)
    tuner.close()
    with open_store(str(path)) as store:
        (one,) = store.iter_sweeps()
        store.marks.put(one.uid, Mark("pin", "mine"))
    return path


def write(path: Path, table: str, column: str, value: str) -> None:
    """Put the value there, as only someone with the file in an editor can."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints=ON")
    only = f"rowid = (SELECT min(rowid) FROM {table})"  # some must be unique
    connection.execute(f"UPDATE {table} SET {column} = ? WHERE {only}", (value,))
    connection.close()


def entries(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


@pytest.mark.parametrize("name", [*TEXTS, *JSON])
def test_a_hostile_row_gives_no_call_a_config_that_is_not_its_kernel_s_own_and_does_nothing(
    name: str, path: Path, records: pytest.LogCaptureFixture, exhaustive: bool
) -> None:
    value, good, before = {**TEXTS, **JSON}[name], path.read_bytes(), entries(path.parent)
    turn = [*TEXTS, *JSON].index(name) % 6
    for table, column in PLACES if exhaustive else PLACES[turn::6]:  # over all values, each place meets three or four
        path.write_bytes(good)
        write(path, table, column, value)
        tuner = calls.tuner(store=str(path), mode="read")
        block, source, _, _ = calls.call(tuner)
        tuner.close()
        assert block in FakeKernel(calls.TIMES).times, (table, column)
        assert source in ("store", "stale", "default"), (table, column)
    assert entries(path.parent) == before  # nothing was run, made, or set aside
    assert max((len(record.getMessage()) for record in records.records), default=0) < 1000


@pytest.mark.parametrize("name", WORST)
def test_commands_on_a_hostile_row_end_with_a_message_and_no_stack_trace(
    name: str, path: Path, capsys: pytest.CaptureFixture[str], exhaustive: bool
) -> None:
    value, good, before = {**TEXTS, **JSON}[name], path.read_bytes(), entries(path.parent)
    found = {}
    for n, (table, column) in enumerate(PLACES, WORST.index(name)):
        if not exhaustive and n % 3:  # over the worst values, each place meets two of them
            continue
        path.write_bytes(good)
        write(path, table, column, value)
        command = COMMANDS[n // 3 % len(COMMANDS)]
        try:
            code = cli.run([*command, "--store", str(path)])
        except Exception as error:
            code = repr(error)[:100]
        err = capsys.readouterr().err
        if code not in (0, 1, 3) or len(err) > 2000:
            found[table, column, command] = code, len(err)
    assert found == {}
    assert entries(path.parent) == before


@pytest.mark.parametrize("name", WORST)
def test_a_hostile_store_gives_another_store_nothing_but_whole_sweeps(
    name: str, path: Path, tmp_path: Path, exhaustive: bool
) -> None:
    value, good = {**TEXTS, **JSON}[name], path.read_bytes()
    taker, failures = tmp_path / "taker.db", {}
    with open_store(str(taker)) as target:
        target.put_sweep(sweep(1))
    empty = taker.read_bytes()
    turn = WORST.index(name)
    for table, column in PLACES if exhaustive else PLACES[turn::6]:  # over the worst values, each place meets one
        path.write_bytes(good)
        write(path, table, column, value)
        taker.write_bytes(empty)
        with open_store(str(path), create=False) as source, open_store(str(taker)) as target:  # type: ignore[union-attr]
            try:
                receive(target, source)
            except StoreError:
                pass  # told, and nothing taken
            except Exception as error:
                failures[table, column] = repr(error)[:100]
            for one in target.iter_sweeps(with_trials=True):
                assert one.status in ("tuned", "failed", "aborted")
                assert re.fullmatch("[0-9a-f]{32}", one.uid)
            assert len({one.uid for one in target.iter_sweeps()}) in (1, 2)
    assert failures == {}


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_texts_go_through_a_store_an_export_and_an_import_as_texts(name: str, path: Path) -> None:
    text = TEXTS[name].replace("\0", "")
    line = printable(text)  # what is refused elsewhere in these places: tests/faults/test_control_characters.py
    marked = Mark("quarantine", line)
    put = sweep(1, host=line, trials=[trial(128), trial(256, "compile_error", error=text)], marks=(marked,))
    put = replace(put, device=replace(put.device, name=line, info={text: text}))
    file = path.parent / "export.jsonl"
    file.write_text(text_of([put]))
    (loaded,) = load(file, strict=True).sweeps
    with open_store(str(path)) as store:
        assert store.put_sweep(loaded)
        assert store.get_sweep(put.uid) == replace(put, origin="imported")
        assert len(list(store.iter_sweeps(device_name=line))) == 1
    check(str(path))
    assert "evil" not in entries(path.parent)


@pytest.mark.parametrize("name", JSON)
def test_hostile_json_in_a_file_is_refused_and_the_rest_of_the_file_is_taken_or_nothing_is(
    name: str, tmp_path: Path
) -> None:
    file = tmp_path / "export.jsonl"
    header, first, second, _ = text_of([sweep(1), sweep(2)]).splitlines()
    plain = json.loads(first)
    for field in ("problem", "config", "environment", "device", "trials", "uid"):
        mark = "@@@"
        line = json.dumps({**plain, field: mark}, sort_keys=True, separators=(",", ":"))
        file.write_bytes(sealed([header, line.replace(f'"{mark}"', JSON[name] or '""'), second]))
        try:
            loaded = load(file)
        except ImportRejected:
            continue
        assert loaded.sweeps[-1].uid == json.loads(second)["uid"]
        for one in loaded.sweeps[:-1]:  # a config of another kernel's space, say: it never wins there
            assert one.config is not None


def test_a_file_of_hostile_lines_is_refused_by_the_command_in_a_few_words(tmp_path: Path) -> None:
    file = tmp_path / "$(touch evil).jsonl"
    for content in (b"\x80\x04\x95evil.", b"[" * 1_000_000, b'{"format":"tunedb sweeps","version":1,"sweeps":1}\n' * 3):
        file.write_bytes(content)
        words = ["-m", "tunedb", "import", str(file), "--store", str(tmp_path / "store.db")]
        done = forked.run(words, cwd=ROOT, libraries=forked.WITH_TUNEDB)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert len(done.stderr) < 1000
    assert entries(tmp_path) <= {file.name, "store.db", "store.db.lock"}
