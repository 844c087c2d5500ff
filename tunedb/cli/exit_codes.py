"""Exit codes of the program `tunedb`, and the code that each error ends with."""

from __future__ import annotations

from tunedb.errors import IdentityError, ImportRejected, SchemaMismatch, SettingError, StoreError, TunedbError

DONE, FOUND, USAGE, UNAVAILABLE, SCHEMA, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 4, 130, 143

EPILOG = (
    "Exit codes: 0 done; 1 a finding (nothing is stored, misses, a sweep without a config, rejected rows), or a "
    "failure that tunedb did not expect; 2 wrong usage (an option, a kernel, a shape, a file that is missing or "
    "refused); 3 the store can't be used; 4 its schema needs an upgrade; 130 interrupted and 143 ended by SIGTERM, "
    "with progress saved."
)
_CODES: tuple[tuple[type[TunedbError], int], ...] = (
    (SchemaMismatch, SCHEMA),
    (StoreError, UNAVAILABLE),
    (SettingError, USAGE),
    (IdentityError, USAGE),
    (ImportRejected, USAGE),
    (TunedbError, FOUND),
)


def exit_code_of(error: TunedbError) -> int:
    """Return the exit code for an error."""
    return next(code for kind, code in _CODES if isinstance(error, kind))
