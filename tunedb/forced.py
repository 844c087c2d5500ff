"""Forced configs: what TUNEDB_OVERRIDE makes of a kernel's default."""

from __future__ import annotations

from tunedb.errors import SettingError
from tunedb.memory import Case
from tunedb.problem import Config


def overridden(case: Case, default: Config, forced: Config) -> Config:
    """The default with the forced knobs. Raises SettingError for an unknown knob, or a value of another type."""
    unknown = sorted(set(forced.constants) - set(default))
    if unknown:
        raise SettingError(
            f"TUNEDB_OVERRIDE: {case.kernel.name} has no knob {', '.join(unknown)}. Its knobs are {', '.join(default)}."
        )
    for name, value in forced.items():
        needed = type(default.get(name, 1))
        if type(value) is not needed or (needed is int and value < 1):
            raise SettingError(
                f"TUNEDB_OVERRIDE: {case.kernel.name}: {name} is {value!r}, needed a {needed.__name__} like "
                f"{default.get(name, 1)!r}."
            )
    return Config.of(**{**default, **forced})
