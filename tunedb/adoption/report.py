"""The report of `tunedb run`: what became of each kernel, in the program and in the processes that it started.

Each process appends lines to a file that `tunedb run` has made: one when a kernel's fate is decided, so that a process
that is killed is in the report too, and all of them at its end. The program itself prints the report when it ends.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from types import ModuleType
from typing import Any

from tunedb._internal.control import let_pass
from tunedb._internal.printable import printable
from tunedb.adoption import patch
from tunedb.adoption.adopting import MODULE
from tunedb.adoption.listing import Adopted, adopted, record_of

_COLUMNS = ("kernel", "state", "processes", "reason")


def begin(options: Mapping[str, Any]) -> None:
    """Note from now on what becomes of this process's kernels."""
    lines = options["lines"]
    patch.on_decision.append(lambda kernel: _note(lines, kernel))
    main = sys.modules["__main__"]
    atexit.register(_note_all, lines, main, getattr(main, "__file__", None))


def _note(lines: str, kernel: Any) -> None:
    _, record = record_of(kernel, sys.modules[MODULE].Autotuner)
    _append(lines, [] if record is None else [record])


def _note_all(lines: str, main: ModuleType, file: str | None) -> None:
    if file is not None:
        vars(main).setdefault("__file__", file)  # kernels are named after it, and Python has just deleted it
    _append(lines, reversed(adopted()))  # of kernels of one name, the last line counts: that of an adopted one


def end(options: Mapping[str, Any]) -> None:
    """Write the report, if this process is the program."""
    if os.getpid() != options["main"]:
        return
    lines = Path(options["lines"])
    try:
        rows = _rows(lines.read_text(encoding="utf-8").splitlines())
        lines.unlink()
    except OSError as error:  # a cleaner of temporary folders may have removed it
        let_pass(error)
        rows = [{**asdict(record), "processes": 1} for record in adopted()]
    text = json.dumps(rows, indent=2) if options["format"] == "json" else _table(rows)
    output = options["output"]
    if output is not None:
        try:
            Path(output).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            let_pass(error)
            text = f"tunedb: Can't write the report to {output}: {error.strerror}."
        else:
            return
    if sys.stderr is not None:
        print(text, file=sys.stderr)


def _append(lines: str, records: Iterable[Adopted]) -> None:
    pid = os.getpid()
    text = "".join(f"{json.dumps([pid, *astuple(record)])}\n" for record in records)
    try:
        descriptor = os.open(lines, os.O_WRONLY | os.O_APPEND)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(text.encode())  # at once, so that lines of two processes do not mix
    except OSError as error:  # the program has ended, and its report with it; or the disk is full
        let_pass(error)


def _rows(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Return a row for each kernel and what became of it, with the number of processes; their last lines count."""
    last: dict[tuple[int, str, str], Adopted] = {}
    for line in lines:
        try:
            pid, *values = json.loads(line)
        except json.JSONDecodeError:  # of a process that is being killed
            continue
        record = Adopted(*values)
        last[pid, record.module, record.kernel] = record
    counts = Counter(last.values())
    return [{**asdict(record), "processes": counts[record]} for record in sorted(counts, key=_order)]


def _order(record: Adopted) -> tuple[str, Adopted]:
    return record.state, record  # most kernels of a large package were not called: they come last


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "tunedb: This program has no kernels that triton.autotune decorates."
    states = Counter(str(row["state"]) for row in rows)
    head = f"tunedb: kernels {', '.join(f'{state}: {count}' for state, count in sorted(states.items()))}"
    cells = [_COLUMNS, *([printable(str(row[name])) for name in _COLUMNS] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells)
    return "\n".join([head, *lines])
