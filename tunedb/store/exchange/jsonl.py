"""Exports to and imports from jsonl: one canonical JSON object per tuned sweep, with provenance and a checksum.

The first line says what the file is and how many sweeps follow, the last one holds the SHA-256 of all lines before it.
The same sweeps give the same bytes, on every machine and from every store.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import os
import stat
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tunedb._internal import safe_path
from tunedb.core.canonical import parse_json
from tunedb.core.sweep import Sweep
from tunedb.errors import ImportRejected
from tunedb.store.exchange.jsonl_line import check_canonical, check_fields, from_plain, json_line, parse_line, to_line
from tunedb.store.sql.rows import check_winner

_log = logging.getLogger("tunedb")
FORMAT = "tunedb sweeps"
VERSION = 1
MAX_LINE = 64 * 2**20  # bytes; a sweep of a thousand trials takes less than one MiB
_IN_MEMORY = 16 * 2**20  # characters of an export; the rest waits in a temporary file
_FOOTER = b'{"sha256":'
_MARKERS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line of a file to import that was rejected, and why."""

    line: int  # from 1
    reason: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The contents of a file to import: sweeps with their trials, and rejected lines."""

    sweeps: tuple[Sweep, ...]
    rejected: tuple[Rejected, ...]


def dump(sweeps: Iterable[Sweep], target: str | os.PathLike[str] | IO[str], *, ordered: bool = False) -> int:
    """Write tuned sweeps, read with their trials, to a path or a text file; return how many. Leaves others out.

    With `ordered` they come in the order of `Store.iter_sweeps` and are not held in memory. A path is replaced at once
    at the end, so that a failure leaves the old file. A sweep that no store would take, because its own trials do not
    say that its config is right, is left out with a log record. Raises OSError if it can't be written, ValueError for a
    sweep that came without its trials.
    """
    with tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="ascii", newline="") as body:
        count = 0  # the first line announces it, so that the others wait
        for sweep in sweeps if ordered else sorted(sweeps, key=_order):
            if not sweep.leaves_its_store:
                continue
            line = to_line(sweep)
            if is_importable(sweep):
                body.write(line)
                count += 1
        body.seek(0)
        digest = hashlib.sha256()
        with opened_for_writing(target) as file:
            for line in itertools.chain([json_line({"format": FORMAT, "version": VERSION, "sweeps": count})], body):
                digest.update(line.encode("ascii"))
                file.write(line)
            file.write(json_line({"sha256": digest.hexdigest()}))
    return count


def load(source: str | os.PathLike[str] | IO[bytes], *, strict: bool = False) -> Loaded:
    """Return the sweeps in a file that `dump` wrote, a path or a binary file, as `imported` ones.

    They are all held in memory: `checked_file` is for a file of any size. A line of our form that contradicts itself
    is rejected, and the others are taken. Raises ImportRejected, which names the line but not the path, for a file that
    can't be read, is not ours, is cut off or altered, or has a line of another form (NaN, a number beyond 64 bits, an
    unknown field); with `strict`, also if any line is rejected.
    """
    with checked_file(source, strict=strict) as file:
        return Loaded(tuple(file.sweeps()), file.rejected)


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file to import that was read once as a whole, and is sound."""

    rejected: tuple[Rejected, ...]
    _copy: IO[bytes]

    def sweeps(self) -> Iterator[Sweep]:
        """Yield the sweeps that were not rejected, read again one by one."""
        self._copy.seek(0)
        for item in _items(self._copy):
            if isinstance(item, Sweep):
                yield item


@contextlib.contextmanager
def checked_file(source: str | os.PathLike[str] | IO[bytes], *, strict: bool = False) -> Iterator[CheckedFile]:
    """Yield a file to import after a check of all of it; it may be a pipe, which can be read only once.

    Raises ImportRejected as `load` does.
    """
    # A copy, in memory if it is small: no part may be stored before all of it was checked, and it may change meanwhile.
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as copy:
        try:
            with (
                Path(source).open("rb") if isinstance(source, str | os.PathLike) else contextlib.nullcontext(source)
            ) as file:
                rejected = tuple(item for item in _items(file, copy) if isinstance(item, Rejected))
        except OSError as error:
            raise ImportRejected(f"the file can't be read: {error.strerror}") from error
        if strict and rejected:
            raise ImportRejected(rejected[0].reason, rejected[0].line)
        yield CheckedFile(rejected, copy)


