"""`tunedb import`: sweeps from a file or from another store, and hints from other tools' files."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from tunedb._internal.counted import counted
from tunedb._internal.redact import is_path, without_password
from tunedb.cli.command import FormatOption, command, log
from tunedb.cli.opening import writing
from tunedb.cli.output import Format, print_record
from tunedb.errors import ImportRejected, SettingError

STDIN = "-"
SQLITE_MAGIC = b"SQLite format 3\0"  # the first bytes of every SQLite file, https://sqlite.org/fileformat.html


@command("import", interrupted="What was read until then is stored: run the same command again to add the rest.")
def import_(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="What tunedb export wrote (- is stdin), another store, or hints.")
    ],
    strict: Annotated[bool, typer.Option("--strict", help="Store nothing if any line is rejected.")] = False,
    as_hints: Annotated[
        bool, typer.Option("--as-hints", help="Read a file or folder of another tool: see the guide on hints.")
    ] = False,
    kernel: Annotated[
        str | None, typer.Option("--kernel", metavar="NAME", help="The kernel that the hints are for.")
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="NAME=NAME", help="Rename a field or knob; NAME= leaves it out."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="FIELD=VALUE", help="Only entries with this value; FIELD= means without the field."
        ),
    ] = None,
    keys: Annotated[
        str | None, typer.Option("--keys", metavar="NAMES", help="Names for a key's values, if a file has none: M,N,K.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", help="The device of files that name none.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --as-hints: count, and store nothing.")] = False,
    format: FormatOption = Format.table,
) -> None:
    """Add tuned sweeps from a jsonl file or another store, or hints from files of other tools.

    Prints how many sweeps were stored, were known already (these are not changed), and were rejected. Exit code 1 if
    lines were rejected; 2 if the whole file was refused, and nothing was stored.

    With --as-hints: configs of vLLM, SGLang, Hugging Face's kernels, flash-linear-attention, Triton's cache_results,
    triton-dejavu and Kernel Tuner. A hint is a config without evidence: sweeps try it early, and a call that may not
    tune gets it if nothing near was measured. Each entry is counted, and each that is rejected is named with its key.
    """
    if as_hints:
        from tunedb.cli.hint_import import import_hints

        import_hints(
            source, kernel=kernel, names=names or [], only=only or [], keys=keys, device=device, dry_run=dry_run,
            strict=strict, format=format,
        )  # fmt: skip
        return
    if kernel or names or only or keys or device or dry_run:
        raise SettingError("--kernel, --map, --only, --keys, --device and --dry-run need --as-hints.")
    if not is_path(source) or _is_sqlite(source):
        _import_store(source, strict, format)
        return
    _import_file(source, strict, format)


def _import_file(path: str, strict: bool, format: Format) -> None:
    from tunedb.store.exchange.jsonl import checked_file

    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(checked_file(sys.stdin.buffer if path == STDIN else path, strict=strict))
        except ImportRejected as error:
            raise ImportRejected(f"{path} was refused, and nothing was stored: {error}") from None
        with writing() as store:
            stored, known = store.put_sweeps(file.sweeps())
    print_record({"stored": stored, "known": known, "rejected": len(file.rejected)}, format)
    for rejected in file.rejected:
        log.error("tunedb: %s line %d: %s", path, rejected.line, rejected.reason)
    if file.rejected:
        raise typer.Exit(1)


def _import_store(url: str, strict: bool, format: Format) -> None:
    from tunedb.store import open_store
    from tunedb.store.exchange.sync import receive

    if strict:
        raise SettingError(
            "--strict needs a file, not a store. Export the other store to one: tunedb export --store URL -o FILE"
        )
    other = open_store(url, migrate=False, create=False)
    if other is None:
        raise SettingError(
            f"Expected a store at {without_password(url)} to import from, found none. "
            "Name a file that tunedb export wrote, or another store."
        )
    with other, writing() as store:
        received = receive(store, other)
    print_record({"stored": received.stored, "known": received.known, "rejected": received.rejected}, format)
    if received.left:
        log.info(
            "%s without a winner left in %s: such a sweep is of use only on the machine that made it.",
            counted(received.left, "sweep"), without_password(url),
        )  # fmt: skip
    if received.rejected:
        raise typer.Exit(1)


def _is_sqlite(path: str) -> bool:
    try:
        if not Path(path).is_file():  # a pipe can be read only once
            return False
        with Path(path).open("rb") as file:
            return file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC
    except OSError:
        return False  # reading it as jsonl reports the error
