"""Export and import: the same bytes every time, and every refusal with its line and reason."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.samples import DEVICE, ENVIRONMENT, NOON, failed, running, sweep, sweeps, trial, without_trials
from tunedb.core.problem import Problem
from tunedb.core.sweep import Confirmation, Sweep
from tunedb.errors import ImportRejected
from tunedb.store import Rejected, Store, dump, load, open_store
from tunedb.store.exchange import jsonl
from tunedb.store.exchange.jsonl_line import to_line

NEWER = dataclasses.replace(ENVIRONMENT, triton="3.9.0")


def text_of(many: Iterable[Sweep]) -> str:
    file = io.StringIO()
    dump(many, file)
    return file.getvalue()


def imported(one: Sweep) -> Sweep:
    return dataclasses.replace(one, origin="imported")


def sealed(lines: Iterable[str]) -> bytes:
    """A file of these lines with a checksum that fits."""
    body = "".join(line + "\n" for line in lines).encode()
    return body + b'{"sha256":"%s"}\n' % hashlib.sha256(body).hexdigest().encode()


def edited(change: Callable[[dict[str, Any]], object]) -> bytes:
    """A file of two sweeps, the first one (line 2) changed before the checksum was taken."""
    header, first, second, _ = text_of([sweep(1), sweep(2)]).splitlines()
    plain = json.loads(first)
    change(plain)
    return sealed([header, json.dumps(plain, sort_keys=True, separators=(",", ":")), second])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tuned.jsonl"


def test_the_file_is_pinned_byte_for_byte() -> None:
    one = sweep(uid="ab" * 16, trials=(trial(uid="cd" * 16),))
    assert text_of([one]) == (
        '{"format":"tunedb sweeps","sweeps":1,"version":1}\n'
        '{"complete":true,"config":{"BLOCK":128,"num_warps":4},"default_time_us":20.0,"device":{"arch":"sm_90",'
        '"backend":"cuda","info":{"memory_bytes":150000000000},"multiprocessors":132,"name":"NVIDIA H200"},'
        '"environment":{"driver":"580.65.06","method":"1","torch":"2.13.0","triton":"3.8.0"},"expires":null,'
        '"finished":"2026-08-22T12:00:03.123456Z","host":"node7","kernel":"avg_pool1d","kernel_hash":'
        '"c0ffee0000000000000000000000000000000000000000000000000000000000","marks":[],"problem":{"dtype_name":"float32",'
        '"n":1,"padding":null,"scale":0.5},"started":"2026-08-22T12:00:00.123456Z","status":"tuned","time_us":12.5,'
        '"trials":[{"compile_s":null,"config":{"BLOCK":128,"num_warps":4},"error":null,"outcome":"measured",'
        '"p20_us":12.25,"p80_us":13.0,"reference":null,"registers":32,"samples":50,"shared_bytes":null,"spills":null,"status":"ok","time_us":12.5,"uid":'
        '"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"}],"uid":"abababababababababababababababab"}\n'
        '{"sha256":"071fd28d62e2df78e5117fc349c98d3f44832551589a2f565d723069e923170f"}\n'
    )


CONFIRMED = sweep(1, uid="ab" * 16, confirmations=(
    Confirmation(NEWER, 5, None, NOON, "cd" * 16), Confirmation(ENVIRONMENT, 12.5, 20.0, NOON, "ab" * 16),
))  # fmt: skip


def test_confirmations_come_back_as_they_were_dumped_and_are_stored(file: Path, store: Store) -> None:
    assert dump([CONFIRMED, sweep(2)], file) == 2
    lines = file.read_text().splitlines()[1:-1]
    assert ["confirmations" in json.loads(line) for line in lines] == [True, False]
    loaded = load(file, strict=True).sweeps
    assert loaded[0].confirmations == tuple(reversed(CONFIRMED.confirmations))
    assert text_of(loaded).encode() == file.read_bytes()
    for _ in range(2):
        store.put_sweeps(loaded)
    found = store.get_sweep(CONFIRMED.uid)
    assert set(found.confirmations) == set(CONFIRMED.confirmations)
    assert text_of(store.iter_sweeps(with_trials=True)).encode() == file.read_bytes()


def test_confirmations_reach_a_sweep_that_is_known(store: Store) -> None:
    store.put_sweep(dataclasses.replace(CONFIRMED, confirmations=()))
    assert store.put_sweeps([CONFIRMED]) == (0, 1)
    (found,) = store.get_sweeps(CONFIRMED.problem, CONFIRMED.device, CONFIRMED.kernel_hash)
    assert found.is_valid_in(NEWER)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda them: them.clear(), "unknown field in the sweep: confirmations"),
        (lambda them: them.reverse(), "not in canonical form"),
        (lambda them: them.append(them[-1]), "not in canonical form"),
        (lambda them: them[0].update(more=1), "unknown field in the confirmation: more"),
        (lambda them: them[0]["environment"].pop("torch"), "missing field in the environment of a confirmation: torch"),
        (lambda them: them[0].update(time_us=True), "confirmation: time_us: expected float or null, got bool"),
        (lambda them: them[0].update(time_us=-1.0), "time_us"),
        (lambda them: them[0].update(time="2026-08-22T12:00:00"), "expected a time in UTC"),
        (lambda them: them[0].update(uid="no"), "uid"),
        (lambda them: them[0].update(environment="x"), "confirmation: environment: expected dict, got str"),
        (lambda them: them.insert(0, 5), "the confirmation: expected an object"),
    ],
)
def test_a_confirmation_of_another_form_is_refused(change: Callable[[Any], object], reason: str) -> None:
    header, line, _ = text_of([CONFIRMED]).splitlines()
    plain = json.loads(line)
    change(plain["confirmations"])
    content = sealed([header, json.dumps(plain, sort_keys=True, separators=(",", ":"))])
    with pytest.raises(ImportRejected, match=reason):
        load(io.BytesIO(content), strict=True)


def test_the_order_in_the_file_is_that_of_the_store(store: Store) -> None:
    many = [sweep(2), sweep(1), sweep(1), sweep(1, problem=Problem.of("Zoo")), sweep(3, finished=NOON)]
    store.put_sweeps(many)
    assert [json.loads(line)["uid"] for line in text_of(reversed(many)).splitlines()[1:-1]] == [
        one.uid for one in store.iter_sweeps()
    ]


def test_an_export_is_the_same_bytes_from_every_store_that_holds_the_same_sweeps(store: Store, file: Path) -> None:
    store.put_sweeps([sweep(1), sweep(2), sweep(3, trials=(trial(128),)), failed(4)])  # the failed one stays
    assert dump(store.iter_sweeps(with_trials=True), file) == 3
    first = file.read_bytes()
    assert text_of(store.iter_sweeps(with_trials=True)).encode() == first
    with open_store("sqlite://") as other:
        assert other.put_sweeps(load(file).sweeps) == (3, 0)
        assert other.put_sweeps(load(file).sweeps) == (0, 3)
        assert text_of(other.iter_sweeps(with_trials=True)).encode() == first
        assert {one.origin for one in other.iter_sweeps()} == {"imported"}


@settings(max_examples=10, deadline=None)
@given(many=st.lists(sweeps(), max_size=4, unique_by=lambda one: one.uid))
def test_any_sweeps_come_back_as_they_were_dumped(many: list[Sweep], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    dump(many, path)
    loaded = load(path, strict=True).sweeps
    tuned = [imported(one) for one in many if one.status == "tuned"]
    assert sorted(loaded, key=lambda one: one.uid) == sorted(tuned, key=lambda one: one.uid)
    assert text_of(loaded).encode() == path.read_bytes()


def test_an_export_of_nothing_is_a_file_that_can_be_imported(file: Path) -> None:
    assert dump([], file) == 0
    assert load(file, strict=True).sweeps == ()


def test_whole_numbers_and_zeros_are_written_as_a_store_gives_them_back() -> None:
    put = sweep(time_us=5, default_time_us=-0.0)
    with open_store("sqlite://") as store:
        store.put_sweep(put)
        assert text_of([put]) == text_of(store.iter_sweeps(with_trials=True))


def test_a_sweep_without_its_trials_is_not_exported(file: Path) -> None:
    file.write_text("old")
    with pytest.raises(ValueError, match="expected"):
        dump([without_trials(sweep())], file)
    assert file.read_text() == "old"


@pytest.mark.parametrize("unfit", [running(sweep()), failed(), failed(status="aborted")])
def test_a_sweep_without_a_winner_has_no_line(unfit: Sweep, file: Path) -> None:
    assert dump([unfit], file) == 0
    with pytest.raises(ValueError, match=f"expected a sweep that is tuned, got {unfit.uid}, which is {unfit.status}"):
        to_line(unfit)


def test_a_failed_export_leaves_the_old_file_and_nothing_else(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("old")

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(OSError, match="No space left"):
        dump([sweep()], file)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_text() == "old"


def test_an_export_can_go_to_a_device() -> None:
    assert dump([sweep()], os.devnull) == 1
    assert Path(os.devnull).is_char_device()


def test_an_export_into_a_folder_fails(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        dump([sweep()], tmp_path)


REFUSED: dict[str, tuple[bytes, int | None, str]] = {
    "empty": (b"", None, "empty"),
    "text": (b"hello\n", 1, "expected an export of tunedb"),
    "text without an end": (b"hello", 1, "expected an export of tunedb"),
    "other JSON": (b'{"a": 1}\n', 1, "expected an export of tunedb"),
    "a list": (b"[]\n", 1, "expected an export of tunedb"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), 1, "not UTF-8"),
    "git lfs pointer": (b"version https://git-lfs.github.com/spec/v1\n", 1, "expected an export of tunedb"),
    "conflict in the first line": (b"<<<<<<< HEAD\n", 1, "a git conflict marker"),
    "newer format": (
        sealed(['{"format":"tunedb sweeps","sweeps":0,"version":2}']),
        1,
        "expected version 1 .*, got 2",
    ),
    "header with more": (sealed(['{"format":"tunedb sweeps","sweeps":0,"version":1,"x":1}']), 1, "unknown field"),
    "header with spaces": (sealed(['{"format":"tunedb sweeps", "sweeps":0,"version":1}']), 1, "canonical"),
    "wrong count": (
        sealed(['{"format":"tunedb sweeps","sweeps":7,"version":1}']),
        1,
        "expected the 7 .*, got 0",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_export_is_refused(name: str, file: Path) -> None:
    content, line, reason = REFUSED[name]
    file.write_bytes(content)
    with pytest.raises(ImportRejected, match=reason) as caught:
        load(file)
    assert caught.value.line == line


def _replace(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda good: good.replace(old, new, 1)


# What people and tools do to a file; the checksum is then wrong as well, but says less.
DAMAGED: dict[str, tuple[Callable[[bytes], bytes], int, str]] = {
    "another digit": (_replace(b'"time_us":12.5', b'"time_us":12.4'), 4, "the checksum is wrong"),
    "a line less": (lambda good: b"".join(good.splitlines(True)[::2]), 2, "the checksum"),
    "no checksum": (lambda good: b"".join(good.splitlines(True)[:-1]), 3, "the line with the checksum is missing"),
    "cut in a line": (lambda good: good[:200], 2, "cut off"),
    "cut in the checksum": (lambda good: good[:-9], 4, "cut off"),
    "cut in the first line": (lambda good: good[:9], 1, "expected an export of tunedb"),
    "two in one": (lambda good: good + good, 5, "a line after the end"),
    "NaN": (_replace(b'"time_us":12.5', b'"time_us":NaN'), 2, "Expected a canonical value, got NaN"),
    "infinity": (_replace(b'"time_us":12.5', b'"time_us":Infinity'), 2, "Expected a canonical value, got Infinity"),
    "huge float": (_replace(b'"time_us":12.5', b'"time_us":1e999'), 2, "1e999 is more than a float holds"),
    "huge int": (_replace(b'"n":1', b'"n":1' + b"0" * 5000), 2, "does not fit into 64 bits"),
    "unknown field": (_replace(b'"complete"', b'"colour":1,"complete"'), 2, "unknown field in the sweep: colour"),
    "conflict": (_replace(b'{"complete"', b'<<<<<<< HEAD\n{"complete"'), 2, "a git conflict marker: <<<<<<< HEAD"),
    "not UTF-8": (_replace(b"node7", b"node\xff"), 2, "not UTF-8"),
    "CRLF": (lambda good: good.replace(b"\n", b"\r\n"), 1, "canonical"),
    "deep nesting": (_replace(b'"n":1', b'"n":' + b"[" * 100_000), 2, "Expected JSON"),
    "spaces": (_replace(b'"complete":', b'"complete": '), 2, "canonical"),
    "a key twice": (_replace(b'"n":1', b'"n":1,"n":1'), 2, "A key occurs twice"),
    "an empty line": (_replace(b'{"complete"', b'\n{"complete"'), 2, "Expected JSON"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_was_altered_is_refused_as_a_whole_with_the_line_that_says_most(name: str, file: Path) -> None:
    damage, line, reason = DAMAGED[name]
    file.write_bytes(damage(text_of([sweep(1), sweep(2)]).encode()))
    with pytest.raises(ImportRejected, match=reason) as caught:
        load(file)
    assert caught.value.line == line


# Lines of another form than ours, in a file whose checksum is right: written by another program, or a later version.
STRANGE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown field": (lambda row: row.update(colour=1), "unknown field in the sweep: colour"),
    "unknown field in a trial": (lambda row: row["trials"][0].update(colour=1), "unknown field in the trial: colour"),
    "unknown field in the device": (lambda row: row["device"].update(colour=1), "unknown field in the device"),
    "missing field": (lambda row: row.pop("host"), "missing field in the sweep: host"),
    "text for a number": (lambda row: row.update(time_us="1"), "time_us: expected float or null, got str"),
    "int for a float": (lambda row: row.update(time_us=1), "time_us: expected float or null, got int"),
    "bool for an int": (
        lambda row: row["device"].update(multiprocessors=True),
        "multiprocessors: .* got bool",
    ),
    "list for an object": (lambda row: row.update(config=[]), "config: expected dict or null, got list"),
    "trial that is none": (lambda row: row.update(trials=[1]), "expected an object, got a JSON int"),
    "huge int": (lambda row: row["problem"].update(n=2**64), "does not fit into 64 bits"),
    "NaN": (lambda row: row.update(time_us=float("nan")), "Expected a canonical value, got NaN"),
}


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("strict", [False, True])
def test_a_line_of_another_form_refuses_the_file(name: str, strict: bool, file: Path) -> None:
    change, reason = STRANGE[name]
    file.write_bytes(edited(change))
    with pytest.raises(ImportRejected, match=reason) as caught:
        load(file, strict=strict)
    assert caught.value.line == 2


# Lines of our form that contradict themselves, in a file whose checksum is right.
FAULTY: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown status": (lambda row: row.update(status="won"), "one that is 'won'"),
    "running": (lambda row: row.update(status="running"), "one that is 'running'"),
    "failed": (lambda row: row.update(status="failed", config=None), "stays in the store of the machine that made it"),
    "aborted": (lambda row: row.update(status="aborted", config=None), "one that is 'aborted'"),
    "unknown trial status": (lambda row: row["trials"][0].update(status="fine"), "got 'fine'"),
    "negative time": (lambda row: row.update(time_us=-1.0), "expected a finite time_us that is not negative"),
    "negative trial time": (lambda row: row["trials"][0].update(compile_s=-1.0), "compile_s"),
    "negative samples": (lambda row: row["trials"][0].update(samples=-1), "samples"),
    "huge registers": (lambda row: row["trials"][0].update(registers=2**31), "registers"),
    "tuned without config": (lambda row: row.update(config=None), "expected a config in a tuned sweep"),
    "nested config": (lambda row: row["config"].update(BLOCK=[1]), "BLOCK"),
    "NUL in a config": (lambda row: row["config"].update(BLOCK="\0"), "NUL"),
    "NUL in the environment": (lambda row: row["environment"].update(torch="\0"), "without control characters"),
    "lone surrogate": (lambda row: row.update(host="\ud800"), "without control characters"),
    "long error": (lambda row: row["trials"][0].update(error="x" * 5000), "an error's text is too long"),
    "bad uid": (lambda row: row.update(uid="../../etc/passwd"), "a uid of 32 hexadecimal digits"),
    "bad kernel": (lambda row: row.update(kernel="a b"), "A kernel's name: expected"),
    "bad device": (lambda row: row["device"].update(multiprocessors=0), "A device: expected a name"),
    "time zone": (lambda row: row.update(started="2026-08-22T12:00:00.123456+02:00"), "expected a time in UTC"),
    "no time zone": (lambda row: row.update(started="2026-08-22T12:00:00.123456"), "expected a time in UTC"),
    "short time": (lambda row: row.update(started="2026-08-22T12:00:00Z"), "canonical"),
    "no time": (lambda row: row.update(started="yesterday"), "Invalid isoformat"),
    "unsorted trials": (lambda row: row["trials"].reverse(), "canonical"),
    "a trial twice": (lambda row: row["trials"].append(row["trials"][-1]), "each trial only once"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_line_that_is_no_sweep_is_rejected_and_the_others_are_taken(name: str, file: Path) -> None:
    change, reason = FAULTY[name]
    file.write_bytes(edited(change))
    loaded = load(file)
    assert [(one.line, reason in one.reason) for one in loaded.rejected] == [(2, True)], loaded.rejected
    assert [one.problem["n"] for one in loaded.sweeps] == [2]
    with pytest.raises(ImportRejected) as caught:
        load(file, strict=True)
    assert caught.value.line == 2


def test_a_sweep_that_stands_twice_is_rejected_once(file: Path) -> None:
    header, line, _ = text_of([sweep()]).splitlines()
    file.write_bytes(sealed([header.replace('"sweeps":1', '"sweeps":2'), line, line]))
    loaded = load(file)
    assert len(loaded.sweeps) == 1
    assert loaded.rejected == (Rejected(3, f"sweep {loaded.sweeps[0].uid} is in the file twice"),)


def test_a_line_without_end_is_not_read_into_memory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE", 1000)
    file.write_bytes(text_of([]).encode() + b"x" * 5000)
    with pytest.raises(ImportRejected, match="longer than 1000 bytes") as caught:
        load(file)
    assert caught.value.line == 3


def test_a_file_that_is_absent_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "absent", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ImportRejected, match=reason) as caught:
            load(path)
        assert caught.value.line is None


def test_a_device_s_extra_facts_are_those_of_the_store_that_knew_it_first() -> None:
    other = dataclasses.replace(DEVICE, info={"memory_bytes": 1})
    with open_store("sqlite://") as store:
        store.put_sweeps([sweep(1), sweep(2, device=other, finished=NOON + timedelta(days=1))])
        assert {one.device.info["memory_bytes"] for one in store.iter_sweeps()} == {150_000_000_000}