def _items(file: IO[bytes], copy: IO[bytes] | None = None) -> Iterator[Sweep | Rejected]:
    """Yield each sweep, or why its line was rejected. Raises ImportRejected at the end if the file is not sound."""
    digest, footer, announced, count = hashlib.sha256(), b"", 0, 0
    uids: set[str] = set()
    first: Rejected | None = None
    for count, line in _lines(file):
        if copy is not None:
            copy.write(line)
        if footer:
            raise ImportRejected("a line after the end: expected one export in a file", count)
        if count > 1 and line.startswith(_FOOTER):
            footer = line
            continue
        digest.update(line)
        try:
            text = _text(line)
            if count == 1:
                announced = _header(text)
                continue
            plain = parse_line(text)
        except ValueError as error:
            raise ImportRejected(str(error), count) from None
        try:
            sweep = from_plain(plain)
            if sweep.uid in uids:
                raise ValueError(f"sweep {sweep.uid} is in the file twice")
            uids.add(sweep.uid)
            yield sweep
        except ValueError as error:
            rejected = Rejected(count, str(error))
            first = first or rejected
            yield rejected
    if not count:
        raise ImportRejected("the file is empty")
    if footer != json_line({"sha256": digest.hexdigest()}).encode():
        if first:  # says more than the checksum
            raise ImportRejected(first.reason, first.line)
        if not footer:
            raise ImportRejected("the file is cut off: the line with the checksum is missing", count)
        raise ImportRejected("the checksum is wrong: the file was altered after its export", count)
    if announced != count - 2:
        raise ImportRejected(f"expected the {announced} sweeps that the first line announces, got {count - 2}", 1)


def is_importable(sweep: Sweep) -> bool:
    """Say whether a store would take the sweep; one that none would is logged."""
    try:
        check_winner(sweep)
    except ValueError as error:
        _log.warning("Sweep %s of %s is left out: %s", sweep.uid, sweep.problem.kernel, str(error))
        return False
    return True


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if number > 1 and not line.endswith(b"\n"):  # a first line like that is judged as a header
            too_long = len(line) == MAX_LINE
            raise ImportRejected(f"longer than {MAX_LINE} bytes" if too_long else "the file is cut off here", number)
        yield number, line


def _text(line: bytes) -> str:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason} at byte {error.start + 1}") from None
    if text.startswith(_MARKERS):
        raise ValueError(f"a git conflict marker: {text[:40].strip()}")
    return text


def _header(text: str) -> int:
    """Return the number of sweeps that the first line announces."""
    try:
        header = parse_json(text)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f'expected an export of tunedb, whose first line names the format "{FORMAT}"')
    if header.get("version") != VERSION:
        raise ValueError(
            f"expected version {VERSION} of the format, got {header.get('version')!r:.20}. "
            "Run: pip install --upgrade tunedb"
        )
    check_fields(header, {"format": (str,), "version": (int,), "sweeps": (int,)}, "header")
    check_canonical(header, text)
    return int(header["sweeps"])


def _order(sweep: Sweep) -> tuple[Any, ...]:
    """Return the sort key of `Store.iter_sweeps`."""
    problem, device = sweep.problem, sweep.device
    return problem.kernel, problem.key, device.name, device.digest, sweep.finished, sweep.uid


@contextlib.contextmanager
def opened_for_writing(target: str | os.PathLike[str] | IO[str]) -> Iterator[IO[str]]:
    """Yield the text file itself, or a new one next to the path, which takes its place and its mode at the end."""
    if not isinstance(target, str | os.PathLike):
        yield target
        return
    path = safe_path.resolve(target)
    if path.exists() and not path.is_file():  # /dev/stdout, or a folder, which raises
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with part.open("x", encoding="utf-8", newline="") as file:
            if path.exists():  # before anything is in it: the old file may have been private
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
