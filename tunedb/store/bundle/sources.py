"""Where bundles are: files that the settings name, and files in installed packages, which are not imported."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from tunedb._internal.control import let_pass

GROUP = "tunedb.bundles"
OWN_PACKAGE = "tunedb"  # a file in it is the bundle that tunedb itself ships
MAX_BYTES = 2**30  # of a bundle; twenty thousand winners take less than a hundredth

_log = logging.getLogger("tunedb")


@dataclass(frozen=True, slots=True)
class BundleSource:
    """A bundle that is to be opened."""

    name: str  # for people: the path, or the entry point and its package
    path: Path | None  # None if it has none of its own: it is in a zip
    read: Callable[[], bytes]  # returns its bytes; raises OSError
    is_own: bool = False  # whether tunedb itself ships it


def named(paths: Iterable[str]) -> list[BundleSource]:
    """Return the bundles of the setting: files at these paths."""
    return [_at(Path(path).absolute(), path) for path in paths]


def installed() -> list[BundleSource]:
    """Return the bundles of installed packages, by name: entry points `NAME = "PACKAGE:FILE"`. The others are logged.

    A package's finder says where it is, in a folder or in a zip. Its code is not run.
    """
    entries = {(entry.name, entry.value): entry for entry in entry_points(group=GROUP)}
    return [source for _, entry in sorted(entries.items()) for source in _of(entry)]


def _of(entry: EntryPoint) -> Iterator[BundleSource]:
    name = entry.name
    try:
        is_own = entry.module.partition(".")[0] == OWN_PACKAGE
        # The name of another package is in its metadata, which takes the modules for e-mail to read.
        package = OWN_PACKAGE if is_own else "" if entry.dist is None else entry.dist.name
        name = f"{name} of {package}" if package else name
        source = _in_package(entry.module, entry.attr, name)
    # Another package's metadata may be anything, and so may the finders that are installed.
    except Exception as error:
        let_pass(error)
        _log.warning("Bundle %s is left out: %s: %s", name, type(error).__name__, str(error))
        return
    if source is None:
        _log.warning(
            'Bundle %s is left out: expected a file, as in "PACKAGE:FILE", found none at %r. Install it again.',
            name, entry.value,
        )  # fmt: skip
        return
    yield dataclasses.replace(source, is_own=is_own)


def _in_package(package: str, file: str, name: str) -> BundleSource | None:
    """Return a file of a package; None if there is none."""
    top, *below = package.split(".")
    spec = _spec_of(top)
    if spec is None or not file:
        return None
    locations = list(spec.submodule_search_locations or ())
    for location in locations:
        path = Path(location, *below, file)
        if path.is_file():
            return _at(path.absolute(), name)
    read = getattr(spec.loader, "get_data", None)  # a zip's; that of a folder has one too
    if read is None or not locations or any(Path(location).is_dir() for location in locations):
        return None
    inside = str(Path(locations[0], *below, file))
    return BundleSource(name, None, lambda: bytes(read(inside)))


def _spec_of(top: str) -> ModuleSpec | None:
    module = sys.modules.get(top)
    spec: ModuleSpec | None = getattr(module, "__spec__", None)
    return spec if spec is not None else importlib.util.find_spec(top)


def _at(path: Path, name: str) -> BundleSource:
    def read() -> bytes:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"expected a file, got something else at {path}")
        if status.st_size > MAX_BYTES:
            raise OSError(f"expected at most {MAX_BYTES} bytes, got {status.st_size}")
        return path.read_bytes()

    return BundleSource(name, path, read)
