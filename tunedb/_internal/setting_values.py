"""Values of settings, as they are written in the environment or given in a program: parsed and checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tunedb._internal.control import let_pass
from tunedb._internal.redact import is_path, without_password
from tunedb.errors import SettingError

OFF = "off"  # the value of the setting `cache` with which nothing is kept, and of `bundles` with which none is read


def parse_seconds(value: str | float) -> float:
    """Return a number of seconds. Raises SettingError unless it is one and not negative."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = float("nan")
    if not seconds >= 0:
        raise SettingError(f"Expected a number of seconds that is not negative, got {value!r}.")
    return seconds


def parse_store(value: str | os.PathLike[str]) -> str:
    """Return the path or URL of a store; the default's if it is empty. Raises SettingError for anything else."""
    return parse_path_or_url(value) or default_store()


def parse_path_or_url(value: str | os.PathLike[str]) -> str:
    """Return a path or an SQLAlchemy URL. Raises SettingError for anything else."""
    text: object = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise SettingError(f"Expected a path or an SQLAlchemy URL, got {value!r}.")
    if "://" not in text and not is_path(text):
        raise SettingError(
            f"Expected a path or a URL such as postgresql://user@host/name, got {without_password(text)}."
        )
    return text


def default_store() -> str:
    """Return the path of the store in the user's state folder (~/.local/state/tunedb/tunedb.db)."""
    return str(_user_folder("state", "~/.local/state/tunedb") / "tunedb.db")


def default_cache() -> str:
    """Return the path of the user's cache folder (~/.cache/tunedb)."""
    return str(_user_folder("cache", "~/.cache/tunedb"))


def _user_folder(kind: str, otherwise: str) -> Path:
    try:
        import platformdirs

        path: Path = getattr(platformdirs, f"user_{kind}_path")("tunedb")
    # No home folder (newer versions refuse), no such package, or Python is ending: opening a file in it will say so.
    except (OSError, RuntimeError, ValueError, LookupError, ImportError) as error:
        let_pass(error)
        return Path(otherwise)
    return path


def parse_cache(value: str | os.PathLike[str]) -> str:
    """Return the absolute path of a folder, or OFF. Raises SettingError for what is not a path."""
    return OFF if value == OFF else parse_file(value)


def parse_file(value: str | os.PathLike[str]) -> str:
    """Return the absolute path of a file, with `~` resolved. Raises SettingError for what is not a path."""
    paths = parse_folders([value])
    if not paths:
        raise SettingError(f"Expected a path, got {value!r}.")
    return paths[0]


def parse_bundles(value: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Return the paths of bundles as `parse_folders` does, or OFF alone."""
    is_off = value == OFF or (isinstance(value, list | tuple) and list(value) == [OFF])
    return (OFF,) if is_off else parse_folders(value)


def parse_folders(value: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Return the absolute paths of folders, with `~` resolved; a text holds several, separated as in PATH.

    Raises SettingError for what is not a path.
    """
    parts = value.split(os.pathsep) if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    paths = []
    for part in parts:
        text: object = os.fspath(part) if isinstance(part, str | os.PathLike) else part
        if not isinstance(text, str) or not is_path(text):
            raise SettingError(f"Expected a path, got {part!r}.")
        if text:
            paths.append(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111 - pathlib raises without a home
    return tuple(paths)
