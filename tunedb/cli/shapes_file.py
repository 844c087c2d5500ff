"""Shapes files: problems to tune, one JSON object a line."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunedb import registry
from tunedb.core.canonical import parse_json
from tunedb.core.declaration import NOTES
from tunedb.errors import IdentityError, SettingError


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a shapes file: where it stands, the kernel that it names, and the problem's arguments."""

    path: Path
    number: int
    kernel: str | None
    arguments: Mapping[str, Any]

    def kernel_name(self) -> str:
        """Return the kernel that it names, else the only installed kernel that declares all its arguments.

        Loads the installed kernels. Raises SettingError if no kernel is named and none or several declare them.
        """
        return self.kernel or registry.kernel_with(self.arguments.keys() - NOTES)


def read_shapes(path: Path, kernel: str | None) -> list[Line]:
    """Read the lines of a file, or of stdin for `-`. `kernel` is that of the lines that name none.

    Raises SettingError, with the line's number if there is one, for a file or a line that can't be read.
    """
    try:
        text = (sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()).decode()
    except OSError as error:
        raise SettingError(
            f"Can't read {path}: {error.strerror}. Expected a file with one JSON object a line."
        ) from None
    except UnicodeDecodeError as error:
        raise SettingError(f"Can't read {path}: it is not UTF-8 at byte {error.start + 1}.") from None
    lines = [_read(path, number, line, kernel) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise SettingError(f"{path} holds no problem. Expected a file with one JSON object a line.")
    return lines


def _read(path: Path, number: int, text: str, kernel: str | None) -> Line:
    with located(path, number):
        arguments = parse_json(text)
        if not isinstance(arguments, dict):
            raise SettingError(f"expected a JSON object, got {text.strip()[:40]}")
        named = arguments.pop("kernel", kernel)
        if named is not None and not isinstance(named, str):
            raise SettingError(f"kernel: expected a name, got {named!r}.")
        return Line(path, number, named, arguments)


@contextlib.contextmanager
def located(path: Path, number: int) -> Iterator[None]:
    """Name the line in an error about it."""
    try:
        yield
    except (SettingError, IdentityError) as error:
        raise SettingError(f"{path} line {number}: {error}") from None
