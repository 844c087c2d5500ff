"""Reads a file or a folder of other tools' configs: each file by the reader of its form."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tunedb.store.exchange.foreign import dejavu, fla, json_configs, kernel_tuner, triton_cache
from tunedb.store.exchange.foreign.entry import Entry, Reader, Rejection
from tunedb.store.exchange.foreign.file_name import DEVICE, parse_name


def read(source: Path, names: tuple[str, ...] = ()) -> Iterator[Entry | Rejection]:
    """Yield the entries of a file, or of all files in a folder and below it that have the form of one of these tools.

    `names` are those of the values in the keys of files that have none. Other files of a folder are left out, because
    a cache folder and a package hold many; links to folders are not followed.
    """
    if not source.is_dir():
        yield from (reader_of(source, names) or json_configs.read)(source)
        return
    for folder, folders, files in os.walk(source):
        folders.sort()
        for name in sorted(files):
            path = Path(folder, name)
            reader = reader_of(path, names) if path.is_file() else None  # a pipe would be waited for
            if reader is not None:
                yield from reader(path)


def reader_of(path: Path, names: tuple[str, ...] = ()) -> Reader | None:
    """Return what reads the file, by its name and its folder's; None if its form is not known."""
    if path.name.endswith(triton_cache.SUFFIX):
        return partial(triton_cache.read, names=names)
    if path.suffix != ".json":
        return None
    if path.name == dejavu.NAME and any(part.startswith("gpu_") for part in path.parts):
        return dejavu.read
    try:
        parse_name(path.name)
    except ValueError:
        if f"{DEVICE}=" in path.name:
            return json_configs.read  # which says what is wrong with the name
        if fla.is_device_folder(path.resolve().parent.name):
            return partial(fla.read, names=names)
        return kernel_tuner.read if _is_kernel_tuner_s(path) else None
    return json_configs.read


def _is_kernel_tuner_s(path: Path) -> bool:
    """Say whether a file begins like a cache of Kernel Tuner."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    return b'"device_name"' in head and b'"kernel_name"' in head
