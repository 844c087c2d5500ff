"""Settings, each with its source. This file alone reads the environment."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from tunedb._internal import forks, setting_values
from tunedb._internal.override_text import parse_override
from tunedb._internal.redact import without_password
from tunedb.errors import SettingError

Mode = Literal["tune", "record", "read", "strict", "strict-compile", "off"]
MODES: tuple[str, ...] = get_args(Mode)
WRITING_MODES = ("tune", "record")

_log = logging.getLogger("tunedb")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a process. `sources` names, for each setting, `argument`, its variable, or `default`."""

    store: str  # path or SQLAlchemy URL of the local store
    shared: str | None  # SQLAlchemy URL of the shared store
    bundles: tuple[str, ...]  # files that `tunedb export --format bundle` wrote, separated as in PATH
    mode: str  # one of MODES
    budget: float  # seconds that this process may spend sweeping inside calls
    lock_timeout: float  # seconds to wait for another process's sweep
    override: Mapping[str, Mapping[str, object]]  # knobs to force, by kernel
    cache: str  # folder of what can be computed again, such as what parsing kernels gave; `off`: nothing is kept
    switch_interval: float  # seconds between thread switches while tunedb takes samples; 0 keeps Python's own
    precompiled: tuple[str, ...]  # folders that `tunedb precompile` filled, separated as in PATH; not written
    record_calls: str | None  # file that calls are recorded in, for `tunedb precompile --from`
    sources: Mapping[str, str]

    @property
    def is_strict(self) -> bool:
        """Whether a miss raises."""
        return self.mode in ("strict", "strict-compile")

    @property
    def refuses_compiles(self) -> bool:
        """Whether a call raises instead of compiling its kernel."""
        return self.mode == "strict-compile"

    @property
    def writes(self) -> bool:
        """Whether calls may write to a store."""
        return self.mode in WRITING_MODES

    def __repr__(self) -> str:
        shown = (f"{row['setting']}={row['value']!r}" for row in as_rows(self))  # without the passwords
        return f"Settings({', '.join(shown)})"


def _parse_mode(value: str) -> str:
    if value not in MODES:
        raise SettingError(f"Expected one of {', '.join(MODES)}, got mode {value!r}.")
    return value


_PARSERS: dict[str, tuple[str, Callable[[Any], Any], Callable[[], Any]]] = {
    "store": ("TUNEDB_STORE", setting_values.parse_store, setting_values.default_store),
    "shared": ("TUNEDB_SHARED", setting_values.parse_path_or_url, lambda: None),
    "bundles": ("TUNEDB_BUNDLES", setting_values.parse_bundles, tuple),
    "mode": ("TUNEDB_MODE", _parse_mode, lambda: "tune"),
    "budget": ("TUNEDB_BUDGET", setting_values.parse_seconds, lambda: 120.0),
    "lock_timeout": ("TUNEDB_LOCK_TIMEOUT", setting_values.parse_seconds, lambda: 60.0),
    "override": ("TUNEDB_OVERRIDE", parse_override, dict),
    "cache": ("TUNEDB_CACHE", setting_values.parse_cache, setting_values.default_cache),
    "switch_interval": ("TUNEDB_SWITCH_INTERVAL", setting_values.parse_seconds, lambda: 1e-5),
    "precompiled": ("TUNEDB_PRECOMPILED", setting_values.parse_folders, tuple),
    "record_calls": ("TUNEDB_RECORD_CALLS", setting_values.parse_file, lambda: None),
}

VARIABLES = tuple(variable for variable, _, _ in _PARSERS.values())

_lock = threading.RLock()
_arguments: dict[str, Any] = {}
_current: Settings | None = None
_listeners: list[Callable[[], None]] = []


def read(arguments: Mapping[str, Any]) -> Settings:
    """Return the settings with these arguments: an argument beats the environment, which beats the default.

    Raises SettingError, naming the variable, for a value that can't be used.
    """
    settings, errors = read_usable(arguments)
    if errors:
        raise errors[0]
    return settings


