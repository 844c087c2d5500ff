"""A folder of kernels that `tunedb precompile` compiled: its manifest, and whether the kernels fit this process.

The folder has an entry for each kernel, as Triton's cache has, and the manifest: for each device and version of Triton
what the folder was made for, and what each entry is.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import platform
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from triton.backends.compiler import GPUTarget

from tunedb._internal.control import let_pass, suppress
from tunedb._internal.printable import printable
from tunedb.core.device import Device
from tunedb.core.sweep import now
from tunedb.runtime import compat_cache, compat_triton
from tunedb.runtime.current_device import device_of

MANIFEST = "tunedb-precompiled.json"
FORMAT = 1

_log = logging.getLogger("tunedb")
_logged: set[Path] = set()  # folders about which something was said
_FACTS = {
    "triton": "Triton {}", "build": "another build of that Triton", "compiler": "another assembler",
    "environment": "the environment {}",
}  # fmt: skip


def is_one(folder: Path) -> bool:
    """Say whether `tunedb precompile` made the folder."""
    return (folder / MANIFEST).is_file()


def read(folder: Path) -> list[dict[str, Any]]:
    """Return what the folder was made for: one record for each device and version of Triton.

    The list is empty if nothing was precompiled into the folder.

    Raises OSError or ValueError if the manifest can't be read.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        manifest = json.loads((folder / MANIFEST).read_text())
        if isinstance(manifest, dict) and manifest.get("format") == FORMAT and isinstance(manifest["made_for"], list):
            return [record for record in manifest["made_for"] if isinstance(record, dict)]
        raise ValueError(f"its {MANIFEST} is of another version of tunedb")
    return []


def write(
    folder: Path,
    device: Device,
    target: GPUTarget,
    entries: Mapping[str, Mapping[str, Any]],
    *,
    version: str,
    words: Sequence[str],
) -> None:
    """Add to the manifest that a version of tunedb compiled these entries for a device, by the command of these words.

    Raises OSError.
    """
    facts = compat_cache.compiler_facts(target)
    key = (device.key, facts)
    records, earlier = [], {}
    for record in read(folder):
        if (record.get("device"), {name: record.get(name) for name in facts}) == key:
            earlier = record["entries"]
        elif record.get("device") != device.key or record.get("triton") != facts["triton"]:
            records.append(record)
    made = {
        "device": device.key, **facts, "tunedb": version, "python": platform.python_version(),
        "machine": platform.machine(), "made": now().isoformat(), "command": list(words),
        "entries": {**earlier, **entries},
    }  # fmt: skip
    text = json.dumps({"format": FORMAT, "made_for": [*records, made]}, indent=1)
    temporary_file = folder / f".{MANIFEST}.{os.getpid()}"
    temporary_file.write_text(text)
    temporary_file.replace(folder / MANIFEST)


def is_usable(folder: Path) -> bool:
    """Say whether kernels of the folder can serve this process. Logs, once, why they can't, or only in part."""
    try:
        records = read(folder)
    except (OSError, ValueError, KeyError) as error:
        let_pass(error)
        _log_once(folder, f"The precompiled kernels in {folder} can't be used: {printable(str(error))}.")
        return False
    if not records:
        command = f"tunedb precompile --into {shlex.quote(str(folder))}"
        _log_once(folder, f"There are no precompiled kernels in {folder}: kernels are compiled. Run: {command}")
        return False
    device, facts = device_of(compat_triton.current_device()), compat_cache.compiler_facts(_target())
    faults = {_difference(record, device, facts): record for record in records}
    if "" in faults:
        return True
    difference, record = min(faults.items(), key=lambda fault: fault[1].get("device") != device.key)
    command = shlex.join(map(str, [*record.get("command", ("tunedb", "precompile")), "--into", str(folder)]))
    _log_once(
        folder,
        f"The kernels in {folder} were compiled for {difference}; those that don't fit here are compiled again. "
        f"For {device} and Triton {compat_cache.TRITON}, run: {command}",
    )
    return any(all(record.get(name) == value for name, value in facts.items()) for record in records)


def _log_once(folder: Path, fault: str) -> None:
    if folder not in _logged:
        _logged.add(folder)
        _log.warning("%s", fault)


def sources_of(folder: Path, function: str) -> set[str]:
    """Return Triton's hashes of the texts of a function's source that the folder's entries were compiled from."""
    with suppress(OSError, ValueError, KeyError, AttributeError):
        entries = [entry for record in read(folder) for entry in record["entries"].values()]
        return {entry["source"] for entry in entries if entry["function"] == function}
    return set()


def temporary() -> Path:
    """Return a new folder that is removed when this process ends."""
    folder = tempfile.mkdtemp(prefix="tunedb-triton-")
    atexit.register(_remove, folder, os.getpid())
    return Path(folder)


def _remove(folder: str, process: int) -> None:
    if os.getpid() == process:  # a forked child ends too
        shutil.rmtree(folder, ignore_errors=True)


def _target() -> Any:
    return compat_triton.current_target()


def _difference(record: Mapping[str, Any], device: Device, facts: Mapping[str, Any]) -> str:
    """Return for what a record was made instead of this device and this Triton; nothing if it fits both."""
    if record.get("device") != device.key:
        made_for = json.loads(record.get("device", "{}"))
        return printable(f"{made_for.get('name')} ({made_for.get('arch')}) with Triton {record.get('triton')}")
    for name, text in _FACTS.items():
        if record.get(name) != facts[name]:
            return printable(text.format(record.get(name)))
    return ""
