"""Overrides: knobs that a person forces on a kernel, for debugging (`TUNEDB_OVERRIDE`)."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from tunedb.core.problem import Config
from tunedb.errors import IdentityError, SettingError
from tunedb.settings import Settings

_log = logging.getLogger("tunedb")
_logged: set[str] = set()


def forced_config(kernel: str, default: Config, settings: Settings) -> Config | None:
    """Return the default config with the knobs that the settings force on the kernel; None if they force none.

    An override that can't be used is logged once, and ignored: no error of settings reaches a call.
    """
    if kernel not in settings.override:
        return None
    try:
        return overridden(default, settings.override[kernel])
    except SettingError as error:
        message = f"TUNEDB_OVERRIDE: {kernel}: {error}"
        if message not in _logged:
            _logged.add(message)
            _log.warning("%s The override is ignored. See: tunedb path -v", message)
        return None


def overridden(default: Config, knobs: Mapping[str, object]) -> Config:
    """Return the default with these knobs.

    Raises SettingError for a knob that the kernel lacks, or for a value of another type than the default's.
    """
    try:
        forced = Config.of(**knobs)
    except IdentityError as error:
        raise SettingError(str(error)) from None
    unknown = sorted(set(forced.constants) - set(default))
    if unknown:
        raise SettingError(f"expected one of the knobs {', '.join(default)}, got {', '.join(unknown)}.")
    for name, value in forced.items():
        expected = type(default.get(name, 1))
        if type(value) is not expected or (expected is int and value < 1):
            raise SettingError(f"{name}: expected a value like {default.get(name, 1)!r}, got {value!r}.")
    return Config.of(**{**default, **forced})
