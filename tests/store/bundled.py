"""Bundles to test on: made of samples, at a path or in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.store.samples import NOON, sweep, trial
from tunedb.core.sweep import Sweep
from tunedb.store.bundle import file_format
from tunedb.store.bundle.reading import Bundle
from tunedb.store.bundle.sources import BundleSource
from tunedb.store.bundle.writing import bundle_bytes


def uid(number: int) -> str:
    """A uid that is the same each time."""
    return f"{number:032x}"


def fixed(count: int) -> list[Sweep]:
    """Sweeps that are the same each time, uids included, with a slow and a failed trial each."""
    return [
        sweep(
            number,
            uid=uid(number),
            finished=NOON,
            trials=(
                trial(128, uid=uid(10_000 + number)),
                trial(256, uid=uid(20_000 + number), time_us=14.0 + number),
                trial(512, "compile_error", uid=uid(30_000 + number), error=f"/home/me/kernel{number}.py: no"),
            ),
        )
        for number in range(1, count + 1)
    ]


def write(path: Path, sweeps: Iterable[Sweep], *, only_winners: bool = True) -> Path:
    """Write a bundle of these sweeps."""
    path.write_bytes(bundle_bytes(sweeps, only_winners=only_winners)[0])
    return path


def in_memory(content: bytes) -> Bundle:
    """A bundle that has no path, as one in a zip."""
    return Bundle(BundleSource("planted", None, lambda: content))


def altered(content: bytes, alter: Callable[[sqlite3.Connection], object], path: Path) -> bytes:
    """The bundle after a change by someone who knows the format, and seals it again."""
    path.write_bytes(content[: -file_format.SEAL_BYTES])
    with sqlite3.connect(path, isolation_level=None) as database:
        alter(database)
    database.close()
    return file_format.sealed(path.read_bytes())
