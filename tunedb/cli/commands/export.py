"""`tunedb export` and `tunedb import`: sweeps to a file, and from a file or another store."""

from __future__ import annotations

import enum
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunedb import settings
from tunedb.cli.command import DeviceOption, FormatOption, KernelOption, command, log
from tunedb.cli.opening import reading, sweeps_of, writing
from tunedb.cli.output import Format, print_record
from tunedb.errors import SettingError, TunedbError

if TYPE_CHECKING:
    from tunedb.store import Loaded

STDOUT = "-"  # and stdin
_SQLITE = b"SQLite format 3\0"  # how every SQLite file begins


class FileFormat(enum.StrEnum):
    """The formats of an exported file."""

    jsonl = enum.auto()
    python = enum.auto()
    module = enum.auto()


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    command(app)(export)
    command(app, "import")(import_)


def export(
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE", help="Where to write; - is stdout.")],
    file_format: Annotated[
        FileFormat,
        typer.Option("--format", help="jsonl: all that import needs; python: configs; module: a kernel's file."),
    ] = FileFormat.jsonl,
    kernel: KernelOption = None,
    device: DeviceOption = None,
) -> None:
    """Write stored sweeps to a file.

    The file is written at once or not at all. Where nothing is stored there is none, and the exit code is 1.

    jsonl is lossless and what import reads; python is a module with a table of triton.Config; module is one
    self-contained file with a kernel, its tuned configs and class ModelNew, which needs torch and triton only.
    """
    if output != STDOUT and Path(output).is_dir():
        raise SettingError(f"Found a folder at {output}, needed a file to write. Name one with -o.")
    from tunedb.store import dump, opened_for_writing

    target = sys.stdout if output == STDOUT else output
    with reading() as store:
        sweeps = sweeps_of(store, kernel=kernel, device=device, with_trials=file_format is FileFormat.jsonl)
        first = next(sweeps, None)
        if first is None:
            raise TunedbError(f"Nothing is stored{' for that' if kernel or device else ''}: no file was written.")
        sweeps = itertools.chain([first], sweeps)
        try:
            if file_format is FileFormat.jsonl:
                found = written = dump(sweeps, target, ordered=True)
            else:
                from tunedb.cli import sources

                listed = list(sweeps)
                source = sources.python_source if file_format is FileFormat.python else sources.module_source
                text, written = source(listed)
                found = len(listed)
                with opened_for_writing(target) as file:
                    file.write(text)
        except OSError as error:
            if output == STDOUT:
                raise
            raise SettingError(f"Can't write {output}: {error.strerror}. Name another file with -o.") from None
    log.info("%d of %d sweeps written to %s.", written, found, "stdout" if output == STDOUT else output)


def import_(
    source: Annotated[str, typer.Argument(metavar="FILE", help="What export wrote (- is stdin), or another store.")],
    strict: Annotated[bool, typer.Option("--strict", help="Store nothing where any line is rejected.")] = False,
    format: FormatOption = Format.table,
) -> None:
    """Add sweeps from a jsonl file, or from another store.

    Prints how many sweeps were stored, known already (they stay as they are) and rejected. Exit code 1 where lines
    were rejected, 2 where the whole file was refused; then nothing was stored.
    """
    if "://" in source or _is_sqlite(source):
        _import_store(source, strict, format)
        return
    loaded = _from_file(source, strict)
    with writing() as store:
        stored, known = store.put_sweeps(loaded.sweeps)
    print_record({"stored": stored, "known": known, "rejected": len(loaded.rejected)}, format)
    for rejected in loaded.rejected:
        log.error("tunedb: %s line %d: %s", source, rejected.line, rejected.reason)
    if loaded.rejected:
        raise typer.Exit(1)


def _from_file(path: str, strict: bool) -> Loaded:
    from tunedb.errors import ImportRejected
    from tunedb.store import load

    try:
        return load(sys.stdin.buffer if path == STDOUT else path, strict=strict)
    except ImportRejected as error:
        raise ImportRejected(f"{path} was refused, nothing is stored: {error}") from None


def _import_store(url: str, strict: bool, format: Format) -> None:
    from tunedb.store import open_store
    from tunedb.store.exchange.sync import receive

    if strict:
        raise SettingError(
            "--strict goes with a file. Export the other store to one: tunedb export --store URL -o FILE"
        )
    other = open_store(url, migrate=False, create=False)
    if other is None:
        raise SettingError(f"Found no store at {settings.without_password(url)}, needed one to import from.")
    with other, writing() as store:
        found = receive(store, other)
    print_record({"stored": found.stored, "known": found.known, "rejected": found.rejected}, format)
    if found.rejected:
        raise typer.Exit(1)


def _is_sqlite(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False  # reading it as jsonl says what is wrong
