"""Triton's cache of compiled kernels, as tunedb's settings want it: precompiled folders first, perhaps no compile.

Triton asks one class for all that it caches. If there are precompiled folders, or if the mode refuses compiles, that
class is `FoldersFirst`; else Triton's cache is left as it is.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from triton.runtime.cache import CacheManager, FileCacheManager

from tunedb import settings
from tunedb._internal import forks
from tunedb._internal.control import let_pass
from tunedb.errors import CompileRefused
from tunedb.runtime import compat_cache, precompiled_folder
from tunedb.runtime.compat_triton import jit_of
from tunedb.settings import Settings

_log = logging.getLogger("tunedb")


class _Current(threading.local):
    refusal: Callable[[], CompileRefused] | None = None  # of the kernel that this thread compiles


_seen: Settings | None = None  # the settings that Triton's cache was last adapted to
_folders: tuple[Path, ...] = ()
_unwritable: list[Path] = []  # what Triton's cache was before it was found to be read-only
_managers: list[type | None] = []  # what `knobs.cache.manager_class` was before it was replaced
_lock = threading.RLock()
_current = _Current()


@forks.in_child
def _renew() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may hold the old one


def prepare() -> None:
    """Adapt Triton's cache to the settings, before Triton loads its driver, which it may have to compile."""
    current = settings.current()
    if current is not _seen:
        _adapt(current)


def compiling(
    stack: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> contextlib.AbstractContextManager[None]:
    """Return a context for one compile or launch of a kernel of ours, with Triton's cache as the settings want it.

    Triton raises CompileRefused in it if the mode refuses compiles and the kernel is in no cache.
    """
    prepare()
    if not settings.current().refuses_compiles:
        return contextlib.nullcontext()
    return _refusing(lambda: _refusal(stack, arguments, keywords))


@contextlib.contextmanager
def _refusing(refusal: Callable[[], CompileRefused]) -> Iterator[None]:
    before, _current.refusal = _current.refusal, refusal
    try:
        yield
    finally:
        _current.refusal = before


def _refusal(stack: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> CompileRefused:
    jit = jit_of(stack)
    function = f"{jit.fn.__module__}.{jit.fn.__qualname__}"
    return CompileRefused(
        f"{function} is not compiled for this call, and mode strict-compile forbids compiling: "
        f"{compat_cache.describe_specialization(stack, arguments, keywords)}.{_reason(function, jit.cache_key)} "
        "Record the calls: tunedb run --record calls.jsonl SCRIPT. Then run: tunedb precompile --from calls.jsonl "
        "--into FOLDER"
    )


def _reason(function: str, source: str) -> str:
    """Say that a folder has the function with another text: a comment line above it is enough for another key."""
    for folder in _folders:
        sources = precompiled_folder.sources_of(folder, function)
        if sources and source not in sources:
            return f" The source text of {function} has changed, or has moved in its file, since {folder} was made."
    return ""


def _adapt(current: Settings) -> None:
    """Adapt Triton's cache to these settings."""
    global _seen, _folders
    with _lock:
        own = Path(compat_cache.cache_folder())
        named = [*map(Path, current.precompiled), *([own] if precompiled_folder.is_one(own) else [])]
        _folders = (*dict.fromkeys(named), *_unwritable)
        if bool(named) or current.refuses_compiles:
            if not _managers:
                _managers.append(compat_cache.replace_cache_manager(FoldersFirst))
        elif _managers:
            compat_cache.replace_cache_manager(_managers.pop())
        # Only now, because this asks for the device, and so may make Triton compile its driver into its cache.
        _folders = tuple(folder for folder in _folders if folder in _unwritable or precompiled_folder.is_usable(folder))
        _seen = current


class FoldersFirst(CacheManager):  # type: ignore[misc]  # Triton ships no types
    """One entry of Triton's cache: read from the precompiled folders, else from the cache that Triton had before.

    Writes go to that cache alone. A precompiled folder may lie anywhere: the paths in its group files do not count.
    """

    def __init__(self, key: str, override: bool = False, dump: bool = False) -> None:
        self._key = key
        self._kind = {name: True for name, wanted in (("override", override), ("dump", dump)) if wanted}
        self._own: Any = None

    def get_file(self, filename: str) -> str | None:
        """Return the path of a file; None if there is none."""
        path = next((str(place) for place in self._places(filename) if place.exists()), None)
        return path or self._tritons().get_file(filename)

    def get_group(self, filename: str) -> dict[str, str] | None:
        """Return the paths of a compiled kernel's files by their names; None, or without `filename`, if there are none.

        Raises CompileRefused if Triton would compile a kernel that may not be compiled.
        """
        group: dict[str, str] | None = self._shipped_group(filename) or self._tritons().get_group(filename)
        is_found = bool(group and filename in group) and not compat_cache.is_cache_bypassed()
        if _current.refusal is not None and not is_found:
            raise _current.refusal()
        return group

    def put(self, data: Any, filename: str, binary: bool = True) -> str:
        """Write a file, and return its path."""
        try:
            path: str = self._tritons().put(data, filename, binary=binary)
        except OSError as error:
            let_pass(error)
            path = self._elsewhere(error).put(data, filename, binary=binary)
        return path

    def put_group(self, filename: str, group: dict[str, str]) -> str:
        """Write the names and paths of a compiled kernel's files."""
        path: str = self._tritons().put_group(filename, group)
        return path

    def _places(self, filename: str) -> Iterator[Path]:
        if not self._kind:
            yield from (folder / self._key / filename for folder in _folders)

    def _shipped_group(self, filename: str) -> dict[str, str] | None:
        for listing in self._places(f"__grp__{filename}"):
            try:
                names = json.loads(listing.read_text())["child_paths"]
                group = {name: str(listing.with_name(name)) for name in names}
            except (OSError, ValueError, KeyError, TypeError) as error:  # not there, or damaged: the next one
                let_pass(error)
                continue
            if filename in group and all(map(os.path.exists, group.values())):
                return group
        return None

    def _tritons(self) -> Any:
        """Return the entry of the cache that Triton had before, made at the first use: that makes a folder."""
        if self._own is None:
            make: Any = (_managers and _managers[0]) or FileCacheManager
            try:
                self._own = make(self._key, **self._kind)
            except OSError as error:
                let_pass(error)
                self._elsewhere(error)
        return self._own

    def _elsewhere(self, error: OSError) -> Any:
        """Return an entry in a temporary folder, where all is written from now on; the old folder is still read."""
        global _folders
        with _lock:
            if not _unwritable:
                before = Path(compat_cache.cache_folder())
                compat_cache.use_cache_folder(str(precompiled_folder.temporary()))
                _unwritable.append(before)
                _folders = (*_folders, before)
                _log.warning(
                    "Triton's cache %s can't be written (%s): what this process compiles is kept until it ends. Set "
                    "TRITON_CACHE_DIR to a folder that can be written.", before, error.strerror or error,
                )  # fmt: skip
        self._own = FileCacheManager(self._key, **self._kind)
        return self._own
