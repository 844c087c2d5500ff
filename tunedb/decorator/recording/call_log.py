"""The file in which calls are recorded for `tunedb precompile`: one JSON object a line, each line once.

Setting `record_calls` names the file. Several processes may append to it: each line is one write.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

from tunedb import settings
from tunedb._internal import forks
from tunedb._internal.control import let_pass
from tunedb.decorator.recording.argument_text import encode, is_found, place_of
from tunedb.runtime import compat_cache, compat_triton
from tunedb.runtime.current_device import device_of

MAX_KEYS = 100_000  # of calls that are known to be recorded. Chosen: some 20 MB

_log = logging.getLogger("tunedb")
_lock = threading.RLock()
_keys: set[Hashable] = set()  # of calls that were recorded or can't be
_lines: dict[str, set[str]] = {}  # by file: what it holds
_faults: set[str] = set()  # that were logged


@forks.in_child
def _renew() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may hold the old one


def _forget() -> None:
    with _lock:
        _keys.clear()
        _lines.clear()


settings.on_change(_forget)


def is_on() -> bool:
    """Say whether calls are recorded."""
    return settings.current().record_calls is not None


def record(kind: str, jit: Any, key: Hashable, make: Callable[[], Mapping[str, Any]]) -> None:
    """Append a line about a launch of a jit function, unless one with this key was appended. Raises nothing.

    kind: `call` of a decorated kernel, `problem` of a registered one, or `launch` of any other.
    make: returns what the line says besides the function, its source and the device.
    """
    path = settings.current().record_calls
    try:
        key = (kind, id(jit), key)
        if path is None or key in _keys or compat_triton.is_interpreted(jit):
            return
        if len(_keys) >= MAX_KEYS:
            _keys.clear()
        _keys.add(key)
        if not is_found(jit.fn):
            raise TypeError("it is not at the top of its module, where another process would find it")
        record = {
            kind: {**make(), "function": place_of(jit.fn)},
            "folder": os.path.abspath(sys.path[0] if sys.path else ""),  # noqa: PTH100 - of the program
            "source": jit.cache_key,
            "device": device_of(compat_triton.current_device()).key,
            "triton": compat_cache.TRITON,
        }
        _append(path, json.dumps(record))
    # A file that can't be written, an argument that JSON can't hold, an unknown Triton: the call itself has succeeded.
    except Exception as error:
        let_pass(error)
        _say(f"{getattr(jit, '__name__', jit)}: a call is not recorded: {error}")


def record_problem(kernel: str, jit: Any, problem: str, tensor: Any) -> None:
    """Append a line about a call of a registered kernel: its problem, and the tensor that it was made from."""
    if is_on():
        text = encode(tensor)
        record("problem", jit, (problem, repr(text)), lambda: {"kernel": kernel, "key": problem, "tensor": text})


def record_launch(source: Any, options: Mapping[str, Any], target: Any) -> None:
    """Append a line about a kernel that Triton has compiled, or found in its cache: with all that it compiles from."""
    parts = (source.signature, source.constants, source.attrs, dict(options))
    module = sys.modules.get(source.fn.fn.__module__)
    is_generated = getattr(module, "__spec__", None) is None and module is not sys.modules["__main__"]  # by Inductor
    if is_on() and not is_generated:
        record("launch", source.fn, repr(parts), lambda: {
            "signature": {name: encode(kind) for name, kind in source.signature.items()},
            "constants": [[list(place), encode(value)] for place, value in source.constants.items()],
            "attributes": [[list(place), encode(value)] for place, value in source.attrs.items()],
            "options": {name: encode(value) for name, value in options.items()},
            "target": [target.backend, target.arch, target.warp_size],
        })  # fmt: skip


def _append(path: str, line: str) -> None:
    with _lock:
        lines = _lines.get(path)
        if lines is None:
            lines = _lines[path] = set()
            with contextlib.suppress(FileNotFoundError):
                lines.update(Path(path).read_text().splitlines())
        if line in lines:
            return
        lines.add(line)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)


def _say(fault: str) -> None:
    if fault not in _faults:
        _faults.add(fault)
        _log.warning("%s", fault)