def read_usable(arguments: Mapping[str, Any]) -> tuple[Settings, list[SettingError]]:
    """Read the settings like `read`, but use the default for a value that can't be used; also return these errors."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    errors: list[SettingError] = []
    for name, (variable, parse, default) in _PARSERS.items():
        try:
            if name in arguments:
                values[name], sources[name] = parse(arguments[name]), "argument"
                continue
            if os.environ.get(variable):
                values[name], sources[name] = parse(os.environ[variable]), variable
                continue
        except SettingError as error:
            errors.append(SettingError(f"{variable if name not in arguments else name}: {error}"))
        values[name], sources[name] = default(), "default"
    return Settings(**values, sources=sources), errors


def current() -> Settings:
    """Return the settings of this process; the environment is read once, at the first use.

    A variable with a value that can't be used is logged, and its default used: calls of kernels read settings too.
    """
    global _current
    with _lock:
        if _current is None:
            _current, errors = read_usable(_arguments)
            for error in errors:
                _log.warning("%s The default is used instead. See: tunedb doctor", error)
        return _current


def on_change(listener: Callable[[], None]) -> None:
    """Have `listener` called after each change, to forget what was remembered under the old settings."""
    _listeners.append(listener)


def _change(arguments: dict[str, Any]) -> None:
    _set(arguments, read(arguments))


def _set(arguments: dict[str, Any], settings: Settings | None) -> None:
    global _arguments, _current
    with _lock:
        _arguments, _current = arguments, settings
    for listener in _listeners:
        listener()


@forks.in_child
def _renew() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may hold the old one


class _Unchanged:
    """The default of a keyword of `configure` and `using`: the setting keeps its value."""

    def __repr__(self) -> str:
        return "unchanged"


_UNCHANGED: Any = _Unchanged()


def configure(
    *,
    store: str | os.PathLike[str] | None = _UNCHANGED,
    shared: str | None = _UNCHANGED,
    bundles: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = _UNCHANGED,
    mode: Mode | None = _UNCHANGED,
    budget: float | None = _UNCHANGED,
    lock_timeout: float | None = _UNCHANGED,
    override: Mapping[str, Mapping[str, object]] | str | None = _UNCHANGED,
    cache: str | os.PathLike[str] | None = _UNCHANGED,
    switch_interval: float | None = _UNCHANGED,
    precompiled: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = _UNCHANGED,
    record_calls: str | os.PathLike[str] | None = _UNCHANGED,
) -> None:
    """Set settings for this process; these beat the environment, and None gives one back to it.

    store: the path or SQLAlchemy URL of the local store.
    shared: the SQLAlchemy URL of a shared store.
    bundles: files that `tunedb export --format bundle` wrote, in addition to those of installed packages; "off": none.
    mode: what a call may do on a miss.
    budget: the seconds that this process may spend sweeping inside calls.
    lock_timeout: the seconds to wait for another process's sweep of the same problem.
    override: configs to force, for debugging: `{"avg_pool1d": {"BLOCK_OUT": 512}}`, or that as JSON.
    cache: the folder of what can be computed again, or `off`.
    switch_interval: the seconds after which a thread that runs Python gives way to others while tunedb takes
        samples or prepares a first compile (see `sys.setswitchinterval`); 0 leaves Python's own interval.
    precompiled: folders that `tunedb precompile` filled, in which compiled kernels are looked for first.
    record_calls: a file in which calls are recorded, for `tunedb precompile --from`; None records none.

    Forgets every remembered config. Raises SettingError for a value that can't be used; then nothing changes.
    """
    keywords = {"store": store, "shared": shared, "bundles": bundles, "mode": mode, "budget": budget,
                "lock_timeout": lock_timeout, "override": override, "cache": cache, "switch_interval": switch_interval,
                "precompiled": precompiled, "record_calls": record_calls}  # fmt: skip
    with _lock:
        merged = _arguments | {name: value for name, value in keywords.items() if value is not _UNCHANGED}
        _change({name: value for name, value in merged.items() if value is not None})


@contextlib.contextmanager
def using(
    *,
    store: str | os.PathLike[str] | None = _UNCHANGED,
    shared: str | None = _UNCHANGED,
    bundles: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = _UNCHANGED,
    mode: Mode | None = _UNCHANGED,
    budget: float | None = _UNCHANGED,
    lock_timeout: float | None = _UNCHANGED,
    override: Mapping[str, Mapping[str, object]] | str | None = _UNCHANGED,
    cache: str | os.PathLike[str] | None = _UNCHANGED,
    switch_interval: float | None = _UNCHANGED,
    precompiled: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = _UNCHANGED,
    record_calls: str | os.PathLike[str] | None = _UNCHANGED,
) -> Iterator[Settings]:
    """Configure the whole process for a block: `with tunedb.using(mode="off"): ...`. Takes what `configure` takes."""
    before = _arguments, _current
    configure(
        store=store, shared=shared, bundles=bundles, mode=mode, budget=budget, lock_timeout=lock_timeout,
        override=override, cache=cache, switch_interval=switch_interval, precompiled=precompiled,
        record_calls=record_calls,
    )  # fmt: skip
    try:
        yield current()
    finally:
        _set(*before)


def as_rows(settings: Settings) -> list[dict[str, str]]:
    """Return each setting's name, value and source as text, for people; a password in a URL is left out."""
    rows = []
    for field in dataclasses.fields(Settings)[:-1]:
        value = getattr(settings, field.name)
        plain = os.pathsep.join(value) if isinstance(value, tuple) else str(value)
        text = "" if value is None else without_password(plain)
        rows.append({"setting": _PARSERS[field.name][0], "value": text, "source": settings.sources[field.name]})
    return rows


def password_in_environment() -> str:
    """Return the password that libpq takes if the URL has none, so that it can be kept out of messages."""
    return os.environ.get("PGPASSWORD", "")


def record_calls_in_children(path: str | os.PathLike[str]) -> None:
    """Record calls in this process and in those that it starts."""
    os.environ["TUNEDB_RECORD_CALLS"] = setting_values.parse_file(path)
    configure(record_calls=path)


def record_nothing() -> None:
    """Record no calls in this process, whatever its parent does."""
    os.environ.pop("TUNEDB_RECORD_CALLS", None)
    configure(record_calls=None)


def unknown_variables() -> list[str]:
    """Return the variables of the environment that look like settings and are none: misspelt, or of another version."""
    return sorted(name for name in os.environ if name.startswith("TUNEDB_") and name not in VARIABLES)


def is_interpreted() -> bool:
    """Say whether this process asks Triton for its interpreter (TRITON_INTERPRET=1)."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "on", "yes", "y")


def visible_devices(variables: Iterable[str]) -> str | None:
    """Return the GPUs that this process may use: the value of the first of these variables that is set."""
    return next((os.environ[variable] for variable in variables if variable in os.environ), None)


def words_to_complete() -> list[str] | None:
    """Return the words after `tunedb` that a shell asks to complete; None if this process is not asked for that.

    typer's scripts for bash, and for the other shells, set these variables.
    """
    if not os.environ.get("_TUNEDB_COMPLETE"):
        return None
    return (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]


def ask_for_interpreter() -> None:
    """Ask Triton for its interpreter. This works only before triton is imported."""
    os.environ["TRITON_INTERPRET"] = "1"


def expand(path: str) -> Path:
    """Return a path that a user wrote as an absolute one, with `~` resolved."""
    return Path(path).expanduser().absolute()
