"""Overrides: knobs that a person forces on a kernel, for debugging (`TUNEDB_OVERRIDE`)."""

from __future__ import annotations

from collections.abc import Mapping

from tunedb.core.problem import Config
from tunedb.errors import IdentityError, SettingError


def overridden(kernel: str, default: Config, knobs: Mapping[str, object]) -> Config:
    """Return the default config with the forced knobs.

    Raises SettingError for a knob that the kernel lacks, or for a value of another type than the default's.
    """
    try:
        forced = Config.of(**knobs)
    except IdentityError as error:
        raise SettingError(f"TUNEDB_OVERRIDE: {kernel}: {error}") from None
    unknown = sorted(set(forced.constants) - set(default))
    if unknown:
        raise SettingError(
            f"TUNEDB_OVERRIDE: {kernel} has no knob {', '.join(unknown)}. Its knobs are {', '.join(default)}."
        )
    for name, value in forced.items():
        expected = type(default.get(name, 1))
        if type(value) is not expected or (expected is int and value < 1):
            raise SettingError(
                f"TUNEDB_OVERRIDE: {kernel}: {name}: expected a value like {default.get(name, 1)!r}, got {value!r}."
            )
    return Config.of(**{**default, **forced})
